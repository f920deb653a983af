//! Packets between the clients and the broker, written and read by the codecs of a real home.

use bytes::BytesMut;
use hearthd_broker::{
    core::Outgoing,
    packet::{Received, Version, decode, encode, next_frame},
};
use hearthd_core::{Message, QoS, Subscription, Will};
use rumqttc::v5::mqttbytes::{
    self,
    v5::{
        Connect, ConnectProperties, Filter, LastWill, LastWillProperties, Packet, PubAck, Publish,
        PublishProperties, RetainForwardRule, Subscribe, Unsubscribe,
    },
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
        session_expiry_interval: Some(7 * 24 * 3600),
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
    Packet::Connect(connect, will.map(last_will), None)
}

fn last_will(will: &Will) -> LastWill {
    let message = &will.message;
    LastWill {
        topic: message.topic.clone().into(),
        message: message.payload.clone(),
        qos: level(message.qos),
        retain: message.retain,
        properties: Some(LastWillProperties {
            delay_interval: Some(will.delay),
            payload_format_indicator: message.utf8.then_some(1),
            message_expiry_interval: message.expiry,
            content_type: message.content_type.clone(),
            response_topic: message.response_topic.clone(),
            correlation_data: message.correlation_data.clone(),
            user_properties: message.user_properties.clone(),
        }),
    }
}

/// PUBLISH of a client; the Packet Identifier is 0 at QoS 0.
pub(super) fn publish(message: &Message, packet_id: u16) -> Packet {
    Packet::Publish(Publish {
        dup: message.dup,
        qos: level(message.qos),
        retain: message.retain,
        topic: message.topic.clone().into(),
        pkid: packet_id,
        payload: message.payload.clone(),
        properties: Some(PublishProperties {
            payload_format_indicator: message.utf8.then_some(1),
            message_expiry_interval: message.expiry,
            response_topic: message.response_topic.clone(),
            correlation_data: message.correlation_data.clone(),
            user_properties: message.user_properties.clone(),
            content_type: message.content_type.clone(),
            ..PublishProperties::default()
        }),
    })
}

/// Reads a PUBLISH from the broker.
pub(super) fn message(publish: &Publish) -> Message {
    let properties = publish.properties.clone().unwrap_or_default();
    Message {
        topic: String::from_utf8_lossy(&publish.topic).into_owned(),
        payload: publish.payload.clone(),
        qos: match publish.qos {
            mqttbytes::QoS::AtMostOnce => QoS::AtMostOnce,
            mqttbytes::QoS::AtLeastOnce | mqttbytes::QoS::ExactlyOnce => QoS::AtLeastOnce,
        },
        retain: publish.retain,
        dup: publish.dup,
        utf8: properties.payload_format_indicator == Some(1),
        expiry: properties.message_expiry_interval,
        response_topic: properties.response_topic,
        correlation_data: properties.correlation_data,
        user_properties: properties.user_properties,
        content_type: properties.content_type,
    }
}

pub(super) fn puback(packet_id: u16) -> Packet {
    Packet::PubAck(PubAck::new(packet_id, None))
}

pub(super) fn subscribe(packet_id: u16, subscriptions: &[Subscription]) -> Packet {
    let filter = |subscription: &Subscription| Filter {
        path: subscription.filter.clone(),
        qos: mqttbytes::QoS::AtLeastOnce,
        nolocal: subscription.no_local,
        preserve_retain: true,
        retain_forward_rule: if subscription.retained {
            RetainForwardRule::OnEverySubscribe
        } else {
            RetainForwardRule::Never
        },
    };
    let filters = subscriptions.iter().map(filter).collect();
    Packet::Subscribe(Subscribe { pkid: packet_id, filters, properties: None })
}

pub(super) fn unsubscribe(packet_id: u16, filters: &[String]) -> Packet {
    let filters = filters.to_vec();
    Packet::Unsubscribe(Unsubscribe { pkid: packet_id, filters, properties: None })
}

fn level(qos: QoS) -> mqttbytes::QoS {
    match qos {
        QoS::AtMostOnce => mqttbytes::QoS::AtMostOnce,
        QoS::AtLeastOnce => mqttbytes::QoS::AtLeastOnce,
    }
}
