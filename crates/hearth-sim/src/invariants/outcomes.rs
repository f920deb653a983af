//! No outcome of a will is false.
//!
//! Where somebody destroyed the evidence unseen, a false `not-published` is forgiven. That is so where
//! - another client used the hub's client ID and took what was queued,
//! - the store was lost, or held more wills than it keeps,
//! - DISCONNECT was lost on the wire and the session as well, so that no copy of the will came back,
//! - the broker let the fence overtake the hub's copy of the will, which its order allows, and lost the session before
//!   it sent the copy,
//! - the broker published a will that it should have cancelled, and lost the session with the hub's copy, or the
//!   hub had left the will's prefix by then,
//! - the hub took the will's copy, or learned that its session was lost, while the store could not be written and was
//!   killed before it could, and the broker lost the retained presence, which would have told the hub's next life,
//! - the broker published a will that it should have cancelled, and the store was never able to hold that will, so that
//!   the hub's next life cannot mend what the last one has said of it.

use hearth_core::{Absence, Generation, Outcome};

use super::Invariant;
use crate::{
    report::Reached,
    world::{World, daemon::Connection, network::generation_of},
};

impl World {
    /// The hub has sent DISCONNECT, and cannot know whether it arrives.
    pub(crate) fn note_disconnecting(&mut self, connection: &Connection) {
        let generation = connection.will.as_ref().and_then(|will| generation_of(&will.message));
        if let Some(fate) = generation.and_then(|generation| self.fates.get_mut(generation)) {
            fate.disconnecting = true;
        }
    }

    /// The hub tells its devices what became of a will.
    pub(crate) fn check_absence(&mut self, absence: &Absence) {
        let Absence { generation, outcome, .. } = absence;
        self.note("hub", || format!("will {}: {outcome:?}", short(*generation)));
        self.reach(match outcome {
            Outcome::Consumed => Reached::Consumed,
            Outcome::Unconsumed => Reached::Unconsumed,
            Outcome::NotPublished => Reached::NotPublished,
            Outcome::Unknown => Reached::Unknown,
        });
        let Some(fate) = self.fates.get_mut(*generation) else {
            // The hub was killed between store and CONNECT, and cannot know which came first.
            let honest = matches!(outcome, Outcome::NotPublished | Outcome::Unknown);
            return self.require(honest, Invariant::TrueOutcome, || {
                format!("will {}, which no CONNECT carried, is {outcome:?}", short(*generation))
            });
        };
        let upgraded = fate.reported.replace(*outcome).is_some_and(|before| before != *outcome);
        let real = absence.acknowledgements.iter().all(|claimed| {
            fate.acknowledgements.iter().any(|(responder, payload)| {
                claimed.responder.as_ref() == Some(responder)
                    && claimed.payload.as_bytes() == &payload[..]
            })
        });
        let holds = real
            && match outcome {
                Outcome::Consumed => !absence.acknowledgements.is_empty(),
                Outcome::Unconsumed => fate.published > 0,
                Outcome::NotPublished | Outcome::Unknown => true,
            };
        if upgraded {
            self.reach(Reached::Upgraded);
        }
        self.require(holds, Invariant::TrueOutcome, || {
            format!("will {} is said to be {outcome:?}", short(*generation))
        });
    }

    /// Everything that was under way has arrived: no outcome may be false any more.
    pub(super) fn check_outcomes(&mut self, current: Option<Generation>) {
        let wills = std::mem::take(&mut self.fates.wills);
        for (generation, fate) in &wills {
            if Some(*generation) == current || fate.exempt {
                continue;
            }
            let name = short(*generation);
            let said = fate.reported;
            let overtaken = self.setup.habits.reorders && !fate.copy_taken;
            let forgiven = (fate.disconnecting || fate.stray || overtaken) && fate.session_lost
                || fate.evidence_lost && fate.retained_lost
                || fate.forgotten && fate.stray;
            let denied = fate.published > 0 && said == Some(Outcome::NotPublished) && !forgiven;
            self.require(!denied, Invariant::TrueOutcome, || {
                format!("will {name} was published, and is said not to be")
            });
            let dropped = fate.acknowledgement_taken && said != Some(Outcome::Consumed);
            self.require(!dropped, Invariant::TrueOutcome, || {
                format!("will {name} was acknowledged, the hub took it, and says {said:?}")
            });
            let unseen = matches!(said, Some(Outcome::NotPublished | Outcome::Unknown));
            self.require(!(fate.copy_taken && unseen), Invariant::TrueOutcome, || {
                format!("the hub took a copy of will {name}, and says {said:?}")
            });
            let known = fate.published > 0 && (fate.connected || fate.copy_taken);
            self.require(!known || said.is_some(), Invariant::Alive, || {
                format!("will {name} was published, and has no outcome")
            });
        }
        self.fates.wills = wills;
    }
}

/// The first digits of a generation, for people.
pub(crate) fn short(generation: Generation) -> String {
    generation.to_string()[..8].to_owned()
}
