/** Decides how steps of an operation go on, and what they add up to. Pure: the time is an argument. */

import type { Description } from "./describe.js";

/** How a step stands. */
export type StepState = "pending" | "executing" | "completed" | "failed";

/** One step. */
export interface Step {
  readonly name: string;
  readonly state: StepState;
  /** What it says in each state. */
  readonly description: Description;
  /** When it began, in milliseconds since 1970; 0 while it is pending. */
  readonly beganAt: number;
  /** How long it took, in milliseconds, once it ended. */
  readonly tookMs: number | undefined;
  /** Why, when it failed. */
  readonly error: string;
  /** What was said of it last, until it is reset. */
  readonly data: unknown;
}

const NEXT: Readonly<Record<StepState, readonly StepState[]>> = {
  pending: ["executing", "failed"],
  executing: ["completed", "failed"],
  completed: [],
  failed: [],
};

/** Whether a step can go from one state to another. Back to `pending` is a reset, and always can. */
export function allowed(from: StepState, to: StepState): boolean {
  return to === "pending" || NEXT[from].includes(to);
}

/** What the steps of an operation add up to. Steps are counted, however often each was told of. */
export interface Summary {
  readonly total: number;
  readonly pending: number;
  readonly executing: number;
  readonly completed: number;
  readonly failed: number;
  /** Of the steps that ended, from 0 to 1; 0 while none has. */
  readonly successRate: number;
  readonly failureRate: number;
  /** Completed steps of all, from 0 to 1; `undefined` while it is not known how many there are. */
  readonly progress: number | undefined;
  /** Of the steps that ended after they began; `undefined` while none has. */
  readonly durations: { readonly minMs: number; readonly meanMs: number; readonly maxMs: number; readonly p95Ms: number } | undefined;
}

/** Steps that ended and are not remembered one by one any more. */
export interface Forgotten {
  completed: number;
  failed: number;
}

/** Adds up. `total` is how many steps there will be at least, where that is known. Durations are those of remembered steps. */
export function summary(steps: Iterable<Step>, total: number | undefined, forgotten: Forgotten, progress: number | undefined): Summary {
  const counts: Record<StepState, number> = { pending: 0, executing: 0, ...forgotten };
  const took: number[] = [];
  let known = forgotten.completed + forgotten.failed;
  for (const step of steps) {
    known += 1;
    counts[step.state] += 1;
    if (step.tookMs !== undefined) took.push(step.tookMs);
  }
  const all = Math.max(known, total ?? 0);
  const ended = counts.completed + counts.failed;
  return {
    total: all,
    ...counts,
    pending: counts.pending + all - known,
    successRate: ended === 0 ? 0 : counts.completed / ended,
    failureRate: ended === 0 ? 0 : counts.failed / ended,
    progress,
    durations: durations(took),
  };
}

function durations(took: number[]): Summary["durations"] {
  const sorted = [...took].sort((one, other) => one - other);
  const [min, max] = [sorted[0], sorted.at(-1)];
  if (min === undefined || max === undefined) return undefined;
  const mean = sorted.reduce((sum, ms) => sum + ms, 0) / sorted.length;
  // The nearest rank: the smallest that at least 95 of 100 do not exceed.
  return { minMs: min, meanMs: mean, maxMs: max, p95Ms: sorted[Math.ceil(sorted.length * 0.95) - 1] ?? max };
}
