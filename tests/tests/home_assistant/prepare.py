"""Writes a configuration with which Home Assistant starts as if a person had set it up, with one MQTT broker.

usage: prepare.py FOLDER PORT PROTOCOL USER PASSWORD; prints a token for its API. Without a user the broker wants none.
"""

import base64
import hashlib
import hmac
import json
import pathlib
import secrets
import sys
import time

folder, port, protocol = pathlib.Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
user, password = sys.argv[4], sys.argv[5]
storage = folder / ".storage"
storage.mkdir(parents=True)
now = "2026-01-01T00:00:00.000000+00:00"
owner, token, key = secrets.token_hex(16), secrets.token_hex(16), secrets.token_hex(64)


def store(name, version, minor, data):
    content = {"version": version, "minor_version": minor, "key": name, "data": data}
    (storage / name).write_text(json.dumps(content))


store("onboarding", 4, 1, {"done": ["user", "core_config", "analytics", "integration"]})
groups = {"system-admin": "Administrators", "system-users": "Users", "system-read-only": "Read Only"}
store("auth", 1, 1, {
    "users": [{
        "id": owner, "group_ids": ["system-admin"], "is_owner": True, "is_active": True, "name": "test",
        "system_generated": False, "local_only": False,
    }],
    "groups": [{"id": group, "name": name} for group, name in groups.items()],
    "credentials": [],
    "refresh_tokens": [{
        "id": token, "user_id": owner, "client_id": None, "client_name": "test", "client_icon": None,
        "token_type": "long_lived_access_token", "created_at": now, "access_token_expiration": 315360000.0,
        "token": secrets.token_hex(64), "jwt_key": key, "last_used_at": None, "last_used_ip": None,
        "expire_at": None, "credential_id": None, "version": "2026.1.0",
    }],
})
broker = {"broker": "127.0.0.1", "port": port, "protocol": protocol, "transport": "tcp", "discovery": True}
if user:
    broker |= {"username": user, "password": password}
store("core.config_entries", 1, 5, {"entries": [{
    "created_at": now, "modified_at": now, "data": broker, "disabled_by": None, "discovery_keys": {},
    "domain": "mqtt", "entry_id": secrets.token_hex(16), "minor_version": 1, "options": {},
    "pref_disable_new_entities": False, "pref_disable_polling": False, "source": "user", "subentries": [],
    "title": "broker", "unique_id": None, "version": 2,
}]})
(folder / "configuration.yaml").write_text(
    "homeassistant: {name: test, latitude: 0, longitude: 0, elevation: 0, unit_system: metric, time_zone: UTC}\n"
    "config:\napi:\nhistory:\nlogger: {default: info}\n"
)


def encoded(part):
    return base64.urlsafe_b64encode(part).rstrip(b"=")


began = int(time.time()) - 60
head = encoded(json.dumps({"alg": "HS256", "typ": "JWT"}).encode())
body = encoded(json.dumps({"iss": token, "iat": began, "exp": began + 315360000}).encode())
signature = hmac.new(key.encode(), head + b"." + body, hashlib.sha256).digest()
print((head + b"." + body + b"." + encoded(signature)).decode())
