/** Sentences for what operations mostly do. Pure. */

/** The kinds of work for which there are sentences. */
export type Kind = "query" | "modelCall" | "tool" | "webSearch" | "apiCall" | "lookUp";

/** Sentences for what operations mostly do, for people who watch: `describe.query("open orders")`. */
export const describe: Readonly<Record<Kind, (what: string) => string>> = {
  query: (what) => `Asking: ${short(what)}`,
  modelCall: (what) => `Waiting for the model ${short(what)}`,
  tool: (what) => `Using the tool ${short(what)}`,
  webSearch: (what) => `Searching the web for ${short(what)}`,
  apiCall: (what) => `Calling ${short(what)}`,
  lookUp: (what) => `Looking up ${short(what)} in the database`,
};

const LONGEST = 200;

/** One line of at most 200 characters. */
function short(text: string): string {
  const line = [...text.replace(/\s+/g, " ").trim()];
  return line.length <= LONGEST ? line.join("") : `${line.slice(0, LONGEST - 1).join("")}…`;
}
