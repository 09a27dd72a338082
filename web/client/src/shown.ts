/** Remembers what snapshots have told to whom: a status that one told is no news to who was shown it, and is to others. Pure. */

import type { Snapshot } from "./answers.js";
import type { Event } from "./protocol.js";

/** By who was shown it and by room, the versions of a snapshot's items. */
export class Shown<Who> {
  readonly #versions = new Map<Who, Map<string, Map<string, number>>>();

  /** Somebody is shown a page of how a room stands: the first one takes the place of what was told before. */
  page(who: Who, { room, items }: Snapshot, first: boolean): void {
    const rooms = this.#versions.get(who) ?? new Map<string, Map<string, number>>();
    const before = first ? [] : (rooms.get(room) ?? []);
    const page = items.map(({ id, version }) => [id, version] as const);
    this.#versions.set(who, rooms.set(room, new Map([...before, ...page])));
  }

  /** Whether the snapshot of a room told somebody what an event tells, or more. */
  has(who: Who, room: string, event: Event): boolean {
    if (event.type !== "status_changed") return false;
    const version = this.#versions.get(who)?.get(room)?.get(event.item);
    return version !== undefined && event.version <= version;
  }

  /** Somebody left. */
  left(who: Who): void {
    this.#versions.delete(who);
  }
}
