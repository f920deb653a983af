//! The changes that go to the store, and what follows once they are written.

use super::{Hub, Phase, admitting::not_stored};
use crate::{Change, DeliveryId, Now, Output, RequestKey, Urgency};

impl Hub {
    /// Stores what the hub remembers of prefix, session and wills; returns the revision.
    pub(super) fn store_memory(&mut self) -> u64 {
        self.store(Change::Memory(self.wills.memory().clone()))
    }

    /// Stores a change; returns its revision, which [`Input::Stored`](crate::Input::Stored) reports later.
    pub(super) fn store(&mut self, change: Change) -> u64 {
        self.revision += 1;
        if change.urgency() != Urgency::Whenever {
            self.awaited = self.revision;
        }
        self.outputs.push_back(Output::Store { revision: self.revision, change });
        self.revision
    }

    /// Has the store forget what the journal has forgotten.
    pub(super) fn forget(&mut self, keys: Vec<RequestKey>) {
        for key in keys {
            self.store(Change::Forget(key));
        }
    }

    /// The store holds this revision and all before it: goes on with whatever waited for that.
    pub(super) fn on_stored(&mut self, now: Now, revision: u64) {
        self.stored = revision;
        self.saves.retain(|_, saved| *saved > revision);
        self.release_requests(now);
        self.publish_stored();
        self.publish_unserved();
        for delivery in take_stored(&mut self.unstored, revision) {
            self.acknowledge(delivery);
        }
        self.acknowledge_evidence();
        match self.phase {
            Phase::Storing { revision: needs, generation } if needs <= revision => {
                self.connect_armed(generation);
            }
            Phase::Closing { revision: needs, ref result } if needs <= revision => {
                let result = result.clone();
                self.stop(result);
            }
            Phase::Subscribing(_) | Phase::Online(_) => self.subscribe_when_stored(now),
            _ => {}
        }
    }

    /// Goes on without the store, but for requests whose intent it would have to hold.
    pub(super) fn on_store_failed(&mut self, now: Now, revision: u64, error: String) {
        let answer = not_stored(&error);
        self.store_failure = Some(error);
        for id in self.requests.take_unstored() {
            self.on_answered(now, id, answer.clone());
        }
        self.on_stored(now, revision);
    }
}

/// Takes the deliveries whose revisions the store holds.
pub(super) fn take_stored(waiting: &mut Vec<(u64, DeliveryId)>, stored: u64) -> Vec<DeliveryId> {
    waiting.extract_if(.., |(needs, _)| *needs <= stored).map(|(_, delivery)| delivery).collect()
}
