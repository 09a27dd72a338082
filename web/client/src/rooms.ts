/**
 * Tells which rooms hear of an event, so that one connection can serve several subscriptions. Pure.
 *
 * The server decides what is sent at all; this only tells subscriptions of one connection apart.
 */

import type { Item } from "./answers.js";
import { type Change, type Event, isChange } from "./protocol.js";

/** How many items' names are remembered. */
const NAMES_MAX = 10_000;

/** What an item is called; deliveries name only its id. */
interface Names {
  readonly key: string;
  readonly records: readonly string[];
}

/** The names of the items that were told of, newest last. */
export class Known {
  readonly #items = new Map<string, Names>();

  /** Remembers what an item of a snapshot is called. */
  item(item: Item): void {
    this.#keep(item.id, { key: item.key ?? "", records: item.records.map((record) => record.record) });
  }

  /** Remembers what the item of a change is called. */
  change(change: Change): void {
    this.#keep(change.item, { key: change.key, records: change.records });
  }

  /** The names of an item, if it was told of. */
  names(id: string): Names | undefined {
    return this.#items.get(id);
  }

  #keep(id: string, names: Names): void {
    this.#items.delete(id);
    this.#items.set(id, names);
    const oldest = this.#items.keys().next();
    if (this.#items.size > NAMES_MAX && !oldest.done) this.#items.delete(oldest.value);
  }
}

/** Whether a room, or a name that ends with `*`, is one of those that hear of an event. */
export function within(room: string, heardIn: readonly string[]): boolean {
  if (!room.endsWith("*") || room === "*") return heardIn.includes(room);
  const start = room.slice(0, -1);
  return heardIn.some((name) => name.startsWith(start));
}

/** The rooms in which an event is heard, as far as they follow from what is known. */
export function roomsOf(event: Event, known: Known): string[] {
  if (isChange(event)) return roomsOfChange(event);
  switch (event.type) {
    case "delivery": {
      const names = known.names(event.item);
      const records = new Set([event.record, ...(names?.records ?? [])]);
      const rooms = ["deliveries", `item:${event.item}`, ...agentsOf([event.record])];
      if (names?.key) rooms.push(`item:${names.key}`);
      return [...rooms, ...[...records].map((record) => `record:${record}`)];
    }
    case "agent_state":
      return ["all", "agent_states", `agent:${event.agent}`];
    case "memory_timeline":
      return ["memory_timeline", `agent:${event.agent}`];
    case "operation_step":
      return ["operations", `operation:${event.operation}`, ...(event.agent ? [`agent:${event.agent}`] : [])];
    case "workflow_execution":
      return ["all", "workflow_executions", `workflow:${event.workflow}`];
    case "performance_metrics":
      return ["performance_metrics"];
    case "health_changed":
      return ["all", "health"];
    case "system_alert":
      return ["all", "system_alerts"];
    default:
      return [];
  }
}

function roomsOfChange(change: Change): string[] {
  const records = [...new Set([change.record, ...change.records].filter((record) => record !== ""))];
  const rooms = ["all", `item:${change.item}`, `lifecycle:${change.lifecycle}`];
  if (change.key !== "") rooms.push(`item:${change.key}`);
  const project = /^(.+)[-#][0-9]+$/.exec(change.key)?.[1];
  if (project !== undefined) rooms.push(`project:${project}`);
  if (change.lifecycle === "agent") rooms.push("agent_states", ...named("agent", records));
  else if (change.lifecycle === "workflow") rooms.push("workflow_executions", ...named("workflow", records));
  else rooms.push(...agentsOf(records));
  if (change.type === "conflict_opened" || change.type === "conflict_resolved") rooms.push("conflicts");
  return [...rooms, ...records.map((record) => `record:${record}`)];
}

/** The rooms of records by what stands after their system and kind. */
function named(kind: string, records: readonly string[]): string[] {
  return records.map((record) => `${kind}:${record.split("/").slice(2).join("/")}`);
}

function agentsOf(records: readonly string[]): string[] {
  return named("agent", records.filter((record) => record.startsWith("agentapi/agent/")));
}
