//! What the hub may send, and when.

use std::time::Duration;

use hearthd_core::{
    Change, Memory, Message, Will,
    topic::{Prefix, TopicFilter},
};

use super::Invariant;
use crate::{
    link::HubId,
    world::{
        World,
        announcing::is_announcement,
        home::{ALLOWED, FENCE_TIMEOUT, topics},
        network::{generation_of, show_message},
    },
};

impl World {
    /// A generation is stored before the CONNECT that carries it.
    pub(crate) fn check_connect(&mut self, hub: HubId, will: &Will) {
        let Some(generation) = generation_of(&will.message) else {
            return self.require(false, Invariant::RightWill, || "a will without name".into());
        };
        let store = &self.hub(hub).store;
        let stored = store.memory.open.iter().any(|open| open.generation == generation);
        let excused = store.is_failing();
        self.require(stored || excused, Invariant::StoredFirst, || {
            format!("CONNECT with {generation}, which the store does not hold")
        });
        let fate = self.hub_mut(hub).fates.wills.entry(generation).or_default();
        fate.response_topic.clone_from(&will.message.response_topic);
    }

    /// Checks where a message goes, and that the connection carries the right will.
    pub(crate) fn check_publish(&mut self, hub: HubId, message: &Message) {
        let Some(connection) = self.connection(hub) else {
            let detail = || format!("without a connection: {}", show_message(message));
            return self.require(false, Invariant::RightWill, detail);
        };
        let (Some(will), Some(connack)) = (&connection.will, &connection.connack) else {
            let detail = || format!("on a connection without a will: {}", show_message(message));
            return self.require(false, Invariant::RightWill, detail);
        };
        let prefix = self.resolve(connack.response_information.as_deref());
        let presence = own_topic(hub, prefix.as_ref(), &topics().presence);
        if message.topic == presence {
            let online = &message.payload[..] == b"online";
            let right = will.message.topic == presence
                && (!online || is_of_same_connection(&will.message, message));
            let given_up =
                connection.subscribed_at.is_some_and(|at| at + FENCE_TIMEOUT <= self.now);
            let in_time = !online || connection.fence_back_at.is_some() || given_up;
            if online && let Some(connection) = self.connection_mut(hub) {
                connection.said.clone_from(&message.correlation_data);
            }
            self.require(right, Invariant::RightWill, || {
                format!("another will is armed: {}", show_message(message))
            });
            self.require(in_time, Invariant::RightWill, || "`online` before the fence".into());
            return;
        }
        let allowed = self.is_allowed(hub, prefix.as_ref(), message);
        self.require(allowed, Invariant::AllowedTopic, || show_message(message));
    }

    /// Resolves Response Information as the hub is configured to.
    pub(crate) fn resolve(&self, offered: Option<&str>) -> Option<Prefix> {
        offered.and_then(|offered| Prefix::parse(offered).ok()).or_else(|| self.fallback())
    }

    fn is_allowed(&self, hub: HubId, prefix: Option<&Prefix>, message: &Message) -> bool {
        let topics = topics();
        let topic = message.topic.as_str();
        let by_itself = topic.starts_with("bulbs/") || topic.starts_with("strangers/");
        if by_itself || is_announcement(hub, topic) {
            // A device's, or an announcement: these are looked at by themselves.
            return true;
        }
        let inside = prefix.is_none_or(|prefix| prefix.contains(topic));
        if let Some(index) = self.ledger.answered_by(message) {
            let listed = TopicFilter::parse(ALLOWED).is_ok_and(|filter| filter.matches(topic));
            return self.ledger.asked[index].allowed && (inside || listed);
        }
        let guarding = self.hub(hub).guarding.as_ref();
        inside
            && (self.is_question(prefix, message)
                || self.tells_of_device(hub, prefix, message)
                || topic == own_topic(hub, prefix, &topics.absence)
                || guarding.is_some_and(|guarding| guarding.is_answer(topic))
                || ["fence", "session", "retained"].iter().any(|purpose| {
                    let values = [("client_id", hub.client_id()), ("purpose", *purpose)];
                    topic == topics.response.build(prefix, &values)
                }))
    }

    /// Whether a message is the state of a device, or an event of one, or takes back what was a device's.
    fn tells_of_device(&self, hub: HubId, prefix: Option<&Prefix>, message: &Message) -> bool {
        let topics = topics();
        let state = topics.state.match_name(prefix, &message.topic);
        let state = state.or_else(|| topics.snapshot.match_name(prefix, &message.topic));
        let is_state = state.is_some();
        let values = state.or_else(|| topics.event.match_name(prefix, &message.topic));
        let Some(device) = values.and_then(|values| values.get("device")) else { return false };
        let takes_back = is_state && message.payload.is_empty();
        // An event tells of what has been.
        let since = if is_state && !takes_back { self.now } else { Duration::ZERO };
        message.user_property("hub") == Some(hub.client_id()) && self.had_since(hub, device, since)
    }

    /// No more is in flight than half of what the client library can have, and eight.
    pub(crate) fn check_window(&mut self, hub: HubId) {
        let Some(connection) = self.connection(hub) else { return };
        let Some(connack) = &connection.connack else { return };
        let receive_maximum = usize::from(connack.receive_maximum);
        let own = (receive_maximum.min(256) / 2).clamp(1, 64);
        // The devices' own messages have a few places beside those.
        let window = own + (own / 4).max(1).min(receive_maximum.saturating_sub(own));
        let in_flight = connection.publishing.len();
        self.require(in_flight <= window, Invariant::Bounded, || {
            format!("{in_flight} messages in flight, {window} are allowed")
        });
    }

    /// Checks what goes to the store, which is bounded as well.
    pub(crate) fn check_change(&mut self, hub: HubId, change: &Change) {
        if let Change::Memory(memory) = change {
            let largest = memory.open.len().max(memory.decided.len());
            self.require(largest <= Memory::BOUND, Invariant::Bounded, || {
                format!("{largest} wills in memory")
            });
            if memory.open.len() == Memory::BOUND {
                // From here on the oldest make room for the newest.
                self.hub_mut(hub).fates.exempt_all();
            }
        }
    }

    /// Looks at what the store holds now.
    pub(crate) fn check_store(&mut self, hub: HubId) {
        let machine = self.hub_mut(hub);
        for will in machine.store.memory.open.iter().filter(|will| will.connected) {
            if let Some(fate) = machine.fates.get_mut(will.generation) {
                fate.connected = true;
            }
        }
        let records = machine.store.records.len();
        self.require(records <= JOURNAL_BOUND, Invariant::Bounded, || {
            format!("{records} records in the journal")
        });
    }
}

/// Whether two messages carry tokens of the same connection, which begin alike.
fn is_of_same_connection(one: &Message, other: &Message) -> bool {
    let name = |message: &Message| message.correlation_data.as_ref()?.get(..8).map(<[u8]>::to_vec);
    name(one).is_some() && name(one) == name(other)
}

/// Returns the topic of a hub by a template that has its client ID.
pub(crate) fn own_topic(
    hub: HubId,
    prefix: Option<&Prefix>,
    template: &hearthd_core::topic::Template,
) -> String {
    template.build(prefix, &[("client_id", hub.client_id())])
}

/// How many requests the journal holds at most.
const JOURNAL_BOUND: usize = 6144;
