/** The messages by who says them, and how one is read from a text. */

import { LockstepError, sentence } from "./errors.js";
import type {
  Acknowledged, AuthSuccess, ErrorTold, Filter, GoingAway, Pong, Reset, Snapshot, Status, StatusAccepted, Subscribed,
  TokenExpiring, Unsubscribed, Welcome,
} from "./answers.js";
import type {
  AgentState, ConflictOpened, ConflictResolved, Delivery, HealthChanged, Linked, MemoryTimeline, OperationStep,
  PerformanceMetric, PerformanceMetrics, StatusChanged, SystemAlert, Unlinked, WorkflowExecution,
} from "./messages.js";

/** An item changed, or something else worth telling happened to it. */
export type Change = StatusChanged | Linked | Unlinked | ConflictOpened | ConflictResolved;

/** What watchers watch: everything with a position. */
export type Event =
  | Change | Delivery | AgentState | PerformanceMetrics | WorkflowExecution | MemoryTimeline | SystemAlert | HealthChanged
  | OperationStep;

/** What a handler is given: events; how things stand (`snapshot`); and `reset`, before a snapshot that takes the place of everything. */
export type Message = Event | Snapshot | Reset;

/** Everything that a server says. */
export type Told =
  | Message | Welcome | AuthSuccess | Subscribed | Unsubscribed | StatusAccepted | Acknowledged | Pong | TokenExpiring | GoingAway
  | ErrorTold;

/** Everything that a client says. */
export type Said =
  | { type: "auth"; token: string; ref?: string }
  | { type: "subscribe"; rooms: string[]; filter?: Filter; position?: string; snapshot?: boolean; ref?: string }
  | { type: "unsubscribe"; rooms: string[]; ref?: string }
  | { type: "status_update"; statuses: Status[]; ref?: string }
  | { type: "acknowledge"; alert: string; ref?: string }
  | { type: "ping"; ref?: string };

type Published<Type extends string, Told> = { readonly type: Type } & Partial<Omit<Told, "type" | "position" | "traceparent">>;

/** What `POST /v1/telemetry` takes; it says what is missing. Times are milliseconds since 1970, and now where they are left out. */
export type Telemetry =
  | Published<"agent_state", AgentState>
  | Published<"performance_metric", PerformanceMetric>
  | Published<"workflow_execution", WorkflowExecution>
  | Published<"memory_timeline", MemoryTimeline>
  | Published<"system_alert", SystemAlert>
  | Published<"health_changed", HealthChanged>
  | Published<"operation_step", OperationStep>;

/** Whether a message is an event; unknown types with a position are: the set of events grows. */
export function isEvent(message: Told): message is Event {
  return "position" in message && !NO_EVENTS.has(message.type);
}

/** What says where the client is, and tells of nothing that happened. */
const NO_EVENTS: ReadonlySet<string> = new Set(["welcome", "subscribed", "snapshot", "pong"]);

/** Whether an event is a change of an item. */
export function isChange(event: Event): event is Change {
  return CHANGES.has(event.type);
}

const CHANGES: ReadonlySet<string> = new Set(["status_changed", "linked", "unlinked", "conflict_opened", "conflict_resolved"]);

/** The message of a text frame. */
export function told(data: unknown): Told {
  if (typeof data !== "string") throw new LockstepError("not_understood", "the server sent a frame that is no text");
  let message: unknown;
  try {
    message = JSON.parse(data);
  } catch (thrown) {
    throw new LockstepError("not_understood", `the server sent what is not JSON: ${sentence(thrown)}`);
  }
  if (typeof message === "object" && message !== null && "type" in message && typeof message.type === "string") return message as Told;
  throw new LockstepError("not_understood", "the server sent an object without a type");
}
