#!/usr/bin/env python3
"""Several lamps behind one gateway, for hearthd: one program for all devices with `shared = true`."""
import json
import sys

lamps = {}


def say(**message):
    print(json.dumps(message), flush=True)


def answer(message, **more):
    say(type="answer", id=message["id"], **more)


for line in sys.stdin:
    message = json.loads(line)
    kind, device = message["type"], message["device"]
    if kind == "hello":
        channel = message["settings"].get("channel")
        if channel not in range(1, 9):
            # The hub asks again after a while; meanwhile the device is unreachable, and this is the reason.
            answer(message, status=503, reason=f"the gateway has no channel {channel}")
            continue
        lamps[device] = {"channel": channel, "power": "OFF"}
        answer(message, values={"power": "OFF"}, properties={"power": {"type": "switch"}})
    elif kind == "set":
        lamps[device]["power"] = message["values"]["power"]  # tell the real gateway here
        answer(message)
    elif kind == "get":
        answer(message, values={"power": lamps[device]["power"]})
    elif kind == "stop":
        lamps.pop(device, None)
