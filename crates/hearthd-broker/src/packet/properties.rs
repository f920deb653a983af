//! Properties (MQTT 2.2.2).

use super::{WireError, reader::Reader};

/// The properties of an application message that go to its subscribers unaltered, as they came: Payload Format
/// Indicator, Content Type, Response Topic, Correlation Data and user properties, in order (MQTT 3.3.2.3).
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Forwarded(Box<[u8]>);

impl Forwarded {
    /// Takes encoded properties for granted.
    pub fn from_encoded(encoded: &[u8]) -> Self {
        Self(encoded.into())
    }

    /// Returns them encoded, without their length.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Returns the user properties, in order.
    pub fn user_properties(&self) -> Vec<(&str, &str)> {
        let mut found = Vec::new();
        let mut reader = Reader::new(&self.0);
        while let Ok((id, value)) = next(&mut reader) {
            if let (USER_PROPERTY, Value::Pair(name, value)) = (id, value) {
                found.push((name, value));
            }
        }
        found
    }
}

impl std::fmt::Debug for Forwarded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Forwarded({} bytes)", self.0.len())
    }
}

/// Removes user properties with these names, which only the broker may set.
pub(crate) fn remove_user_properties(properties: Forwarded, names: &[&str]) -> Forwarded {
    let is_removed = |(name, _): &(&str, &str)| names.contains(name);
    if !properties.user_properties().iter().any(is_removed) {
        return properties;
    }
    let mut kept = Vec::with_capacity(properties.0.len());
    let mut reader = Reader::new(&properties.0);
    loop {
        let before = reader.rest();
        let Ok((_, value)) = next(&mut reader) else { break };
        let removed = matches!(value, Value::Pair(name, _) if names.contains(&name));
        if !removed {
            kept.extend_from_slice(&before[..before.len() - reader.rest().len()]);
        }
    }
    Forwarded(kept.into())
}

/// The value of one property.
#[derive(Clone, Copy, Debug)]
pub(super) enum Value<'b> {
    Byte(u8),
    Two(u16),
    Four(u32),
    Variable(u32),
    Text(&'b str),
    Binary,
    Pair(&'b str, &'b str),
}

/// Reads the properties of a packet, and calls `take` for each.
///
/// `allowed` has a bit for each identifier that the packet may carry. A second property of one kind is refused, apart
/// from user properties (MQTT 2.2.2.2). The bytes of what is forwarded are returned.
pub(super) fn read<'b>(
    reader: &mut Reader<'b>,
    allowed: u64,
    mut take: impl FnMut(u8, Value<'b>) -> Result<(), WireError>,
) -> Result<Forwarded, WireError> {
    let length = reader.variable()?;
    let mut properties = Reader::new(reader.bytes(length as usize)?);
    let mut seen = 0_u64;
    let mut forwarded = Vec::new();
    while !properties.is_empty() {
        let before = properties.rest();
        let (id, value) = next(&mut properties)?;
        let bit = 1_u64 << id;
        if allowed & bit == 0 {
            return Err(WireError::protocol("a property that this packet cannot have"));
        }
        if seen & bit != 0 && id != USER_PROPERTY {
            return Err(WireError::protocol("a property twice"));
        }
        seen |= bit;
        if FORWARDED & bit != 0 {
            check_forwarded(id, value)?;
            forwarded.extend_from_slice(&before[..before.len() - properties.rest().len()]);
        } else {
            take(id, value)?;
        }
    }
    Ok(Forwarded(forwarded.into()))
}

/// Reads over properties that mean nothing to a broker.
pub(super) fn skip(reader: &mut Reader<'_>, allowed: u64) -> Result<(), WireError> {
    read(reader, allowed, |_, _| Ok(())).map(drop)
}

fn next<'b>(reader: &mut Reader<'b>) -> Result<(u8, Value<'b>), WireError> {
    let id = reader.byte()?;
    let value = match id {
        PAYLOAD_FORMAT | REQUEST_PROBLEM | REQUEST_RESPONSE => Value::Byte(reader.byte()?),
        RECEIVE_MAXIMUM | TOPIC_ALIAS_MAXIMUM | TOPIC_ALIAS => Value::Two(reader.two()?),
        MESSAGE_EXPIRY | SESSION_EXPIRY | WILL_DELAY | MAXIMUM_PACKET_SIZE => {
            Value::Four(reader.four()?)
        }
        SUBSCRIPTION_IDENTIFIER => Value::Variable(reader.variable()?),
        CONTENT_TYPE | RESPONSE_TOPIC | AUTHENTICATION_METHOD | REASON_STRING => {
            Value::Text(reader.text()?)
        }
        CORRELATION_DATA | AUTHENTICATION_DATA => {
            reader.binary()?;
            Value::Binary
        }
        USER_PROPERTY => Value::Pair(reader.text()?, reader.text()?),
        _ => return Err(WireError::malformed("an unknown property")),
    };
    Ok((id, value))
}

