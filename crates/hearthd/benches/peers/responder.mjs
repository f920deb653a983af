// Echoes every request to its Response Topic, as software built on MQTT.js does.

import mqtt from "mqtt";

const [port, filter] = process.argv.slice(2);
const client = mqtt.connect(`mqtt://127.0.0.1:${port}`, {
  protocolVersion: 5,
  clientId: "echo-mqtt-js",
  username: process.env.MQTT_USER,
  password: process.env.MQTT_PASSWORD,
});
client.on("connect", () => {
  client.subscribe(filter, { qos: 1 }, (error) => {
    if (error) throw error;
    console.log("ready");
  });
});
client.on("message", (_topic, payload, { qos, properties = {} }) => {
  const { responseTopic, correlationData } = properties;
  if (responseTopic === undefined) return;
  client.publish(responseTopic, payload, { qos, properties: { correlationData } });
});
