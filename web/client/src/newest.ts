/** The newest of each thing by its name; bounded, the least recently told goes first. */
export class Newest<T> {
  readonly #max: number;
  readonly #all = new Map<string, T>();

  constructor(max: number) {
    this.#max = max;
  }

  get all(): ReadonlyMap<string, T> {
    return this.#all;
  }

  set(name: string, value: T): void {
    this.#all.delete(name);
    this.#all.set(name, value);
    const oldest = this.#all.keys().next();
    if (this.#all.size > this.#max && !oldest.done) this.#all.delete(oldest.value);
  }

  delete(name: string): void {
    this.#all.delete(name);
  }

  clear(): void {
    this.#all.clear();
  }
}
