//! The messages to the broker: each is kept until its PUBACK, and they are handed over a few at a time.

mod window;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use crate::{
    Answer, DeliveryId, Message, PublishId, QoS, Status,
    expiry::{later, whole_seconds},
    journal::EntryId,
};

pub(crate) use window::Window;

/// The queue of outbound messages.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    entries: VecDeque<Entry>,
    next_id: u64,
    in_flight: usize,
    /// When each message was sent that has no PUBACK yet, in order.
    sent: VecDeque<(Duration, PublishId)>,
    /// When each message goes again that the broker has refused for now, in order.
    put_off: VecDeque<(Duration, PublishId)>,
}

/// A message on its way to the broker.
#[derive(Debug)]
pub(crate) struct Entry {
    id: PublishId,
    message: Message,
    kind: Kind,
    /// When its receiver stops waiting.
    expires: Option<Duration>,
    in_flight: bool,
    /// The broker has refused it for now.
    put_off: bool,
    /// Until when it goes again, once it was refused.
    patience: Option<Duration>,
    /// What it says instead if it is sent again.
    later: Option<Box<Message>>,
}

/// What a message is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A response; its request is acknowledged once the broker has it.
    Response {
        /// The request's entry in the journal.
        entry: Option<EntryId>,
        /// The deliveries of the request.
        deliveries: Vec<DeliveryId>,
    },
    /// A device's state: the next state of the same topic replaces it.
    State,
    /// Clears a retained state that this connection has shown to be the hub's own; a state of the same topic replaces
    /// it.
    Clearing,
    /// Fence and presence: they belong to one connection.
    Connection,
    /// The hub's own last words before DISCONNECT.
    Farewell,
    /// The outcome of a will; replaced like a state.
    Absence,
    /// What happened once.
    Event,
    /// Announces something to other programs; one at a time.
    Discovery,
}

/// The topics that nothing is published on, and until when.
#[derive(Debug, Default)]
pub(crate) struct Aside {
    pub(crate) topics: BTreeMap<String, Duration>,
}

impl Aside {
    /// Returns whether nothing is published on a topic now.
    pub(crate) fn is_aside(&self, topic: &str, now: Duration) -> bool {
        self.until(topic, now).is_some()
    }

    fn until(&self, topic: &str, now: Duration) -> Option<Duration> {
        self.topics.get(topic).copied().filter(|until| *until > now)
    }
}

/// What became of an entry that was taken.
pub(crate) enum Taken {
    /// Publish it.
    Publish(PublishId, Message),
    /// Nobody waits for it any more, or the broker cannot take it.
    Dropped(PublishId, Kind, String),
    /// Its topic is set aside.
    LeftOut(PublishId, Kind, String),
}

impl Outbox {
    /// Adds a message; returns what it was for and its topic where the queue is full.
    pub(crate) fn push(
        &mut self,
        message: Message,
        kind: Kind,
        expires: Option<Duration>,
    ) -> Result<PublishId, (Kind, String)> {
        let replaces = |old: &Kind| match kind {
            Kind::State | Kind::Clearing => matches!(old, Kind::State | Kind::Clearing),
            Kind::Absence => *old == Kind::Absence,
            Kind::Response { .. }
            | Kind::Connection
            | Kind::Farewell
            | Kind::Event
            | Kind::Discovery => false,
        };
        if let Some(old) = self.entries.iter_mut().find(|entry| {
            !entry.in_flight && replaces(&entry.kind) && entry.message.topic == message.topic
        }) {
            // The old one may have been given up, with a device that was gone.
            (old.message, old.kind, old.expires) = (message, kind, expires);
            return Ok(old.id);
        }
        let bound = match (&kind, message.qos) {
            // Nothing but this bound keeps the answers to QoS 0 requests from filling the queue; what else waits there takes
            // none of their room.
            (_, QoS::AtMostOnce) if self.entries.len() < ANSWERS / 2 => usize::MAX,
            (_, QoS::AtMostOnce) => {
                let others = |entry: &&Entry| entry.message.qos != QoS::AtMostOnce;
                self.entries.iter().filter(others).count() + ANSWERS / 2
            }
            // A request at QoS 1 is taken on only where its answer fits; of the others there are one or two.
            (Kind::Response { .. } | Kind::Connection | Kind::Farewell, QoS::AtLeastOnce) => {
                usize::MAX
            }
            (Kind::State | Kind::Clearing | Kind::Absence, QoS::AtLeastOnce) => 2 * ANSWERS,
            (Kind::Event | Kind::Discovery, QoS::AtLeastOnce) => ANSWERS,
        };
        if self.entries.len() >= bound {
            return Err((kind, message.topic));
        }
        let id = self.new_id();
        let entry = Entry {
            id,
            message,
            kind,
            expires,
            in_flight: false,
            put_off: false,
            patience: None,
            later: None,
        };
        if entry.kind == Kind::Connection {
            self.entries.push_front(entry);
        } else {
            self.entries.push_back(entry);
        }
        Ok(id)
    }

