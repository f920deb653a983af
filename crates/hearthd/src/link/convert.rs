//! Converts between the core's types and rumqttc's: options, messages and reason codes.

use std::{path::Path, sync::Arc, time::Duration};

use hearthd_core::{Connack, Limits, Message, QoS, VOUCHES, Will};
use rumqttc::{
    TlsConfiguration,
    v5::mqttbytes::{
        QoS as WireQoS,
        v5::{
            ConnAck, ConnectProperties, ConnectReturnCode, DisconnectReasonCode, LastWill,
            LastWillProperties, PubAckReason, Publish, SubscribeReasonCode,
        },
    },
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};

use super::{ConnectOptions, MAX_PACKET_SIZE, RECEIVE_MAXIMUM, SUCCESS};
use crate::config::Tls;

pub(super) fn connect_properties(options: &ConnectOptions<'_>) -> ConnectProperties {
    let mut properties = ConnectProperties::new();
    properties.session_expiry_interval = Some(asked_expiry(options));
    properties.receive_maximum = Some(RECEIVE_MAXIMUM);
    properties.max_packet_size = Some(MAX_PACKET_SIZE);
    properties.request_response_info = Some(1);
    properties.request_problem_info = Some(1);
    properties
}

/// Returns Session Expiry Interval as CONNECT announces it, in seconds (MQTT 3.1.2.11.2).
pub(super) fn asked_expiry(options: &ConnectOptions<'_>) -> u32 {
    let expiry = if options.keep_session { options.broker.session_expiry } else { Duration::ZERO };
    u32::try_from(expiry.as_secs()).unwrap_or(u32::MAX)
}

pub(super) fn tls_configuration(tls: &Tls) -> Result<TlsConfiguration, String> {
    let certificates = |file: &Path| -> Result<Vec<CertificateDer<'static>>, String> {
        CertificateDer::pem_file_iter(file)
            .and_then(Iterator::collect)
            .map_err(|error| format!("read {}: {error}", file.display()))
    };
    // A second call finds the provider installed, which is just as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let Some(ca_file) = &tls.ca_file else {
        if tls.client_auth.is_none() {
            return Ok(TlsConfiguration::default());
        }
        return Err("client certificates need `ca_file`".into());
    };
    let mut roots = rustls::RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(certificates(ca_file)?);
    if added == 0 {
        return Err(format!("{} holds no certificate", ca_file.display()));
    }
    let builder = rustls::ClientConfig::builder().with_root_certificates(roots);
    let config = match &tls.client_auth {
        None => builder.with_no_client_auth(),
        Some((chain, key_file)) => {
            let key = PrivateKeyDer::from_pem_file(key_file)
                .map_err(|error| format!("read {}: {error}", key_file.display()))?;
            builder
                .with_client_auth_cert(certificates(chain)?, key)
                .map_err(|error| format!("use {}: {error}", chain.display()))?
        }
    };
    Ok(TlsConfiguration::Rustls(Arc::new(config)))
}

pub(super) fn last_will(will: &Will) -> LastWill {
    let message = &will.message;
    LastWill {
        topic: message.topic.clone().into(),
        message: message.payload.clone(),
        qos: match message.qos {
            QoS::AtMostOnce => WireQoS::AtMostOnce,
            QoS::AtLeastOnce => WireQoS::AtLeastOnce,
        },
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

pub(super) fn read_connack(connack: ConnAck, asked_expiry: u32) -> Connack {
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

pub(super) fn read_message(publish: Publish) -> Message {
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

pub(super) fn subscribe_code(code: &SubscribeReasonCode) -> u8 {
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

pub(super) fn puback_code(reason: PubAckReason) -> u8 {
    match reason {
        PubAckReason::Success => SUCCESS,
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

pub(super) fn connect_code(code: ConnectReturnCode) -> u8 {
    match code {
        ConnectReturnCode::Success => SUCCESS,
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

pub(super) fn disconnect_code(code: DisconnectReasonCode) -> u8 {
    code as u8
}
