// Uses the GitHub sandbox through the real @octokit/rest: pages, writes, merges, and verifies a webhook as a product would.
//
// GITHUB_API_URL is the sandbox's address (with its demo data), GITHUB_TOKEN and GITHUB_WEBHOOK_SECRET are its credentials.
// Ends with 0 if everything was as the library expects it, else with 1 and the step that was not.

import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { Octokit } from "@octokit/rest";
import { verify } from "@octokit/webhooks-methods";

const baseUrl = required("GITHUB_API_URL").replace(/\/$/, "");
const secret = required("GITHUB_WEBHOOK_SECRET");
const octokit = new Octokit({ baseUrl, auth: required("GITHUB_TOKEN"), userAgent: "lockstep-tests" });
const repo = { owner: "acme", repo: "web" };
const examples = createRequire(import.meta.url)("@octokit/webhooks-examples/api.github.com/index.json");

const WAIT_MS = 10_000;

const receiver = await listen();
await fetch(`${baseUrl}/sandbox/webhooks`, {
  method: "PUT",
  headers: { "content-type": "application/json" },
  body: JSON.stringify({ url: receiver.url }),
});

await step("the issues of every page are found, pull requests among them", async () => {
  const all = await octokit.paginate(octokit.rest.issues.listForRepo, { ...repo, state: "all", per_page: 2 });
  assert.ok(all.length >= 6, `${all.length} found`);
  assert.equal(new Set(all.map((issue) => issue.number)).size, all.length);
  assert.ok(all.some((issue) => issue.pull_request) && all.some((issue) => !issue.pull_request));
});

const issue = await step("an issue is created, changed and commented", async () => {
  const { data, status } = await octokit.rest.issues.create({ ...repo, title: "From octokit", body: "ENG-5", labels: ["bug"] });
  assert.equal(status, 201);
  const issue_number = data.number;
  await octokit.rest.issues.update({ ...repo, issue_number, title: "From the real client" });
  await octokit.rest.issues.createComment({ ...repo, issue_number, body: "A comment" });
  assert.equal((await octokit.rest.issues.listComments({ ...repo, issue_number })).data[0].body, "A comment");
  await octokit.rest.issues.addLabels({ ...repo, issue_number, labels: ["in progress"] });
  await octokit.rest.issues.removeLabel({ ...repo, issue_number, name: "in progress" });
  assert.deepEqual((await octokit.rest.issues.listLabelsOnIssue({ ...repo, issue_number })).data.map((label) => label.name), ["bug"]);
  return { ...repo, issue_number };
});

await step("an issue is closed with a reason and opened again", async () => {
  const closed = (await octokit.rest.issues.update({ ...issue, state: "closed", state_reason: "not_planned" })).data;
  assert.deepEqual([closed.state, closed.state_reason], ["closed", "not_planned"]);
  await octokit.rest.issues.update({ ...issue, state: "open" });
  const open = (await octokit.rest.issues.get(issue)).data;
  assert.deepEqual([open.state, open.state_reason, open.closed_at], ["open", "reopened", null]);
});

const pull = await step("a draft is opened, made ready through GraphQL, and read", async () => {
  const head = `eng-5-octokit-${Date.now()}`;
  const made = (await octokit.rest.pulls.create({ ...repo, title: "ENG-5: by octokit", head, base: "main", draft: true })).data;
  assert.equal(made.draft, true);
  const ready = `mutation($id: ID!) { markPullRequestReadyForReview(input: {pullRequestId: $id}) { pullRequest { isDraft } } }`;
  const turned = await octokit.graphql(ready, { id: made.node_id });
  assert.equal(turned.markPullRequestReadyForReview.pullRequest.isDraft, false);
  const { data } = await octokit.rest.pulls.get({ ...repo, pull_number: made.number });
  assert.deepEqual([data.draft, data.merged, data.head.ref], [false, false, head]);
  return data;
});

await step("a commit status is posted on the head and adds up", async () => {
  const status = { ...repo, sha: pull.head.sha, state: "success", context: "lockstep", description: "In Review" };
  await octokit.rest.repos.createCommitStatus(status);
  const combined = (await octokit.rest.repos.getCombinedStatusForRef({ ...repo, ref: pull.head.sha })).data;
  assert.deepEqual([combined.state, combined.statuses[0].context], ["success", "lockstep"]);
});

await step("a pull request is reviewed and merged, and is merged from then on", async () => {
  const pull_number = pull.number;
  await octokit.rest.pulls.createReview({ ...repo, pull_number, event: "COMMENT", body: "Read." });
  assert.equal((await octokit.rest.pulls.listReviews({ ...repo, pull_number })).data[0].state, "COMMENTED");
  assert.equal((await octokit.rest.pulls.merge({ ...repo, pull_number, sha: pull.head.sha })).data.merged, true);
  const { data } = await octokit.rest.pulls.get({ ...repo, pull_number });
  assert.deepEqual([data.state, data.merged], ["closed", true]);
  assert.equal((await octokit.rest.pulls.checkIfMerged({ ...repo, pull_number })).status, 204);
});

