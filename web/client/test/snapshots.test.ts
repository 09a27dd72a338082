/** How things stand: who is shown it, and when it is asked for again. */

import assert from "node:assert/strict";
import { test } from "node:test";
import type { Message } from "../src/index.js";
import { Queue, agent, change, positions, snapshot, together } from "./server.js";

test("a reset is told, and the snapshot that takes its place goes to who wanted one", () => together(async (server, { lockstep }) => {
  const [shown, plain] = [new Queue<Message>(), new Queue<Message>()];
  lockstep.subscribe("agent_states", {}, (message) => shown.push(message));
  lockstep.subscribe("agent_states", { snapshot: false }, (message) => plain.push(message));
  const peer = await server.connection();
  peer.welcomes();
  assert.equal((await peer.admits())["snapshot"], undefined);
  peer.says(snapshot("agent_states", { more: true }));
  peer.says(snapshot("agent_states"));
  peer.says(agent("a", "p1"));
  const types = async (queue: Queue<Message>, count: number): Promise<string[]> => {
    const list: string[] = [];
    while (list.length < count) list.push((await queue.next("message")).type);
    return list;
  };
  assert.deepEqual(await types(shown, 3), ["snapshot", "snapshot", "agent_state"]);
  assert.deepEqual(await types(plain, 1), ["agent_state"]);
  peer.cuts();
  const again = await server.connection();
  again.welcomes("other");
  await again.admits("other", false);
  again.says({ type: "reset", rooms: ["agent_states"], reason: "other_epoch" });
  again.says(snapshot("agent_states"));
  again.says(agent("a", "q1"));
  assert.deepEqual(await types(shown, 3), ["reset", "snapshot", "agent_state"]);
  assert.deepEqual(await types(plain, 2), ["reset", "agent_state"]);
}));

test("a room whose snapshot has not come whole when the connection breaks begins anew, with one", () => together(async (server, { lockstep }) => {
  const heard = new Queue<Message>();
  lockstep.subscribe("all", {}, (message) => heard.push(message));
  const first = await server.connection();
  first.welcomes();
  await first.admits("p0");
  first.says(snapshot("all", { more: true }));
  await heard.next("the first page");
  first.cuts();
  const second = await server.connection();
  second.welcomes();
  assert.equal((await second.admits("p5"))["position"], undefined);
  second.cuts();
  const third = await server.connection();
  third.welcomes();
  const asked = await third.admits("p6");
  assert.deepEqual([asked["position"], asked["snapshot"]], [undefined, undefined]);
  third.says(snapshot("all", { position: "p6" }));
  assert.deepEqual(positions([await heard.next("the snapshot")]), ["p6"]);
  third.cuts();
  const fourth = await server.connection();
  fourth.welcomes();
  assert.equal((await fourth.admits("p7", true))["position"], "p6");
}));

test("a room goes on for who follows it before it is shown to who still waits for a snapshot", () => together(async (server, { lockstep }) => {
  const [follows, waits] = [new Queue<Message>(), new Queue<Message>()];
  lockstep.subscribe("agent:a", { snapshot: false }, (message) => follows.push(message));
  const first = await server.connection();
  first.welcomes();
  await first.admits("p0");
  lockstep.subscribe("agent:a", {}, (message) => waits.push(message));
  await first.admits("p0");
  first.cuts();
  const second = await server.connection();
  second.welcomes();
  assert.equal((await second.admits("p2", true))["position"], "p0");
  // A position comes with a pong when all that was missed is told.
  await second.pongs();
  second.says(agent("a", "p1"));
  assert.deepEqual(positions([await follows.next("p1"), await waits.next("p1")]), ["p1", "p1"]);
  await second.pongs("p2");
  const asked = await second.admits("p2");
  assert.deepEqual([asked["rooms"], asked["position"], asked["snapshot"]], [["agent:a"], undefined, undefined]);
  second.says(snapshot("agent:a", { position: "p2" }));
  assert.deepEqual(positions([await waits.next("the snapshot")]), ["p2"]);
  assert.equal(follows.size, 0);
}));

test("who joins a room while what was missed there is told is shown it after that", () => together(async (server, { lockstep }) => {
  const shown = new Queue<Message>();
  lockstep.subscribe("agent:a", { snapshot: false }, () => {});
  const first = await server.connection();
  first.welcomes();
  await first.admits("p0");
  first.cuts();
  const second = await server.connection();
  second.welcomes();
  await second.admits("p2", true);
  lockstep.subscribe(["agent:a", "agent:b"], {}, (message) => shown.push(message));
  assert.deepEqual((await second.admits("p2"))["rooms"], ["agent:b"]);
  second.says(snapshot("agent:b"));
  assert.equal((await shown.next("of b")).type, "snapshot");
  await second.pongs("p2");
  assert.deepEqual((await second.admits("p2"))["rooms"], ["agent:a"]);
  second.says(snapshot("agent:a"));
  assert.equal((await shown.next("of a")).type, "snapshot");
}));

test("a room whose snapshot cannot be read is joined anew", () => together(async (server, { lockstep }) => {
  const heard = new Queue<Message>();
  lockstep.subscribe("all", {}, (message) => heard.push(message));
  const peer = await server.connection();
  peer.welcomes();
  await peer.admits();
  peer.says({ type: "error", code: "unavailable", reason: "how things stand cannot be read now", room: "all" });
  assert.equal((await peer.admits())["position"], undefined);
  peer.says(snapshot("all"));
  assert.equal((await heard.next("the snapshot")).type, "snapshot");
}));

