/** Rooms that a program follows, and how it is told: by a handler, by a loop, or both. */

import { Buffer } from "./buffer.js";
import { guarded } from "./emitter.js";
import { LockstepError } from "./errors.js";
import type { Member } from "./membership.js";
import { type Message, isEvent } from "./protocol.js";
import { written } from "./rooms.js";

/** What is told of each message. A promise that it answers is not waited for. */
export type Handler<T = Message> = (message: T) => unknown;

/** How many of the newest events are remembered, to know one that comes again after a break. */
const SEEN_MAX = 1_000;

/** What a subscription needs of its client. */
export interface SubscriptionHost {
  readonly bufferMax: number;
  failed(error: LockstepError): void;
  leave(member: Member): void;
}

/**
 * Followed rooms: `for await (const message of subscription)`, or a handler. Each event comes once and in order, whatever
 * happens to the connection.
 *
 * Without a handler messages are kept for a loop from the start, `bufferMax` of them; one that falls further behind fails with
 * `buffer_full`. Leaving the loop leaves the rooms, unless a handler or another loop hears them.
 */
export class Subscription implements AsyncIterable<Message> {
  readonly rooms: readonly string[];
  readonly #host: SubscriptionHost;
  readonly #handler: Handler | undefined;
  readonly #buffers = new Set<Buffer<Message>>();
  readonly #seen = new Set<string>();
  readonly #missing: Set<string>;
  readonly #member: Member;
  #first: Buffer<Message> | undefined;
  #over = false;
  readonly #ready: Promise<void>;
  /** Whether somebody waits for `ready`, and so is told of a refusal. */
  #awaited = false;
  #settled = false;
  #settle: { resolve: () => void; reject: (error: LockstepError) => void };

  /** @internal */
  constructor(host: SubscriptionHost, rooms: readonly string[], start: Start, handler: Handler | undefined) {
    if (rooms.length === 0) throw new LockstepError("bad_argument", 'at least one room is needed, such as "all" or "agent:a"');
    this.rooms = [...new Set(rooms)];
    this.#host = host;
    this.#handler = handler;
    const names = [...new Set(rooms.map(written))];
    this.#missing = new Set(names);
    let settle = { resolve: (): void => {}, reject: (_: LockstepError): void => {} };
    this.#ready = new Promise((resolve, reject) => (settle = { resolve, reject }));
    this.#settle = settle;
    // Nobody has to wait for it: where nobody does, the error event tells of a refusal.
    this.#ready.catch(() => {});
    if (handler === undefined) this.#first = this.#open();
    this.#member = {
      rooms: names,
      snapshot: start.snapshot && start.position === undefined,
      position: start.position,
      tell: (message, text) => this.#tell(message, text),
      entered: (room) => this.#entered(room),
      refused: (error) => this.#refused(error),
    };
  }

  /**
   * Resolves when every room is in effect; fails with the server's word when one is refused. Who has read it by then is the one who is
   * told of that refusal; else, and of each further one, the client's `error` event tells.
   */
  get ready(): Promise<void> {
    this.#awaited = true;
    return this.#ready;
  }

  /** @internal */
  get member(): Member {
    return this.#member;
  }

  /** Leaves the rooms. Loops end after what they have still to read. */
  unsubscribe(): void {
    if (this.#over) return;
    this.end();
    this.#host.leave(this.#member);
  }

  /** @internal Ends without a word to the server: the client is closed. */
  end(error?: LockstepError): void {
    this.#over = true;
    this.#fail(error ?? new LockstepError("closed", "the subscription was ended"));
    this.#buffers.forEach((buffer) => buffer.end(error));
    this.#buffers.clear();
  }

  /** @internal The connection ended for good: loops fail; a handler hears more when the program connects again. */
  broke(error: LockstepError): void {
    this.#fail(error);
    this.#buffers.forEach((buffer) => buffer.end(error));
    this.#buffers.clear();
    if (this.#handler === undefined) this.unsubscribe();
  }

  [Symbol.asyncIterator](): AsyncIterator<Message> {
    const buffer = this.#first ?? this.#open();
    this.#first = undefined;
    return buffer;
  }

  #open(): Buffer<Message> {
    const buffer: Buffer<Message> = new Buffer(this.#host.bufferMax, () => {
      this.#buffers.delete(buffer);
      if (this.#buffers.size === 0 && this.#handler === undefined) this.unsubscribe();
    });
    if (this.#over) buffer.end();
    else this.#buffers.add(buffer);
    return buffer;
  }

  #tell(message: Message, text: string): void {
    if (this.#over || (isEvent(message) && !this.#fresh(text))) return;
    const handler = this.#handler;
    if (handler !== undefined) {
      guarded(() => handler(message), (thrown) => {
        this.#host.failed(new LockstepError("handler_failed", `a handler of ${this.rooms.join(", ")} failed`, { cause: thrown }));
      });
    }
    [...this.#buffers].forEach((buffer) => buffer.push(message));
  }

  /** Notes an event; false for one that was told. Its text holds its position, so equal texts are one event. */
  #fresh(text: string): boolean {
    if (this.#seen.has(text)) return false;
    this.#seen.add(text);
    const oldest = this.#seen.keys().next();
    if (this.#seen.size > SEEN_MAX && !oldest.done) this.#seen.delete(oldest.value);
    return true;
  }

  #entered(room: string): void {
    this.#missing.delete(room);
    if (this.#missing.size > 0) return;
    this.#settled = true;
    this.#settle.resolve();
  }

  #refused(error: LockstepError): void {
    const told = this.#awaited && !this.#settled;
    this.#fail(error);
    if (!told) this.#host.failed(error);
  }

  #fail(error: LockstepError): void {
    this.#settled = true;
    this.#settle.reject(error);
  }
}

/** Where a subscription begins. */
export interface Start {
  /** How things stand comes first. */
  readonly snapshot: boolean;
  /** What came after this position comes first. */
  readonly position?: string | undefined;
}
