//! Packets that break the standard, each with the reason code that says so (MQTT 4.13).

use hearthd_broker::packet::{Reason, Version};

use crate::samples::{packet, read, text};

fn reason(bytes: &[u8], version: Version) -> Option<Reason> {
    read(bytes, version).err().map(|error| error.reason)
}

fn connect(version: u8, flags: u8, rest: &[u8]) -> Vec<u8> {
    packet(0x10, &[&text("MQTT")[..], &[version, flags, 0, 0], rest].concat())
}

fn publish(first: u8, rest: &[&[u8]]) -> Vec<u8> {
    packet(first, &rest.concat())
}

#[test]
fn a_broken_packet_is_refused_with_the_reason_code_of_the_standard() {
    let id = [0, 7];
    let topic = text("a");
    let two_types = [&[0x23, 0, 1, 0x23, 0, 2][..]].concat();
    let cases: Vec<(&str, Vec<u8>, Reason)> = vec![
        ("packet type 0", packet(0x00, &[]), Reason::MalformedPacket),
        ("SUBSCRIBE flags", packet(0x80, &[]), Reason::MalformedPacket),
        ("PUBREL flags", packet(0x60, &id), Reason::MalformedPacket),
        ("PINGREQ flags", packet(0xC1, &[]), Reason::MalformedPacket),
        ("five bytes of length", vec![0x30, 0x80, 0x80, 0x80, 0x80, 1], Reason::MalformedPacket),
        ("a padded length", vec![0x30, 0x80, 0x00], Reason::MalformedPacket),
        ("a packet of a broker", packet(0x20, &[0, 0, 0]), Reason::ProtocolError),
        (
            "MQTT 3.1",
            packet(0x10, &[&text("MQIsdp")[..], &[3, 2, 0, 0]].concat()),
            Reason::UnsupportedProtocolVersion,
        ),
        ("MQTT 6", connect(6, 2, &[0]), Reason::UnsupportedProtocolVersion),
        (
            "no MQTT",
            packet(0x10, &[&text("HTTP")[..], &[5, 2, 0, 0]].concat()),
            Reason::UnsupportedProtocolVersion,
        ),
        ("reserved connect flag", connect(5, 3, &[0, 0, 0]), Reason::MalformedPacket),
        ("will QoS 3", connect(5, 0x1E, &[0, 0, 0]), Reason::MalformedPacket),
        ("will QoS without a will", connect(5, 0x0A, &[0, 0, 0]), Reason::MalformedPacket),
        ("will retain without a will", connect(5, 0x22, &[0, 0, 0]), Reason::MalformedPacket),
        ("no client ID", connect(5, 2, &[0]), Reason::MalformedPacket),
        ("bytes after the end", connect(5, 2, &[0, 0, 0, 9]), Reason::MalformedPacket),
        ("receive maximum 0", connect(5, 2, &[3, 0x21, 0, 0, 0, 0]), Reason::ProtocolError),
        (
            "maximum packet size 0",
            connect(5, 2, &[5, 0x27, 0, 0, 0, 0, 0, 0]),
            Reason::ProtocolError,
        ),
        ("a flag of 2", connect(5, 2, &[2, 0x19, 2, 0, 0]), Reason::ProtocolError),
        ("a property twice", connect(5, 2, &[4, 0x19, 1, 0x19, 1, 0, 0]), Reason::ProtocolError),
        (
            "a property of another packet",
            connect(5, 2, &[3, 0x23, 0, 1, 0, 0]),
            Reason::ProtocolError,
        ),
        ("an unknown property", connect(5, 2, &[2, 0x7F, 0, 0, 0]), Reason::MalformedPacket),
        ("authentication data alone", connect(5, 2, &[3, 0x16, 0, 0, 0, 0]), Reason::ProtocolError),
        ("a client ID that is not UTF-8", connect(5, 2, &[0, 0, 1, 0xFF]), Reason::MalformedPacket),
        ("a surrogate", connect(5, 2, &[0, 0, 3, 0xED, 0xA0, 0x80]), Reason::MalformedPacket),
        ("a NUL", connect(5, 2, &[0, 0, 1, 0]), Reason::MalformedPacket),
        ("QoS 3", publish(0x36, &[&topic, &id, &[0]]), Reason::MalformedPacket),
        ("DUP at QoS 0", publish(0x38, &[&topic, &[0]]), Reason::MalformedPacket),
        ("packet identifier 0", publish(0x32, &[&topic, &[0, 0], &[0]]), Reason::ProtocolError),
        ("a wildcard in a topic", publish(0x30, &[&text("a/+"), &[0]]), Reason::TopicNameInvalid),
        ("no topic", publish(0x30, &[&text(""), &[0]]), Reason::ProtocolError),
        ("topic alias 0", publish(0x30, &[&topic, &[3, 0x23, 0, 0]]), Reason::TopicAliasInvalid),
        ("two topic aliases", publish(0x30, &[&topic, &[6], &two_types]), Reason::ProtocolError),
        (
            "a subscription identifier",
            publish(0x30, &[&topic, &[2, 0x0B, 1]]),
            Reason::ProtocolError,
        ),
        (
            "a response topic with a wildcard",
            publish(0x30, &[&topic, &[4, 0x08, 0, 1, b'#']]),
            Reason::ProtocolError,
        ),
        ("payload format 2", publish(0x30, &[&topic, &[2, 0x01, 2]]), Reason::ProtocolError),
        (
            "properties longer than the packet",
            publish(0x30, &[&topic, &[9, 0x01]]),
            Reason::MalformedPacket,
        ),
        ("PUBACK with packet identifier 0", packet(0x40, &[0, 0]), Reason::ProtocolError),
        ("PUBACK of one byte", packet(0x40, &[1]), Reason::MalformedPacket),
        ("PUBACK with an unknown code", packet(0x40, &[0, 1, 0x42]), Reason::MalformedPacket),
        ("PUBREL with a PUBACK's code", packet(0x62, &[0, 1, 0x97]), Reason::MalformedPacket),
        ("SUBSCRIBE without filters", packet(0x82, &[0, 7, 0]), Reason::ProtocolError),
        (
            "SUBSCRIBE without options",
            packet(0x82, &[&[0, 7, 0][..], &topic].concat()),
            Reason::MalformedPacket,
        ),
        (
            "subscription QoS 3",
            packet(0x82, &[&[0, 7, 0][..], &topic, &[3]].concat()),
            Reason::MalformedPacket,
        ),
        (
            "reserved options",
            packet(0x82, &[&[0, 7, 0][..], &topic, &[0x40]].concat()),
            Reason::MalformedPacket,
        ),
        (
            "retain handling 3",
            packet(0x82, &[&[0, 7, 0][..], &topic, &[0x30]].concat()),
            Reason::ProtocolError,
        ),
        (
            "subscription identifier 0",
            packet(0x82, &[&[0, 7, 2, 0x0B, 0][..], &topic, &[0]].concat()),
            Reason::ProtocolError,
        ),
        ("UNSUBSCRIBE without filters", packet(0xA2, &[0, 7, 0]), Reason::ProtocolError),
        ("a broker's DISCONNECT code", packet(0xE0, &[0x8B]), Reason::MalformedPacket),
        ("PINGREQ with a body", packet(0xC0, &[0]), Reason::MalformedPacket),
    ];
    for (what, bytes, expected) in cases {
        assert_eq!(reason(&bytes, Version::V5), Some(expected), "{what}: {bytes:02x?}");
    }
}

