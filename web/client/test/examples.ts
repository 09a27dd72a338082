/** The examples of the README, so that they are checked: `readme.test` tells when they differ. */

import { Lockstep } from "@lockstep/client";

const lockstep = new Lockstep({ url: "https://lockstep.example.com", key: process.env.LOCKSTEP_KEY });
lockstep.agent("agent-1", (message) => console.log(message.type, message));

const update = await lockstep.updateStatus({ record: "ci/build/1234", status: "done", mentions: ["ENG-1"] });
const { complete, statuses } = await update.propagated({ timeoutMs: 10_000 });
if (!complete) console.log(statuses);

declare const bar: (progress: number) => void;
declare const fetchOrders: () => Promise<string[]>;
declare const summarise: (rows: readonly string[]) => Promise<string>;

import { StepTracker, describe } from "@lockstep/client";

const tracker = new StepTracker("nightly", { client: lockstep, steps: ["fetch", "report"], onProgress: (progress) => bar(progress) });
const rows = await tracker.run("fetch", "Fetch the orders", () => fetchOrders());
await tracker.run("report", describe.modelCall("the summariser"), () => summarise(rows));
console.log(tracker.summary());
