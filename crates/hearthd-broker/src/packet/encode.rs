//! Writes what the broker sends (MQTT 3).

use bytes::{BufMut as _, BytesMut};

use super::{
    Answer, Answers, Connack, OutgoingPublish, Reason, Reply, Version,
    frame::{
        CONNACK, DISCONNECT, PINGRESP, PUBACK, PUBCOMP, PUBLISH, PUBREC, PUBREL, SUBACK, UNSUBACK,
    },
    properties::{
        ASSIGNED_CLIENT_ID, MAXIMUM_PACKET_SIZE, MESSAGE_EXPIRY, REASON_STRING, RECEIVE_MAXIMUM,
        RESPONSE_INFORMATION, SERVER_KEEP_ALIVE, SESSION_EXPIRY, SUBSCRIPTION_IDENTIFIER,
        TOPIC_ALIAS_MAXIMUM, USER_PROPERTY,
    },
};

/// Writes a reply in the form that the version has for it; a packet that the version has not becomes nothing.
pub fn encode(reply: &Reply, version: Version, out: &mut BytesMut) {
    match (reply, version) {
        (Reply::Connack(connack), Version::V3) => {
            let session_present = u8::from(connack.session_present);
            frame(out, CONNACK << 4, &[session_present, return_code(connack.reason)]);
        }
        (Reply::Connack(connack), Version::V5) => {
            let mut body = vec![u8::from(connack.session_present), connack.reason as u8];
            put_properties(&mut body, &connack_properties(connack));
            frame(out, CONNACK << 4, &body);
        }
        (Reply::Puback(answer), _) => acknowledgement(out, PUBACK << 4, answer, version),
        (Reply::Pubrec(answer), _) => acknowledgement(out, PUBREC << 4, answer, version),
        (Reply::Pubrel(answer), _) => acknowledgement(out, (PUBREL << 4) | 2, answer, version),
        (Reply::Pubcomp(answer), _) => acknowledgement(out, PUBCOMP << 4, answer, version),
        (Reply::Suback(answers), _) => acknowledgements(out, SUBACK << 4, answers, version),
        (Reply::Unsuback(answers), _) => acknowledgements(out, UNSUBACK << 4, answers, version),
        (Reply::Pingresp, _) => frame(out, PINGRESP << 4, &[]),
        (Reply::Disconnect { .. }, Version::V3) => {}
        (Reply::Disconnect { reason, text }, Version::V5) => {
            let mut body = vec![*reason as u8];
            if text.is_some() {
                put_properties(&mut body, &reason_string(text.as_deref()));
            }
            frame(out, DISCONNECT << 4, &body);
        }
    }
}

/// Returns a reply that a client takes, without Reason String and user properties where they make it too large; none where
/// it is too large even so (MQTT 3.1.2.11.4).
pub(crate) fn fitting(mut reply: Reply, version: Version, maximum: usize) -> Option<Reply> {
    let fits = |reply: &Reply| {
        let mut bytes = BytesMut::new();
        encode(reply, version, &mut bytes);
        bytes.len() <= maximum
    };
    if maximum >= LARGEST_REPLY || fits(&reply) {
        return Some(reply);
    }
    remove_reason_string(&mut reply);
    if let Reply::Connack(connack) = &mut reply {
        connack.text = None;
        connack.user_properties.clear();
    }
    if let Reply::Disconnect { text, .. } = &mut reply {
        *text = None;
    }
    fits(&reply).then_some(reply)
}

/// Removes what a client that wants no problem information gets in CONNACK and DISCONNECT alone (MQTT 3.1.2.11.7).
pub(crate) fn remove_reason_string(reply: &mut Reply) {
    match reply {
        Reply::Puback(answer)
        | Reply::Pubrec(answer)
        | Reply::Pubrel(answer)
        | Reply::Pubcomp(answer) => answer.text = None,
        Reply::Suback(answers) | Reply::Unsuback(answers) => answers.text = None,
        Reply::Connack(_) | Reply::Pingresp | Reply::Disconnect { .. } => {}
    }
}

impl OutgoingPublish<'_> {
    /// Writes the PUBLISH (MQTT 3.3).
    pub fn encode(&self, version: Version, out: &mut BytesMut) {
        let (remaining, properties) = self.lengths(version);
        out.reserve(remaining + MAX_FIXED_HEADER);
        let flags = (u8::from(self.dup) << 3) | ((self.qos as u8) << 1) | u8::from(self.retain);
        out.put_u8((PUBLISH << 4) | flags);
        put_variable(out, remaining);
        put_text(out, self.topic);
        if let Some(packet_id) = self.packet_id {
            out.put_u16(packet_id.get());
        }
        if version == Version::V5 {
            put_variable(out, properties);
            if let Some(seconds) = self.expiry {
                out.put_u8(MESSAGE_EXPIRY);
                out.put_u32(seconds);
            }
            for &identifier in self.identifiers {
                out.put_u8(SUBSCRIPTION_IDENTIFIER);
                put_variable(out, identifier as usize);
            }
            out.put_slice(self.properties);
            for (name, value) in self.added {
                out.put_u8(USER_PROPERTY);
                put_text(out, name);
                put_text(out, value);
            }
        }
        out.put_slice(self.payload);
    }

    /// Returns Remaining Length and Property Length.
    fn lengths(&self, version: Version) -> (usize, usize) {
        let packet_id = if self.packet_id.is_some() { 2 } else { 0 };
        let fixed = 2 + self.topic.len() + packet_id + self.payload.len();
        if version == Version::V3 {
            return (fixed, 0);
        }
        let identifiers: usize =
            self.identifiers.iter().map(|id| 1 + variable_size(*id as usize)).sum();
        let added: usize =
            self.added.iter().map(|(name, value)| 5 + name.len() + value.len()).sum();
        let expiry = if self.expiry.is_some() { 5 } else { 0 };
        let properties = expiry + identifiers + self.properties.len() + added;
        (fixed + variable_size(properties) + properties, properties)
    }
}

