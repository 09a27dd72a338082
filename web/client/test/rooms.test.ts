/** Subscriptions: what each hears, and that it hears it once, through breaks. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { LockstepError, type Message } from "../src/index.js";
import { type Peer, Queue, agent, change, positions, snapshot, together } from "./server.js";

test("after a break what was missed comes once and in order, though the server repeats some of it", () => together(async (server, { lockstep }) => {
  const heard = new Queue<Message>();
  lockstep.subscribe("agent:*", { snapshot: false }, (message) => heard.push(message));
  const first = await server.connection();
  first.welcomes("p0");
  await first.admits("p0");
  const events = [agent("a", "p1"), agent("b", "p2"), agent("a", "p3"), agent("b", "p4")];
  events.slice(0, 2).forEach((event) => first.says(event));
  await heard.next("p1");
  await heard.next("p2");
  first.cuts();
  const second = await server.connection();
  second.welcomes("p9");
  assert.equal((await second.admits("p4", true))["position"], "p2");
  events.slice(1).forEach((event) => second.says(event));
  assert.deepEqual(positions([await heard.next("p3"), await heard.next("p4")]), ["p3", "p4"]);
}));

test("cut at random moments, a client hears each event once and in order", () => together(async (server, { lockstep }) => {
  const EVENTS = 300;
  const heard: string[] = [];
  const done = new Queue<void>();
  lockstep.subscribe("agent:a", { snapshot: false }, (message) => {
    heard.push((message as { position: string }).position);
    if (heard.length === EVENTS) done.push();
  });
  // A server with a memory: it goes on after the position that it is told.
  const serve = async (): Promise<void> => {
    for (let round = 0; ; round++) {
      const peer = await server.connection();
      peer.welcomes("0");
      const asked = await peer.hears("subscribe");
      const from = Number(asked["position"] ?? "0");
      peer.says({ type: "subscribed", rooms: asked["rooms"], position: String(from), resumed: from > 0, ref: asked["ref"] });
      const until = Math.min(EVENTS, from + 1 + ((round * 37) % 29));
      for (let position = from + 1; position <= until; position++) peer.says({ ...agent("a", String(position)), at: position });
      if (until === EVENTS) return;
      peer.cuts();
    }
  };
  await Promise.all([serve(), done.next("the last event")]);
  assert.deepEqual(heard, Array.from({ length: EVENTS }, (_, index) => String(index + 1)));
}));

test("where nothing was heard yet, a break is gone on from where the room was joined", () => together(async (server, client) => {
  const followed = client.lockstep.subscribe("agent:a", { snapshot: false }, () => {});
  const first = await server.connection();
  first.welcomes("before");
  await first.admits("joined");
  await followed.ready;
  first.cuts();
  const second = await server.connection();
  second.welcomes("later");
  assert.equal((await second.admits("later", true))["position"], "joined");
}));

test("a quiet client goes on from where a sign of life said that it is, and its handlers hear nothing of it", () => together(async (server, { lockstep }) => {
  const heard = new Queue<Message>();
  lockstep.subscribe("agent:a", { snapshot: false }, (message) => heard.push(message));
  const first = await server.connection();
  first.welcomes("p0", 100);
  // Before the answer it may be a position without the room: nothing goes on from there.
  const asked = await first.hears("subscribe");
  await first.pongs("p1");
  first.says({ type: "subscribed", rooms: asked["rooms"], position: "p2", resumed: false, ref: asked["ref"] });
  await first.pongs();
  await first.pongs("p7");
  first.says(agent("a", "p8"));
  assert.deepEqual(positions([await heard.next("p8")]), ["p8"]);
  await first.pongs("p9");
  await first.hears("ping");
  first.cuts();
  const second = await server.connection();
  second.welcomes("p10");
  assert.equal((await second.admits("p10", true))["position"], "p9");
}));

test("rooms that were joined while there was no connection begin with a snapshot, the others go on", () => together(async (server, client) => {
  const { lockstep } = client;
  const shown = new Queue<Message>();
  lockstep.subscribe("agent:a", {}, (message) => shown.push(message));
  const first = await server.connection();
  first.welcomes("p0");
  await first.admits("p0");
  first.says(snapshot("agent:a"));
  await shown.next("the snapshot");
  first.cuts();
  await client.becomes("waiting");
  lockstep.subscribe("agent:b", {}, () => {});
  lockstep.subscribe("agent:c", { snapshot: false }, () => {});
  const second = await server.connection();
  second.welcomes("p5");
  const asked = [await second.hears("subscribe"), await second.hears("subscribe"), await second.hears("subscribe")];
  const plain = asked.map(({ rooms, position, snapshot }) => ({ rooms, position, snapshot }));
  assert.deepEqual(plain, [
    { rooms: ["agent:a"], position: "p0", snapshot: undefined },
    { rooms: ["agent:b"], position: undefined, snapshot: undefined },
    { rooms: ["agent:c"], position: undefined, snapshot: false },
  ]);
}));

test("subscriptions of one connection hear what is theirs, and each a snapshot of its own", () => together(async (server, { lockstep }) => {
  const heard: Record<string, string[]> = { a: [], item: [], late: [] };
  const unknown = new Queue<void>();
  const hears = (name: string) => (message: Message): void => {
    heard[name]?.push(message.type);
    if ("position" in message && message.position === "p4") unknown.push();
  };
  lockstep.agent("a", hears("a"));
  const peer = await server.connection();
  peer.welcomes();
  await peer.admits();
  peer.says(snapshot("agent:a"));
  lockstep.item("ENG-1", hears("item"));
  await peer.admits();
  peer.says(snapshot("item:ENG-1"));
  const late = lockstep.agent("a", hears("late"));
  assert.deepEqual((await peer.admits())["rooms"], ["agent:a"]);
  peer.says(snapshot("agent:a"));
  peer.says(change("p1"));
  peer.says({ type: "delivery", position: "p2", item: "i1", record: "github/issue/acme/web#7" });
  peer.says(agent("a", "p3"));
  peer.says({ type: "a_newer_type", position: "p4" });
  for (let hearer = 0; hearer < 3; hearer++) await unknown.next("p4");
  assert.deepEqual(heard, {
    a: ["snapshot", "agent_state", "a_newer_type"],
    item: ["snapshot", "status_changed", "delivery", "a_newer_type"],
    late: ["snapshot", "agent_state", "a_newer_type"],
  });
  late.unsubscribe();
  assert.equal(peer.heard.size, 0);
}));

test("what was on its way to who has left is told to nobody else", () => together(async (server, { lockstep }) => {
  const [left, stays, comes] = [new Queue<Message>(), new Queue<Message>(), new Queue<Message>()];
  const gone = [lockstep.agent("agent-1", (message) => left.push(message)), lockstep.item("ENG-1", (message) => left.push(message))];
  lockstep.subscribe(["agent:agent-3", "item:ENG-3"], {}, (message) => stays.push(message));
  const peer = await server.connection();
  peer.welcomes();
  const { rooms } = await peer.admits();
  for (const room of rooms as string[]) {
    peer.says(snapshot(room, { items: room.startsWith("item:") ? [{ id: `id of ${room}`, key: room.slice(5), records: [] }] : [] }));
  }
  for (let page = 0; page < 4; page++) await (page < 2 ? left : stays).next("a snapshot");
  gone.forEach((subscription) => subscription.unsubscribe());
  lockstep.subscribe(["agent:agent-2", "item:ENG-2"], {}, (message) => comes.push(message));
  peer.says(agent("agent-1", "p1"));
  peer.says(change("p2", { item: "id of item:ENG-1" }));
  peer.says({ type: "delivery", position: "p3", item: "id of item:ENG-1", record: "linear/issue/a" });
  await peer.hears("unsubscribe");
  await peer.hears("unsubscribe");
  await peer.admits();
  peer.says(agent("agent-2", "p4"));
  peer.says(agent("agent-3", "p5"));
  assert.deepEqual(positions([await comes.next("p4"), await stays.next("p5")]), ["p4", "p5"]);
  assert.equal(left.size, 0);
}));

test("a room of a kind that only the server knows hears what no other room explains", () => together(async (server, { lockstep }) => {
  const [newer, all] = [new Queue<Message>(), new Queue<Message>()];
  lockstep.subscribe("boards", { snapshot: false }, (message) => newer.push(message));
  lockstep.subscribe("all", { snapshot: false }, (message) => all.push(message));
  const peer = await server.connection();
  peer.welcomes();
  await peer.admits();
  peer.says(agent("a", "p1"));
  peer.says({ type: "memory_timeline", position: "p2", agent: "a" });
  peer.says(agent("a", "p3"));
  assert.deepEqual(positions([await newer.next("p2"), await all.next("p1"), await all.next("p3")]), ["p2", "p1", "p3"]);
}));

test("an item that is followed by a key is told of by its id, whatever key it has", () => together(async (server, { lockstep }) => {
  const [item, all] = [new Queue<Message>(), new Queue<Message>()];
  lockstep.item("acme/web#3", (message) => item.push(message));
  lockstep.subscribe("all", { snapshot: false }, (message) => all.push(message));
  const peer = await server.connection();
  peer.welcomes();
  assert.deepEqual((await peer.admits())["rooms"], ["item:acme/web#3"]);
  await peer.admits();
  peer.says(snapshot("item:acme/web#3", { items: [{ id: "i2", key: "ENG-2", records: [{ record: "linear/issue/b" }] }] }));
  peer.says(change("p1", { item: "i1" }));
  peer.says(change("p2", { item: "i2", key: "ENG-2" }));
  peer.says({ type: "delivery", position: "p3", item: "i2", record: "linear/issue/b" });
  assert.deepEqual(positions([await item.next("snapshot"), await item.next("p2"), await item.next("p3")]), ["p0", "p2", "p3"]);
  assert.deepEqual(positions([await all.next("p1"), await all.next("p2")]), ["p1", "p2"]);
}));

test("an item whose key changes after it was told of goes on", () => together(async (server, { lockstep }) => {
  const [item, all] = [new Queue<Message>(), new Queue<Message>()];
  lockstep.item("ENG-1", (message) => item.push(message));
  const peer = await server.connection();
  peer.welcomes();
  await peer.admits();
  peer.says(snapshot("item:ENG-1"));
  peer.says(change("p1"));
  assert.deepEqual(positions([await item.next("snapshot"), await item.next("p1")]), ["p0", "p1"]);
  lockstep.subscribe("all", { snapshot: false }, (message) => all.push(message));
  await peer.admits();
  peer.says(change("p2", { key: "OPS-7" }));
  peer.says(change("p3", { item: "i3", key: "OPS-8" }));
  peer.says(change("p4", { key: "OPS-7" }));
  assert.deepEqual(positions([await item.next("p2"), await item.next("p4")]), ["p2", "p4"]);
  assert.deepEqual(positions([await all.next("p2"), await all.next("p3")]), ["p2", "p3"]);
}));

test("without a snapshot it is asked all the same which item a key names, and until that is known too much is told", () => together(async (server, { lockstep }) => {
  const [item, all] = [new Queue<Message>(), new Queue<Message>()];
  lockstep.subscribe(["item:acme/web#3", "item:ENG-*"], { snapshot: false }, (message) => item.push(message));
  lockstep.subscribe("all", { snapshot: false }, (message) => all.push(message));
  const peer = await server.connection();
  peer.welcomes();
  const asked = [await peer.admits(), await peer.admits()];
  assert.deepEqual(asked.map(({ rooms, snapshot }) => [rooms, snapshot]), [
    [["item:ENG-*", "all"], false],
    [["item:acme/web#3"], undefined],
  ]);
  peer.says(change("p1", { item: "i2", key: "OPS-2" }));
  peer.says(agent("a", "p2"));
  peer.says(snapshot("item:acme/web#3", { items: [{ id: "i2", key: "OPS-2", records: [] }] }));
  peer.says(change("p3", { item: "i3", key: "OPS-3" }));
  peer.says(change("p4", { item: "i2", key: "OPS-2" }));
  assert.deepEqual(positions([await item.next("p1"), await item.next("p4")]), ["p1", "p4"]);
  assert.deepEqual(positions([await all.next("p1"), await all.next("p2"), await all.next("p3")]), ["p1", "p2", "p3"]);
}));

test("an item's id is known however it is written", () => together(async (server, { lockstep }) => {
  const id = "6c6f636b-7374-6570-8000-6974656d7300";
  const heard = new Queue<Message>();
  const subscription = lockstep.item(id.toUpperCase(), (message) => heard.push(message));
  lockstep.subscribe("all", { snapshot: false }, () => {});
  const peer = await server.connection();
  peer.welcomes();
  await peer.admits();
  await peer.admits();
  await subscription.ready;
  assert.deepEqual(subscription.rooms, [`item:${id.toUpperCase()}`]);
  peer.says(snapshot(`item:${id}`));
  peer.says(change("p1", { item: id }));
  assert.deepEqual(positions([await heard.next("the snapshot"), await heard.next("p1")]), ["p0", "p1"]);
}));

test("a room is left when the last who hears it leaves", () => together(async (server, { lockstep }) => {
  const [one, other] = [lockstep.subscribe(["agent:a", "agent:b"], {}, () => {}), lockstep.subscribe("agent:a", {}, () => {})];
  const peer = await server.connection();
  peer.welcomes();
  await peer.admits();
  await Promise.all([one.ready, other.ready]);
  one.unsubscribe();
  assert.deepEqual((await peer.hears("unsubscribe"))["rooms"], ["agent:b"]);
  other.unsubscribe();
  assert.deepEqual((await peer.hears("unsubscribe"))["rooms"], ["agent:a"]);
}));

test("a filter is the server's to judge, on a connection of its own that ends with it", () => together(async (server, { lockstep }) => {
  const heard = new Queue<Message>();
  lockstep.subscribe("agent_states", {}, () => {});
  const plain = await server.connection();
  plain.welcomes();
  await plain.admits();
  const filtered = lockstep.subscribe("agent_states", { filter: { on: ["error_state"] } }, (message) => heard.push(message));
  const own = await server.connection();
  own.welcomes();
  const asked = await own.admits();
  assert.deepEqual(asked["filter"], { on: ["error_state"] });
  own.says(agent("a", "p1", "error"));
  await heard.next("p1");
  filtered.unsubscribe();
  assert.equal(await own.closed, 1000);
  assert.equal(lockstep.state.state, "open");
}));

test("a room that is refused is said, and the others go on", () => together(async (server, client) => {
  const heard = new Queue<Message>();
  const subscription = client.lockstep.subscribe(["agent:a", "secret"], {}, (message) => heard.push(message));
  const peer = await server.connection();
  peer.welcomes();
  const asked = await peer.hears("subscribe");
  peer.says({ type: "error", code: "room_forbidden", reason: "your token does not name it", room: "secret", ref: asked["ref"] });
  peer.says({ type: "subscribed", rooms: ["agent:a"], position: "p0", resumed: false, ref: asked["ref"] });
  peer.says(agent("a", "p1"));
  await heard.next("p1");
  await assert.rejects(subscription.ready, /room secret: your token does not name it/);
  assert.equal((await client.errors.next("error")).code, "room_forbidden");
}));

test("a room that was refused from the start is asked for again when somebody asks, and not by itself", () => together(async (server, { lockstep }) => {
  const first = lockstep.subscribe(["agent:a", "secret"], { snapshot: false }, () => {});
  const refuses = (peer: Peer, ref: unknown): void => peer.says({ type: "error", code: "forbidden", reason: "not yours", room: "secret", ref });
  const peer = await server.connection();
  peer.welcomes();
  const asked = await peer.hears("subscribe");
  refuses(peer, asked["ref"]);
  peer.says({ type: "subscribed", rooms: ["agent:a"], position: "p0", resumed: false, ref: asked["ref"] });
  await assert.rejects(first.ready, /room secret: not yours/);
  peer.cuts();
  const second = await server.connection();
  second.welcomes();
  assert.deepEqual((await second.admits("p0", true))["rooms"], ["agent:a"]);
  lockstep.subscribe("agent:b", { snapshot: false }, () => {});
  assert.deepEqual((await second.admits("p0"))["rooms"], ["agent:b"]);
  const granted = lockstep.subscribe("secret", { snapshot: false }, () => {});
  assert.deepEqual((await second.admits("p1"))["rooms"], ["secret"]);
  await granted.ready;
  second.cuts();
  const third = await server.connection();
  third.welcomes();
  assert.deepEqual((await third.admits("p1", true))["rooms"], ["agent:a", "secret", "agent:b"]);
}));

test("a room in effect that is refused later is said, and begins anew on the next connection beside the others", () => together(async (server, client) => {
  const heard = new Queue<Message>();
  client.lockstep.subscribe(["agent:a", "agent:b"], {}, (message) => heard.push(message));
  const refuses = (peer: Peer, ref?: unknown): void => {
    peer.says({ type: "error", code: "forbidden", reason: "not yours", room: "agent:b", ...(ref === undefined ? {} : { ref }) });
  };
  const first = await server.connection();
  first.welcomes();
  await first.admits("p0");
  ["agent:a", "agent:b"].forEach((room) => first.says(snapshot(room)));
  // A new token does not grant it.
  refuses(first);
  assert.equal((await client.errors.next("error")).code, "forbidden");
  first.says(agent("a", "p1"));
  for (const what of ["snapshot", "snapshot", "p1"]) await heard.next(what);
  first.cuts();
  // Nor does the next connection, on which others that are refused for a moment do not ask for it once more; the one after it does.
  const second = await server.connection();
  second.welcomes();
  assert.deepEqual((await second.admits("p1", true))["position"], "p1");
  const anew = await second.hears("subscribe");
  assert.deepEqual([anew["rooms"], anew["position"]], [["agent:b"], undefined]);
  refuses(second, anew["ref"]);
  assert.equal((await client.errors.next("error")).code, "forbidden");
  second.says({ type: "error", code: "unavailable", reason: "later", room: "agent:a" });
  assert.deepEqual((await second.admits("p1", true))["rooms"], ["agent:a"]);
  client.lockstep.subscribe("agent:c", { snapshot: false }, () => {});
  assert.deepEqual((await second.admits("p1"))["rooms"], ["agent:c"]);
  second.cuts();
  const third = await server.connection();
  third.welcomes();
  assert.deepEqual((await third.admits("p1", true))["rooms"], ["agent:a", "agent:c"]);
  assert.deepEqual((await third.admits("p1"))["rooms"], ["agent:b"]);
  third.says(snapshot("agent:b"));
  third.says(agent("b", "p2"));
  await heard.next("snapshot");
  await heard.next("p2");
}));

test("rooms that cannot be gone on with for a moment go on from where they were, whatever else goes on", () => together(async (server, { lockstep }) => {
  const [item, all] = [new Queue<Message>(), new Queue<Message>()];
  lockstep.subscribe("item:ENG-1", { snapshot: false }, (message) => item.push(message));
  lockstep.subscribe("agent:a", { snapshot: false }, (message) => all.push(message));
  const refuses = (peer: Peer): void => peer.says({ type: "error", code: "unavailable", reason: "later", room: "item:ENG-1" });
  const first = await server.connection();
  first.welcomes();
  await first.admits("p0");
  await first.admits("p0");
  first.says(snapshot("item:ENG-1"));
  first.says(agent("a", "p1"));
  await all.next("p1");
  first.cuts();
  const second = await server.connection();
  second.welcomes();
  assert.equal((await second.admits("p3", true))["position"], "p1");
  refuses(second);
  second.says(agent("a", "p2"));
  second.says(agent("a", "p4"));
  const again = await second.admits("p5", true);
  assert.deepEqual([again["rooms"], again["position"]], [["item:ENG-1"], "p1"]);
  // Whether it goes on shows only when a pong has a position: until then it may be refused once more.
  await second.hears("ping");
  refuses(second);
  second.says({ type: "pong", at: 1 });
  assert.equal((await second.admits("p5", true))["position"], "p1");
  await second.hears("ping");
  second.says(change("p3"));
  assert.deepEqual(positions([await item.next("p3")]), ["p3"]);
  second.cuts();
  const third = await server.connection();
  third.welcomes("p6", 200);
  const asked = [await third.admits("p6", true), await third.admits("p6", true)];
  assert.deepEqual(asked.map(({ rooms, position }) => [rooms, position]), [[["item:ENG-1"], "p1"], [["agent:a"], "p3"]]);
  await third.pongs("p6");
  await third.hears("ping");
  third.cuts();
  const fourth = await server.connection();
  fourth.welcomes();
  const whole = await fourth.admits("p7", true);
  assert.deepEqual([whole["rooms"], whole["position"]], [["item:ENG-1", "agent:a"], "p6"]);
}));

test("of many rooms as many are asked for at once as a server takes", () => together(async (server, { lockstep }) => {
  const rooms = Array.from({ length: 201 }, (_, index) => `agent:${index}`);
  rooms.forEach((room) => lockstep.subscribe(room, { snapshot: false }, () => {}));
  for (const position of [undefined, "p0"]) {
    const peer = await server.connection();
    peer.welcomes();
    const asked = [await peer.admits("p0", true), await peer.admits("p0", true), await peer.admits("p0", true)];
    assert.deepEqual(asked.map((one) => one["position"]), [position, position, position]);
    assert.deepEqual(asked.map((one) => (one["rooms"] as string[]).length), [100, 100, 1]);
    assert.deepEqual(asked.flatMap((one) => one["rooms"]), rooms);
    peer.says(agent("0", "p0"));
    peer.cuts();
  }
}));

test("a question about rooms that nobody answers is asked again on another connection", () => together(async (server, { lockstep }) => {
  const followed = lockstep.subscribe("all", {}, () => {});
  const first = await server.connection();
  first.welcomes();
  await first.hears("subscribe");
  const second = await server.connection();
  second.welcomes();
  await second.admits();
  await followed.ready;
}, { answerMs: 500 }));

test("a room that is refused for now is asked for again", () => together(async (server, { lockstep }) => {
  const subscription = lockstep.subscribe("all", {}, () => {});
  const peer = await server.connection();
  peer.welcomes();
  const asked = await peer.hears("subscribe");
  peer.says({ type: "error", code: "unavailable", reason: "PostgreSQL is away", room: "all", ref: asked["ref"] });
  await peer.admits();
  await subscription.ready;
}));

test("a handler that throws, at once or later, hears the next message all the same", () => together(async (server, client) => {
  const heard = new Queue<string>();
  let calls = 0;
  client.lockstep.subscribe("agent:a", { snapshot: false }, (message) => {
    heard.push((message as { position: string }).position);
    if (++calls === 1) throw new Error("at once");
    return Promise.reject(new Error("later"));
  });
  const peer = await server.connection();
  peer.welcomes();
  await peer.admits();
  ["p1", "p2", "p3"].forEach((position) => peer.says(agent("a", position)));
  for (const position of ["p1", "p2", "p3"]) assert.equal(await heard.next(position), position);
  const error = await client.errors.next("error");
  assert.deepEqual([error.code, (error.cause as Error).message], ["handler_failed", "at once"]);
  assert.equal(((await client.errors.next("error")).cause as Error).message, "later");
}));

test("a loop reads every message, and leaving it leaves the rooms", () => together(async (server, { lockstep }) => {
  const subscription = lockstep.subscribe("agent:a", { snapshot: false });
  const peer = await server.connection();
  peer.welcomes();
  await peer.admits();
  ["p1", "p2", "p3"].forEach((position) => peer.says(agent("a", position)));
  const read: string[] = [];
  for await (const message of subscription) {
    read.push((message as { position: string }).position);
    if (read.length === 3) break;
  }
  assert.deepEqual(read, ["p1", "p2", "p3"]);
  assert.deepEqual((await peer.hears("unsubscribe"))["rooms"], ["agent:a"]);
}));

test("a loop that is far behind reads what is kept and then fails", () => together(async (server, { lockstep }) => {
  const subscription = lockstep.subscribe("agent:a", { snapshot: false });
  const peer = await server.connection();
  peer.welcomes();
  await peer.admits();
  ["p1", "p2", "p3"].forEach((position) => peer.says(agent("a", position)));
  await peer.hears("unsubscribe");
  const read: string[] = [];
  const loop = async (): Promise<void> => {
    for await (const message of subscription) read.push((message as { position: string }).position);
  };
  await assert.rejects(loop(), (error) => error instanceof LockstepError && error.code === "buffer_full");
  assert.deepEqual(read, ["p1", "p2"]);
}, { bufferMax: 2 }));

test("agents hands over states, those of the snapshot first", () => together(async (server, { lockstep }) => {
  const heard = new Queue<string>();
  lockstep.agents(({ agent, status }) => heard.push(`${agent} ${status}`));
  const peer = await server.connection();
  peer.welcomes();
  await peer.admits();
  peer.says(snapshot("agent_states", { messages: [agent("a", "p0", "idle"), agent("b", "p0")] }));
  peer.says(change("p1", { lifecycle: "agent" }));
  peer.says(agent("a", "p2"));
  assert.deepEqual([await heard.next("a"), await heard.next("b"), await heard.next("a")], ["a idle", "b working", "a working"]);
}));
