//! One message on its way to one client.

use std::{num::NonZeroU16, sync::Arc};

use bytes::BytesMut;

use super::message::Message;
use crate::packet::{OutgoingPublish, QoS, Version, publish_size};

/// A PUBLISH to a subscriber.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The message.
    pub message: Arc<Message>,
    /// Quality of Service of this delivery.
    pub qos: QoS,
    /// DUP flag.
    pub dup: bool,
    /// RETAIN flag.
    pub retain: bool,
    /// Packet Identifier, present above QoS 0.
    pub packet_id: Option<NonZeroU16>,
    /// What remains of the Message Expiry Interval, in seconds.
    pub expiry: Option<u32>,
    /// Subscription Identifiers.
    pub identifiers: Box<[u32]>,
    /// Whether it says who sent it.
    pub vouched: bool,
}

impl Delivery {
    /// Writes the packet.
    pub fn encode(&self, version: Version, out: &mut BytesMut) {
        self.packet(version, |packet| packet.encode(version, out));
    }

    /// Returns the size of the packet in bytes.
    pub fn size(&self, version: Version) -> usize {
        self.packet(version, |packet| publish_size(packet, version))
    }

    fn packet<T>(&self, version: Version, with: impl FnOnce(&OutgoingPublish<'_>) -> T) -> T {
        let sender = &self.message.sender;
        let added = [(SENDER_ACCOUNT, &*sender.account), (SENDER_CLIENT_ID, &*sender.client_id)];
        let added = if self.vouched && version == Version::V5 { &added[..] } else { &[] };
        with(&OutgoingPublish {
            dup: self.dup,
            qos: self.qos,
            retain: self.retain,
            topic: &self.message.topic,
            packet_id: self.packet_id,
            expiry: self.expiry,
            identifiers: &self.identifiers,
            properties: self.message.properties.as_bytes(),
            added,
            payload: &self.message.payload,
        })
    }
}

/// The user property of CONNACK by which the broker says that it vouches for senders: it removes
/// [`SENDER_ACCOUNT`] and [`SENDER_CLIENT_ID`] from what clients publish, and sets them itself.
pub const VOUCHES: &str = "vouches-for-senders";
/// The user property with the account that sent a message.
pub const SENDER_ACCOUNT: &str = "sender-account";
/// The user property with the client ID that sent a message.
pub const SENDER_CLIENT_ID: &str = "sender-client-id";
