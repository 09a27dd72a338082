/**
 * Judges how far one stored status has spread: which records show it, as their systems confirmed. Pure.
 *
 * Three sources tell: events, which come at once; the item as `GET /v1/items` shows it, which is complete; and of a status that changed
 * nothing the item's history.
 */

import type { HistoryLine, Item, ItemRecord } from "./answers.js";
import type { Delivery } from "./messages.js";
import type { Change } from "./protocol.js";
import type { Stored } from "./updates.js";

/**
 * | outcome | meaning |
 * | --- | --- |
 * | `applied` | its system confirmed that it shows the status |
 * | `unchanged` | nothing had to be written: it showed it already |
 * | `superseded` | an edit that is newer, or that wins, counts instead |
 * | `overtaken` | a newer version of the item came to the record first |
 * | `rejected` | refused for good |
 * | `failed` | all attempts were used up |
 * | `not_told` | it cannot be told: `read_only`, `as_close`, `unmapped` or `deleted` |
 * | `pending` | none of these yet |
 */
export type Outcome = "applied" | "unchanged" | "superseded" | "overtaken" | "rejected" | "failed" | "not_told" | "pending";

/** How one record stands. */
export interface RecordOutcome {
  readonly record: string;
  readonly outcome: Outcome;
  /** Why, in words; empty where there is nothing to say. */
  readonly reason: string;
}

/** How one status stands. */
export interface StatusOutcome {
  /** The record that it was said of, and the status's id. */
  readonly record: string;
  readonly id: string;
  /** Whether the item took it: `applied`, or what came of it instead. */
  readonly outcome: Outcome;
  readonly reason: string;
  /** The item's id and the version that has the status, once that is known. */
  readonly item: string | undefined;
  readonly version: number | undefined;
  /** The item's other records; and this one, where it was asked for what its system has to be told like theirs. */
  readonly records: readonly RecordOutcome[];
}

type Verdict = Omit<RecordOutcome, "record">;

const PENDING: Verdict = { outcome: "pending", reason: "" };

/** One stored status. */
export class Spread {
  readonly #stored: Stored;
  #own: Verdict = { outcome: "pending", reason: "its turn has not come" };
  #item: string | undefined;
  #version: number | undefined;
  readonly #records = new Map<string, Verdict>();
  /** Records that the item showed in step while no delivery had told why. */
  readonly #quiet = new Set<string>();
  /** What was delivered before the item was known, newest last. */
  readonly #early: Delivery[] = [];

  constructor(stored: Stored) {
    this.#stored = stored;
  }

  /** The record that the status was said of. */
  get record(): string {
    return this.#stored.record;
  }

  /** Its place on the stream of observations. */
  get sequence(): number {
    return this.#stored.sequence;
  }

  /** Whether nothing is pending any more. */
  get settled(): boolean {
    return this.#own.outcome !== "pending" && [...this.#records.values()].every(({ outcome }) => outcome !== "pending");
  }

