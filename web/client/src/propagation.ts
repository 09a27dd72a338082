/** Waits until stored statuses have spread, by events and by asking; `spread` judges. */

import { type Cancel, type Clock, within } from "./clock.js";
import { LockstepError, sentence } from "./errors.js";
import type { HistoryLine, Item } from "./answers.js";
import { type Message, isChange, isEvent } from "./protocol.js";
import { type Outcome, Spread, type StatusOutcome } from "./spread.js";
import type { NotStored, Stored } from "./updates.js";

/** How far the statuses of one call have spread. */
export interface Propagated {
  /** Each item took its status, had it, or lets it change nothing, and each record that can be told shows it, as its system confirmed. */
  readonly complete: boolean;
  /** Nothing more is to come: nothing is pending. */
  readonly settled: boolean;
  /** Each status, in no particular order. */
  readonly statuses: readonly StatusOutcome[];
}

/** What waiting needs. */
export interface PropagationSetting {
  readonly clock: Clock;
  /** Follows rooms from a position until the answer is called. */
  follow(rooms: readonly string[], from: string | undefined, hear: (message: Message) => void): Cancel;
  /** The item of a record as it stands; `undefined` where there is none yet. */
  item(record: string): Promise<Item | undefined>;
  /** An item's history up to a place on the stream, newest first. */
  history(item: string, upTo: number): Promise<readonly HistoryLine[]>;
}

/** The waits between two questions about one item, in milliseconds: events make most of them needless. */
const ASK_MS = { first: 100, max: 2_000 };
/** How long questions may take that are asked when the time is nearly over, in milliseconds. */
const LOOK_MS = 1_000;
/** How many questions go at once. */
const AT_ONCE = 8;

/** Statuses that are stored. */
export class Propagation {
  /** Stored: they count from now on, whatever happens to this client. */
  readonly accepted: readonly Stored[];
  /** Not stored, or not known to be (`answer_lost`), each with the reason. */
  readonly refused: readonly NotStored[];
  readonly #setting: PropagationSetting;

  /** @internal */
  constructor(setting: PropagationSetting, accepted: readonly Stored[], refused: readonly NotStored[]) {
    this.accepted = accepted;
    this.refused = refused;
    this.#setting = setting;
  }

  /**
   * Waits until the system of each record concerned has confirmed what it shows, or `timeoutMs` are over (default 30,000) and a last
   * look, which takes a second at most. Never fails: what is not confirmed by then is `pending`.
   */
  async propagated({ timeoutMs = 30_000 }: { readonly timeoutMs?: number } = {}): Promise<Propagated> {
    const spreads = this.accepted.map((stored) => new Spread(stored));
    const { clock } = this.#setting;
    const deadline = clock.now() + timeoutMs;
    const wake = new Wake(clock);
    const following = new Map<string, Cancel>();
    // A record's room does not hear of the item's other records; the item's own does, and is known once the item is.
    const follow = (rooms: readonly string[]): void => {
      const fresh = rooms.filter((room) => !following.has(room));
      if (fresh.length === 0) return;
      try {
        const end = this.#setting.follow(fresh, this.accepted[0]?.from, hear);
        fresh.forEach((room) => following.set(room, end));
      } catch {
        // The client was closed: what it can still ask tells.
      }
    };
    const hear = (message: Message): void => {
      if (!isEvent(message)) return;
      if (isChange(message)) spreads.forEach((spread) => spread.change(message));
      else if (message.type === "delivery") spreads.forEach((spread) => spread.delivery(message));
      follow(itemsOf(spreads));
      if (spreads.every((spread) => spread.settled)) wake.up();
    };
    follow(this.accepted.map(({ record }) => `record:${record}`));
    try {
      await this.#ask(spreads, deadline, wake, () => follow(itemsOf(spreads)));
    } finally {
      following.forEach((end) => end());
    }
    const statuses = [...spreads.map((spread) => spread.outcome()), ...this.refused.map(notStored)];
    return { complete: statuses.every(isComplete), settled: statuses.every(isSettled), statuses };
  }

