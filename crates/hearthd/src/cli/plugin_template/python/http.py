#!/usr/bin/env python3
"""my-lamp, a device of hearthd: a plug in the network with an HTTP interface.

It suits a plug that tells {"ison": true} at its URL, and is switched by ?turn=on and ?turn=off, as many do.
"""
import json
import sys
import urllib.request

url = None


def say(**message):
    print(json.dumps(message), flush=True)


def ask(query=""):
    """Asks the plug, and returns the states that it tells. No answer within three seconds is an error."""
    with urllib.request.urlopen(url + query, timeout=3) as reply:
        return {"power": "ON" if json.load(reply)["ison"] else "OFF"}


for line in sys.stdin:
    message = json.loads(line)
    kind = message["type"]
    if "id" not in message:
        continue
    try:
        if kind == "hello":
            url = message["settings"]["url"]
        values = ask("?turn=" + message["values"]["power"].lower() if kind == "set" else "")
        say(type="reachable")
        say(type="answer", id=message["id"], values=values)
    except KeyError as error:
        say(type="answer", id=message["id"], status=500, reason=f"{error} is missing")
    except (OSError, ValueError) as error:
        say(type="answer", id=message["id"], status=503, reason=str(error))
