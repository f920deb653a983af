//! The hub's messages as the packets of rumqttc, and back.
//!
//! The hub and its simulation both write what they send with these functions, so that the simulation meets every property
//! that the hub sets.

#![forbid(unsafe_code)]

use bytes::Bytes;
use hearthd_core::{Connack, Limits, Message, QoS, Subscription, VOUCHES, Will};
use rumqttc::v5::mqttbytes::{
    QoS as WireQoS,
    v5::{
        ConnAck, ConnectReturnCode, DisconnectReasonCode, Filter, LastWill, LastWillProperties,
        PubAckReason, Publish, PublishProperties, RetainForwardRule, SubscribeReasonCode,
    },
};

/// Returns a level of quality of service as rumqttc names it.
pub fn write_qos(qos: QoS) -> WireQoS {
    match qos {
        QoS::AtMostOnce => WireQoS::AtMostOnce,
        QoS::AtLeastOnce => WireQoS::AtLeastOnce,
    }
}

/// Returns the topic name, the payload and the properties of PUBLISH (MQTT 3.3).
pub fn write_message(message: Message) -> (String, Bytes, PublishProperties) {
    let properties = PublishProperties {
        payload_format_indicator: message.utf8.then_some(1),
        message_expiry_interval: message.expiry,
        topic_alias: None,
        response_topic: message.response_topic,
        correlation_data: message.correlation_data,
        user_properties: message.user_properties,
        subscription_identifiers: Vec::new(),
        content_type: message.content_type,
    };
    (message.topic, message.payload, properties)
}

/// Returns a filter as SUBSCRIBE carries it, with its Subscription Options (MQTT 3.8.3.1).
pub fn write_filter(subscription: &Subscription) -> Filter {
    let subscriber = subscription.subscriber;
    let mut filter = Filter::new(&subscription.filter, write_qos(subscriber.qos()));
    filter.preserve_retain = subscriber.retain_as_published();
    filter.nolocal = subscription.no_local;
    filter.retain_forward_rule = if subscription.retained {
        RetainForwardRule::OnEverySubscribe
    } else {
        RetainForwardRule::Never
    };
    filter
}

