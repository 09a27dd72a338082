/** The client: connects, follows rooms, publishes statuses. */

import { platformClock, type Clock } from "./clock.js";
import { Credentials } from "./credentials.js";
import { Emitter, type Off } from "./emitter.js";
import { LockstepError, asError } from "./errors.js";
import { type HttpSetting, addresses, call } from "./http.js";
import { type Host, Link, type State } from "./link.js";
import type { Filter, HistoryLine, Item, Snapshot, Status } from "./answers.js";
import type { AgentState } from "./messages.js";
import { type Limits, type Options, limits } from "./options.js";
import { Propagation, nothingStored } from "./propagation.js";
import type { Message, Telemetry as TelemetryMessage } from "./protocol.js";
import { Requests } from "./requests.js";
import { webSocketConstructor } from "./socket.js";
import { type Handler, Subscription } from "./subscription.js";
import { Telemetry } from "./telemetry.js";
import { Updates } from "./updates.js";

/** How many lines of history are looked through for one status: as many as one message may cause, and more. */
const LINES = 50;

/** The link by which `propagated` watches what was published: no subscription of the program's. */
const PUBLISHED = "published";

/** What a client tells of itself: `on`. */
export interface ClientEvents {
  /** How its connections stand, whenever that becomes another: see `Lockstep.state`. */
  state: State;
  /** What went wrong and was not answered to a caller. Without a listener it goes to the console. */
  error: LockstepError;
}

/** How a subscription may differ from the plain one. */
export interface SubscribeOptions {
  /** What is let through, judged by the server. Subscriptions of each other filter have a connection of their own. */
  readonly filter?: Filter | undefined;
  /**
   * Whether how things stand comes first. Default true. Without it, and as long as it is not known which item a key names, a
   * subscription to an item by its key may be told of other items that this client follows: too much rather than too little.
   */
  readonly snapshot?: boolean | undefined;
}

