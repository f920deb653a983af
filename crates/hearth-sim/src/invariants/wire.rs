//! What the hub may send, and when.

use hearth_core::{
    Change, Generation, Memory, Message, Will,
    topic::{Prefix, Templates, TopicFilter},
};

use super::Invariant;
use crate::{
    report::Reached,
    world::{
        World,
        home::{ALLOWED, CLIENT_ID, FENCE_TIMEOUT},
        network::{generation_of, show_message},
    },
};

impl World {
    /// A generation is stored before the CONNECT that carries it.
    pub(crate) fn check_connect(&mut self, will: &Will) {
        let Some(generation) = generation_of(&will.message) else {
            return self.require(false, Invariant::RightWill, || "a will without name".into());
        };
        let stored = self.store.memory.open.iter().any(|open| open.generation == generation);
        let excused = self.store.is_failing();
        self.require(stored || excused, Invariant::StoredFirst, || {
            format!("CONNECT with {generation}, which the store does not hold")
        });
        self.fates.wills.entry(generation).or_default();
    }

    /// Checks where a message goes, and that the connection carries the right will.
    pub(crate) fn check_publish(&mut self, message: &Message) {
        let Some(connection) = self.connection() else {
            let detail = || format!("without a connection: {}", show_message(message));
            return self.require(false, Invariant::RightWill, detail);
        };
        let (Some(will), Some(connack)) = (&connection.will, &connection.connack) else {
            let detail = || format!("on a connection without a will: {}", show_message(message));
            return self.require(false, Invariant::RightWill, detail);
        };
        let prefix = self.resolve(connack.response_information.as_deref());
        let presence = own_topic(prefix.as_ref(), &Templates::default().presence);
        if message.topic == presence {
            let online = &message.payload[..] == b"online";
            let right = will.message.topic == presence
                && (!online || will.message.correlation_data == message.correlation_data);
            let given_up =
                connection.subscribed_at.is_some_and(|at| at + FENCE_TIMEOUT <= self.now);
            let in_time = !online || connection.fence_is_back || given_up;
            self.require(right, Invariant::RightWill, || {
                format!("another will is armed: {}", show_message(message))
            });
            self.require(in_time, Invariant::RightWill, || "`online` before the fence".into());
            return;
        }
        let allowed = self.is_allowed(prefix.as_ref(), message);
        self.require(allowed, Invariant::AllowedTopic, || show_message(message));
    }

    /// Resolves Response Information as the hub is configured to.
    pub(crate) fn resolve(&self, offered: Option<&str>) -> Option<Prefix> {
        offered.and_then(|offered| Prefix::parse(offered).ok()).or_else(|| self.fallback())
    }

    fn is_allowed(&self, prefix: Option<&Prefix>, message: &Message) -> bool {
        let topics = Templates::default();
        let topic = message.topic.as_str();
        let inside = prefix.is_none_or(|prefix| prefix.contains(topic));
        if let Some(index) = self.ledger.answered_by(message) {
            let listed = TopicFilter::parse(ALLOWED).is_ok_and(|filter| filter.matches(topic));
            return self.ledger.asked[index].allowed && (inside || listed);
        }
        let responses = [(CLIENT_ID, "fence"), (CLIENT_ID, "session")];
        inside
            && (topics.state.match_name(prefix, topic).is_some()
                || topic == own_topic(prefix, &topics.absence)
                || topic.ends_with("response/attic/will")
                || responses.iter().any(|(client_id, purpose)| {
                    let values = [("client_id", *client_id), ("purpose", *purpose)];
                    topic == topics.response.build(prefix, &values)
                }))
    }

    /// No more is in flight than half of what the client library can have, and eight.
    pub(crate) fn check_window(&mut self) {
        let Some(connection) = self.connection() else { return };
        let Some(connack) = &connection.connack else { return };
        let window = (usize::from(connack.receive_maximum).min(256) / 2).clamp(1, 64);
        let in_flight = connection.publishing.len();
        self.require(in_flight <= window, Invariant::Bounded, || {
            format!("{in_flight} messages in flight, {window} are allowed")
        });
    }

