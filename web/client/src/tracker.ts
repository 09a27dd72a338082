/** Tracks the steps of a long operation, for whoever watches it: by callbacks here, and by way of Lockstep everywhere else. */

import { guarded } from "./emitter.js";
import { LockstepError, sentence } from "./errors.js";
import type { Telemetry } from "./protocol.js";
import { type Description, type Kind, describe, described, written } from "./tracker/describe.js";
import { cut, json } from "./tracker/texts.js";
import { type Forgotten, type Step, type StepState, type Summary, allowed, summary } from "./tracker/step.js";

/** One thing that happened to a step. */
export interface StepUpdate {
  readonly operation: string;
  readonly step: string;
  readonly state: "executing" | "completed" | "failed" | "reset";
  /** Cut, like the error, to the 4 KiB that the server takes. */
  readonly description: string;
  /** Of the whole operation, from 0 to 1; 0 while it is not known how many steps there are. */
  readonly progress: number;
  /** Why, when it failed and that was said; else empty. */
  readonly error: string;
  /** In milliseconds since 1970. */
  readonly at: number;
  /** What the step knows: as it was given last. Published as JSON; of more than 16 KiB only the size is, and of what is no JSON only why. */
  readonly data: unknown;
}

/** Where a tracker publishes: a `Lockstep` is one. */
export interface StepPublisher {
  publish(message: Telemetry): void;
}

/** What a tracker can be told. */
export interface TrackerOptions {
  /** Publishes each update as `operation_step`. */
  readonly client?: StepPublisher | undefined;
  /** The agent that works on it. */
  readonly agent?: string | undefined;
  /** How many steps there will be; from it follows the progress. `steps` says it too. */
  readonly total?: number | undefined;
  /** The steps there will be, as `plan` names them. Others may come. */
  readonly steps?: readonly string[] | undefined;
  /** How many updates are remembered. Default 100. */
  readonly historyLimit?: number | undefined;
  /** How many steps are remembered; beyond, the oldest that ended are forgotten. Default 10,000. */
  readonly stepsMax?: number | undefined;
  readonly onStep?: ((update: StepUpdate) => unknown) | undefined;
  readonly onExecuting?: ((update: StepUpdate) => unknown) | undefined;
  readonly onCompleted?: ((update: StepUpdate) => unknown) | undefined;
  readonly onFailed?: ((update: StepUpdate) => unknown) | undefined;
  readonly onProgress?: ((progress: number) => unknown) | undefined;
  /** An update that was refused, and why. */
  readonly onRefused?: ((step: string, why: string) => unknown) | undefined;
  /** What a callback threw. Without it, the console is told. */
  readonly onError?: ((error: LockstepError) => void) | undefined;
  /** Milliseconds since 1970. */
  readonly now?: (() => number) | undefined;
}

/**
 * The steps of one operation. A step goes from pending to executing and to completed or failed, from pending to failed, and back
 * to pending by `reset`. Anything else is refused: the method answers false and `onRefused` is told. Nothing here throws into the
 * operation that is tracked, not even a callback that does.
 */
export class StepTracker {
  readonly operation: string;
  readonly #options: TrackerOptions;
  readonly #steps = new Map<string, Step>();
  readonly #history: StepUpdate[] = [];
  readonly #forgotten: Forgotten = { completed: 0, failed: 0 };
  /** Completed steps that are remembered. */
  #completed = 0;
  readonly #numbers = new Map<Kind, number>();
  /** Steps were named before they began: it is known how many there are. */
  #planned = false;

  constructor(operation: string, options: TrackerOptions = {}) {
    this.operation = operation;
    this.#options = options;
    if (options.steps !== undefined) this.plan(options.steps);
  }

