//! An application message: what a PUBLISH packet carries (MQTT 3.3).

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// The quality of service of a message (MQTT 4.3). The hub uses no more than QoS 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum QoS {
    /// At most once: no acknowledgement.
    #[default]
    AtMostOnce,
    /// At least once: acknowledged by PUBACK.
    AtLeastOnce,
}

/// One application message with the PUBLISH properties that the hub reads or writes (MQTT 3.3.2.3).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// Topic name.
    pub topic: String,
    /// Application payload.
    pub payload: Bytes,
    /// Quality of service.
    pub qos: QoS,
    /// The RETAIN flag (MQTT 3.3.1.3).
    pub retain: bool,
    /// The DUP flag; false on messages that the hub makes (MQTT 3.3.1.1).
    pub dup: bool,
    /// Payload Format Indicator 1: the payload is UTF-8 text (MQTT 3.3.2.3.2).
    pub utf8: bool,
    /// Message Expiry Interval in seconds (MQTT 3.3.2.3.3).
    pub expiry: Option<u32>,
    /// Response Topic (MQTT 3.3.2.3.5).
    pub response_topic: Option<String>,
    /// Correlation Data (MQTT 3.3.2.3.6).
    pub correlation_data: Option<Bytes>,
    /// User Properties, in order (MQTT 3.3.2.3.7).
    pub user_properties: Vec<(String, String)>,
    /// Content Type (MQTT 3.3.2.3.9).
    pub content_type: Option<String>,
}

/// Who sent a message, where the broker vouches for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sender<'m> {
    pub(crate) account: &'m str,
    pub(crate) client_id: Option<&'m str>,
}

/// The user property of CONNACK, of any value, by which a broker says that it vouches for senders: it removes
/// [`SENDER_ACCOUNT`] and [`SENDER_CLIENT_ID`] from what clients publish, and sets them itself.
pub const VOUCHES: &str = "vouches-for-senders";
/// The user property with the account that sent a message.
pub const SENDER_ACCOUNT: &str = "sender-account";
/// The user property with the client ID that sent a message.
pub const SENDER_CLIENT_ID: &str = "sender-client-id";

impl Message {
    /// Returns who sent the message, where the broker `vouches` for senders.
    pub(crate) fn sender(&self, vouches: bool) -> Option<Sender<'_>> {
        let account = self.user_property(SENDER_ACCOUNT).filter(|_| vouches)?;
        Some(Sender { account, client_id: self.user_property(SENDER_CLIENT_ID) })
    }

    /// Returns the first user property of this name.
    pub fn user_property(&self, name: &str) -> Option<&str> {
        self.user_properties.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Returns an upper bound of the size of the PUBLISH packet in bytes (MQTT 3.3).
    pub fn packet_size(&self) -> usize {
        const FIXED: usize = 5 + 2 + 2 + 4; // fixed header, topic length, packet id, property length
        const PROPERTY: usize = 1 + 4; // identifier and the largest fixed-size value or length prefix
        let optional = |length: Option<usize>| length.map_or(0, |length| PROPERTY + length);
        let user: usize = self
            .user_properties
            .iter()
            .map(|(key, value)| PROPERTY + key.len() + value.len())
            .sum();
        FIXED
            + 2 * PROPERTY
            + self.topic.len()
            + self.payload.len()
            + user
            + optional(self.response_topic.as_ref().map(String::len))
            + optional(self.correlation_data.as_ref().map(Bytes::len))
            + optional(self.content_type.as_ref().map(String::len))
    }

    /// Returns about how many bytes of memory the message takes: each text is an allocation of its own, while payload
    /// and Correlation Data share the one that the packet was read into.
    pub fn memory_size(&self) -> usize {
        const LEAST: usize = 32; // what an allocator gives at least
        const ROUNDED: usize = 16;
        let text = |text: &String| match text.len() {
            0 => 0,
            length => (length + 8).next_multiple_of(ROUNDED).max(LEAST),
        };
        let optional = |value: &Option<String>| value.as_ref().map_or(0, text);
        let user: usize =
            self.user_properties.iter().map(|(key, value)| text(key) + text(value)).sum();
        size_of::<Self>()
            + self.user_properties.len().next_power_of_two() * size_of::<(String, String)>()
            + user
            + text(&self.topic)
            + optional(&self.response_topic)
            + optional(&self.content_type)
            + self.payload.len()
            + self.correlation_data.as_ref().map_or(0, Bytes::len)
    }
}
