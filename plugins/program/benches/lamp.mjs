// A lamp, as `lamp.py` is, to be measured beside it.
import { createInterface } from "node:readline";

const say = (message) => process.stdout.write(JSON.stringify(message) + "\n");
const lamp = { power: "OFF", level: 100 };

for await (const line of createInterface({ input: process.stdin })) {
  const message = JSON.parse(line);
  if (message.type === "hello") {
    Object.assign(lamp, message.saved);
    say({ type: "answer", id: message.id, values: lamp });
  } else if (message.type === "set") {
    Object.assign(lamp, message.values);
    say({ type: "save", state: lamp });
    say({ type: "answer", id: message.id });
  }
}