  /** Names steps before they begin, so that there is a progress. */
  plan(steps: Iterable<string>): void {
    for (const name of steps) if (!this.#steps.has(name)) this.#steps.set(name, fresh(name));
    this.#planned = true;
  }

  /** The step is being worked on. */
  executing(step: string, description: string | Description = "", data?: unknown): boolean {
    return this.#go(step, "executing", { description: described(description), data });
  }

  /** The step is done. */
  completed(step: string, data?: unknown): boolean {
    return this.#go(step, "completed", { data });
  }

  /** The step failed, because of this, where anything is known of it. */
  failed(step: string, why?: unknown, data?: unknown): boolean {
    return this.#go(step, "failed", { error: why === undefined || why === null ? "" : sentence(why), data });
  }

  /** The step, or every one that is not pending, is pending again. */
  reset(step?: string): boolean {
    if (step !== undefined) return this.#go(step, "pending", {});
    for (const { name, state } of [...this.#steps.values()]) if (state !== "pending") this.#go(name, "pending", {});
    return true;
  }

  /**
   * Does the work of a step and tracks it; what the work throws is thrown on. A step that ended is begun anew. Nothing that is refused
   * keeps the work from being done: who runs a step that somebody else has begun leaves its end to them.
   */
  async run<T>(step: string, description: string | Description, work: () => Promise<T> | T): Promise<T> {
    const begun = this.#begin(step, described(description));
    try {
      const result = await work();
      if (begun) this.completed(step);
      return result;
    } catch (thrown) {
      if (begun) this.failed(step, thrown);
      throw thrown;
    }
  }

  /** Runs a question to something; the step is `query-1`, `query-2`, … */
  query<T>(what: string, work: () => Promise<T> | T): Promise<T> {
    return this.#predefined("query", what, work);
  }

  /** Runs a call of a language model; the step is `model_call-1`, … */
  modelCall<T>(model: string, work: () => Promise<T> | T): Promise<T> {
    return this.#predefined("modelCall", model, work);
  }

  /** Runs a tool; the step is `tool-1`, … */
  tool<T>(tool: string, work: () => Promise<T> | T): Promise<T> {
    return this.#predefined("tool", tool, work);
  }

  /** Runs a search on the web; the step is `web_search-1`, … */
  webSearch<T>(words: string, work: () => Promise<T> | T): Promise<T> {
    return this.#predefined("webSearch", words, work);
  }

  /** Runs a call of an API; the step is `api_call-1`, … */
  apiCall<T>(what: string, work: () => Promise<T> | T): Promise<T> {
    return this.#predefined("apiCall", what, work);
  }

  /** Runs a look-up in a database; the step is `database_lookup-1`, … */
  databaseLookup<T>(what: string, work: () => Promise<T> | T): Promise<T> {
    return this.#predefined("databaseLookup", what, work);
  }

  /** Where a step is; `undefined` for one that nobody named. */
  state(step: string): StepState | undefined {
    return this.#steps.get(step)?.state;
  }

  /** All that is known of a step; `undefined` for one that nobody named. */
  step(name: string): Step | undefined {
    return this.#steps.get(name);
  }

  /** The newest updates, oldest first. */
  history(): readonly StepUpdate[] {
    return [...this.#history];
  }

  /** What the steps add up to. */
  summary(): Summary {
    return summary(this.#steps.values(), this.#total(), this.#forgotten, this.progress);
  }

  /** Completed steps of all, from 0 to 1; `undefined` while it is not known how many there are. */
  get progress(): number | undefined {
    const announced = this.#total();
    if (announced === undefined) return undefined;
    const { completed, failed } = this.#forgotten;
    const total = Math.max(announced, this.#steps.size + completed + failed);
    return total === 0 ? 1 : (this.#completed + completed) / total;
  }

  /** A step begins; one that ended begins anew, at one stroke: callbacks that hear of the reset find it begun. */
  #begin(step: string, description: Description): boolean {
    const state = this.#steps.get(step)?.state;
    const reset = state === "completed" || state === "failed" ? this.#change(step, "pending", {}) : undefined;
    const begun = this.#change(step, "executing", { description });
    reset?.();
    return begun();
  }

  #predefined<T>(kind: Kind, what: string, work: () => Promise<T> | T): Promise<T> {
    const number = (this.#numbers.get(kind) ?? 0) + 1;
    this.#numbers.set(kind, number);
    return this.run(`${written(kind)}-${number}`, describe[kind](what), work);
  }

  /** At least how many steps there will be. */
  #total(): number | undefined {
    return this.#options.total ?? (this.#planned ? 0 : undefined);
  }

  #go(name: string, to: StepState, told: Said): boolean {
    return this.#change(name, to, told)();
  }

  /** Changes a step and publishes that, or refuses it; the answer tells the callbacks, and whether it was changed. */
  #change(name: string, to: StepState, told: Said): () => boolean {
    const known = this.#steps.get(name);
    if (known === undefined && to === "pending") return this.#refuse(name, `there is no step ${JSON.stringify(name)} to reset`);
    const before = known ?? fresh(name);
    if (!allowed(before.state, to)) {
      return this.#refuse(name, `the step ${JSON.stringify(name)} is ${before.state} and cannot be ${to}; reset it first, or begin it`);
    }
    const at = (this.#options.now ?? Date.now)();
    const progress = this.progress;
    const step = after(before, to, { description: told.description ?? before.description, error: cut(told.error ?? ""), data: told.data }, at);
    this.#steps.set(name, step);
    this.#completed += Number(to === "completed") - Number(before.state === "completed");
    this.#forget();
    const state = to === "pending" ? "reset" : to;
    const { error, data } = step;
    const now = this.progress;
    const description = cut((told.description ?? before.description)[state === "reset" ? "executing" : state]);
    const update = { operation: this.operation, step: name, state, description, progress: now ?? 0, error, at, data } as const;
    this.#publish(update);
    return () => {
      this.#tell(update);
      if (now !== undefined && now !== progress) this.#call(() => this.#options.onProgress?.(now));
      return true;
    };
  }

  #refuse(name: string, why: string): () => boolean {
    return () => {
      this.#call(() => this.#options.onRefused?.(name, why));
      return false;
    };
  }

  /** Forgets the oldest steps that ended, when there are too many. */
  #forget(): void {
    const max = this.#options.stepsMax ?? 10_000;
    if (this.#steps.size <= max) return;
    const ended = [...this.#steps.values()].find(({ state }) => state === "completed" || state === "failed");
    if (ended === undefined) return;
    this.#steps.delete(ended.name);
    this.#completed -= Number(ended.state === "completed");
    this.#forgotten[ended.state === "completed" ? "completed" : "failed"] += 1;
  }

  /** Before callbacks hear of it, which may go on with the step: what follows is published after it. */
  #publish(update: StepUpdate): void {
    const { historyLimit = 100, client, agent = "" } = this.#options;
    this.#history.push(update);
    if (this.#history.length > historyLimit) this.#history.shift();
    const { data, ...plain } = update;
    this.#call(() => client?.publish({ type: "operation_step", ...plain, agent, data: json(data) }));
  }

  #tell(update: StepUpdate): void {
    const { onStep, onExecuting, onCompleted, onFailed } = this.#options;
    this.#call(() => onStep?.(update));
    const own = { executing: onExecuting, completed: onCompleted, failed: onFailed, reset: undefined }[update.state];
    this.#call(() => own?.(update));
  }

  #call(callback: () => unknown): void {
    guarded(callback, (thrown) => {
      const error = new LockstepError("handler_failed", `a callback of the tracker of ${this.operation} failed`, { cause: thrown });
      guarded(() => (this.#options.onError ?? console.error)(error), () => {});
    });
  }
}

/** What is said with a change of a step. */
interface Said {
  readonly description?: Description;
  readonly error?: string;
  readonly data?: unknown;
}

function fresh(name: string): Step {
  return { name, state: "pending", description: described(""), beganAt: 0, tookMs: undefined, error: "", data: undefined };
}

function after(step: Step, to: StepState, told: { description: Description; error: string; data: unknown }, at: number): Step {
  if (to === "pending") return { ...fresh(step.name), description: step.description };
  const data = told.data === undefined ? step.data : told.data;
  if (to === "executing") return { ...step, state: to, description: told.description, beganAt: at, data };
  const tookMs = step.state === "executing" ? Math.max(0, at - step.beganAt) : undefined;
  return { ...step, state: to, tookMs, error: told.error, data };
}
