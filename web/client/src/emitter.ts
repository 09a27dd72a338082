/** Tells listeners of events; one that throws keeps nobody else from hearing. */

/** Stops what it was got from: a listener, a subscription. */
export type Off = () => void;

/** Events by name, each with one value. */
export class Emitter<Events extends object> {
  readonly #listeners = new Map<keyof Events, Set<(value: never) => void>>();
  readonly #failed: (thrown: unknown, name: keyof Events) => void;

  /** `failed` hears what listeners throw, and which event they listened to. */
  constructor(failed: (thrown: unknown, name: keyof Events) => void) {
    this.#failed = failed;
  }

  /** Listens until the answer is called. */
  on<Name extends keyof Events>(name: Name, listener: (value: Events[Name]) => void): Off {
    const listeners = this.#listeners.get(name) ?? new Set();
    this.#listeners.set(name, listeners);
    // Wrapped, so that one function can listen twice and stop once.
    const own = (value: Events[Name]): void => listener(value);
    listeners.add(own);
    return () => void listeners.delete(own);
  }

  /** Tells everyone who listens; answers whether anybody does. */
  tell<Name extends keyof Events>(name: Name, value: Events[Name]): boolean {
    const listeners = this.#listeners.get(name);
    if (listeners === undefined || listeners.size === 0) return false;
    for (const listener of [...listeners]) {
      guarded(() => (listener as (value: Events[Name]) => unknown)(value), (thrown) => this.#failed(thrown, name));
    }
    return true;
  }
}

/** Calls somebody else's function; `failed` hears what it throws, at once or as a promise. */
export function guarded(call: () => unknown, failed: (thrown: unknown) => void): void {
  try {
    const answer = call();
    if (answer instanceof Promise) answer.catch(failed);
  } catch (thrown) {
    failed(thrown);
  }
}
