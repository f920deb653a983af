//! Packets as clients write them, by hand.

use bytes::BytesMut;
use hearthd_broker::packet::{Received, Version, WireError, decode, next_frame};

/// Reads one packet; none where bytes are missing.
pub(crate) fn read(bytes: &[u8], version: Version) -> Result<Option<Received>, WireError> {
    let mut buffer = BytesMut::from(bytes);
    let open = bytes.first().is_some_and(|first| first >> 4 != 1);
    next_frame(&mut buffer, 1_000_000, open)?.map(|frame| decode(&frame, version)).transpose()
}

/// Writes a packet with its fixed header.
pub(crate) fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    let mut length = body.len();
    loop {
        let byte = (length & 0x7F) as u8;
        length >>= 7;
        bytes.push(if length > 0 { byte | 0x80 } else { byte });
        if length == 0 {
            break;
        }
    }
    bytes.extend(body);
    bytes
}

pub(crate) fn text(text: &str) -> Vec<u8> {
    let mut bytes = (text.len() as u16).to_be_bytes().to_vec();
    bytes.extend(text.as_bytes());
    bytes
}

/// Returns valid packets of every kind that a client sends, with all that they may carry.
pub(crate) fn valid(version: Version) -> Vec<Vec<u8>> {
    let v5 = version == Version::V5;
    let properties = |properties: &[u8]| {
        if v5 { [&[properties.len() as u8][..], properties].concat() } else { Vec::new() }
    };
    let pair = [&[0x26][..], &text("name"), &text("value")].concat();
    let connect = [
        &text("MQTT")[..],
        &[if v5 { 5 } else { 4 }, 0b1110_1110, 0, 60],
        &properties(
            &[&[0x11, 0, 0, 0, 9, 0x21, 0, 5, 0x27, 0, 1, 0, 0, 0x19, 1, 0x17, 0], &pair[..]]
                .concat(),
        ),
        &text("client"),
        &properties(&[&[0x18, 0, 0, 0, 5, 0x01, 1, 0x02, 0, 0, 0, 7], &pair[..]].concat()),
        &text("will/topic"),
        &text("will payload"),
        &text("user"),
        &text("password"),
    ]
    .concat();
    let forwarded = [
        &[0x01, 1][..],
        &[0x02, 0, 0, 0, 7],
        &[&[0x03][..], &text("text/plain")].concat(),
        &[&[0x08][..], &text("a/response")].concat(),
        &[&[0x09][..], &text("correlation")].concat(),
        &[0x23, 0, 3],
        &pair,
        &pair,
    ]
    .concat();
    let publish = |id: &[u8], payload: &str| {
        [&text("a/topic")[..], id, &properties(&forwarded), payload.as_bytes()].concat()
    };
    let ack = |code: u8| if v5 { vec![0, 7, code, 0] } else { vec![0, 7] };
    let mut packets = vec![
        packet(0x10, &connect),
        packet(0x30, &publish(&[], "QoS 0")),
        packet(0x33, &publish(&[0, 7], "QoS 1, retained")),
        packet(0x3C, &publish(&[0, 7], "QoS 2, again")),
        packet(0x40, &ack(0x10)),
        packet(0x40, &[0, 7]),
        packet(0x50, &ack(0x97)),
        packet(0x62, &ack(0x92)),
        packet(0x70, &ack(0)),
        packet(
            0x82,
            &[
                &[0, 7][..],
                &properties(&[0x0B, 0x81, 0x01]),
                &text("a/+/#"),
                &[2],
                &text("b"),
                &[0],
            ]
            .concat(),
        ),
        packet(0xA2, &[&[0, 7][..], &properties(&pair), &text("a/+/#"), &text("b")].concat()),
        packet(0xC0, &[]),
        packet(0xE0, &[]),
    ];
    if v5 {
        packets.push(packet(0xE0, &[4, 5, 0x11, 0, 0, 0, 9]));
        packets.push(packet(0xF0, &[0x18, 7, 0x15, 0, 4, b'S', b'C', b'R', b'A']));
    }
    packets
}

#[test]
fn every_packet_of_a_client_is_read() {
    for version in [Version::V5, Version::V3] {
        for bytes in valid(version) {
            let read = read(&bytes, version);
            assert!(matches!(read, Ok(Some(_))), "{version:?} {bytes:02x?}: {read:?}");
        }
    }
}

#[test]
fn a_packet_is_waited_for_until_its_last_byte() {
    for bytes in valid(Version::V5) {
        for end in 0..bytes.len() {
            assert_eq!(read(&bytes[..end], Version::V5), Ok(None), "{:02x?}", &bytes[..end]);
        }
    }
}

#[test]
fn what_goes_to_subscribers_stays_as_it_was_and_the_rest_is_taken_out() {
    let Ok(Some(Received::Publish(publish))) = read(&valid(Version::V5)[2], Version::V5) else {
        panic!("no PUBLISH")
    };
    assert_eq!((publish.topic.as_str(), publish.retain), ("a/topic", true));
    assert_eq!((publish.expiry, publish.alias.map(|it| it.get())), (Some(7), Some(3)));
    assert_eq!(publish.properties.user_properties(), [("name", "value"), ("name", "value")]);
    assert_eq!(&publish.payload[..], b"QoS 1, retained");
}
