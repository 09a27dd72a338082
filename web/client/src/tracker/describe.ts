/** Sentences for what operations mostly do. Pure. */

/** What a step says to people who watch: while it executes, when it is completed, and when it failed; why is said beside it. */
export interface Description {
  readonly executing: string;
  readonly completed: string;
  readonly failed: string;
}

/** The kinds of work for which there are sentences. */
export type Kind = "query" | "modelCall" | "tool" | "webSearch" | "apiCall" | "databaseLookup";

/** Sentences for what operations mostly do: `describe.query("open orders")`. Those of the Rust client are the same. */
export const describe: Readonly<Record<Kind, (what: string) => Description>> = {
  query: (query) => about(query, (it) => [`Working on the query: ${it}`, `Answered the query: ${it}`, `Could not answer the query: ${it}`]),
  modelCall: (model) => about(model, (it) => [`Asking the model ${it}`, `The model ${it} answered`, `The model ${it} did not answer`]),
  tool: (tool) => about(tool, (it) => [`Using the tool ${it}`, `Used the tool ${it}`, `The tool ${it} failed`]),
  webSearch: (words) => about(words, (it) => [`Searching the web for: ${it}`, `Searched the web for: ${it}`, `Could not search the web for: ${it}`]),
  apiCall: (call) => about(call, (it) => [`Calling ${it}`, `Called ${it}`, `The call of ${it} failed`]),
  databaseLookup: (what) => about(what, (it) => [
    `Looking up ${it} in the database`, `Looked up ${it} in the database`, `Could not look up ${it} in the database`,
  ]),
};

/** A kind as it is written in the names of steps: `model_call`. */
export function written(kind: Kind): string {
  return kind.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

/** One sentence for all, or a sentence for each. */
export function described(description: string | Description): Description {
  return typeof description === "string" ? { executing: description, completed: description, failed: description } : description;
}

function about(what: string, sentences: (it: string) => [string, string, string]): Description {
  const [executing, completed, failed] = sentences(short(what));
  return { executing, completed, failed };
}

const LONGEST = 200;

/** One line of at most 200 characters. */
function short(text: string): string {
  const line = [...text.replace(/\s+/g, " ").trim()];
  return line.length <= LONGEST ? line.join("") : `${line.slice(0, LONGEST - 1).join("")}…`;
}
