//! The outcome of a will, and how the hub remembers it across restarts.

use std::{
    collections::BTreeMap,
    time::{Duration, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};

use crate::{Message, QoS, token::TokenKey, topic::Prefix};

/// Names one connection's will: its Correlation Data, 16 characters of `[a-z2-7]`.
///
/// A will of version 0.1.0 has 16 bytes of any value instead, which are written in hexadecimal.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Generation(pub [u8; 16]);

impl Generation {
    /// Reads a generation from Correlation Data.
    pub fn from_correlation_data(data: &[u8]) -> Option<Self> {
        data.try_into().ok().map(Self)
    }

    /// Returns what may be told of it: its first eight characters, which its connection's other messages carry as well.
    pub fn name(&self) -> String {
        let mut text = self.to_string();
        text.truncate(8);
        text
    }
}

impl std::fmt::Display for Generation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match std::str::from_utf8(&self.0) {
            Ok(text) if is_token(text) => f.write_str(text),
            _ => f.write_str(&to_hex(&self.0)),
        }
    }
}

impl std::fmt::Debug for Generation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Generation({self})")
    }
}

impl From<Generation> for String {
    fn from(generation: Generation) -> Self {
        generation.to_string()
    }
}

impl TryFrom<String> for Generation {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        const ERROR: &str = "a generation is 16 characters of `[a-z2-7]`, or 32 hexadecimal digits";
        if is_token(&text) {
            return text.as_bytes().try_into().map(Self).map_err(|_| ERROR);
        }
        from_hex(&text).map(Self).ok_or(ERROR)
    }
}

fn is_token(text: &str) -> bool {
    text.len() == 16 && text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'2'..=b'7'))
}

/// Writes 16 bytes as 32 hexadecimal digits, in lower case.
pub(crate) fn to_hex(bytes: &[u8; 16]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Reads what [`to_hex`] writes; nothing else is read.
pub(crate) fn from_hex(text: &str) -> Option<[u8; 16]> {
    if text.len() != 32 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let number = u128::from_str_radix(text, 16).ok()?;
    Some(number.to_be_bytes())
}

/// What became of a will.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The broker did not publish it.
    NotPublished,
    /// The broker published it, and somebody acknowledged.
    Consumed,
    /// The broker published it, and nobody acknowledged: an acknowledgement could not have been lost.
    Unconsumed,
    /// It cannot be known.
    Unknown,
}

/// Whether the broker published a will, whatever became of it then.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Published {
    /// A copy of it was seen.
    Yes,
    /// It was not: the connection ended in order, or a copy would have come.
    No,
    /// Nobody can tell.
    #[default]
    NotKnown,
}

impl Outcome {
    /// Returns the outcome as it goes over the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotPublished => "not-published",
            Self::Consumed => "consumed",
            Self::Unconsumed => "unconsumed",
            Self::Unknown => "unknown",
        }
    }
}

/// One answer to a will.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acknowledgement {
    /// Who answered: the account that the broker vouches for, else what the answer says of itself: the user property
    /// `client_id`, else `__srcId`, else `x-mqtt-client-id`.
    pub responder: Option<String>,
    /// Whether the broker vouches for the responder.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub vouched: bool,
    /// What it did, in its own words; what is not UTF-8 is replaced, and no more than 256 bytes are kept.
    pub payload: String,
    /// Its `__stat`, where it gave one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Whether it came while the hub was away.
    pub before_fence: bool,
}

/// The answers to one will: a bounded number, of which no responder has more than its share.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Acknowledgements(pub Vec<Acknowledgement>);