fn check_forwarded(id: u8, value: Value<'_>) -> Result<(), WireError> {
    match (id, value) {
        (PAYLOAD_FORMAT, Value::Byte(2..)) => {
            Err(WireError::protocol("a payload format indicator other than 0 and 1"))
        }
        (RESPONSE_TOPIC, Value::Text(topic)) if topic.is_empty() || topic.contains(['+', '#']) => {
            Err(WireError::protocol("a response topic that is no topic name"))
        }
        _ => Ok(()),
    }
}

/// Returns the set of these identifiers.
const fn set(ids: &[u8]) -> u64 {
    let mut bits = 0;
    let mut at = 0;
    while at < ids.len() {
        bits |= 1 << ids[at];
        at += 1;
    }
    bits
}

const FORWARDED: u64 =
    set(&[PAYLOAD_FORMAT, CONTENT_TYPE, RESPONSE_TOPIC, CORRELATION_DATA, USER_PROPERTY]);
pub(super) const OF_CONNECT: u64 = set(&[
    SESSION_EXPIRY,
    RECEIVE_MAXIMUM,
    MAXIMUM_PACKET_SIZE,
    TOPIC_ALIAS_MAXIMUM,
    REQUEST_RESPONSE,
    REQUEST_PROBLEM,
    USER_PROPERTY,
    AUTHENTICATION_METHOD,
    AUTHENTICATION_DATA,
]);
pub(super) const OF_WILL: u64 = FORWARDED | set(&[WILL_DELAY, MESSAGE_EXPIRY]);
pub(super) const OF_PUBLISH: u64 = FORWARDED | set(&[MESSAGE_EXPIRY, TOPIC_ALIAS]);
pub(super) const OF_ACK: u64 = set(&[REASON_STRING, USER_PROPERTY]);
pub(super) const OF_SUBSCRIBE: u64 = set(&[SUBSCRIPTION_IDENTIFIER, USER_PROPERTY]);
pub(super) const OF_UNSUBSCRIBE: u64 = set(&[USER_PROPERTY]);
pub(super) const OF_DISCONNECT: u64 = set(&[SESSION_EXPIRY, REASON_STRING, USER_PROPERTY]);
pub(super) const OF_AUTH: u64 =
    set(&[AUTHENTICATION_METHOD, AUTHENTICATION_DATA, REASON_STRING, USER_PROPERTY]);

const PAYLOAD_FORMAT: u8 = 0x01;
pub(super) const MESSAGE_EXPIRY: u8 = 0x02;
const CONTENT_TYPE: u8 = 0x03;
const RESPONSE_TOPIC: u8 = 0x08;
const CORRELATION_DATA: u8 = 0x09;
pub(super) const SUBSCRIPTION_IDENTIFIER: u8 = 0x0B;
pub(super) const SESSION_EXPIRY: u8 = 0x11;
pub(super) const ASSIGNED_CLIENT_ID: u8 = 0x12;
pub(super) const SERVER_KEEP_ALIVE: u8 = 0x13;
pub(super) const AUTHENTICATION_METHOD: u8 = 0x15;
const AUTHENTICATION_DATA: u8 = 0x16;
pub(super) const REQUEST_PROBLEM: u8 = 0x17;
pub(super) const WILL_DELAY: u8 = 0x18;
pub(super) const REQUEST_RESPONSE: u8 = 0x19;
pub(super) const RESPONSE_INFORMATION: u8 = 0x1A;
pub(super) const REASON_STRING: u8 = 0x1F;
pub(super) const RECEIVE_MAXIMUM: u8 = 0x21;
pub(super) const TOPIC_ALIAS_MAXIMUM: u8 = 0x22;
pub(super) const TOPIC_ALIAS: u8 = 0x23;
pub(super) const USER_PROPERTY: u8 = 0x26;
pub(super) const MAXIMUM_PACKET_SIZE: u8 = 0x27;
