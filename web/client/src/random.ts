/** Ids that nobody else has. */

/** 128 random bits. Unlike `randomUUID` this is there on pages without TLS, too. */
export function randomId(): string {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
