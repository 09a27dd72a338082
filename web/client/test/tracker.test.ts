/** The step tracker. */

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { type Kind, type StepUpdate, StepTracker, describe } from "../src/index.js";
import { written } from "../src/tracker/describe.js";

/** A clock that a test moves. */
function clock(): { now: () => number; at: number } {
  const moved = { at: 1_000, now: () => moved.at };
  return moved;
}

test("a step goes only where it may, and everything else is refused without harm", () => {
  const refused: string[] = [];
  const tracker = new StepTracker("op", { onRefused: (step, why) => refused.push(`${step}: ${why}`) });
  assert.equal(tracker.completed("a"), false);
  assert.equal(tracker.executing("a"), true);
  assert.equal(tracker.executing("a"), false);
  assert.equal(tracker.completed("a"), true);
  assert.equal(tracker.failed("a", "late"), false);
  assert.equal(tracker.failed("b", "before it began"), true);
  assert.equal(tracker.reset("a"), true);
  assert.equal(tracker.executing("a"), true);
  assert.equal(tracker.reset("c"), false);
  assert.equal(tracker.state("c"), undefined);
  assert.deepEqual(refused, [
    'a: the step "a" is pending and cannot be completed; reset it first, or begin it',
    'a: the step "a" is executing and cannot be executing; reset it first, or begin it',
    'a: the step "a" is completed and cannot be failed; reset it first, or begin it',
    'c: there is no step "c" to reset',
  ]);
});

test("a summary counts steps and not updates", () => {
  const time = clock();
  const tracker = new StepTracker("op", { now: time.now, total: 4 });
  for (let round = 0; round < 3; round++) {
    tracker.reset("a");
    tracker.executing("a");
    time.at += 10;
    tracker.completed("a");
  }
  tracker.executing("b");
  time.at += 30;
  tracker.failed("b", new Error("no"));
  tracker.executing("c");
  assert.deepEqual(tracker.summary(), {
    total: 4, pending: 1, executing: 1, completed: 1, failed: 1, successRate: 0.5, failureRate: 0.5, progress: 0.25,
    durations: { minMs: 10, meanMs: 20, maxMs: 30, p95Ms: 30 },
  });
});

test("durations of many steps have the 95th of a hundred", () => {
  const time = clock();
  const tracker = new StepTracker("op", { now: time.now });
  for (let took = 1; took <= 100; took++) {
    tracker.executing(`${took}`);
    time.at += took;
    tracker.completed(`${took}`);
  }
  assert.deepEqual(tracker.summary().durations, { minMs: 1, meanMs: 50.5, maxMs: 100, p95Ms: 95 });
});

test("an operation of endless steps keeps its counts and forgets the steps", () => {
  const tracker = new StepTracker("op", { stepsMax: 10, historyLimit: 5, total: 100 });
  for (let step = 0; step < 100; step++) {
    tracker.executing(`${step}`);
    if (step % 4 === 0) tracker.failed(`${step}`, "no");
    else tracker.completed(`${step}`);
  }
  const { total, completed, failed } = tracker.summary();
  assert.deepEqual([total, completed, failed, tracker.progress], [100, 75, 25, 0.75]);
  assert.equal(tracker.step("0"), undefined);
  assert.equal(tracker.history().length, 5);
});

test("run tracks the work, gives its result, and throws on what it throws", async () => {
  const seen: string[] = [];
  const tracker = new StepTracker("op", { onStep: ({ step, state, error }) => seen.push(`${step} ${state} ${error}`.trim()) });
  assert.equal(await tracker.run("a", "work", async () => 42), 42);
  const thrown = new Error("broken");
  await assert.rejects(tracker.run("b", "work", () => Promise.reject(thrown)), (error) => error === thrown);
  assert.equal(await tracker.run("b", "again", () => "synchronous"), "synchronous");
  assert.deepEqual(seen, ["a executing", "a completed", "b executing", "b failed broken", "b reset", "b executing", "b completed"]);
});

