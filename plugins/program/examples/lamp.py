#!/usr/bin/env python3
"""A lamp with a dimmer, for hearthd."""
import json
import sys

lamp = {"power": "OFF", "level": 100}


def say(**message):
    print(json.dumps(message), flush=True)


for line in sys.stdin:
    message = json.loads(line)
    if message["type"] == "hello":
        lamp.update(message.get("saved") or {})
        say(type="answer", id=message["id"], values=lamp)
    elif message["type"] == "set":
        lamp.update(message["values"])  # set the real lamp here
        say(type="save", state=lamp)
        say(type="answer", id=message["id"])
