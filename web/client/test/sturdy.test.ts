/** What must not break a program: its own listeners, a server's nonsense, calls that are wrong or come too late. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { Lockstep, LockstepError } from "../src/index.js";
import { Client, Queue, Scripted, agent, together } from "./server.js";

test("a listener to errors that fails, at once or later, is told to the console, and to nobody again", () => together(async (server, { lockstep }) => {
  const said = new Queue<unknown>();
  const { error } = console;
  console.error = (one: unknown) => said.push(one);
  let calls = 0;
  lockstep.on("error", () => {
    if (++calls > 2) return;
    if (calls === 1) throw new Error("at once");
    return Promise.reject(new Error("later")) as never;
  });
  try {
    const subscription = lockstep.subscribe("all", {}, () => {
      throw new Error("of a handler");
    });
    const peer = await server.connection();
    peer.welcomes();
    await peer.admits();
    await subscription.ready;
    for (const text of ["at once", "later"]) {
      peer.says(agent("a", text));
      assert.equal(((await said.next(text)) as LockstepError).message, `a listener failed: ${text}`);
    }
    assert.equal(calls, 2);
  } finally {
    console.error = error;
  }
}));

test("to connect is done when the connection is open, however a filter's stands", () => together(async (server, client) => {
  client.lockstep.on("error", () => {});
  // The ticket is good for one connection: that of the filter ends for good.
  const connected = client.lockstep.connect({ timeoutMs: 4_000 });
  client.lockstep.subscribe("all", { filter: { on: ["error_state"] } }, () => {});
  const peer = await server.connection();
  await client.becomes("closed");
  peer.welcomes();
  await connected;
}, { ticket: "t" }));

test("what the server says wrong is told, and what it says next is heard", () => together(async (server, client) => {
  const heard = new Queue<string>();
  client.lockstep.subscribe("agent:a", {}, ({ type }) => heard.push(type));
  const peer = await server.connection();
  peer.welcomes();
  await peer.admits();
  peer.says({ type: "snapshot", room: "agent:a" });
  assert.equal((await client.errors.next("the error")).code, "not_understood");
  peer.says(agent("a", "p1"));
  assert.equal(await heard.next("the next message"), "agent_state");
}));

test("a call with no rooms is refused and opens nothing", () => together(async (server, { lockstep }) => {
  assert.throws(() => lockstep.subscribe([], { filter: { on: ["recovery"] } }), LockstepError);
  const subscription = lockstep.subscribe("all", {}, () => {});
  const peer = await server.connection();
  peer.welcomes();
  await peer.admits();
  await subscription.ready;
  assert.equal(lockstep.state.state, "open");
  assert.equal(server.peers.size, 0);
}));

test("to wait for what is propagated does not fail when the client is closed amid it", async () => {
  const server = await Scripted.start();
  const { lockstep } = new Client(server.url);
  try {
    const update = lockstep.updateStatus({ record: "linear/issue/a", status: "Done" });
    const peer = await server.connection();
    peer.welcomes();
    const { ref, statuses } = (await peer.hears("status_update")) as unknown as { ref: string; statuses: { id: string; record: string }[] };
    peer.says({ type: "status_accepted", accepted: [{ ...statuses[0], sequence: 7 }], ref });
    const shown = (record: string) => ({ record, native: "Done", step: "pending", taken: { normal: 7 } });
    const item = { id: "i1", version: 2, records: [shown("linear/issue/a"), shown("github/issue/x")] };
    server.answers = (_, path) => [200, path.includes("history") ? { history: [] } : item];
    const stored = await update;
    const waiting = stored.propagated({ timeoutMs: 300 });
    lockstep.close();
    assert.equal((await waiting).complete, false);
    assert.equal((await stored.propagated({ timeoutMs: 1 })).complete, false);
  } finally {
    lockstep.close();
    server.stop();
  }
});

test("telemetry that is published while the last batch is being taken goes, too", async () => {
  const taken = new Queue<void>();
  let done = (): void => {};
  const answered: typeof fetch = () => {
    const answer = new Promise<Response>((resolve) => (done = () => resolve(new Response("{}"))));
    taken.push();
    return answer;
  };
  const lockstep = new Lockstep({ url: "http://127.0.0.1:1", webSocket: class {} as never, fetch: answered });
  for (let hops = 0; hops < 20; hops++) {
    lockstep.publish({ type: "agent_state", agent: "a", status: "working" });
    const flushed = lockstep.flush();
    await taken.next("a batch");
    done();
    for (let hop = 0; hop < hops; hop++) await undefined;
    lockstep.publish({ type: "agent_state", agent: "b", status: "working" });
    await taken.next(`the second batch, after ${hops} hops`);
    done();
    await flushed;
  }
  lockstep.close();
});

test("a client that is closed by who hears why it cannot connect does not try again", async () => {
  const server = await Scripted.start();
  let asked = 0;
  const closed = new Queue<void>();
  const { lockstep } = new Client(server.url, {
    getToken: () => {
      asked += 1;
      throw new Error("no token");
    },
  });
  lockstep.on("error", () => {
    lockstep.close();
    closed.push();
  });
  try {
    lockstep.subscribe("all", {}, () => {});
    await closed.next("the error");
    assert.equal(lockstep.state.state, "closed");
    assert.equal(asked, 1);
  } finally {
    server.stop();
  }
});

test("to wait for what is propagated ends in time when a question is not answered", () => together(async (server, { lockstep }) => {
  const update = lockstep.updateStatus({ record: "linear/issue/a", status: "Done" });
  const peer = await server.connection();
  peer.welcomes();
  const { ref, statuses } = await peer.hears("status_update");
  peer.says({ type: "status_accepted", accepted: [{ ...(statuses as object[])[0], sequence: 7 }], ref });
  const stored = await update;
  const began = Date.now();
  assert.equal((await stored.propagated({ timeoutMs: 100 })).complete, false);
  assert.ok(Date.now() - began < 5_000);
}, { fetch: (_, options) => new Promise((_, reject) => options?.signal?.addEventListener("abort", () => reject(new Error("late")))) }));

test("telemetry is not tried again after the client is closed", async () => {
  const tried = new Queue<void>();
  const lost = new Queue<void>();
  const refused: typeof fetch = async () => {
    tried.push();
    return new Response("{}", { status: 503 });
  };
  const slow = { firstMs: 60_000, maxMs: 60_000, random: () => 0.9 };
  const lockstep = new Lockstep({ url: "http://127.0.0.1:1", webSocket: class {} as never, fetch: refused, ...slow });
  lockstep.on("error", () => lost.push());
  lockstep.publish({ type: "agent_state", agent: "a", status: "working" });
  const flushed = lockstep.flush();
  await tried.next("the first attempt");
  // Until it waits for the next.
  for (let hop = 0; hop < 100; hop++) await undefined;
  lockstep.close();
  await lost.next("the word that it is lost");
  assert.deepEqual([await flushed, tried.size], [{ lost: 1 }, 0]);
});

test("a token that never comes fails whoever calls, and is asked for once by all who wait", async (context) => {
  let asked = 0;
  const getToken = (): Promise<string> => {
    asked += 1;
    return new Promise(() => {});
  };
  const client = new Client("http://127.0.0.1:9", { getToken, callMs: 30, fetch: async () => assert.fail("nothing is called") });
  context.after(() => client.lockstep.close());
  const calls = [1, 2, 3].map(() => client.lockstep.call("GET", "/v1/items"));
  for (const called of calls) {
    await assert.rejects(called, (error) => error instanceof LockstepError && error.code === "no_token" && /within 30 ms/.test(error.message));
  }
  assert.equal(asked, 1);
  await assert.rejects(client.lockstep.call("GET", "/v1/items"), /within 30 ms/);
  assert.equal(asked, 2);
});

test("whoever connects to a server that is not there is told why, and statuses wait for it", async (context) => {
  const client = new Client("http://127.0.0.1:9");
  context.after(() => client.lockstep.close());
  const waiting = client.lockstep.updateStatus({ record: "ci/build/1", status: "done" });
  await assert.rejects(client.lockstep.connect({ timeoutMs: 50 }), /timeout|no connection after 50 ms: unreachable/);
  assert.equal((await client.becomes("waiting")).code, "unreachable");
  client.lockstep.close();
  await assert.rejects(waiting, (error) => error instanceof LockstepError && error.code === "closed");
});

test("a client without a key is told that the server wants one, once and for good", () => together(async (server, { lockstep }) => {
  const waiting = lockstep.updateStatus({ record: "ci/build/1", status: "done" });
  const peer = await server.connection();
  peer.closes(1008, "auth_missing: show a key");
  await assert.rejects(waiting, (error) => error instanceof LockstepError && error.code === "auth_missing");
  assert.deepEqual(lockstep.state, { state: "closed", code: "auth_missing", reason: "show a key" });
}));
