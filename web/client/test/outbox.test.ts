/** What becomes of status updates on their way. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { LockstepError } from "../src/errors.js";
import { type Ended, Outbox, type Update } from "../src/outbox.js";

function update(id: string, record = `ci/build/${id}`): Update {
  return { id, record, status: "running" };
}

/** An outbox whose endings can be looked at, by id. */
function outbox(max = 10): { box: Outbox; add: (...updates: Update[]) => void; ended: Map<string, string> } {
  const box = new Outbox(max);
  const ended = new Map<string, string>();
  const said = (end: Ended): string => (end.as === "stored" ? `stored ${end.accepted.sequence}` : end.as === "refused" ? end.error.code : end.as);
  return { box, ended, add: (...updates) => box.add(updates, (index, end) => void ended.set(updates[index]!.id, said(end))) };
}

const ids = (box: Outbox): string[] | undefined => box.next(65_536, 0)?.statuses.map(({ id }) => id);
const accepted = (...list: string[]) => list.map((id, index) => ({ id, record: `ci/build/${id}`, sequence: index + 1 }));
const error = (code: string, ...indices: number[]): LockstepError =>
  new LockstepError(code, "no", { errors: indices.map((index) => ({ index, field: "status", detail: "no" })) });

test("what waits goes together, one message at a time", () => {
  const { box, add, ended } = outbox();
  add(update("a"));
  const first = box.next(65_536, 0);
  add(update("b"));
  add(update("c"));
  assert.equal(box.next(65_536, 0), undefined);
  assert.equal(box.stored("status-99", []), false);
  assert.equal(box.stored(first?.ref, accepted("a")), true);
  assert.deepEqual(ids(box), ["b", "c"]);
  assert.deepEqual([...ended], [["a", "stored 1"]]);
});

test("what had no answer when the connection broke goes again first, with its ids", () => {
  const { box, add } = outbox();
  add(update("a"), update("b"));
  box.next(65_536, 0);
  add(update("c"));
  box.lost();
  assert.deepEqual(ids(box), ["a", "b", "c"]);
});

test("a full queue lets go of older statuses of the same record, and then refuses", () => {
  const { box, add, ended } = outbox(3);
  add(update("a1", "r/r/a"));
  add(update("b1", "r/r/b"));
  add(update("a2", "r/r/a"));
  add(update("a3", "r/r/a"));
  assert.deepEqual([...ended], [["a1", "replaced"]]);
  assert.throws(() => add(update("d", "r/r/d")), (thrown) => thrown instanceof LockstepError && thrown.code === "queue_full");
  assert.deepEqual(ids(box), ["b1", "a2", "a3"]);
  // On its way, it may be stored already: it is not taken out any more.
  assert.throws(() => add(update("b2", "r/r/b")), LockstepError);
  box.lost();
  assert.throws(() => add(update("b3", "r/r/b")), LockstepError, "nor after its connection broke");
});

test("a message that the server finds wrong in places ends there, and goes again with the rest", () => {
  const { box, add, ended } = outbox();
  add(update("a"));
  add(update("b"));
  add(update("c"));
  assert.equal(box.refused(box.next(65_536, 0)?.ref, error("bad_statuses", 1), false), "now");
  assert.deepEqual([...ended], [["b", "bad_statuses"]]);
  assert.deepEqual(ids(box), ["a", "c"]);
});

test("a refusal that names nobody is found out call by call", () => {
  const { box, add, ended } = outbox();
  add(update("a"));
  add(update("b"));
  box.refused(box.next(65_536, 0)?.ref, error("forbidden"), false);
  const alone = box.next(65_536, 0);
  assert.deepEqual(alone?.statuses.map(({ id }) => id), ["a"]);
  box.refused(alone?.ref, error("forbidden"), false);
  box.stored(box.next(65_536, 0)?.ref, accepted("b"));
  assert.deepEqual([...ended], [["a", "forbidden"], ["b", "stored 1"]]);
});

test("a refusal that passes is tried again, and not for ever", () => {
  for (const [code, ends] of [["busy", "busy"], ["not_stored", "answer_lost"], ["timeout", "answer_lost"]] as const) {
    const { box, add, ended } = outbox();
    add(update("a"));
    for (let attempt = 1; attempt < 8; attempt++) assert.equal(box.refused(box.next(65_536, 0)?.ref, error(code), true), "later");
    assert.equal(ended.size, 0);
    box.refused(box.next(65_536, 0)?.ref, error(code), true);
    assert.deepEqual([...ended], [["a", ends]]);
    assert.equal(box.next(65_536, 0), undefined);
  }
});

