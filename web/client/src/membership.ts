/**
 * Decides what is subscribed on one connection, what is asked again after it broke, and who is told of a message. No I/O: it
 * answers with the messages to send.
 */

import { LockstepError } from "./errors.js";
import type { ErrorTold, Filter, Pong, Snapshot, Subscribed } from "./answers.js";
import { type Change, type Event, type Message, type Said, type Told, isChange, isEvent } from "./protocol.js";
import { type Hears, Known, byKey, roomsOf } from "./rooms.js";
import { Shown } from "./shown.js";

/** Somebody who wants to hear of rooms. */
export interface Member {
  /** As servers write them: `written`. */
  readonly rooms: readonly string[];
  /** Whether it wants to know how things stand before it hears of events. */
  readonly snapshot: boolean;
  /** Where to go on, for one that knows it from elsewhere. */
  readonly position: string | undefined;
  /** A message of its rooms; `text` is the same for the same message. */
  tell(message: Message, text: string): void;
  /** A room is in effect. */
  entered(room: string): void;
  /** Rooms of it were refused, by one answer. */
  refused(error: LockstepError): void;
}

/** How many rooms are asked for at once: servers take as many in one message (`rooms_max`) and refuse all of more. */
const ASKED_MAX = 100;

/** Refusals that pass: the same is asked again after a wait. */
export const PASSING: ReadonlySet<string> = new Set([
  "unavailable", "store_unavailable", "bus_unavailable", "auth_unavailable", "overloaded", "not_stored", "internal", "timeout", "busy",
]);

const LIKELIEST: readonly Hears[] = ["yes", "maybe", "unlikely"];

/** The rooms of one connection. */
export class Membership {
  readonly #filter: Filter | undefined;
  readonly #members = new Set<Member>();
  readonly #known = new Known();
  /** By `ref`, what was asked on this connection and not answered. */
  readonly #asked = new Map<string, readonly string[]>();
  /** Rooms in effect on this connection. */
  readonly #entered = new Set<string>();
  /** Rooms that were in effect, on this connection or one before: these are gone on with from the position. */
  readonly #followed = new Set<string>();
  /** Rooms that were in effect since somebody wants them. */
  readonly #held = new Set<string>();
  /**
   * Rooms that were refused for good. One that was in effect before is asked for on the next connection, where it begins anew (`later`);
   * one that never was is not, until somebody asks once more (`never`).
   */
  readonly #denied = new Map<string, "later" | "never">();
  /** Of rooms that the server could not go on with for a moment, where: the others went on meanwhile. */
  readonly #left = new Map<string, string>();
  /** Who waits for the snapshot of which rooms. */
  readonly #waiting = new Map<Member, Set<string>>();
  /** By room whose snapshot has come in part, who was told the pages before: who joins amid them waits for one from its beginning. */
  readonly #amid = new Map<string, readonly Member[]>();
  /** What snapshots have told to whom: who joins a room that others are in is told of changes again that its own contained. */
  readonly #shown = new Shown<Member>();
  /** Rooms that go on for some, while others wait for a snapshot: it is asked for when all that was missed is told. */
  readonly #owed = new Set<string>();
  /** Whether all that was missed in the rooms in effect is told, as far as is known. */
  #told = true;
  /** Whether a ping is on its way that shows it. */
  #pinged = false;
  /** Every room that is followed is covered up to here. */
  #position: string | undefined;
  /** Where the server was when it greeted. */
  #greeted: string | undefined;
  #refs = 0;

  constructor(filter?: Filter) {
    this.#filter = filter;
  }

  /** The newest position that is known: everything that is done from now on comes after it. */
  get position(): string | undefined {
    return this.#position ?? this.#greeted;
  }

  /** Whether nobody wants anything. */
  get empty(): boolean {
    return this.#members.size === 0;
  }

