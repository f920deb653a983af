//! The truth about every will: whether it was published, who acknowledged it, what the hub has seen of it.

use std::collections::BTreeMap;

use bytes::Bytes;
use hearth_core::{Absence, Generation, Memory, Outcome};

/// What became of every will that a CONNECT carried.
#[derive(Debug, Default)]
pub(crate) struct Fates {
    pub(crate) wills: BTreeMap<Generation, Fate>,
}

/// What became of one will.
#[derive(Debug, Default)]
pub(crate) struct Fate {
    /// How often the broker has published it.
    pub(crate) published: u32,
    /// Who said what, and whether the broker had it.
    pub(crate) acknowledgements: Vec<(String, Bytes)>,
    /// The hub has given PUBACK for a copy of the will.
    pub(crate) copy_taken: bool,
    /// The hub has given PUBACK for an acknowledgement.
    pub(crate) acknowledgement_taken: bool,
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
}

impl Fates {
    pub(crate) fn get_mut(&mut self, generation: Generation) -> Option<&mut Fate> {
        self.wills.get_mut(&generation)
    }

    /// Everybody's evidence is gone in a way that no client can see.
    pub(crate) fn exempt_all(&mut self) {
        for fate in self.wills.values_mut() {
            fate.exempt = true;
        }
    }

    pub(crate) fn session_lost(&mut self) {
        for fate in self.wills.values_mut() {
            fate.session_lost = true;
        }
    }
}

/// Finds what a memory says about a decided will.
pub(crate) fn decided(memory: &Memory, generation: Generation) -> Option<&Absence> {
    memory.decided.iter().find(|absence| absence.generation == generation)
}
