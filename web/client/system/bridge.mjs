// The client in Node, driven by lines of JSON on its standard input, saying what it hears in lines of JSON on its standard
// output: so that a test in another language can let it meet a real Lockstep.
//
// LOCKSTEP_URL is the address. With LOCKSTEP_JWT_SECRET it shows tokens of its own making, each good for LOCKSTEP_JWT_S seconds, and
// LOCKSTEP_SHOW says how. It ends when its input does.

import { createHmac } from "node:crypto";
import { createInterface } from "node:readline";
import { WebSocket } from "ws";
import { Lockstep, StepTracker, createMonitoringClient, createWorkflowClient } from "@lockstep/client";

const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);
const { LOCKSTEP_URL: url, LOCKSTEP_KEY: key, LOCKSTEP_JWT_SECRET: secret, LOCKSTEP_JWT_S: seconds, LOCKSTEP_SHOW: show } = process.env;

let tokens = 0;
const getToken = () => {
  say({ tokens: ++tokens });
  const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const claims = { sub: "bridge", rooms: ["*"], publish: ["ci/build/*"], exp: Math.floor(Date.now() / 1_000) + Number(seconds) };
  const signed = `${part({ alg: "HS256", typ: "JWT" })}.${part(claims)}`;
  return `${signed}.${createHmac("sha256", secret).update(signed).digest("base64url")}`;
};

const lockstep = new Lockstep({ url, key, show, getToken: secret && getToken, webSocket: WebSocket, firstMs: 50, maxMs: 1_000 });
let opened = 0;
lockstep.on("state", (state) => {
  opened += state.state === "open" ? 1 : 0;
  say({ state });
});
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
  async workflows({ workflow }) {
    const workflows = createWorkflowClient(lockstep, { workflow });
    workflows.on("state", () => say({ workflows: workflows.states().map(({ execution, status }) => `${execution} ${status}`) }));
    await workflows.subscription.ready;
  },
  async connection() {
    say({ opened });
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
