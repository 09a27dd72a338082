/** Connecting, being let in, and coming back, against a server that does what the test says. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { WebSocket } from "ws";
import { Lockstep, LockstepError } from "../src/index.js";
import { Client, type Peer, agent, together } from "./server.js";

const code = (wanted: string) => (error: unknown): boolean => error instanceof LockstepError && error.code === wanted;

test("without a WebSocket the error says what to pass", (context) => {
  const platform = globalThis as { WebSocket?: unknown };
  const own = Object.getOwnPropertyDescriptor(globalThis, "WebSocket");
  context.after(() => own && Object.defineProperty(globalThis, "WebSocket", own));
  delete platform.WebSocket;
  assert.throws(() => new Lockstep({ url: "http://a" }), /pass webSocket: \(await import\("ws"\)\)\.WebSocket/);
});

test("options that cannot work are refused before anything is opened", () => {
  const wrong = [{ key: "a", token: "b" }, { firstMs: 0 }, { queueMax: NaN }, { url: "nowhere" }];
  for (const options of wrong) {
    assert.throws(() => new Lockstep({ url: "http://a", webSocket: WebSocket, ...options }), code("bad_option"), JSON.stringify(options));
  }
});

test("a key is shown first, and rooms are asked for once it is good", () => together(async (server, client) => {
  const { lockstep } = client;
  lockstep.subscribe("agent:a", {}, () => {});
  const peer = await server.connection();
  assert.deepEqual(await peer.hears("auth"), { type: "auth", token: "secret", ref: "auth" });
  peer.welcomes();
  peer.says("{");
  await client.errors.next("the answer to nonsense, which follows the welcome");
  assert.equal(client.lockstep.state.state, "connecting");
  peer.says({ type: "auth_success", subject: "s", expires_at: 0, rooms: ["*"], ref: "auth" });
  assert.deepEqual((await peer.admits())["rooms"], ["agent:a"]);
  await lockstep.connect();
  assert.equal(peer.address, "/v1/ws");
}, { key: "secret" }));

test("a key that is not good ends it, and whoever waits hears the server's word", () => together(async (server, client) => {
  const connecting = client.lockstep.connect();
  const update = client.lockstep.updateStatus({ record: "ci/build/1", status: "running" });
  const next = client.lockstep.subscribe("all")[Symbol.asyncIterator]().next();
  const peer = await server.connection();
  await peer.hears("auth");
  peer.closes(1008, "auth_failed: the key is not one of ours");
  for (const waiting of [connecting, update, next]) await assert.rejects(waiting, code("auth_failed"));
  assert.deepEqual(client.lockstep.state, { state: "closed", code: "auth_failed", reason: "the key is not one of ours" });
}, { key: "wrong" }));

test("with getToken a token that is not good is got anew", () => {
  let tokens = 0;
  return together(async (server, { lockstep }) => {
    const connecting = lockstep.connect();
    const first = await server.connection();
    assert.equal((await first.hears("auth"))["token"], "token-1");
    first.closes(1008, "token_expired");
    const second = await server.connection();
    assert.equal((await second.hears("auth"))["token"], "token-2");
    second.welcomes();
    second.says({ type: "auth_success", subject: "s", expires_at: 0, rooms: [] });
    await connecting;
  }, { getToken: () => `token-${++tokens}` });
});

test("a token that cannot be got is said, and asked for again", () => {
  let asked = 0;
  const getToken = async (): Promise<string> => {
    if (++asked === 1) throw new Error("the issuer is away");
    return "token";
  };
  return together(async (server, client) => {
    client.connects();
    const peer = await server.connection();
    assert.equal((await peer.hears("auth"))["token"], "token");
    const error = await client.errors.next("error");
    assert.equal(error.code, "no_token");
    assert.match(error.message, /the issuer is away/);
  }, { getToken });
});

test("a token that expires is replaced while the connection goes on", () => {
  let tokens = 0;
  return together(async (server, { lockstep }) => {
    lockstep.subscribe("all", {}, () => {});
    const peer = await server.connection();
    await peer.hears("auth");
    peer.welcomes();
    peer.says({ type: "auth_success", subject: "s", expires_at: 1, rooms: ["*"], ref: "auth" });
    await peer.admits();
    peer.says({ type: "token_expiring", expires_at: 1, in_ms: 60_000 });
    assert.equal((await peer.hears("auth"))["token"], "token-2");
    peer.says({ type: "auth_success", subject: "s", expires_at: 2, rooms: ["*"], ref: "auth" });
    const pong = lockstep.acknowledge("a");
    const asked = await peer.hears("acknowledge");
    peer.says({ type: "acknowledged", alert: "a", ref: asked["ref"] });
    await pong;
    assert.equal(server.peers.size, 0);
  }, { getToken: () => `token-${++tokens}` });
});

test("an HTTP call whose token is not good any more is made again with another", () => {
  let tokens = 0;
  return together(async (server, { lockstep }) => {
    const shown: unknown[] = [];
    server.answers = (_method, _path, _body, request) => {
      shown.push(request.headers.authorization);
      return shown.length === 2 ? [401, { code: "token_expired", detail: "got old" }] : [200, { items: [] }];
    };
    for (let call = 0; call < 2; call++) assert.deepEqual(await lockstep.call("GET", "/v1/items"), { items: [] });
    assert.deepEqual(shown, ["Bearer token-1", "Bearer token-1", "Bearer token-2"]);
  }, { getToken: () => `token-${++tokens}` });
});

test("a ticket is got with the key and goes into the address, a new one each time", () => together(async (server, { lockstep }) => {
  let tickets = 0;
  server.answers = (method, path, _, request) => {
    assert.deepEqual([method, path, request.headers.authorization], ["POST", "/v1/tickets", "Bearer secret"]);
    return [200, { ticket: `t/${++tickets}`, expires_at: 1 }];
  };
  const connecting = lockstep.connect();
  const first = await server.connection();
  assert.equal(first.address, "/v1/ws?ticket=t%2F1");
  first.welcomes();
  await connecting;
  first.cuts();
  assert.equal((await server.connection()).address, "/v1/ws?ticket=t%2F2");
}, { key: "secret", show: "ticket" }));

test("a ticket that was given is used once, and the end of its connection says what to pass", () => together(async (server, client) => {
  client.connects();
  const peer = await server.connection();
  assert.equal(peer.address, "/v1/ws?ticket=once");
  peer.welcomes();
  await client.becomes("open");
  peer.cuts();
  assert.match((await client.becomes("closed")).reason, /counts once; pass getTicket/);
}, { ticket: "once" }));

test("a connection that breaks is made again after waits that grow, with full jitter", () => together(async (server, client) => {
  client.connects();
  const waits: number[] = [];
  for (let attempt = 0; attempt < 5; attempt++) {
    (await server.connection()).cuts();
    const { waitMs, code } = await client.becomes("waiting");
    assert.equal(code, "unreachable");
    waits.push(waitMs);
  }
  assert.deepEqual(waits, [2, 4, 8, 10, 10]);
}, { random: () => 0.5, firstMs: 4, maxMs: 20 }));

test("the wait that is told is of whole milliseconds", () => together(async (server, client) => {
  client.connects();
  const waits: number[] = [];
  for (const end of [(peer: Peer) => peer.cuts(), (peer: Peer) => peer.closes(1001, "going_away")]) {
    const peer = await server.connection();
    peer.welcomes();
    await client.becomes("open");
    end(peer);
    waits.push((await client.becomes("waiting")).waitMs);
  }
  assert.deepEqual(waits, [3, 3]);
}, { random: () => 0.333, firstMs: 10, stableMs: 0.001 }));

test("a server that refuses clients is come back to, and the word is told", () => together(async (server, client) => {
  client.connects();
  (await server.connection()).closes(1013, "too_many_clients: 10000 are here");
  const { code, reason } = await client.becomes("waiting");
  assert.deepEqual([code, reason], ["too_many_clients", "10000 are here"]);
  (await server.connection()).welcomes();
  await client.becomes("open");
}));

test("closes that a person must mend are not answered by coming back", async () => {
  for (const [number, reason] of [[1002, "protocol_error: type is missing"], [1009, "too_large: 64 KiB"], [1003, "not_text"]] as const) {
    await together(async (server, client) => {
      client.connects();
      const peer = await server.connection();
      peer.welcomes();
      peer.says({ type: "auth_success", subject: "s", expires_at: 0, rooms: [] });
      await client.becomes("open");
      peer.closes(number, reason);
      assert.equal((await client.becomes("closed")).code, reason.split(":")[0]);
    }, { getToken: () => "a" }).catch((error: unknown) => assert.fail(`${reason}: ${String(error)}`));
  }
});

test("the end because of a message that is too large names the limit, and the message", async () => {
  const reason = "too_large: a message has more than the message_max_bytes that welcome told";
  for (const [alert, more] of [["ä".repeat(1_000), "; acknowledge had 2047"], ["a", ""]] as const) {
    await together(async (server, client) => {
      const connecting = client.lockstep.connect();
      const peer = await server.connection();
      peer.says({ type: "welcome", connection: "c", position: "p0", ping_ms: 30_000, message_max_bytes: 2_000 });
      await connecting;
      const acknowledged = client.lockstep.acknowledge(alert);
      await peer.hears("acknowledge");
      peer.closes(1009, reason);
      const why = `a message has more than the message_max_bytes that welcome told; the server takes 2000 bytes (message_max_bytes)${more}`;
      await assert.rejects(acknowledged, { code: "too_large", message: why });
      assert.deepEqual(client.lockstep.state, { state: "closed", code: "too_large", reason: why });
    });
  }
});

test("a close of which no limit is known names none", () => together(async (server, client) => {
  client.connects();
  (await server.connection()).closes(1009, "too_large: 64 KiB");
  assert.equal((await client.becomes("closed")).reason, "64 KiB");
}));

test("a server that goes away is left before it does, and gone on from", () => together(async (server, { lockstep }) => {
  const heard: string[] = [];
  lockstep.subscribe("agents", { snapshot: false }, (message) => heard.push((message as { agent: string }).agent));
  const first = await server.connection();
  first.welcomes("p0");
  await first.admits("p0");
  first.says(agent("a", "p1"));
  first.says({ type: "going_away", in_ms: 20 });
  const second = await server.connection();
  second.welcomes("p9");
  assert.equal((await second.admits("p1", true))["position"], "p1");
  assert.deepEqual(heard, ["a"]);
  await first.closed;
}, { random: () => 0.5 }));

test("a server that says nothing is asked, and then left", () => together(async (server, client) => {
  client.connects();
  const peer = await server.connection();
  peer.welcomes("p0", 1_000);
  await client.becomes("open");
  const ping = await peer.hears("ping");
  assert.deepEqual(ping, { type: "ping" });
  const { code } = await client.becomes("waiting");
  assert.equal(code, "no_sign_of_life");
  await server.connection();
}));

test("a server that answers pings is kept", () => together(async (server, client) => {
  client.connects();
  const peer = await server.connection();
  peer.welcomes("p0", 1_000);
  for (let ping = 0; ping < 3; ping++) await peer.pongs("p0");
  assert.equal(client.lockstep.state.state, "open");
}));

test("a server that lets nobody in is given up for this attempt", () => together(async (server, client) => {
  client.connects();
  await server.connection();
  assert.match((await client.becomes("waiting")).reason, /no answer within 500 ms/);
  (await server.connection()).welcomes();
  await client.becomes("open");
}, { connectMs: 500 }));

test("connect fails when there is no server, says why, and the client goes on trying", async (context) => {
  const client = new Client("http://127.0.0.1:9");
  context.after(() => client.lockstep.close());
  const connecting = client.lockstep.connect({ timeoutMs: 500 });
  await assert.rejects(connecting, /no connection after 500 ms: unreachable: .*ECONNREFUSED/);
  assert.notEqual(client.lockstep.state.state, "closed");
});

test("what the server sends that is not in the protocol is said, and breaks nothing", () => together(async (server, client) => {
  const heard: string[] = [];
  client.lockstep.subscribe("all", {}, ({ type }) => heard.push(type));
  const peer = await server.connection();
  peer.welcomes();
  await peer.admits();
  for (const nonsense of ["{", "null", "[]", '{"type": 7}', '"text"']) {
    peer.says(nonsense);
    assert.equal((await client.errors.next("error")).code, "not_understood", nonsense);
  }
  peer.says({ type: "some_new_answer" });
  peer.says({ type: "some_new_event", position: "p1" });
  peer.says({ type: "error", code: "unknown_type", reason: "nobody knows it" });
  assert.equal((await client.errors.next("error")).code, "unknown_type");
  assert.deepEqual(heard, ["some_new_event"]);
}));

test("after close nothing comes back, and nothing new is taken", () => together(async (server, { lockstep }) => {
  const loop = lockstep.subscribe("all");
  const waiting = lockstep.updateStatus({ record: "ci/build/1", status: "running" });
  const peer = await server.connection();
  lockstep.close();
  await assert.rejects(waiting, code("closed"));
  for await (const message of loop) assert.fail(JSON.stringify(message));
  await peer.closed;
  assert.throws(() => lockstep.subscribe("all"), code("closed"));
  await assert.rejects(lockstep.connect(), code("closed"));
  assert.equal(server.peers.size, 0);
}));
