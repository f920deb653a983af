#!/usr/bin/env python3
"""Tests of my-lamp without a hub: lines in, lines out."""
import json
import pathlib
import subprocess
import sys
import unittest

PROGRAM = pathlib.Path(__file__).with_name("my-lamp.py")


def talk(*messages):
    """Returns what the program says to these messages of the hub."""
    lines = "".join(json.dumps(message) + "\n" for message in messages)
    command = [sys.executable, str(PROGRAM)]
    ended = subprocess.run(command, input=lines, capture_output=True, text=True, timeout=60, check=True)
    return [json.loads(line) for line in ended.stdout.splitlines()]


def hello(**more):
    return {"type": "hello", "id": 1, "protocol": 1, "device": "test", "settings": {}, "properties": {}, **more}


def turn(power):
    return {"type": "set", "id": 2, "device": "test", "values": {"power": power}, "within_ms": 5000}


class Lamp(unittest.TestCase):
    def test_it_is_switched_and_answers_once(self):
        said = talk(hello(), turn("ON"))
        self.assertIn({"type": "state", "values": {"power": "ON"}}, said)
        self.assertEqual([m["id"] for m in said if m["type"] == "answer"], [1, 2])

    def test_it_is_as_it_was_after_a_restart(self):
        saved = [m["state"] for m in talk(hello(), turn("ON")) if m["type"] == "save"][-1]
        said = talk(hello(saved=saved))
        self.assertIn({"type": "state", "values": {"power": "ON"}}, said)

    def test_it_switches_off_by_itself(self):
        said = talk(hello(settings={"off_after": 60}), turn("ON"), {"type": "timer", "device": "test", "name": ""})
        self.assertIn({"type": "timer", "after": 60}, said)
        self.assertEqual([m for m in said if m["type"] == "state"][-1]["values"], {"power": "OFF"})


if __name__ == "__main__":
    unittest.main()
