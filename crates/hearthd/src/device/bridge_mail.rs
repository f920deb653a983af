//! What waits for a device of MQTT, bounded in number and in bytes.

use std::collections::VecDeque;

use bytes::Bytes;
use hearthd_core::PublishError;

/// What a device is told of MQTT.
#[derive(Debug)]
pub(crate) enum BridgeMail {
    Link(bool),
    Message {
        topic: String,
        payload: Bytes,
        retained: bool,
    },
    /// What became of a message, by its number in the hub.
    Outcome {
        number: u64,
        result: Result<Bytes, PublishError>,
    },
    /// What became of a message that has none: it has a status, and the token that the plugin gave it.
    Refused {
        token: u64,
        status: i32,
    },
}

/// What waits, in the order in which it came.
#[derive(Debug, Default)]
pub(super) struct BridgeQueue {
    mail: VecDeque<BridgeMail>,
    /// Bytes of the messages in there.
    bytes: usize,
}

impl BridgeQueue {
    /// Adds what has come; of too many messages the oldest give way. Returns how many have.
    pub(super) fn push(&mut self, mail: BridgeMail) -> usize {
        let is_message = |mail: &BridgeMail| matches!(mail, BridgeMail::Message { .. });
        let mut lost = 0;
        if is_message(&mail) {
            if mail.bytes() > MESSAGE_BYTES {
                return 1;
            }
            let mut waiting = self.mail.iter().filter(|mail| is_message(mail)).count();
            while waiting > 0
                && (waiting >= MESSAGES_BOUND || self.bytes + mail.bytes() > MESSAGE_BYTES)
                && let Some(index) = self.mail.iter().position(is_message)
            {
                let oldest = self.mail.remove(index);
                self.bytes -= oldest.map_or(0, |oldest| oldest.bytes());
                waiting -= 1;
                lost += 1;
            }
        } else if let BridgeMail::Link(_) = mail {
            // Of a connection that comes and goes, the last word counts, and that it was gone meanwhile.
            let links = self.mail.iter().filter(|mail| matches!(mail, BridgeMail::Link(_)));
            if links.count() >= LINKS_BOUND
                && let Some(index) =
                    self.mail.iter().position(|mail| matches!(mail, BridgeMail::Link(_)))
            {
                self.mail.remove(index);
            }
        }
        self.bytes += mail.bytes();
        self.mail.push_back(mail);
        lost
    }

    /// Takes the oldest.
    pub(super) fn pop(&mut self) -> Option<BridgeMail> {
        let mail = self.mail.pop_front()?;
        self.bytes -= mail.bytes();
        Some(mail)
    }

    /// Forgets all: it was for an instance that is gone.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

impl BridgeMail {
    /// Returns how many bytes of messages it is; outcomes are bounded by what the device may have under way.
    fn bytes(&self) -> usize {
        match self {
            Self::Message { topic, payload, .. } => topic.len() + payload.len(),
            Self::Link(_) | Self::Outcome { .. } | Self::Refused { .. } => 0,
        }
    }
}

/// Messages that may wait for one device, and how many bytes those may be.
pub(super) const MESSAGES_BOUND: usize = 64;
const MESSAGE_BYTES: usize = 1024 * 1024;
const LINKS_BOUND: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(queue: &mut BridgeQueue) -> Vec<String> {
        let next = || match queue.pop()? {
            BridgeMail::Message { payload, .. } => {
                Some(String::from_utf8_lossy(&payload).into_owned())
            }
            mail => Some(format!("{mail:?}")),
        };
        std::iter::from_fn(next).collect()
    }

    #[test]
    fn messages_are_bounded_in_bytes_and_one_that_is_larger_is_lost_alone() {
        let mut queue = BridgeQueue::default();
        let large = |bytes: usize| BridgeMail::Message {
            topic: "z".into(),
            payload: vec![b'x'; bytes].into(),
            retained: false,
        };
        assert_eq!(queue.push(large(600_000)), 0);
        assert_eq!(queue.push(large(600_000)), 1);
        assert_eq!(queue.push(large(400_000)), 0);
        assert_eq!(queue.push(large(2_000_000)), 1);
        assert_eq!(taken(&mut queue).len(), 2);
        assert_eq!(
            queue.push(BridgeMail::Message {
                topic: "z".into(),
                payload: "next".into(),
                retained: false,
            }),
            0
        );
        assert_eq!(taken(&mut queue), ["next"]);
    }

    #[test]
    fn a_connection_that_comes_and_goes_leaves_a_few_words() {
        let mut queue = BridgeQueue::default();
        for up in [true, false].repeat(100) {
            queue.push(BridgeMail::Link(up));
        }
        let told = taken(&mut queue);
        assert_eq!(told.len(), LINKS_BOUND);
        assert_eq!(told.last().map(String::as_str), Some("Link(false)"));
    }
}
