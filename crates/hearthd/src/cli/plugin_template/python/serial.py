#!/usr/bin/env python3
"""my-lamp, a device of hearthd: a board at a serial port that takes and tells lines.

The board takes `power ON` and `power OFF`, answers `ok` or `error REASON`, and tells `temperature 21.5` by itself.
"""
import json
import os
import select
import sys
import termios
import time
import tty

board = None
waiting = []  # the requests that the board has not answered, oldest first: id, values and when it was told
PATIENCE = 3  # seconds


def say(**message):
    print(json.dumps(message), flush=True)


def open_port(port, speed):
    """Opens a serial port without echo and line editing. A port that is not there is an error."""
    number = os.open(port, os.O_RDWR | os.O_NOCTTY)
    tty.setraw(number)
    attributes = termios.tcgetattr(number)
    attributes[4] = attributes[5] = getattr(termios, f"B{speed}")
    termios.tcsetattr(number, termios.TCSANOW, attributes)
    return number


def from_hub(message):
    global board
    kind, number = message["type"], message.get("id")
    try:
        if kind == "hello":
            settings = message["settings"]
            board = open_port(settings["port"], settings.get("speed", 9600))
            say(type="answer", id=number)
        elif kind == "set":
            os.write(board, f"power {message['values']['power']}\n".encode())
            waiting.append((number, message["values"], time.monotonic()))
            say(type="timer", after=PATIENCE)
        elif kind == "timer":
            # Whoever waits for nothing would be taken for the one that the board answers next.
            while waiting and time.monotonic() - waiting[0][2] >= PATIENCE * 0.9:
                say(type="answer", id=waiting.pop(0)[0], status=503, reason="the board does not answer")
    except (KeyError, AttributeError) as error:
        say(type="answer", id=number, status=500, reason=f"settings: {error!r}")
    except (OSError, termios.error) as error:
        say(type="answer", id=number, status=503, reason=str(error))


def from_board(line):
    word, _, rest = line.partition(" ")
    if word == "temperature":
        say(type="state", values={"temperature": float(rest)})
    elif word in ("ok", "error") and waiting:
        number, values, _ = waiting.pop(0)
        if word == "ok":
            say(type="answer", id=number, values=values)
        else:
            say(type="answer", id=number, status=422, reason=rest)
    else:
        print(f"the board says: {line}", file=sys.stderr)


buffers = {0: b""}
while True:
    sources = [0] if board is None else [0, board]
    for source in select.select(sources, [], [])[0]:
        try:
            data = os.read(source, 4096)
        except OSError as error:
            sys.exit(f"the board is gone: {error}")
        if not data:
            # The hub has closed the pipe, or the board is unplugged; the hub starts the program again.
            sys.exit(0 if source == 0 else "the board is gone")
        *lines, buffers[source] = (buffers.get(source, b"") + data).split(b"\n")
        for line in lines:
            if source == 0:
                from_hub(json.loads(line))
            else:
                from_board(line.decode(errors="replace").strip())
