//! The store, and what becomes of what the hub knows while it cannot be written.

use std::time::Duration;

use hearth_core::Input;

use super::{Timer, World};
use crate::{
    report::Reached,
    store::{Damage, Event},
};

impl World {
    /// Tells the hub what the store holds now, and what it does not.
    pub(super) fn store_works(&mut self) {
        while let Some(event) = self.store.on_time(self.now) {
            match event {
                Event::Stored { revision, records } => {
                    for record in &records {
                        self.ledger.note_durable(record);
                    }
                    self.fates.stored();
                    self.check_store();
                    self.feed(Input::Stored { revision });
                }
                Event::Failed { revision } => {
                    self.note("store", || format!("cannot be written: {revision}"));
                    self.reach(Reached::Unwritten);
                    self.feed(Input::StoreFailed { revision, error: "disk full".into() });
                }
            }
        }
    }

    /// The disk is full for a while.
    pub(super) fn fill_disk(&mut self, lasts: Duration) {
        self.reach(Reached::StoresFail);
        self.store.is_full = true;
        self.after(lasts, Timer::DiskHasRoom);
    }

    /// The daemon has ended: what the store does not hold is forgotten.
    pub(super) fn close_store(&mut self, durable: usize, damage: Damage) {
        let remains = self.store.crash(durable, damage);
        for record in &remains.records {
            self.ledger.note_durable(record);
        }
        match remains.lost_since {
            Some(since) => {
                self.note("store", || "loses what could not be written".into());
                self.reach(Reached::EndedUnwritten);
                self.fates.unstored_lost(&self.store.memory);
                self.ledger.forget_since(since, self.life);
            }
            None => self.fates.stored(),
        }
    }
}
