/** What the documentation shows is what was tested. */

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";

const root = new URL("../../../../", import.meta.url);

test("the page in the README is the example that is tested in a browser", async () => {
  const [readme, page] = await Promise.all(["README.md", "docs/examples/agent.html"].map((file) => readFile(new URL(file, root), "utf8")));
  assert.ok(readme?.includes(`\`\`\`html\n${page}\`\`\`\n`), "README.md does not show docs/examples/agent.html as it is");
  assert.ok((page?.split("\n").length ?? 0) <= 21, "it has more than twenty lines");
});

test("both clients show the same table of words", async () => {
  const files = ["web/client/README.md", "crates/client/README.md"];
  const [ours, theirs] = (await Promise.all(files.map((file) => readFile(new URL(file, root), "utf8")))).map(words);
  assert.ok(ours !== undefined && ours.includes("`updateStatus(statuses)`"));
  assert.equal(ours, theirs);
});

test("the examples in the client's README are those that are checked", async () => {
  const [readme, checked] = await Promise.all(
    ["web/client/README.md", "web/client/test/examples.ts"].map((file) => readFile(new URL(file, root), "utf8")),
  );
  const examples = [...(readme ?? "").matchAll(/\n```ts\n(.*?)```\n/gs)].map(([, example]) => example ?? "");
  assert.equal(examples.length, 2);
  for (const example of examples) assert.ok(checked?.includes(example), example);
});

function words(readme: string): string | undefined {
  return /\n## Words\n(.*?)\n## /s.exec(readme)?.[1];
}
