/**
 * Tells which rooms hear of an event, so that one connection can serve several subscriptions. Pure.
 *
 * The server decides what is sent at all; this only tells subscriptions of one connection apart.
 */

import type { Item, Snapshot } from "./answers.js";
import { type Change, type Event, isChange } from "./protocol.js";

/** How many items' names are remembered. */
const NAMES_MAX = 10_000;

/** What an item is called; deliveries name only its id. */
interface Names {
  readonly key: string;
  readonly records: readonly string[];
}

/** Whether an event is heard in a room. */
export type Hears = "yes" | "maybe" | "unlikely" | "no";

/** The rooms of which it is known who is heard there. */
const KNOWN = new RegExp(
  "^(?:all|agent_states|workflow_executions|performance_metrics|memory_timeline|operations|health|system_alerts|conflicts|deliveries" +
    "|(?:item|record|lifecycle|project|agent|workflow|operation):.*)$",
);
/** Rooms of items by names that a delivery does not have. */
const OF_ITEMS = /^record:|^item:.*\*$/;

/** What was told of items: their names, newest last, and which item a room is that was asked for by one of its keys. */
export class Known {
  readonly #items = new Map<string, Names>();
  /** By room of a key the id of its item; `undefined` where there was none of that key. */
  readonly #ids = new Map<string, string | undefined>();

  /** Remembers the items of a page of a snapshot, and which of them its room is. */
  snapshot({ room, items, more }: Snapshot): void {
    items.forEach((item) => this.#item(item));
    if (byKey(room) && (items.length > 0 || !more)) this.#ids.set(room, items[0]?.id);
  }

  /** Remembers what the item of a change is called. */
  change(change: Change): void {
    this.#keep(change.item, { key: change.key, records: change.records });
  }

  /** The names of an item, if it was told of. */
  names(id: string): Names | undefined {
    return this.#items.get(id);
  }

  /** Whether it is known which item a room of a key is, or that there was none. */
  tells(room: string): boolean {
    return this.#ids.has(room);
  }

  /** An event names a room's key: this is its item now. */
  is(room: string, id: string): void {
    this.#ids.set(room, id);
  }

  /** A room that nobody follows any more. */
  forget(room: string): void {
    this.#ids.delete(room);
  }

  /**
   * Whether an event is heard in a room. In that of an item's key the server tells of the item by its id, whatever key an event
   * names, or none: `maybe` where the item of the key is not known. `unlikely` where it follows from what may be known too late, and in
   * a newer server's room.
   */
  hears(room: string, event: Event, heardIn: readonly string[]): Hears {
    const item = isChange(event) || event.type === "delivery" ? event.item : undefined;
    if (within(room, heardIn)) return "yes";
    if (!KNOWN.test(room)) return "unlikely";
    if (item === undefined) return "no";
    if (!byKey(room)) return event.type === "delivery" && OF_ITEMS.test(room) ? "unlikely" : "no";
    if (!this.tells(room)) return "maybe";
    const id = this.#ids.get(room);
    return id === item ? "yes" : id === undefined ? "unlikely" : "no";
  }

  #item(item: Item): void {
    this.#keep(item.id, { key: item.key ?? "", records: item.records.map((record) => record.record) });
  }

  #keep(id: string, names: Names): void {
    this.#items.delete(id);
    this.#items.set(id, names);
    const oldest = this.#items.keys().next();
    if (this.#items.size > NAMES_MAX && !oldest.done) this.#items.delete(oldest.value);
  }
}

const HYPHENATED = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}";
/** The ways to write the id of an item that servers take. */
const ID = new RegExp(`^item:(?:(${HYPHENATED})|\\{(${HYPHENATED})\\}|urn:uuid:(${HYPHENATED})|([0-9a-f]{32}))$`, "i");

/** A room's name as servers write it: ids in small letters, with hyphens. */
export function written(room: string): string {
  const found = ID.exec(room)?.slice(1).find((id) => id !== undefined);
  if (found === undefined) return room;
  const digits = found.toLowerCase().replaceAll("-", "");
  return `item:${digits.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5")}`;
}

/** Whether a room is an item's by its key. */
export function byKey(room: string): boolean {
  return room.startsWith("item:") && !room.endsWith("*") && !ID.test(room);
}

/** Whether a room, or a name that ends with `*`, is one of those that hear of an event. */
export function within(room: string, heardIn: readonly string[]): boolean {
  if (!room.endsWith("*") || room === "*") return heardIn.includes(room);
  const start = room.slice(0, -1);
  return heardIn.some((name) => name.startsWith(start));
}

/** The rooms in which an event is heard, as far as they follow from what is known; none for a type that is not known. */
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

/** What the records of agents begin with, as servers have it: those of agents, and those told of by `POST /v1/agent-events`. */
const AGENTS = ["agentapi/agent/", "agent/session/"];

function agentsOf(records: readonly string[]): string[] {
  return named("agent", records.filter((record) => AGENTS.some((start) => record.startsWith(start))));
}
