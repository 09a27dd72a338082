// The client in Node, driven by lines of JSON on its standard input, saying what it hears in lines of JSON on its standard
// output: so that a test in another language can let it meet a real Lockstep.
//
// LOCKSTEP_URL is the address. It ends when its input does.

import { createInterface } from "node:readline";
import { WebSocket } from "ws";
import { Lockstep, StepTracker, createMonitoringClient } from "@lockstep/client";

const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);
const lockstep = new Lockstep({ url: process.env.LOCKSTEP_URL, key: process.env.LOCKSTEP_KEY, webSocket: WebSocket, firstMs: 50, maxMs: 1_000 });
lockstep.on("state", (state) => say({ state }));
lockstep.on("error", ({ code, message }) => say({ error: { code, message } }));

const commands = {
  async subscribe({ rooms, options }) {
    await lockstep.subscribe(rooms, options, (message) => say({ message })).ready;
  },
  async update({ statuses, timeoutMs }) {
    const update = await lockstep.updateStatus(statuses);
    say({ accepted: update.accepted, refused: update.refused.map(({ record, error }) => ({ record, code: error.code })) });
    if (timeoutMs !== undefined) say({ propagated: await update.propagated({ timeoutMs }) });
  },
  async publish({ messages }) {
    messages.forEach((message) => lockstep.publish(message));
    return lockstep.flush();
  },
  async track({ operation, agent }) {
    const tracker = new StepTracker(operation, { client: lockstep, agent, total: 2 });
    await tracker.run("one", "the first", () => {});
    await tracker.run("two", "the second", () => Promise.reject(new Error("broken"))).catch(() => {});
    return { ...(await lockstep.flush()), summary: tracker.summary() };
  },
  async monitor() {
    const monitoring = createMonitoringClient(lockstep);
    monitoring.on("alert", (alert) => say({ alert }));
    await monitoring.subscription.ready;
  },
  async acknowledge({ alert }) {
    await lockstep.acknowledge(alert);
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line);
  // Not waited for: several can be under way.
  commands[command.do](command).then(
    (result) => say({ done: command.do, result }),
    ({ code, message }) => say({ failed: command.do, code, message }),
  );
}
lockstep.close();
