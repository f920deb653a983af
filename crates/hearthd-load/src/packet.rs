//! MQTT 5 packets as bytes: no more of them than a measurement needs, and nothing copied that need not be.

/// What may come from a broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Packet<'b> {
    Connack { reason_code: u8, receive_maximum: u16 },
    Suback { reason_code: u8 },
    Publish(Publish<'b>),
    Puback { reason_code: u8 },
    Other,
}

/// An application message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Publish<'b> {
    pub(crate) topic: &'b [u8],
    /// None at QoS 0.
    pub(crate) packet_id: Option<u16>,
    pub(crate) response_topic: Option<&'b [u8]>,
    pub(crate) correlation_data: Option<&'b [u8]>,
    /// Message Expiry Interval in seconds; never read.
    pub(crate) expiry: Option<u32>,
    /// The user property `__stat` of an answer; never written.
    pub(crate) status: Option<&'b [u8]>,
    pub(crate) payload: &'b [u8],
}

/// A packet that breaks the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// Reads the packet at the front and how many bytes it takes; none where it is not all there.
pub(crate) fn read(buffer: &[u8]) -> Result<Option<(Packet<'_>, usize)>, Malformed> {
    let mut reader = Reader(buffer);
    let (Ok(first), Ok(length)) = (reader.byte(), reader.variable()) else {
        return if buffer.len() > LONGEST_HEADER { Err(Malformed) } else { Ok(None) };
    };
    let header = buffer.len() - reader.0.len();
    let Ok(body) = reader.take(length) else { return Ok(None) };
    let mut body = Reader(body);
    let packet = match first >> 4 {
        CONNACK => {
            body.byte()?;
            let reason_code = body.byte()?;
            let properties = body.properties()?;
            let receive_maximum = properties.receive_maximum.unwrap_or(u16::MAX);
            Packet::Connack { reason_code, receive_maximum }
        }
        PUBLISH => Packet::Publish(publish(first, body)?),
        PUBACK => {
            body.u16()?;
            Packet::Puback { reason_code: body.byte().unwrap_or(0) }
        }
        SUBACK => {
            body.u16()?;
            body.properties()?;
            Packet::Suback { reason_code: body.byte()? }
        }
        _ => Packet::Other,
    };
    Ok(Some((packet, header + length)))
}

fn publish(first: u8, mut body: Reader<'_>) -> Result<Publish<'_>, Malformed> {
    let topic = body.text()?;
    let packet_id = if first & 0b110 == 0 { None } else { Some(body.u16()?) };
    let Properties { response_topic, correlation_data, status, .. } = body.properties()?;
    let payload = body.0;
    Ok(Publish {
        topic,
        packet_id,
        response_topic,
        correlation_data,
        expiry: None,
        status,
        payload,
    })
}

/// Writes CONNECT: with Clean Start, or to a session that is kept for a while.
pub(crate) fn write_connect(
    out: &mut Vec<u8>,
    client_id: &str,
    login: Option<(&str, &str)>,
    keep_session: bool,
) {
    let mut body = Vec::new();
    push_text(&mut body, b"MQTT");
    let version = 5;
    let flags = if login.is_some() { 0b1100_0000 } else { 0 } | if keep_session { 0 } else { 0b10 };
    // No keep alive.
    body.extend([version, flags, 0, 0]);
    if keep_session {
        body.extend([5, SESSION_EXPIRY]);
        body.extend(3600_u32.to_be_bytes());
    } else {
        body.push(0);
    }
    push_text(&mut body, client_id.as_bytes());
    if let Some((user, password)) = login {
        push_text(&mut body, user.as_bytes());
        push_text(&mut body, password.as_bytes());
    }
    push_packet(out, CONNECT << 4, &body);
}

/// Writes SUBSCRIBE at QoS 1.
pub(crate) fn write_subscribe(out: &mut Vec<u8>, filter: &str) {
    let mut body = vec![0, 1, 0];
    push_text(&mut body, filter.as_bytes());
    body.push(1);
    push_packet(out, SUBSCRIBE << 4 | 0b10, &body);
}

/// Writes PUBLISH.
pub(crate) fn write_publish(out: &mut Vec<u8>, publish: &Publish<'_>) {
    let property = |value: Option<&[u8]>| value.map_or(0, |value| 3 + value.len());
    let expiry = publish.expiry.map_or(0, |_| 5);
    let properties = expiry + property(publish.response_topic) + property(publish.correlation_data);
    let packet_id = publish.packet_id.map_or(0, |_| 2);
    let length = 2 + publish.topic.len() + packet_id + variable_size(properties) + properties;
    out.push(PUBLISH << 4 | if packet_id > 0 { 0b10 } else { 0 });
    push_variable(out, length + publish.payload.len());
    push_text(out, publish.topic);
    out.extend(publish.packet_id.iter().flat_map(|id| id.to_be_bytes()));
    push_variable(out, properties);
    if let Some(seconds) = publish.expiry {
        out.push(MESSAGE_EXPIRY);
        out.extend(seconds.to_be_bytes());
    }
    let both =
        [(RESPONSE_TOPIC, publish.response_topic), (CORRELATION_DATA, publish.correlation_data)];
    for (identifier, value) in both {
        if let Some(value) = value {
            out.push(identifier);
            push_text(out, value);
        }
    }
    out.extend_from_slice(publish.payload);
}

/// Writes PUBACK with reason code 0.
pub(crate) fn write_puback(out: &mut Vec<u8>, packet_id: u16) {
    let [high, low] = packet_id.to_be_bytes();
    out.extend([PUBACK << 4, 2, high, low]);
}

fn push_packet(out: &mut Vec<u8>, first: u8, body: &[u8]) {
    out.push(first);
    push_variable(out, body.len());
    out.extend_from_slice(body);
}

fn push_text(out: &mut Vec<u8>, text: &[u8]) {
    let length = u16::try_from(text.len()).expect("the measurement's texts are short");
    out.extend(length.to_be_bytes());
    out.extend_from_slice(text);
}

fn push_variable(out: &mut Vec<u8>, mut value: usize) {
    loop {
        let digit = (value & 0x7F) as u8;
        value >>= 7;
        out.push(if value > 0 { digit | 0x80 } else { digit });
        if value == 0 {
            return;
        }
    }
}

fn variable_size(value: usize) -> usize {
    match value {
        0..0x80 => 1,
        0x80..0x4000 => 2,
        0x4000..0x20_0000 => 3,
        _ => 4,
    }
}

/// The properties that a measurement looks at (MQTT 2.2.2.2).
#[derive(Debug, Default)]
struct Properties<'b> {
    receive_maximum: Option<u16>,
    response_topic: Option<&'b [u8]>,
    correlation_data: Option<&'b [u8]>,
    status: Option<&'b [u8]>,
}

