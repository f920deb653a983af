//! The store, and what happens to the hub's knowledge while it cannot be written.

use std::time::Duration;

use hearthd_core::Input;

use super::{Timer, World};
use crate::{
    link::HubId,
    report::Reached,
    store::{Damage, Event},
};

impl World {
    /// Tells the hub what the store holds now, and what it does not.
    pub(super) fn store_works(&mut self, hub: HubId) {
        let now = self.now;
        while let Some(event) = self.hub_mut(hub).store.on_time(now) {
            match event {
                Event::Stored { revision, records } => {
                    for record in &records {
                        self.ledger.note_durable(hub, record);
                    }
                    self.hub_mut(hub).fates.stored();
                    self.check_store(hub);
                    self.feed(hub, Input::Stored { revision });
                }
                Event::Failed { revision } => {
                    self.note(hub.client_id(), || format!("cannot write its store: {revision}"));
                    self.reach(Reached::Unwritten);
                    self.feed(hub, Input::StoreFailed { revision, error: "disk full".into() });
                }
            }
        }
    }

    /// The disk is full for a while.
    pub(super) fn fill_disk(&mut self, hub: HubId, lasts: Duration) {
        self.reach(Reached::StoresFail);
        self.hub_mut(hub).store.is_full = true;
        self.after(lasts, Timer::DiskHasRoom(hub));
    }

    /// The daemon has ended: what the store does not hold is forgotten.
    pub(super) fn close_store(&mut self, hub: HubId, durable: usize, damage: Damage) {
        let remains = self.hub_mut(hub).store.crash(durable, damage);
        for record in &remains.records {
            self.ledger.note_durable(hub, record);
        }
        match remains.lost_since {
            Some(since) => {
                self.note(hub.client_id(), || "loses what its store could not write".into());
                self.reach(Reached::EndedUnwritten);
                let machine = self.hub_mut(hub);
                machine.ended_unwritten = true;
                machine.fates.unstored_lost(&machine.store.memory);
                let life = machine.life;
                self.ledger.forget_since(since, life);
            }
            None => self.hub_mut(hub).fates.stored(),
        }
    }
}
