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
        ("packet identifier 0", publish(0x32, &[&topic, &[0, 0]])),
        ("SUBSCRIBE without filters", packet(0x82, &[0, 7])),
        ("SUBSCRIBE at QoS 3", packet(0x82, &[&[0, 7][..], &topic, &[3]].concat())),
        ("reserved options", packet(0x82, &[&[0, 7][..], &topic, &[0x80]].concat())),
        ("UNSUBSCRIBE without filters", packet(0xA2, &[0, 7])),
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

#[test]
fn fields_of_a_connect_are_there_as_its_flags_say() {
    let client = text("c");
    let fields = |flags: u8, fields: &[&[u8]], version: u8| {
        let will = if version == 5 && flags & 0x04 != 0 { &[0][..] } else { &[] };
        let properties = if version == 5 { &[0][..] } else { &[] };
        connect(version, flags, &[properties, &client, will, &fields.concat()].concat())
    };
    let (name, password) = (&text("name")[..], &text("password")[..]);
    let (topic, will) =
        (&text("will/topic")[..], &[text("will/topic"), text("payload")].concat()[..]);
    for (version, level) in [(Version::V5, 5), (Version::V3, 4)] {
        let read = |flags, given: &[&[u8]]| reason(&fields(flags, given, level), version);
        for (what, flags, given) in [
            ("nothing", 0x02, &[][..]),
            ("a name", 0x82, &[name]),
            ("both", 0xC2, &[name, password]),
            ("all", 0xE6, &[will, name, password]),
        ] {
            assert_eq!(read(flags, given), None, "{what} {version:?}");
        }
        for (what, flags, given) in [
            ("a name without its flag", 0x02, &[name][..]),
            ("no name with its flag", 0x82, &[]),
            ("a password without its flag", 0x82, &[name, password]),
            ("no password with its flag", 0xC2, &[name]),
            ("a will without its flag", 0x02, &[will]),
            ("no will with its flag", 0x06, &[]),
            ("a will without its payload", 0x06, &[topic]),
            ("will QoS without a will", 0x0A, &[]),
            ("will retain without a will", 0x22, &[]),
            ("will QoS 3", 0x1E, &[will]),
            ("the reserved flag", 0x03, &[]),
        ] {
            let found = read(flags, given);
            assert_eq!(found, Some(Reason::MalformedPacket), "{what} {version:?}");
        }
        let empty = packet(
            0x10,
            &[&text("MQTT")[..], &[level, 2, 0, 0], if level == 5 { &[0] } else { &[] }].concat(),
        );
        assert_eq!(reason(&empty, version), Some(Reason::MalformedPacket), "no client ID");
    }
}

/// Strings that are none: a byte that UTF-8 has not, a surrogate, a sequence that is cut, NUL.
const BAD: [&[u8]; 4] = [b"a\xFF", b"\xED\xA0\x80", b"\xC3", b"a\0"];

fn string(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u16).to_be_bytes()[..], bytes].concat()
}

#[test]
fn strings_of_a_connect_are_utf_8() {
    let good = text("good");
    for bad in BAD.map(string) {
        for (version, level) in [(Version::V5, 5), (Version::V3, 4)] {
            for place in 0..3 {
                let [client, topic, name] =
                    [0, 1, 2].map(|at| if at == place { bad.as_slice() } else { &good });
                let none: &[u8] = if level == 5 { &[0] } else { &[] };
                let body = [none, client, none, topic, &good, name].concat();
                let found = reason(&connect(level, 0x86, &body), version);
                assert_eq!(found, Some(Reason::MalformedPacket), "{place} {bad:02x?} {version:?}");
            }
        }
    }
}

#[test]
fn strings_of_other_packets_are_utf_8() {
    let topic = text("a");
    for bad in BAD.map(string) {
        let property = |id: u8| {
            let length = [1 + bad.len() as u8];
            publish(0x30, &[&topic, &length, &[id], &bad])
        };
        for (what, bytes) in [
            ("topic", publish(0x30, &[&bad, &[0]])),
            ("content type", property(0x03)),
            ("response topic", property(0x08)),
            ("filter", packet(0x82, &[&[0, 7, 0][..], &bad, &[0]].concat())),
            ("filter to end", packet(0xA2, &[&[0, 7, 0][..], &bad].concat())),
        ] {
            let found = reason(&bytes, Version::V5);
            assert_eq!(found, Some(Reason::MalformedPacket), "{what} {bad:02x?}");
        }
        for bytes in [
            publish(0x30, &[&bad]),
            packet(0x82, &[&[0, 7][..], &bad, &[0]].concat()),
            packet(0xA2, &[&[0, 7][..], &bad].concat()),
        ] {
            assert!(reason(&bytes, Version::V3).is_some(), "{bytes:02x?}");
        }
    }
}

#[test]
fn a_user_property_is_two_strings() {
    let good = text("good");
    for bad in BAD.map(string) {
        for pair in [[&bad, &good], [&good, &bad]] {
            let properties = [&[0x26][..], pair[0], pair[1]].concat();
            let bytes = publish(0x30, &[&text("a"), &[properties.len() as u8], &properties]);
            assert_eq!(reason(&bytes, Version::V5), Some(Reason::MalformedPacket));
        }
    }
}

#[test]
fn reserved_flags_of_every_packet_are_checked() {
    for version in [Version::V5, Version::V3] {
        for (kind, right) in
            [(1, 0), (4, 0), (5, 0), (6, 2), (7, 0), (8, 2), (10, 2), (12, 0), (14, 0), (15, 0)]
        {
            for flags in (0..16_u8).filter(|flags| *flags != right) {
                let found = reason(&packet(kind << 4 | flags, &[0; 20]), version);
                assert_eq!(found, Some(Reason::MalformedPacket), "{kind} {flags}");
            }
        }
    }
}