/// What is left of a packet.
#[derive(Debug)]
struct Reader<'b>(&'b [u8]);

impl<'b> Reader<'b> {
    fn take(&mut self, length: usize) -> Result<&'b [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, Malformed> {
        Ok(self.take(1)?[0])
    }

    fn u16(&mut self) -> Result<u16, Malformed> {
        let bytes = self.take(2)?;
        Ok(u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    fn text(&mut self) -> Result<&'b [u8], Malformed> {
        let length = self.u16()?;
        self.take(length.into())
    }

    fn variable(&mut self) -> Result<usize, Malformed> {
        let mut value = 0;
        for shift in [0, 7, 14, 21] {
            let byte = self.byte()?;
            value |= usize::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Malformed)
    }

    fn properties(&mut self) -> Result<Properties<'b>, Malformed> {
        let length = self.variable()?;
        let mut all = Reader(self.take(length)?);
        let mut found = Properties::default();
        while !all.0.is_empty() {
            match all.byte()? {
                RESPONSE_TOPIC => found.response_topic = Some(all.text()?),
                CORRELATION_DATA => found.correlation_data = Some(all.text()?),
                RECEIVE_MAXIMUM => found.receive_maximum = Some(all.u16()?),
                0x01 | 0x17 | 0x19 | 0x24 | 0x25 | 0x28..=0x2A => drop(all.take(1)?),
                0x13 | 0x22 | 0x23 => drop(all.take(2)?),
                MESSAGE_EXPIRY | SESSION_EXPIRY | 0x18 | 0x27 => drop(all.take(4)?),
                0x0B => drop(all.variable()?),
                0x03 | 0x12 | 0x15 | 0x16 | 0x1A | 0x1C | 0x1F => drop(all.text()?),
                0x26 => {
                    let (name, value) = (all.text()?, all.text()?);
                    found.status = found.status.or((name == b"__stat").then_some(value));
                }
                _ => return Err(Malformed),
            }
        }
        Ok(found)
    }
}

const CONNECT: u8 = 1;
const CONNACK: u8 = 2;
const PUBLISH: u8 = 3;
const PUBACK: u8 = 4;
const SUBSCRIBE: u8 = 8;
const SUBACK: u8 = 9;
const MESSAGE_EXPIRY: u8 = 0x02;
const SESSION_EXPIRY: u8 = 0x11;
const RESPONSE_TOPIC: u8 = 0x08;
const CORRELATION_DATA: u8 = 0x09;
const RECEIVE_MAXIMUM: u8 = 0x21;
const LONGEST_HEADER: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again_once_it_is_all_there() {
        let payload = [b'x'; 1024];
        let publish = Publish {
            topic: b"alice/cmnd/light-0/power",
            packet_id: Some(513),
            response_topic: Some(b"alice/response/load-0/r"),
            correlation_data: Some(&[0, 1, 2]),
            expiry: None,
            status: None,
            payload: &payload,
        };
        let mut bytes = Vec::new();
        write_publish(&mut bytes, &publish);
        for cut in 0..bytes.len() {
            assert_eq!(read(&bytes[..cut]), Ok(None), "{cut} bytes");
        }
        let length = bytes.len();
        write_puback(&mut bytes, 7);
        assert_eq!(read(&bytes), Ok(Some((Packet::Publish(publish), length))));
        assert_eq!(read(&bytes[length..]), Ok(Some((Packet::Puback { reason_code: 0 }, 4))));
    }

    #[test]
    fn a_connack_tells_its_receive_maximum_among_other_properties() {
        // Response Information, Receive Maximum, User Property, Maximum QoS.
        let properties = b"\x1A\x00\x05alice\x21\x00\x14\x26\x00\x01a\x00\x01b\x24\x01";
        let mut bytes =
            vec![CONNACK << 4, 3 + properties.len() as u8, 0, 0, properties.len() as u8];
        bytes.extend_from_slice(properties);
        let connack = Packet::Connack { reason_code: 0, receive_maximum: 20 };
        assert_eq!(read(&bytes), Ok(Some((connack, bytes.len()))));
        // A property that MQTT 5 does not have.
        bytes[5] = 0x7F;
        assert_eq!(read(&bytes), Err(Malformed));
    }
}
