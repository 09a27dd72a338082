/** What a program is told of how its connections stand. */

import assert from "node:assert/strict";
import { test } from "node:test";
import type { Filter, Propagation } from "../src/index.js";
import { type Client, type Peer, type Scripted, together } from "./server.js";

const filter: Filter = { on: ["error_state"] };

/** A status that is stored over the connection on which the server is then met. */
async function published(server: Scripted, client: Client): Promise<{ main: Peer; stored: Propagation }> {
  const update = client.lockstep.updateStatus({ record: "ci/build/1", status: "done" });
  const main = await server.connection();
  main.welcomes();
  const { statuses, ref } = await main.hears("status_update");
  const [{ id, record }] = statuses as [{ id: string; record: string }];
  main.says({ type: "status_accepted", accepted: [{ id, record, sequence: 1 }], ref });
  const stored = await update;
  await client.becomes("open");
  return { main, stored };
}

test("what propagated opens for itself says nothing of how the connection stands, not even when it breaks", () => together(async (server, client) => {
  const { stored } = await published(server, client);
  const propagated = stored.propagated({ timeoutMs: 200 });
  const first = await server.connection();
  first.welcomes();
  await first.admits();
  first.cuts();
  const second = await server.connection();
  second.welcomes();
  await second.admits();
  await propagated;
  assert.equal(await second.closed, 1000);
  assert.deepEqual([client.states.size, client.lockstep.state.state], [0, "open"]);
}));

test("a filter's connection counts from when it was open first", () => together(async (server, client) => {
  const plain = client.lockstep.connect();
  (await server.connection()).welcomes();
  await plain;
  await client.becomes("open");
  const { ready } = client.lockstep.subscribe("agent_states", { filter }, () => {});
  const own = await server.connection();
  assert.equal(client.lockstep.state.state, "open");
  own.welcomes();
  await own.admits();
  await ready;
  assert.equal(client.states.size, 0);
  own.cuts();
  for (const state of ["waiting", "connecting"]) assert.equal((await client.states.next(state)).state, state);
  (await server.connection()).welcomes();
  assert.equal((await client.states.next("open")).state, "open");
}));

test("a filter's connection counts, too, when it cannot be made", () => together(async (server, client) => {
  const plain = client.lockstep.connect();
  (await server.connection()).welcomes();
  await plain;
  await client.becomes("open");
  client.lockstep.subscribe("agent_states", { filter }, () => {});
  (await server.connection()).closes(1013, "too_many_of_key: 10 are here");
  const { code } = await client.becomes("waiting");
  assert.equal(code, "too_many_of_key");
}));

test("of several connections that cannot be made one is told of", () => together(async (server, client) => {
  const plain = client.lockstep.connect();
  const main = await server.connection();
  main.welcomes();
  await plain;
  const { ready } = client.lockstep.subscribe("agent_states", { filter }, () => {});
  const own = await server.connection();
  own.welcomes();
  await own.admits();
  await ready;
  main.cuts();
  await client.becomes("waiting");
  server.stop();
  const told: string[] = [];
  while (told.length < 12) told.push((await client.states.next("state")).state);
  assert.deepEqual(told, Array.from(told, (_, at) => (at % 2 === 0 ? "connecting" : "waiting")));
}));