  /** Takes a member in; what to send, if there is a connection. */
  add(member: Member): Said[] {
    this.#members.add(member);
    member.rooms.forEach((room) => this.#denied.delete(room));
    const asked = this.#askedRooms();
    const fresh = member.rooms.filter((room) => !this.#entered.has(room) && !asked.has(room));
    for (const room of member.rooms) {
      if (this.#entered.has(room)) member.entered(room);
    }
    if (member.position !== undefined) return this.#subscribe([...new Set(member.rooms)], false, member.position);
    if (!member.snapshot) return this.#plain(fresh);
    this.#wait(member, member.rooms);
    // To join a room anew ends the telling of what was missed there: that comes first.
    const later = this.#told ? [] : member.rooms.filter((room) => !fresh.includes(room));
    later.forEach((room) => this.#owed.add(room));
    return [...this.#subscribe(member.rooms.filter((room) => !later.includes(room)), true), ...this.#ping()];
  }

  /** Lets a member go; what to send, if there is a connection. */
  remove(member: Member): Said[] {
    if (!this.#members.delete(member)) return [];
    this.#waiting.delete(member);
    this.#shown.left(member);
    const rooms = [...new Set(member.rooms)].filter((room) => !this.#wanted().has(room));
    const known = rooms.filter((room) => this.#entered.has(room) || this.#askedRooms().has(room));
    // What is asked and not answered puts nobody in a room that is left behind it: who joins it again asks again.
    for (const [ref, asked] of this.#asked) this.#asked.set(ref, asked.filter((room) => !rooms.includes(room)));
    for (const room of rooms) {
      this.#entered.delete(room);
      this.#followed.delete(room);
      this.#held.delete(room);
      this.#denied.delete(room);
      this.#left.delete(room);
      this.#amid.delete(room);
      this.#owed.delete(room);
      this.#known.forget(room);
    }
    return known.length === 0 ? [] : [{ type: "unsubscribe", rooms: known }];
  }

  /** A connection is there, empty of rooms: what to send. What was followed is gone on with, the rest begins. */
  opened(): Said[] {
    this.#entered.clear();
    this.#asked.clear();
    this.#amid.clear();
    this.#owed.clear();
    this.#told = true;
    this.#pinged = false;
    for (const [room, when] of this.#denied) if (when === "later") this.#denied.delete(room);
    return this.missing();
  }

  /** What to send for rooms that are wanted and neither in effect nor asked for, and for snapshots that are owed. */
  missing(): Said[] {
    const asked = this.#askedRooms();
    const wanted = [...this.#wanted()].filter((room) => !this.#entered.has(room) && !asked.has(room) && !this.#denied.has(room));
    // Who waits for a snapshot is not helped by what was missed: a room of which all wait for it begins anew.
    const goesOn = (room: string): boolean => this.#followed.has(room) && this.#in(room).some((member) => !this.#waits(member, room));
    const resumed = wanted.filter((room) => goesOn(room) && this.#position !== undefined);
    const fresh = wanted.filter((room) => !resumed.includes(room));
    for (const room of fresh) {
      this.#followed.delete(room);
      this.#left.delete(room);
    }
    resumed.filter((room) => this.#in(room).some((member) => this.#waits(member, room))).forEach((room) => this.#owed.add(room));
    const shown = new Set<string>();
    for (const member of this.#members) {
      if (!member.snapshot) continue;
      const rooms = member.rooms.filter((room) => fresh.includes(room));
      if (rooms.length > 0) this.#wait(member, rooms);
      rooms.forEach((room) => shown.add(room));
    }
    return [
      ...this.#resumed(resumed),
      ...this.#subscribe(fresh.filter((room) => shown.has(room)), true),
      ...this.#begun(fresh.filter((room) => !shown.has(room))),
      ...this.#pay(),
      ...this.#ping(),
    ];
  }

  /** Whether this question is still open. */
  waits(ref: string): boolean {
    return this.#asked.has(ref);
  }

  /** A message came, as this text. With the answer `again` there is more to send after a wait: what `missing` says then. */
  heard(message: Told, text: string): "handled" | "again" | "other" {
    switch (message.type) {
      case "welcome":
        this.#greeted = message.position;
        return "other";
      case "subscribed":
        this.#subscribed(message);
        return this.#lags ? "again" : "handled";
      case "unsubscribed":
        return "handled";
      case "snapshot":
        this.#snapshot(message, text);
        return "handled";
      case "reset":
        this.#reset(message.rooms, message, text);
        return "handled";
      case "pong":
        return this.#alive(message);
      case "error":
        return this.#refused(message);
      default:
        if (!isEvent(message)) return "other";
        this.#event(message, text);
        return "handled";
    }
  }

  #subscribe(rooms: readonly string[], snapshot: boolean, position?: string): Said[] {
    if (rooms.length === 0) return [];
    if (rooms.length > ASKED_MAX) {
      const [part, rest] = [rooms.slice(0, ASKED_MAX), rooms.slice(ASKED_MAX)];
      return [...this.#subscribe(part, snapshot, position), ...this.#subscribe(rest, snapshot, position)];
    }
    const ref = `rooms-${++this.#refs}`;
    this.#asked.set(ref, rooms);
    if (position !== undefined) this.#told = false;
    return [{
      type: "subscribe",
      rooms: [...rooms],
      ...(this.#filter && { filter: this.#filter }),
      ...(position !== undefined ? { position } : snapshot ? {} : { snapshot: false }),
      ref,
    }];
  }

  #wanted(): Set<string> {
    return new Set([...this.#members].flatMap((member) => member.rooms));
  }

  #askedRooms(): Set<string> {
    return new Set([...this.#asked.values()].flat());
  }

  /** What to send for rooms that go on, each from where it is. */
  #resumed(rooms: readonly string[]): Said[] {
    const from = new Map<string | undefined, string[]>();
    for (const room of rooms) {
      const position = this.#left.get(room) ?? this.#position;
      from.set(position, [...(from.get(position) ?? []), room]);
    }
    return [...from].flatMap(([position, resumed]) => this.#subscribe(resumed, true, position));
  }

  /** What to send for new rooms of which nobody wants a snapshot: each from where its member wants to go on. */
  #begun(rooms: readonly string[]): Said[] {
    const from = new Map<string | undefined, string[]>();
    for (const room of rooms) {
      const position = this.#in(room).find((member) => member.position !== undefined)?.position;
      from.set(position, [...(from.get(position) ?? []), room]);
    }
    return [...from].flatMap(([position, begun]) => (position === undefined ? this.#plain(begun) : this.#subscribe(begun, false, position)));
  }

  /**
   * What to send for rooms of which nobody wants a snapshot. Of an item that is asked for by a key one is asked for all the same: it
   * tells the item's id, without which its events are not told from others'.
   */
  #plain(rooms: readonly string[]): Said[] {
    const unknown = rooms.filter((room) => byKey(room) && !this.#known.tells(room));
    return [...this.#subscribe(rooms.filter((room) => !unknown.includes(room)), false), ...this.#subscribe(unknown, true)];
  }

  /** Whether what waits until all is told has to be asked for: a ping's answer shows when it is. */
  get #lags(): boolean {
    return this.#owed.size > 0 || [...this.#left.keys()].some((room) => this.#entered.has(room));
  }

  #ping(): Said[] {
    if (!this.#lags || this.#pinged || this.#told || this.#asked.size > 0) return [];
    this.#pinged = true;
    return [{ type: "ping" }];
  }

  /** Asks for the snapshots that are owed, once all is told. */
  #pay(): Said[] {
    if (!this.#told || this.#asked.size > 0) return [];
    const rooms = [...this.#owed].filter((room) => this.#entered.has(room) && this.#in(room).some((member) => this.#waits(member, room)));
    this.#owed.clear();
    return this.#subscribe(rooms, true);
  }

  #waits(member: Member, room: string): boolean {
    return this.#waiting.get(member)?.has(room) === true;
  }

  #wait(member: Member, rooms: readonly string[]): void {
    const waiting = this.#waiting.get(member) ?? new Set();
    rooms.forEach((room) => waiting.add(room));
    this.#waiting.set(member, waiting);
  }

  #in(room: string): Member[] {
    return [...this.#members].filter((member) => member.rooms.includes(room));
  }

  #subscribed({ ref, rooms, position, resumed }: Subscribed): void {
    const asked = ref === undefined ? undefined : this.#asked.get(ref);
    if (ref !== undefined) this.#asked.delete(ref);
    // Positions cannot be compared. With rooms that were joined before, their older one stands until an event covers all: a break
    // before that repeats to the new rooms what was before they were joined, and loses nothing.
    if (!resumed && (this.#position === undefined || this.#followed.size === 0)) this.#position = position;
    const wanted = this.#wanted();
    // By the names that were asked for: the answer's may be written another way. Rooms that were refused are not among them any more.
    for (const room of (asked ?? rooms).filter((room) => wanted.has(room))) {
      this.#entered.add(room);
      this.#followed.add(room);
      this.#held.add(room);
      this.#in(room).forEach((member) => member.entered(room));
    }
  }

  #snapshot(snapshot: Snapshot, text: string): void {
    const { room, more } = snapshot;
    // The word that a room is in effect comes before its snapshot, and after what is left of one for who has left it since.
    if (!this.#entered.has(room)) return;
    this.#known.snapshot(snapshot);
    const first = !this.#amid.has(room);
    const shown = this.#amid.get(room) ?? [...this.#waiting.keys()].filter((member) => this.#waits(member, room));
    if (more) this.#amid.set(room, shown);
    else this.#amid.delete(room);
    for (const member of shown) {
      const rooms = this.#waiting.get(member);
      if (rooms === undefined) continue;
      if (!more) rooms.delete(room);
      if (rooms.size === 0) this.#waiting.delete(member);
      this.#shown.page(member, snapshot, first);
      member.tell(snapshot, text);
    }
  }

  #reset(rooms: readonly string[], message: Message, text: string): void {
    for (const member of [...this.#members]) {
      const own = member.rooms.filter((room) => rooms.includes(room));
      own.forEach((room) => this.#left.delete(room));
      if (own.length === 0) continue;
      if (member.snapshot) this.#wait(member, own);
      member.tell(message, text);
    }
  }

  /** A sign of life. It has a position when all was told: what is quiet goes on from there, as long as nothing is asked behind it. */
  #alive({ position }: Pong): "handled" | "again" {
    this.#pinged = false;
    if (position !== undefined && this.#asked.size === 0) {
      this.#position = position;
      this.#told = true;
      [...this.#left.keys()].filter((room) => this.#entered.has(room)).forEach((room) => this.#left.delete(room));
    }
    return this.#lags ? "again" : "handled";
  }

  #event(event: Event, text: string): void {
    this.#position = event.position;
    if (isChange(event)) this.#changed(event);
    const heardIn = roomsOf(event, this.#known);
    const members = new Map([...this.#members].map((member) => [member, this.#hears(member, event, heardIn)]));
    const sure = [...members.values()].includes("yes");
    // To be told too much is better than too little: what its likely rooms do not explain goes to the unlikely ones, too.
    for (const [member, hears] of members) {
      if (hears === "yes" || hears === "maybe" || (hears === "unlikely" && !sure)) member.tell(event, text);
    }
  }

  /** Whether a member hears of an event, by the likeliest of its rooms. */
  #hears(member: Member, event: Event, heardIn: readonly string[]): Hears {
    // What a room hears comes after the word that it is in effect; what comes before was for others, who have left since.
    const rooms = member.rooms.filter((room) => this.#entered.has(room) && !this.#shown.has(member, room, event));
    // A newer server's type goes to everyone.
    if (heardIn.length === 0) return rooms.length > 0 ? "maybe" : "no";
    const heard = rooms.map((room) => this.#known.hears(room, event, heardIn));
    return LIKELIEST.find((one) => heard.includes(one)) ?? "no";
  }

  #changed(change: Change): void {
    this.#known.change(change);
    const room = `item:${change.key}`;
    if (this.#entered.has(room)) this.#known.is(room, change.item);
  }

  #refused(error: ErrorTold): "handled" | "again" | "other" {
    const asked = error.ref === undefined ? undefined : this.#asked.get(error.ref);
    if (asked === undefined && error.room === undefined) return "other";
    const rooms = error.room === undefined ? (asked ?? []) : [error.room];
    const left = asked?.filter((room) => !rooms.includes(room)) ?? [];
    if (error.ref !== undefined && asked !== undefined) {
      if (left.length > 0) this.#asked.set(error.ref, left);
      else this.#asked.delete(error.ref);
    }
    const passing = PASSING.has(error.code);
    for (const room of rooms) {
      if (error.room === undefined && this.#entered.has(room)) {
        // It was asked for once more and stays in effect; who waits to be shown it still does.
        if (passing) this.#owed.add(room);
        continue;
      }
      this.#entered.delete(room);
      if (!passing || !this.#followed.has(room)) {
        this.#followed.delete(room);
        this.#left.delete(room);
      } else if (!this.#left.has(room) && this.#position !== undefined) {
        this.#left.set(room, this.#position);
      }
    }
    if (passing) return "again";
    for (const room of rooms) {
      if (!this.#entered.has(room)) this.#denied.set(room, this.#held.has(room) ? "later" : "never");
    }
    for (const member of [...this.#members]) {
      const [first, ...more] = rooms.filter((room) => member.rooms.includes(room));
      if (first === undefined) continue;
      const which = more.length === 0 ? first : `${first} and ${more.length} more`;
      member.refused(new LockstepError(error.code, `room ${which}: ${error.reason}`));
    }
    return "handled";
  }
}
