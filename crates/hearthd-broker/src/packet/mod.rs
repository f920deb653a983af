//! The packets of MQTT 5 and 3.1.1 that a broker receives and sends.
//!
//! The code is here and not in `mqtt-protocol-core`, because that crate's `Connection` keeps a second copy of every
//! message in flight to a durable session, answers a repeated QoS 2 PUBLISH before the store has the first, and
//! allocates a heap block for each property. Here a message stays bytes from socket to socket. The tests compare this
//! code with that crate, packet by packet.

mod decode;
mod encode;
mod frame;
mod properties;
mod reader;
mod reason;

use std::{borrow::Cow, num::NonZeroU16};

use bytes::Bytes;

pub use decode::decode;
pub use encode::{encode, publish_size};
pub use frame::{Frame, next_frame};
pub use properties::Forwarded;
pub use reason::{Reason, WireError};

pub(crate) use encode::{fitting, remove_reason_string};
pub(crate) use properties::remove_user_properties;

/// Version of the protocol that a connection speaks (MQTT 3.1.2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// MQTT 3.1.1, protocol level 4.
    V3,
    /// MQTT 5, protocol level 5.
    V5,
}

/// Quality of Service (MQTT 4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum QoS {
    /// QoS 0: at most once.
    AtMostOnce,
    /// QoS 1: at least once.
    AtLeastOnce,
    /// QoS 2: exactly once.
    ExactlyOnce,
}

impl QoS {
    /// Returns the level of a two-bit field; 3 is none.
    pub fn from_bits(bits: u8) -> Option<Self> {
        match bits {
            0 => Some(Self::AtMostOnce),
            1 => Some(Self::AtLeastOnce),
            2 => Some(Self::ExactlyOnce),
            _ => None,
        }
    }
}

/// A packet that a client sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Received {
    /// CONNECT (MQTT 3.1).
    Connect(Box<Connect>),
    /// PUBLISH (MQTT 3.3).
    Publish(Publish),
    /// PUBACK (MQTT 3.4).
    Puback(Ack),
    /// PUBREC (MQTT 3.5).
    Pubrec(Ack),
    /// PUBREL (MQTT 3.6).
    Pubrel(Ack),
    /// PUBCOMP (MQTT 3.7).
    Pubcomp(Ack),
    /// SUBSCRIBE (MQTT 3.8).
    Subscribe(Subscribe),
    /// UNSUBSCRIBE (MQTT 3.10).
    Unsubscribe(Unsubscribe),
    /// PINGREQ (MQTT 3.12).
    Pingreq,
    /// DISCONNECT (MQTT 3.14).
    Disconnect(Disconnect),
    /// AUTH (MQTT 3.15), which no connection here has a use for.
    Auth,
}

/// CONNECT (MQTT 3.1); a field that MQTT 3.1.1 lacks has the value of its behaviour.
#[derive(Clone, PartialEq, Eq)]
pub struct Connect {
    /// Protocol version.
    pub version: Version,
    /// Clean Start; Clean Session of MQTT 3.1.1.
    pub clean_start: bool,
    /// Keep alive in seconds; 0 means none.
    pub keep_alive: u16,
    /// Client Identifier; empty where the broker assigns one.
    pub client_id: String,
    /// User Name.
    pub username: Option<String>,
    /// Password.
    pub password: Option<Vec<u8>>,
    /// The will.
    pub will: Option<Will>,
    /// Session Expiry Interval in seconds; `u32::MAX` never ends.
    pub session_expiry: u32,
    /// Receive Maximum; `None` if the client sent none.
    pub receive_maximum: Option<NonZeroU16>,
    /// Maximum Packet Size in bytes; `None` if the client accepts any.
    pub maximum_packet_size: Option<u32>,
    /// Request Response Information.
    pub wants_response_information: bool,
    /// Request Problem Information.
    pub wants_problem_information: bool,
    /// Authentication Method of enhanced authentication.
    pub authentication_method: Option<String>,
}

impl Connect {
    /// Returns the size of the largest packet that the client takes, in bytes.
    pub(crate) fn largest_packet(&self) -> usize {
        self.maximum_packet_size.map_or(usize::MAX, |most| most as usize)
    }
}

impl std::fmt::Debug for Connect {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Never the password.
        f.debug_struct("Connect")
            .field("version", &self.version)
            .field("client_id", &self.client_id)
            .field("username", &self.username)
            .field("will", &self.will)
            .finish_non_exhaustive()
    }
}

/// The will of a CONNECT (MQTT 3.1.2.5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Will {
    /// Will Topic.
    pub topic: String,
    /// Will QoS.
    pub qos: QoS,
    /// Will Retain.
    pub retain: bool,
    /// Will Delay Interval in seconds.
    pub delay: u32,
    /// Message Expiry Interval in seconds.
    pub expiry: Option<u32>,
    /// The properties that its PUBLISH carries.
    pub properties: Forwarded,
    /// Will Payload.
    pub payload: Bytes,
}

