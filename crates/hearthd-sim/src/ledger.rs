//! The truth about every request: who asked, what was executed, which answers went out.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use bytes::Bytes;
use hearthd_core::{JournalRecord, Message, QoS, RequestId, RequestKey};

use crate::link::{HubId, Life, LinkId};

/// Every request that was ever made.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// Devices whose retained status a stranger has written in the name of another hub.
    pub(crate) forged_status: BTreeSet<&'static str>,
    pub(crate) asked: Vec<Asked>,
    /// Which request an answer belongs to.
    by_reply: BTreeMap<(String, Option<Bytes>), usize>,
    /// The lives of daemons whose last answers did not survive.
    forgotten: Vec<Life>,
}

/// One request, however often it was sent.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) message: Message,
    /// The prefix that its topics were made with.
    pub(crate) prefix: Option<String>,
    /// The device, or the hub itself.
    pub(crate) device: &'static str,
    pub(crate) property: &'static str,
    /// The client that asks.
    pub(crate) sender: &'static str,
    /// A device asks, through its hub.
    pub(crate) by_device: bool,
    /// Somebody asks only to use up what others need.
    pub(crate) hostile: bool,
    pub(crate) sets: bool,
    pub(crate) idempotent: bool,
    pub(crate) allowed: bool,
    /// Another request has the same Response Topic and Correlation Data, or it was sent again without a mark.
    pub(crate) ambiguous: bool,
    pub(crate) patience: Option<Duration>,
    pub(crate) first_sent: Duration,
    pub(crate) times_sent: u32,
    /// The broker has had a copy of it.
    pub(crate) has_arrived: bool,
    /// It was sent again as if it were another request.
    pub(crate) unmarked: bool,
    /// In which lives a device was told to carry it out.
    pub(crate) executions: Vec<Life>,
    pub(crate) answers: Vec<Given>,
    /// When the hub last gave a PUBACK for it, or the answer at QoS 0: from then on it may be forgotten.
    pub(crate) settled: BTreeMap<HubId, Duration>,
    /// The broker has refused an answer, or could not take it.
    pub(crate) undeliverable: bool,
    /// The hubs whose store has held an answer.
    pub(crate) durable_at: Vec<HubId>,
    /// The first delivery in the life that each hub's daemon has now.
    pub(crate) first_handed: BTreeMap<HubId, Handed>,
    /// When each hub was last given it.
    pub(crate) last_handed: BTreeMap<HubId, Duration>,
    /// It was delivered at QoS 0 although it was sent at QoS 1.
    pub(crate) downgraded: bool,
    pub(crate) course: Course,
}

/// In which lives of a daemon a request, and whatever is answered like it, was last carried out and answered.
#[derive(Clone, Debug, Default)]
pub(crate) struct Course {
    pub(crate) executed: Vec<Life>,
    /// The last of these, as its hub numbers it.
    pub(crate) number: Option<(Life, RequestId)>,
    /// It was under way, and has ended.
    pub(crate) ended: bool,
    /// One of those that are answered alike only reads.
    pub(crate) reads: bool,
    /// One of those that are answered alike sets something.
    pub(crate) sets: bool,
    /// Who has sent the copies that have reached a hub, as far as the hub can tell.
    pub(crate) senders: BTreeSet<&'static str>,
    /// The connection that the first copy came on.
    pub(crate) first_link: Option<LinkId>,
    /// A hub was given a copy that it must take for a repeat.
    pub(crate) repeated: bool,
    /// A hub has published an answer, whether the broker has it or not.
    pub(crate) published: Option<Life>,
}

/// One answer that the broker has.
#[derive(Clone, Debug)]
pub(crate) struct Given {
    pub(crate) status: u16,
    /// Why it is 409.
    pub(crate) reason: Option<String>,
    pub(crate) payload: Bytes,
    pub(crate) life: Life,
    pub(crate) at: Duration,
    /// It is about an earlier answer.
    pub(crate) doubts: bool,
    /// The hub cannot know of it: it was killed before the store could be written, or its journal was full.
    pub(crate) forgotten: bool,
}

