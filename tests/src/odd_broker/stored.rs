//! A message as the broker keeps it, and as it goes out.

use std::time::Duration;

use bytes::BytesMut;
use rumqttc::v5::mqttbytes::{
    QoS, matches,
    v5::{LastWill, LastWillProperties, Packet, Publish, PublishProperties},
};
use tokio::time::Instant;

use super::oddities::{Oddities, lower};
use crate::wire::{length, push_length};

/// A message on its way.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    pub(super) publish: Publish,
    /// When it expires.
    pub(super) until: Option<Instant>,
    /// It keeps this Will Delay Interval.
    will_delay: Option<u32>,
}

impl Stored {
    pub(super) fn new(publish: Publish) -> Self {
        let expiry = publish.properties.as_ref().and_then(|all| all.message_expiry_interval);
        Self { publish, until: expiry.map(from_now), will_delay: None }
    }

    pub(super) fn of_will(will: LastWill, keeps_delay: bool) -> Self {
        let LastWill { topic, message, qos, retain, properties } = will;
        let delay = properties.as_ref().and_then(|all| all.delay_interval);
        let properties = properties.map(|will: LastWillProperties| PublishProperties {
            payload_format_indicator: will.payload_format_indicator,
            message_expiry_interval: will.message_expiry_interval,
            response_topic: will.response_topic,
            correlation_data: will.correlation_data,
            user_properties: will.user_properties,
            content_type: will.content_type,
            ..PublishProperties::default()
        });
        let publish =
            Publish { topic, payload: message, qos, retain, properties, ..Publish::default() };
        Self { will_delay: delay.filter(|_| keeps_delay), ..Self::new(publish) }
    }

    /// Lowers the QoS to what is granted.
    pub(super) fn at_most(mut self, granted: QoS) -> Self {
        self.publish.qos = lower(self.publish.qos, granted);
        self
    }

    /// Says who has sent the message, whatever it says of that itself.
    pub(super) fn stamp(&mut self, (account, client_id): &(String, String)) {
        let properties = &mut self.properties().user_properties;
        properties.retain(|(name, _)| name != SENDER_ACCOUNT && name != SENDER_CLIENT_ID);
        properties.push((SENDER_ACCOUNT.into(), account.clone()));
        properties.push((SENDER_CLIENT_ID.into(), client_id.clone()));
    }

    /// Gives the message an expiry where it has none.
    pub(super) fn expire_by_default(&mut self, seconds: u32) {
        self.properties().message_expiry_interval.get_or_insert(seconds);
        self.until.get_or_insert_with(|| from_now(seconds));
    }

    /// Makes the PUBLISH.
    pub(super) fn packet(&self, packet_id: u16, dup: bool, oddities: &Oddities) -> Vec<u8> {
        let mut publish = Publish { pkid: packet_id, dup, ..self.publish.clone() };
        if let (Some(properties), Some(until)) = (&mut publish.properties, self.until) {
            let left = until.saturating_duration_since(Instant::now()).as_secs_f64().ceil();
            properties.message_expiry_interval = Some(left as u32);
        }
        let topic = String::from_utf8_lossy(&publish.topic).into_owned();
        let is_stray = oddities.strays.is_some_and(|filter| matches(&topic, filter));
        let is_garbled = oddities.garbles.is_some_and(|filter| matches(&topic, filter));
        let delay = self.will_delay.filter(|_| oddities.wills_keep_delay);
        let packet = encode(&Packet::Publish(publish));
        let stray = match delay.or(is_stray.then_some(0)) {
            Some(delay) => [&[WILL_DELAY_INTERVAL][..], &delay.to_be_bytes()].concat(),
            None if is_garbled => vec![NO_PROPERTY],
            None => return packet,
        };
        with_property(&packet, &stray).unwrap_or(packet)
    }

    fn properties(&mut self) -> &mut PublishProperties {
        self.publish.properties.get_or_insert_default()
    }
}

/// Writes a packet that is as the standard has it.
pub(super) fn encode(packet: &Packet) -> Vec<u8> {
    let mut bytes = BytesMut::new();
    packet.write(&mut bytes, None).expect("what was read can be written");
    bytes.to_vec()
}

/// Adds a property to a PUBLISH, which may have no such (MQTT 3.3.2.3).
fn with_property(publish: &[u8], property: &[u8]) -> Option<Vec<u8>> {
    let (_, header) = length(publish.get(1..)?)?;
    let body = &publish[1 + header..];
    let topic = usize::from(u16::from_be_bytes([*body.first()?, *body.get(1)?]));
    let packet_id = if publish[0] & 0x06 == 0 { 0 } else { 2 };
    let (before, properties) = body.split_at_checked(2 + topic + packet_id)?;
    let (size, skip) = length(properties)?;
    let mut body = before.to_vec();
    push_length(&mut body, size + property.len());
    body.extend(property);
    body.extend(&properties[skip..]);
    let mut packet = vec![publish[0]];
    push_length(&mut packet, body.len());
    packet.extend(body);
    Some(packet)
}

fn from_now(seconds: u32) -> Instant {
    Instant::now() + Duration::from_secs(seconds.into())
}

/// Identifiers of properties (MQTT 2.2.2.2), and one that is none.
const WILL_DELAY_INTERVAL: u8 = 0x18;
const NO_PROPERTY: u8 = 0x7F;
/// The user properties by which a broker says who has sent a message.
const SENDER_ACCOUNT: &str = "sender-account";
const SENDER_CLIENT_ID: &str = "sender-client-id";
