/** Opens a WebSocket and tells what happens to it, in one way for browsers, Node and the `ws` package. */

import { LockstepError, sentence } from "./errors.js";

/** What the client uses of a WebSocket. */
export interface WebSocketLike {
  onopen: ((event: any) => any) | null;
  onmessage: ((event: any) => any) | null;
  onerror: ((event: any) => any) | null;
  onclose: ((event: any) => any) | null;
  send(data: string): void;
  close(code?: number, reason?: string): void;
  /** `ws` has it: ends without waiting for the other side. */
  terminate?(): void;
}

/** `WebSocket` as browsers and Node 22 have it, or the one of the package `ws`. */
export type WebSocketConstructor = new (url: string) => WebSocketLike;

/** The constructor to use. */
export function webSocketConstructor(given: WebSocketConstructor | undefined): WebSocketConstructor {
  const found = given ?? (globalThis as { WebSocket?: WebSocketConstructor }).WebSocket;
  if (found !== undefined) return found;
  throw new LockstepError(
    "no_web_socket",
    'this platform has no WebSocket: use Node 22 or newer, or pass webSocket: (await import("ws")).WebSocket',
  );
}

/** Who hears of a socket. Nothing is told after `closed`. */
export interface SocketListener {
  opened(): void;
  received(data: unknown): void;
  /** `number` is 1006 where there was no close frame. */
  closed(number: number, reason: string): void;
}

/** A socket in use. */
export interface Socket {
  send(text: string): void;
  /** Closes it with this code, 1000 or one from 4000 on; the listener hears nothing more. */
  drop(number: number): void;
}

/** Opens a socket. A wrong address throws. */
export function open(constructor: WebSocketConstructor, url: string, listener: SocketListener): Socket {
  const socket = new constructor(url);
  let failure = "";
  const forget = (): void => {
    socket.onopen = socket.onmessage = socket.onclose = null;
    // Kept: `ws` ends the process when an error of a socket has no listener.
    socket.onerror = () => {};
  };
  socket.onopen = () => listener.opened();
  socket.onmessage = (event: { data: unknown }) => listener.received(event.data);
  socket.onerror = (event: { message?: unknown; error?: unknown }) => {
    // Browsers say nothing here; Node and `ws` say why.
    failure = typeof event.message === "string" ? event.message : event.error === undefined ? "" : sentence(event.error);
  };
  socket.onclose = (event: { code: number; reason: unknown }) => {
    forget();
    const reason = typeof event.reason === "string" ? event.reason : "";
    // Not a word of the protocol's but a sentence of the platform's.
    listener.closed(event.code, reason === "" && failure !== "" ? `It broke: ${failure}` : reason);
  };
  return {
    send: (text) => socket.send(text),
    drop(number) {
      forget();
      try {
        socket.close(number);
      } finally {
        // A peer that does not answer would keep the process for half a minute.
        if (number !== 1000) socket.terminate?.();
      }
    },
  };
}