/// How a request reached the hub.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Handed {
    pub(crate) life: Life,
    pub(crate) link: LinkId,
    pub(crate) at: Duration,
    /// It had waited while the hub was away, and the fence was not back.
    pub(crate) stale: bool,
}

impl Ledger {
    /// Notes a request; returns its number.
    pub(crate) fn add(&mut self, asked: Asked) -> usize {
        let index = self.asked.len();
        let mut asked = asked;
        asked.course.reads = !asked.sets;
        asked.course.sets = asked.sets;
        if let Some(topic) = asked.message.response_topic.clone().filter(|_| asked.allowed) {
            let reply = (topic, asked.message.correlation_data.clone());
            match self.by_reply.get(&reply) {
                Some(&first) => {
                    self.asked[first].ambiguous = true;
                    self.asked[first].course.reads |= !asked.sets;
                    self.asked[first].course.sets |= asked.sets;
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

    /// A device's request leaves its hub, which has made its topics.
    pub(crate) fn leaves(&mut self, index: usize, message: &Message, prefix: Option<String>) {
        let topic = message.response_topic.clone();
        let reply = topic.map(|topic| (topic, message.correlation_data.clone()));
        self.by_reply.extend(reply.map(|reply| (reply, index)));
        let asked = &mut self.asked[index];
        (asked.message, asked.prefix) = (message.clone(), prefix);
    }

    /// Returns the number of a request that a device makes.
    pub(crate) fn question(&self, message: &Message) -> Option<usize> {
        let index =
            self.identify(&message.payload).filter(|_| message.user_property(VIA).is_some());
        index.filter(|index| self.asked[*index].by_device)
    }

    /// Finds the request that a response answers.
    pub(crate) fn answered_by(&self, response: &Message) -> Option<usize> {
        let reply = (response.topic.clone(), response.correlation_data.clone());
        self.by_reply.get(&reply).copied()
    }

    /// What a request was told to be under way has ended.
    pub(crate) fn note_ended(&mut self, life: Life, request: RequestId) {
        let its = |asked: &&mut Asked| asked.course.number == Some((life, request));
        self.asked.iter_mut().rev().filter(its).for_each(|asked| asked.course.ended = true);
    }

    /// Finds the first request with the same Response Topic and Correlation Data, which keeps the course of all.
    pub(crate) fn root_of(&self, index: usize) -> usize {
        let message = &self.asked[index].message;
        let root = message.response_topic.clone().and_then(|topic| {
            self.by_reply.get(&(topic, message.correlation_data.clone())).copied()
        });
        root.unwrap_or(index)
    }

    /// Finds the request that a device is told to carry out, by the identity in its payload.
    pub(crate) fn identify(&self, payload: &[u8]) -> Option<usize> {
        identity(payload).filter(|index| *index < self.asked.len())
    }

    /// Notes that an answer will survive a crash.
    pub(crate) fn note_durable(&mut self, hub: HubId, record: &JournalRecord) {
        if record.answer.is_none() {
            return;
        }
        if let RequestKey::Correlated { response_topic, correlation_data, .. } = &record.key {
            // In the key it is shortened.
            let correlation_data =
                record.reply.correlation_data.as_ref().unwrap_or(correlation_data);
            let reply = (response_topic.to_string(), Some(correlation_data.clone()));
            if let Some(&index) = self.by_reply.get(&reply) {
                self.asked[index].durable_at.push(hub);
            }
        }
    }

    /// Whether an answer that comes only now is one that did not survive.
    pub(crate) fn has_forgotten(&self, life: Life) -> bool {
        self.forgotten.contains(&life)
    }

    /// An answer to this topic was not published.
    pub(crate) fn note_undeliverable(&mut self, topic: &str) {
        for asked in &mut self.asked {
            asked.undeliverable |= asked.message.response_topic.as_deref() == Some(topic);
        }
    }

    /// What the hub has answered from this time on did not survive.
    pub(crate) fn forget_since(&mut self, since: Duration, life: Life) {
        self.forgotten.push(life);
        for given in self.asked.iter_mut().flat_map(|asked| &mut asked.answers) {
            given.forgotten |= given.at >= since && given.life.hub == life.hub;
        }
    }

    /// No answer of a hub has survived after all.
    pub(crate) fn store_lost(&mut self, hub: HubId) {
        for asked in &mut self.asked {
            asked.durable_at.retain(|other| *other != hub);
        }
    }
}

impl Asked {
    /// Makes a request of which nothing has come yet.
    pub(crate) fn new(message: Message) -> Self {
        Self {
            message,
            prefix: None,
            device: "",
            property: "",
            sender: "",
            by_device: false,
            hostile: false,
            sets: false,
            idempotent: false,
            allowed: true,
            ambiguous: false,
            patience: None,
            first_sent: Duration::ZERO,
            times_sent: 1,
            has_arrived: false,
            unmarked: false,
            executions: Vec::new(),
            answers: Vec::new(),
            settled: BTreeMap::new(),
            undeliverable: false,
            durable_at: Vec::new(),
            first_handed: BTreeMap::new(),
            last_handed: BTreeMap::new(),
            downgraded: false,
            course: Course::default(),
        }
    }

    /// Marks what is not the first copy that reaches the broker as a repeat: on one connection nothing overtakes.
    pub(crate) fn mark(&mut self, copy: &mut Message) {
        let first = !std::mem::replace(&mut self.has_arrived, true);
        if first {
            copy.user_properties.retain(|(name, _)| name != RETRY);
        } else if !self.unmarked && copy.user_property(RETRY).is_none() {
            copy.user_properties.push((RETRY.into(), "1".into()));
        }
    }

    /// Whether the requester has stopped waiting, give or take the whole seconds of the wire.
    pub(crate) fn is_over(&self, accepted: Duration, now: Duration) -> bool {
        const ROUNDING: Duration = Duration::from_secs(1);
        let expiry = self.message.expiry.map(|seconds| Duration::from_secs(seconds.into()));
        expiry.is_some_and(|expiry| accepted + expiry <= now + ROUNDING)
    }

    /// Returns whether the request, and so its answer, cannot be lost on the way.
    pub(crate) fn is_at_least_once(&self) -> bool {
        self.message.qos == QoS::AtLeastOnce && !self.downgraded
    }
}

/// Reads the number of a request from what it sets.
pub(crate) fn identity(payload: &[u8]) -> Option<usize> {
    let mark = payload.iter().position(|byte| *byte == b'#')?;
    let digits = payload[mark + 1..].iter().take_while(|byte| byte.is_ascii_digit());
    Some(digits.fold(0, |index: usize, digit| {
        index.saturating_mul(10).saturating_add(usize::from(digit - b'0'))
    }))
}

/// The user property that names the devices that wait for an answer.
pub(crate) const VIA: &str = "via";

/// The user property that marks a repeat.
pub(crate) const RETRY: &str = "retry";

impl Given {
    /// Whether the answer says that the request was not carried out.
    pub(crate) fn denies(&self) -> bool {
        let by_device = self.says("no such property");
        matches!(self.status, 400 | 404 | 429) && !by_device
            || self.is("stale")
            || self.is("queued")
    }

    /// Whether this is why it is 409.
    pub(crate) fn is(&self, reason: &str) -> bool {
        self.reason.as_deref() == Some(reason)
    }

    /// Returns whether the payload has this text in it.
    pub(crate) fn says(&self, text: &str) -> bool {
        self.payload.windows(text.len()).any(|window| window == text.as_bytes())
    }

    /// Whether the answer itself did not fit into a packet.
    pub(crate) fn is_substitute(&self) -> bool {
        self.says("Maximum Packet Size")
    }

    /// Whether a later life of the daemon can know of it.
    pub(crate) fn binds(&self, later: Life) -> bool {
        self.life.hub == later.hub && self.life.store == later.store && !self.forgotten
    }

    /// Returns whether another answer has the same status and payload.
    pub(crate) fn says_the_same_as(&self, other: &Self) -> bool {
        self.status == other.status && self.payload == other.payload
    }
}
