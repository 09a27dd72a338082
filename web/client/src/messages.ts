/** What watchers hear. Generated from docs/schemas/lockstep.v1.json by `npm run generate`; do not edit. */

/** An item went from one version to the next, or something else worth telling happened to it. On lockstep.change.<lifecycle>.<item>. */
export interface ChangeFields {
  actor: Actor | null;
  at: number;
  cause: number;
  conflict: string;
  /** Empty for a new item. */
  from: string;
  id: string;
  irregular: boolean;
  item: string;
  key: string;
  /** "status_changed", "linked", "unlinked", "conflict_opened", "conflict_resolved". */
  kind: string;
  lifecycle: string;
  native: string;
  /** Where the watcher is when it has read this: what it sends to go on from here. */
  position: string;
  /** One word that the documentation explains. */
  reason: string;
  /** The record whose edit it was, and what it showed. */
  record: string;
  recorded_at: number;
  /** All records of the item. */
  records: string[];
  title: string;
  to: string;
  /** The W3C trace context; empty where there is none. */
  traceparent?: string;
  version: number;
}

export interface StatusChanged extends ChangeFields {
  type: "status_changed";
}

export interface Linked extends ChangeFields {
  type: "linked";
}

export interface Unlinked extends ChangeFields {
  type: "unlinked";
}

export interface ConflictOpened extends ChangeFields {
  type: "conflict_opened";
}

export interface ConflictResolved extends ChangeFields {
  type: "conflict_resolved";
}

/** What became of a command. On lockstep.delivery.<lane>.<system>.<kind>.<id>, where <lane> is critical, high, normal or low. */
export interface Delivery {
  at: number;
  attempts: number;
  /** The stream sequence of what caused the command: of one version several may have gone out. 0 from an older release. */
  cause: number;
  id: string;
  item: string;
  mode: string;
  /** What the record shows now, and where on its time line; empty and 0 when that is not known. */
  native: string;
  /** "applied", "unchanged", "superseded" (somebody edited the record), "overtaken" (a newer command came), "rejected", "failed". */
  outcome: string;
  /** Where the watcher is when it has read this: what it sends to go on from here. */
  position: string;
  /** Why, when it was not done. */
  reason: string;
  record: string;
  record_position: number;
  /** What the item's status was shown as, for "show". */
  status: string;
  /** The W3C trace context; empty where there is none. */
  traceparent?: string;
  type: "delivery";
  version: number;
}

/** What an agent does now. On lockstep.live.agent_state.<agent>. The newest of an agent counts. */
export interface AgentState {
  /** The agent's name, as in its record agentapi/agent/<name>. */
  agent: string;
  at: number;
  metadata: Record<string, string>;
  /** Where the watcher is when it has read this: what it sends to go on from here. */
  position: string;
  /** The status before it; empty where it is not known. */
  previous: string;
  /** One word: why it changed. */
  reason: string;
  /** What it uses, where that is measured. */
  resources: Resources | null;
  /** A status of the lifecycle "agent": unknown, offline, idle, working, tool_calling, waiting, error, completed. */
  status: string;
  /** What it works on, for a person. */
  task: string;
  /** The W3C trace context; empty where there is none. */
  traceparent?: string;
  type: "agent_state";
}

/** Measurements of one category, in the order in which they came. Only watchers get it. */
export interface PerformanceMetrics {
  category: string;
  metrics: PerformanceMetric[];
  /** Where the watcher is when it has read this: what it sends to go on from here. */
  position: string;
  /** The W3C trace context; empty where there is none. */
  traceparent?: string;
  type: "performance_metrics";
}

/** How far a workflow is. On lockstep.live.workflow_execution.<workflow>. The newest of an execution counts. */
export interface WorkflowExecution {
  at: number;
  /** Why, when it failed. */
  error: string;
  /** Which run of it; empty where there is only one. */
  execution: string;
  metadata: Record<string, string>;
  /** Where the watcher is when it has read this: what it sends to go on from here. */
  position: string;
  /** The status before; filled in, where it is known. */
  previous: string;
  /** From 0 to 1. */
  progress: number;
  /** What came of it, when it is completed. */
  result: string;
  stage: string;
  /** A status of the lifecycle "workflow": pending, running, completed, failed, cancelled. */
  status: string;
  /** The W3C trace context; empty where there is none. */
  traceparent?: string;
  type: "workflow_execution";
  workflow: string;
}

/** Something happened to an agent's memory. On lockstep.live.memory_timeline.<agent>. */
export interface MemoryTimeline {
  /** "created", "updated", "accessed", "deleted". */
  action: string;
  agent: string;
  at: number;
  /** From 0 to 1. */
  importance: number;
  /** The memory's id. */
  memory: string;
  /** Where the watcher is when it has read this: what it sends to go on from here. */
  position: string;
  summary: string;
  tags: string[];
  /** The W3C trace context; empty where there is none. */
  traceparent?: string;
  type: "memory_timeline";
}

/** Something that a person should know. On lockstep.alert.<severity>.<id>. The newest of an id counts; a critical one is kept for whoever was away until somebody acknowledges it. */
export interface SystemAlert {
  acknowledged_at: number;
  /** Who has seen to it; empty as long as nobody has. */
  acknowledged_by: string;
  /** What to do about it. */
  action: string;
  at: number;
  /** What it is about: a service, a host, a job. */
  component: string;
  id: string;
  message: string;
  metadata: Record<string, string>;
  /** Where the watcher is when it has read this: what it sends to go on from here. */
  position: string;
  /** "info", "warning", "error", "critical". */
  severity: string;
  /** The W3C trace context; empty where there is none. */
  traceparent?: string;
  type: "system_alert";
}

/** The health of something went from one level to another. On lockstep.live.health_changed.<target>. The newest of a target counts. */
export interface HealthChanged {
  at: number;
  /** "healthy", "degraded", "unhealthy", "unknown". */
  health: string;
  /** Where the watcher is when it has read this: what it sends to go on from here. */
  position: string;
  /** The level before it; empty where it is not known. */
  previous: string;
  reason: string;
  /** What it is about: a server, an endpoint, a service. */
  target: string;
  /** The W3C trace context; empty where there is none. */
  traceparent?: string;
  type: "health_changed";
}

/** One step of a long operation. On lockstep.live.operation_step.<operation>. */
export interface OperationStep {
  /** The agent that works on it; empty where there is none. */
  agent: string;
  at: number;
  /** What the step knows, as a JSON text; empty for nothing. */
  data: string;
  description: string;
  /** Why, when it failed. */
  error: string;
  operation: string;
  /** Where the watcher is when it has read this: what it sends to go on from here. */
  position: string;
  /** Of the whole operation, from 0 to 1. */
  progress: number;
  /** "executing", "completed", "failed", "reset". */
  state: string;
  step: string;
  /** The W3C trace context; empty where there is none. */
  traceparent?: string;
  type: "operation_step";
}

/** Who made an edit. */
export interface Actor {
  automation?: boolean;
  id?: string;
  name?: string;
}

/** What a process uses. */
export interface Resources {
  /** Of one core; 200 are two cores. */
  cpu_percent?: number;
  memory_bytes?: number;
  tokens?: number;
}

/** One measurement. On lockstep.live.performance_metric.<name>. Watchers get several at once, as `performance_metrics`. */
export interface PerformanceMetric {
  at?: number;
  /** What it is sorted under: "latency", "throughput", … */
  category?: string;
  name?: string;
  /** Who measured it. */
  source?: string;
  tags?: Record<string, string>;
  /** "ms", "bytes", "count", … */
  unit?: string;
  value?: number;
}
