//! The floor of the daemon's client library: an echo through rumqttc, which acknowledges by itself.

use std::{io, time::Duration};

use rumqttc::{
    NetworkOptions,
    v5::{
        AsyncClient, Event, MqttOptions,
        mqttbytes::{
            QoS,
            v5::{ConnectProperties, Packet, Publish, PublishProperties},
        },
    },
};

use crate::{EchoOptions, announce_ready, wrong};

/// Echoes until the broker goes.
pub(crate) async fn echo(options: EchoOptions) -> io::Result<()> {
    let access = options.access;
    let mut mqtt = MqttOptions::new("echo-rumqttc", "127.0.0.1", access.port);
    mqtt.set_keep_alive(Duration::from_secs(60)).set_outgoing_inflight_upper_limit(IN_FLIGHT);
    mqtt.set_connect_properties(ConnectProperties {
        max_packet_size: Some(1024 * 1024),
        ..ConnectProperties::new()
    });
    let mut network = NetworkOptions::new();
    network.set_tcp_nodelay(true);
    mqtt.set_network_options(network);
    if let Some(user) = access.user {
        mqtt.set_credentials(user, access.password);
    }
    let (client, mut events) = AsyncClient::new(mqtt, CAPACITY);
    client.try_subscribe(options.filter, QoS::AtLeastOnce).map_err(io::Error::other)?;
    loop {
        match events.poll().await.map_err(io::Error::other)? {
            Event::Incoming(Packet::SubAck(_)) => announce_ready(),
            Event::Incoming(Packet::Publish(request)) => turn_round(&client, request)?,
            Event::Incoming(_) | Event::Outgoing(_) => {}
        }
    }
}

fn turn_round(client: &AsyncClient, request: Publish) -> io::Result<()> {
    let properties = request.properties.unwrap_or_default();
    let Some(topic) = properties.response_topic else { return Ok(()) };
    let answer = PublishProperties {
        correlation_data: properties.correlation_data,
        ..PublishProperties::default()
    };
    let sent =
        client.try_publish_with_properties(topic, request.qos, false, request.payload, answer);
    sent.map_err(|error| wrong(format!("more requests at once than {CAPACITY}: {error}")))
}

const IN_FLIGHT: u16 = 1024;
const CAPACITY: usize = 16 * 1024;
