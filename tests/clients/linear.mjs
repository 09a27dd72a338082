// Uses the Linear sandbox through the real @linear/sdk: reads, writes, pages, fails, and verifies a webhook as a product would.
//
// LINEAR_URL is the sandbox's address; LINEAR_API_KEY, LINEAR_OAUTH_TOKEN and LINEAR_WEBHOOK_SECRET are its credentials.
// Ends with 0 if everything was as the SDK expects it, else with 1 and the step that was not.

import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import { InvalidInputLinearError, AuthenticationLinearError, LinearClient, PaginationOrderBy, RatelimitedLinearError } from "@linear/sdk";
import { LinearWebhookClient } from "@linear/sdk/webhooks";

const url = required("LINEAR_URL").replace(/\/$/, "");
const apiUrl = `${url}/graphql`;
const secret = required("LINEAR_WEBHOOK_SECRET");
const person = new LinearClient({ apiUrl, apiKey: required("LINEAR_API_KEY") });
const app = new LinearClient({ apiUrl, accessToken: required("LINEAR_OAUTH_TOKEN") });

const WAIT_MS = 10_000;

await step("the viewer is the person behind the key, or the application behind the token", async () => {
  const ada = await person.viewer;
  assert.equal(ada.isMe, true);
  assert.equal(ada.app, false);
  assert.equal((await app.viewer).app, true);
  assert.ok((await person.organization).urlKey);
});

const team = await step("teams are listed and found by key", async () => {
  const keys = (await person.teams()).nodes.map((team) => team.key);
  assert.deepEqual(keys.sort(), ["ENG", "OPS"]);
  const found = await person.teams({ filter: { key: { eq: "ENG" } } });
  assert.equal(found.nodes.length, 1);
  assert.equal((await person.team(found.nodes[0].id)).name, found.nodes[0].name);
  return found.nodes[0];
});

const states = await step("a team's states have names, types and positions", async () => {
  const states = (await team.states()).nodes;
  const byPosition = [...states].sort((one, other) => one.position - other.position);
  assert.deepEqual(byPosition.map((state) => state.type), [
    "triage", "backlog", "unstarted", "started", "started", "completed", "canceled", "duplicate",
  ]);
  const listed = await person.workflowStates({ filter: { team: { key: { eq: "OPS" } } } });
  assert.equal(listed.nodes.length, 6);
  assert.equal((await person.workflowState(states[0].id)).id, states[0].id);
  return new Map(states.map((state) => [state.name, state]));
});

await step("issues are paged, each once", async () => {
  let page = await person.issues({ first: 2, filter: { team: { key: { eq: "ENG" } } }, orderBy: PaginationOrderBy.CreatedAt });
  const all = (await person.issues({ first: 100, filter: { team: { key: { eq: "ENG" } } } })).nodes.length;
  assert.equal(page.nodes.length, 2);
  assert.equal(page.pageInfo.hasNextPage, true);
  while (page.pageInfo.hasNextPage) page = await page.fetchNext();
  const seen = page.nodes.map((issue) => issue.identifier);
  assert.equal(new Set(seen).size, seen.length);
  assert.equal(seen.length, all);
  assert.ok(seen.includes("ENG-1") && seen.includes("ENG-6"));
});

const issue = await step("an issue is read by identifier, with its state, team and creator", async () => {
  const issue = await person.issue("ENG-1");
  assert.equal(issue.identifier, "ENG-1");
  assert.equal((await issue.team).key, "ENG");
  assert.equal((await issue.state).type, "unstarted");
  assert.equal((await issue.creator).isMe, true);
  assert.ok(issue.createdAt instanceof Date && issue.branchName.startsWith("eng-1-"));
  assert.equal((await issue.labels()).nodes.length, 0);
  return issue;
});

const hooks = await listen();
await put("/sandbox/webhooks", { url: hooks.url });

await step("moving an issue sets its times, and the change is seen by a filter on updatedAt", async () => {
  const before = issue.updatedAt;
  const moved = await app.updateIssue(issue.id, { stateId: states.get("In Progress").id });
  assert.equal(moved.success, true);
  const again = await person.issue(issue.id);
  assert.equal((await again.state).name, "In Progress");
  assert.ok(again.updatedAt > before && again.startedAt);
  const changed = await person.issues({ filter: { updatedAt: { gt: before } }, orderBy: PaginationOrderBy.UpdatedAt });
  assert.ok(changed.nodes.some((found) => found.id === issue.id));
  const history = await again.history();
  assert.equal(history.nodes[0].toStateId, states.get("In Progress").id);
});

await step("the webhook of the move passes the SDK's verifier, and says who did what", async () => {
  const { payload } = await hooks.next((payload) => payload.type === "Issue" && payload.action === "update");
  assert.equal(payload.data.identifier, "ENG-1");
  assert.equal(payload.data.state.name, "In Progress");
  assert.equal(payload.actor.type, "oauthClient");
  assert.equal(payload.updatedFrom.stateId, states.get("Todo").id);
  assert.ok(!("title" in payload.updatedFrom));
});