await step("an unchanged issue is 304", async () => {
  const { headers } = await octokit.rest.issues.get(issue);
  const again = octokit.rest.issues.get({ ...issue, headers: { "if-none-match": headers.etag } });
  await assert.rejects(again, (error) => error.status === 304);
  assert.ok((await octokit.rest.rateLimit.get()).data.resources.core.remaining > 0);
});

await step("errors are the library's own", async () => {
  await assert.rejects(octokit.rest.issues.get({ ...repo, issue_number: 99_999 }), (error) => error.status === 404 && /Not Found/.test(error.message));
  await assert.rejects(octokit.rest.issues.create({ ...repo, title: "" }), (error) => error.status === 422);
  const stranger = new Octokit({ baseUrl, auth: "wrong" });
  await assert.rejects(stranger.rest.issues.get(issue), (error) => error.status === 401 && /Bad credentials/.test(error.message));
});

const expected = [
  ["issues", "opened"],
  ["issues", "edited"],
  ["issue_comment", "created"],
  ["issues", "labeled"],
  ["issues", "closed"],
  ["issues", "reopened"],
  ["pull_request", "opened"],
  ["pull_request", "ready_for_review"],
  ["pull_request_review", "submitted"],
  ["pull_request", "closed"],
  ["status", undefined],
];

for (const [event, action] of expected) {
  await step(`the webhook ${event} ${action ?? ""} is genuine and shaped as the published one`, async () => {
    const hook = await receiver.next((one) => one.event === event && one.payload.action === action);
    assert.equal(await verify(secret, hook.raw, hook.signature), true);
    assert.equal(await verify(secret, `${hook.raw} `, hook.signature), false, "a changed body must not verify");
    assert.match(hook.delivery, /^[0-9a-f-]{36}$/);
    const published = examples.find((one) => one.name === event).examples;
    const alike = published.filter((one) => one.action === action);
    // Only an App's hook names its installation, and only an organization's repository its organization.
    const optional = ["/installation is missing", "/organization is missing"];
    const gaps = missing(hook.payload, alike.length > 0 ? alike : published).filter((gap) => !optional.includes(gap));
    assert.deepEqual(gaps, [], `not as in @octokit/webhooks-examples: ${gaps.join(", ")}`);
  });
}

await step("the deliveries are listed and one is sent again under its id", async () => {
  const { data } = await octokit.rest.repos.listWebhookDeliveries({ ...repo, hook_id: 1, per_page: 5 });
  assert.ok(data.length > 0 && data.every((one) => one.status === "OK"));
  const target = { ...repo, hook_id: 1, delivery_id: data[0].id };
  assert.equal((await octokit.rest.repos.getWebhookDelivery(target)).data.guid, data[0].guid);
  await octokit.rest.repos.redeliverWebhookDelivery(target);
  await receiver.next((_, all) => all.filter((one) => one.delivery === data[0].guid).length === 2);
});

receiver.close();
console.log("octokit and the GitHub sandbox understand each other");

function required(name) {
  const value = process.env[name];
  if (!value) {
    console.error(`${name} must be set`);
    process.exit(1);
  }
  return value;
}

async function step(what, run) {
  try {
    return await run();
  } catch (error) {
    console.error(`failed: ${what}\n${error.stack ?? error}`);
    process.exit(1);
  }
}

// The paths that every published example of the event has, and ours has not, or has as another kind of value.
function missing(ours, published, path = "") {
  const kind = (value) => (Array.isArray(value) ? "array" : value === null ? "null" : typeof value);
  if (published.some((one) => one === null)) return [];
  if (kind(ours) === "null") return [];
  if (published.some((one) => kind(one) !== kind(ours))) {
    return new Set(published.map(kind)).size === 1 ? [`${path} is ${kind(ours)}`] : [];
  }
  if (kind(ours) !== "object") return [];
  const shared = Object.keys(published[0]).filter((key) => published.every((one) => key in one));
  return shared.flatMap((key) =>
    key in ours ? missing(ours[key], published.map((one) => one[key]), `${path}/${key}`) : [`${path}/${key} is missing`],
  );
}

// A webhook receiver on a port of its own.
async function listen() {
  const received = [];
  const waiting = new Set();
  const server = createServer(async (request, response) => {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    const raw = Buffer.concat(chunks).toString("utf8");
    received.push({
      raw,
      payload: JSON.parse(raw),
      event: request.headers["x-github-event"],
      delivery: request.headers["x-github-delivery"],
      signature: request.headers["x-hub-signature-256"],
    });
    response.writeHead(204).end();
    for (const look of waiting) look();
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    url: `http://127.0.0.1:${server.address().port}/webhooks/github`,
    close: () => server.close(),
    next: (wanted) =>
      new Promise((resolve, reject) => {
        const deadline = setTimeout(() => reject(new Error(`no such webhook within ${WAIT_MS} ms`)), WAIT_MS);
        const look = () => {
          const found = received.find((one) => wanted(one, received));
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