test("a message keeps within what a server takes", () => {
  const { box, add } = outbox(2_000);
  add(...Array.from({ length: 1_200 }, (_, index) => update(`${index}`)));
  const first = box.next(65_536, 0);
  assert.equal(first?.statuses.length, 500);
  box.stored(first?.ref, accepted(...Array.from({ length: 500 }, (_, index) => `${index}`)));
  assert.equal(box.next(65_536, 0)?.statuses.length, 500);
  const large = outbox();
  large.add(...["a", "b", "c"].map((id) => ({ ...update(id), title: "x".repeat(20_000) })));
  assert.equal(large.box.next(65_536, 0)?.statuses.length, 2);
});

test("a status that alone is too large for the server ends, and the others go", () => {
  const { box, add, ended } = outbox();
  add(update("a"), { ...update("b"), title: "é".repeat(32_768) }, update("c"));
  assert.deepEqual(box.next(65_536, 0)?.statuses.map(({ id }) => id), ["a", "c"]);
  assert.deepEqual([...ended], [["b", "too_large"]]);
  box.stored("status-1", accepted("a", "c"));
  add({ ...update("d"), title: "x".repeat(65_000) });
  assert.deepEqual(ids(box), ["d"]);
});

test("a status whose answer was lost is not sent again once servers may have forgotten its id", () => {
  const { box, add, ended } = outbox();
  add(update("a"));
  assert.equal(box.next(65_536, 0)?.statuses.length, 1);
  box.lost();
  add(update("b"));
  assert.deepEqual(box.next(65_536, 100_000)?.statuses.map(({ id }) => id), ["a", "b"]);
  box.lost();
  // From when it was sent first: that may be what was stored. The other was sent not long ago.
  assert.deepEqual(box.next(65_536, 100_001)?.statuses.map(({ id }) => id), ["b"]);
  assert.deepEqual([...ended], [["a", "answer_lost"]]);
});

test("only a status that may be stored grows too old to be sent again", () => {
  for (const [code, may] of [["busy", false], ["overloaded", false], ["not_stored", true], ["timeout", true]] as const) {
    const { box, add, ended } = outbox();
    add(update("a"));
    box.refused(box.next(65_536, 0)?.ref, error(code), true);
    assert.equal(box.next(65_536, 100_001)?.statuses.length, may ? undefined : 1, code);
    assert.deepEqual([...ended], may ? [["a", "answer_lost"]] : []);
  }
  // A later answer says nothing of what was sent before.
  const { box, add, ended } = outbox();
  add(update("a"));
  box.next(65_536, 0);
  box.lost();
  box.refused(box.next(65_536, 50_000)?.ref, error("busy"), true);
  assert.equal(box.next(65_536, 100_001), undefined);
  assert.deepEqual([...ended], [["a", "answer_lost"]]);
});

test("what waits when it is closed hears why, and what was sent that it may be stored", () => {
  const { box, add, ended } = outbox();
  add(update("a"));
  box.next(65_536, 0);
  add(update("b"));
  box.close(error("auth_failed"));
  assert.deepEqual([[...ended], box.size], [[["a", "answer_lost"], ["b", "auth_failed"]], 0]);
});

test("what may be stored says so, and the cause, whatever ends it", () => {
  const again = (box: Outbox): string | undefined => box.next(65_536, 1)?.ref;
  const ends: readonly (readonly [string, (box: Outbox) => void])[] = [
    ["auth_failed: no", (box) => box.close(error("auth_failed"))],
    ["forbidden: no", (box) => box.refused(again(box), error("forbidden"), false)],
    ["does not name it", (box) => box.stored(again(box), [])],
    ["too_large", (box) => box.next(128, 1)],
    ["it might count twice", (box) => box.next(65_536, 100_001)],
  ];
  for (const [cause, end] of ends) {
    const box = new Outbox(10);
    const said: string[] = [];
    box.add([update("a")], (_, ended) => said.push(ended.as === "refused" ? `${ended.error.code} ${ended.error.message}` : ended.as));
    box.next(65_536, 0);
    box.lost();
    end(box);
    assert.ok(said[0]?.startsWith("answer_lost the status of ci/build/a was sent and may be stored: "), `${cause}: ${said[0]}`);
    assert.ok(said[0]?.includes(cause), said[0]);
  }
});

test("a status that is wrong in itself was not stored before either", () => {
  const { box, add, ended } = outbox();
  add(update("a"));
  box.next(65_536, 0);
  box.lost();
  box.refused(box.next(65_536, 1)?.ref, error("bad_statuses", 0), false);
  assert.deepEqual([...ended], [["a", "bad_statuses"]]);
});

test("a call with a status that is no JSON is refused, and changes nothing", () => {
  const { box, add, ended } = outbox(2);
  add(update("a1", "r/r/a"));
  add(update("b1", "r/r/b"));
  const wrong = { ...update("a3", "r/r/a"), position: 1n } as unknown as Update;
  assert.throws(() => add(wrong), (thrown) => thrown instanceof LockstepError && thrown.code === "bad_argument");
  assert.throws(() => add(update("a2", "r/r/a"), wrong), LockstepError);
  assert.equal(ended.size, 0);
  assert.deepEqual(ids(box), ["a1", "b1"]);
});
