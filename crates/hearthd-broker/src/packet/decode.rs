//! Reads what clients send (MQTT 3).

use std::num::NonZeroU16;

use bytes::Bytes;

use super::{
    Ack, Connect, Disconnect, Frame, Publish, QoS, Reason, Received, Subscribe,
    SubscriptionOptions, Unsubscribe, Version, Will, WireError,
    frame::{
        AUTH, CONNECT, DISCONNECT, PINGREQ, PUBACK, PUBCOMP, PUBLISH, PUBREC, PUBREL, SUBSCRIBE,
        UNSUBSCRIBE,
    },
    properties::{self, Forwarded, Value},
    reader::Reader,
};

/// Reads one packet of a connection; `version` is what its CONNECT said.
///
/// # Errors
/// Where the packet is malformed or breaks the protocol by itself (MQTT 4.13).
pub fn decode(frame: &Frame, version: Version) -> Result<Received, WireError> {
    let mut reader = Reader::new(&frame.body);
    let packet = match frame.first >> 4 {
        CONNECT => Received::Connect(Box::new(connect(&mut reader)?)),
        PUBLISH => return publish(frame, version).map(Received::Publish),
        PUBACK => Received::Puback(ack(&mut reader, version, PUBACK_REASONS)?),
        PUBREC => Received::Pubrec(ack(&mut reader, version, PUBACK_REASONS)?),
        PUBREL => Received::Pubrel(ack(&mut reader, version, PUBREL_REASONS)?),
        PUBCOMP => Received::Pubcomp(ack(&mut reader, version, PUBREL_REASONS)?),
        SUBSCRIBE => Received::Subscribe(subscribe(&mut reader, version)?),
        UNSUBSCRIBE => Received::Unsubscribe(unsubscribe(&mut reader, version)?),
        PINGREQ => Received::Pingreq,
        DISCONNECT => Received::Disconnect(disconnect(&mut reader, version)?),
        AUTH if version == Version::V5 => {
            if !reader.is_empty() {
                reader.byte()?;
                properties::skip(&mut reader, properties::OF_AUTH)?;
            }
            Received::Auth
        }
        _ => return Err(WireError::malformed("a packet type that this version has not")),
    };
    reader.finish()?;
    Ok(packet)
}

fn connect(reader: &mut Reader<'_>) -> Result<Connect, WireError> {
    let version = protocol_version(reader)?;
    let flags = ConnectFlags::read(reader.byte()?, version)?;
    let mut connect = Connect {
        version,
        clean_start: flags.clean_start,
        keep_alive: reader.two()?,
        client_id: String::new(),
        username: None,
        password: None,
        will: None,
        session_expiry: 0,
        receive_maximum: None,
        maximum_packet_size: None,
        wants_response_information: false,
        wants_problem_information: true,
        authentication_method: None,
    };
    match version {
        Version::V3 if !flags.clean_start => connect.session_expiry = u32::MAX,
        Version::V3 => {}
        Version::V5 => connect_properties(reader, &mut connect)?,
    }
    connect.client_id = reader.text()?.to_owned();
    if let Some((qos, retain)) = flags.will {
        connect.will = Some(will(reader, version, qos, retain)?);
    }
    if flags.username {
        connect.username = Some(reader.text()?.to_owned());
    }
    if flags.password {
        connect.password = Some(reader.binary()?.to_vec());
    }
    Ok(connect)
}

/// Reads Protocol Name and Protocol Version (MQTT 3.1.2.1).
fn protocol_version(reader: &mut Reader<'_>) -> Result<Version, WireError> {
    let unsupported = |what| WireError { reason: Reason::UnsupportedProtocolVersion, what };
    match (reader.binary()?, reader.byte()?) {
        (b"MQTT", 5) => Ok(Version::V5),
        (b"MQTT", 4) => Ok(Version::V3),
        (b"MQTT", _) => Err(unsupported("only MQTT 5 and 3.1.1 are spoken here")),
        (b"MQIsdp", _) => Err(unsupported("MQTT 3.1 is not spoken here, only 3.1.1 and 5")),
        _ => Err(unsupported("the protocol is not MQTT")),
    }
}

/// Connect Flags (MQTT 3.1.2.3).
#[derive(Debug)]
struct ConnectFlags {
    clean_start: bool,
    will: Option<(QoS, bool)>,
    username: bool,
    password: bool,
}

