/** Lockstep's TypeScript client: follow what happens, publish statuses, track operations. */

export { Lockstep, type ClientEvents, type SubscribeOptions } from "./client.js";
export type { Off } from "./emitter.js";
export { LockstepError, type RefusedStatus } from "./errors.js";
export type { State } from "./link.js";
export type * from "./answers.js";
export type * from "./messages.js";
export { createMonitoringClient, type MonitoringClient, type MonitoringEvents } from "./monitoring.js";
export type { Options } from "./options.js";
export { type Propagated, type Propagation } from "./propagation.js";
export type { Change, Event, Message, Telemetry } from "./protocol.js";
export type { WebSocketConstructor, WebSocketLike } from "./socket.js";
export type { Outcome, RecordOutcome, StatusOutcome } from "./spread.js";
export type { Handler, Subscription } from "./subscription.js";
export { StepTracker, type StepPublisher, type StepUpdate, type TrackerOptions } from "./tracker.js";
export { describe, type Description, type Kind } from "./tracker/describe.js";
export type { Step, StepState, Summary } from "./tracker/step.js";
export type { NotStored, Stored } from "./updates.js";
export { createWorkflowClient, type WorkflowClient, type WorkflowEvents } from "./workflows.js";
