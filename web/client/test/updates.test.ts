/** Status updates: stored once, through breaks, and followed until they have spread. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { LockstepError, type Status } from "../src/index.js";
import { type Peer, change, together } from "./server.js";

const build = (number: number): Status => ({ record: `ci/build/${number}`, status: "running" });
const code = (wanted: string) => (error: unknown): boolean => error instanceof LockstepError && error.code === wanted;

type Asked = { ref: string; statuses: { id: string; record: string }[] };

/** The next status update, and the answer that all of it is stored. */
async function stores(peer: Peer, sequence = 7): Promise<Asked> {
  const asked = (await peer.hears("status_update")) as unknown as Asked;
  const accepted = asked.statuses.map(({ id, record }, index) => ({ id, record, sequence: sequence + index }));
  peer.says({ type: "status_accepted", accepted, ref: asked.ref });
  return asked;
}

test("a status is accepted when it is stored, and gets an id where it has none", () => together(async (server, { lockstep }) => {
  const update = lockstep.updateStatus([build(1), { ...build(2), id: "mine" }]);
  const peer = await server.connection();
  peer.welcomes("p3");
  const { statuses } = await stores(peer);
  assert.match(statuses[0]?.id ?? "", /^[0-9a-f]{32}$/);
  const { accepted, refused } = await update;
  assert.deepEqual(accepted.map(({ record, sequence, from }) => [record, sequence, from]), [["ci/build/1", 7, "p3"], ["ci/build/2", 8, "p3"]]);
  assert.deepEqual([accepted[1]?.id, refused], ["mine", []]);
}));

test("a status whose answer was lost is sent again with its id", () => together(async (server, { lockstep }) => {
  const update = lockstep.updateStatus(build(1));
  const first = await server.connection();
  first.welcomes();
  const lost = (await first.hears("status_update")) as unknown as Asked;
  first.cuts();
  const second = await server.connection();
  second.welcomes();
  const again = await stores(second);
  assert.deepEqual(again.statuses, lost.statuses);
  await update;
}));

test("a status that waits while a server restarts twice is stored once, and followed from where it was first sent", () => together(async (server, { lockstep }) => {
  const update = lockstep.updateStatus(build(1));
  const ids: unknown[] = [];
  // Once before it greets, twice with the status heard and not answered.
  (await server.connection()).cuts();
  for (const position of ["p1", "p2"]) {
    const peer = await server.connection();
    peer.welcomes(position);
    ids.push(((await peer.hears("status_update")) as unknown as Asked).statuses[0]?.id);
    peer.cuts();
  }
  const last = await server.connection();
  last.welcomes("p3");
  ids.push((await stores(last)).statuses[0]?.id);
  const { accepted } = await update;
  assert.deepEqual([accepted.length, accepted[0]?.from, new Set(ids).size], [1, "p1", 1]);
  const next = lockstep.updateStatus(build(2));
  assert.deepEqual((await stores(last)).statuses.map(({ record }) => record), ["ci/build/2"], "the first is not sent again");
  await next;
}));

test("a status whose answer was lost long ago is not sent again: it might count twice", async () => {
  let now = 1_000_000;
  await together(async (server, client) => {
    const lost = assert.rejects(client.lockstep.updateStatus([build(1), build(2)]), code("answer_lost"));
    const first = await server.connection();
    first.welcomes();
    await first.hears("status_update");
    now += 120_000;
    first.cuts();
    const newer = client.lockstep.updateStatus(build(3));
    const second = await server.connection();
    second.welcomes();
    assert.deepEqual((await stores(second)).statuses.map(({ record }) => record), ["ci/build/3"]);
    await Promise.all([lost, newer]);
  }, { now: () => now });
});

test("an answer that never comes breaks the connection, and the status goes over the next", () => together(async (server, client) => {
  const update = client.lockstep.updateStatus(build(1));
  const first = await server.connection();
  first.welcomes();
  await first.hears("status_update");
  assert.match((await client.becomes("waiting")).reason, /no answer to statuses within 500 ms/);
  const second = await server.connection();
  second.welcomes();
  await stores(second);
  await update;
}, { answerMs: 500 }));

test("statuses wait for a connection, in order, and one too many is refused", () => together(async (server, { lockstep }) => {
  const waiting = [1, 2, 3].map((number) => lockstep.updateStatus(build(number)));
  await assert.rejects(lockstep.updateStatus(build(4)), code("queue_full"));
  const newer = lockstep.updateStatus({ ...build(2), status: "success" });
  await assert.rejects(waiting[1]!, code("replaced"));
  const peer = await server.connection();
  peer.welcomes();
  const { statuses } = await stores(peer);
  assert.deepEqual(statuses.map(({ record }) => record), ["ci/build/1", "ci/build/3", "ci/build/2"]);
  await Promise.all([waiting[0], waiting[2], newer]);
}, { queueMax: 3 }));