    pub(crate) fn check_change(&mut self, change: &Change) {
        if let Change::Memory(memory) = change {
            let largest = memory.open.len().max(memory.decided.len());
            self.require(largest <= Memory::BOUND, Invariant::Bounded, || {
                format!("{largest} wills in memory")
            });
            if memory.open.len() == Memory::BOUND {
                // From here on the oldest make room for the newest.
                self.fates.exempt_all();
            }
        }
    }

    /// Looks at what the store holds now.
    pub(crate) fn check_store(&mut self) {
        for will in self.store.memory.open.iter().filter(|will| will.connected) {
            if let Some(fate) = self.fates.get_mut(will.generation) {
                fate.connected = true;
            }
        }
        let records = self.store.records.len();
        self.require(records <= JOURNAL_BOUND, Invariant::Bounded, || {
            format!("{records} records in the journal")
        });
    }

    /// Evidence about a will is stored before its PUBACK.
    pub(crate) fn check_evidence_stored(&mut self, message: &Message) {
        let Some(generation) = generation_of(message) else { return };
        let copy = message.topic.ends_with("/hub/presence") || message.topic == "hub/hub/presence";
        let copy = copy && &message.payload[..] == b"offline";
        let acknowledges = message.topic.ends_with("response/hub/will");
        if !copy && !acknowledges {
            return;
        }
        // Under a prefix that the hub has left, nobody listens.
        let connack = self.connection().and_then(|connection| connection.connack.as_ref());
        let prefix = self.resolve(connack.and_then(|c| c.response_information.as_deref()));
        let latest = self.store.latest();
        let open = latest.open.iter().any(|will| will.generation == generation);
        let decided = crate::fates::decided(latest, generation).is_some();
        let topics = Templates::default();
        let will = [("client_id", CLIENT_ID), ("purpose", "will")];
        let ours = message.topic == topics.response.build(prefix.as_ref(), &will)
            || message.topic == own_topic(prefix.as_ref(), &topics.presence);
        let expected = open || (decided && ours);
        if !expected {
            return;
        }
        let Some(stored) = stored(&self.store.memory, generation, message, acknowledges) else {
            return;
        };
        let excused = self.store.is_failing();
        self.require(stored || excused, Invariant::StoredFirst, || {
            format!("PUBACK for evidence that is not stored: {}", show_message(message))
        });
        if let Some(fate) = self.fates.get_mut(generation) {
            fate.copy_taken |= copy && stored;
            fate.acknowledgement_taken |= acknowledges && stored;
            fate.copy_unstored |= copy && !stored;
            fate.acknowledgement_unstored |= acknowledges && !stored;
        }
        if !stored {
            self.reach(Reached::UnstoredEvidence);
        }
    }
}

/// Returns whether a memory holds a piece of evidence; none where it does not know the will.
fn stored(
    memory: &Memory,
    generation: Generation,
    message: &Message,
    acknowledges: bool,
) -> Option<bool> {
    let payload = String::from_utf8_lossy(&message.payload);
    let open = memory.open.iter().find(|open| open.generation == generation);
    let decided = crate::fates::decided(memory, generation);
    let acknowledgements = open
        .map(|open| &open.acknowledgements)
        .or(decided.map(|absence| &absence.acknowledgements))?;
    if acknowledges {
        return Some(acknowledgements.iter().any(|held| held.payload == payload));
    }
    let published = decided.is_some_and(|absence| {
        use hearth_core::Outcome::{Consumed, Unconsumed};
        matches!(absence.outcome, Consumed | Unconsumed)
    });
    // An acknowledgement proves as much as a copy.
    Some(published || open.is_some_and(|open| open.seen || !open.acknowledgements.is_empty()))
}

pub(crate) fn own_topic(
    prefix: Option<&Prefix>,
    template: &hearth_core::topic::Template,
) -> String {
    template.build(prefix, &[("client_id", CLIENT_ID)])
}

/// How many requests the journal holds at most.
const JOURNAL_BOUND: usize = 2048;
