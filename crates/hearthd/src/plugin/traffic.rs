//! What one device has under way on MQTT: what its own side of the boundary can say at once about a message.
//!
//! The hub decides the same again, and has the last word.

use std::sync::{
    Mutex,
    atomic::{AtomicU64, Ordering},
};

use hearthd_core::{BRIDGE_BYTES, BRIDGE_MESSAGES, DeclaredTopics, topic::check_name};
use hearthd_sdk::abi;

use crate::{boundary::call::Publication, sync::lock};

/// The messages of one device.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    topics: DeclaredTopics,
    open: Mutex<Open>,
}

/// Whether there is a connection, and the messages of the device that are under way.
#[derive(Debug, Default)]
struct Open {
    up: bool,
    messages: Vec<UnderWay>,
}

/// A message whose outcome has not come.
#[derive(Clone, Copy, Debug)]
struct UnderWay {
    /// Names it in the hub.
    number: u64,
    /// Names it in the plugin.
    token: u64,
    bytes: usize,
}

impl Traffic {
    /// Makes the record of a device with these topics, without a connection.
    pub(crate) fn new(topics: DeclaredTopics) -> Self {
        Self { topics, open: Mutex::default() }
    }

    /// Takes a message on; returns its number in the hub, or the status that says why not (Q2).
    pub(crate) fn begin(&self, publication: &Publication<'_>) -> Result<u64, i32> {
        let Publication { token, topic, payload, asks, .. } = publication;
        let declared = match asks {
            true => self.topics.may_ask(topic).is_some(),
            false => check_name(topic).is_ok() && self.topics.may_publish(topic),
        };
        if !declared {
            return Err(abi::ERR_INVALID);
        }
        let bytes = topic.len() + payload.len();
        if bytes > BRIDGE_BYTES {
            return Err(abi::ERR_TOO_LARGE);
        }
        let mut open = lock(&self.open);
        if !open.up {
            return Err(abi::ERR_GONE);
        }
        let under_way: usize = open.messages.iter().map(|message| message.bytes).sum();
        let many = open.messages.len() >= BRIDGE_MESSAGES;
        if many || (under_way > 0 && under_way + bytes > BRIDGE_BYTES) {
            return Err(abi::ERR_BUSY);
        }
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        open.messages.push(UnderWay { number, token: *token, bytes });
        Ok(number)
    }

    /// Ends a message by its number in the hub; returns the plugin's own; none where it is none of this instance's.
    pub(crate) fn end(&self, number: u64) -> Option<u64> {
        self.take(|message| message.number == number)
    }

    /// Ends a message by its number in the plugin.
    pub(crate) fn end_token(&self, token: u64) {
        self.take(|message| message.token == token);
    }

    fn take(&self, is_it: impl Fn(&UnderWay) -> bool) -> Option<u64> {
        let mut open = lock(&self.open);
        let index = open.messages.iter().position(is_it)?;
        Some(open.messages.remove(index).token)
    }

    /// Notes whether there is a connection; returns whether that is news.
    pub(crate) fn set_link(&self, up: bool) -> bool {
        std::mem::replace(&mut lock(&self.open).up, up) != up
    }

    /// The instance is gone, and with it all that it had under way.
    pub(crate) fn reset(&self) {
        *lock(&self.open) = Open::default();
    }

    /// Returns whether the device uses topics at all.
    pub(crate) fn is_used(&self) -> bool {
        !self.topics.is_empty()
    }
}

/// No number is given twice, so that a late outcome is never taken for another's.
static NEXT: AtomicU64 = AtomicU64::new(1);

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn publication<'a>(token: u64, topic: &'a str, payload: &'a [u8]) -> Publication<'a> {
        Publication {
            token,
            command: None,
            topic,
            payload,
            at_least_once: false,
            retain: false,
            reply: false,
            asks: false,
            expiry: Duration::from_secs(1),
        }
    }

    #[test]
    fn what_cannot_be_sent_is_refused_at_once() {
        let pairs = [("publish".to_owned(), "z/+/set".to_owned())];
        let traffic = Traffic::new(DeclaredTopics::parse(&pairs).unwrap());
        let status = |topic: &str, bytes: usize| {
            traffic
                .begin(&publication(7, topic, &vec![0; bytes]))
                .map(|_| abi::OK)
                .unwrap_or_else(|e| e)
        };
        assert_eq!(status("z/lamp/set", 1), abi::ERR_GONE);
        assert!(traffic.set_link(true) && !traffic.set_link(true));
        for topic in ["z/lamp", "z/+/set", "", "z/lamp/set/x"] {
            assert_eq!(status(topic, 1), abi::ERR_INVALID, "{topic}");
        }
        assert_eq!(status("z/lamp/set", 300_000), abi::ERR_TOO_LARGE);
        assert_eq!(status("z/lamp/set", 200_000), abi::OK);
        assert_eq!(status("z/lamp/set", 100_000), abi::ERR_BUSY);
        traffic.end_token(7);
        for _ in 0..BRIDGE_MESSAGES {
            assert_eq!(status("z/lamp/set", 1), abi::OK);
        }
        assert_eq!(status("z/lamp/set", 1), abi::ERR_BUSY);
        traffic.reset();
        assert_eq!(status("z/lamp/set", 1), abi::ERR_GONE);
    }

    #[test]
    fn an_outcome_finds_its_own_message_once() {
        let pairs = [("publish".to_owned(), "z".to_owned())];
        let traffic = Traffic::new(DeclaredTopics::parse(&pairs).unwrap());
        traffic.set_link(true);
        let one = traffic.begin(&publication(1, "z", b"")).unwrap();
        let other = traffic.begin(&publication(2, "z", b"")).unwrap();
        assert_eq!([other, one, one].map(|number| traffic.end(number)), [Some(2), Some(1), None]);
    }
}
