//! The connection of a device: MQTT 3.1.1, or MQTT 5.

use std::time::Duration;

use bytes::Bytes;
use rumqttc::v5;
use tokio::{sync::mpsc, task::JoinSet};

use super::{Firmware, Said};
use crate::Access;

/// A connection, and the task that waits for its packets.
pub(super) struct Link {
    client: Client,
    heard: mpsc::UnboundedReceiver<Event>,
    _poll: JoinSet<()>,
}

enum Client {
    Classic(rumqttc::AsyncClient),
    Five(v5::AsyncClient),
}

/// What comes from the broker.
#[derive(Debug)]
pub(super) enum Event {
    /// It is connected and has its subscriptions.
    Subscribed,
    /// A message, with its Response Topic and Correlation Data where it is a request.
    Heard { topic: String, payload: Bytes, reply: Option<(String, Bytes)> },
}

impl Link {
    pub(super) fn new(firmware: &dyn Firmware, access: &Access, client_id: &str) -> Self {
        let (sender, heard) = mpsc::unbounded_channel();
        let mut tasks = JoinSet::new();
        let client = if firmware.replies() {
            five(firmware, access, client_id, sender, &mut tasks)
        } else {
            classic(firmware, access, client_id, sender, &mut tasks)
        };
        Self { client, heard, _poll: tasks }
    }

    /// Waits for the next event; none where the connection has ended.
    pub(super) async fn next(&mut self) -> Option<Event> {
        self.heard.recv().await
    }

    /// Publishes at QoS 0, as all of them do.
    pub(super) fn say(&self, said: &Said) {
        let Said { topic, payload, retain, correlation_data } = said.clone();
        // What finds no room is lost, as QoS 0 is.
        match &self.client {
            Client::Classic(client) => {
                let _ = client.try_publish(topic, rumqttc::QoS::AtMostOnce, retain, payload);
            }
            Client::Five(client) => {
                let properties = v5::mqttbytes::v5::PublishProperties {
                    correlation_data,
                    ..v5::mqttbytes::v5::PublishProperties::default()
                };
                let qos = v5::mqttbytes::QoS::AtMostOnce;
                let _ = client.try_publish_with_properties(topic, qos, retain, payload, properties);
            }
        }
    }
}

fn classic(
    firmware: &dyn Firmware,
    access: &Access,
    client_id: &str,
    heard: mpsc::UnboundedSender<Event>,
    tasks: &mut JoinSet<()>,
) -> Client {
    let mut options = rumqttc::MqttOptions::new(client_id, "127.0.0.1", access.port);
    options.set_keep_alive(KEEP_ALIVE);
    options.set_max_packet_size(LARGEST, LARGEST);
    if let Some((name, password)) = &access.login {
        options.set_credentials(name, password);
    }
    let (topic, _, offline) = firmware.presence();
    options.set_last_will(rumqttc::LastWill::new(topic, offline, rumqttc::QoS::AtLeastOnce, true));
    let (client, mut events) = rumqttc::AsyncClient::new(options, CAPACITY);
    let filters = firmware.filters();
    let own = client.clone();
    tasks.spawn(async move {
        let mut granted = 0;
        // A connection that has broken is not made again: the device is without power then.
        while let Ok(event) = events.poll().await {
            let event = match event {
                rumqttc::Event::Incoming(rumqttc::Packet::ConnAck(_)) => {
                    for filter in &filters {
                        if own.try_subscribe(filter, rumqttc::QoS::AtMostOnce).is_err() {
                            return;
                        }
                    }
                    continue;
                }
                rumqttc::Event::Incoming(rumqttc::Packet::SubAck(_)) => {
                    granted += 1;
                    if granted < filters.len() {
                        continue;
                    }
                    Event::Subscribed
                }
                rumqttc::Event::Incoming(rumqttc::Packet::Publish(publish)) => {
                    Event::Heard { topic: publish.topic, payload: publish.payload, reply: None }
                }
                rumqttc::Event::Incoming(_) | rumqttc::Event::Outgoing(_) => continue,
            };
            if heard.send(event).is_err() {
                return;
            }
        }
    });
    Client::Classic(client)
}

fn five(
    firmware: &dyn Firmware,
    access: &Access,
    client_id: &str,
    heard: mpsc::UnboundedSender<Event>,
    tasks: &mut JoinSet<()>,
) -> Client {
    let mut options = v5::MqttOptions::new(client_id, "127.0.0.1", access.port);
    options.set_keep_alive(KEEP_ALIVE);
    if let Some((name, password)) = &access.login {
        options.set_credentials(name, password);
    }
    let (topic, _, offline) = firmware.presence();
    let qos = v5::mqttbytes::QoS::AtLeastOnce;
    options.set_last_will(v5::mqttbytes::v5::LastWill::new(topic, offline, qos, true, None));
    let (client, mut events) = v5::AsyncClient::new(options, CAPACITY);
    let filters = firmware.filters();
    let own = client.clone();
    tasks.spawn(async move {
        use v5::mqttbytes::v5::Packet;
        let mut granted = 0;
        while let Ok(event) = events.poll().await {
            let event = match event {
                v5::Event::Incoming(Packet::ConnAck(_)) => {
                    for filter in &filters {
                        let qos = v5::mqttbytes::QoS::AtMostOnce;
                        if own.try_subscribe(filter, qos).is_err() {
                            return;
                        }
                    }
                    continue;
                }
                v5::Event::Incoming(Packet::SubAck(_)) => {
                    granted += 1;
                    if granted < filters.len() {
                        continue;
                    }
                    Event::Subscribed
                }
                v5::Event::Incoming(Packet::Publish(publish)) => {
                    let properties = publish.properties.unwrap_or_default();
                    let reply = properties.response_topic.zip(properties.correlation_data);
                    let topic = String::from_utf8_lossy(&publish.topic).into_owned();
                    Event::Heard { topic, payload: publish.payload, reply }
                }
                v5::Event::Incoming(_) | v5::Event::Outgoing(_) => continue,
            };
            if heard.send(event).is_err() {
                return;
            }
        }
    });
    Client::Five(client)
}

const KEEP_ALIVE: Duration = Duration::from_secs(30);
const CAPACITY: usize = 256;
const LARGEST: usize = 1024 * 1024;
