#!/usr/bin/env python3
"""Tests of my-lamp without a hub: a board that is a pseudo terminal, lines in, lines out."""
import json
import os
import pathlib
import subprocess
import sys
import time
import unittest

PROGRAM = pathlib.Path(__file__).with_name("my-lamp.py")


class Serial(unittest.TestCase):
    def start(self, port):
        command = [sys.executable, str(PROGRAM)]
        self.program = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.addCleanup(self.program.stdout.close)
        self.addCleanup(self.program.wait, 60)
        self.addCleanup(self.program.stdin.close)
        self.say(type="hello", id=1, protocol=1, device="test", settings={"port": port}, properties={})

    def say(self, **message):
        self.program.stdin.write(json.dumps(message) + "\n")
        self.program.stdin.flush()

    def said(self):
        return json.loads(self.program.stdout.readline())

    def test_the_board_switches_and_tells(self):
        board, port = os.openpty()
        self.addCleanup(os.close, board)
        self.start(os.ttyname(port))
        self.assertEqual(self.said(), {"type": "answer", "id": 1})
        os.close(port)
        self.say(type="set", id=2, device="test", values={"power": "ON"}, within_ms=5000)
        self.assertEqual(os.read(board, 100), b"power ON\n")
        self.assertEqual(self.said(), {"type": "timer", "after": 3})
        os.write(board, b"temperature 21.5\nok\n")
        self.assertEqual(self.said(), {"type": "state", "values": {"temperature": 21.5}})
        self.assertEqual(self.said(), {"type": "answer", "id": 2, "values": {"power": "ON"}})
        self.say(type="set", id=3, device="test", values={"power": "OFF"}, within_ms=5000)
        self.assertEqual(os.read(board, 100), b"power OFF\n")
        self.assertEqual(self.said(), {"type": "timer", "after": 3})
        os.write(board, b"error too hot\n")
        self.assertEqual(self.said(), {"type": "answer", "id": 3, "status": 422, "reason": "too hot"})

    def test_a_board_that_does_not_answer_is_waited_for_three_seconds(self):
        board, port = os.openpty()
        self.addCleanup(os.close, board)
        self.start(os.ttyname(port))
        self.assertEqual(self.said()["type"], "answer")
        os.close(port)
        self.say(type="set", id=2, device="test", values={"power": "ON"}, within_ms=5000)
        after = self.said()["after"]
        time.sleep(after)
        self.say(type="timer", device="test", name="")
        reason = "the board does not answer"
        self.assertEqual(self.said(), {"type": "answer", "id": 2, "status": 503, "reason": reason})

    def test_a_board_that_is_not_there_is_unreachable(self):
        self.start("/dev/there-is-none")
        self.assertEqual(self.said()["status"], 503)


if __name__ == "__main__":
    unittest.main()