await step("a forged webhook is refused by the same verifier", async () => {
  const { raw, signature } = hooks.last();
  const verifier = new LinearWebhookClient(secret);
  assert.throws(() => verifier.verify(Buffer.concat([raw, Buffer.from(" ")]), signature));
});

await step("setting the same state again moves nothing", async () => {
  const before = await person.issue("ENG-1");
  await app.updateIssue("ENG-1", { stateId: states.get("In Progress").id });
  assert.equal((await person.issue("ENG-1")).updatedAt.getTime(), before.updatedAt.getTime());
});

await step("a comment is created, and listed on its issue", async () => {
  const { comment, success } = await app.createComment({ issueId: issue.id, body: "On it." });
  assert.equal(success, true);
  const created = await comment;
  assert.equal(created.body, "On it.");
  assert.ok((await (await person.issue("ENG-1")).comments()).nodes.some((listed) => listed.id === created.id));
  await hooks.next((payload) => payload.type === "Comment" && payload.data.id === created.id);
});

await step("issues are created with the client's own id, once", async () => {
  const id = crypto.randomUUID();
  const first = await (await app.createIssue({ id, teamId: team.id, title: "Made by the SDK" })).issue;
  const second = await (await app.createIssue({ id, teamId: team.id, title: "Made by the SDK" })).issue;
  assert.equal(first.id, id);
  assert.equal(second.identifier, first.identifier);
  const batch = await app.updateIssueBatch([id, issue.id], { stateId: states.get("Done").id });
  assert.equal(batch.success, true);
  assert.ok((await person.issue(id)).completedAt);
});

await step("webhooks are created, listed and deleted", async () => {
  const created = await (await person.createWebhook({ url: hooks.url, resourceTypes: ["Issue"], secret: "other", enabled: false })).webhook;
  assert.ok((await person.webhooks()).nodes.some((listed) => listed.id === created.id));
  assert.equal((await person.deleteWebhook(created.id)).success, true);
  assert.ok(!(await person.webhooks()).nodes.some((listed) => listed.id === created.id));
});

await step("users, labels and limits are read", async () => {
  assert.equal((await person.users()).nodes.length, 2);
  assert.ok((await person.issueLabels()).nodes.some((label) => label.name === "Bug"));
  assert.ok((await person.rateLimitStatus).limits.some((limit) => limit.type === "requests"));
});

await step("errors come as the SDK's own kinds", async () => {
  await assert.rejects(person.issue("ENG-9999"), InvalidInputLinearError);
  const stranger = new LinearClient({ apiUrl, apiKey: "lin_api_wrong" });
  await assert.rejects(stranger.viewer, AuthenticationLinearError);
  await put("/sandbox/faults", { limit: 1 });
  try {
    await assert.rejects(person.issue("ENG-1"), (error) => {
      assert.ok(error instanceof RatelimitedLinearError);
      assert.equal(error.status, 400);
      assert.equal(error.requestsRemaining, 0);
      assert.ok(error.requestsResetAt > Date.now() - 1_000 && error.retryAfter >= 1);
      return true;
    });
  } finally {
    await put("/sandbox/faults", {});
  }
});

hooks.close();
console.log("the real SDK reads and changes the Linear sandbox");

async function step(name, run) {
  try {
    const result = await run();
    console.log(`ok   ${name}`);
    return result;
  } catch (error) {
    console.error(`FAIL ${name}\n${error?.stack ?? error}`);
    process.exit(1);
  }
}

function required(name) {
  const value = process.env[name];
  if (!value) {
    console.error(`FAIL set ${name}`);
    process.exit(1);
  }
  return value;
}

async function put(path, body) {
  const response = await fetch(url + path, {
    method: "PUT",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  });
  assert.ok(response.ok, `PUT ${path} answered ${response.status}`);
}

/** A webhook receiver whose every delivery goes through the SDK's verifier; a delivery that fails it ends the script. */
async function listen() {
  const verifier = new LinearWebhookClient(secret);
  const received = [];
  const waiting = new Set();
  const server = createServer(async (request, response) => {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    const raw = Buffer.concat(chunks);
    const signature = request.headers["linear-signature"];
    const payload = await step(`delivery ${request.headers["linear-delivery"]} is genuine`, () => verifier.parseData(raw, signature));
    assert.equal(request.headers["linear-event"], payload.type);
    response.writeHead(200).end();
    received.push({ raw, signature, payload });
    for (const look of waiting) look();
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    url: `http://127.0.0.1:${server.address().port}/webhooks/linear`,
    last: () => received.at(-1),
    close: () => server.close(),
    next: (wanted) =>
      new Promise((resolve, reject) => {
        const deadline = setTimeout(() => reject(new Error(`no such webhook within ${WAIT_MS} ms`)), WAIT_MS);
        const look = () => {
          const found = received.find(({ payload }) => wanted(payload));
          if (!found) return;
          clearTimeout(deadline);
          waiting.delete(look);
          resolve(found);
        };
        waiting.add(look);
        look();
      }),
  };
}