impl ConnectFlags {
    fn read(bits: u8, version: Version) -> Result<Self, WireError> {
        if bits & 0x01 != 0 {
            return Err(WireError::malformed("the reserved connect flag"));
        }
        let qos = QoS::from_bits((bits >> 3) & 0x03).ok_or(QOS_3)?;
        let has_will = bits & 0x04 != 0;
        let retain = bits & 0x20 != 0;
        if !has_will && (retain || qos != QoS::AtMostOnce) {
            return Err(WireError::malformed("flags of a will without a will"));
        }
        let flags = Self {
            clean_start: bits & 0x02 != 0,
            will: has_will.then_some((qos, retain)),
            username: bits & 0x80 != 0,
            password: bits & 0x40 != 0,
        };
        if version == Version::V3 && flags.password && !flags.username {
            return Err(WireError::malformed("a password without a user name"));
        }
        Ok(flags)
    }
}

fn connect_properties(reader: &mut Reader<'_>, connect: &mut Connect) -> Result<(), WireError> {
    let mut authentication_data = false;
    properties::read(reader, properties::OF_CONNECT, |id, value| {
        match (id, value) {
            (properties::SESSION_EXPIRY, Value::Four(seconds)) => connect.session_expiry = seconds,
            (properties::RECEIVE_MAXIMUM, Value::Two(maximum)) => {
                connect.receive_maximum =
                    Some(NonZeroU16::new(maximum).ok_or(WireError::protocol("receive maximum 0"))?);
            }
            (properties::MAXIMUM_PACKET_SIZE, Value::Four(0)) => {
                return Err(WireError::protocol("maximum packet size 0"));
            }
            (properties::MAXIMUM_PACKET_SIZE, Value::Four(size)) => {
                connect.maximum_packet_size = Some(size);
            }
            (properties::REQUEST_RESPONSE, Value::Byte(flag)) => {
                connect.wants_response_information = boolean(flag)?;
            }
            (properties::REQUEST_PROBLEM, Value::Byte(flag)) => {
                connect.wants_problem_information = boolean(flag)?;
            }
            (properties::AUTHENTICATION_METHOD, Value::Text(method)) => {
                connect.authentication_method = Some(method.to_owned());
            }
            (_, Value::Binary) => authentication_data = true,
            _ => {}
        }
        Ok(())
    })?;
    if authentication_data && connect.authentication_method.is_none() {
        return Err(WireError::protocol("authentication data without a method"));
    }
    Ok(())
}

fn boolean(flag: u8) -> Result<bool, WireError> {
    match flag {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(WireError::protocol("a flag other than 0 and 1")),
    }
}

fn will(
    reader: &mut Reader<'_>,
    version: Version,
    qos: QoS,
    retain: bool,
) -> Result<Will, WireError> {
    let (mut delay, mut expiry) = (0, None);
    let mut forwarded = Forwarded::default();
    if version == Version::V5 {
        forwarded = properties::read(reader, properties::OF_WILL, |id, value| {
            match (id, value) {
                (properties::WILL_DELAY, Value::Four(seconds)) => delay = seconds,
                (properties::MESSAGE_EXPIRY, Value::Four(seconds)) => expiry = Some(seconds),
                _ => {}
            }
            Ok(())
        })?;
    }
    let topic = reader.text()?;
    check_topic_name(topic)?;
    let payload = Bytes::copy_from_slice(reader.binary()?);
    let topic = topic.to_owned();
    Ok(Will { topic, qos, retain, delay, expiry, properties: forwarded, payload })
}

fn publish(frame: &Frame, version: Version) -> Result<Publish, WireError> {
    let mut reader = Reader::new(&frame.body);
    let qos = QoS::from_bits((frame.first >> 1) & 0x03).ok_or(QOS_3)?;
    let dup = frame.first & 0x08 != 0;
    if dup && qos == QoS::AtMostOnce {
        return Err(WireError::malformed("DUP at QoS 0"));
    }
    let topic = reader.text()?;
    let packet_id = if qos > QoS::AtMostOnce { Some(reader.packet_id()?) } else { None };
    let (mut expiry, mut alias) = (None, None);
    let mut forwarded = Forwarded::default();
    if version == Version::V5 {
        forwarded = properties::read(&mut reader, properties::OF_PUBLISH, |id, value| {
            match (id, value) {
                (properties::MESSAGE_EXPIRY, Value::Four(seconds)) => expiry = Some(seconds),
                (properties::TOPIC_ALIAS, Value::Two(number)) => {
                    alias = Some(NonZeroU16::new(number).ok_or(ALIAS_0)?);
                }
                _ => {}
            }
            Ok(())
        })?;
    }
    if topic.is_empty() && version == Version::V5 {
        if alias.is_none() {
            return Err(WireError::protocol("neither a topic name nor an alias"));
        }
    } else {
        check_topic_name(topic)?;
    }
    Ok(Publish {
        dup,
        qos,
        retain: frame.first & 0x01 != 0,
        topic: topic.to_owned(),
        packet_id,
        alias,
        expiry,
        properties: forwarded,
        // A copy: the buffer that all came in is not kept alive by a few bytes of it.
        payload: Bytes::copy_from_slice(reader.rest()),
    })
}

