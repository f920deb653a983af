//! No outcome of a will is false.
//!
//! A false `not-published` is excused where the evidence was destroyed unnoticed. That is so where
//! - another client used the hub's client ID and took what was queued,
//! - the store was lost, or held more wills than it keeps,
//! - DISCONNECT was lost on the wire and the session as well, so that no copy of the will came back,
//! - the broker let the fence overtake the hub's copy of the will, which its order allows, and lost the session before
//!   it sent the copy,
//! - the broker published a will that it should have cancelled, and lost the session with the hub's copy, or the
//!   hub had left the will's prefix by then,
//! - the hub took the will's copy, or learned that its session was lost, while the store could not be written and was
//!   killed before it could, and the retained presence cannot tell the hub's next life: the broker lost it, or refused
//!   it, or had no room for it in a packet, or the hub has left its prefix,
//! - the broker published a will that it should have cancelled, and the hub does not know that will any more: the store
//!   was never able to hold it, or its outcome has made room for others,
//! - the broker let the fence overtake the hub's copy of the will, and its outcome has made room for others.
//!
//! Likewise a false `unconsumed` is excused where the acknowledgements were lost in this way.

use hearthd_core::{Absence, Generation, Outcome, Published};

use super::Invariant;
use crate::{
    link::HubId,
    report::Reached,
    world::{World, daemon::Connection, network::generation_of},
};

impl World {
    /// The hub has sent DISCONNECT, and cannot know whether it arrives.
    pub(crate) fn note_disconnecting(&mut self, hub: HubId, connection: &Connection) {
        let generation = connection.will.as_ref().and_then(|will| generation_of(&will.message));
        if let Some(fate) = generation.and_then(|g| self.hub_mut(hub).fates.get_mut(g)) {
            fate.disconnecting = true;
        }
    }

    /// The hub tells its devices what became of a will.
    pub(crate) fn check_absence(&mut self, hub: HubId, absence: &Absence) {
        let Absence { generation, outcome, .. } = absence;
        let fence_passed = self.hub(hub).fence_passed;
        let fence_back_at = self.connection(hub).and_then(|connection| connection.fence_back_at);
        let settled = fence_back_at.map(|at| at + self.setup.settle);
        self.note(hub.client_id(), || format!("will {}: {outcome:?}", short(*generation)));
        self.reach(match outcome {
            Outcome::Consumed => Reached::Consumed,
            Outcome::Unconsumed => Reached::Unconsumed,
            Outcome::NotPublished => Reached::NotPublished,
            Outcome::Unknown => Reached::Unknown,
        });
        let (life, now) = (self.hub(hub).life, self.now);
        let Some(fate) = self.hub_mut(hub).fates.get_mut(*generation) else {
            // The hub was killed between store and CONNECT, and cannot know which came first.
            let honest = matches!(outcome, Outcome::NotPublished | Outcome::Unknown);
            return self.require(honest, Invariant::TrueOutcome, || {
                format!("will {}, which no CONNECT carried, is {outcome:?}", short(*generation))
            });
        };
        let upgraded = fate.reported.replace(*outcome).is_some_and(|before| before != *outcome);
        fate.reported_at = Some((life, now));
        fate.reported_up_to = fence_passed;
        fate.silent_up_to = fence_passed.max(settled.unwrap_or_default());
        fate.said = absence.published;
        fate.responders =
            absence.acknowledgements.iter().filter_map(|said| said.responder.clone()).collect();
        let real = absence.acknowledgements.iter().all(|claimed| {
            fate.acknowledgements.iter().any(|said| {
                claimed.responder.as_deref().unwrap_or_default() == said.responder
                    && said.payload.starts_with(claimed.payload.as_bytes())
            })
        });
        // Nobody but the broker knows what to say before it has published the will.
        let published = fate.published > 0;
        let holds = real
            && (published || absence.published != Published::Yes)
            && match outcome {
                Outcome::Consumed => !absence.acknowledgements.is_empty() && published,
                Outcome::Unconsumed => published,
                Outcome::NotPublished | Outcome::Unknown => true,
            };
        if upgraded {
            self.reach(Reached::Upgraded);
        }
        self.require(holds, Invariant::TrueOutcome, || {
            format!("will {} is said to be {outcome:?}", short(*generation))
        });
        let size = size_of_answers(absence);
        self.require(size <= LARGEST, Invariant::Bounded, || {
            format!("{size} bytes tell of will {}", short(*generation))
        });
    }

