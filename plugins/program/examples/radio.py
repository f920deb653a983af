#!/usr/bin/env python3
"""A bridge to lamps that it finds while it runs, for hearthd: the table has `adds = true`."""
import json
import sys

lamps = {}


def say(**message):
    print(json.dumps(message), flush=True)


def found(bridge, name):
    lamps[f"{bridge}-{name}"] = "OFF"
    say(
        type="add",
        name=name,
        kind="light",
        title=f"Lamp {name}",
        properties={"power": {"type": "switch"}},
        values={"power": "OFF"},
    )


for line in sys.stdin:
    message = json.loads(line)
    kind, device = message["type"], message["device"]
    if kind == "hello":
        # Those that the hub remembers: add them again, or remove them.
        for name in message["children"]:
            found(device, name)
        say(type="answer", id=message["id"])
    elif kind == "set" and device in lamps:
        lamps[device] = message["values"]["power"]  # tell the real lamp here
        say(type="answer", id=message["id"])
    elif kind == "set":
        # A real bridge hears of its lamps over the radio.
        for name in message["values"].get("find", "").split():
            found(device, name)
        for name in message["values"].get("lose", "").split():
            say(type="remove", name=name)
            lamps.pop(f"{device}-{name}", None)
        say(type="answer", id=message["id"])
