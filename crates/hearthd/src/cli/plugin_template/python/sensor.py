#!/usr/bin/env python3
"""my-lamp, a device of hearthd: a number that the system has in a file, such as a thermometer of Linux."""
import json
import sys

settings = {}


def say(**message):
    print(json.dumps(message), flush=True)


def read():
    """Tells the temperature, or why it cannot be read; the hub's timer asks again."""
    try:
        with open(settings["file"], encoding="ascii") as source:
            say(type="state", values={"temperature": int(source.read()) / 1000})
        say(type="reachable")
    except (OSError, ValueError) as error:
        say(type="unreachable", reason=str(error))
    say(type="timer", after=settings.get("every", 30))


for line in sys.stdin:
    message = json.loads(line)
    if message["type"] == "hello":
        settings = message["settings"]
        if "file" not in settings:
            say(type="answer", id=message["id"], status=500, reason="settings: `file` is missing")
            continue
        say(type="answer", id=message["id"])
        read()
    elif message["type"] == "timer":
        read()
    elif "id" in message:
        say(type="answer", id=message["id"], status=422, reason="nothing can be set")