test("a refusal is each status's own", () => together(async (server, { lockstep }) => {
  const update = lockstep.updateStatus([build(1), { ...build(2), status: "" }]);
  const peer = await server.connection();
  peer.welcomes();
  const asked = await peer.hears("status_update");
  const errors = [{ index: 1, field: "status", detail: "must not be empty" }];
  peer.says({ type: "error", code: "bad_statuses", reason: "1 of 2 statuses are wrong; nothing was stored", ref: asked["ref"], errors } as never);
  await stores(peer);
  const { accepted, refused } = await update;
  assert.deepEqual(accepted.map(({ record }) => record), ["ci/build/1"]);
  assert.deepEqual(refused.map(({ record, error }) => [record, error.message]), [["ci/build/2", "ci/build/2, status: must not be empty"]]);
}));

test("a status that is larger than the server takes is refused here, and says by how much", () => together(async (server, { lockstep }) => {
  const update = lockstep.updateStatus([build(1), { ...build(2), title: "x".repeat(2_000) }]);
  const alone = assert.rejects(lockstep.updateStatus({ ...build(3), title: "x".repeat(2_000) }), code("too_large"));
  const peer = await server.connection();
  peer.says({ type: "welcome", connection: "c", position: "p0", ping_ms: 30_000, message_max_bytes: 1_000 });
  assert.deepEqual((await stores(peer)).statuses.map(({ record }) => record), ["ci/build/1"]);
  const { refused } = await update;
  assert.deepEqual(refused.map(({ record, error }) => [record, error.code]), [["ci/build/2", "too_large"]]);
  assert.match(refused[0]?.error.message ?? "", /^ci\/build\/2: the status has 2\d\d\d bytes as JSON; the server takes 872 /);
  await alone;
}));

test("when nothing was stored the call fails with the server's words", () => together(async (server, { lockstep }) => {
  const update = lockstep.updateStatus(build(1));
  const peer = await server.connection();
  peer.welcomes();
  const asked = await peer.hears("status_update");
  peer.says({ type: "error", code: "forbidden", reason: "your token publishes agentapi/agent/*", ref: asked["ref"] } as never);
  await assert.rejects(update, /your token publishes/);
  await assert.rejects(lockstep.updateStatus([]), code("bad_argument"));
}));

test("a call of which one status is refused and another may be stored says that it may", () => together(async (server, { lockstep }) => {
  const update = lockstep.updateStatus([{ ...build(1), status: "" }, build(2)]);
  const first = await server.connection();
  first.welcomes();
  const asked = await first.hears("status_update");
  const errors = [{ index: 0, field: "status", detail: "is empty" }];
  first.says({ type: "error", code: "bad_statuses", reason: "one", ref: asked["ref"], errors } as never);
  await first.hears("status_update");
  first.cuts();
  (await server.connection()).closes(1008, "auth_failed: this key was withdrawn");
  await assert.rejects(update, (error) => {
    assert.ok(error instanceof LockstepError && error.code === "answer_lost", String(error));
    assert.match(error.message, /^the status of ci\/build\/2 was sent .*; of 2 statuses 1 may be stored, and none is known to be$/);
    assert.deepEqual(error.errors.map(({ index }) => index), [0]);
    return true;
  });
}));

test("a server that cannot store now is asked again after a wait", () => together(async (server, { lockstep }) => {
  const update = lockstep.updateStatus(build(1));
  const peer = await server.connection();
  peer.welcomes();
  const asked = await peer.hears("status_update");
  peer.says({ type: "error", code: "not_stored", reason: "JetStream is away", ref: asked["ref"] } as never);
  await stores(peer);
  await update;
}));

test("while a server cannot store, nothing more is sent until the wait is over", () => together(async (server, client) => {
  const { lockstep } = client;
  const updates = [lockstep.updateStatus(build(1)).catch(() => {})];
  const peer = await server.connection();
  peer.welcomes();
  const asked = await peer.hears("status_update");
  peer.says({ type: "error", code: "not_stored", reason: "JetStream is away", ref: asked["ref"] } as never);
  peer.says({ type: "error", code: "seen", reason: "follows the refusal" });
  await client.errors.next("what follows the refusal");
  updates.push(lockstep.updateStatus(build(2)).catch(() => {}));
  lockstep.acknowledge("a").catch(() => {});
  await peer.hears("acknowledge");
  lockstep.close();
  await Promise.all(updates);
}, { firstMs: 60_000, maxMs: 60_000, random: () => 0.9 }));

