/**
 * Decides what becomes of status updates between the call and the server's answer: which wait, which go next, which are sent
 * again. No I/O, no clock.
 *
 * One message is on its way at a time, so a record's statuses keep their order. Each status has an id from the start, so one whose
 * answer was lost is sent again and stored once, as long as servers remember the id.
 */

import { LockstepError, asError, type RefusedStatus } from "./errors.js";
import type { Accepted, Status } from "./answers.js";

/** How many statuses a server takes in one message. */
const STATUSES_MAX = 500;
/** How many bytes a message has at most beside its statuses. */
const BESIDE = 128;
/** How much of what a server takes is filled with several statuses. */
const FILLED = 0.75;
/** How often a status is sent at most while the server answers that it cannot store it now. */
const ATTEMPTS_MAX = 8;
/** For how long after it was first sent a status may be sent again, in milliseconds. Servers know an id again for 120 s. */
const AGAIN_MS = 100_000;

/** Refusals of what may be stored all the same. */
const DOUBTFUL: ReadonlySet<string> = new Set(["not_stored", "timeout"]);

/** A status with its id. */
export type Update = Status & { id: string };

/** How one status ended. */
export type Ended =
  | { readonly as: "stored"; readonly accepted: Accepted; readonly from: string | undefined }
  /** A newer one of its record took its place before it was sent, because the queue was full. */
  | { readonly as: "replaced" }
  | { readonly as: "refused"; readonly error: LockstepError };

interface Entry {
  readonly update: Update;
  readonly bytes: number;
  readonly call: number;
  readonly end: (ended: Ended) => void;
  attempts: number;
  /** When it was first sent, and where the connection was then, unless the answers say that it was not stored. */
  sentAt: number | undefined;
  from: string | undefined;
  /** It may be stored, for what is known. */
  doubtful: boolean;
}

/** A message that goes now. */
export interface Outgoing {
  readonly ref: string;
  readonly statuses: Update[];
}

/** The statuses that are not stored yet, oldest first. */
export class Outbox {
  readonly #max: number;
  #waiting: Entry[] = [];
  #sent: { ref: string; entries: Entry[] } | undefined;
  #calls = 0;
  #refs = 0;
  /** The next message holds statuses of one call only, because one that held several was refused as a whole. */
  #apart = false;

  /** At most `max` wait or are on their way. */
  constructor(max: number) {
    this.#max = max;
  }

  /** How many wait or are on their way. */
  get size(): number {
    return this.#waiting.length + (this.#sent?.entries.length ?? 0);
  }

  /**
   * Takes the statuses of one call, all or none. In a full queue older statuses of the same records make room, if they were not
   * sent yet; when that is not enough the call is refused with `queue_full`.
   */
  add(updates: readonly Update[], end: (index: number, ended: Ended) => void): void {
    const over = this.size + updates.length - this.#max;
    const replaced = over > 0 ? this.#replaceable(updates, over) : [];
    if (over > replaced.length) {
      const detail = `${this.size} statuses wait to be sent and ${this.#max} may; ${updates.length} more were not taken`;
      throw new LockstepError("queue_full", `${detail}. Wait until the connection is back, or raise queueMax`);
    }
    const sizes = updates.map(size);
    const call = ++this.#calls;
    this.#waiting = this.#waiting.filter((entry) => !replaced.includes(entry));
    updates.forEach((update, index) => {
      this.#waiting.push({ update, bytes: sizes[index]!, call, end: (ended) => end(index, ended), attempts: 0, sentAt: undefined, from: undefined, doubtful: false });
    });
    replaced.forEach((entry) => entry.end({ as: "replaced" }));
  }

