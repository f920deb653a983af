// Opens pages as so many phones do, without a browser: each has a connection and a home of the page's own modules, and nothing is drawn.
//
// Arguments: the folder of the page, the address of hearth-web, the account and its password. Each line on standard input is a
// command, as a JSON array; what came of it is one line of JSON.

import { randomBytes } from "node:crypto";
import { createInterface } from "node:readline";
import WebSocket from "ws";

const [folder, address, username, password] = process.argv.slice(2);
const { Connection } = await import(`${folder}/connection.mjs`);
const { Home } = await import(`${folder}/home.mjs`);
const { Topics } = await import(`${folder}/topics.mjs`);

const pages = [];
let failures = 0;
/** What is waited for, and the pages for which it does not hold yet. */
let until = null;

function look(home) {
  if (!until?.waiting.has(home) || !until.holds(home)) return;
  until.waiting.delete(home);
  if (!until.waiting.size) until.resolve();
}

/** Waits until this has held for every page. */
function all(holds) {
  return new Promise((resolve) => {
    until = { holds, resolve, waiting: new Set(pages) };
    pages.forEach(look);
  });
}

/** Every phone has an address of its own, as in a home. */
function open() {
  const number = pages.length + 1;
  const localAddress = `127.0.${1 + (number >> 8)}.${number & 255}`;
  const home = new Home({
    topics: new Topics(),
    now: () => Date.now(),
    random: (length) => randomBytes(length),
    publish: (...message) => connection.publish(...message),
    changed: () => look(home),
    told: (ask) => { if (ask.state !== "done") failures += 1; },
  });
  const connection = new Connection({
    responseFilter: (prefix, id) => home.responseFilter(prefix, id),
    filters: (prefix) => home.filters(prefix),
    message: (packet) => home.message(packet),
    published: (key, code, reason) => home.published(key, code, reason),
    online: () => home.online(),
    offline: () => { failures += 1; home.offline(); },
    handed: () => {},
    refused: (code, reason) => { throw new Error(`refused: ${code} ${reason}`); },
  }, {
    open: () => new WebSocket(`ws://${address}/mqtt`, "mqtt", { origin: `http://${address}`, localAddress }),
    login: { username, password },
    clientId: () => `page-${number}`,
  });
  setInterval(() => home.tick(), 1000);
  pages.push(home);
}

const describes = (home, devices) => home.isOnline && home.devices.size === devices
  && [...home.devices.values()].every((device) => device.properties);
const power = (home, device) => home.devices.get(device)?.values.get("power");

/** Opens pages until there are so many, and waits until every one shows all devices, with their controls. */
async function grow([count, devices]) {
  const begin = performance.now();
  while (pages.length < count) open();
  await all((home) => describes(home, devices));
  return { shown: performance.now() - begin, failures };
}

/** One phone switches a light: how long it takes until the last phone knows. */
async function tap([device]) {
  const [home] = pages;
  const wish = power(home, device) === "ON" ? "OFF" : "ON";
  const begin = performance.now();
  home.want(device, "power", wish);
  await all((page) => power(page, device) === wish);
  return { known: performance.now() - begin, failures };
}

const COMMANDS = { grow, tap };
for await (const line of createInterface({ input: process.stdin })) {
  const [name, ...rest] = JSON.parse(line);
  console.log(JSON.stringify(await COMMANDS[name](rest)));
}
process.exit();