impl std::ops::Deref for Acknowledgements {
    type Target = [Acknowledgement];

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl Acknowledgements {
    /// Keeps an answer where it is new and has room; returns whether it is kept, and counts one that is not.
    ///
    /// Those whom the broker vouches for have room of their own. Among the others, whose names are free text, the
    /// first four stay, and the last four: neither those who come early nor those who come late are crowded out. Whoever
    /// has not said anything yet takes the place of a second answer before that of a first.
    pub(crate) fn admit(&mut self, answer: &Acknowledgement, left_out: &mut u32) -> bool {
        let alike = |one: &Acknowledgement, other: &Acknowledgement| {
            one.responder == other.responder && one.vouched == other.vouched
        };
        let own: Vec<_> = self.iter().filter(|old| alike(old, answer)).collect();
        if own.iter().any(|old| old.payload == answer.payload) {
            return false;
        }
        let own = own.len();
        let class = |(_, old): &(usize, &Acknowledgement)| old.vouched == answer.vouched;
        let is_full = self.iter().enumerate().filter(class).count() >= Self::BOUND;
        if own >= Self::SHARE || is_full {
            *left_out = left_out.saturating_add(1);
            if own > 0 || *left_out > Self::REPLACED {
                return false;
            }
            let late = || self.iter().enumerate().filter(class).skip(Self::BOUND / 2);
            let is_second = |(index, old): &(usize, &Acknowledgement)| {
                self[..*index].iter().any(|earlier| alike(earlier, old))
            };
            let oldest = || late().next().filter(|_| !answer.vouched);
            let Some((index, _)) = late().filter(is_second).last().or_else(oldest) else {
                return false;
            };
            self.0.remove(index);
        }
        self.0.push(answer.clone());
        true
    }

    /// How many answers of one responder are kept.
    const SHARE: usize = 2;
    /// How many are kept of those that the broker vouches for, and how many of the others.
    const BOUND: usize = 8;
    /// How often a later answer takes an earlier one's place, so that a flood does not wear out the store.
    const REPLACED: u32 = 32;
}

/// What the hub knows about one absence: the value of the `absence` topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Absence {
    /// The will's generation; the store alone may hold it whole, because whoever knows it can acknowledge the will.
    pub generation: Generation,
    /// What became of the will.
    pub outcome: Outcome,
    /// Whether the broker published it.
    #[serde(default)]
    pub published: Published,
    /// Whether the session is proven to have kept whatever was published while the hub was away.
    #[serde(default)]
    pub session_kept: bool,
    /// Whether the hub had disconnected in order before.
    pub clean: bool,
    /// When the connection with this will began, RFC 3339, by the system's clock of that time.
    pub connected_at: String,
    /// When the outcome was decided, likewise.
    pub decided_at: String,
    /// The answers to the will, in the order of arrival.
    pub acknowledgements: Acknowledgements,
    /// How many more there were.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub left_out: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// A will whose outcome is not decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenWill {
    /// Its Correlation Data.
    pub generation: Generation,
    /// The prefix of its topics.
    pub prefix: Option<Prefix>,
    /// When the connection began, RFC 3339.
    pub connected_at: String,
    /// Whether the broker is known to have had it: CONNACK came.
    #[serde(default)]
    pub connected: bool,
    /// Whether the session held the subscriptions that make a missing will evidence.
    pub subscribed: bool,
    /// Whether DISCONNECT 0x00 was sent.
    pub clean: bool,
    /// Whether a copy of it was seen.
    pub seen: bool,
    /// The answers so far.
    pub acknowledgements: Acknowledgements,
    /// How many more there were.
    #[serde(default)]
    pub left_out: u32,
}

impl Absence {
    /// Returns the facts as everybody may read them: they name the will by the half of its generation that is no secret.
    pub fn facts(&self) -> serde_json::Value {
        let mut facts = serde_json::to_value(self).expect("an absence has only text keys");
        facts["generation"] = self.generation.name().into();
        facts
    }
}

impl OpenWill {
    /// Returns whether the broker had it: an attempt to connect that came to nothing is no absence.
    pub(crate) fn is_worth_telling(&self) -> bool {
        self.connected || self.seen || !self.acknowledgements.is_empty()
    }
}

