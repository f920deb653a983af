//! MQTT packets as bytes: those that rumqttc cannot read, and what it leaves out.

use bytes::BytesMut;
use rumqttc::v5::mqttbytes::{Error as Unreadable, v5::Packet as Parsed};
use tokio::io::{AsyncRead, AsyncReadExt};

/// Reads packet by packet; cancelling the wait loses nothing.
pub(super) struct Packets<R> {
    pub(super) reader: R,
    received: BytesMut,
}

/// One packet.
pub(super) enum Packet {
    /// All of it.
    Whole(BytesMut),
    /// What has come of one that is too large.
    TooLarge(BytesMut),
}

impl<R: AsyncRead + Unpin> Packets<R> {
    /// Makes a reader of whole packets.
    pub(super) fn new(reader: R) -> Self {
        Self { reader, received: BytesMut::new() }
    }

    /// Waits for the next packet; none at the end.
    pub(super) async fn next(&mut self, largest: u32) -> std::io::Result<Option<Packet>> {
        loop {
            if let [_, rest @ ..] = &self.received[..]
                && let Some((remaining, header)) = variable_integer(rest)
            {
                let length = 1 + header + remaining;
                if remaining > largest as usize {
                    return Ok(Some(Packet::TooLarge(self.received.split())));
                }
                if self.received.len() >= length {
                    return Ok(Some(Packet::Whole(self.received.split_to(length))));
                }
            } else if self.received.len() > LONGEST_HEADER {
                // No length at all: rumqttc says so.
                return Ok(Some(Packet::TooLarge(self.received.split())));
            }
            if self.reader.read_buf(&mut self.received).await? == 0 {
                return Ok(None);
            }
        }
    }
}

/// A PUBLISH of the broker's.
#[derive(Debug)]
pub(super) enum Publication {
    /// rumqttc can read it.
    Readable,
    /// rumqttc can read this, which is the same without the properties that belong into other packets.
    Mended(Vec<u8>),
    /// Nobody can tell what it says.
    Unreadable(Unreadable),
}

impl Publication {
    /// Finds out whether rumqttc can read a PUBLISH, or could without the properties that do not belong there.
    pub(super) fn read(publish: &[u8]) -> Self {
        let Err(error) = parse(publish) else { return Self::Readable };
        match without_strays(publish) {
            Some(mended) if parse(&mended).is_ok() => Self::Mended(mended),
            _ => Self::Unreadable(error),
        }
    }
}

fn parse(packet: &[u8]) -> Result<Parsed, Unreadable> {
    Parsed::read(&mut BytesMut::from(packet), None)
}

/// Returns the topic of a PUBLISH, and the packet that refuses it where it wants an answer.
pub(super) fn refuse(publish: &[u8]) -> (&[u8], Option<[u8; 6]>) {
    let Some((topic, rest)) = body(publish).and_then(binary) else { return (&[], None) };
    let answer = match publish[0] >> 1 & 3 {
        1 => PUBACK,
        2 => PUBREC,
        _ => return (topic, None),
    };
    let packet_id = rest.first_chunk::<2>();
    let [high, low] = packet_id.copied().unwrap_or_default();
    // Without an identifier there is nothing to name.
    (topic, packet_id.map(|_| [answer, 4, high, low, IMPLEMENTATION_SPECIFIC_ERROR, 0]))
}

/// Returns Reason String and Server Reference of a CONNACK.
pub(super) fn refusal(connack: &[u8]) -> (Option<String>, Option<String>) {
    let mut found = (None, None);
    let properties = body(connack).and_then(|body| body.get(2..)).and_then(split_properties);
    for (id, property) in Properties(properties.unwrap_or_default().0) {
        let text = || Some(String::from_utf8_lossy(property.get(3..)?).into_owned());
        match id {
            REASON_STRING => found.0 = text(),
            SERVER_REFERENCE => found.1 = text(),
            _ => {}
        }
    }
    found
}