test("nobody comes between the reset of a step and its new beginning", async () => {
  const refused: string[] = [];
  const tracker = new StepTracker("op", {
    onStep: ({ state }) => void (state === "reset" && tracker.executing("a", "as well")),
    onRefused: (_, why) => refused.push(why),
  });
  tracker.failed("a", "broken");
  assert.equal(await tracker.run("a", "work", () => 7), 7);
  assert.deepEqual([tracker.state("a"), refused.length], ["completed", 1]);
});

test("updates are published in their order, though a callback goes on with the step", () => {
  const published: string[] = [];
  const client = { publish: (message: object) => void published.push((message as StepUpdate).state) };
  const tracker = new StepTracker("op", { client, onExecuting: ({ step }) => tracker.completed(step) });
  tracker.executing("a");
  assert.deepEqual(published, ["executing", "completed"]);
});

test("predefined steps say what they do", async () => {
  const tracker = new StepTracker("op");
  assert.equal(await tracker.query("open\n orders", () => 1), 1);
  assert.equal(await tracker.query("closed orders", () => 2), 2);
  for (const kind of ["modelCall", "tool", "webSearch", "apiCall", "databaseLookup"] as const) await tracker[kind]("x", () => {});
  const began = tracker.history().filter(({ state }) => state === "executing");
  assert.deepEqual(began.map(({ step }) => step), [
    "query-1", "query-2", "model_call-1", "tool-1", "web_search-1", "api_call-1", "database_lookup-1",
  ]);
  assert.equal(began[0]?.description, "Working on the query: open orders");
  assert.equal([...describe.tool("y".repeat(500)).executing].length, "Using the tool ".length + 200);
  await assert.rejects(tracker.modelCall("m", () => Promise.reject(new Error("no"))));
  assert.deepEqual(tracker.history().slice(-2).map(({ description }) => description), ["Asking the model m", "The model m did not answer"]);
});

test("the predefined sentences are those of the Rust client", async () => {
  const file = new URL("../../test/descriptions.json", import.meta.url);
  const sentences = JSON.parse(await readFile(file, "utf8")) as Record<string, unknown>;
  const said = Object.entries(describe).map(([kind, sentence]) => [written(kind as Kind), sentence("x")]);
  assert.deepEqual(Object.fromEntries(said), sentences);
});

test("a step that somebody else has begun is run, and left to them", async () => {
  const refused: string[] = [];
  const tracker = new StepTracker("op", { onRefused: (step) => refused.push(step) });
  tracker.executing("a");
  assert.equal(await tracker.run("a", "as well", () => 7), 7);
  assert.deepEqual([tracker.state("a"), refused], ["executing", ["a"]]);
  assert.equal(tracker.completed("a"), true);
});

test("progress follows from the steps that are known", () => {
  const seen: number[] = [];
  const tracker = new StepTracker("op", { steps: ["a", "b"], onProgress: (progress) => seen.push(progress) });
  tracker.executing("a");
  tracker.completed("a");
  tracker.executing("b");
  tracker.completed("b");
  tracker.executing("c");
  tracker.reset("b");
  assert.deepEqual(seen, [0.5, 1, 2 / 3, 1 / 3]);
});

test("a callback that throws, at once or later, does not reach the operation", async () => {
  const errors: string[] = [];
  const broken = (): never => {
    throw new Error("a callback's own");
  };
  const tracker = new StepTracker("op", {
    onStep: broken,
    onExecuting: async () => broken(),
    onCompleted: broken,
    onRefused: broken,
    client: { publish: broken },
    onError: (error) => errors.push(error.code),
  });
  assert.equal(await tracker.run("a", "work", () => 1), 1);
  tracker.completed("a");
  assert.equal(tracker.summary().completed, 1);
  assert.deepEqual(new Set(errors), new Set(["handler_failed"]));
  assert.equal(errors.length, 7);
});

