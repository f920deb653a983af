//! What the broker writes, as `mqtt-protocol-core` reads it.

use std::{num::NonZeroU16, sync::Arc};

use bytes::BytesMut;
use hearthd_broker::packet::{
    Answer, Answers, Connack, OutgoingPublish, QoS, Reason, Reply, Version, encode, publish_size,
};
use mqtt_protocol_core::mqtt::packet::{v3_1_1, v5_0};

fn written(reply: &Reply, version: Version) -> Vec<u8> {
    let mut out = BytesMut::new();
    encode(reply, version, &mut out);
    out.to_vec()
}

fn answer(text: Option<&str>) -> Answer {
    let packet_id = NonZeroU16::new(7).unwrap();
    let reason = if text.is_some() { Reason::NotAuthorized } else { Reason::Success };
    Answer { packet_id, reason, text: text.map(str::to_owned) }
}

#[test]
fn acknowledgements_are_read_by_the_other() {
    for text in [None, Some("why")] {
        let puback = written(&Reply::Puback(answer(text)), Version::V5);
        assert_eq!(v5_0::Puback::parse(&puback[2..]).unwrap().0.packet_id(), 7);
        let pubrec = written(&Reply::Pubrec(answer(text)), Version::V5);
        assert_eq!(v5_0::Pubrec::parse(&pubrec[2..]).unwrap().0.packet_id(), 7);
    }
    for version in [Version::V5, Version::V3] {
        assert_eq!(written(&Reply::Pubrel(answer(None)), version), [0x62, 2, 0, 7]);
        assert_eq!(written(&Reply::Pubcomp(answer(None)), version), [0x70, 2, 0, 7]);
        assert_eq!(written(&Reply::Pingresp, version), [0xD0, 0]);
    }
    let denied = written(&Reply::Puback(answer(Some("why"))), Version::V3);
    assert_eq!(denied, [0x40, 2, 0, 7], "MQTT 3.1.1 has no reason codes");
}

#[test]
fn subacks_have_the_codes_of_their_version() {
    let answers = Answers {
        packet_id: NonZeroU16::new(7).unwrap(),
        reasons: vec![Reason::GrantedQoS2, Reason::NotAuthorized],
        text: Some("why".to_owned()),
    };
    let suback = written(&Reply::Suback(answers.clone()), Version::V5);
    assert_eq!(v5_0::Suback::parse(&suback[2..]).unwrap().0.reason_codes().len(), 2);
    assert_eq!(written(&Reply::Suback(answers.clone()), Version::V3), [0x90, 4, 0, 7, 2, 0x80]);
    assert_eq!(written(&Reply::Unsuback(answers), Version::V3), [0xB0, 2, 0, 7]);
}

#[test]
fn a_connack_tells_everything_it_has() {
    let connack = Connack {
        session_present: true,
        session_expiry: Some(9),
        receive_maximum: Some(5),
        maximum_packet_size: Some(1_000),
        topic_alias_maximum: Some(8),
        server_keep_alive: Some(60),
        assigned_client_id: Some("auto".to_owned()),
        response_information: Some("home".to_owned()),
        text: Some("why".to_owned()),
        user_properties: vec![("vouches-for-senders", "1".into())],
        ..Connack::default()
    };
    let bytes = written(&Reply::Connack(Box::new(connack)), Version::V5);
    let parsed = v5_0::Connack::parse(&bytes[2..]).unwrap().0;
    assert!(parsed.session_present());
    assert_eq!(parsed.props().len(), 9);
    for (reason, code) in [
        (Reason::Success, 0),
        (Reason::UnsupportedProtocolVersion, 1),
        (Reason::ClientIdentifierNotValid, 2),
        (Reason::QuotaExceeded, 3),
        (Reason::BadUserNameOrPassword, 4),
        (Reason::NotAuthorized, 5),
    ] {
        let refusal = Connack { reason, ..Connack::default() };
        assert_eq!(written(&Reply::Connack(Box::new(refusal)), Version::V3), [0x20, 2, 0, code]);
    }
}

#[test]
fn a_disconnect_is_written_for_mqtt_5_alone() {
    let reply =
        Reply::Disconnect { reason: Reason::SessionTakenOver, text: Some("why".to_owned()) };
    let bytes = written(&reply, Version::V5);
    assert!(v5_0::Disconnect::parse(&bytes[2..]).is_ok());
    assert!(written(&reply, Version::V3).is_empty());
}

#[test]
fn a_publish_is_as_long_as_it_says_at_every_size() {
    for size in [0, 1, 100, 127, 128, 16_000, 16_384, 2_097_152] {
        let payload = vec![b'x'; size];
        let publish = OutgoingPublish {
            dup: true,
            qos: QoS::AtLeastOnce,
            retain: true,
            topic: "a/topic",
            packet_id: NonZeroU16::new(7),
            expiry: Some(9),
            identifiers: &[1, 300],
            properties: &[0x01, 1],
            added: &[("sender-account", "anna")],
            payload: &payload,
        };
        for version in [Version::V5, Version::V3] {
            let mut out = BytesMut::new();
            publish.encode(version, &mut out);
            assert_eq!(out.len(), publish_size(&publish, version));
            let header = 1 + out[1..].iter().take_while(|byte| **byte & 0x80 != 0).count() + 1;
            let body: Arc<[u8]> = Arc::from(&out[header..]);
            if version == Version::V5 {
                let parsed = v5_0::Publish::parse(out[0] & 0x0F, body).unwrap().0;
                assert_eq!((parsed.topic_name(), parsed.payload().len()), ("a/topic", size));
                assert_eq!(parsed.props().len(), 5);
            } else {
                let parsed = v3_1_1::Publish::parse(out[0] & 0x0F, body).unwrap().0;
                assert_eq!((parsed.topic_name(), parsed.payload().len()), ("a/topic", size));
            }
        }
    }
}
