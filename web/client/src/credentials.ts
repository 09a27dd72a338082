/** Gets what shows who comes: keys, tokens, tickets. */

import { type Clock, within } from "./clock.js";
import { LockstepError, asError } from "./errors.js";
import { call } from "./http.js";
import type { Options } from "./options.js";

/** What one connection shows. */
export interface Shown {
  /** A key or JWT, for the first message. */
  readonly token?: string;
  /** For the address. */
  readonly ticket?: string;
}

/** What getting them needs. */
export interface CredentialsSetting {
  readonly url: string;
  readonly fetch: typeof fetch;
  /** How long a call may take, or the program's own function, in milliseconds. */
  readonly callMs: number;
  readonly clock: Clock;
}

/** The credentials of one client. */
export class Credentials {
  readonly #options: Options;
  readonly #calls: CredentialsSetting;
  /** The token that is being got. */
  #asking: Promise<string> | undefined;
  #token: string | undefined;
  #ticket: string | undefined;

  constructor(options: Options, calls: CredentialsSetting) {
    const given = (["key", "token", "getToken", "ticket", "getTicket"] as const).filter((name) => options[name] !== undefined);
    const pair = given.join(" and ");
    if (given.length > 1 && pair !== "token and getToken" && pair !== "ticket and getTicket") {
      throw new LockstepError("bad_option", `${given.join(", ")}: give one of them`);
    }
    this.#options = options;
    this.#calls = calls;
    this.#token = options.token;
    this.#ticket = options.ticket;
  }

  /** Whether another can be got when one is not good any more. */
  get renew(): boolean {
    return this.#options.getToken !== undefined || this.#options.getTicket !== undefined;
  }

  /** For a connection; new, where a new one can be got. */
  async forConnection(): Promise<Shown> {
    const { getTicket, ticket, show } = this.#options;
    if (ticket !== undefined || getTicket !== undefined) return { ticket: await this.#nextTicket() };
    const token = await this.#next();
    if (token === undefined) return {};
    return show === "ticket" ? { ticket: (await this.ticket()).ticket } : { token };
  }

  /** For an HTTP call: the last one that was got, or another where one can be got. */
  async forCall(fresh: boolean): Promise<string | undefined> {
    const { key, getToken } = this.#options;
    if (key !== undefined) return key;
    return this.#token === undefined || (fresh && getToken !== undefined) ? this.#next() : this.#token;
  }

  /** A ticket for one connection: for an `EventSource`, which cannot send headers. Counts for 30 s. */
  async ticket(): Promise<{ ticket: string; expires_at: number }> {
    const answer = await call({ ...this.#calls, token: (fresh) => this.forCall(fresh) }, "POST", "/v1/tickets");
    if (typeof answer === "object" && answer !== null && "ticket" in answer && typeof answer.ticket === "string") {
      return answer as { ticket: string; expires_at: number };
    }
    throw new LockstepError("not_understood", "POST /v1/tickets: the answer holds no ticket");
  }

  async #next(): Promise<string | undefined> {
    const { key, getToken } = this.#options;
    if (key !== undefined) return key;
    if (getToken === undefined) return this.#token;
    // Many calls can find at one moment that the last token is not good.
    this.#asking ??= this.#got("getToken", getToken).finally(() => (this.#asking = undefined));
    this.#token = await this.#asking;
    return this.#token;
  }

  async #nextTicket(): Promise<string> {
    const first = this.#ticket;
    this.#ticket = undefined;
    const { getTicket } = this.#options;
    if (first !== undefined) return first;
    if (getTicket !== undefined) return this.#got("getTicket", getTicket);
    throw new LockstepError("bad_option", "ticket: it was used for a connection that ended, and counts once; pass getTicket");
  }

  /** What the program's own function gets, within a time. */
  async #got(name: string, get: () => Promise<string> | string): Promise<string> {
    const { callMs, clock } = this.#calls;
    const late = (): LockstepError => new LockstepError("no_token", `${name}: no answer within ${callMs} ms`);
    let text: unknown;
    try {
      text = await within(clock, callMs, Promise.resolve(get()), late);
    } catch (thrown) {
      throw asError(thrown, "no_token", `${name} failed`);
    }
    if (typeof text === "string" && text !== "") return text;
    throw new LockstepError("no_token", `${name}: it must give a text that is not empty`);
  }
}