/// Writes a PUBLISH without the properties that belong into other packets (MQTT 3.3.2.3); none where it has no such, or
/// its properties do not add up.
fn without_strays(publish: &[u8]) -> Option<Vec<u8>> {
    let body = body(publish)?;
    let (topic, _) = binary(body)?;
    let packet_id = if publish[0] & 0x06 == 0 { 0 } else { 2 };
    let (before, rest) = body.split_at_checked(2 + topic.len() + packet_id)?;
    let (properties, payload) = split_properties(rest)?;
    let mut kept = Vec::new();
    let mut read = 0;
    for (id, property) in Properties(properties) {
        read += property.len();
        if OF_PUBLISH.contains(&id) {
            kept.extend_from_slice(property);
        }
    }
    if read != properties.len() || kept.len() == read {
        return None;
    }
    let mut body = before.to_vec();
    push_variable_integer(&mut body, kept.len());
    body.extend(kept);
    body.extend_from_slice(payload);
    let mut packet = vec![publish[0]];
    push_variable_integer(&mut packet, body.len());
    packet.extend(body);
    Some(packet)
}

/// Returns what follows the fixed header (MQTT 2.1.1).
fn body(packet: &[u8]) -> Option<&[u8]> {
    let (_, header) = variable_integer(packet.get(1..)?)?;
    packet.get(1 + header..)
}

/// Splits at the end of the properties (MQTT 2.2.2).
fn split_properties(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, header) = variable_integer(bytes)?;
    bytes.get(header..)?.split_at_checked(length)
}

/// Each property with its identifier, as far as they can be told apart.
struct Properties<'p>(&'p [u8]);

impl<'p> Iterator for Properties<'p> {
    type Item = (u8, &'p [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (id, value) = self.0.split_first()?;
        let length = match id {
            0x01 | 0x17 | 0x19 | 0x24 | 0x25 | 0x28 | 0x29 | 0x2A => 1,
            0x13 | 0x21 | 0x22 | 0x23 => 2,
            0x02 | 0x11 | 0x18 | 0x27 => 4,
            0x0B => variable_integer(value)?.1,
            0x03 | 0x08 | 0x09 | 0x12 | 0x15 | 0x16 | 0x1A | 0x1C | 0x1F => {
                2 + binary(value)?.0.len()
            }
            0x26 => {
                let (key, rest) = binary(value)?;
                4 + key.len() + binary(rest)?.0.len()
            }
            _ => return None,
        };
        let (property, rest) = self.0.split_at_checked(1 + length)?;
        self.0 = rest;
        Some((*id, property))
    }
}

/// Reads binary data or a string (MQTT 1.5.6), and what follows.
fn binary(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<2>()?;
    rest.split_at_checked(u16::from_be_bytes(*length).into())
}

/// Reads a Variable Byte Integer (MQTT 1.5.5): its value and how many bytes it takes.
fn variable_integer(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut value = 0;
    for (index, byte) in bytes.iter().take(4).enumerate() {
        value |= usize::from(byte & 0x7F) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((value, index + 1));
        }
    }
    None
}

fn push_variable_integer(packet: &mut Vec<u8>, mut value: usize) {
    loop {
        let digit = (value & 0x7F) as u8;
        value >>= 7;
        packet.push(if value > 0 { digit | 0x80 } else { digit });
        if value == 0 {
            return;
        }
    }
}

/// A type and the four bytes of a length.
const LONGEST_HEADER: usize = 5;
/// First bytes of packets (MQTT 2.1.2).
const PUBACK: u8 = 0x40;
const PUBREC: u8 = 0x50;
/// PUBACK and PUBREC: the receiver does not accept the message (MQTT 3.4.2.1).
const IMPLEMENTATION_SPECIFIC_ERROR: u8 = 0x83;
/// Properties (MQTT 2.2.2.2).
const REASON_STRING: u8 = 0x1F;
const SERVER_REFERENCE: u8 = 0x1C;
const OF_PUBLISH: [u8; 8] = [0x01, 0x02, 0x03, 0x08, 0x09, 0x0B, 0x23, 0x26];