/// Requires a topic name: not empty, without wildcards (MQTT 4.7).
fn check_topic_name(topic: &str) -> Result<(), WireError> {
    if topic.is_empty() || topic.contains(['+', '#']) {
        return Err(WireError { reason: Reason::TopicNameInvalid, what: "an invalid topic name" });
    }
    Ok(())
}

fn ack(reader: &mut Reader<'_>, version: Version, reasons: &[u8]) -> Result<Ack, WireError> {
    let packet_id = reader.packet_id()?;
    let mut reason = 0;
    if version == Version::V5 && !reader.is_empty() {
        reason = reader.byte()?;
        if !reasons.contains(&reason) {
            return Err(WireError::malformed("a reason code that this packet has not"));
        }
        if !reader.is_empty() {
            properties::skip(reader, properties::OF_ACK)?;
        }
    }
    Ok(Ack { packet_id, reason })
}

fn subscribe(reader: &mut Reader<'_>, version: Version) -> Result<Subscribe, WireError> {
    let packet_id = reader.packet_id()?;
    let mut identifier = None;
    if version == Version::V5 {
        properties::read(reader, properties::OF_SUBSCRIBE, |_, value| {
            match value {
                Value::Variable(0) => {
                    return Err(WireError::protocol("subscription identifier 0"));
                }
                Value::Variable(number) => identifier = Some(number),
                _ => {}
            }
            Ok(())
        })?;
    }
    let mut filters = Vec::new();
    while !reader.is_empty() {
        let filter = reader.text()?.to_owned();
        filters.push((filter, options(reader.byte()?, version)?));
    }
    if filters.is_empty() {
        return Err(WireError::protocol("a SUBSCRIBE without filters"));
    }
    Ok(Subscribe { packet_id, identifier, filters })
}

fn options(bits: u8, version: Version) -> Result<SubscriptionOptions, WireError> {
    let qos = QoS::from_bits(bits & 0x03).ok_or(QOS_3)?;
    let reserved = match version {
        Version::V3 => 0xFC,
        Version::V5 => 0xC0,
    };
    if bits & reserved != 0 {
        return Err(WireError::malformed("reserved subscription options"));
    }
    let retain_handling = (bits >> 4) & 0x03;
    if retain_handling == 3 {
        return Err(WireError::protocol("retain handling 3"));
    }
    Ok(SubscriptionOptions {
        qos: qos as u8,
        no_local: bits & 0x04 != 0,
        retain_as_published: bits & 0x08 != 0,
        retain_handling,
    })
}

fn unsubscribe(reader: &mut Reader<'_>, version: Version) -> Result<Unsubscribe, WireError> {
    let packet_id = reader.packet_id()?;
    if version == Version::V5 {
        properties::skip(reader, properties::OF_UNSUBSCRIBE)?;
    }
    let mut filters = Vec::new();
    while !reader.is_empty() {
        filters.push(reader.text()?.to_owned());
    }
    if filters.is_empty() {
        return Err(WireError::protocol("an UNSUBSCRIBE without filters"));
    }
    Ok(Unsubscribe { packet_id, filters })
}

fn disconnect(reader: &mut Reader<'_>, version: Version) -> Result<Disconnect, WireError> {
    let mut disconnect = Disconnect { reason: 0, session_expiry: None };
    if version == Version::V3 || reader.is_empty() {
        return Ok(disconnect);
    }
    disconnect.reason = reader.byte()?;
    if !DISCONNECT_REASONS.contains(&disconnect.reason) {
        return Err(WireError::malformed("a reason code that no client gives"));
    }
    if !reader.is_empty() {
        properties::read(reader, properties::OF_DISCONNECT, |_, value| {
            if let Value::Four(seconds) = value {
                disconnect.session_expiry = Some(seconds);
            }
            Ok(())
        })?;
    }
    Ok(disconnect)
}

const QOS_3: WireError = WireError { reason: Reason::MalformedPacket, what: "QoS 3" };
const ALIAS_0: WireError = WireError { reason: Reason::TopicAliasInvalid, what: "topic alias 0" };
/// Reason codes of PUBACK and PUBREC (MQTT 3.4.2.1, 3.5.2.1).
const PUBACK_REASONS: &[u8] = &[0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99];
/// Reason codes of PUBREL and PUBCOMP (MQTT 3.6.2.1, 3.7.2.1).
const PUBREL_REASONS: &[u8] = &[0x00, 0x92];
/// Reason codes of a client's DISCONNECT (MQTT 3.14.2.1).
const DISCONNECT_REASONS: &[u8] =
    &[0x00, 0x04, 0x80, 0x81, 0x82, 0x83, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99];
