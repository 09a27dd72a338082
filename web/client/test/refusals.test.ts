/** Who is told of a room that is refused. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { together } from "./server.js";

test("who waits for ready is told of a refusal, and nobody else; of what it cannot tell the error event does", () => together(async (server, client) => {
  const waiting = client.lockstep.subscribe(["secret", "hidden"], {}, () => {}).ready;
  const peer = await server.connection();
  peer.welcomes();
  const refuses = (ref: unknown, room?: string): void => {
    peer.says({ type: "error", code: "forbidden", reason: "not yours", ...(room === undefined ? {} : { room }), ref });
  };
  const { ref } = await peer.hears("subscribe");
  refuses(ref, "secret");
  await assert.rejects(waiting, /^LockstepError: room secret: not yours/);
  assert.equal(client.errors.size, 0);
  refuses(ref, "hidden");
  assert.equal((await client.errors.next("the second refusal")).message, "room hidden: not yours");
  // Refused by one answer, they are one refusal.
  const both = client.lockstep.subscribe(["a", "b"], {}, () => {}).ready;
  refuses((await peer.hears("subscribe"))["ref"]);
  await assert.rejects(both, /^LockstepError: room a and 1 more: not yours/);
  assert.equal(client.errors.size, 0);
  client.lockstep.subscribe("unawaited", {}, () => {});
  refuses((await peer.hears("subscribe"))["ref"], "unawaited");
  assert.equal((await client.errors.next("the refusal that nobody waits for")).message, "room unawaited: not yours");
}));

test("a refusal that nobody handles ends no process", () => together(async (server, client) => {
  const unhandled: unknown[] = [];
  const note = (reason: unknown): void => void unhandled.push(reason);
  process.on("unhandledRejection", note);
  try {
    const { ready } = client.lockstep.subscribe("secret", {}, () => {});
    client.lockstep.subscribe("hidden", {}, () => {});
    const peer = await server.connection();
    peer.welcomes();
    const { ref } = await peer.hears("subscribe");
    for (const room of ["secret", "hidden"]) peer.says({ type: "error", code: "forbidden", reason: "not yours", room, ref });
    assert.match((await client.errors.next("the refusal")).message, /room hidden/);
    // Rejections that nobody handled are known once all that was due is done.
    await new Promise(setImmediate);
    await assert.rejects(ready);
    assert.deepEqual(unhandled, []);
  } finally {
    process.off("unhandledRejection", note);
  }
}));
