#!/usr/bin/env python3
"""my-lamp, a device of hearthd."""
import json
import sys

lamp = {"power": "OFF"}
off_after = None  # seconds


def say(**message):
    print(json.dumps(message), flush=True)


def switch(power):
    # Switch the real lamp here. Whatever cannot be done: raise, and the requester gets the reason.
    lamp["power"] = power
    say(type="save", state=lamp)  # the hub stores it before it answers, and `hello` brings it after a restart
    say(type="state", values=lamp)
    if off_after is not None:
        say(type="timer", after=off_after if power == "ON" else None)


for line in sys.stdin:
    message = json.loads(line)
    kind = message["type"]
    try:
        if kind == "hello":
            off_after = message["settings"].get("off_after")
            switch(message.get("saved", lamp)["power"])
        elif kind == "set":
            switch(message["values"]["power"])
        elif kind == "timer":
            switch("OFF")
        if "id" in message:
            say(type="answer", id=message["id"])
    except Exception as error:
        print(f"{kind}: {error!r}", file=sys.stderr)
        if "id" in message:
            say(type="answer", id=message["id"], status=500, reason=str(error))