test("a connection that ends for good amid such a wait does not keep the next from storing", () => together(async (server, { lockstep }) => {
  const update = lockstep.updateStatus(build(1));
  const first = await server.connection();
  first.welcomes();
  const asked = await first.hears("status_update");
  first.says({ type: "error", code: "not_stored", reason: "JetStream is away", ref: asked["ref"] } as never);
  first.closes(1008, "auth_failed: this key was withdrawn");
  await assert.rejects(update, code("answer_lost"));
  const connecting = lockstep.connect();
  const second = await server.connection();
  second.welcomes();
  await connecting;
  const again = lockstep.updateStatus(build(2));
  await stores(second);
  await again;
}, { firstMs: 60_000, maxMs: 60_000, random: () => 0.9 }));

test("a status that was sent before nobody is let in any more is not said to be refused", () => together(async (server, { lockstep }) => {
  const update = lockstep.updateStatus(build(1));
  const first = await server.connection();
  first.welcomes();
  await first.hears("status_update");
  first.cuts();
  (await server.connection()).closes(1008, "auth_failed: this key was withdrawn");
  await assert.rejects(update, (error) => code("answer_lost")(error) && /may be stored: auth_failed: .*this key was withdrawn/.test(String(error)));
}));

const shown = (steps: Record<string, string>, taken: number, version = 2): unknown => ({
  id: "i1", key: "ENG-1", lifecycle: "work", status: "done", status_since: 1, version, in_step: false,
  records: Object.entries(steps).map(([record, step]) => ({ record, keys: [], native: "Done", want: "Done", step, taken: { normal: taken } })),
});

test("propagated waits for the delivery of each record, from before the status was sent", () => together(async (server, { lockstep }) => {
  const update = lockstep.updateStatus({ record: "linear/issue/a", status: "Done" });
  const peer = await server.connection();
  peer.welcomes("p3");
  await stores(peer, 7);
  server.answers = () => [404, { code: "item_unknown", detail: "not yet" }];
  const propagated = (await update).propagated({ timeoutMs: 5_000 });
  const watching = await server.connection();
  watching.welcomes("p9");
  const asked = await watching.admits("p3", true);
  assert.deepEqual([asked["rooms"], asked["position"]], [["record:linear/issue/a"], "p3"]);
  const records = ["linear/issue/a", "github/issue/acme/web#7", "postgres/task/7"];
  watching.says(change("p4", { records }));
  const item = await watching.admits("p3", true);
  assert.deepEqual([item["rooms"], item["position"]], [["item:i1"], "p3"]);
  const delivery = { type: "delivery", item: "i1", version: 2, reason: "", at: 1 };
  watching.says({ ...delivery, position: "p5", record: records[1], outcome: "applied" });
  watching.says({ ...delivery, position: "p6", record: records[2], outcome: "rejected", reason: "a constraint" });
  const { complete, settled, statuses } = await propagated;
  assert.deepEqual([complete, settled], [false, true]);
  assert.deepEqual(statuses[0]?.records, [
    { record: records[1], outcome: "applied", reason: "" },
    { record: records[2], outcome: "rejected", reason: "a constraint" },
  ]);
  assert.equal(await watching.closed, 1000);
}));

test("a status that changes nothing is told by the item, where no event will come", () => together(async (server, { lockstep }) => {
  const update = lockstep.updateStatus({ record: "linear/issue/a", status: "Done" });
  const peer = await server.connection();
  peer.welcomes();
  await stores(peer, 7);
  let asked = 0;
  server.answers = (_, path) => {
    if (path === "/v1/items/i1/history?before=8&limit=50") return [200, { history: [] }];
    assert.equal(path, "/v1/items/linear%2Fissue%2Fa");
    return [200, shown({ "linear/issue/a": "in_step", "agentapi/agent/a": "read_only" }, (asked += 1) < 3 ? 6 : 7)];
  };
  const { complete, statuses } = await (await update).propagated({ timeoutMs: 5_000 });
  assert.equal(complete, true);
  assert.deepEqual([statuses[0]?.outcome, statuses[0]?.records], ["unchanged", [{ record: "agentapi/agent/a", outcome: "not_told", reason: "read_only" }]]);
  assert.ok(asked >= 3);
}));

test("what is not confirmed in time is pending, never propagated", () => together(async (server, { lockstep }) => {
  const update = lockstep.updateStatus({ record: "linear/issue/a", status: "Done" });
  const peer = await server.connection();
  peer.welcomes();
  await stores(peer, 7);
  server.answers = () => [200, shown({ "linear/issue/a": "in_step", "github/issue/acme/web#7": "pending" }, 7)];
  const { complete, settled, statuses } = await (await update).propagated({ timeoutMs: 30 });
  assert.deepEqual([complete, settled], [false, false]);
  assert.deepEqual(statuses[0]?.records, [{ record: "github/issue/acme/web#7", outcome: "pending", reason: "" }]);
}));
