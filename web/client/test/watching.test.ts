/** Monitoring, workflows and telemetry. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { StepTracker, createMonitoringClient, createWorkflowClient } from "../src/index.js";
import { Client, Queue, change, together } from "./server.js";

const alert = (id: string, position: string, more: object = {}) => ({
  type: "system_alert", position, id, severity: "critical", component: "db1", message: "disk full", action: "", at: 1, acknowledged_by: "",
  acknowledged_at: 0, metadata: {}, ...more,
});
const health = (target: string, level: string, position: string) => ({ type: "health_changed", position, target, health: level, previous: "", reason: "", at: 1 });
const workflow = (execution: string, status: string, position: string) => ({
  type: "workflow_execution", position, workflow: "nightly", execution, stage: "", status, progress: 0, result: "", error: "", at: 1, metadata: {},
});
const snapshot = (room: string, messages: object[], items: object[] = []) => ({ type: "snapshot", room, position: "p0", items, messages, more: false, truncated: false });

test("a monitoring client knows how alerts, health and conflicts stand, and acknowledges", () => together(async (server, { lockstep }) => {
  const monitoring = createMonitoringClient(lockstep);
  const told = new Queue<string>();
  monitoring.on("alert", ({ id, acknowledged_by }) => told.push(`alert ${id} ${acknowledged_by}`));
  monitoring.on("health", ({ target, health }) => told.push(`health ${target} ${health}`));
  monitoring.on("metrics", ({ category }) => told.push(`metrics ${category}`));
  monitoring.on("delivery", ({ record }) => told.push(`delivery ${record}`));
  monitoring.on("conflict", ({ type, item }) => told.push(`${type} ${item}`));
  const peer = await server.connection();
  peer.welcomes();
  await peer.admits();
  peer.says(snapshot("system_alerts", [alert("disk", "p0")]));
  peer.says(snapshot("health", [health("db1", "unhealthy", "p0")]));
  peer.says(snapshot("conflicts", [], [{ id: "i9", records: [] }]));
  peer.says(health("db1", "healthy", "p1"));
  peer.says({ type: "performance_metrics", position: "p2", category: "latency", metrics: [] });
  peer.says({ type: "delivery", position: "p3", item: "i1", record: "r/r/1" });
  peer.says(change("p4", { type: "conflict_opened" }));
  const next = (): Promise<string> => told.next("what is watched");
  assert.deepEqual([await next(), await next(), await next(), await next()], ["health db1 healthy", "metrics latency", "delivery r/r/1", "conflict_opened i1"]);
  assert.deepEqual([[...monitoring.alerts.keys()], monitoring.health.get("db1")?.health, [...monitoring.held.keys()]], [["disk"], "healthy", ["i9", "i1"]]);
  const acknowledging = monitoring.acknowledge("disk");
  const asked = await peer.hears("acknowledge");
  peer.says(alert("disk", "p5", { acknowledged_by: "ada" }));
  peer.says({ type: "acknowledged", alert: "disk", ref: asked["ref"] as string });
  await acknowledging;
  assert.equal(await next(), "alert disk ada");
  peer.says(change("p6", { type: "conflict_resolved", item: "i9" }));
  assert.equal(await next(), "conflict_resolved i9");
  assert.deepEqual([monitoring.alerts.size, [...monitoring.held.keys()]], [0, ["i1"]]);
  monitoring.close();
  await peer.hears("unsubscribe");
}));

test("a question is asked again after a break, and fails with the server's word", () => together(async (server, { lockstep }) => {
  const acknowledging = lockstep.acknowledge("disk");
  const first = await server.connection();
  first.welcomes();
  await first.hears("acknowledge");
  first.cuts();
  const second = await server.connection();
  second.welcomes();
  const asked = await second.hears("acknowledge");
  second.says({ type: "error", code: "alert_unknown", reason: "nobody told of it", ref: asked["ref"] as string });
  await assert.rejects(acknowledging, /nobody told of it/);
}));

test("a workflow client knows the last state of each execution", () => together(async (server, { lockstep }) => {
  const workflows = createWorkflowClient(lockstep, { workflow: "nightly" });
  const told = new Queue<string>();
  workflows.on("state", ({ execution, status }) => told.push(`${execution} ${status}`));
  const peer = await server.connection();
  peer.welcomes();
  assert.deepEqual((await peer.admits())["rooms"], ["workflow:nightly"]);
  peer.says(snapshot("workflow:nightly", [workflow("1", "completed", "p0"), workflow("2", "running", "p0")]));
  peer.says(workflow("2", "failed", "p1"));
  for (const state of ["1 completed", "2 running", "2 failed"]) assert.equal(await told.next("a state"), state);
  assert.equal(workflows.state("nightly", "2")?.status, "failed");
  assert.equal(workflows.states().length, 2);
  peer.says({ type: "reset", rooms: ["workflow:nightly"], reason: "too_old" });
  peer.says(snapshot("workflow:nightly", [workflow("3", "pending", "p9")]));
  assert.equal(await told.next("a state"), "3 pending");
  peer.says(workflow("3", "running", "p10"));
  await told.next("a state");
  assert.deepEqual(workflows.states().map(({ execution }) => execution), ["3"]);
}));

test("a tracker's steps are published together, and those that are lost are counted", () => together(async (server, client) => {
  const published: unknown[][] = [];
  let status = 202;
  server.answers = (method, path, body) => {
    assert.deepEqual([method, path], ["POST", "/v1/telemetry"]);
    if (status === 202) published.push((JSON.parse(body) as { messages: unknown[] }).messages);
    return [status, { code: "overloaded", detail: "try again" }];
  };
  const tracker = new StepTracker("nightly", { client: client.lockstep });
  await tracker.run("a", "first", () => {});
  await tracker.run("b", "second", () => {});
  assert.deepEqual(await client.lockstep.flush(), { lost: 0 });
  assert.deepEqual(published.map((batch) => batch.length), [4]);
  status = 503;
  tracker.failed("c", "no");
  assert.deepEqual(await client.lockstep.flush(), { lost: 1 });
  assert.equal((await client.errors.next("error")).code, "overloaded");
}));

test("telemetry that is wrong is left out, and the rest is published once", () => together(async (server, client) => {
  const asked: [string[], unknown][] = [];
  server.answers = (_method, _path, body, request) => {
    const steps = (JSON.parse(body) as { messages: { step: string }[] }).messages.map(({ step }) => step);
    asked.push([steps, request.headers["idempotency-key"]]);
    if (asked.length === 1) return [503, { code: "not_stored", detail: "try again" }];
    if (steps.includes("")) return [422, { code: "bad_messages", detail: "one is wrong", errors: [{ index: 1, field: "step", detail: "is empty" }] }];
    return [202, {}];
  };
  for (const step of ["a", "", "c"]) client.lockstep.publish({ type: "operation_step", operation: "o", step });
  assert.deepEqual(await client.lockstep.flush(), { lost: 1 });
  assert.deepEqual(asked.map(([steps]) => steps.join()), ["a,,c", "a,,c", "a,c"]);
  assert.equal(asked[0]?.[1], asked[1]?.[1]);
  assert.notEqual(asked[1]?.[1], asked[2]?.[1]);
}));

test("telemetry beyond what may wait lets the oldest go, and counts it", async (context) => {
  const client = new Client("http://127.0.0.1:9", { queueMax: 3, fetch: async () => new Response("{}", { status: 202 }) });
  context.after(() => client.lockstep.close());
  for (let step = 0; step < 5; step++) client.lockstep.publish({ type: "operation_step", step: `${step}` });
  assert.deepEqual(await client.lockstep.flush(), { lost: 2 });
});
