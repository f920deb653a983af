"""Echoes every request to its Response Topic, as software built on paho-mqtt does."""

import os
import sys

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

port, topic_filter = int(sys.argv[1]), sys.argv[2]


def on_connect(client, _userdata, _flags, _reason_code, _properties):
    client.subscribe(topic_filter, qos=1)


def on_subscribe(_client, _userdata, _mid, _reason_codes, _properties):
    print("ready", flush=True)


def on_message(client, _userdata, request):
    topic = getattr(request.properties, "ResponseTopic", None)
    if topic is None:
        return
    properties = Properties(PacketTypes.PUBLISH)
    properties.CorrelationData = request.properties.CorrelationData
    client.publish(topic, request.payload, qos=request.qos, properties=properties)


client = mqtt.Client(
    mqtt.CallbackAPIVersion.VERSION2, client_id="echo-paho", protocol=mqtt.MQTTv5
)
client.max_inflight_messages_set(1024)
if "MQTT_USER" in os.environ:
    client.username_pw_set(os.environ["MQTT_USER"], os.environ["MQTT_PASSWORD"])
client.on_connect, client.on_subscribe = on_connect, on_subscribe
client.on_message = on_message
client.connect("127.0.0.1", port, keepalive=60)
client.loop_forever()