    /// Counts the messages that have no PUBACK yet.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Names a message that does not go through this queue.
    pub(crate) fn new_id(&mut self) -> PublishId {
        self.next_id += 1;
        PublishId(self.next_id)
    }

    /// Returns whether something waits for the window alone.
    pub(crate) fn wants_window(&self) -> bool {
        self.entries.iter().any(|entry| !entry.in_flight && !entry.put_off)
    }

    /// Takes the next message that the window allows.
    pub(crate) fn take(&mut self, now: Duration, window: Window, aside: &Aside) -> Option<Taken> {
        while let Some((at, id)) = self.put_off.front().copied()
            && at <= now
        {
            self.put_off.pop_front();
            if let Some(entry) = self.entries.iter_mut().find(|entry| entry.id == id) {
                entry.put_off = false;
            }
        }
        if self.in_flight >= window.size {
            return None;
        }
        let index = loop {
            let next = |entry: &Entry| !entry.in_flight && !entry.put_off;
            let index = self.entries.iter().position(next)?;
            let entry = &self.entries[index];
            let Some(until) = aside.until(&entry.message.topic, now) else { break index };
            if !entry.tells_how_things_are() {
                let entry = self.entries.remove(index)?;
                return Some(Taken::LeftOut(entry.id, entry.kind, entry.message.topic));
            }
            self.put_off_until(index, until);
        };
        let entry = &mut self.entries[index];
        if entry.expires.is_some_and(|expires| expires <= now) {
            return Some(self.drop_at(index));
        }
        if let Some(expires) = entry.expires {
            entry.message.expiry = Some(whole_seconds(expires - now));
        }
        let maximum = window.maximum_packet_size();
        if entry.message.packet_size() > maximum
            && !(entry.shrink() && entry.message.packet_size() <= maximum)
        {
            return Some(self.drop_at(index));
        }
        entry.in_flight = true;
        self.in_flight += 1;
        let mut message = entry.message.clone();
        window.limit(&mut message);
        if message.qos == QoS::AtLeastOnce {
            self.sent.push_back((now, entry.id));
        }
        Some(Taken::Publish(entry.id, message))
    }

    /// Removes an acknowledged message; returns what it was for and its topic.
    pub(crate) fn remove(&mut self, id: PublishId) -> Option<(Kind, String)> {
        let index = self.entries.iter().position(|entry| entry.id == id)?;
        let entry = self.entries.remove(index)?;
        self.in_flight -= usize::from(entry.in_flight);
        self.sent.retain(|(_, sent)| *sent != id);
        Some((entry.kind, entry.message.topic))
    }

    /// Keeps a message that the broker has refused for now: an answer, for which somebody waits, until `patience`
    /// ends; what is retained, as long as nothing newer tells how things are. What clears a state does not wait: by then
    /// the state may be another hub's.
    ///
    /// Returns its topic, or none where the message is not kept.
    pub(crate) fn put_off(&mut self, id: PublishId, now: Duration) -> Option<String> {
        let index = self.entries.iter().position(|entry| entry.id == id)?;
        let Entry { message, kind, .. } = &self.entries[index];
        let newer = |other: &Entry| other.id > id && other.message.topic == message.topic;
        let pause = match kind {
            Kind::Response { .. } => ANSWER_AGAIN,
            Kind::Farewell | Kind::Event | Kind::Clearing | Kind::Discovery => return None,
            Kind::Connection | Kind::State | Kind::Absence => PUBLISH_AGAIN,
        };
        let waited_for = matches!(kind, Kind::Response { .. });
        if !waited_for && (!message.retain || self.entries.iter().any(newer)) {
            return None;
        }
        let entry = &mut self.entries[index];
        if waited_for && now >= *entry.patience.get_or_insert(now + ANSWER_PATIENCE) {
            return None;
        }
        let topic = entry.message.topic.clone();
        self.put_off_until(index, now + pause);
        Some(topic)
    }

