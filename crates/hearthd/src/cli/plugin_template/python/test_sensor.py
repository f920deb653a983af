#!/usr/bin/env python3
"""Tests of my-lamp without a hub: lines in, lines out."""
import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

PROGRAM = pathlib.Path(__file__).with_name("my-lamp.py")


def talk(settings, *messages):
    """Returns what the program says to these messages of the hub."""
    hello = {"type": "hello", "id": 1, "protocol": 1, "device": "test", "settings": settings, "properties": {}}
    lines = "".join(json.dumps(message) + "\n" for message in (hello, *messages))
    command = [sys.executable, str(PROGRAM)]
    ended = subprocess.run(command, input=lines, capture_output=True, text=True, timeout=60, check=True)
    return [json.loads(line) for line in ended.stdout.splitlines()]


class Sensor(unittest.TestCase):
    def test_it_tells_the_temperature_and_asks_for_the_next_time(self):
        with tempfile.NamedTemporaryFile("w") as source:
            source.write("21500\n")
            source.flush()
            said = talk({"file": source.name, "every": 10}, {"type": "timer", "device": "test", "name": ""})
        self.assertEqual([m["type"] for m in said], ["answer"] + 2 * ["state", "reachable", "timer"])
        self.assertEqual(said[1]["values"], {"temperature": 21.5})
        self.assertEqual(said[3]["after"], 10)

    def test_what_cannot_be_read_is_unreachable(self):
        said = talk({"file": "/there/is/none"})
        self.assertIn("No such file", [m["reason"] for m in said if m["type"] == "unreachable"][0])


if __name__ == "__main__":
    unittest.main()
