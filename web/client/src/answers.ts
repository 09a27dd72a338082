/** What is said beside events: greetings, answers, snapshots, and what a client may ask for. By docs/realtime.md. */

import type { AgentState, HealthChanged, SystemAlert, WorkflowExecution } from "./messages.js";

/** Snapshots leave out `keys`, `position` and `taken`. */
export interface ItemRecord {
  record: string; keys?: string[]; native: string; want: string | null; step: string; position?: number | null; url?: string | null;
  last_error?: string | null; taken?: Record<string, number>;
}
export interface Item {
  id: string; key?: string | null; title?: string | null; lifecycle: string; status: string; status_since: number; version: number;
  held?: string | null; metadata?: Record<string, string>; in_step: boolean; records: ItemRecord[];
}
export interface HistoryLine {
  kind: string; reason: string; record: string; native: string; version: number; conflict?: string | null; cause: { sequence: number };
}
export interface Welcome { type: "welcome"; connection: string; position: string; ping_ms: number; message_max_bytes?: number }
export interface AuthSuccess { type: "auth_success"; subject: string; expires_at: number; rooms: string[]; ref?: string }
export interface Subscribed { type: "subscribed"; rooms: string[]; position: string; resumed: boolean; ref?: string }
export interface Unsubscribed { type: "unsubscribed"; rooms: string[]; ref?: string }
export interface Snapshot {
  type: "snapshot"; room: string; position: string; items: Item[]; messages: (AgentState | WorkflowExecution | HealthChanged | SystemAlert)[]; more: boolean; truncated: boolean;
}
export interface Reset { type: "reset"; rooms: string[]; reason: string }
export interface Accepted { id: string; record: string; sequence: number }
export interface StatusAccepted { type: "status_accepted"; accepted: Accepted[]; ref?: string }
export interface Acknowledged { type: "acknowledged"; alert: string; ref?: string }
export interface Pong { type: "pong"; at: number; position?: string; ref?: string }
export interface TokenExpiring { type: "token_expiring"; expires_at: number; in_ms: number }
export interface GoingAway { type: "going_away"; in_ms: number }
export interface ErrorTold {
  type: "error"; code: string; reason: string; room?: string; ref?: string; errors?: { index: number; field: string; detail: string }[];
}
export interface Filter {
  on?: ("status_change" | "health_change" | "error_state" | "recovery")[];
  ids?: string[]; statuses?: string[]; health?: string[]; systems?: string[]; lifecycles?: string[];
}
export interface Status {
  record: string; status: string; id?: string; position?: number; occurred_at?: number | string; lane?: string;
  actor?: string | { name: string; id?: string; automation?: boolean }; title?: string; url?: string; keys?: string[]; mentions?: string[];
  lifecycle?: string; metadata?: Record<string, string | number | boolean>;
}
