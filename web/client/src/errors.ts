/** What went wrong, for a program as a word and for a person as a sentence. */

/** A status that was not stored: its place in the call, the field, and what would be right. */
export interface RefusedStatus {
  readonly index: number;
  readonly field: string;
  readonly detail: string;
}

/**
 * Every error of this client. `code` never changes its meaning: it is the server's word (`auth_failed`, `room_unknown`, …), or
 * one of the client's own:
 *
 * | code | what happened |
 * | --- | --- |
 * | `bad_option`, `bad_argument` | a program's mistake; the sentence says what would be right |
 * | `no_web_socket` | this platform has no `WebSocket`; pass one |
 * | `no_token` | `getToken` or `getTicket` failed; asked again after a wait |
 * | `unreachable` | no connection, or it broke |
 * | `timeout` | no answer in time |
 * | `closed` | the client was closed |
 * | `replaced` | a newer status of its record took its place in a full queue |
 * | `answer_lost` | a status was sent and may be stored; it is not sent again, and the sentence says why |
 * | `queue_full` | more waits to be sent than `queueMax` |
 * | `buffer_full` | a loop over a subscription reads more slowly than messages come |
 * | `handler_failed` | a handler of yours threw; `cause` is what it threw |
 * | `not_understood` | the server sent what is not in the protocol |
 */
export class LockstepError extends Error {
  readonly code: string;
  /** The statuses that were refused, where the server names them. */
  readonly errors: readonly RefusedStatus[];

  constructor(code: string, message: string, more: { cause?: unknown; errors?: readonly RefusedStatus[] } = {}) {
    super(message, "cause" in more ? { cause: more.cause } : undefined);
    this.name = "LockstepError";
    this.code = code;
    this.errors = more.errors ?? [];
  }
}

/** The sentence of whatever was thrown. */
export function sentence(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}

/** Whatever was thrown as an error of ours. */
export function asError(thrown: unknown, code: string, message: string): LockstepError {
  if (thrown instanceof LockstepError) return thrown;
  return new LockstepError(code, `${message}: ${sentence(thrown)}`, { cause: thrown });
}
