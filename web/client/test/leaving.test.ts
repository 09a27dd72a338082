/** Leaving rooms, and joining them again: on one connection, and with filters on one of their own. */

import assert from "node:assert/strict";
import { test } from "node:test";
import type { Lockstep, Message } from "../src/index.js";
import { type Peer, Queue, agent, positions, snapshot, together } from "./server.js";

/** Waits until the client has heard all that the server has said. */
async function listened(lockstep: Lockstep, peer: Peer): Promise<void> {
  const acknowledged = lockstep.acknowledge("x");
  const { ref } = await peer.hears("acknowledge");
  peer.says({ type: "acknowledged", alert: "x", ref });
  await acknowledged;
}

test("a room that is left and joined again before the server has answered is asked for again", () => together(async (server, client) => {
  const { lockstep } = client;
  client.connects();
  const peer = await server.connection();
  peer.welcomes();
  await client.becomes("open");
  const heard = new Queue<Message>();
  const join = () => lockstep.subscribe("deliveries", { snapshot: false }, (message) => heard.push(message));
  join().unsubscribe();
  const again = join();
  let ready = false;
  void again.ready.then(() => (ready = true));
  await peer.admits("p0");
  const left = await peer.hears("unsubscribe");
  peer.says({ type: "unsubscribed", rooms: left["rooms"] });
  const { rooms, snapshot, ref } = await peer.hears("subscribe");
  assert.deepEqual([rooms, snapshot], [["deliveries"], false]);
  // The first answer was to a question that is void: it does not say that the room is in effect.
  await listened(lockstep, peer);
  assert.equal(ready, false);
  peer.says({ type: "subscribed", rooms, position: "p1", resumed: false, ref });
  await again.ready;
  peer.says({ type: "delivery", position: "p2", item: "i1", record: "r/r/1" });
  assert.deepEqual(positions([await heard.next("p2")]), ["p2"]);
}));

for (const [form, pages] of [["whole", 0], ["in part", 1]] as const) {
  test(`a snapshot that was ${form} on its way when its room was left is not taken for that of who joins again`, () => together(async (server, { lockstep }) => {
    const [gone, heard] = [new Queue<Message>(), new Queue<Message>()];
    const join = (to: Queue<Message>) => lockstep.subscribe("agent_states", {}, (message) => to.push(message));
    const first = join(gone);
    const peer = await server.connection();
    peer.welcomes();
    await peer.admits("p0");
    await first.ready;
    for (let page = 0; page < pages; page++) {
      peer.says(snapshot("agent_states", { more: true, position: "p0" }));
      await gone.next("page");
    }
    first.unsubscribe();
    join(heard);
    peer.says(snapshot("agent_states", { position: "p0" }));
    // Told to who has left; the second snapshot contains it.
    peer.says(agent("a", "p1"));
    const left = await peer.hears("unsubscribe");
    peer.says({ type: "unsubscribed", rooms: left["rooms"] });
    await peer.admits("p1");
    for (const more of [true, false]) peer.says(snapshot("agent_states", { position: "p1", more }));
    peer.says(agent("a", "p2"));
    const told = [await heard.next("page"), await heard.next("page"), await heard.next("event")];
    assert.deepEqual(positions(told), ["p1", "p1", "p2"]);
    assert.deepEqual([heard.size, gone.size], [0, 0]);
  }));
}

test("to leave twice does nothing to who follows the same filter since", () => together(async (server, client) => {
  const { lockstep } = client;
  client.connects();
  const main = await server.connection();
  main.welcomes();
  await client.becomes("open");
  const follow = () => lockstep.subscribe("agent_states", { filter: { on: ["error_state"] } }, () => {});
  const gone = follow();
  gone.unsubscribe();
  const stays = follow();
  gone.unsubscribe();
  const own = await server.connection();
  own.welcomes();
  await own.admits();
  await stays.ready;
  const closed = new Queue<number>();
  void own.closed.then((code) => closed.push(code));
  lockstep.close();
  assert.equal(await closed.next("the end of its connection"), 1000);
}));
