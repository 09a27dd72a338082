/** Sends status updates over a link, and gives each call its answer. */

import type { Cancel, Clock } from "./clock.js";
import { type Backoff, wait } from "./backoff.js";
import { LockstepError } from "./errors.js";
import type { Link, Rider } from "./link.js";
import { PASSING } from "./membership.js";
import type { Status } from "./answers.js";
import { type Ended, Outbox } from "./outbox.js";
import type { Told } from "./protocol.js";
import { randomId } from "./random.js";

/** A status that the server stored: from now on it counts, whatever happens to us. */
export interface Stored {
  readonly record: string;
  readonly id: string;
  readonly status: string;
  /** The lane in which it waits for its turn. */
  readonly lane: string;
  /** Its place on the stream of observations. */
  readonly sequence: number;
  /** Where watching must begin to hear everything that followed. */
  readonly from: string | undefined;
}

/** A status that was not stored, or is not known to be. */
export interface NotStored {
  readonly record: string;
  readonly id: string;
  /**
   * `replaced` when a newer one of its record took its place while there was no connection; `answer_lost` when it was sent and may
   * be stored.
   */
  readonly error: LockstepError;
}

/** How the statuses of one call ended. */
export interface Result {
  readonly stored: Stored[];
  readonly refused: NotStored[];
}

/** What sending needs. */
export interface UpdatesSetting {
  readonly clock: Clock;
  readonly backoff: Backoff;
  readonly queueMax: number;
  readonly answerMs: number;
}

/** The status updates of one link. */
export class Updates implements Rider {
  readonly #link: Link;
  readonly #setting: UpdatesSetting;
  readonly #outbox: Outbox;
  #pause: Cancel | undefined;
  #patience: Cancel = () => {};
  #attempt = 0;

  constructor(link: Link, setting: UpdatesSetting) {
    this.#link = link;
    this.#setting = setting;
    this.#outbox = new Outbox(setting.queueMax);
  }

  /** Resolves when each status is stored or will not be. */
  send(statuses: readonly Status[]): Promise<Result> {
    const updates = statuses.map((status) => ({ ...status, id: status.id ?? randomId() }));
    const stored: Stored[] = [];
    const refused: NotStored[] = [];
    return new Promise((resolve, reject) => {
      const end = (index: number, ended: Ended): void => {
        const { record, id, status, lane } = updates[index]!;
        if (ended.as === "stored") {
          const { sequence } = ended.accepted;
          stored.push({ record, id: ended.accepted.id, status, lane: lane ?? "normal", sequence, from: ended.from });
        } else {
          refused.push({ record, id, error: ended.as === "refused" ? ended.error : replaced(record) });
        }
        if (stored.length + refused.length === updates.length) resolve({ stored, refused });
      };
      try {
        this.#outbox.add(updates, end);
      } catch (thrown) {
        return reject(thrown as Error);
      }
      this.#next();
    });
  }

  opened(): void {
    this.#next();
  }

  heard(message: Told): boolean {
    if (message.type === "status_accepted") {
      this.#patience();
      this.#attempt = 0;
      const ours = this.#outbox.stored(message.ref, message.accepted);
      this.#next();
      return ours;
    }
    if (message.type !== "error") return false;
    const error = new LockstepError(message.code, message.reason, { errors: message.errors ?? [] });
    const then = this.#outbox.refused(message.ref, error, PASSING.has(message.code));
    if (then === "other") return false;
    this.#patience();
    if (then === "later") {
      const { clock, backoff } = this.#setting;
      this.#pause = clock.after(wait(backoff, this.#attempt++, clock.random()), () => {
        this.#pause = undefined;
        this.#next();
      });
    }
    this.#next();
    return true;
  }

  lost(): void {
    this.#patience();
    this.#outbox.lost();
  }

  close(error: LockstepError): void {
    this.#pause?.();
    this.#pause = undefined;
    this.#attempt = 0;
    this.#outbox.close(error);
  }

  #next(): void {
    if (this.#link.state.state !== "open" || this.#pause !== undefined) return;
    const { clock, answerMs } = this.#setting;
    const next = this.#outbox.next(this.#link.messageMaxBytes, clock.now(), this.#link.position);
    if (next === undefined) return;
    this.#link.say({ type: "status_update", ...next });
    // Without an answer nobody knows whether they are stored: on a new connection they are sent again, with their ids.
    this.#patience = clock.after(answerMs, () => this.#link.again(1006, `unreachable: no answer to statuses within ${answerMs} ms`));
  }
}

function replaced(record: string): LockstepError {
  return new LockstepError("replaced", `${record}: a newer status took its place while there was no connection and the queue was full`);
}
