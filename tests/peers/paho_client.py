"""The evening of one client with paho-mqtt: python paho_client.py PORT VERSION PASSWORD"""

import queue
import sys

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

PORT, VERSION, PASSWORD = int(sys.argv[1]), sys.argv[2], sys.argv[3]
IS_5 = VERSION == "5"
NAME = f"paho-{VERSION}"
TOPIC = f"alice/peer/{NAME}"
WAIT = 20


def say(*words):
    print(*words, flush=True)


class Client:
    """A client whose events wait in a queue."""

    def __init__(self, name, lasting=False, password=PASSWORD):
        self.events, self.messages, self.lasting = queue.Queue(), queue.Queue(), lasting
        version = mqtt.MQTTv5 if IS_5 else mqtt.MQTTv311
        clean = {} if IS_5 else {"clean_session": not lasting}
        self.client = mqtt.Client(
            mqtt.CallbackAPIVersion.VERSION2, client_id=name, protocol=version, **clean
        )
        self.client.username_pw_set("phone", password)
        events = self.events
        self.client.on_connect = lambda c, u, flags, code, props: events.put((flags, code, props))
        self.client.on_subscribe = lambda c, u, mid, codes, props: events.put(codes)
        self.client.on_unsubscribe = lambda c, u, mid, codes, props: events.put(codes)
        self.client.on_disconnect = lambda c, u, flags, code, props: events.put("gone")
        self.client.on_message = lambda c, u, message: self.messages.put(message)

    def connect(self):
        more = {}
        if IS_5:
            properties = Properties(PacketTypes.CONNECT)
            properties.RequestResponseInformation = 1
            properties.SessionExpiryInterval = 60 if self.lasting else 0
            more = {"clean_start": False, "properties": properties}
        self.client.connect("127.0.0.1", PORT, **more)
        self.client.loop_start()
        return self.events.get(timeout=WAIT)

    def subscribe(self, filter, qos):
        self.client.subscribe(filter, qos)
        return self.events.get(timeout=WAIT)[0]

    def publish(self, topic, payload, qos=1, **more):
        self.client.publish(topic, payload, qos, **more).wait_for_publish(WAIT)

    def message(self):
        return self.messages.get(timeout=WAIT)

    def disconnect(self):
        self.client.disconnect()
        assert self.events.get(timeout=WAIT) == "gone"
        self.client.loop_stop()


wrong = Client(f"{NAME}-wrong", password="guessed")
_, code, _ = wrong.connect()
wrong.client.loop_stop()
say("refused" if code.is_failure else "let in")

client = Client(NAME, lasting=True)
flags, code, properties = client.connect()
say("present", flags.session_present)
say("home", getattr(properties, "ResponseInformation", None))
say("granted", client.subscribe(f"{TOPIC}/#", 2).value)

for qos in range(3):
    client.publish(f"{TOPIC}/{qos}", f"quality {qos}", qos)
    message = client.message()
    say(message.payload.decode(), "at", message.qos, "retained", message.retain)

more = {}
if IS_5:
    more["properties"] = Properties(PacketTypes.PUBLISH)
    more["properties"].ResponseTopic = f"{TOPIC}/answer"
    more["properties"].CorrelationData = b"\x00\xff"
    more["properties"].UserProperty = [("b", "1"), ("a", "2"), ("b", "3")]
client.publish(f"{TOPIC}/asks", "properties", **more)
properties = client.message().properties
if IS_5:
    say(properties.ResponseTopic == f"{TOPIC}/answer", properties.CorrelationData.hex())
    say(",".join(f"{name}={value}" for name, value in properties.UserProperty))
else:
    say("True 00ff")
    say("b=1,a=2,b=3")
client.disconnect()

other = Client(f"{NAME}-other")
other.connect()
other.publish(f"{TOPIC}/meanwhile", "meanwhile", 2)
other.publish(f"{TOPIC}/kept", "kept", 1, retain=True)

flags, _, _ = client.connect()
say("present", flags.session_present)
say(*sorted(client.message().payload.decode() for _ in range(2)))
client.client.unsubscribe(f"{TOPIC}/#")
client.events.get(timeout=WAIT)
client.subscribe(f"{TOPIC}/kept", 1)
message = client.message()
say(message.payload.decode(), "at", message.qos, "retained", message.retain)
other.publish(f"{TOPIC}/kept", "", 1, retain=True)
say("empty", client.message().payload == b"")
client.disconnect()
other.disconnect()