    fn put_off_until(&mut self, index: usize, at: Duration) {
        let entry = &mut self.entries[index];
        let id = entry.id;
        entry.put_off = true;
        entry.go_again();
        let place = self.put_off.partition_point(|(other, _)| *other <= at);
        self.put_off.insert(place, (at, id));
        self.in_flight -= usize::from(std::mem::take(&mut entry.in_flight));
        self.sent.retain(|(_, sent)| *sent != id);
    }

    /// Lets everything go again that was put off.
    pub(crate) fn try_again(&mut self, now: Duration) {
        for (at, _) in &mut self.put_off {
            *at = now;
        }
    }

    /// Returns how many messages have no PUBACK yet.
    pub(crate) fn unanswered(&self) -> usize {
        self.sent.len()
    }

    /// Returns when the next refused message goes again.
    pub(crate) fn next_again(&self) -> Option<Duration> {
        self.put_off.front().map(|(at, _)| *at)
    }

    /// Returns when the oldest message was sent that has no PUBACK yet, and its topic.
    pub(crate) fn oldest_unanswered(&self) -> Option<(Duration, &str)> {
        let (at, id) = self.sent.front()?;
        let entry = self.entries.iter().find(|entry| entry.id == *id)?;
        Some((*at, &entry.message.topic))
    }

    /// Returns whether this message has no PUBACK yet, and says what its request is told by now.
    pub(crate) fn contains(&self, id: PublishId) -> bool {
        self.entries.iter().any(|entry| entry.id == id && entry.later.is_none())
    }

    /// Adds deliveries to the response that answers their first copy; false where that has left.
    pub(crate) fn attach(
        &mut self,
        id: PublishId,
        more: &[DeliveryId],
        expires: Option<Duration>,
    ) -> bool {
        let Some(entry) = self.entries.iter_mut().find(|entry| entry.id == id) else {
            return false;
        };
        let Kind::Response { deliveries, .. } = &mut entry.kind else { return false };
        if entry.later.is_some() {
            return false;
        }
        deliveries.extend(more);
        entry.expires = later(entry.expires, expires);
        true
    }

    /// Has the end of a request told in the place of an answer that it is under way: at once where that waits to be sent,
    /// else if it is sent again.
    pub(crate) fn tell_end(&mut self, of: EntryId, end: &Message) {
        for entry in &mut self.entries {
            let is_first = matches!(&entry.kind, Kind::Response { entry: Some(id), .. } if *id == of)
                && entry.message.user_property("__stat") == Some(ACCEPTED);
            if !is_first {
                continue;
            }
            let mut end = end.clone();
            // What is long is with the request alone.
            end.correlation_data.clone_from(&entry.message.correlation_data);
            let is_mark =
                |(name, _): &&(String, String)| [REPEATED, FIRST_STATUS].contains(&&**name);
            let marks = entry.message.user_properties.iter().filter(is_mark);
            end.user_properties.extend(marks.cloned());
            entry.later = Some(Box::new(end));
            if !entry.in_flight {
                entry.go_again();
            }
        }
    }

    /// The connection is gone: what was in flight goes again, what belonged to the connection does not.
    pub(crate) fn disconnected(&mut self) {
        self.entries.retain(|entry| {
            let of_connection = matches!(
                entry.kind,
                Kind::Connection | Kind::Farewell | Kind::Clearing | Kind::Discovery
            );
            let written = entry.in_flight && entry.message.qos == QoS::AtMostOnce;
            !of_connection && !written
        });
        self.keep_newest_states();
        for entry in &mut self.entries {
            entry.in_flight = false;
            entry.put_off = false;
            entry.patience = None;
            entry.go_again();
            if let Kind::Response { deliveries, .. } = &mut entry.kind {
                deliveries.clear();
            }
        }
        self.in_flight = 0;
        self.sent.clear();
        self.put_off.clear();
    }

    /// Drops each state that a newer one of its topic follows, so that the older is never sent after it.
    fn keep_newest_states(&mut self) {
        let mut topics = BTreeSet::new();
        let entries = std::mem::take(&mut self.entries).into_iter().rev();
        let newest = entries.filter(|entry| {
            !matches!(entry.kind, Kind::State | Kind::Absence)
                || topics.insert(entry.message.topic.clone())
        });
        self.entries = newest.collect();
        self.entries.make_contiguous().reverse();
    }

