"""Prints what Home Assistant's default integrations, those that are named, and all that they depend on require."""

import json
import pathlib
import sys

import homeassistant.components
from homeassistant.bootstrap import DEFAULT_INTEGRATIONS

folder = pathlib.Path(homeassistant.components.__path__[0])
waiting = [*sys.argv[1:], *DEFAULT_INTEGRATIONS]
seen, required = set(), set()
while waiting:
    name = waiting.pop()
    manifest = folder / name / "manifest.json"
    if name in seen or not manifest.exists():
        continue
    seen.add(name)
    about = json.loads(manifest.read_text())
    required.update(about.get("requirements", []))
    waiting += about.get("dependencies", [])
print("\n".join(sorted(required)))