  outcome(): StatusOutcome {
    const records = [...this.#records].map(([record, verdict]) => ({ record, ...verdict }));
    return { record: this.record, id: this.#stored.id, ...this.#own, item: this.#item, version: this.#version, records };
  }

  /** A change was told. */
  change(change: Change): void {
    if (change.cause !== this.#stored.sequence) return;
    this.#item = change.item;
    if (change.type === "conflict_opened") this.#own = { outcome: "pending", reason: `held: conflict ${change.conflict}` };
    if (change.type !== "status_changed") return;
    this.#version = change.version;
    // In a conflict that is decided at once, the change can be to what another record says.
    const won = change.record === this.record;
    // Of a record's first status the item tells whether any mapping knows it.
    const taken: Verdict = change.reason === "first_seen" ? PENDING : { outcome: "applied", reason: "" };
    this.#own = won ? taken : { outcome: "superseded", reason: `${change.record} wins: ${change.reason}` };
    if (ASKED.has(change.reason)) this.#await(this.record);
    change.records.filter((record) => record !== this.record).forEach((record) => this.#await(record));
    this.#early.splice(0).forEach((delivery) => this.delivery(delivery));
  }

  /** A delivery was told. */
  delivery(delivery: Delivery): void {
    if (this.#version === undefined) {
      if (this.#early.length < 1_000) this.#early.push(delivery);
      return;
    }
    const concerned = delivery.record !== this.record || this.#records.has(this.record);
    const ours = delivery.item === this.#item && delivery.version >= this.#version && concerned;
    const known = this.#records.get(delivery.record)?.outcome ?? "pending";
    if (!ours || known === "applied") return;
    if (delivery.version === this.#version) {
      const verdict = delivered(delivery);
      if (verdict !== undefined) this.#records.set(delivery.record, verdict);
    } else {
      const verdict = newer(delivery, known);
      if (verdict !== undefined) this.#records.set(delivery.record, verdict);
    }
  }

  /** Whether the item has taken the status, and no change told of it: its history says what came of it. */
  unexplained(item: Item): boolean {
    return this.#own.outcome === "pending" && this.#taken(item);
  }

  /** The item as it stands now, read after the status was stored, and the newest lines of its history where they are asked for. */
  stands(item: Item, history: readonly HistoryLine[] = []): void {
    const own = item.records.find((record) => record.record === this.record);
    if (own === undefined || !this.#taken(item)) return;
    this.#item = item.id;
    const line = history.find((one) => one.cause.sequence === this.#stored.sequence && one.record === this.record && !TIES.has(one.kind));
    // No change told of it: it changed nothing, or something that is lost in time. The version now has what came of it.
    this.#version ??= line?.kind === "changed" ? line.version : item.version;
    if (this.#own.outcome === "pending") this.#own = (line && lineVerdict(line)) ?? ownVerdict(own, this.#stored.status);
    if (unknown(own, this.#stored.status)) this.#own = rejected(this.#stored.status);
    if (line !== undefined && ASKED.has(line.reason)) this.#await(this.record);
    this.#early.splice(0).forEach((delivery) => this.delivery(delivery));
    for (const record of item.records) {
      if (record.record === this.record && !this.#records.has(this.record)) continue;
      const told = this.#records.get(record.record);
      if (told !== undefined && told.outcome !== "pending") continue;
      // The delivery's own word may be on its way to us: it gets one more look to arrive.
      const early = record.step === "in_step" && !this.#quiet.has(record.record);
      if (early) this.#quiet.add(record.record);
      this.#records.set(record.record, early ? PENDING : shown(record, item.version, this.#version));
    }
  }

  /** No record of this name is known. */
  unseen(): void {
    if (this.#own.outcome !== "pending" || this.#item !== undefined) return;
    this.#own = { outcome: "pending", reason: "no record of this name was seen yet; what is asked of one that its system does not have is a dead letter" };
  }

  #await(record: string): void {
    if (!this.#records.has(record)) this.#records.set(record, PENDING);
  }

  #taken(item: Item): boolean {
    if (this.#version !== undefined) return true;
    const own = item.records.find((record) => record.record === this.record);
    return (own?.taken?.[this.#stored.lane] ?? 0) >= this.#stored.sequence;
  }
}

/** Why a change is told to the record itself as well: it was asked for what it does not show yet. */
const ASKED: ReadonlySet<string> = new Set(["asked", "already_there"]);

/** Lines that tell which records belong to the item, not what became of a status. */
const TIES: ReadonlySet<string> = new Set(["linked", "unlinked"]);

/** What a delivery of the status's own version says; nothing where a newer command of the same version will. */
function delivered({ outcome, reason }: Delivery): Verdict | undefined {
  switch (outcome) {
    case "overtaken":
      return undefined;
    case "applied":
    case "unchanged":
    case "superseded":
    case "rejected":
    case "failed":
      return { outcome, reason };
    default:
      return { outcome: "pending", reason: `${outcome}: ${reason}` };
  }
}

/**
 * What a delivery of a newer version says of a record of which this is known: with the newer one nothing else is told of ours, and what
 * came of ours before stays what came of it.
 */
function newer(delivery: Delivery, known: Outcome): Verdict | undefined {
  const verdict = delivered(delivery);
  if (verdict === undefined || (known !== "pending" && known !== "not_told")) return undefined;
  if (verdict.outcome === "applied" || verdict.outcome === "unchanged") return overtaken(delivery.version);
  const reason = `version ${delivery.version} of the item, which is newer, was to be told instead: ${verdict.reason}`;
  return known === "pending" ? { outcome: verdict.outcome, reason } : undefined;
}

function overtaken(version: number): Verdict {
  return { outcome: "overtaken", reason: `version ${version} of the item, which is newer, came first` };
}

/** What the step of another record says, of an item that has a version by now; `version` is the status's own. */
function shown(record: ItemRecord, now: number, version: number): Verdict {
  switch (record.step) {
    case "in_step":
      return now > version ? overtaken(now) : { outcome: "unchanged", reason: "" };
    case "as_close":
    case "read_only":
    case "unmapped":
    case "deleted":
      return { outcome: "not_told", reason: record.step };
    case "failed":
      return { outcome: "failed", reason: record.last_error ?? "" };
    default:
      return { outcome: "pending", reason: record.step === "pending" ? "" : record.step };
  }
}

function rejected(status: string): Verdict {
  return { outcome: "rejected", reason: `no mapping knows ${JSON.stringify(status)}` };
}

/** Whether a record shows a status that no mapping knows, be it its first, which makes an item all the same. */
function unknown(own: ItemRecord, status: string): boolean {
  return own.step === "unmapped" && own.native === status;
}

/** What a line of the item's history says of the status that caused it. */
function lineVerdict({ kind, reason, native, conflict }: HistoryLine): Verdict | undefined {
  switch (kind) {
    case "changed":
      return { outcome: "applied", reason: "" };
    case "ignored":
    case "folded":
      return { outcome: "unchanged", reason };
    case "stale":
    case "lost":
      return { outcome: "superseded", reason };
    case "unmapped":
      return reason === "unmapped_status" ? rejected(native) : { outcome: "rejected", reason };
    case "refused":
    case "invalid":
      return { outcome: "rejected", reason };
    case "candidate":
      return { outcome: "pending", reason: `held: conflict ${conflict ?? ""}` };
    default:
      return undefined;
  }
}

/** What became of the status at its own record, where neither a change nor the history told it. */
function ownVerdict(own: ItemRecord, status: string): Verdict {
  if (own.step === "held") return { outcome: "pending", reason: "held" };
  if (own.step === "unmapped") return rejected(status);
  if (own.native !== status) return { outcome: "superseded", reason: `it shows ${JSON.stringify(own.native)} since` };
  if (own.step === "pending") return { outcome: "superseded", reason: `it is told ${JSON.stringify(own.want)}` };
  // So it is of a status that tied its record to the item: that alone moves nothing.
  if (own.step === "read_only") return { outcome: "superseded", reason: `its item stays what it is, which would be ${JSON.stringify(own.want)} here` };
  return { outcome: "unchanged", reason: "" };
}
