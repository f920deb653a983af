#!/usr/bin/env python3
"""Tests of my-lamp without a hub: a plug that is a web server, lines in, lines out."""
import http.server
import json
import pathlib
import subprocess
import sys
import threading
import unittest

PROGRAM = pathlib.Path(__file__).with_name("my-lamp.py")


class Plug(http.server.BaseHTTPRequestHandler):
    on = False

    def do_GET(self):
        if "turn=" in self.path:
            Plug.on = self.path.endswith("turn=on")
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({"ison": Plug.on}).encode())

    def log_message(self, *_):
        pass


def talk(url, *messages):
    """Returns what the program answers to these messages of the hub."""
    hello = {"type": "hello", "id": 1, "protocol": 1, "device": "test", "settings": {"url": url}, "properties": {}}
    lines = "".join(json.dumps(message) + "\n" for message in (hello, *messages))
    command = [sys.executable, str(PROGRAM)]
    ended = subprocess.run(command, input=lines, capture_output=True, text=True, timeout=60, check=True)
    said = [json.loads(line) for line in ended.stdout.splitlines()]
    return [message for message in said if message["type"] == "answer"]


class Http(unittest.TestCase):
    def test_it_switches_the_plug_and_tells_what_the_plug_tells(self):
        server = http.server.HTTPServer(("127.0.0.1", 0), Plug)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        turn = {"type": "set", "id": 2, "device": "test", "values": {"power": "ON"}, "within_ms": 5000}
        poll = {"type": "get", "id": 3, "device": "test", "within_ms": 5000}
        answers = talk(f"http://127.0.0.1:{server.server_port}/relay/0", turn, poll)
        self.assertEqual([a["values"]["power"] for a in answers], ["OFF", "ON", "ON"])
        self.assertTrue(Plug.on)

    def test_a_plug_that_is_not_there_is_unreachable(self):
        answers = talk("http://127.0.0.1:1/relay/0")
        self.assertEqual([a["status"] for a in answers], [503])
        self.assertIn("refused", answers[0]["reason"])


if __name__ == "__main__":
    unittest.main()