  /**
   * The message to send at `now`, by a connection that is at `position`: none while one is on its way. A status that alone is too large for a server that takes `bytesMax` ends
   * here: the server would end the connection. So does one whose id servers may have forgotten: it would count a second time.
   */
  next(bytesMax: number, now: number, position?: string): Outgoing | undefined {
    if (this.#sent !== undefined) return undefined;
    this.#refuseLarger(bytesMax);
    this.#giveUpOld(now);
    const first = this.#waiting[0];
    if (first === undefined) return undefined;
    let bytes = 0;
    const fits = (entry: Entry, index: number): boolean => {
      bytes += entry.bytes + 1;
      return index === 0 || (index < STATUSES_MAX && bytes <= FILLED * bytesMax && (!this.#apart || entry.call === first.call));
    };
    const end = this.#waiting.findIndex((entry, index) => !fits(entry, index));
    const entries = this.#waiting.splice(0, end === -1 ? this.#waiting.length : end);
    for (const entry of entries) {
      entry.attempts += 1;
      if (entry.sentAt === undefined) [entry.sentAt, entry.from] = [now, position];
    }
    const ref = `status-${++this.#refs}`;
    this.#sent = { ref, entries };
    return { ref, statuses: entries.map((entry) => entry.update) };
  }

  /** The server stored the message. */
  stored(ref: string | undefined, accepted: readonly Accepted[]): boolean {
    const sent = this.#answered(ref);
    if (sent === undefined) return false;
    this.#apart = false;
    sent.forEach((entry, index) => {
      const { id, record } = entry.update;
      const own = accepted.find((one) => one.id === id && one.record === record) ?? accepted[index];
      if (own !== undefined) return entry.end({ as: "stored", accepted: own, from: entry.from });
      entry.end({ as: "refused", error: answerLost(entry, "the server's answer does not name it") });
    });
    return true;
  }

  /**
   * The server refused the message. Statuses that it names end with its words, and the others, of which nothing was stored either,
   * wait again. One that passes is tried again as a whole: the answer is then `later`.
   */
  refused(ref: string | undefined, error: LockstepError, passing: boolean): "other" | "now" | "later" {
    const sent = this.#answered(ref);
    if (sent === undefined) return "other";
    for (const entry of sent) {
      entry.doubtful ||= DOUBTFUL.has(error.code);
      if (!entry.doubtful) entry.sentAt = undefined;
    }
    if (passing) {
      const worn = sent.filter((entry) => entry.attempts >= ATTEMPTS_MAX);
      this.#return(sent.filter((entry) => !worn.includes(entry)));
      worn.forEach((entry) => fail(entry, error));
      return "later";
    }
    const named = new Map(error.errors.map((one) => [one.index, one]));
    const calls = new Set(sent.map((entry) => entry.call));
    // An answer that names nobody may be about any of several calls: each is tried for itself.
    this.#apart = named.size === 0 && calls.size > 1;
    const back = this.#apart ? sent : sent.filter((_, index) => named.size > 0 && !named.has(index));
    this.#return(back);
    sent.forEach((entry, index) => {
      if (back.includes(entry)) return;
      const wrong = named.get(index);
      if (wrong === undefined) fail(entry, error);
      else entry.end({ as: "refused", error: about(entry.update, error, wrong) });
    });
    return "now";
  }

  /** The connection broke: what had no answer is sent again, in its old place. */
  lost(): void {
    const sent = this.#sent?.entries ?? [];
    this.#sent = undefined;
    // A broken connection says nothing against the statuses.
    for (const entry of sent) {
      entry.attempts -= 1;
      entry.doubtful = true;
    }
    this.#return(sent);
  }

  /** Nothing will be sent any more. */
  close(error: LockstepError): void {
    this.lost();
    const all = this.#waiting;
    this.#waiting = [];
    all.forEach((entry) => fail(entry, error));
  }

  #refuseLarger(bytesMax: number): void {
    const large = this.#waiting.filter((entry) => entry.bytes > bytesMax - BESIDE);
    if (large.length === 0) return;
    this.#waiting = this.#waiting.filter((entry) => !large.includes(entry));
    for (const entry of large) {
      const detail = `${entry.update.record}: the status has ${entry.bytes} bytes as JSON; the server takes ${bytesMax - BESIDE} (message_max_bytes)`;
      fail(entry, new LockstepError("too_large", detail));
    }
  }

  #giveUpOld(now: number): void {
    const old = this.#waiting.filter(({ sentAt }) => sentAt !== undefined && now - sentAt > AGAIN_MS);
    if (old.length === 0) return;
    this.#waiting = this.#waiting.filter((entry) => !old.includes(entry));
    old.forEach((entry) => entry.end({ as: "refused", error: answerLost(entry, "sent again so late it might count twice") }));
  }

  #answered(ref: string | undefined): Entry[] | undefined {
    if (this.#sent === undefined || this.#sent.ref !== ref) return undefined;
    const { entries } = this.#sent;
    this.#sent = undefined;
    return entries;
  }

  #return(entries: readonly Entry[]): void {
    this.#waiting = [...entries, ...this.#waiting];
  }

  /** The oldest statuses of the same records that were not sent, as many as are over: what was sent may be stored. */
  #replaceable(updates: readonly Update[], over: number): Entry[] {
    const records = new Set(updates.map((update) => update.record));
    return this.#waiting.filter(({ update, sentAt }) => records.has(update.record) && sentAt === undefined).slice(0, over);
  }
}

/** How many bytes a status has as JSON. What JSON cannot hold throws. */
function size(update: Update): number {
  let text: string;
  try {
    text = JSON.stringify(update);
  } catch (thrown) {
    throw asError(thrown, "bad_argument", `${update.record}: the status is no JSON`);
  }
  return new TextEncoder().encode(text).length;
}

/** Ends an entry by an error that does not say what became of it when it was sent before. */
function fail(entry: Entry, error: LockstepError): void {
  const lost = (): LockstepError => answerLost(entry, `${error.code}: ${error.message}`, error);
  entry.end({ as: "refused", error: entry.doubtful ? lost() : error });
}

function answerLost({ update }: Entry, why: string, cause?: LockstepError): LockstepError {
  return new LockstepError("answer_lost", `the status of ${update.record} was sent and may be stored: ${why}`, cause && { cause });
}

function about(update: Update, error: LockstepError, named: RefusedStatus): LockstepError {
  const where = named.field === "" ? update.record : `${update.record}, ${named.field}`;
  return new LockstepError(error.code, `${where}: ${named.detail}`, { errors: [named] });
}
