//! What waits for the writer, who is woken when something is due and not for each piece.

use std::{
    mem,
    sync::{Condvar, Mutex, PoisonError},
    time::{Duration, Instant},
};

use hearth_core::Change;

use crate::device::lock;

/// What the writer is told.
#[derive(Debug)]
pub(super) enum Command {
    Change { revision: u64, change: Box<Change> },
    Device { id: String, state: Vec<u8> },
}

/// What waits for the writer.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    commands: Vec<Command>,
    /// When the first of them is to be written.
    due: Option<Instant>,
    closed: bool,
}

impl Inbox {
    /// Adds what is to be written within this time.
    pub(super) fn put(&self, command: Command, delay: Duration) {
        let due = Instant::now() + delay;
        let mut waiting = lock(&self.waiting);
        waiting.commands.push(command);
        let sooner = waiting.due.is_none_or(|before| due < before);
        if sooner {
            waiting.due = Some(due);
        }
        drop(waiting);
        if sooner {
            self.changed.notify_one();
        }
    }

    /// Has the writer write all that is there, and end.
    pub(super) fn close(&self) {
        lock(&self.waiting).closed = true;
        self.changed.notify_one();
    }

    /// Waits until something is due, or `retry` has come; returns what there is, and whether nothing follows.
    pub(super) fn take(&self, retry: Option<Instant>) -> (Vec<Command>, bool) {
        let mut waiting = lock(&self.waiting);
        loop {
            let due = [waiting.due, retry].into_iter().flatten().min();
            let left = due.map(|due| due.saturating_duration_since(Instant::now()));
            if waiting.closed || left.is_some_and(|left| left.is_zero()) {
                waiting.due = None;
                return (mem::take(&mut waiting.commands), waiting.closed);
            }
            waiting = match left {
                Some(left) => {
                    let waited = self.changed.wait_timeout(waiting, left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }
}
