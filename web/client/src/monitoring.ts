/** What an operator watches: alerts, health, measurements, deliveries, conflicts; each with how it stands now. */

import { Lockstep } from "./client.js";
import { Emitter, type Off } from "./emitter.js";
import { LockstepError } from "./errors.js";
import type { Item } from "./answers.js";
import type { Delivery, HealthChanged, PerformanceMetrics, SystemAlert } from "./messages.js";
import { Newest } from "./newest.js";
import type { Options } from "./options.js";
import type { Change, Message } from "./protocol.js";
import type { Subscription } from "./subscription.js";

/** What a monitoring client tells of. */
export interface MonitoringEvents {
  alert: SystemAlert;
  health: HealthChanged;
  metrics: PerformanceMetrics;
  delivery: Delivery;
  /** `conflict_opened` or `conflict_resolved`. */
  conflict: Change;
  /** The maps hold how things stand now. */
  snapshot: string;
}

const ROOMS = ["system_alerts", "health", "performance_metrics", "deliveries", "conflicts"] as const;

/** Begins to watch; the client is one that is there already, or the options of one that lives as long as this. */
export function createMonitoringClient(source: Lockstep | Options): MonitoringClient {
  return new MonitoringClient(source);
}

/** Watches what an operator watches. */
export class MonitoringClient {
  readonly client: Lockstep;
  /** The rooms' subscription: `ready` tells whether they were all let in. */
  readonly subscription: Subscription;
  readonly #own: boolean;
  readonly #events: Emitter<MonitoringEvents>;
  readonly #alerts = new Newest<SystemAlert>(10_000);
  readonly #health = new Newest<HealthChanged>(10_000);
  readonly #held = new Newest<Item | Change>(10_000);

  /** @internal */
  constructor(source: Lockstep | Options) {
    this.#own = !(source instanceof Lockstep);
    this.client = source instanceof Lockstep ? source : new Lockstep(source);
    this.#events = new Emitter((thrown) => {
      this.client.report(new LockstepError("handler_failed", "a listener of the monitoring client failed", { cause: thrown }));
    });
    this.subscription = this.client.subscribe(ROOMS, {}, (message) => this.#hear(message));
  }

  on<Name extends keyof MonitoringEvents>(name: Name, listener: (value: MonitoringEvents[Name]) => void): Off {
    return this.#events.on(name, listener);
  }

  /** The newest of each alert that nobody acknowledged, by id. */
  get alerts(): ReadonlyMap<string, SystemAlert> {
    return this.#alerts.all;
  }

  /** The newest health level of each target. */
  get health(): ReadonlyMap<string, HealthChanged> {
    return this.#health.all;
  }

  /** The items that wait for a person, by id: as the snapshot showed them, or the `conflict_opened`. */
  get held(): ReadonlyMap<string, Item | Change> {
    return this.#held.all;
  }

  /** Says that somebody saw to an alert. */
  acknowledge(alert: string): Promise<void> {
    return this.client.acknowledge(alert);
  }

  /** Watches no more; a client of its own is closed. */
  close(): void {
    this.subscription.unsubscribe();
    if (this.#own) this.client.close();
  }

  #hear(message: Message): void {
    switch (message.type) {
      case "reset":
        if (message.rooms.includes("system_alerts")) this.#alerts.clear();
        if (message.rooms.includes("health")) this.#health.clear();
        if (message.rooms.includes("conflicts")) this.#held.clear();
        return;
      case "snapshot":
        message.items.forEach((item) => this.#held.set(item.id, item));
        message.messages.forEach((one) => this.#keep(one));
        if (!message.more) this.#events.tell("snapshot", message.room);
        return;
      default:
        this.#keep(message);
        this.#tell(message);
    }
  }

  #keep(message: Message): void {
    if (message.type === "health_changed") this.#health.set(message.target, message);
    if (message.type === "conflict_opened") this.#held.set(message.item, message);
    if (message.type === "conflict_resolved") this.#held.delete(message.item);
    if (message.type !== "system_alert") return;
    if (message.acknowledged_by) this.#alerts.delete(message.id);
    else this.#alerts.set(message.id, message);
  }

  #tell(message: Message): void {
    switch (message.type) {
      case "system_alert":
        return void this.#events.tell("alert", message);
      case "health_changed":
        return void this.#events.tell("health", message);
      case "performance_metrics":
        return void this.#events.tell("metrics", message);
      case "delivery":
        return void this.#events.tell("delivery", message);
      case "conflict_opened":
      case "conflict_resolved":
        return void this.#events.tell("conflict", message);
      default:
    }
  }
}
