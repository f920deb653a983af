//! Decides what became of a will by what was seen of it, and takes back what silence seemed to prove.

use std::time::Duration;

use super::Wills;
use crate::{Absence, Generation, Memory, OpenWill, Outcome, Published};

/// Whether silence is evidence: a message could not have been lost unseen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View {
    /// The session is the one that the open wills' connections were subscribed in: the hub's own probe came back.
    pub(crate) resumed: bool,
    /// All that was queued in it has been seen.
    pub(crate) fenced: bool,
    /// The broker has granted at QoS 1 what tells of the hub's wills.
    pub(crate) watched: bool,
}

impl View {
    fn is_whole(self) -> bool {
        self.resumed && self.fenced && self.watched
    }
}

impl Wills {
    /// Decides every open will but the current one, oldest first, by what has been seen; for as long as it is `fresh`, what
    /// silence proves may be taken back.
    pub(crate) fn decide(
        &mut self,
        current: Generation,
        view: View,
        decided_at: &str,
        now: Duration,
        fresh: Duration,
    ) -> Vec<Absence> {
        let (open, past): (Vec<_>, Vec<_>) =
            self.memory.open.drain(..).partition(|will| will.generation == current);
        self.memory.open = open;
        let decided: Vec<Absence> = past
            .into_iter()
            .filter(OpenWill::is_worth_telling)
            .map(|will| {
                let (outcome, published) = self.outcome(&will, view);
                Absence {
                    generation: will.generation,
                    outcome,
                    published,
                    session_kept: view.is_whole() && will.subscribed,
                    clean: will.clean,
                    connected_at: will.connected_at,
                    decided_at: decided_at.to_owned(),
                    acknowledgements: will.acknowledgements,
                    left_out: will.left_out,
                }
            })
            .collect();
        self.fresh.retain(|(_, until)| *until > now);
        self.fresh.extend(decided.iter().map(|absence| (absence.generation, now + fresh)));
        let mut earlier = self.memory.decided.len();
        self.memory.decided.extend(decided.iter().cloned());
        while self.memory.decided.len() > Memory::BOUND {
            // An end in order tells least: a crash stays in memory, however often the hub is restarted after it. What
            // is new stays as well, because what comes late may say otherwise.
            let settled = |absence: &Absence| {
                self.fresh.iter().all(|(generation, _)| *generation != absence.generation)
            };
            let dull =
                |absence: &Absence| absence.outcome == Outcome::NotPublished && settled(absence);
            let known = &self.memory.decided[..earlier];
            let oldest = known.iter().position(dull).or_else(|| known.iter().position(settled));
            let forgotten = self.memory.decided.remove(oldest.unwrap_or(0));
            earlier = earlier.saturating_sub(1);
            self.fresh.retain(|(fresh, _)| *fresh != forgotten.generation);
        }
        decided
    }

    /// Evidence may have been lost: with a message that cannot be read, or in a connection that the memory does not know
    /// because the store could not be written then. Missing copies of wills before the current one prove nothing any more,
    /// nor does silence that was lately taken for an outcome: whoever replays an old message later changes nothing.
    ///
    /// Returns whether that is news, and the changed outcomes.
    pub(crate) fn doubt_silence(
        &mut self,
        current: Generation,
        now: Duration,
    ) -> (bool, Vec<Absence>) {
        self.fresh.retain(|(_, until)| *until > now);
        let mut news = false;
        for will in self.memory.open.iter_mut().filter(|will| will.generation != current) {
            // A DISCONNECT may have been lost, and with it the copy of the will that would have told.
            news |= std::mem::take(&mut will.subscribed) | std::mem::take(&mut will.clean);
        }
        let mut changed = Vec::new();
        let fresh = |absence: &&mut Absence| {
            self.fresh.iter().any(|(generation, _)| *generation == absence.generation)
        };
        for absence in self.memory.decided.iter_mut().filter(fresh) {
            news |= std::mem::take(&mut absence.session_kept);
            if matches!(absence.outcome, Outcome::Unconsumed | Outcome::NotPublished) {
                absence.outcome = Outcome::Unknown;
                if absence.published == Published::No {
                    absence.published = Published::NotKnown;
                }
                changed.push(absence.clone());
            }
        }
        (news || !changed.is_empty(), changed)
    }

    fn outcome(&self, will: &OpenWill, view: View) -> (Outcome, Published) {
        let whole = view.is_whole() && will.subscribed;
        // A will of version 0.1.0 had no secret: `online` told everybody how to acknowledge it.
        let made_up = will.clean && !will.seen && !self.key.made(will.generation);
        if !will.acknowledgements.is_empty() && !made_up {
            let published = if will.seen { Published::Yes } else { Published::NotKnown };
            (Outcome::Consumed, published)
        } else if will.seen {
            let outcome = if whole { Outcome::Unconsumed } else { Outcome::Unknown };
            (outcome, Published::Yes)
        } else if will.clean || whole {
            (Outcome::NotPublished, Published::No)
        } else {
            (Outcome::Unknown, Published::NotKnown)
        }
    }
}
