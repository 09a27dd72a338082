/** A WebSocket server that does what a test says, when it says so: what a real one does not do on demand. */

import assert from "node:assert/strict";
import { once } from "node:events";
import { type IncomingMessage, type Server, createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { WebSocket, WebSocketServer } from "ws";
import { Lockstep, type LockstepError, type Options, type State } from "../src/index.js";
import type { Message, Told } from "../src/protocol.js";

const DEADLINE_MS = 5_000;

/** Values that somebody waits for, one after another. */
export class Queue<T> {
  readonly #waiting: T[] = [];
  readonly #readers: ((value: T) => void)[] = [];

  push(value: T): void {
    const reader = this.#readers.shift();
    if (reader) reader(value);
    else this.#waiting.push(value);
  }

  get size(): number {
    return this.#waiting.length;
  }

  async next(what: string): Promise<T> {
    if (this.#waiting.length > 0) return this.#waiting.shift() as T;
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Error(`no ${what} within ${DEADLINE_MS} ms`)), DEADLINE_MS);
    });
    try {
      return await Promise.race([new Promise<T>((resolve) => void this.#readers.push(resolve)), late]);
    } finally {
      clearTimeout(timer);
    }
  }
}

type Heard = Record<string, unknown> & { type: string };

/** One connection as the server has it. */
export class Peer {
  readonly address: string;
  readonly #socket: WebSocket;
  readonly heard = new Queue<Heard>();
  readonly closed: Promise<number>;

  constructor(socket: WebSocket, request: IncomingMessage) {
    this.#socket = socket;
    this.address = request.url ?? "";
    socket.on("message", (data) => this.heard.push(JSON.parse(String(data)) as Heard));
    this.closed = once(socket, "close").then(([code]) => code as number);
  }

  /** The next message, which must be of this type. */
  async hears(type: string): Promise<Heard> {
    const message = await this.heard.next(`${type} from the client`);
    assert.equal(message.type, type, JSON.stringify(message));
    return message;
  }

  /** Says something; texts go as they are. */
  says(message: Partial<Told> | Record<string, unknown> | string): void {
    this.#socket.send(typeof message === "string" ? message : JSON.stringify(message));
  }

  welcomes(position = "p0", ping_ms = 30_000): void {
    this.says({ type: "welcome", connection: "c", position, ping_ms });
  }

  /** Answers the next subscribe. */
  async admits(position = "p0", resumed = false): Promise<Heard> {
    const asked = await this.hears("subscribe");
    this.says({ type: "subscribed", rooms: asked["rooms"], position, resumed, ref: asked["ref"] });
    return asked;
  }

  /** Answers the next ping, as a server does that has told all up to a position. */
  async pongs(position?: string): Promise<void> {
    const { ref } = await this.hears("ping");
    this.says({ type: "pong", at: 1, position, ref });
  }

  closes(code: number, reason = ""): void {
    this.#socket.close(code, reason);
  }

  /** Breaks it, as a network does. */
  cuts(): void {
    this.#socket.terminate();
  }
}

/** The server, and what it is asked over HTTP. */
export class Scripted {
  readonly #http: Server;
  readonly #sockets: WebSocketServer;
  readonly peers = new Queue<Peer>();
  /** What HTTP calls are answered; by path. */
  answers: (method: string, path: string, body: string, request: IncomingMessage) => [number, unknown] = () => [404, {}];

  private constructor(http: Server) {
    this.#http = http;
    this.#sockets = new WebSocketServer({ server: http, path: "/v1/ws" });
    this.#sockets.on("connection", (socket, request) => this.peers.push(new Peer(socket, request)));
    http.on("request", async (request, response) => {
      let body = "";
      for await (const part of request) body += String(part);
      const [status, answer] = this.answers(request.method ?? "", request.url ?? "", body, request);
      response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(answer));
    });
  }

  static async start(): Promise<Scripted> {
    const http = createServer();
    const scripted = new Scripted(http);
    http.listen(0, "127.0.0.1");
    await once(http, "listening");
    return scripted;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#http.address() as AddressInfo).port}`;
  }

  connection(): Promise<Peer> {
    return this.peers.next("connection");
  }

  stop(): void {
    this.#sockets.clients.forEach((socket) => socket.terminate());
    this.#sockets.close();
    this.#http.close();
    this.#http.closeAllConnections();
  }
}

/** A client whose waits are short, with all it tells. */
export class Client {
  readonly lockstep: Lockstep;
  readonly states = new Queue<State>();
  readonly errors = new Queue<LockstepError>();

  constructor(url: string, options: Partial<Options> = {}) {
    this.lockstep = new Lockstep({ url, webSocket: WebSocket, firstMs: 5, maxMs: 20, ...options });
    this.lockstep.on("state", (state) => this.states.push(state));
    this.lockstep.on("error", (error) => this.errors.push(error));
  }

  /** Begins to connect; a test that closes the client does not care what becomes of it. */
  connects(): void {
    this.lockstep.connect().catch(() => {});
  }

  /** The next state of this name; those before it are passed over. */
  async becomes<Name extends State["state"]>(name: Name): Promise<Extract<State, { state: Name }>> {
    for (;;) {
      const state = await this.states.next(`state ${name}`);
      if (state.state === name) return state as Extract<State, { state: Name }>;
    }
  }
}

/** Runs a test with a server and a client, and ends both. */
export async function together(
  test: (server: Scripted, client: Client) => Promise<void>,
  options: Partial<Options> = {},
): Promise<void> {
  const server = await Scripted.start();
  const client = new Client(server.url, options);
  try {
    await test(server, client);
  } finally {
    client.lockstep.close();
    server.stop();
  }
}

let numbers = 0;

/** An agent's state as an event. */
export function agent(name: string, position: string, status = "working"): Record<string, unknown> {
  numbers += 1;
  return { type: "agent_state", position, agent: name, status, previous: "", task: "", reason: "", at: numbers, metadata: {} };
}

/** A change of an item as an event. */
export function change(position: string, more: Record<string, unknown> = {}): Record<string, unknown> {
  return {
    type: "status_changed", position, id: position, kind: "status_changed", item: "i1", version: 2, lifecycle: "work", key: "ENG-1",
    title: "", from: "open", to: "done", record: "linear/issue/a", native: "Done", reason: "", irregular: false, conflict: "", at: 1,
    recorded_at: 1, cause: 7, records: ["linear/issue/a", "github/issue/acme/web#7"], ...more,
  };
}

/** One page of how a room stands. */
export function snapshot(room: string, more: Record<string, unknown> = {}): Record<string, unknown> {
  return { type: "snapshot", room, position: "p0", items: [], messages: [], more: false, truncated: false, ...more };
}

/** Where messages stand, or of those that stand nowhere the type. */
export const positions = (messages: Message[]): string[] => messages.map((message) => ("position" in message ? message.position : message.type));
