/** Watches workflows, one or all, with the last state of each execution. */

import { Lockstep } from "./client.js";
import { Emitter, type Off } from "./emitter.js";
import { LockstepError } from "./errors.js";
import type { WorkflowExecution } from "./messages.js";
import { Newest } from "./newest.js";
import type { Options } from "./options.js";
import type { Change, Message } from "./protocol.js";
import type { Subscription } from "./subscription.js";

/** What a workflow client tells of. */
export interface WorkflowEvents {
  /** How an execution stands, those of the snapshot too. */
  state: WorkflowExecution;
  /** An item of the lifecycle `workflow` changed. */
  change: Change;
}

/** Begins to watch one workflow, or all; the client is one that is there already, or the options of one that lives as long as this. */
export function createWorkflowClient(source: Lockstep | Options, { workflow }: { readonly workflow?: string } = {}): WorkflowClient {
  return new WorkflowClient(source, workflow);
}

/** Watches workflows. */
export class WorkflowClient {
  readonly client: Lockstep;
  readonly subscription: Subscription;
  readonly #own: boolean;
  readonly #events: Emitter<WorkflowEvents>;
  readonly #states = new Newest<WorkflowExecution>(10_000);

  /** @internal */
  constructor(source: Lockstep | Options, workflow: string | undefined) {
    this.#own = !(source instanceof Lockstep);
    this.client = source instanceof Lockstep ? source : new Lockstep(source);
    this.#events = new Emitter((thrown) => {
      this.client.report(new LockstepError("handler_failed", "a listener of the workflow client failed", { cause: thrown }));
    });
    const room = workflow === undefined ? "workflow_executions" : `workflow:${workflow}`;
    this.subscription = this.client.subscribe(room, {}, (message) => this.#hear(message));
  }

  on<Name extends keyof WorkflowEvents>(name: Name, listener: (value: WorkflowEvents[Name]) => void): Off {
    return this.#events.on(name, listener);
  }

  /** How an execution stood last. */
  state(workflow: string, execution = ""): WorkflowExecution | undefined {
    return this.#states.all.get(JSON.stringify([workflow, execution]));
  }

  /** How each execution stood last. */
  states(): WorkflowExecution[] {
    return [...this.#states.all.values()];
  }

  /** Watches no more; a client of its own is closed. */
  close(): void {
    this.subscription.unsubscribe();
    if (this.#own) this.client.close();
  }

  #hear(message: Message): void {
    if (message.type === "reset") this.#states.clear();
    else if (message.type === "snapshot") message.messages.forEach((one) => this.#one(one));
    else this.#one(message);
  }

  #one(message: Message): void {
    if (message.type === "workflow_execution") {
      this.#states.set(JSON.stringify([message.workflow, message.execution]), message);
      this.#events.tell("state", message);
    } else if ("lifecycle" in message && message.lifecycle === "workflow") {
      this.#events.tell("change", message);
    }
  }
}
