//! The truth about every request: who asked, what was executed, which answers went out.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use hearth_core::{Message, QoS, Record, RequestKey};

use crate::link::{Life, LinkId};

/// Every request that was ever made.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) asked: Vec<Asked>,
    /// Which request an answer belongs to.
    by_reply: BTreeMap<(String, Option<Bytes>), usize>,
    /// The life of the daemon whose last answers did not survive.
    forgotten: Option<Life>,
}

/// One request, however often it was sent.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) message: Message,
    /// The prefix that its topics were made with.
    pub(crate) prefix: Option<String>,
    pub(crate) sets: bool,
    pub(crate) idempotent: bool,
    pub(crate) allowed: bool,
    /// Another request has the same Response Topic and Correlation Data.
    pub(crate) ambiguous: bool,
    pub(crate) patience: Option<Duration>,
    pub(crate) first_sent: Duration,
    pub(crate) times_sent: u32,
    /// In which lives a device was told to carry it out.
    pub(crate) executions: Vec<Life>,
    pub(crate) answers: Vec<Given>,
    /// When the hub last gave a PUBACK for it, or the answer at QoS 0: from then on it may be forgotten.
    pub(crate) settled: Option<Duration>,
    /// The broker has refused an answer, or could not take it.
    pub(crate) undeliverable: bool,
    /// An answer was durable in the store.
    pub(crate) answer_durable: bool,
    /// The first delivery in a life of the daemon.
    pub(crate) first_handed: Option<Handed>,
}

/// One answer that the broker has.
#[derive(Clone, Debug)]
pub(crate) struct Given {
    pub(crate) status: u16,
    pub(crate) payload: Bytes,
    pub(crate) life: Life,
    pub(crate) at: Duration,
    /// The hub cannot know of it: it was killed before the store could be written, or its journal was full.
    pub(crate) forgotten: bool,
}

/// How a request reached the hub.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Handed {
    pub(crate) life: Life,
    pub(crate) link: LinkId,
    /// It had waited while the hub was away, and the fence was not back.
    pub(crate) stale: bool,
}

impl Ledger {
    pub(crate) fn add(&mut self, asked: Asked) -> usize {
        let index = self.asked.len();
        let mut asked = asked;
        if let Some(topic) = asked.message.response_topic.clone().filter(|_| asked.allowed) {
            let reply = (topic, asked.message.correlation_data.clone());
            match self.by_reply.get(&reply) {
                Some(&first) => {
                    self.asked[first].ambiguous = true;
                    asked.ambiguous = true;
                }
                None => {
                    self.by_reply.insert(reply, index);
                }
            }
        }
        self.asked.push(asked);
        index
    }

    /// Finds the request that a response answers.
    pub(crate) fn answered_by(&self, response: &Message) -> Option<usize> {
        let reply = (response.topic.clone(), response.correlation_data.clone());
        self.by_reply.get(&reply).copied()
    }

    /// Finds the request that a device is told to carry out, by the identity in its payload.
    pub(crate) fn identify(&self, payload: &[u8]) -> Option<usize> {
        let mark = payload.iter().position(|byte| *byte == b'#')?;
        let digits = payload[mark + 1..].iter().take_while(|byte| byte.is_ascii_digit());
        let index = digits.fold(0, |index, digit| index * 10 + usize::from(digit - b'0'));
        (index < self.asked.len()).then_some(index)
    }

    /// Notes that an answer will survive a crash.
    pub(crate) fn note_durable(&mut self, record: &Record) {
        if record.answer.is_none() {
            return;
        }
        if let RequestKey::Correlated { response_topic, correlation_data } = &record.key {
            let reply = (response_topic.to_string(), Some(correlation_data.clone()));
            if let Some(&index) = self.by_reply.get(&reply) {
                self.asked[index].answer_durable = true;
            }
        }
    }

    /// Whether an answer that comes only now is one that did not survive.
    pub(crate) fn has_forgotten(&self, life: Life) -> bool {
        self.forgotten == Some(life)
    }

    /// An answer to this topic was not published.
    pub(crate) fn note_undeliverable(&mut self, topic: &str) {
        for asked in &mut self.asked {
            asked.undeliverable |= asked.message.response_topic.as_deref() == Some(topic);
        }
    }

    /// What the hub has answered from this time on did not survive.
    pub(crate) fn forget_since(&mut self, since: Duration, life: Life) {
        self.forgotten = Some(life);
        for given in self.asked.iter_mut().flat_map(|asked| &mut asked.answers) {
            given.forgotten |= given.at >= since;
        }
    }

    /// No answer has survived after all.
    pub(crate) fn store_lost(&mut self) {
        for asked in &mut self.asked {
            asked.answer_durable = false;
        }
    }
}

impl Asked {
    /// Whether the requester has stopped waiting, give or take the whole seconds of the wire.
    pub(crate) fn is_over(&self, accepted: Duration, now: Duration) -> bool {
        const ROUNDING: Duration = Duration::from_secs(1);
        let expiry = self.message.expiry.map(|seconds| Duration::from_secs(seconds.into()));
        expiry.is_some_and(|expiry| accepted + expiry <= now + ROUNDING)
    }

    pub(crate) fn is_at_least_once(&self) -> bool {
        self.message.qos == QoS::AtLeastOnce
    }
}

impl Given {
    /// Whether the answer says that the request was not carried out.
    pub(crate) fn denies(&self) -> bool {
        matches!(self.status, 400 | 404 | 429) || (self.status == 409 && self.says("\"stale:"))
    }

    pub(crate) fn says(&self, text: &str) -> bool {
        self.payload.windows(text.len()).any(|window| window == text.as_bytes())
    }

    /// Whether the answer itself did not fit into a packet.
    pub(crate) fn is_substitute(&self) -> bool {
        self.says("Maximum Packet Size")
    }

    /// Whether a later life of the daemon can know of it.
    pub(crate) fn binds(&self, later: Life) -> bool {
        self.life.store == later.store && !self.forgotten
    }

    pub(crate) fn says_the_same_as(&self, other: &Self) -> bool {
        self.status == other.status && self.payload == other.payload
    }
}
