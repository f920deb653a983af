//! A request in the journal: its name, where its answer goes, and the answer.

use std::{cmp::Ordering, sync::Arc, time::Duration};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{Answer, Delivery, Message, QoS, expiry::later, token::TokenKey};

/// What makes two requests the same one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RequestKey {
    /// Its sender, where the broker vouches for that, Response Topic and Correlation Data, in whatever session.
    Correlated {
        /// The account that sent it; the client ID would change when a requester comes back.
        account: Option<Arc<str>>,
        /// Response Topic.
        response_topic: Arc<str>,
        /// Correlation Data; what is long is shortened, with a digest of the whole.
        correlation_data: Bytes,
        /// Stands for topic and payload: the same names with other contents are another request, which takes nobody's
        /// place.
        content: u64,
    },
    /// Another hub's will, as a request to a device of this one.
    Guard {
        /// The guard's name: presence topic, device and property.
        guard: Arc<str>,
        /// Correlation Data of the will.
        correlation_data: Bytes,
    },
    /// The Packet Identifier within the session, where a request names nothing better (MQTT 4.4).
    Packet(u16),
}

/// Where and how the answer to a request goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    /// Response Topic; none where nobody asked for a response.
    pub response_topic: Option<Arc<str>>,
    /// Correlation Data.
    pub correlation_data: Option<Bytes>,
    /// Quality of service.
    pub qos: QoS,
    /// When the requester stops waiting, on the clock of [`Now::monotonic`](crate::Now::monotonic).
    pub expires: Option<Duration>,
}

/// One request of the journal, as the store keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalRecord {
    /// Which request.
    pub key: RequestKey,
    /// Stands for the request's topic and payload: the same key with other contents is another request.
    pub content: u64,
    /// Device ID.
    pub device: Arc<str>,
    /// Property name, or `set`.
    pub property: Arc<str>,
    /// Where the answer goes.
    pub reply: Reply,
    /// The answer; none while it is not known whether the request was carried out.
    pub answer: Option<Answer>,
    /// Whether the broker has the answer, or nobody waits for it.
    pub delivered: bool,
    /// When it was answered, since the Unix epoch, by the system's clock.
    pub answered_at: Option<Duration>,
    /// The properties that a `set` names; any other request sets its own.
    pub names: Vec<Arc<str>>,
}

impl RequestKey {
    /// Returns whose room the request takes: the account, where the broker vouches for one, else the Response Topic,
    /// which no two requesters share.
    pub(crate) fn sender(&self) -> Option<&Arc<str>> {
        match self {
            Self::Correlated { account, response_topic, .. } => {
                Some(account.as_ref().unwrap_or(response_topic))
            }
            Self::Guard { guard, .. } => Some(guard),
            Self::Packet(_) => None,
        }
    }

    /// Names a request as its sender does, else by what the broker does.
    pub(crate) fn of(
        reply: &Reply,
        delivery: Option<Delivery>,
        account: Option<&str>,
        content: u64,
        key: &TokenKey,
    ) -> Option<Self> {
        match (&reply.response_topic, &reply.correlation_data) {
            (Some(response_topic), Some(correlation_data)) => Some(Self::Correlated {
                account: account.map(Into::into),
                response_topic: response_topic.clone(),
                correlation_data: shortened(correlation_data, key),
                content,
            }),
            _ => delivery.map(|delivery| Self::Packet(delivery.packet_id)),
        }
    }

    /// Whose answer goes to another hub, which wants to know who acted.
    pub(crate) fn is_guard(&self) -> bool {
        matches!(self, Self::Guard { .. })
    }
}