test("each update is published as a message of the protocol", () => {
  const published: Record<string, unknown>[] = [];
  const tracker = new StepTracker("op", { now: () => 5, agent: "a", total: 2, client: { publish: (message) => published.push(message) } });
  tracker.executing("s", "does", { rows: 3 });
  tracker.failed("s", "no");
  tracker.reset("s");
  const common = { type: "operation_step", operation: "op", step: "s", agent: "a", at: 5, progress: 0 };
  assert.deepEqual(published, [
    { ...common, state: "executing", description: "does", error: "", data: '{"rows":3}' },
    { ...common, state: "failed", description: "does", error: "no", data: '{"rows":3}' },
    { ...common, state: "reset", description: "does", error: "", data: "" },
  ]);
  const updates: readonly StepUpdate[] = tracker.history();
  assert.deepEqual(updates.map(({ data }) => data), [{ rows: 3 }, { rows: 3 }, undefined]);
});

test("a step that failed for no known reason is told of without one", async () => {
  const published: (string | undefined)[] = [];
  const tracker = new StepTracker("op", { client: { publish: (message) => void published.push((message as StepUpdate).error) } });
  tracker.failed("a");
  tracker.failed("b", null);
  await assert.rejects(tracker.run("c", "work", () => Promise.reject()));
  assert.deepEqual(published, ["", "", "", ""]);
  assert.deepEqual(["a", "b", "c"].map((step) => [tracker.state(step), tracker.step(step)?.error]), Array(3).fill(["failed", ""]));
});

test("a step whose words are longer than the server takes is told of all the same", async () => {
  const published: { error?: string; description?: string; data?: string }[] = [];
  const client = { publish: (message: object) => void published.push(message) };
  const tracker = new StepTracker("import", { client });
  const bytes = (text: string | undefined) => new TextEncoder().encode(text).length;
  await assert.rejects(tracker.run("a", "ü".repeat(5_000), () => Promise.reject(new Error("x".repeat(5_000)))));
  const [begun, failed] = published;
  assert.ok(bytes(begun?.description) <= 4_096 && begun?.description?.endsWith("ü…"), begun?.description?.slice(-5));
  assert.ok(bytes(failed?.error) === 4_096 && failed?.error?.endsWith("x…"), failed?.error?.slice(-5));
  tracker.executing("b", "short", { rows: "r".repeat(20_000) });
  assert.equal(published.at(-1)?.data, '{"tooLarge":20011}');
  tracker.executing("c", "short", { rows: 1n });
  assert.match(published.at(-1)?.data ?? "", /^\{"noJson":".*BigInt/);
});

test("each callback hears what it is for", () => {
  const heard: string[] = [];
  const note = (what: string) => ({ step }: StepUpdate) => void heard.push(`${what} ${step}`);
  const tracker = new StepTracker("op", {
    total: 2,
    onExecuting: note("executing"),
    onCompleted: note("completed"),
    onFailed: note("failed"),
    onProgress: (progress) => void heard.push(`progress ${progress}`),
    onRefused: (step, why) => void heard.push(`refused ${step}: ${why}`),
  });
  tracker.executing("a");
  tracker.completed("a");
  tracker.failed("b", "broken");
  assert.equal(tracker.completed("b"), false);
  assert.equal(tracker.reset(), true);
  const refused = 'refused b: the step "b" is failed and cannot be completed; reset it first, or begin it';
  assert.deepEqual(heard, ["executing a", "completed a", "progress 0.5", "failed b", refused, "progress 0"]);
  assert.equal(tracker.summary().pending, 2);
});

test("a hundred updates are remembered unless another number is given", () => {
  const tracker = new StepTracker("op");
  for (let step = 0; step < 150; step++) tracker.executing(`${step}`);
  assert.deepEqual(tracker.history().map(({ step }) => step), Array.from({ length: 100 }, (_, step) => `${step + 50}`));
});
