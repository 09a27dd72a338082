// Opens docs/examples/agent.html in a real browser, and says in lines of JSON what the page shows whenever that changes.
//
// LOCKSTEP_URL is Lockstep's address, BROWSER the browser's executable, PORT where the page is served: its origin. It ends when
// its input does.

import { createReadStream } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);
const example = fileURLToPath(new URL("../../../docs/examples/agent.html", import.meta.url));
const dist = fileURLToPath(new URL("../dist", import.meta.url));

const server = createServer((request, response) => {
  const path = normalize(new URL(request.url, "http://page").pathname);
  const client = /^\/client\/([\w./-]+\.js)$/.exec(path)?.[1];
  const file = path === "/agent.html" ? example : client && join(dist, client);
  // A browser asks for an icon by itself.
  if (!file) return response.writeHead(path === "/favicon.ico" ? 204 : 404).end();
  response.writeHead(200, { "content-type": client ? "text/javascript" : "text/html" });
  createReadStream(file).on("error", () => response.destroy()).pipe(response);
});
await new Promise((resolve) => server.listen(Number(process.env.PORT), "127.0.0.1", resolve));

const profile = await mkdtemp(join(tmpdir(), "lockstep-browser-"));
const flags = [
  "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update",
  "--disable-sync",
];
const browser = await chromium.launchPersistentContext(profile, { executablePath: process.env.BROWSER, headless: true, args: flags });
const page = await browser.newPage();
page.on("pageerror", (error) => say({ error: error.message }));
await page.exposeFunction("shown", (shown) => say({ shown }));
await page.addInitScript(() => {
  addEventListener("DOMContentLoaded", () => {
    const look = () => {
      const log = [...document.querySelectorAll("#log li")].map((line) => line.textContent.replace(/^\S+( [AP]M)? /, ""));
      window.shown({ state: document.querySelector("#state").value.trim(), status: document.querySelector("#status").value, log });
    };
    new MutationObserver(look).observe(document.body, { subtree: true, childList: true, attributes: true });
    look();
  });
});
await page.goto(`http://127.0.0.1:${process.env.PORT}/agent.html?lockstep=${encodeURIComponent(process.env.LOCKSTEP_URL)}`);

process.stdin.resume();
await new Promise((resolve) => process.stdin.on("end", resolve));
await browser.close();
server.close();
server.closeAllConnections();
await rm(profile, { recursive: true, force: true });
