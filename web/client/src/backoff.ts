/** Decides how long to wait before trying again. Pure: the draw is an argument. */

/** The waits: doubled from `firstMs` to `maxMs`. */
export interface Backoff {
  readonly firstMs: number;
  readonly maxMs: number;
}

/**
 * The wait in milliseconds before attempt `attempt` (from 0), with full jitter: anything between 0 and the doubled wait, so that
 * a thousand clients that lost one server do not come back at one moment. `drawn` is from 0 up to 1.
 */
export function wait(backoff: Backoff, attempt: number, drawn: number): number {
  // Beyond 2^30 every wait is longer than any maximum.
  const doubled = backoff.firstMs * 2 ** Math.min(attempt, 30);
  return Math.min(doubled, backoff.maxMs) * drawn;
}

/** The wait before connecting to another server when ours goes away: short, and spread. */
export function spread(withinMs: number, drawn: number): number {
  return Math.max(0, withinMs) * drawn;
}
