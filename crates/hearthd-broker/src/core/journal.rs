//! The difference between the broker's state and the store, and when it is written.

use std::{collections::BTreeSet, num::NonZeroU16, sync::Arc, time::Duration};

use super::session::SessionId;

/// The keys of the changed state; a batch takes the values when it is made.
///
/// So what changed and changed back, such as a message that every receiver acknowledged at once, is never written.
#[derive(Debug)]
pub(super) struct Journal {
    dirty: BTreeSet<Key>,
    /// The number of the next batch.
    next: u64,
    written: u64,
    writing: bool,
    due: Option<Duration>,
}

/// One record of the store.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key {
    Session(SessionId),
    Subscription(SessionId, Arc<str>),
    Cursor(SessionId, Arc<str>),
    Received(SessionId, NonZeroU16),
    Body(u64),
    Entry(SessionId, u64),
    Retained(Arc<str>),
}

impl Journal {
    pub(super) fn new() -> Self {
        Self { dirty: BTreeSet::new(), next: 1, written: 0, writing: false, due: None }
    }

    /// Marks a record to be written at `due`, or before; returns the number of the batch that will have it.
    pub(super) fn mark(&mut self, key: Key, due: Duration) -> u64 {
        self.dirty.insert(key);
        self.due = Some(self.due.map_or(due, |before| before.min(due)));
        self.next
    }

    /// Forgets a record that was never written and is gone.
    pub(super) fn forget(&mut self, key: &Key) {
        self.dirty.remove(key);
        if self.dirty.is_empty() {
            self.due = None;
        }
    }

    /// Returns whether all that a reply waits for is in the store.
    pub(super) fn has(&self, batch: u64) -> bool {
        batch <= self.written
    }

    /// Returns when the next batch is due, unless one is being written.
    pub(super) fn due(&self) -> Option<Duration> {
        self.due.filter(|_| !self.writing)
    }

    /// Returns whether nothing has to be written.
    pub(super) fn is_settled(&self) -> bool {
        self.dirty.is_empty() && !self.writing
    }

    /// Makes the next batch due at once.
    pub(super) fn hurry(&mut self, now: Duration) {
        if !self.dirty.is_empty() {
            self.due = Some(now);
        }
    }

    /// Begins a batch.
    pub(super) fn take(&mut self) -> (u64, BTreeSet<Key>) {
        let batch = self.next;
        self.next += 1;
        self.writing = true;
        self.due = None;
        (batch, std::mem::take(&mut self.dirty))
    }

    pub(super) fn written(&mut self, batch: u64) {
        self.written = self.written.max(batch);
        self.writing = false;
    }
}
