/** The decisions: waits, endings, rooms, buffers. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { wait } from "../src/backoff.js";
import { Buffer } from "../src/buffer.js";
import { platformClock } from "../src/clock.js";
import { ending, silence } from "../src/ending.js";
import { addresses } from "../src/http.js";
import { LockstepError } from "../src/errors.js";
import type { ItemRecord } from "../src/answers.js";
import type { Event } from "../src/protocol.js";
import { Known, byKey, roomsOf, within, written } from "../src/rooms.js";
import { agent, change } from "./server.js";

test("waits are doubled up to the longest, and drawn from nothing to the whole", () => {
  const backoff = { firstMs: 500, maxMs: 30_000 };
  assert.deepEqual([0, 1, 2, 5, 6, 1_000_000].map((attempt) => wait(backoff, attempt, 1)), [500, 1_000, 2_000, 16_000, 30_000, 30_000]);
  assert.equal(wait(backoff, 3, 0), 0);
  assert.equal(wait(backoff, 3, 0.25), 1_000);
});

test("where no chance is given each wait is drawn anew", () => {
  const clock = platformClock({});
  const waits = Array.from({ length: 50 }, () => wait({ firstMs: 500, maxMs: 30_000 }, 3, clock.random()));
  assert.ok(waits.every((ms) => ms >= 0 && ms < 4_000), `${waits}`);
  assert.equal(new Set(waits).size, waits.length, `${waits}`);
});

test("each close says whether to come back", () => {
  const cases: [number, string, boolean, string, string][] = [
    [1000, "", false, "growing", "closed_by_server"],
    [1001, "going_away: we stop", false, "at_once", "going_away"],
    [1001, "no_sign_of_life", false, "at_once", "no_sign_of_life"],
    [1002, "protocol_error: no such type", true, "never", "protocol_error"],
    [1003, "not_text", true, "never", "not_text"],
    [1006, "", false, "growing", "unreachable"],
    [1006, "It broke: Unexpected server response: 503", false, "growing", "unreachable"],
    [1007, "not_utf8", true, "never", "not_utf8"],
    [1008, "auth_failed: unknown key", false, "never", "auth_failed"],
    [1008, "auth_failed: unknown key", true, "growing", "auth_failed"],
    [1008, "token_expired", false, "never", "token_expired"],
    [1008, "too_many_messages: 600 a minute", false, "growing", "too_many_messages"],
    [1008, "a_newer_word: because", false, "growing", "a_newer_word"],
    [1008, "policy violation: not from here", false, "growing", "policy"],
    [1009, "a_newer_word: because", false, "never", "a_newer_word"],
    [1010, "", false, "growing", "unreachable"],
    [1009, "too_large: 64 KiB", true, "never", "too_large"],
    [1011, "internal", false, "growing", "internal"],
    [1013, "too_slow: you read more slowly than …", false, "growing", "too_slow"],
  ];
  for (const [number, reason, renews, again, code] of cases) {
    const end = ending(number, reason, renews);
    assert.deepEqual([end.again, end.code], [again, code], `${number} ${reason}`);
  }
  assert.equal(ending(1013, "too_slow: you read slowly", false).reason, "you read slowly");
  assert.match(ending(1006, "It broke: Unexpected server response: 503", false).reason, /503/);
});

test("silence is asked about once, and then taken for an end", () => {
  const verdicts = [999, 1_000, 2_499, 2_500].map((ms) => [silence(ms, 1_000, false), silence(ms, 1_000, true)]);
  assert.deepEqual(verdicts, [["fine", "fine"], ["ask", "fine"], ["ask", "fine"], ["dead", "dead"]]);
});

test("addresses are read with or without a path, and keys in them are refused", () => {
  assert.deepEqual(addresses("https://a.example/lockstep/"), { http: "https://a.example/lockstep", ws: "wss://a.example/lockstep/v1/ws" });
  assert.deepEqual(addresses("http://[::1]:8080"), { http: "http://[::1]:8080", ws: "ws://[::1]:8080/v1/ws" });
  for (const wrong of ["nothing", "ftp://a", "http://key@a", "http://a?key=b"]) {
    assert.throws(() => addresses(wrong), (error) => error instanceof LockstepError && error.code === "bad_option", wrong);
  }
});

const event = (fields: Record<string, unknown>): Event => fields as unknown as Event;

test("an event is heard in the rooms of everything that it names", () => {
  const known = new Known();
  const changed = event(change("p1", { lifecycle: "agent", records: ["agentapi/agent/a"], record: "agentapi/agent/a" }));
  const rooms = ["all", "item:i1", "item:ENG-1", "project:ENG", "lifecycle:agent", "agent_states", "agent:a", "record:agentapi/agent/a"];
  assert.deepEqual(roomsOf(changed, known).sort(), [...rooms].sort());
  assert.ok(roomsOf(event(change("p", { key: "acme/web#7" })), known).includes("project:acme/web"));
  assert.ok(roomsOf(event(change("p", { type: "conflict_opened" })), known).includes("conflicts"));
  assert.deepEqual(roomsOf(event(agent("b", "p")), known), ["all", "agent_states", "agent:b"]);
});

test("agents that are told of by agent events are agents", () => {
  const records = ["agent/session/coder-1", "linear/issue/a"];
  assert.ok(roomsOf(event(change("p", { records })), new Known()).includes("agent:coder-1"));
  const delivery = event({ type: "delivery", item: "i1", record: "agent/session/coder-1", position: "p" });
  assert.ok(roomsOf(delivery, new Known()).includes("agent:coder-1"));
});

test("an id is written as servers write it, and any other name of an item is a key", () => {
  const id = "item:6c6f636b-7374-6570-8000-6974656d7300";
  const ways = [id, id.slice(5).toUpperCase(), `{${id.slice(5)}}`, `urn:uuid:${id.slice(5)}`, id.slice(5).replaceAll("-", "")];
  for (const way of ways) {
    const room = way.startsWith("item:") ? way : `item:${way}`;
    assert.deepEqual([written(room), byKey(room)], [id, false], room);
  }
  for (const room of ["item:ENG-1", "item:acme/web#3", `${id}0`]) assert.deepEqual([written(room), byKey(room)], [room, true], room);
  for (const room of ["item:ENG-*", "agent:6C6F636B-7374-6570-8000-6974656D7300", "all"]) {
    assert.deepEqual([written(room), byKey(room)], [room, false], room);
  }
});

test("a delivery is heard in the rooms of its item once that was told of", () => {
  const known = new Known();
  const delivery = event({ type: "delivery", item: "i1", record: "github/issue/acme/web#7", position: "p" });
  assert.deepEqual(roomsOf(delivery, known), ["deliveries", "item:i1", "record:github/issue/acme/web#7"]);
  known.change(change("p1") as never);
  const rooms = roomsOf(delivery, known);
  assert.ok(rooms.includes("item:ENG-1") && rooms.includes("record:linear/issue/a"), rooms.join());
});

test("a delivery is heard in the rooms of an item that a snapshot showed", () => {
  const known = new Known();
  const record: ItemRecord = { record: "linear/issue/a", native: "Done", want: null, step: "in_step" };
  const item = { id: "i1", key: "ENG-1", lifecycle: "work", status: "done", status_since: 1, version: 2, in_step: true, records: [record] };
  known.snapshot({ type: "snapshot", room: "all", position: "p", items: [item], messages: [], more: false, truncated: false });
  const rooms = roomsOf(event({ type: "delivery", item: "i1", record: "github/issue/acme/web#7", position: "p" }), known);
  assert.ok(rooms.includes("item:ENG-1") && rooms.includes("record:linear/issue/a"), rooms.join());
});

test("a name that ends with a star is every room that begins so", () => {
  assert.ok(within("agent:*", ["all", "agent:a"]));
  assert.ok(within("item:ENG-*", ["item:ENG-12"]));
  assert.ok(!within("item:ENG-*", ["item:OPS-1"]));
  assert.ok(!within("agent:a", ["agent:ab"]));
});

test("a buffer that is full fails after what it holds, and says so once", async () => {
  let left = 0;
  const buffer = new Buffer<number>(2, () => (left += 1));
  [1, 2, 3, 4].forEach((value) => buffer.push(value));
  assert.deepEqual([await buffer.next(), await buffer.next()].map(({ value }) => value), [1, 2]);
  await assert.rejects(buffer.next(), (error) => error instanceof LockstepError && error.code === "buffer_full");
  await buffer.return();
  assert.equal(left, 1);
});

test("a buffer hands each value to one reader, in the order of reading", async () => {
  const buffer = new Buffer<number>(2, () => {});
  const reads = [buffer.next(), buffer.next(), buffer.next()];
  buffer.push(1);
  buffer.push(2);
  buffer.end();
  assert.deepEqual((await Promise.all(reads)).map(({ value, done }) => done ? "end" : value), [1, 2, "end"]);
});
