//! The requests in progress, and the answers that a redelivery gets again.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    hash::{DefaultHasher, Hash, Hasher},
    time::Duration,
};

use bytes::Bytes;

use crate::{Answer, DeliveryId, Message, PublishId, QoS, RequestId};

/// The table of requests.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    pending: BTreeMap<RequestId, Pending>,
    deadlines: BTreeSet<(Duration, RequestId)>,
    per_device: BTreeMap<String, usize>,
    next_id: u64,
    replies: Replies,
}

/// One accepted request without an answer.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) device: String,
    pub(crate) property: String,
    pub(crate) arrived: Duration,
    pub(crate) deadline: Duration,
    pub(crate) reply: Reply,
}

/// Where and how the answer goes.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) response_topic: Option<String>,
    pub(crate) correlation_data: Option<Bytes>,
    pub(crate) qos: QoS,
    /// When the requester stops waiting.
    pub(crate) expires: Option<Duration>,
    pub(crate) deliveries: Vec<DeliveryId>,
    /// Tells a redelivery from another request with the same Correlation Data.
    pub(crate) content: Fingerprint,
}

/// Stands for a request's topic and payload, which may be large.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fingerprint(u64);

impl Fingerprint {
    fn of(message: &Message) -> Self {
        let mut hasher = DefaultHasher::new();
        (&message.topic, &message.payload).hash(&mut hasher);
        Self(hasher.finish())
    }
}

/// What is known of a request that may be a redelivery.
#[derive(Debug)]
pub(crate) enum Seen {
    /// It is in progress; its delivery has been added.
    InProgress,
    /// It was answered so.
    Answered { answer: Answer, publish: Option<PublishId> },
}

impl Reply {
    pub(crate) fn new(message: &Message, delivery: Option<DeliveryId>, now: Duration) -> Self {
        Self {
            response_topic: message.response_topic.clone(),
            correlation_data: message.correlation_data.clone(),
            qos: message.qos,
            expires: message.expiry.map(|seconds| now + Duration::from_secs(seconds.into())),
            deliveries: delivery.into_iter().collect(),
            content: Fingerprint::of(message),
        }
    }

    /// Builds the response; none where nobody asked for one.
    pub(crate) fn response(&self, answer: &Answer) -> Option<Message> {
        let mut response = Message {
            topic: self.response_topic.clone()?,
            qos: self.qos,
            correlation_data: self.correlation_data.clone(),
            ..Message::default()
        };
        answer.write_to(&mut response);
        Some(response)
    }

    fn key(&self) -> Option<Key> {
        Some((self.response_topic.clone()?, self.correlation_data.clone()?))
    }
}

impl Requests {
    /// Looks a request up among those in progress and the answered ones.
    pub(crate) fn seen(&mut self, reply: &Reply) -> Option<Seen> {
        let key = reply.key()?;
        let entry = self.replies.by_key.get(&key)?;
        if entry.content != reply.content {
            return None;
        }
        match &entry.state {
            ReplyState::InProgress(id) => {
                let pending = self.pending.get_mut(id)?;
                pending.reply.deliveries.extend(&reply.deliveries);
                Some(Seen::InProgress)
            }
            ReplyState::Answered(answer, publish) => {
                Some(Seen::Answered { answer: answer.clone(), publish: *publish })
            }
        }
    }

    pub(crate) fn waiting(&self, device: &str) -> usize {
        self.per_device.get(device).copied().unwrap_or(0)
    }

    pub(crate) fn insert(&mut self, pending: Pending) -> RequestId {
        self.next_id += 1;
        let id = RequestId(self.next_id);
        if let Some(key) = pending.reply.key() {
            self.replies.begin(key, pending.reply.content, id, pending.deadline);
        }
        *self.per_device.entry(pending.device.clone()).or_default() += 1;
        self.deadlines.insert((pending.deadline, id));
        self.pending.insert(id, pending);
        id
    }

    pub(crate) fn remove(&mut self, id: RequestId) -> Option<Pending> {
        let pending = self.pending.remove(&id)?;
        self.deadlines.remove(&(pending.deadline, id));
        if let Some(count) = self.per_device.get_mut(&pending.device) {
            *count -= 1;
        }
        Some(pending)
    }

    /// Keeps an answer for redeliveries.
    pub(crate) fn answered(&mut self, reply: &Reply, answer: &Answer, publish: Option<PublishId>) {
        if let Some(entry) = reply.key().and_then(|key| self.replies.by_key.get_mut(&key)) {
            entry.state = ReplyState::Answered(answer.clone(), publish);
        }
    }

    pub(crate) fn next_deadline(&self) -> Option<Duration> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    pub(crate) fn overdue(&self, now: Duration) -> Option<RequestId> {
        self.deadlines.first().filter(|(deadline, _)| *deadline <= now).map(|(_, id)| *id)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// The connection is gone, and with it the deliveries.
    pub(crate) fn disconnected(&mut self) {
        for pending in self.pending.values_mut() {
            pending.reply.deliveries.clear();
        }
    }

    /// Forgets answers that no redelivery asks for any more.
    pub(crate) fn expire_replies(&mut self, now: Duration) {
        self.replies.expire(now);
    }
}

type Key = (String, Bytes);

#[derive(Debug, Default)]
struct Replies {
    by_key: BTreeMap<Key, ReplyEntry>,
    by_age: VecDeque<(Duration, Key)>,
}

#[derive(Debug)]
struct ReplyEntry {
    content: Fingerprint,
    state: ReplyState,
}

#[derive(Debug)]
enum ReplyState {
    InProgress(RequestId),
    Answered(Answer, Option<PublishId>),
}

impl Replies {
    fn begin(&mut self, key: Key, content: Fingerprint, id: RequestId, deadline: Duration) {
        if self.by_age.len() >= REPLY_BOUND
            && let Some((_, oldest)) = self.by_age.pop_front()
        {
            self.by_key.remove(&oldest);
        }
        self.by_age.push_back((deadline + REPLY_KEPT, key.clone()));
        self.by_key.insert(key, ReplyEntry { content, state: ReplyState::InProgress(id) });
    }

    fn expire(&mut self, now: Duration) {
        while self.by_age.front().is_some_and(|(until, _)| *until <= now) {
            if let Some((_, key)) = self.by_age.pop_front()
                && !self.by_age.iter().any(|(_, other)| *other == key)
            {
                self.by_key.remove(&key);
            }
        }
    }
}

/// How long an answer is kept for redeliveries after the request's deadline.
const REPLY_KEPT: Duration = Duration::from_secs(60);
/// How many answers are kept.
const REPLY_BOUND: usize = 1024;
