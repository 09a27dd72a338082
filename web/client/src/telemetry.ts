/** Publishes telemetry in batches through `POST /v1/telemetry`: what is worth seeing at once, and nothing that work waits for. */

import { type Backoff, wait } from "./backoff.js";
import type { Cancel, Clock } from "./clock.js";
import { LockstepError, asError } from "./errors.js";
import { randomId } from "./random.js";

/** What telemetry needs. */
export interface TelemetrySetting {
  readonly clock: Clock;
  readonly backoff: Backoff;
  /** How many messages may wait; the oldest goes when one more comes. */
  readonly queueMax: number;
  /** Publishes; what is sent again with the same key is published once. */
  post(messages: readonly object[], key: string): Promise<unknown>;
  failed(error: LockstepError): void;
}

/** How long messages are gathered, in milliseconds. */
const GATHER_MS = 100;
/** How many go at once. */
const BATCH_MAX = 100;
/** How often a batch is tried. */
const ATTEMPTS_MAX = 4;
/** Answers that another attempt does not mend. */
const FINAL = /^(http_4(?!08|29)\d\d|bad_|body_|key_|auth_|token_|forbidden|unknown_|too_large|not_understood)/;

/** What waits to be published. */
export class Telemetry {
  readonly #setting: TelemetrySetting;
  #waiting: object[] = [];
  #timer: Cancel | undefined;
  /** Ends the wait before another attempt. */
  #wake = (): void => {};
  #sending: Promise<void> | undefined;
  #lost = 0;
  #closed = false;

  constructor(setting: TelemetrySetting) {
    this.#setting = setting;
  }

  /** How many messages were lost: to a full queue, or to a server that did not take them. */
  get lost(): number {
    return this.#lost;
  }

  /** Publishes with the next batch. */
  publish(message: object): void {
    if (this.#closed) return void (this.#lost += 1);
    this.#waiting.push(message);
    if (this.#waiting.length > this.#setting.queueMax) {
      this.#waiting.shift();
      this.#lost += 1;
    }
    if (this.#sending !== undefined) return;
    this.#timer ??= this.#setting.clock.after(GATHER_MS, () => void this.flush());
  }

  /** Resolves when what waits now was taken or lost. */
  async flush(): Promise<void> {
    this.#timer?.();
    this.#timer = undefined;
    if (this.#waiting.length > 0) this.#sending ??= this.#send();
    await this.#sending;
  }

  /** Publishes nothing more; what still waits is lost, and counted. Flush before. */
  close(): void {
    this.#closed = true;
    this.#timer?.();
    this.#lost += this.#waiting.length;
    this.#waiting = [];
    this.#wake();
  }

  /** Publishes until nothing waits. From that very moment on it is not being sent: what comes then waits for a timer of its own. */
  async #send(): Promise<void> {
    try {
      while (this.#waiting.length > 0) await this.#sendBatch();
    } finally {
      this.#sending = undefined;
    }
  }

  async #sendBatch(): Promise<void> {
    const batch = this.#waiting.splice(0, BATCH_MAX);
    const key = randomId();
    for (let attempt = 1; ; attempt++) {
      const error = await this.#posted(batch, key);
      if (error === undefined || this.#withoutWrong(batch, error)) return;
      const again = attempt < ATTEMPTS_MAX && !FINAL.test(error.code);
      if (again && !this.#closed) await this.#pause(attempt);
      // It may have been closed meanwhile.
      if (again && !this.#closed) continue;
      this.#lost += batch.length;
      return this.#setting.failed(error);
    }
  }

  /** The server names the messages that are wrong, and took none: the others go again. */
  #withoutWrong(batch: readonly object[], error: LockstepError): boolean {
    const wrong = new Set(error.errors.map(({ index }) => index));
    const good = batch.filter((_, index) => !wrong.has(index));
    if (good.length === batch.length) return false;
    this.#lost += batch.length - good.length;
    this.#waiting.unshift(...good);
    this.#setting.failed(error);
    return true;
  }

  async #posted(batch: readonly object[], key: string): Promise<LockstepError | undefined> {
    try {
      await this.#setting.post(batch, key);
      return undefined;
    } catch (thrown) {
      return asError(thrown, "unreachable", "telemetry was not published");
    }
  }

  #pause(attempt: number): Promise<void> {
    const { clock, backoff } = this.#setting;
    return new Promise((resolve) => {
      const cancel = clock.after(wait(backoff, attempt, clock.random()), resolve);
      this.#wake = () => {
        cancel();
        resolve();
      };
    });
  }
}
