/** Decides what the end of a connection means: whether to come back, and how soon. Pure. */

/** How to come back: at once (with a little jitter), after a growing wait, or not before something is mended. */
export type Return = "at_once" | "growing" | "never";

/** The end of a connection. */
export interface Ending {
  readonly again: Return;
  /** The first word of the close reason, or one that stands for the code. */
  readonly code: string;
  readonly reason: string;
}

/** Words for which another attempt does no better until a person mended the client. */
const TO_MEND = new Set(["protocol_error", "not_text", "not_utf8", "too_large"]);
/** Words that a new token mends. */
const TOKEN = new Set(["auth_missing", "auth_failed", "token_expired"]);

const BY_NUMBER: Readonly<Record<number, string>> = {
  1000: "closed_by_server",
  1001: "going_away",
  1002: "protocol_error",
  1003: "not_text",
  1007: "not_utf8",
  1008: "policy",
  1009: "too_large",
  1011: "internal",
  1013: "too_many_clients",
};

/** What a close frame, or the lack of one (1005, 1006), means. `newToken` tells whether another token can be got. */
export function ending(number: number, reason: string, newToken: boolean): Ending {
  const [, word, rest] = /^([a-z][a-z0-9_]*)(?::\s*(.*))?$/s.exec(reason) ?? [];
  const code = word ?? BY_NUMBER[number] ?? "unreachable";
  const why = rest ?? (word === undefined && reason !== "" ? reason : `the connection ended (${number})`);
  return { code, reason: why, again: again(number, code, newToken) };
}

/** A message that was sent. */
export interface Sent {
  readonly type: string;
  readonly bytes: number;
}

/** Names the limit, which no close reason does, and what was over it, for the end because of a message that is too large. */
export function sized(end: Ending, bytesMax: number, largest: Sent): Ending {
  const sent = largest.bytes > bytesMax ? `; ${largest.type} had ${largest.bytes}` : "";
  return { ...end, reason: `${end.reason}; the server takes ${bytesMax} bytes (message_max_bytes)${sent}` };
}

function again(number: number, code: string, newToken: boolean): Return {
  if (TO_MEND.has(code) || [1002, 1003, 1007, 1009].includes(number)) return "never";
  if (TOKEN.has(code)) return newToken ? "growing" : "never";
  return number === 1001 ? "at_once" : "growing";
}

/** What silence means: nothing, time to ask, or that nobody is there. */
export type Silence = "fine" | "ask" | "dead";

/** Judges `silentMs` without any message, where the server promised one each `pingMs` to whoever asks. */
export function silence(silentMs: number, pingMs: number, asked: boolean): Silence {
  if (silentMs >= 2.5 * pingMs) return "dead";
  return silentMs >= pingMs && !asked ? "ask" : "fine";
}
