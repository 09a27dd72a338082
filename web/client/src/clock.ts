/** Time and chance, from outside. */

/** Ends a wait before its time. */
export type Cancel = () => void;

/** What the client asks for time and chance. */
export interface Clock {
  /** Milliseconds since 1970. */
  now(): number;
  /** From 0 up to 1. */
  random(): number;
  /** Calls after so many milliseconds, unless it is cancelled. */
  after(ms: number, call: () => void): Cancel;
}

/** The platform's clock; `now` and `random` may be given. */
export function platformClock(own: { now?: (() => number) | undefined; random?: (() => number) | undefined }): Clock {
  return {
    now: own.now ?? Date.now,
    random: own.random ?? Math.random,
    after(ms, call) {
      const timer = setTimeout(call, ms);
      return () => clearTimeout(timer);
    },
  };
}

/** A promise that fails with what `late` makes when it takes longer; it ends the waiting, not the work. */
export async function within<T>(clock: Clock, ms: number, work: Promise<T>, late: () => Error): Promise<T> {
  let cancel: Cancel = () => {};
  const deadline = new Promise<never>((_, reject) => {
    cancel = clock.after(ms, () => reject(late()));
  });
  try {
    return await Promise.race([work, deadline]);
  } finally {
    cancel();
  }
}
