/** How far a stored status has spread. */

import assert from "node:assert/strict";
import { test } from "node:test";
import type { HistoryLine, Item } from "../src/answers.js";
import type { Delivery } from "../src/messages.js";
import type { Change } from "../src/protocol.js";
import { Spread } from "../src/spread.js";
import { change as changed } from "./server.js";

const spread = (): Spread => new Spread({ record: "linear/issue/a", id: "s", status: "Done", lane: "normal", sequence: 7, from: "p0" });
const change = (more: Record<string, unknown> = {}): Change => changed("p1", more) as unknown as Change;

function delivery(more: Partial<Delivery> = {}): Delivery {
  return { type: "delivery", item: "i1", record: "github/issue/acme/web#7", version: 2, outcome: "applied", reason: "", ...more } as Delivery;
}

function item(steps: Record<string, string>, taken = 7): Item {
  const records = Object.entries(steps).map(([record, step]) => ({
    record, keys: [], native: record === "linear/issue/a" ? "Done" : "closed", want: "closed", step, taken: { normal: taken }, last_error: "no rights",
  }));
  return { id: "i1", key: "ENG-1", lifecycle: "work", status: "done", status_since: 1, version: 2, in_step: false, records } as Item;
}

const outcomes = (one: Spread): string[] => [one.outcome().outcome, ...one.outcome().records.map(({ outcome }) => outcome)];

test("a status is propagated when every other record's system has confirmed", () => {
  const one = spread();
  one.change(change({ cause: 6 }));
  assert.deepEqual(outcomes(one), ["pending"]);
  one.change(change());
  assert.deepEqual([outcomes(one), one.settled], [["applied", "pending"], false]);
  one.delivery(delivery({ version: 1 }));
  one.delivery(delivery({ item: "other" }));
  assert.equal(one.settled, false);
  one.delivery(delivery());
  assert.deepEqual([outcomes(one), one.settled], [["applied", "applied"], true]);
});

test("each record has its own outcome", () => {
  for (const outcome of ["unchanged", "superseded", "rejected", "failed"] as const) {
    const one = spread();
    one.change(change());
    one.delivery(delivery({ outcome, reason: "why" }));
    assert.deepEqual(one.outcome().records, [{ record: "github/issue/acme/web#7", outcome, reason: "why" }]);
  }
});

test("an overtaken command is no outcome: a newer one of the same version may follow, and one of a newer version overtakes", () => {
  const one = spread();
  one.change(change());
  one.delivery(delivery({ outcome: "overtaken" }));
  assert.equal(one.settled, false);
  one.delivery(delivery({ version: 3, outcome: "overtaken" }));
  assert.equal(one.settled, false, "nothing came yet");
  one.delivery(delivery({ version: 4 }));
  assert.deepEqual(one.outcome().records, [
    { record: "github/issue/acme/web#7", outcome: "overtaken", reason: "version 4 of the item, which is newer, came first" },
  ]);
});

test("where a newer version did not come either, its outcome counts", () => {
  for (const outcome of ["superseded", "rejected", "failed"] as const) {
    const one = spread();
    one.change(change());
    one.delivery(delivery({ version: 3, outcome, reason: "no rights" }));
    const reason = "version 3 of the item, which is newer, was to be told instead: no rights";
    assert.deepEqual([one.outcome().records, one.settled], [[{ record: "github/issue/acme/web#7", outcome, reason }], true]);
    one.delivery(delivery());
    assert.deepEqual(outcomes(one), ["applied", "applied"], "its own system's word comes first");
  }
  const one = spread();
  one.change(change());
  one.stands(item({ "linear/issue/a": "in_step", "github/issue/acme/web#7": "as_close" }));
  one.delivery(delivery({ version: 3, outcome: "failed" }));
  assert.deepEqual(outcomes(one), ["applied", "not_told"], "that was not of ours");
});

test("what came of a write stays, whatever comes of later ones", () => {
  for (const outcome of ["applied", "rejected", "failed"] as const) {
    const one = spread();
    one.change(change());
    one.delivery(delivery({ outcome }));
    one.delivery(delivery({ version: 3 }));
    assert.deepEqual(outcomes(one), ["applied", outcome]);
  }
});

test("a record that shows a newer version, and of which no delivery told, was overtaken", () => {
  const one = spread();
  one.change(change());
  const stands = { ...item({ "linear/issue/a": "in_step", "github/issue/acme/web#7": "in_step" }), version: 3 };
  one.stands(stands);
  assert.deepEqual(outcomes(one), ["applied", "pending"], "its delivery may be on its way");
  one.stands(stands);
  assert.deepEqual(outcomes(one), ["applied", "overtaken"]);
});

test("a delivery that comes before the change counts", () => {
  const one = spread();
  one.delivery(delivery());
  one.change(change());
  assert.deepEqual(outcomes(one), ["applied", "applied"]);
});

test("a status whose turn has not come is pending, whatever the item shows", () => {
  const one = spread();
  one.stands(item({ "linear/issue/a": "in_step", "github/issue/acme/web#7": "in_step" }, 6));
  assert.deepEqual([outcomes(one), one.settled], [["pending"], false]);
});

test("a status that changes nothing is settled by the item, after a look for deliveries on their way", () => {
  const one = spread();
  const stands = item({ "linear/issue/a": "in_step", "github/issue/acme/web#7": "in_step", "agentapi/agent/a": "read_only" });
  one.stands(stands);
  assert.deepEqual(outcomes(one), ["unchanged", "pending", "not_told"]);
  one.stands(stands);
  assert.deepEqual([outcomes(one), one.settled], [["unchanged", "unchanged", "not_told"], true]);
});