/// What the store keeps between two lives of the daemon.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// The prefix last learned; the outer `None` means that none was ever learned.
    pub prefix: Option<KnownPrefix>,
    /// Wills whose outcome is open, oldest first.
    pub open: Vec<OpenWill>,
    /// The last outcomes, oldest first.
    pub decided: Vec<Absence>,
    /// The broker that all this is about.
    #[serde(default)]
    pub broker: Option<String>,
    /// Earlier prefixes that the session may still be subscribed under.
    #[serde(default)]
    pub past: Vec<KnownPrefix>,
    /// Whether a connection has subscribed and decided nothing yet: it may have the session of the open wills, or one
    /// that an attempt without CONNACK had made anew; and the store may fail before it holds what comes.
    #[serde(default)]
    pub unproven: bool,
    /// The last wills that each guard acted on, by their Correlation Data, oldest first.
    #[serde(default)]
    pub guarded: BTreeMap<String, Vec<Vec<u8>>>,
    /// What the Correlation Data of the hub's own messages is made with.
    #[serde(default)]
    pub key: Option<TokenKey>,
    /// Whether the broker adds a Message Expiry Interval to messages that have none.
    #[serde(default)]
    pub adds_expiry: bool,
    /// What the broker takes of a message, which the next will keeps to.
    #[serde(default)]
    pub limits: Limits,
    /// Whether the session takes requests for this hub's devices alone; one of version 0.1.0 takes those for all.
    #[serde(default)]
    pub takes_its_own: bool,
}

/// What a broker takes of a message, at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Its quality of service.
    pub qos: QoS,
    /// Whether it may be retained.
    pub retain: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self { qos: QoS::AtLeastOnce, retain: true }
    }
}

impl Limits {
    /// Makes a message what the broker takes.
    pub fn apply(self, message: &mut Message) {
        message.qos = message.qos.min(self.qos);
        message.retain &= self.retain;
    }
}

/// The result of learning the prefix.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownPrefix {
    /// The prefix; none where the topics stand in their plain form.
    pub prefix: Option<Prefix>,
}

impl Memory {
    /// How many open wills and how many decided ones are kept.
    pub const BOUND: usize = 8;
}

/// Writes a time since the Unix epoch as RFC 3339 in UTC.
pub(crate) fn rfc3339(unix: Duration) -> String {
    humantime::format_rfc3339_seconds(UNIX_EPOCH + unix).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each answer is `NAME:PAYLOAD`, and `!` before the name where the broker vouches for it.
    #[track_caller]
    fn check_kept(answers: &str, kept: &str) {
        let mut acknowledgements = Acknowledgements::default();
        let mut left_out = 0;
        let mut given = 0;
        for answer in answers.split(' ') {
            let (name, payload) = answer.split_once(':').unwrap();
            let acknowledgement = Acknowledgement {
                responder: Some(name.trim_start_matches('!').to_owned()),
                vouched: name.starts_with('!'),
                payload: payload.to_owned(),
                status: None,
                before_fence: false,
            };
            acknowledgements.admit(&acknowledgement, &mut left_out);
            given += 1;
        }
        let write = |one: &Acknowledgement| {
            let sign = if one.vouched { "!" } else { "" };
            format!("{sign}{}:{}", one.responder.as_deref().unwrap(), one.payload)
        };
        let now: Vec<_> = acknowledgements.iter().map(write).collect();
        assert_eq!(now.join(" "), kept, "{answers}");
        assert_eq!(left_out as usize + now.len(), given, "{answers}");
    }

    #[test]
    fn a_responder_has_its_share_and_a_crowd_leaves_the_first_and_the_last() {
        check_kept("a:1 a:2 a:3", "a:1 a:2");
        check_kept("a:1 b:1 c:1 d:1 e:1 f:1 g:1 h:1 i:1 j:1", "a:1 b:1 c:1 d:1 g:1 h:1 i:1 j:1");
    }

    #[test]
    fn a_first_answer_takes_the_place_of_a_second_one() {
        // The first four stay as they are, and nobody's only answer makes room for a second one.
        check_kept("a:1 a:2 b:1 c:1 d:1 m:1 m:2 e:1 e:2 f:1", "a:1 a:2 b:1 c:1 d:1 m:1 e:1 f:1");
    }

    #[test]
    fn whom_the_broker_vouches_for_has_room_of_its_own() {
        check_kept(
            "a:1 b:1 c:1 d:1 e:1 f:1 g:1 h:1 !phone:1 !phone:2",
            "a:1 b:1 c:1 d:1 e:1 f:1 g:1 h:1 !phone:1 !phone:2",
        );
        check_kept(
            "!a:1 !b:1 !c:1 !d:1 !e:1 !f:1 !g:1 !h:1 !i:1",
            "!a:1 !b:1 !c:1 !d:1 !e:1 !f:1 !g:1 !h:1",
        );
    }
}