/// Returns the size of the whole packet in bytes.
pub fn publish_size(publish: &OutgoingPublish<'_>, version: Version) -> usize {
    let (remaining, _) = publish.lengths(version);
    1 + variable_size(remaining) + remaining
}

fn acknowledgement(out: &mut BytesMut, first: u8, answer: &Answer, version: Version) {
    let mut body = answer.packet_id.get().to_be_bytes().to_vec();
    if version == Version::V5 && (answer.reason != Reason::Success || answer.text.is_some()) {
        body.push(answer.reason as u8);
        if answer.text.is_some() {
            put_properties(&mut body, &reason_string(answer.text.as_deref()));
        }
    }
    frame(out, first, &body);
}

fn acknowledgements(out: &mut BytesMut, first: u8, answers: &Answers, version: Version) {
    let mut body = answers.packet_id.get().to_be_bytes().to_vec();
    let codes = answers.reasons.iter();
    match version {
        // UNSUBACK of MQTT 3.1.1 has no payload, and SUBACK one failure (MQTT 3.1.1, 3.9.3, 3.11).
        Version::V3 if first == UNSUBACK << 4 => {}
        Version::V3 => {
            body.extend(codes.map(|code| if code.is_failure() { 0x80 } else { *code as u8 }));
        }
        Version::V5 => {
            put_properties(&mut body, &reason_string(answers.text.as_deref()));
            body.extend(codes.map(|code| *code as u8));
        }
    }
    frame(out, first, &body);
}

fn connack_properties(connack: &Connack) -> Vec<u8> {
    let mut properties = Vec::new();
    let four = |properties: &mut Vec<u8>, id, value: Option<u32>| {
        if let Some(value) = value {
            properties.put_u8(id);
            properties.put_u32(value);
        }
    };
    four(&mut properties, SESSION_EXPIRY, connack.session_expiry);
    four(&mut properties, MAXIMUM_PACKET_SIZE, connack.maximum_packet_size);
    let twos = [
        (RECEIVE_MAXIMUM, connack.receive_maximum),
        (TOPIC_ALIAS_MAXIMUM, connack.topic_alias_maximum),
        (SERVER_KEEP_ALIVE, connack.server_keep_alive),
    ];
    for (id, value) in twos {
        if let Some(value) = value {
            properties.put_u8(id);
            properties.put_u16(value);
        }
    }
    let texts = [
        (ASSIGNED_CLIENT_ID, &connack.assigned_client_id),
        (RESPONSE_INFORMATION, &connack.response_information),
        (REASON_STRING, &connack.text),
    ];
    for (id, text) in texts {
        if let Some(text) = text {
            properties.put_u8(id);
            put_text(&mut properties, text);
        }
    }
    for (name, value) in &connack.user_properties {
        properties.put_u8(USER_PROPERTY);
        put_text(&mut properties, name);
        put_text(&mut properties, value);
    }
    properties
}

fn reason_string(text: Option<&str>) -> Vec<u8> {
    let mut properties = Vec::new();
    if let Some(text) = text {
        properties.put_u8(REASON_STRING);
        put_text(&mut properties, text);
    }
    properties
}

/// Returns the return code of MQTT 3.1.1 (MQTT 3.1.1, 3.2.2.3).
fn return_code(reason: Reason) -> u8 {
    match reason {
        Reason::Success => 0,
        Reason::UnsupportedProtocolVersion => 1,
        Reason::ClientIdentifierNotValid => 2,
        Reason::BadUserNameOrPassword => 4,
        Reason::NotAuthorized => 5,
        _ => 3,
    }
}

fn frame(out: &mut BytesMut, first: u8, body: &[u8]) {
    out.reserve(body.len() + MAX_FIXED_HEADER);
    out.put_u8(first);
    put_variable(out, body.len());
    out.put_slice(body);
}

fn put_properties(body: &mut Vec<u8>, properties: &[u8]) {
    put_variable(body, properties.len());
    body.put_slice(properties);
}

fn put_text(out: &mut impl bytes::BufMut, text: &str) {
    out.put_u16(text.len() as u16);
    out.put_slice(text.as_bytes());
}

fn put_variable(out: &mut impl bytes::BufMut, mut value: usize) {
    loop {
        let byte = (value & 0x7F) as u8;
        value >>= 7;
        if value == 0 {
            return out.put_u8(byte);
        }
        out.put_u8(byte | 0x80);
    }
}

fn variable_size(value: usize) -> usize {
    match value {
        0..=0x7F => 1,
        0x80..=0x3FFF => 2,
        0x4000..=0x1F_FFFF => 3,
        _ => 4,
    }
}

const MAX_FIXED_HEADER: usize = 5;
/// No reply is larger: a SUBACK has a byte for each filter of a packet of 1 MiB at most, each of which takes more.
const LARGEST_REPLY: usize = 1024 * 1024;