    /// Everything that was under way has arrived: no outcome may be false any more.
    pub(super) fn check_outcomes(&mut self, hub: HubId, current: Option<Generation>) {
        let wills = std::mem::take(&mut self.hub_mut(hub).fates.wills);
        // Answers under a prefix that was left in between are answers to nobody.
        let moved = self.counts.get(Reached::PrefixChanged) > 0;
        let memory = self.hub(hub).store.memory.clone();
        for (generation, fate) in &wills {
            if Some(*generation) == current || fate.exempt {
                continue;
            }
            let name = short(*generation);
            let said = fate.reported;
            let overtaken = self.setup.habits.reorders && !fate.copy_taken;
            let evicted = crate::fates::decided(&memory, *generation).is_none();
            let forgiven = (fate.disconnecting || fate.stray || overtaken) && fate.session_lost
                || fate.evidence_lost && (fate.retained_lost || moved)
                || (fate.forgotten || evicted) && fate.stray
                || evicted && self.setup.habits.reorders;
            let denies =
                said == Some(Outcome::NotPublished) || said.is_some() && fate.said == Published::No;
            let denied = fate.published > 0 && denies && !forgiven;
            self.require(!denied, Invariant::TrueOutcome, || {
                format!("will {name} was published, and is said not to be")
            });
            let dropped =
                fate.acknowledgement_taken && fate.published > 0 && said != Some(Outcome::Consumed);
            self.require(!dropped, Invariant::TrueOutcome, || {
                format!("will {name} was acknowledged, the hub took it, and says {said:?}")
            });
            let unseen = said == Some(Outcome::NotPublished)
                || said == Some(Outcome::Unknown) && fate.said != Published::Yes;
            self.require(!(fate.copy_taken && unseen), Invariant::TrueOutcome, || {
                format!("the hub took a copy of will {name}, and says {said:?}")
            });
            let lost = fate.evidence_lost && (fate.retained_lost || moved)
                || self.setup.habits.reorders && fate.session_lost;
            let missed = said == Some(Outcome::Unconsumed) && !overtaken && !lost;
            let missed = missed.then(|| fate.missed()).flatten();
            self.require(missed.is_none(), Invariant::TrueOutcome, || {
                format!("will {name} is said to be unconsumed, and {missed:?} had acknowledged it")
            });
            let crowded = fate.crowded_out().filter(|_| !moved);
            self.require(crowded.is_none(), Invariant::TrueOutcome, || {
                format!("{crowded:?} acknowledged will {name}, and is not named")
            });
            let known = fate.published > 0 && (fate.connected || fate.copy_taken);
            self.require(!known || said.is_some(), Invariant::Alive, || {
                format!("will {name} was published, and has no outcome")
            });
        }
        self.hub_mut(hub).fates.wills = wills;
    }
}

/// Returns about how many bytes the hub says of a will.
fn size_of_answers(absence: &Absence) -> usize {
    let answers = absence.acknowledgements.iter();
    answers.map(|said| said.payload.len() + said.responder.as_ref().map_or(0, String::len)).sum()
}

/// How many bytes may tell of one will.
const LARGEST: usize = 16 * 1024;

/// The first digits of a generation, for people.
pub(crate) fn short(generation: Generation) -> String {
    generation.to_string()[..8].to_owned()
}
