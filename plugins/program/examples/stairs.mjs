#!/usr/bin/env node
// A light on the stairs with a button, for hearthd: it switches itself off.
import { createInterface } from "node:readline";

const say = (message) => process.stdout.write(JSON.stringify(message) + "\n");
let seconds = 180;
let off;

function light(power) {
  // Switch the real light here.
  clearTimeout(off);
  if (power === "ON") {
    off = setTimeout(() => {
      light("OFF");
      say({ type: "event", property: "ended", kind: "timeout" });
    }, seconds * 1000);
  }
  say({ type: "state", values: { power } });
}

for await (const line of createInterface({ input: process.stdin })) {
  const { type, id, settings, values } = JSON.parse(line);
  if (type === "hello") {
    seconds = settings.seconds ?? seconds;
    light("OFF");
    say({ type: "answer", id });
  } else if (type === "set") {
    light(values.power);
    say({ type: "answer", id });
  }
}
clearTimeout(off);