/// Sorts first by that in which two keys usually differ: a request costs many comparisons.
impl Ord for RequestKey {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (
                Self::Correlated {
                    account: sender,
                    response_topic: topic,
                    correlation_data: data,
                    content: said,
                },
                Self::Correlated { account, response_topic, correlation_data, content },
            ) => data
                .cmp(correlation_data)
                .then_with(|| said.cmp(content))
                .then_with(|| topic.cmp(response_topic))
                .then_with(|| sender.cmp(account)),
            (
                Self::Guard { guard: name, correlation_data: data },
                Self::Guard { guard, correlation_data },
            ) => data.cmp(correlation_data).then_with(|| name.cmp(guard)),
            (Self::Packet(id), Self::Packet(other)) => id.cmp(other),
            (Self::Correlated { .. }, Self::Guard { .. } | Self::Packet(_))
            | (Self::Guard { .. }, Self::Packet(_)) => Ordering::Less,
            (Self::Guard { .. } | Self::Packet(_), Self::Correlated { .. })
            | (Self::Packet(_), Self::Guard { .. }) => Ordering::Greater,
        }
    }
}

impl PartialOrd for RequestKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Reply {
    /// Takes from a request how it is to be answered; `now` is when it arrived.
    pub(crate) fn to(message: &Message, now: Duration) -> Self {
        Self {
            response_topic: message.response_topic.as_deref().map(Into::into),
            // A slice would keep all that was read from the connection with it.
            correlation_data: message.correlation_data.as_deref().map(Bytes::copy_from_slice),
            qos: message.qos,
            expires: message.expiry.map(|seconds| now + Duration::from_secs(seconds.into())),
        }
    }

    /// Builds the response; none where nobody asked for one.
    pub(crate) fn response(&self, answer: &Answer) -> Option<Message> {
        let mut response = Message {
            topic: self.response_topic.as_deref()?.to_owned(),
            qos: self.qos,
            correlation_data: self.correlation_data.clone(),
            ..Message::default()
        };
        answer.write_to(&mut response);
        Some(response)
    }

    /// Another copy of the request has come, whose requester may wait longer.
    pub(crate) fn wait_until(&mut self, expires: Option<Duration>) {
        self.expires = later(self.expires, expires);
    }

    /// Returns whether the requester does not wait any more.
    pub(crate) fn is_over(&self, now: Duration) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }
}

impl JournalRecord {
    /// Returns about how many bytes the record takes in memory and in the store, and no less than an entry costs.
    pub(crate) fn cost(&self) -> usize {
        const FIXED: usize = 64;
        let key = match &self.key {
            RequestKey::Correlated { response_topic, correlation_data, .. } => {
                response_topic.len() + correlation_data.len()
            }
            RequestKey::Guard { guard, correlation_data } => guard.len() + correlation_data.len(),
            RequestKey::Packet(_) => 0,
        };
        let reply = self.reply.response_topic.as_ref().map_or(0, |topic| topic.len())
            + self.reply.correlation_data.as_ref().map_or(0, Bytes::len);
        let answer = self.answer.as_ref().map_or(0, |answer| {
            answer.payload.len() + answer.message.as_ref().map_or(0, String::len)
        });
        let names: usize = self.names.iter().map(|name| name.len()).sum();
        (FIXED + key + reply + self.device.len() + self.property.len() + names + answer).max(ENTRY)
    }
}

/// Shortens long Correlation Data, so that many requests can be remembered: its beginning, and a digest of the whole.
fn shortened(data: &Bytes, key: &TokenKey) -> Bytes {
    if data.len() <= LONGEST_VERBATIM {
        return data.clone();
    }
    let mut short = data[..LONGEST_VERBATIM].to_vec();
    short.extend(key.digest(data));
    short.into()
}

/// Stands for a request's topic and payload, which may be large: FNV-1a, the same in every build.
pub(crate) fn fingerprint(topic: &str, payload: &[u8]) -> u64 {
    let bytes = topic.bytes().chain([0]).chain(payload.iter().copied());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// Correlation Data of more bytes is shortened.
pub(crate) const LONGEST_VERBATIM: usize = 64;
/// What an entry costs at least: so many of them take as much room as the largest ones.
pub(crate) const ENTRY: usize = 1024;
