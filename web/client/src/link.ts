/**
 * One connection that comes back: it dials, shows who it is, keeps its rooms through breaks, and notices silence.
 *
 * What to do is decided by `ending`, `backoff` and `Membership`; this does it.
 */

import { type Backoff, spread, wait } from "./backoff.js";
import type { Cancel, Clock } from "./clock.js";
import { type Ending, type Sent, ending, silence, sized } from "./ending.js";
import { LockstepError, asError } from "./errors.js";
import type { Filter } from "./answers.js";
import { type Member, Membership } from "./membership.js";
import { type Said, type Told, told } from "./protocol.js";
import { type Socket, type WebSocketConstructor, open } from "./socket.js";

/** How a connection stands. */
export type State =
  | { readonly state: "idle" }
  | { readonly state: "connecting" }
  | { readonly state: "open" }
  /** It broke, because of `code`; the next attempt is `waitMs` away, whole milliseconds. */
  | { readonly state: "waiting"; readonly code: string; readonly reason: string; readonly waitMs: number }
  /** It will not be made again by itself, because of `code`; `closed` when the program closed it. */
  | { readonly state: "closed"; readonly code: string; readonly reason: string };

/** What a link needs of its client. */
export interface Host {
  readonly url: string;
  readonly clock: Clock;
  readonly backoff: Backoff;
  /** How long one attempt to connect may take, in milliseconds. */
  readonly connectMs: number;
  /** A connection that held for so long counts as a good one: the waits begin anew. */
  readonly stableMs: number;
  /** How long an answer may take, in milliseconds. */
  readonly answerMs: number;
  readonly webSocket: WebSocketConstructor;
  /** Whether another token can be got. */
  readonly renews: boolean;
  /** What the first message shows and what the address carries, where the server asks who comes. */
  credential(): Promise<{ readonly token?: string; readonly ticket?: string }>;
  failed(error: LockstepError): void;
  changed(link: Link): void;
}

/** What goes over a link beside rooms. */
export interface Rider {
  /** The link is open: send what waits. */
  opened(): void;
  /** A message that is not about rooms; true when it was for this rider. */
  heard(message: Told): boolean;
  /** The link broke: nothing that was not answered will be. */
  lost(): void;
}

/** How many bytes a message may have, to a server that does not say it. */
const MESSAGE_MAX_BYTES = 64 * 1024;

const NOTHING_SENT: Sent = { type: "", bytes: 0 };

/** One connection. */
export class Link {
  readonly #host: Host;
  readonly #riders: Rider[] = [];
  readonly #rooms: Membership;
  #state: State = { state: "idle" };
  #tried = false;
  #socket: Socket | undefined;
  #timers: Cancel[] = [];
  #attempt = 0;
  /** Counts dials, so that what an old one still answers is known as old. */
  #dial = 0;
  #openedAt = 0;
  #heardAt = 0;
  /** Whether a sign of life was asked for since something was heard. */
  #asked = false;
  /** How often rooms had to be asked about again, since the link opened. */
  #repeats = 0;
  /** Ends the patience with an attempt to connect. */
  #patience: Cancel = () => {};
  #welcome = false;
  #admitted = false;
  #messageMaxBytes = MESSAGE_MAX_BYTES;
  /** The largest message of this connection. */
  #largest = NOTHING_SENT;

  constructor(host: Host, filter?: Filter) {
    this.#host = host;
    this.#rooms = new Membership(filter);
  }

  get state(): State {
    return this.#state;
  }

  /** Whether its first attempt is over: it has been open, or has broken. */
  get tried(): boolean {
    return this.#tried;
  }

  /** Where one can go on from, once the server said so. */
  get position(): string | undefined {
    return this.#rooms.position;
  }

  /** How many bytes a message to this server may have. */
  get messageMaxBytes(): number {
    return this.#messageMaxBytes;
  }

  /** Whether nobody wants its rooms. */
  get empty(): boolean {
    return this.#rooms.empty;
  }

  /** Lets something beside rooms go over it. */
  carry(rider: Rider): void {
    this.#riders.push(rider);
  }

