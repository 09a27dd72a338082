/** Questions over a link that have one answer each: acknowledging an alert. Asked again on the next link when one breaks. */

import type { Clock } from "./clock.js";
import { within } from "./clock.js";
import { LockstepError } from "./errors.js";
import type { Link, Rider } from "./link.js";
import type { Said, Told } from "./protocol.js";

/** How many questions may be open. */
const OPEN_MAX = 100;

interface Open {
  readonly message: Said;
  readonly resolve: (answer: Told) => void;
  readonly reject: (error: LockstepError) => void;
}

/** The open questions of one link. */
export class Requests implements Rider {
  readonly #link: Link;
  readonly #clock: Clock;
  readonly #open = new Map<string, Open>();
  #refs = 0;

  constructor(link: Link, clock: Clock) {
    this.#link = link;
    this.#clock = clock;
  }

  /** Asks; fails with the server's word, or with `timeout` after `ms`. Asking twice must do no harm. */
  async ask(message: Said, ms: number): Promise<Told> {
    if (this.#open.size >= OPEN_MAX) throw new LockstepError("queue_full", `${OPEN_MAX} questions wait for their answers already`);
    const ref = `ask-${++this.#refs}`;
    const asked = { ...message, ref };
    const answer = new Promise<Told>((resolve, reject) => void this.#open.set(ref, { message: asked, resolve, reject }));
    this.#link.say(asked);
    const late = (): LockstepError => new LockstepError("timeout", `${message.type}: no answer within ${ms} ms`);
    try {
      return await within(this.#clock, ms, answer, late);
    } finally {
      this.#open.delete(ref);
    }
  }

  opened(): void {
    this.#open.forEach(({ message }) => this.#link.say(message));
  }

  heard(message: Told): boolean {
    const ref = "ref" in message ? message.ref : undefined;
    const open = ref === undefined ? undefined : this.#open.get(ref);
    if (open === undefined) return false;
    if (message.type === "error") open.reject(new LockstepError(message.code, message.reason));
    else open.resolve(message);
    return true;
  }

  lost(): void {
    // They are asked again when the link is back, as long as somebody waits.
  }

  close(error: LockstepError): void {
    this.#open.forEach(({ reject }) => reject(error));
  }
}