/** Lockstep at one address. It connects when it is first asked for something, or with `connect`. */
export class Lockstep {
  readonly #limits: Limits;
  readonly #clock: Clock;
  readonly #http: HttpSetting;
  readonly #credentials: Credentials;
  readonly #host: Host;
  readonly #events = new Emitter<ClientEvents>((thrown, name) => {
    const error = asError(thrown, "handler_failed", "a listener failed");
    // Who fails to hear of errors would fail to hear of this one, and so on.
    if (name === "error") console.error(error);
    else this.report(error);
  });
  readonly #main: Link;
  readonly #updates: Updates;
  readonly #requests: Requests;
  readonly #telemetry: Telemetry;
  /** Further links by what is theirs alone: a filter, or the watching of what was published. */
  readonly #others = new Map<string, Link>();
  readonly #subscriptions = new Map<Subscription, string>();
  /** Who waits for the main link; `state` tells of the others, too. */
  readonly #connecting = new Set<() => void>();
  #state: State = { state: "idle" };
  #closed = false;

  /** Nothing is opened yet. Options that cannot work throw `bad_option` or `no_web_socket`. */
  constructor(options: Options) {
    const { http, ws } = addresses(options.url);
    this.#limits = limits(options);
    this.#clock = platformClock(options);
    const { callMs, firstMs, maxMs, connectMs, stableMs, answerMs, queueMax } = this.#limits;
    // Browsers refuse a `fetch` that is called as somebody's method.
    const fetching: typeof fetch = options.fetch ?? ((input, init) => globalThis.fetch(input, init));
    const credentials = new Credentials(options, { url: http, fetch: fetching, callMs, clock: this.#clock });
    this.#credentials = credentials;
    this.#http = { url: http, fetch: fetching, callMs, token: (fresh) => credentials.forCall(fresh) };
    const backoff = { firstMs, maxMs };
    this.#host = {
      url: ws,
      clock: this.#clock,
      backoff,
      connectMs,
      stableMs,
      answerMs,
      webSocket: webSocketConstructor(options.webSocket),
      renews: credentials.renew,
      credential: () => credentials.forConnection(),
      failed: (error) => this.report(error),
      changed: (link) => this.#changed(link),
    };
    this.#main = new Link(this.#host);
    this.#updates = new Updates(this.#main, { clock: this.#clock, backoff, queueMax, answerMs });
    this.#requests = new Requests(this.#main, this.#clock);
    this.#telemetry = new Telemetry({
      clock: this.#clock,
      backoff,
      queueMax,
      post: (messages, key) => call(this.#http, "POST", "/v1/telemetry", { messages }, key),
      failed: (error) => this.report(error),
    });
    this.#main.carry(this.#updates);
    this.#main.carry(this.#requests);
  }

  /**
   * How its connections stand: `open` when all are, else how the first stands that is not, and `closed` when one is. First comes the one
   * that everything but filters goes over, then each filter's, from when it has been open or has broken once: until then only `ready` of
   * its subscription waits for it. The one that `propagated` opens for itself does not count.
   */
  get state(): State {
    return this.#state;
  }

  /** Listens until the answer is called. A listener that throws breaks nothing. */
  on<Name extends keyof ClientEvents>(name: Name, listener: (value: ClientEvents[Name]) => void): Off {
    return this.#events.on(name, listener);
  }

  /**
   * Connects. Resolves when the connection is open; fails when it ended for good, or is not there after `timeoutMs` (default
   * 30,000): then the client goes on trying until `close`.
   */
  async connect({ timeoutMs = 30_000 }: { readonly timeoutMs?: number } = {}): Promise<void> {
    this.#start();
    await new Promise<void>((resolve, reject) => {
      let why = "";
      const cancel = this.#clock.after(timeoutMs, () => {
        this.#connecting.delete(look);
        reject(new LockstepError("timeout", `no connection after ${timeoutMs} ms${why}`));
      });
      const look = (): void => {
        const { state } = this.#main;
        if (state.state === "waiting") why = `: ${state.code}: ${state.reason}`;
        if (state.state !== "open" && state.state !== "closed") return;
        this.#connecting.delete(look);
        cancel();
        if (state.state === "open") resolve();
        else reject(new LockstepError(state.code, state.reason));
      };
      this.#connecting.add(look);
      look();
    });
  }

  /**
   * Ends everything: connections, subscriptions, what waits to be sent (statuses fail with `closed`, or `answer_lost` where they were sent; `flush` telemetry before).
   */
  close(): void {
    const error = new LockstepError("closed", "the client was closed");
    this.#closed = true;
    for (const subscription of [...this.#subscriptions.keys()]) subscription.end();
    this.#subscriptions.clear();
    this.#updates.close(error);
    this.#requests.close(error);
    this.#telemetry.close();
    for (const link of [...this.#others.values(), this.#main]) link.stop(error);
    this.#others.clear();
    this.#changed(this.#main);
  }

  /** Follows rooms: `all`, `item:ENG-1`, `agent:*`, … The handler hears every message; without one, loop over the answer. */
  subscribe(rooms: string | readonly string[], handler: Handler): Subscription;
  subscribe(rooms: string | readonly string[], options?: SubscribeOptions, handler?: Handler): Subscription;
  subscribe(rooms: string | readonly string[], second: SubscribeOptions | Handler = {}, third?: Handler): Subscription {
    const [options, handler] = typeof second === "function" ? [{}, second] : [second, third];
    const { filter, snapshot = true }: SubscribeOptions = options;
    return this.#follow(filter === undefined ? "" : `filter ${JSON.stringify(filter)}`, filter, rooms, { snapshot }, handler);
  }

  /** Follows one agent: its states, steps, memories, and what its records do. */
  agent(id: string, handler?: Handler): Subscription {
    return this.subscribe(`agent:${id}`, {}, handler);
  }

  /** Follows the state of every agent; the handler hears each, those of the snapshot first. */
  agents(handler: (state: AgentState) => unknown): Subscription {
    return this.subscribe("agent_states", {}, (message) => {
      const states = message.type === "snapshot" ? (message as Snapshot).messages : [message];
      for (const state of states) if (state.type === "agent_state") handler(state);
    });
  }

  /** Follows one item, by its id or key. */
  item(name: string, handler?: Handler): Subscription {
    return this.subscribe(`item:${name}`, {}, handler);
  }

  /**
   * Publishes statuses. Resolves when they are stored; some may have been refused (`refused`), and when all were, it fails. Without
   * a connection they wait, `queueMax` of them. Each has an id, so one whose answer was lost is sent again and counts once; no more
   * when it was first sent 100 s ago, or when it is refused then: it fails with `answer_lost`, and may be stored.
   */
  async updateStatus(statuses: Status | readonly Status[]): Promise<Propagation> {
    this.#start();
    const list = Array.isArray(statuses) ? (statuses as readonly Status[]) : [statuses as Status];
    const { stored, refused } = list.length === 0 ? { stored: [], refused: [] } : await this.#updates.send(list);
    if (stored.length === 0) throw nothingStored(refused);
    const setting = {
      clock: this.#clock,
      follow: (rooms: readonly string[], from: string | undefined, hear: (message: Message) => void) => {
        const following = this.#follow(PUBLISHED, undefined, rooms, { snapshot: false, position: from }, hear);
        return () => following.unsubscribe();
      },
      item: (record: string) => this.#item(record),
      history: (item: string, upTo: number) => this.#history(item, upTo),
    };
    return new Propagation(setting, stored, refused);
  }

  /** Says that somebody saw to an alert. */
  async acknowledge(alert: string): Promise<void> {
    this.#start();
    await this.#requests.ask({ type: "acknowledge", alert }, this.#limits.answerMs);
  }

  /** A ticket for one connection by other means, such as an `EventSource`. Counts for 30 s. */
  ticket(): Promise<{ ticket: string; expires_at: number }> {
    return this.#credentials.ticket();
  }

  /** Publishes telemetry: `{type: "agent_state", agent: "a", status: "working"}`. Sent with others every 100 ms; never waited for. */
  publish(message: TelemetryMessage): void {
    this.#telemetry.publish(message);
  }

  /** Resolves when the telemetry that waits was taken, with how many messages were lost so far: not taken, or too many at once. */
  async flush(): Promise<{ readonly lost: number }> {
    await this.#telemetry.flush();
    return { lost: this.#telemetry.lost };
  }

  /** Calls one of Lockstep's HTTP faces with this client's key: `call("GET", "/v1/items")`. */
  call(method: "GET" | "POST", path: string, body?: unknown): Promise<unknown> {
    return call(this.#http, method, path, body);
  }

  /** @internal Tells of an error that no caller waits for. */
  report(error: LockstepError): void {
    if (!this.#events.tell("error", error)) console.error(error);
  }

  #start(): void {
    if (this.#closed) throw new LockstepError("closed", "the client was closed; make another");
    this.#main.start();
    this.#others.forEach((link) => link.start());
  }

  #follow(
    key: string,
    filter: Filter | undefined,
    rooms: string | readonly string[],
    start: { readonly snapshot: boolean; readonly position?: string | undefined },
    handler: Handler | undefined,
  ): Subscription {
    this.#start();
    const host = {
      bufferMax: this.#limits.bufferMax,
      failed: (error: LockstepError) => this.report(error),
      leave: () => this.#left(subscription, key, link),
    };
    const subscription = new Subscription(host, typeof rooms === "string" ? [rooms] : rooms, start, handler);
    const link = key === "" ? this.#main : (this.#others.get(key) ?? new Link(this.#host, filter));
    if (link !== this.#main) this.#others.set(key, link);
    this.#subscriptions.set(subscription, key);
    link.add(subscription.member);
    this.#start();
    return subscription;
  }

  #left(subscription: Subscription, key: string, link: Link): void {
    this.#subscriptions.delete(subscription);
    link.remove(subscription.member);
    // Another of the same filter has a link of its own by now, if this one was stopped.
    if (this.#others.get(key) !== link || !link.empty) return;
    this.#others.delete(key);
    link.stop(new LockstepError("closed", "nobody follows its rooms any more"));
  }

  async #item(record: string): Promise<Item | undefined> {
    try {
      return (await this.call("GET", `/v1/items/${encodeURIComponent(record)}`)) as Item;
    } catch (thrown) {
      if (thrown instanceof LockstepError && (thrown.code === "item_unknown" || thrown.code === "http_404")) return undefined;
      throw thrown;
    }
  }

  async #history(item: string, upTo: number): Promise<readonly HistoryLine[]> {
    const path = `/v1/items/${encodeURIComponent(item)}/history?before=${upTo + 1}&limit=${LINES}`;
    return ((await this.call("GET", path)) as { readonly history: readonly HistoryLine[] }).history;
  }

  #changed(link: Link): void {
    const { state } = link;
    if (state.state === "closed" && state.code !== "closed") this.#ended(link, new LockstepError(state.code, state.reason));
    this.#connecting.forEach((look) => look());
    const filters = [...this.#others].filter(([key, one]) => key !== PUBLISHED && one.tried).map(([, one]) => one.state);
    const now = standing([this.#main.state, ...filters]);
    if (JSON.stringify(now) === JSON.stringify(this.#state)) return;
    this.#state = now;
    this.#events.tell("state", now);
  }

  /** A link ended for good: whoever waits for something of it hears so. */
  #ended(link: Link, error: LockstepError): void {
    if (link === this.#main) {
      this.#updates.close(error);
      this.#requests.close(error);
    }
    for (const [subscription, key] of [...this.#subscriptions]) {
      if ((key === "" ? this.#main : this.#others.get(key)) === link) subscription.broke(error);
    }
  }
}

/**
 * How links stand together. One that is not open tells for all until it is: taken in turns, the waits of several that cannot be made
 * would be told over and over.
 */
function standing(states: readonly [State, ...State[]]): State {
  const ended = states.find(({ state }) => state === "closed");
  return ended ?? states.find(({ state }) => state !== "open") ?? states[0];
}