  /** Connects, unless it does or is already. */
  start(): void {
    if (this.#state.state === "idle" || this.#state.state === "closed") void this.#connect();
  }

  /** Ends it; `start` begins anew. */
  stop(error: LockstepError): void {
    this.#drop(1000);
    this.#become({ state: "closed", code: error.code, reason: error.message });
  }

  add(member: Member): void {
    this.#send(this.#rooms.add(member));
  }

  remove(member: Member): void {
    this.#send(this.#rooms.remove(member));
  }

  /** Sends, if it is open. */
  say(message: Said): boolean {
    if (this.#state.state === "open") this.#send([message]);
    return this.#state.state === "open";
  }

  /** Ends the connection and makes another, after the wait that the word deserves. */
  again(number: number, reason: string): void {
    this.#drop(number);
    this.#ended(ending(number, reason, this.#host.renews));
  }

  async #connect(): Promise<void> {
    const dial = ++this.#dial;
    this.#become({ state: "connecting" });
    const { clock, connectMs } = this.#host;
    this.#patience = this.#after(connectMs, () => this.again(1006, `unreachable: no answer within ${connectMs} ms`));
    try {
      const shown = await this.#host.credential();
      if (dial !== this.#dial || this.#state.state !== "connecting") return;
      this.#welcome = false;
      this.#largest = NOTHING_SENT;
      this.#admitted = shown.token === undefined;
      const address = shown.ticket === undefined ? this.#host.url : `${this.#host.url}?ticket=${encodeURIComponent(shown.ticket)}`;
      this.#socket = open(this.#host.webSocket, address, {
        opened: () => {
          this.#heardAt = clock.now();
          if (shown.token !== undefined) this.#write({ type: "auth", token: shown.token, ref: "auth" });
        },
        received: (data) => this.#received(data),
        closed: (number, reason) => {
          this.#drop(number);
          const end = ending(number, reason, this.#host.renews);
          this.#ended(number === 1009 && this.#welcome ? sized(end, this.#messageMaxBytes, this.#largest) : end);
        },
      });
    } catch (thrown) {
      if (dial !== this.#dial) return;
      const error = asError(thrown, "unreachable", "the connection cannot be made");
      this.#host.failed(error);
      // Whoever heard of it may have closed the client.
      if (dial !== this.#dial) return;
      this.#drop(1000);
      this.#ended({ code: error.code, reason: error.message, again: error.code === "bad_option" ? "never" : "growing" });
    }
  }

  #received(data: unknown): void {
    this.#heardAt = this.#host.clock.now();
    this.#asked = false;
    try {
      this.#heard(told(data), data as string);
    } catch (thrown) {
      this.#host.failed(asError(thrown, "not_understood", "a message cannot be read"));
    }
  }

  #heard(message: Told, text: string): void {
    if (message.type === "welcome") {
      this.#messageMaxBytes = message.message_max_bytes ?? MESSAGE_MAX_BYTES;
      this.#greeted(message.ping_ms);
    }
    if (message.type === "auth_success") this.#admitted = true;
    if (message.type === "going_away") this.#leave(message.in_ms);
    if (message.type === "token_expiring") void this.#renew(this.#host.clock.now() + message.in_ms, 0);
    const heard = this.#rooms.heard(message, text);
    if (heard === "again") this.#after(this.#wait(this.#repeats++), () => this.#send(this.#rooms.missing()));
    if (this.#state.state === "connecting" && this.#welcome && this.#admitted) this.#ready();
    if (heard !== "other" || this.#riders.some((rider) => rider.heard(message))) return;
    if (message.type === "error") this.#complain(new LockstepError(message.code, message.reason), message.ref === "auth");
  }

  #greeted(pingMs: number): void {
    this.#welcome = true;
    const look = (): void => {
      const verdict = silence(this.#host.clock.now() - this.#heardAt, pingMs, this.#asked);
      if (verdict === "dead") return this.again(1001, `no_sign_of_life: nothing was heard for ${2.5 * pingMs} ms`);
      // Pings of the WebSocket itself are not shown to programs in browsers.
      if (verdict === "ask" && this.say({ type: "ping" })) this.#asked = true;
      this.#after(pingMs / 2, look);
    };
    this.#after(pingMs / 2, look);
  }

  #ready(): void {
    this.#openedAt = this.#host.clock.now();
    this.#patience();
    this.#repeats = 0;
    this.#become({ state: "open" });
    this.#send(this.#rooms.opened());
    this.#riders.forEach((rider) => rider.opened());
  }

  /** This server goes away: connect to another at some moment before it does. */
  #leave(inMs: number): void {
    this.#after(spread(inMs, this.#host.clock.random()), () => this.again(1001, "going_away: the server said that it stops"));
  }

  /** Shows a new token in place of the one that expires at `deadline`. */
  async #renew(deadline: number, attempt: number): Promise<void> {
    const dial = this.#dial;
    try {
      if (!this.#host.renews) throw new LockstepError("token_expired", "the token expires soon; pass getToken to get another in time");
      const shown = await this.#host.credential();
      const token = shown.token ?? shown.ticket;
      if (dial === this.#dial && token !== undefined) this.say({ type: "auth", token, ref: "auth" });
    } catch (thrown) {
      this.#host.failed(asError(thrown, "token_expired", "no new token"));
      const pause = this.#wait(attempt + 1);
      const late = this.#host.clock.now() + pause >= deadline;
      if (dial === this.#dial && this.#host.renews && !late) this.#after(pause, () => void this.#renew(deadline, attempt + 1));
    }
  }

  #complain(error: LockstepError, ofAuth: boolean): void {
    this.#host.failed(error);
    if (!ofAuth || this.#state.state !== "connecting") return;
    this.#drop(1000);
    this.#ended(ending(1008, `${error.code}: ${error.message}`, this.#host.renews));
  }

  #ended(end: Ending): void {
    const { clock, stableMs, backoff } = this.#host;
    if (this.#openedAt > 0 && clock.now() - this.#openedAt >= stableMs) this.#attempt = 0;
    this.#openedAt = 0;
    if (end.again === "never") return this.#become({ state: "closed", code: end.code, reason: end.reason });
    // A server that ends every connection at once is not to be met at once each time.
    const soon = end.again === "at_once" && this.#attempt === 0;
    const waitMs = Math.round(soon ? spread(backoff.firstMs, clock.random()) : this.#wait(this.#attempt));
    this.#attempt += 1;
    this.#after(waitMs, () => void this.#connect());
    this.#become({ state: "waiting", code: end.code, reason: end.reason, waitMs });
  }

  #wait(attempt: number): number {
    return wait(this.#host.backoff, attempt, this.#host.clock.random());
  }

  /** Forgets the socket and every timer. */
  #drop(number: number): void {
    this.#timers.forEach((cancel) => cancel());
    this.#timers = [];
    this.#dial += 1;
    // Other codes than these are not a program's to send.
    this.#socket?.drop(number === 1000 ? 1000 : 4000);
    this.#socket = undefined;
    this.#asked = false;
    this.#riders.forEach((rider) => rider.lost());
  }

  #after(ms: number, call: () => void): Cancel {
    const cancel = this.#host.clock.after(ms, () => {
      this.#timers = this.#timers.filter((one) => one !== cancel);
      call();
    });
    this.#timers.push(cancel);
    return cancel;
  }

  #send(messages: readonly Said[]): void {
    if (this.#state.state !== "open") return;
    for (const message of messages) {
      this.#write(message);
      if (message.type === "subscribe" && message.ref !== undefined) this.#expectAnswer(message.ref);
    }
  }

  /** A server that does not say what became of a question may not have heard it: on a new connection it is asked again. */
  #expectAnswer(ref: string): void {
    const { answerMs } = this.#host;
    this.#after(answerMs, () => {
      if (this.#rooms.waits(ref)) this.again(1006, `unreachable: no answer to subscribe within ${answerMs} ms`);
    });
  }

  #write(message: Said): void {
    const text = JSON.stringify(message);
    // No character has more than three bytes for each of its units, so that most texts need no counting.
    const bytes = text.length * 3 > this.#largest.bytes ? new TextEncoder().encode(text).length : 0;
    if (bytes > this.#largest.bytes) this.#largest = { type: message.type, bytes };
    this.#socket?.send(text);
  }

  #become(state: State): void {
    this.#state = state;
    this.#tried ||= state.state !== "connecting";
    this.#host.changed(this);
  }
}
