/** Calls Lockstep's HTTP faces; each call has an end. */

import { LockstepError, type RefusedStatus, asError } from "./errors.js";

/** What calls need. */
export interface HttpSetting {
  /** `http://host:port`, without a slash at the end. */
  readonly url: string;
  readonly fetch: typeof fetch;
  /** How long a call may take, in milliseconds. */
  readonly callMs: number;
  /** A key or a JWT, where the server asks for one; `fresh` when the last was not good. The same again where there is no other. */
  token(fresh: boolean): Promise<string | undefined>;
}

/**
 * Calls; the answer is the JSON of a success, anything else throws with the server's word. A call that is sent again with the same
 * `key` is done once.
 */
export async function call(setting: HttpSetting, method: "GET" | "POST", path: string, body?: unknown, key?: string): Promise<unknown> {
  const token = await setting.token(false);
  try {
    return await once(setting, token, method, path, body, key);
  } catch (thrown) {
    const other = thrown instanceof LockstepError && DENIED.has(thrown.code) ? await setting.token(true) : token;
    if (other === token) throw thrown;
    return once(setting, other, method, path, body, key);
  }
}

/** Words for which another token may do better. */
const DENIED: ReadonlySet<string> = new Set(["auth_failed", "token_expired", "key_unknown", "http_401"]);

async function once(
  setting: HttpSetting,
  token: string | undefined,
  method: "GET" | "POST",
  path: string,
  body: unknown,
  key: string | undefined,
): Promise<unknown> {
  const headers: Record<string, string> = {};
  if (key !== undefined) headers["idempotency-key"] = key;
  if (token !== undefined) headers["authorization"] = `Bearer ${token}`;
  if (body !== undefined) headers["content-type"] = "application/json";
  try {
    const response = await setting.fetch(`${setting.url}${path}`, {
      method,
      headers,
      signal: AbortSignal.timeout(setting.callMs),
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
    const text = await response.text();
    if (!response.ok) throw refusal(response.status, text, `${method} ${path}`);
    return text === "" ? undefined : JSON.parse(text);
  } catch (thrown) {
    const late = thrown instanceof DOMException && thrown.name === "TimeoutError";
    if (late) throw new LockstepError("timeout", `${method} ${path}: no answer within ${setting.callMs} ms`);
    throw asError(thrown, "unreachable", `${method} ${path}`);
  }
}

/** The error of an answer: `application/problem+json`, or whatever stands between says. */
function refusal(status: number, text: string, what: string): LockstepError {
  let problem: { code?: unknown; detail?: unknown; errors?: unknown } = {};
  try {
    problem = Object(JSON.parse(text));
  } catch {
    // A proxy's page is no problem of ours; the status says enough.
  }
  const code = typeof problem.code === "string" ? problem.code : `http_${status}`;
  const detail = typeof problem.detail === "string" ? problem.detail : `answered ${status}`;
  const errors = Array.isArray(problem.errors) ? (problem.errors as RefusedStatus[]) : [];
  return new LockstepError(code, `${what}: ${detail}`, { errors });
}

/** The two addresses of one server: for calls, and for the WebSocket. */
export function addresses(url: string): { readonly http: string; readonly ws: string } {
  const base = (globalThis as { location?: { href: string } }).location?.href;
  let parsed: URL;
  try {
    parsed = new URL(url, base);
  } catch {
    throw new LockstepError("bad_option", `url: ${JSON.stringify(url)} is no address; it must be like "https://lockstep.example.com"`);
  }
  const secure = parsed.protocol === "https:" || parsed.protocol === "wss:";
  if (!secure && parsed.protocol !== "http:" && parsed.protocol !== "ws:") {
    throw new LockstepError("bad_option", `url: ${JSON.stringify(url)} must begin with http:// or https://`);
  }
  if (parsed.username !== "" || parsed.search !== "") {
    throw new LockstepError("bad_option", "url: it must have no user and no query; give keys as `key`, because addresses are logged");
  }
  const rest = `${parsed.host}${parsed.pathname.replace(/\/+$/, "")}`;
  return { http: `${secure ? "https" : "http"}://${rest}`, ws: `${secure ? "wss" : "ws"}://${rest}/v1/ws` };
}