#[cfg(test)]
mod tests {
    use rumqttc::v5::mqttbytes::{
        QoS,
        v5::{Publish, PublishProperties},
    };

    use super::*;

    fn publish(properties: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x32, 0, 0, 1, b't', 0, 7, properties.len() as u8];
        packet.extend(properties);
        packet.extend(b"ON");
        packet[1] = packet.len() as u8 - 2;
        packet
    }

    #[test]
    fn a_property_that_belongs_elsewhere_is_left_out_and_all_else_stays() {
        let ordinary = publish(&[0x01, 1, 0x26, 0, 1, b'k', 0, 1, b'v']);
        assert!(matches!(Publication::read(&ordinary), Publication::Readable));
        // Will Delay Interval, and a Reason String.
        let odd =
            publish(&[0x01, 1, 0x18, 0, 0, 0, 2, 0x26, 0, 1, b'k', 0, 1, b'v', 0x1F, 0, 1, b'r']);
        let Publication::Mended(mended) = Publication::read(&odd) else { panic!("mended") };
        assert_eq!(mended, ordinary);
    }

    #[test]
    fn what_nobody_can_read_is_refused_by_its_packet_identifier() {
        for properties in [&[0x7F][..], &[0x26, 0, 9, b'k'], &[0x03, 0, 2, 0xC3, 0x28]] {
            let packet = publish(properties);
            assert!(matches!(Publication::read(&packet), Publication::Unreadable(_)));
            assert_eq!(refuse(&packet), (&b"t"[..], Some([0x40, 4, 0, 7, 0x83, 0])));
        }
        assert_eq!(refuse(&[0x32, 2, 0, 9]), (&b""[..], None));
        assert_eq!(refuse(&[0x30, 3, 0, 1, b't']), (&b"t"[..], None));
    }

    #[test]
    fn whatever_comes_is_read_or_refused() {
        let properties = PublishProperties {
            response_topic: Some("response/phone/1".into()),
            correlation_data: Some("data".into()),
            user_properties: vec![("expiry".into(), "60".into())],
            message_expiry_interval: Some(60),
            ..PublishProperties::default()
        };
        let mut message = Publish::new("cmnd/lamp/power", QoS::AtLeastOnce, "ON", Some(properties));
        message.pkid = 7;
        let mut good = BytesMut::new();
        message.write(&mut good).unwrap();
        let mut random = fastrand::Rng::with_seed(7);
        for _ in 0..20_000 {
            let mut packet = good.to_vec();
            for _ in 0..random.usize(1..4) {
                let at = random.usize(2..packet.len());
                packet[at] = random.u8(..);
            }
            if let Publication::Mended(mended) = Publication::read(&packet) {
                assert!(matches!(Publication::read(&mended), Publication::Readable));
            }
            refuse(&packet);
        }
    }

    #[test]
    fn a_refusal_is_read_whatever_its_code() {
        let mut connack = vec![0x20, 0, 0, 0x42, 12];
        connack.extend([0x1F, 0, 3, b'w', b'h', b'y', 0x1C, 0, 3, b'h', b':', b'1']);
        connack[1] = connack.len() as u8 - 2;
        assert_eq!(refusal(&connack), (Some("why".into()), Some("h:1".into())));
        assert_eq!(refusal(&[0x20, 2, 0, 1]), (None, None));
    }

    #[tokio::test]
    async fn packets_come_one_by_one_however_their_bytes_do() {
        let mut packets = Packets::new(&[0xD0, 0, 0x40, 2, 0, 1, 0x30, 0xFF, 0x7F, 1][..]);
        for expected in [&[0xD0, 0][..], &[0x40, 2, 0, 1]] {
            let Ok(Some(Packet::Whole(packet))) = packets.next(1000).await else { panic!() };
            assert_eq!(packet[..], *expected);
        }
        let Ok(Some(Packet::TooLarge(beginning))) = packets.next(1000).await else { panic!() };
        assert_eq!(beginning[..], [0x30, 0xFF, 0x7F, 1]);
        assert!(matches!(packets.next(1000).await, Ok(None)));
    }
}
