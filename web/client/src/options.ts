/** What a client can be told, checked before anything is opened. */

import { LockstepError } from "./errors.js";
import type { WebSocketConstructor } from "./socket.js";

/** What a client can be told. Everything but `url` has a default. */
export interface Options {
  /** Where Lockstep is: the gateway's address, such as `https://lockstep.example.com`. */
  readonly url: string;
  /** An API key. */
  readonly key?: string | undefined;
  /** A JWT; one that expires ends the connection for good: see `getToken`. */
  readonly token?: string | undefined;
  /** Gets a JWT or key: for each connection, and again before the last one expires. */
  readonly getToken?: (() => Promise<string> | string) | undefined;
  /** A ticket for the first connection. It counts once: see `getTicket`. */
  readonly ticket?: string | undefined;
  /** Gets a ticket for each connection, from a server of yours that holds the key. */
  readonly getTicket?: (() => Promise<string> | string) | undefined;
  /**
   * How a key or token is shown: `message` (the default) as the first message of the connection, `ticket` by way of
   * `POST /v1/tickets`, for a server behind a proxy that wants to know who comes before it lets a connection through.
   */
  readonly show?: "message" | "ticket" | undefined;
  /** The `WebSocket` constructor, where the platform has none: the one of the package `ws` in Node 20. */
  readonly webSocket?: WebSocketConstructor | undefined;
  readonly fetch?: typeof fetch | undefined;
  /** Chance, from 0 up to 1. */
  readonly random?: (() => number) | undefined;
  /** Milliseconds since 1970. */
  readonly now?: (() => number) | undefined;
  /** The first wait before connecting again, in milliseconds; each is doubled and drawn with full jitter. Default 500. */
  readonly firstMs?: number | undefined;
  /** The longest wait, in milliseconds. Default 30,000. */
  readonly maxMs?: number | undefined;
  /** How long one attempt to connect may take, in milliseconds. Default 10,000. */
  readonly connectMs?: number | undefined;
  /** A connection that held so long was a good one: after it the waits begin anew. Default 10,000 ms. */
  readonly stableMs?: number | undefined;
  /** How long an answer over the connection may take, in milliseconds, before it counts as broken. Default 10,000. */
  readonly answerMs?: number | undefined;
  /** How long an HTTP call may take, and `getToken` or `getTicket`, in milliseconds. Default 15,000. */
  readonly callMs?: number | undefined;
  /** How many statuses may wait to be stored. Default 1,000. */
  readonly queueMax?: number | undefined;
  /** How many messages may wait for a loop over a subscription. Default 1,000. */
  readonly bufferMax?: number | undefined;
}

/** The options with nothing left open. */
export interface Limits {
  readonly firstMs: number;
  readonly maxMs: number;
  readonly connectMs: number;
  readonly stableMs: number;
  readonly answerMs: number;
  readonly callMs: number;
  readonly queueMax: number;
  readonly bufferMax: number;
}

const DEFAULTS: Limits = {
  firstMs: 500,
  maxMs: 30_000,
  connectMs: 10_000,
  stableMs: 10_000,
  answerMs: 10_000,
  callMs: 15_000,
  queueMax: 1_000,
  bufferMax: 1_000,
};

/** The limits of the options. */
export function limits(options: Options): Limits {
  const names = Object.keys(DEFAULTS) as (keyof Limits)[];
  const read = (name: keyof Limits): number => {
    const value = options[name] ?? DEFAULTS[name];
    if (Number.isFinite(value) && value > 0) return value;
    throw new LockstepError("bad_option", `${name}: ${value} must be a number above 0`);
  };
  return Object.fromEntries(names.map((name) => [name, read(name)])) as unknown as Limits;
}