test("a room in effect goes on when a snapshot for somebody else is refused for now, and that is asked for again", () => together(async (server, { lockstep }) => {
  const [first, late] = [new Queue<Message>(), new Queue<Message>()];
  lockstep.subscribe("agent_states", { snapshot: false }, (message) => first.push(message));
  const peer = await server.connection();
  peer.welcomes();
  await peer.admits("p0");
  lockstep.subscribe("agent_states", {}, (message) => late.push(message));
  const { ref } = await peer.hears("subscribe");
  peer.says({ type: "error", code: "busy", reason: "16 messages of yours are being worked on", ref });
  peer.says(agent("a", "p1"));
  assert.deepEqual(positions([await first.next("event")]), ["p1"]);
  const again = await peer.admits("p1");
  assert.deepEqual([again["rooms"], again["position"]], [["agent_states"], undefined]);
  peer.says(snapshot("agent_states", { position: "p1" }));
  peer.says(agent("a", "p2"));
  assert.deepEqual(positions([await first.next("event")]), ["p2"]);
  const told = [await late.next("message"), await late.next("message")];
  while (told.at(-1)?.type !== "agent_state" || positions(told).at(-1) !== "p2") told.push(await late.next("message"));
  assert.ok(told.some(({ type }) => type === "snapshot"));
}));

test("who joins a room amid the pages of another's snapshot is shown it from the beginning", () => together(async (server, { lockstep }) => {
  const [first, late] = [new Queue<Message>(), new Queue<Message>()];
  lockstep.subscribe("all", {}, (message) => first.push(message));
  const peer = await server.connection();
  peer.welcomes();
  await peer.admits();
  peer.says(snapshot("all", { position: "p1", more: true }));
  await first.next("the first page");
  lockstep.subscribe("all", {}, (message) => late.push(message));
  peer.says(snapshot("all", { position: "p1" }));
  await peer.admits();
  for (const more of [true, false]) peer.says(snapshot("all", { position: "p2", more }));
  assert.deepEqual(positions([await late.next("page"), await late.next("page")]), ["p2", "p2"]);
  assert.deepEqual(positions([await first.next("the last page")]), ["p1"]);
  assert.equal(first.size, 0);
}));

test("who joins a room that others follow is not told again what its own snapshot told, and they are told", () => together(async (server, { lockstep }) => {
  const [first, late, both] = [new Queue<Message>(), new Queue<Message>(), new Queue<Message>()];
  const item = (version: number) => ({ items: [{ id: "i1", key: "ENG-1", version, records: [] }] });
  lockstep.subscribe("all", {}, (message) => first.push(message));
  const peer = await server.connection();
  peer.welcomes();
  await peer.admits("p1");
  peer.says(snapshot("all", { position: "p1", ...item(4) }));
  assert.deepEqual(positions([await first.next("the snapshot")]), ["p1"]);
  lockstep.subscribe("all", {}, (message) => late.push(message));
  lockstep.subscribe(["all", "project:ENG"], {}, (message) => both.push(message));
  await peer.admits("p1");
  await peer.admits("p1");
  peer.says(snapshot("all", { position: "p2", more: true, ...item(5) }));
  peer.says(snapshot("all", { position: "p2" }));
  peer.says(snapshot("all", { position: "p2", more: true, ...item(5) }));
  peer.says(snapshot("all", { position: "p2" }));
  peer.says(snapshot("project:ENG", { position: "p2", ...item(4) }));
  // The server read version 5 before the bus told of it.
  peer.says(change("p3", { version: 5 }));
  peer.says(change("p4", { version: 5, type: "linked" }));
  peer.says(change("p5", { version: 6 }));
  const heard = async (queue: Queue<Message>, count: number): Promise<string[]> => {
    const messages: Message[] = [];
    while (messages.length < count) messages.push(await queue.next(`message ${messages.length + 1} of ${count}`));
    return positions(messages);
  };
  assert.deepEqual(await heard(first, 3), ["p3", "p4", "p5"]);
  assert.deepEqual(await heard(late, 4), ["p2", "p2", "p4", "p5"]);
  // Another of its rooms did not have it.
  assert.deepEqual(await heard(both, 6), ["p2", "p2", "p2", "p3", "p4", "p5"]);
}));

test("after a reset a room is told of anew, from versions that may be lower", () => together(async (server, { lockstep }) => {
  const heard = new Queue<Message>();
  lockstep.subscribe("all", {}, (message) => heard.push(message));
  const peer = await server.connection();
  peer.welcomes();
  await peer.admits("p1");
  peer.says(snapshot("all", { position: "p1", items: [{ id: "i1", key: "ENG-1", version: 9, records: [] }] }));
  peer.says({ type: "reset", rooms: ["all"], reason: "other_epoch" });
  peer.says(snapshot("all", { position: "q1" }));
  peer.says(change("q2", { version: 2 }));
  for (const position of ["p1", "reset", "q1", "q2"]) assert.deepEqual(positions([await heard.next(position)]), [position]);
}));
