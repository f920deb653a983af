//! The truth about every will: whether it was published, who acknowledged it, what the hub has seen of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use bytes::Bytes;
use hearthd_core::{Absence, Generation, Memory, Outcome, Published};

use crate::link::Life;

/// What became of every will that a CONNECT carried.
#[derive(Debug, Default)]
pub(crate) struct Fates {
    pub(crate) wills: BTreeMap<Generation, Fate>,
}

/// What became of one will.
#[derive(Debug, Default)]
pub(crate) struct Fate {
    /// Where the will asks for answers.
    pub(crate) response_topic: Option<String>,
    /// How often the broker has published it.
    pub(crate) published: u32,
    /// Who said what of it.
    pub(crate) acknowledgements: Vec<Said>,
    /// The hub has given PUBACK for a copy of the will.
    pub(crate) copy_taken: bool,
    /// The hub has given PUBACK for an acknowledgement.
    pub(crate) acknowledgement_taken: bool,
    /// Likewise, while the store could not be written: nobody knows of it after a crash.
    pub(crate) copy_unstored: bool,
    pub(crate) acknowledgement_unstored: bool,
    /// What the hub learned of it, or of its session, was never stored, and the hub was killed.
    pub(crate) evidence_lost: bool,
    /// The store does not know of this will: an outcome that was told cannot be mended.
    pub(crate) forgotten: bool,
    /// No store holds the key that its Correlation Data was made with: the hub cannot tell it from a stranger's. What it
    /// has said since then is of wills of another key, which came after this one.
    pub(crate) key_lost: bool,
    /// The broker has lost what it had retained, and with it whose connection was the last.
    pub(crate) retained_lost: bool,
    /// The store holds that the hub has had CONNACK for a connection with this will.
    pub(crate) connected: bool,
    /// The hub has sent DISCONNECT on a connection with this will.
    pub(crate) disconnecting: bool,
    /// The broker published it although the hub was back in time.
    pub(crate) stray: bool,
    /// The session was lost while the hub could still learn of this will.
    pub(crate) session_lost: bool,
    /// Why the hub cannot know.
    pub(crate) exempt: bool,
    pub(crate) reported: Option<Outcome>,
    /// When, and in which life.
    pub(crate) reported_at: Option<(Life, Duration)>,
    /// What the broker had by then, the hub had seen.
    pub(crate) reported_up_to: Duration,
    /// Likewise, where the outcome is what silence proves: the hub waits for what is late, and makes sure of the connection.
    pub(crate) silent_up_to: Duration,
    /// Whose answers were reported.
    pub(crate) responders: Vec<String>,
    /// Whether the hub has said that the broker published it.
    pub(crate) said: Published,
}

/// One answer to a will that the broker has accepted.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) responder: String,
    pub(crate) payload: Bytes,
    pub(crate) at: Duration,
    /// It went where the will asks for answers, and not to where another prefix would have put that.
    pub(crate) as_asked: bool,
    /// It comes from one of the guardians.
    pub(crate) by_guardian: bool,
    /// The hub was connected, or had a session that keeps it.
    pub(crate) kept: bool,
}

impl Fates {
    /// Returns the fate of a will, for a change.
    pub(crate) fn get_mut(&mut self, generation: Generation) -> Option<&mut Fate> {
        self.wills.get_mut(&generation)
    }

    /// Everybody's evidence is gone in a way that no client can see.
    pub(crate) fn exempt_all(&mut self) {
        for fate in self.wills.values_mut() {
            fate.exempt = true;
        }
    }

    /// The store holds all evidence that the hub has taken.
    pub(crate) fn stored(&mut self) {
        for fate in self.wills.values_mut() {
            fate.copy_taken |= std::mem::take(&mut fate.copy_unstored);
            fate.acknowledgement_taken |= std::mem::take(&mut fate.acknowledgement_unstored);
        }
    }

    /// The evidence that the hub has taken while the store could not be written is gone.
    pub(crate) fn unstored_lost(&mut self, memory: &Memory) {
        for (generation, fate) in &mut self.wills {
            let open = memory.open.iter().any(|will| will.generation == *generation);
            fate.forgotten |= !open && decided(memory, *generation).is_none();
            fate.copy_unstored = false;
            fate.acknowledgement_unstored = false;
            fate.evidence_lost = true;
        }
    }

    /// The daemon begins without the key of its earlier lives.
    pub(crate) fn key_lost(&mut self) {
        for fate in self.wills.values_mut() {
            fate.key_lost = true;
        }
    }

    /// The broker has lost its retained messages: no copy of these wills proves anything any more.
    pub(crate) fn retained_lost(&mut self) {
        for fate in self.wills.values_mut() {
            fate.retained_lost = true;
        }
    }

    /// The broker has lost the session: silence proves nothing any more.
    pub(crate) fn session_lost(&mut self) {
        for fate in self.wills.values_mut() {
            fate.session_lost = true;
        }
    }
}

impl Fate {
    /// Returns who had acknowledged the will by the time that the hub said what became of it.
    pub(crate) fn missed(&self) -> Option<&str> {
        let in_time = |said: &&Said| said.as_asked && said.at <= self.silent_up_to;
        let in_time = self.acknowledgements.iter().find(in_time);
        in_time.map(|said| said.responder.as_str())
    }

    /// Returns the guardian whose answer the hub has taken, and not kept: only many others could take its place.
    pub(crate) fn crowded_out(&self) -> Option<&str> {
        let names: BTreeSet<&str> =
            self.acknowledgements.iter().map(|said| said.responder.as_str()).collect();
        if self.evidence_lost || self.reported != Some(Outcome::Consumed) || names.len() > FEW {
            return None;
        }
        let early = self.acknowledgements.iter().filter(|said| said.at <= self.reported_up_to);
        let mut early = early.filter(|said| said.by_guardian && self.kept(said));
        early.find(|said| !self.responders.contains(&said.responder)).map(|s| s.responder.as_str())
    }

    /// Whether the hub's session was there all along to keep an answer.
    fn kept(&self, said: &Said) -> bool {
        !self.session_lost && !self.stray && said.kept
    }
}

/// So many responders have room beside each other: of the first four answers each may have two.
const FEW: usize = 6;

/// Finds what a memory says about a decided will.
pub(crate) fn decided(memory: &Memory, generation: Generation) -> Option<&Absence> {
    memory.decided.iter().find(|absence| absence.generation == generation)
}