  /** Asks how the items stand until everything is settled. Events that settle it end the wait. */
  async #ask(spreads: readonly Spread[], deadline: number, wake: Wake, looked: () => void): Promise<void> {
    const { clock } = this.#setting;
    for (let waitMs = ASK_MS.first; ; waitMs = Math.min(waitMs * 2, ASK_MS.max)) {
      const open = spreads.filter((spread) => !spread.settled);
      if (open.length === 0) return;
      await within(clock, Math.max(LOOK_MS, deadline - clock.now()), this.#looks(open), late).catch(() => {});
      looked();
      const leftMs = deadline - clock.now();
      if (leftMs <= 0 || spreads.every((spread) => spread.settled)) return;
      await wake.within(Math.min(waitMs, leftMs));
    }
  }

  async #looks(spreads: readonly Spread[]): Promise<void> {
    for (let at = 0; at < spreads.length; at += AT_ONCE) {
      await Promise.all(spreads.slice(at, at + AT_ONCE).map((spread) => this.#look(spread)));
    }
  }

  async #look(spread: Spread): Promise<void> {
    try {
      const item = await this.#setting.item(spread.record);
      if (item === undefined) return spread.unseen();
      spread.stands(item, spread.unexplained(item) ? await this.#setting.history(item.id, spread.sequence) : []);
    } catch {
      // Where the face for items cannot be reached, events alone tell.
    }
  }
}

function late(): LockstepError {
  return new LockstepError("timeout", "how the items stand was not told in time");
}

/** A wait that can be ended early. */
class Wake {
  readonly #clock: Clock;
  #early = false;
  #end: (() => void) | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  up(): void {
    this.#early = true;
    this.#end?.();
  }

  /** Waits so long, or until the next `up`; one that came while nobody waited counts. */
  within(ms: number): Promise<void> {
    return new Promise((resolve) => {
      if (this.#early) {
        this.#early = false;
        return resolve();
      }
      const cancel = this.#clock.after(ms, () => this.#end?.());
      this.#end = () => {
        this.#early = false;
        this.#end = undefined;
        cancel();
        resolve();
      };
    });
  }
}

/** The rooms of the items that are known and not settled. */
function itemsOf(spreads: readonly Spread[]): string[] {
  const items = spreads.filter((spread) => !spread.settled).map((spread) => spread.outcome().item);
  return [...new Set(items)].filter((item) => item !== undefined).map((item) => `item:${item}`);
}

function isComplete({ outcome, records }: StatusOutcome): boolean {
  const shows = (one: Outcome): boolean => one === "applied" || one === "unchanged";
  return shows(outcome) && records.every((record) => shows(record.outcome) || record.outcome === "not_told");
}

function isSettled({ outcome, records }: StatusOutcome): boolean {
  return [outcome, ...records.map((record) => record.outcome)].every((one) => one !== "pending");
}

/** What a status is that was not refused, by the code of its error. */
const NOT_REJECTED: Readonly<Record<string, Outcome>> = { replaced: "superseded", answer_lost: "pending" };

function notStored({ record, id, error }: NotStored): StatusOutcome {
  const outcome = NOT_REJECTED[error.code] ?? "rejected";
  return { record, id, outcome, reason: sentence(error), item: undefined, version: undefined, records: [] };
}

/**
 * The error of a call of which nothing is known to be stored. What may be stored is told rather than what is not: whoever takes all for
 * refused would give such a status another time.
 */
export function nothingStored(refused: readonly NotStored[]): LockstepError {
  const lost = refused.filter(({ error }) => error.code === "answer_lost");
  const first = (lost[0] ?? refused[0])?.error ?? new LockstepError("bad_argument", "there must be at least one status");
  if (refused.length <= 1) return first;
  const message = lost.length > 0
    ? `${first.message}; of ${refused.length} statuses ${lost.length} may be stored, and none is known to be`
    : `none of ${refused.length} statuses was stored; the first: ${first.message}`;
  return new LockstepError(first.code, message, { errors: refused.flatMap(({ error }) => error.errors) });
}
