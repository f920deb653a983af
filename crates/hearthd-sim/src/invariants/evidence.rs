//! Evidence about a will is stored before its PUBACK; invented evidence does not count.

use std::time::Duration;

use hearthd_core::{Acknowledgement, Generation, Memory, Message, Outcome, Published};

use super::{Invariant, outcomes::short, wire::own_topic};
use crate::{
    broker::{Letter, Source},
    fates::Fate,
    link::HubId,
    report::Reached,
    world::{
        World,
        home::topics,
        network::{generation_of, is_own_response, is_presence, show_message},
    },
};

impl World {
    /// The hub gives a PUBACK: what it has learned of a will must be in the store.
    pub(crate) fn check_evidence_stored(&mut self, hub: HubId, letter: &Letter) {
        let message = &letter.message;
        let Some(generation) = generation_of(message) else { return };
        let copy =
            is_presence(&message.topic, hub.client_id()) && &message.payload[..] == b"offline";
        let acknowledges = is_own_response(&message.topic, hub, "will");
        if !(copy || acknowledges) || self.is_current(hub, generation) {
            return;
        }
        // Under a prefix that the hub has left, nobody listens.
        let connack = self.connection(hub).and_then(|connection| connection.connack.as_ref());
        let prefix = self.resolve(connack.and_then(|c| c.response_information.as_deref()));
        let responder = self.responder_of(letter);
        let store = &self.hub(hub).store;
        let latest = store.latest();
        let open = latest.open.iter().any(|will| will.generation == generation);
        let decided = crate::fates::decided(latest, generation).is_some();
        let topics = topics();
        let will = [("client_id", hub.client_id()), ("purpose", "will")];
        let ours = message.topic == topics.response.build(prefix.as_ref(), &will)
            || message.topic == own_topic(hub, prefix.as_ref(), &topics.presence);
        let expected = open || (decided && ours);
        let genuine = matches!(letter.source, Source::Will(_) | Source::StrayWill(_));
        if !expected {
            if copy && genuine && ours && !decided {
                self.check_doubted(hub, generation);
            }
            return;
        }
        let Some(stored) =
            stored(&store.memory, generation, message, acknowledges.then_some(&*responder))
        else {
            return;
        };
        let excused = store.is_failing();
        self.require(stored || excused, Invariant::StoredFirst, || {
            format!("PUBACK for evidence that is not stored: {}", show_message(message))
        });
        if let Some(fate) = self.hub_mut(hub).fates.get_mut(generation) {
            let copy = copy && genuine;
            fate.copy_taken |= copy && stored;
            fate.acknowledgement_taken |= acknowledges && stored;
            fate.copy_unstored |= copy && !stored;
            fate.acknowledgement_unstored |= acknowledges && !stored;
        }
        if !stored {
            self.reach(Reached::UnstoredEvidence);
        }
    }

    /// The hub has seen the will of a connection that its store does not know: what silence has lately proved to it was
    /// said without what came to that connection.
    fn check_doubted(&mut self, hub: HubId, unknown: Generation) {
        let machine = self.hub(hub);
        let fate = machine.fates.wills.get(&unknown);
        // Without its own store it cannot tell its wills from others; and what it has reported it may have forgotten since.
        let told = |fate: &Fate| fate.reported.is_some() && !fate.forgotten && !fate.evidence_lost;
        let excused = fate.is_some_and(|fate| fate.key_lost || told(fate));
        if excused || machine.life.store > 0 || self.counts.get(Reached::StoresElsewhere) > 0 {
            return;
        }
        let since = self.now.saturating_sub(self.setup.will_delay + LATE);
        let by_silence = machine.store.latest().decided.iter().find(|absence| {
            let fate = machine.fates.wills.get(&absence.generation);
            let reported = fate.and_then(|fate| fate.reported_at);
            reported.is_some_and(|(life, at)| life == machine.life && at > since)
                && matches!(absence.outcome, Outcome::Unconsumed | Outcome::NotPublished)
        });
        let by_silence = by_silence.map(|absence| (short(absence.generation), absence.outcome));
        self.reach(Reached::LateStrangers);
        self.require(by_silence.is_none(), Invariant::TrueOutcome, || {
            format!("will {} shows an unknown connection, after {by_silence:?}", short(unknown))
        });
    }

    /// Whether this is the will of the connection in use, which nobody can have seen.
    fn is_current(&self, hub: HubId, generation: Generation) -> bool {
        let will = self.connection(hub).and_then(|connection| connection.will.as_ref());
        will.and_then(|will| generation_of(&will.message)) == Some(generation)
    }
}

/// How long after a decision, beyond the delay of a will, news of an unknown connection changes it.
const LATE: Duration = Duration::from_secs(60);
/// How many answers to a will are kept, and how many of one responder.
const ROOM: usize = 8;
const SHARE: usize = 2;

/// Returns whether a memory holds a piece of evidence; none where it does not know the will.
fn stored(
    memory: &Memory,
    generation: Generation,
    message: &Message,
    responder: Option<&str>,
) -> Option<bool> {
    let payload = String::from_utf8_lossy(&message.payload);
    let open = memory.open.iter().find(|open| open.generation == generation);
    let decided = crate::fates::decided(memory, generation);
    let (acknowledgements, left_out) = open
        .map(|open| (&open.acknowledgements, open.left_out))
        .or(decided.map(|absence| (&absence.acknowledgements, absence.left_out)))?;
    if let Some(responder) = responder {
        // What is long is shortened, and what is too much is counted.
        let held = acknowledgements.iter().any(|held| payload.starts_with(&held.payload));
        let alike =
            |held: &&Acknowledgement| held.responder.as_deref().unwrap_or_default() == responder;
        let full = acknowledgements.len() >= ROOM
            || acknowledgements.iter().filter(alike).count() >= SHARE;
        return Some(held || left_out > 0 || full);
    }
    let published = decided.is_some_and(|absence| absence.published == Published::Yes);
    let seen = open.is_some_and(|open| open.seen);
    // An acknowledgement proves as much as a copy.
    Some(published || seen || !acknowledgements.is_empty())
}