/// PUBLISH from a client (MQTT 3.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publish {
    /// DUP flag.
    pub dup: bool,
    /// Quality of Service.
    pub qos: QoS,
    /// RETAIN flag.
    pub retain: bool,
    /// Topic Name; empty if an alias replaces it.
    pub topic: String,
    /// Packet Identifier, present above QoS 0.
    pub packet_id: Option<NonZeroU16>,
    /// Topic Alias.
    pub alias: Option<NonZeroU16>,
    /// Message Expiry Interval in seconds.
    pub expiry: Option<u32>,
    /// The properties that go to the subscribers unaltered.
    pub properties: Forwarded,
    /// Application message.
    pub payload: Bytes,
}

/// PUBACK, PUBREC, PUBREL or PUBCOMP from a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ack {
    /// Packet Identifier.
    pub packet_id: NonZeroU16,
    /// Reason code; 0x80 and above are failures.
    pub reason: u8,
}

/// SUBSCRIBE (MQTT 3.8).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscribe {
    /// Packet Identifier.
    pub packet_id: NonZeroU16,
    /// Subscription Identifier.
    pub identifier: Option<u32>,
    /// Topic filters with their options.
    pub filters: Vec<(String, SubscriptionOptions)>,
}

/// Subscription options (MQTT 3.8.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct SubscriptionOptions {
    /// Maximum QoS, as its two bits.
    pub qos: u8,
    /// No Local.
    pub no_local: bool,
    /// Retain As Published.
    pub retain_as_published: bool,
    /// Retain Handling: 0, 1 or 2.
    pub retain_handling: u8,
}

/// UNSUBSCRIBE (MQTT 3.10).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsubscribe {
    /// Packet Identifier.
    pub packet_id: NonZeroU16,
    /// Topic filters.
    pub filters: Vec<String>,
}

/// DISCONNECT from a client (MQTT 3.14).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disconnect {
    /// Reason code.
    pub reason: u8,
    /// Session Expiry Interval in seconds, if it changes.
    pub session_expiry: Option<u32>,
}

/// A packet that the broker sends, other than PUBLISH.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// CONNACK (MQTT 3.2).
    Connack(Box<Connack>),
    /// PUBACK (MQTT 3.4).
    Puback(Answer),
    /// PUBREC (MQTT 3.5).
    Pubrec(Answer),
    /// PUBREL (MQTT 3.6).
    Pubrel(Answer),
    /// PUBCOMP (MQTT 3.7).
    Pubcomp(Answer),
    /// SUBACK (MQTT 3.9), with one reason code for each filter.
    Suback(Answers),
    /// UNSUBACK (MQTT 3.11), with one reason code for each filter.
    Unsuback(Answers),
    /// PINGRESP (MQTT 3.13).
    Pingresp,
    /// DISCONNECT (MQTT 3.14), which MQTT 3.1.1 has not from a broker.
    Disconnect {
        /// Reason code.
        reason: Reason,
        /// Reason String.
        text: Option<String>,
    },
}

/// An acknowledgement with a Reason String.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Packet Identifier.
    pub packet_id: NonZeroU16,
    /// Reason code.
    pub reason: Reason,
    /// Reason String.
    pub text: Option<String>,
}

/// An acknowledgement of several filters with a Reason String.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answers {
    /// Packet Identifier.
    pub packet_id: NonZeroU16,
    /// One reason code for each filter.
    pub reasons: Vec<Reason>,
    /// Reason String.
    pub text: Option<String>,
}

/// CONNACK (MQTT 3.2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Connack {
    /// Session Present.
    pub session_present: bool,
    /// Connect Reason Code.
    pub reason: Reason,
    /// Session Expiry Interval, if it is not what the client asked for.
    pub session_expiry: Option<u32>,
    /// Receive Maximum.
    pub receive_maximum: Option<u16>,
    /// Maximum Packet Size.
    pub maximum_packet_size: Option<u32>,
    /// Topic Alias Maximum.
    pub topic_alias_maximum: Option<u16>,
    /// Server Keep Alive.
    pub server_keep_alive: Option<u16>,
    /// Assigned Client Identifier.
    pub assigned_client_id: Option<String>,
    /// Response Information.
    pub response_information: Option<String>,
    /// Reason String.
    pub text: Option<String>,
    /// User properties.
    pub user_properties: Vec<(&'static str, Cow<'static, str>)>,
}

/// PUBLISH to a subscriber (MQTT 3.3).
#[derive(Clone, Copy, Debug)]
pub struct OutgoingPublish<'m> {
    /// DUP flag.
    pub dup: bool,
    /// Quality of Service of this delivery.
    pub qos: QoS,
    /// RETAIN flag.
    pub retain: bool,
    /// Topic Name.
    pub topic: &'m str,
    /// Packet Identifier, present above QoS 0.
    pub packet_id: Option<NonZeroU16>,
    /// What remains of the Message Expiry Interval, in seconds.
    pub expiry: Option<u32>,
    /// Subscription Identifiers.
    pub identifiers: &'m [u32],
    /// The publisher's properties, encoded.
    pub properties: &'m [u8],
    /// User properties that the broker adds.
    pub added: &'m [(&'m str, &'m str)],
    /// Application message.
    pub payload: &'m [u8],
}
