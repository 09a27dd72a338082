/** Keeps what a step says within what the server takes: a long error must not cost the news that the step failed. Pure. */

import { sentence } from "../errors.js";

/** How long a description or an error may be, in bytes of UTF-8. */
const TEXT_BYTES = 4 * 1024;
/** How much data a step may tell of, in bytes of JSON. */
const DATA_BYTES = 16 * 1024;
const MARK = "…";

/** The text, cut where it is too long. */
export function cut(text: string): string {
  // No character takes more than three bytes for each unit of its length.
  if (text.length * 3 <= TEXT_BYTES) return text;
  const bytes = new TextEncoder().encode(text);
  if (bytes.length <= TEXT_BYTES) return text;
  const whole = new TextDecoder().decode(bytes.subarray(0, TEXT_BYTES - MARK.length * 3));
  // The last character may have been cut amid.
  return `${whole.replace(/\uFFFD+$/, "")}${MARK}`;
}

/** The data as JSON; of more than the server takes, how much it is, and of what is no JSON, why. */
export function json(data: unknown): string {
  if (data === undefined) return "";
  let text: string;
  try {
    text = JSON.stringify(data) ?? "";
  } catch (thrown) {
    return JSON.stringify({ noJson: cut(sentence(thrown)) });
  }
  const size = text.length * 3 <= DATA_BYTES ? 0 : new TextEncoder().encode(text).length;
  return size <= DATA_BYTES ? text : JSON.stringify({ tooLarge: size });
}
