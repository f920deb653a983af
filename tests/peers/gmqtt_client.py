"""The evening of one client with gmqtt: python gmqtt_client.py PORT VERSION PASSWORD"""

import asyncio
import sys

from gmqtt import Client, Message
from gmqtt.mqtt.constants import MQTTv50, MQTTv311
from gmqtt.mqtt.handler import MQTTConnectError

PORT, VERSION, PASSWORD = int(sys.argv[1]), sys.argv[2], sys.argv[3]
IS_5 = VERSION == "5"
NAME = f"gmqtt-{VERSION}"
TOPIC = f"alice/peer/{NAME}"
WAIT = 20


def say(*words):
    print(*words, flush=True)


class Peer:
    """A client whose events wait in queues."""

    def __init__(self, name, lasting=False, password=PASSWORD):
        more = {}
        if IS_5:
            more = {"session_expiry_interval": 60 if lasting else 0, "request_response_info": 1}
        self.client = Client(name, clean_session=not lasting, **more)
        self.client.set_auth_credentials("phone", password)
        self.connects, self.acks, self.messages = (asyncio.Queue() for _ in range(3))
        self.client.on_connect = lambda c, flags, rc, props: self.connects.put_nowait((flags, props))
        self.client.on_subscribe = lambda c, mid, codes, props: self.acks.put_nowait(codes)
        self.client.on_unsubscribe = lambda c, mid, codes: self.acks.put_nowait(codes)
        self.client.on_message = self.on_message
        self.client.set_config({"reconnect_retries": 0})

    def on_message(self, client, topic, payload, qos, properties):
        self.messages.put_nowait((topic, payload, qos, properties))
        return 0

    async def connect(self):
        version = MQTTv50 if IS_5 else MQTTv311
        await asyncio.wait_for(self.client.connect("127.0.0.1", PORT, version=version), WAIT)
        return await asyncio.wait_for(self.connects.get(), WAIT)

    async def ack(self):
        return await asyncio.wait_for(self.acks.get(), WAIT)

    async def message(self):
        return await asyncio.wait_for(self.messages.get(), WAIT)


async def main():
    wrong = Peer(f"{NAME}-wrong", password="guessed")
    try:
        await wrong.connect()
        say("let in")
    except MQTTConnectError:
        say("refused")

    peer = Peer(NAME, lasting=True)
    flags, properties = await peer.connect()
    say("present", bool(flags))
    say("home", properties.get("response_info", [None])[0] if IS_5 else None)
    peer.client.subscribe(f"{TOPIC}/#", qos=2)
    say("granted", (await peer.ack())[0])

    for qos in range(3):
        peer.client.publish(f"{TOPIC}/{qos}", f"quality {qos}", qos=qos)
        _, payload, got, properties = await peer.message()
        say(payload.decode(), "at", got, "retained", bool(properties["retain"]))

    more = {}
    if IS_5:
        more = {
            "response_topic": f"{TOPIC}/answer",
            "correlation_data": b"\x00\xff",
            "user_property": [("b", "1"), ("a", "2"), ("b", "3")],
        }
    peer.client.publish(Message(f"{TOPIC}/asks", "properties", qos=1, **more))
    properties = (await peer.message())[3]
    if IS_5:
        say(properties["response_topic"] == [f"{TOPIC}/answer"], properties["correlation_data"][0].hex())
        say(",".join(f"{name}={value}" for name, value in properties["user_property"]))
    else:
        say("True 00ff")
        say("b=1,a=2,b=3")
    await peer.client.disconnect()

    other = Peer(f"{NAME}-other")
    await other.connect()
    for part, qos, retain in [("meanwhile", 2, False), ("kept", 1, True)]:
        other.client.subscribe(f"{TOPIC}/{part}", qos=0)
        await other.ack()
        other.client.publish(f"{TOPIC}/{part}", part, qos=qos, retain=retain)
        # It comes back to the sender once the broker has it.
        await other.message()

    again = Peer(NAME, lasting=True)
    flags, _ = await again.connect()
    say("present", bool(flags))
    say(*sorted([(await again.message())[1].decode() for _ in range(2)]))
    again.client.unsubscribe(f"{TOPIC}/#")
    await again.ack()
    again.client.subscribe(f"{TOPIC}/kept", qos=1)
    _, payload, got, properties = await again.message()
    say(payload.decode(), "at", got, "retained", bool(properties["retain"]))
    other.client.publish(f"{TOPIC}/kept", "", qos=1, retain=True)
    say("empty", (await again.message())[1] == b"")
    await again.client.disconnect()
    await other.client.disconnect()


asyncio.run(main())