test("the item tells of records that can be told nothing, and of those that failed", () => {
  const one = spread();
  one.change(change());
  one.stands(item({ "linear/issue/a": "in_step", "github/issue/acme/web#7": "failed", "agentapi/agent/a": "read_only" }));
  assert.deepEqual(one.outcome().records, [
    { record: "github/issue/acme/web#7", outcome: "failed", reason: "no rights" },
    { record: "agentapi/agent/a", outcome: "not_told", reason: "read_only" },
  ]);
});

test("a status that lost is superseded, and one that waits for a person is pending", () => {
  const lost = spread();
  lost.change(change({ record: "github/issue/acme/web#7", reason: "priority" }));
  assert.equal(lost.outcome().outcome, "superseded");
  const held = spread();
  held.change(change({ type: "conflict_opened", conflict: "c1" }));
  assert.deepEqual([held.outcome().outcome, held.outcome().reason], ["pending", "held: conflict c1"]);
  const unmapped = spread();
  unmapped.stands(item({ "linear/issue/a": "unmapped" }));
  assert.equal(unmapped.outcome().outcome, "rejected");
  const tied = spread();
  tied.stands(item({ "linear/issue/a": "read_only" }));
  assert.deepEqual([tied.outcome().outcome, tied.outcome().reason], ["superseded", 'its item stays what it is, which would be "closed" here']);
});

test("what changed nothing is explained by the line that it left in the history", () => {
  const explained = (line: Partial<HistoryLine>): (string | number | undefined)[] => {
    const one = spread();
    const stands = item({ "linear/issue/a": "in_step" });
    assert.equal(one.unexplained(stands), true);
    const own = { kind: "changed", reason: "asked", record: "linear/issue/a", native: "Dome", version: 1, cause: { sequence: 7 }, ...line };
    one.stands(stands, [{ ...own, kind: "linked" }, { ...own, record: "github/issue/acme/web#7" }, own]);
    const { outcome, reason, version } = one.outcome();
    return [outcome, reason, version];
  };
  assert.deepEqual(explained({ kind: "unmapped", reason: "unmapped_status" }), ["rejected", 'no mapping knows "Dome"', 2]);
  assert.deepEqual(explained({ kind: "refused", reason: "irregular_transition" }), ["rejected", "irregular_transition", 2]);
  assert.deepEqual(explained({ kind: "stale", reason: "older_position" }), ["superseded", "older_position", 2]);
  assert.deepEqual(explained({ kind: "ignored", reason: "already_there" }), ["unchanged", "already_there", 2]);
  assert.deepEqual(explained({ kind: "candidate", conflict: "c1" }), ["pending", "held: conflict c1", 2]);
  assert.deepEqual(explained({}), ["applied", "", 1]);
  assert.deepEqual(explained({ cause: { sequence: 6 } }), ["unchanged", "", 2], "a line of something else explains nothing");
});

test("a record that is asked for something is waited for like the others", () => {
  const one = spread();
  one.change(change({ reason: "asked" }));
  one.delivery(delivery());
  assert.deepEqual([outcomes(one), one.settled], [["applied", "pending", "applied"], false]);
  one.delivery(delivery({ record: "linear/issue/a", outcome: "rejected", reason: "no rights" }));
  assert.deepEqual([outcomes(one), one.settled], [["applied", "rejected", "applied"], true]);
  const missed = spread();
  const line = { kind: "changed", reason: "asked", record: "linear/issue/a", native: "Done", version: 2, cause: { sequence: 7 } };
  missed.stands(item({ "linear/issue/a": "pending" }), [line]);
  assert.deepEqual([outcomes(missed), missed.settled], [["applied", "pending"], false]);
  missed.stands(item({ "linear/issue/a": "in_step" }));
  missed.stands(item({ "linear/issue/a": "in_step" }));
  assert.deepEqual([outcomes(missed), missed.settled], [["applied", "unchanged"], true]);
});

test("a first status that no mapping knows makes an item, and is refused all the same", () => {
  const one = spread();
  one.change(change({ reason: "first_seen", records: ["linear/issue/a"] }));
  assert.equal(one.settled, false);
  one.stands(item({ "linear/issue/a": "unmapped" }));
  assert.deepEqual([one.outcome().outcome, one.outcome().reason], ["rejected", 'no mapping knows "Done"']);
  const good = spread();
  good.change(change({ reason: "first_seen", records: ["linear/issue/a"] }));
  good.stands(item({ "linear/issue/a": "in_step" }), [{ kind: "changed", reason: "first_seen", record: "linear/issue/a", native: "Done", version: 2, cause: { sequence: 7 } }]);
  assert.deepEqual([outcomes(good), good.settled], [["applied"], true]);
});

test("a record that nobody has seen is said to be that", () => {
  const one = spread();
  one.unseen();
  assert.match(one.outcome().reason, /no record of this name/);
  assert.equal(one.outcome().outcome, "pending");
});

test("a record that shows what no mapping knows is told nothing, and nothing of it is waited for", () => {
  const one = spread();
  one.change(change());
  one.stands(item({ "linear/issue/a": "in_step", "github/issue/acme/web#7": "unmapped" }));
  assert.deepEqual([one.outcome().records, one.settled], [[{ record: "github/issue/acme/web#7", outcome: "not_told", reason: "unmapped" }], true]);
});
