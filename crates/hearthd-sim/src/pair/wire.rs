//! Packets between the clients and the broker, written and read by the codecs of a real home.

use bytes::BytesMut;
use hearthd_broker::{
    core::Outgoing,
    packet::{Received, Version, decode, encode, next_frame},
};
use hearthd_core::{Message, Subscription, Will};
use hearthd_packets::{write_filter, write_message, write_qos, write_will};
use rumqttc::v5::mqttbytes::v5::{
    Connect, ConnectProperties, Packet, PubAck, Publish, Subscribe, Unsubscribe,
};

/// Has the broker's decoder read what a client writes.
pub(super) fn to_broker(packet: &Packet) -> Result<Received, String> {
    let mut bytes = BytesMut::new();
    packet.write(&mut bytes, None).map_err(|error| format!("a client cannot write: {error}"))?;
    let open = !matches!(packet, Packet::Connect(..));
    let frame = next_frame(&mut bytes, usize::MAX, open).map_err(|error| error.what.to_owned())?;
    let frame = frame.ok_or("half a packet")?;
    decode(&frame, Version::V5)
        .map_err(|error| format!("the broker cannot read {packet:?}: {}", error.what))
}

/// Has a client's decoder read what the broker writes.
pub(super) fn to_client(packet: &Outgoing) -> Result<Packet, String> {
    let mut bytes = BytesMut::new();
    match packet {
        Outgoing::Publish(delivery) => delivery.encode(Version::V5, &mut bytes),
        Outgoing::Reply(reply) => encode(reply, Version::V5, &mut bytes),
    }
    Packet::read(&mut bytes, None)
        .map_err(|error| format!("a client cannot read {packet:?}: {error}"))
}

/// CONNECT of a client whose session lasts.
pub(super) fn connect(client_id: &str, will: Option<&Will>, receive_maximum: u16) -> Packet {
    let properties = ConnectProperties {
        session_expiry_interval: Some(SESSION_EXPIRY),
        receive_maximum: Some(receive_maximum),
        request_response_info: Some(1),
        ..ConnectProperties::new()
    };
    let connect = Connect {
        keep_alive: 0,
        client_id: client_id.to_owned(),
        clean_start: false,
        properties: Some(properties),
    };
    Packet::Connect(connect, will.map(write_will), None)
}

/// PUBLISH of a client; the Packet Identifier is 0 at QoS 0.
pub(super) fn publish(message: &Message, packet_id: u16) -> Packet {
    let (topic, payload, properties) = write_message(message.clone());
    Packet::Publish(Publish {
        dup: message.dup,
        qos: write_qos(message.qos),
        retain: message.retain,
        topic: topic.into(),
        pkid: packet_id,
        payload,
        properties: Some(properties),
    })
}

/// Makes a PUBACK.
pub(super) fn puback(packet_id: u16) -> Packet {
    Packet::PubAck(PubAck::new(packet_id, None))
}

/// Makes a SUBSCRIBE.
pub(super) fn subscribe(packet_id: u16, subscriptions: &[Subscription]) -> Packet {
    let filters = subscriptions.iter().map(write_filter).collect();
    Packet::Subscribe(Subscribe { pkid: packet_id, filters, properties: None })
}

/// Makes an UNSUBSCRIBE.
pub(super) fn unsubscribe(packet_id: u16, filters: &[String]) -> Packet {
    let filters = filters.to_vec();
    Packet::Unsubscribe(Unsubscribe { pkid: packet_id, filters, properties: None })
}

/// Session Expiry Interval of every client, in seconds.
pub(super) const SESSION_EXPIRY: u32 = 7 * 24 * 3600;