#[test]
fn mqtt_3_1_1_has_fewer_options_and_no_auth() {
    let topic = text("a");
    for (what, bytes) in [
        ("AUTH", packet(0xF0, &[])),
        ("No Local", packet(0x82, &[&[0, 7][..], &topic, &[4]].concat())),
        ("no topic", publish(0x30, &[&text("")])),
        ("a reason code", packet(0x40, &[0, 7, 0])),
        ("a password without a name", connect(4, 0x42, &[0, 0, 0, 0])),
    ] {
        assert!(reason(&bytes, Version::V3).is_some(), "{what}");
    }
}

#[test]
fn the_first_packet_is_a_connect_and_no_other_is() {
    let ping = packet(0xC0, &[]);
    let mut buffer = ping.as_slice().into();
    assert!(hearthd_broker::packet::next_frame(&mut buffer, 1_000, false).is_err());
    let connect = connect(5, 2, &[0, 0, 0]);
    let mut buffer = connect.as_slice().into();
    assert!(hearthd_broker::packet::next_frame(&mut buffer, 1_000, true).is_err());
}

#[test]
fn a_packet_above_the_limit_is_refused_by_its_header_alone() {
    let mut buffer = [0x30, 0xFF, 0xFF, 0x7F][..].into();
    let error = hearthd_broker::packet::next_frame(&mut buffer, 1_000, true).unwrap_err();
    assert_eq!(error.reason, Reason::PacketTooLarge);
}
