/** Keeps messages for a loop that reads them at its own speed; bounded. */

import { LockstepError } from "./errors.js";

/**
 * What was told and not read yet. When more than `max` wait, nothing is left out in silence: the loop reads what waits and then
 * fails with `buffer_full`.
 */
export class Buffer<T> implements AsyncIterableIterator<T> {
  readonly #max: number;
  readonly #left: () => void;
  readonly #waiting: T[] = [];
  readonly #readers: { resolve: (result: IteratorResult<T>) => void; reject: (error: unknown) => void }[] = [];
  #end: { readonly error?: LockstepError } | undefined;

  /** `left` is called once, when nobody will read any more. */
  constructor(max: number, left: () => void) {
    this.#max = max;
    this.#left = left;
  }

  push(value: T): void {
    if (this.#end !== undefined) return;
    const reader = this.#readers.shift();
    if (reader !== undefined) return reader.resolve({ done: false, value });
    if (this.#waiting.length < this.#max) return void this.#waiting.push(value);
    this.end(new LockstepError("buffer_full", `more than ${this.#max} messages wait to be read; read faster, use a handler, or raise bufferMax`));
    this.#left();
  }

  /** What waits is still read; then the loop ends, or fails with the error. */
  end(error?: LockstepError): void {
    if (this.#end !== undefined) return;
    this.#end = error === undefined ? {} : { error };
    for (const reader of this.#readers.splice(0)) {
      if (error === undefined) reader.resolve({ done: true, value: undefined });
      else reader.reject(error);
    }
  }

  next(): Promise<IteratorResult<T>> {
    const value = this.#waiting.shift();
    if (value !== undefined) return Promise.resolve({ done: false, value });
    const end = this.#end;
    if (end?.error !== undefined) return Promise.reject(end.error);
    if (end !== undefined) return Promise.resolve({ done: true, value: undefined });
    return new Promise((resolve, reject) => void this.#readers.push({ resolve, reject }));
  }

  /** The loop was left. */
  return(): Promise<IteratorResult<T>> {
    this.#waiting.length = 0;
    if (this.#end === undefined) {
      this.end();
      this.#left();
    }
    return Promise.resolve({ done: true, value: undefined });
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}