    /// Takes out the responses whose topics are out of bounds now.
    pub(crate) fn take_responses(
        &mut self,
        out_of_bounds: impl Fn(&str) -> bool,
    ) -> Vec<(PublishId, Kind, String)> {
        let mut taken = Vec::new();
        for entry in std::mem::take(&mut self.entries) {
            if matches!(entry.kind, Kind::Response { .. }) && out_of_bounds(&entry.message.topic) {
                taken.push((entry.id, entry.kind, entry.message.topic));
            } else {
                self.entries.push_back(entry);
            }
        }
        taken
    }

    /// The prefix has changed: states and outcomes have other topics now.
    pub(crate) fn forget_states(&mut self) {
        let told = |kind: &Kind| match kind {
            Kind::State | Kind::Clearing | Kind::Absence | Kind::Event | Kind::Discovery => true,
            Kind::Response { .. } | Kind::Connection | Kind::Farewell => false,
        };
        self.entries.retain(|entry| !told(&entry.kind));
    }

    /// Drops the states of these topics: their devices are no more. What is in flight is not sent again.
    pub(crate) fn drop_states(&mut self, is_gone: impl Fn(&str) -> bool) {
        let is_gone = |entry: &Entry| entry.kind == Kind::State && is_gone(&entry.message.topic);
        self.entries.retain(|entry| entry.in_flight || !is_gone(entry));
        for entry in self.entries.iter_mut().filter(|entry| is_gone(entry)) {
            entry.expires = Some(Duration::ZERO);
        }
    }

    /// Clears these topics no more; returns whether one of them was to be cleared, and that had not been sent yet.
    pub(crate) fn stop_clearing(&mut self, stops: impl Fn(&str) -> bool) -> bool {
        let before = self.entries.len();
        self.entries.retain(|entry| {
            entry.in_flight || entry.kind != Kind::Clearing || !stops(&entry.message.topic)
        });
        self.entries.len() < before
    }

    /// Whether the broker has, or has refused for good, everything of these.
    pub(crate) fn has_settled(&self, ids: &BTreeSet<PublishId>) -> bool {
        self.entries.iter().all(|entry| !ids.contains(&entry.id))
    }

    /// Whether the broker has, or has refused, everything.
    pub(crate) fn is_drained(&self) -> bool {
        self.entries.iter().all(|entry| entry.put_off)
    }

    fn drop_at(&mut self, index: usize) -> Taken {
        let entry = self.entries.remove(index).expect("the index was just found");
        Taken::Dropped(entry.id, entry.kind, entry.message.topic)
    }
}

impl Entry {
    /// Takes up what is to be said by now.
    fn go_again(&mut self) {
        if let Some(later) = self.later.take() {
            self.message = *later;
        }
    }

    /// Returns whether it is worth telling later, unless something newer is.
    fn tells_how_things_are(&self) -> bool {
        match self.kind {
            Kind::State | Kind::Absence | Kind::Connection => {
                self.message.retain && !self.message.payload.is_empty()
            }
            Kind::Response { .. }
            | Kind::Farewell
            | Kind::Event
            | Kind::Clearing
            | Kind::Discovery => false,
        }
    }

    /// Replaces a response that the broker cannot take by a failure that it can; false for other messages.
    fn shrink(&mut self) -> bool {
        if !matches!(self.kind, Kind::Response { .. }) || self.message.payload.len() < SMALL {
            return false;
        }
        let message = format!(
            "the answer of {} bytes is larger than the broker's Maximum Packet Size",
            self.message.payload.len()
        );
        self.message.user_properties.clear();
        Answer::failure(Status::Failed, message).write_to(&mut self.message);
        true
    }
}

/// The user properties of an answer that is not the first: when that was given, and its status.
pub(crate) const REPEATED: &str = "repeated";
pub(crate) const FIRST_STATUS: &str = "first_status";

/// The status of a request that is under way.
const ACCEPTED: &str = "202";
/// How long after a refusal that may pass a message that tells how things are goes again.
const PUBLISH_AGAIN: Duration = Duration::from_secs(10);
/// Likewise an answer, and for how long; its requester may stop waiting earlier.
const ANSWER_AGAIN: Duration = Duration::from_secs(2);
const ANSWER_PATIENCE: Duration = Duration::from_secs(30);
/// So many answers may wait for the broker; what the hub says by itself finds as much room beside them.
pub(crate) const ANSWERS: usize = 2048;
const SMALL: usize = 256;