/// Returns a will as CONNECT carries it (MQTT 3.1.3.2).
pub fn write_will(will: &Will) -> LastWill {
    let message = &will.message;
    LastWill {
        topic: message.topic.clone().into(),
        message: message.payload.clone(),
        qos: write_qos(message.qos),
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

/// Reads CONNACK; `asked_expiry` is the Session Expiry Interval of CONNECT, in seconds.
pub fn read_connack(connack: ConnAck, asked_expiry: u32) -> Connack {
    let session_present = connack.session_present;
    match connack.properties {
        None => Connack { session_present, ..Connack::default() },
        Some(properties) => Connack {
            limits: Limits {
                qos: match properties.max_qos {
                    Some(0) => QoS::AtMostOnce,
                    _ => QoS::AtLeastOnce,
                },
                retain: properties.retain_available != Some(0),
            },
            session_expiry: properties.session_expiry_interval.filter(|s| *s != asked_expiry),
            assigned_client_id: properties.assigned_client_identifier,
            server_keep_alive: properties.server_keep_alive,
            session_present,
            response_information: properties.response_information,
            receive_maximum: properties.receive_max.unwrap_or(u16::MAX),
            maximum_packet_size: properties.max_packet_size,
            wildcards: properties.wildcard_subscription_available != Some(0),
            vouches: properties.user_properties.iter().any(|(name, _)| name == VOUCHES),
        },
    }
}

/// Reads PUBLISH; what came at QoS 2 is taken as QoS 1, which is the most that the hub asks for.
pub fn read_message(publish: Publish) -> Message {
    let properties = publish.properties.unwrap_or_default();
    Message {
        topic: String::from_utf8_lossy(&publish.topic).into_owned(),
        payload: publish.payload,
        qos: match publish.qos {
            WireQoS::AtMostOnce => QoS::AtMostOnce,
            WireQoS::AtLeastOnce | WireQoS::ExactlyOnce => QoS::AtLeastOnce,
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

/// Returns the Reason Code of SUBACK for one filter (MQTT 3.9.3).
pub fn subscribe_code(code: &SubscribeReasonCode) -> u8 {
    match code {
        SubscribeReasonCode::Success(qos) => *qos as u8,
        SubscribeReasonCode::NotAuthorized => 0x87,
        SubscribeReasonCode::TopicFilterInvalid => 0x8F,
        SubscribeReasonCode::PkidInUse => 0x91,
        SubscribeReasonCode::QuotaExceeded => 0x97,
        SubscribeReasonCode::SharedSubscriptionsNotSupported => 0x9E,
        SubscribeReasonCode::SubscriptionIdNotSupported => 0xA1,
        SubscribeReasonCode::WildcardSubscriptionsNotSupported => 0xA2,
        SubscribeReasonCode::ImplementationSpecific => 0x83,
        SubscribeReasonCode::Failure | SubscribeReasonCode::Unspecified => 0x80,
    }
}

/// Returns the Reason Code of PUBACK (MQTT 3.4.2.1).
pub fn puback_code(reason: PubAckReason) -> u8 {
    match reason {
        PubAckReason::Success => 0x00,
        PubAckReason::NoMatchingSubscribers => 0x10,
        PubAckReason::UnspecifiedError => 0x80,
        PubAckReason::ImplementationSpecificError => 0x83,
        PubAckReason::NotAuthorized => 0x87,
        PubAckReason::TopicNameInvalid => 0x90,
        PubAckReason::PacketIdentifierInUse => 0x91,
        PubAckReason::QuotaExceeded => 0x97,
        PubAckReason::PayloadFormatInvalid => 0x99,
    }
}

/// Returns the Reason Code of CONNACK (MQTT 3.2.2.2).
pub fn connect_code(code: ConnectReturnCode) -> u8 {
    match code {
        ConnectReturnCode::Success => 0x00,
        ConnectReturnCode::MalformedPacket => 0x81,
        ConnectReturnCode::ProtocolError => 0x82,
        ConnectReturnCode::ImplementationSpecificError => 0x83,
        ConnectReturnCode::UnsupportedProtocolVersion
        | ConnectReturnCode::RefusedProtocolVersion => 0x84,
        ConnectReturnCode::ClientIdentifierNotValid | ConnectReturnCode::BadClientId => 0x85,
        ConnectReturnCode::BadUserNamePassword => 0x86,
        ConnectReturnCode::NotAuthorized => 0x87,
        ConnectReturnCode::ServerUnavailable | ConnectReturnCode::ServiceUnavailable => 0x88,
        ConnectReturnCode::ServerBusy => 0x89,
        ConnectReturnCode::Banned => 0x8A,
        ConnectReturnCode::BadAuthenticationMethod => 0x8C,
        ConnectReturnCode::TopicNameInvalid => 0x90,
        ConnectReturnCode::PacketTooLarge => 0x95,
        ConnectReturnCode::QuotaExceeded => 0x97,
        ConnectReturnCode::PayloadFormatInvalid => 0x99,
        ConnectReturnCode::RetainNotSupported => 0x9A,
        ConnectReturnCode::QoSNotSupported => 0x9B,
        ConnectReturnCode::UseAnotherServer => 0x9C,
        ConnectReturnCode::ServerMoved => 0x9D,
        ConnectReturnCode::ConnectionRateExceeded => 0x9F,
        ConnectReturnCode::UnspecifiedError => 0x80,
    }
}

/// Returns the Reason Code of DISCONNECT (MQTT 3.14.2.1).
pub fn disconnect_code(code: DisconnectReasonCode) -> u8 {
    code as u8
}
