//! What is announced of devices is of devices that are there, and each change is told once.

use std::time::Duration;

use bytes::Bytes;
use hearthd_core::{Message, topic::Prefix};

use super::Invariant;
use crate::{
    broker::Source,
    link::HubId,
    report::Reached,
    world::{
        World,
        announcing::{STATUSES, is_announcement},
        home::{FENCE_TIMEOUT, topics},
        network::show_message,
    },
};

/// What a hub has announced on one topic last, on this connection.
#[derive(Debug)]
pub(crate) struct Said {
    at: Duration,
    payload: Bytes,
    /// When it was said again because the other program had started.
    answers: Vec<Duration>,
}

impl World {
    /// A hub announces a device, or takes that back: not before it is online, not too soon, and nothing twice.
    pub(crate) fn check_announcement(&mut self, hub: HubId, message: &Message) {
        if !is_announcement(hub, &message.topic) {
            return;
        }
        self.reach(Reached::Announced);
        let now = self.now;
        let prefix = self.connection_prefix(hub);
        let below = format!("below /{}", prefix.as_ref().map(Prefix::as_str).unwrap_or_default());
        let right = message.payload.is_empty() || message.payload.ends_with(below.as_bytes());
        let Some(connection) = self.connection_mut(hub) else { return };
        let given_up = connection.subscribed_at.is_some_and(|at| at + FENCE_TIMEOUT <= now);
        let online = connection.online_since;
        let in_time = connection.fence_back_at.is_some() || given_up;
        let before = connection.announced.remove(&message.topic);
        let soon = before.as_ref().is_some_and(|before| now < before.at + SAME_TOPIC_AGAIN);
        let again = before.as_ref().filter(|before| before.payload == message.payload);
        let again = again.map(|before| before.at);
        let mut answers = before.map(|before| before.answers).unwrap_or_default();
        // What it was in between may have got as far as the store.
        let changed = self.hub(hub).announcements_changed.get(&message.topic);
        let statuses = message.topic.ends_with(STATUSES);
        let between = |at| {
            changed.is_some_and(|changed| *changed >= at)
                || (statuses && self.devices.has_flickered(at))
        };
        let mut twice = again.is_some_and(|at| !between(at));
        if twice {
            // Each start is answered once.
            let starts = self.hub(hub).told_of_starts.iter();
            // One that came before the hub was online has waited for that.
            let heard = |start: Duration| online.map_or(start, |online| start.max(online));
            let starts: Vec<_> = starts.filter(|start| now < heard(**start) + ANSWERED).collect();
            let answered = |start: &Duration| answers.iter().filter(|at| *at >= start).count();
            twice = starts.first().is_none_or(|first| answered(first) >= starts.len());
            answers.push(now);
        }
        let said = Said { at: now, payload: message.payload.clone(), answers };
        if let Some(connection) = self.connection_mut(hub) {
            connection.announced.insert(message.topic.clone(), said);
        }
        let store = &self.hub(hub).store;
        // One that cannot write keeps nobody from announcing.
        let stored = store.is_failing() || store.announced.contains_key(&message.topic);
        self.require(right, Invariant::Announced, || {
            format!("{below} is announced: {}", show_message(message))
        });
        self.require(in_time, Invariant::Announced, || {
            format!("before the fence: {}", show_message(message))
        });
        self.require(stored, Invariant::AnnouncedStored, || {
            format!("the store does not know {}", message.topic)
        });
        self.require(!soon, Invariant::AnnouncedOnce, || {
            format!("too soon after the last one: {}", show_message(message))
        });
        self.require(!twice, Invariant::AnnouncedOnce, || {
            format!("again without a reason: {}", show_message(message))
        });
    }

    /// At rest: what is announced is what shall be, also what a hub tells beside the devices' own states.
    pub(super) fn check_announced(&mut self, hub: HubId) {
        let prefix = self.connection_prefix(hub);
        let wanted = self.announced(hub, prefix.as_ref());
        let retained = |topic: &String| self.broker.retained.get(topic).map(|l| &l.message.payload);
        let missing = wanted.iter().find(|(topic, payload)| retained(topic) != Some(*payload));
        let missing = missing.map(|(topic, payload)| {
            format!("{topic} is {:?}, and shall be {payload:?}", retained(topic))
        });
        let machine = self.hub(hub);
        // A broker that lost the session while nothing could be stored is forgotten with the hub's life.
        let excused = machine.announced_lost || machine.ended_unwritten;
        let missing = missing.filter(|_| !excused);
        let known = machine.life.store == 0 && !machine.ended_unwritten;
        let topics = self.broker.retained.keys().filter(|topic| is_announcement(hub, topic));
        let stale = topics.filter(|_| known).find(|topic| !wanted.contains_key(*topic)).cloned();
        let left = self.left_beside(hub, prefix.as_ref()).filter(|_| {
            // As of all that is retained below a prefix.
            known && self.counts.get(Reached::PrefixChanged) == 0 && !self.setup.habits.reorders
        });
        let stale = stale.or(left);
        self.require(missing.is_none(), Invariant::Announced, || missing.unwrap_or_default());
        self.require(stale.is_none(), Invariant::Announced, || {
            format!("{} is left of {}", stale.unwrap_or_default(), hub.client_id())
        });
        self.check_start_topics(hub, known);
    }

    /// Returns a state that a hub tells for the sake of an announcement, of a device that it does not announce.
    fn left_beside(&self, hub: HubId, prefix: Option<&Prefix>) -> Option<String> {
        let announced = self.announced_devices(hub);
        let published = self.broker.retained.iter().filter(|(_, letter)| {
            matches!(letter.source, Source::Hub(..))
                && letter.message.user_property("hub") == Some(hub.client_id())
        });
        let mut beside = published.filter(|(topic, _)| {
            let state = topics().state.match_name(prefix, topic);
            let problem = state.filter(|values| values.get("property") == Some("problem"));
            let values = problem.or_else(|| topics().snapshot.match_name(prefix, topic));
            let device = values.as_ref().and_then(|values| values.get("device"));
            device.is_some_and(|device| !announced.contains(device))
        });
        beside.next().map(|(topic, _)| topic.clone())
    }

    /// The session hears of the other program's starts while there are announcements, and not otherwise.
    fn check_start_topics(&mut self, hub: HubId, known: bool) {
        let (unwanted, wanted) = self.start_topics(hub);
        let Some(session) = self.broker.session(hub) else { return };
        let excess = unwanted.into_iter().find(|topic| known && session.wants(topic));
        let refused = |topic: &String| self.connection(hub).is_some_and(|c| c.told.contains(topic));
        let deaf = wanted.filter(|topic| !session.wants(topic) && !refused(topic));
        self.require(excess.is_none(), Invariant::Serves, || {
            format!(
                "{} hears {}, and announces nothing",
                hub.client_id(),
                excess.unwrap_or_default()
            )
        });
        self.require(deaf.is_none(), Invariant::Serves, || {
            format!("{} does not hear {}", hub.client_id(), deaf.unwrap_or_default())
        });
    }
}

/// How long after a start of the other program it may be answered: a slow network takes one message after the other.
const ANSWERED: Duration = Duration::from_secs(600);
/// How long the other program gets for one announcement, before the next one on the same topic.
const SAME_TOPIC_AGAIN: Duration = Duration::from_secs(2);
