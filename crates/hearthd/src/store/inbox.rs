//! The queue of the writer, which is woken when something is due and not for each change.

use std::{
    mem,
    sync::{Condvar, Mutex},
    time::{Duration, Instant},
};

use hearthd_core::{Change, Urgency};

use super::pending::Pending;
use crate::sync::{lock, wait};

/// What waits for the writer.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

/// The changes, and when they are due.
#[derive(Debug, Default)]
struct Waiting {
    changes: Pending,
    /// The newest revision among them.
    newest: Option<u64>,
    /// When they are to be written at the latest.
    due: Option<Instant>,
    /// When they are to be written unless more comes that is to be written soon.
    quiet: Option<Instant>,
    /// How many of them are to be written soon.
    soon: usize,
    /// When the writer wakes by itself.
    looks: Option<Instant>,
    closed: bool,
}

impl Inbox {
    /// Adds a change.
    pub(super) fn put(&self, revision: u64, change: Change) {
        let mut waiting = lock(&self.waiting);
        waiting.add(revision, change, Instant::now());
        let due = waiting.due();
        let sooner = waiting.looks.is_none_or(|looks| due.is_some_and(|due| due < looks));
        if sooner {
            waiting.looks = due;
        }
        drop(waiting);
        if sooner {
            self.changed.notify_one();
        }
    }

    /// Makes the writer write everything, and end.
    pub(super) fn close(&self) {
        lock(&self.waiting).closed = true;
        self.changed.notify_one();
    }

    /// Waits until something is due, or `retry` has come; returns what there is, with its newest revision, and whether
    /// nothing follows.
    pub(super) fn take(&self, retry: Option<Instant>) -> (Option<(u64, Pending)>, bool) {
        let mut waiting = lock(&self.waiting);
        loop {
            let due = waiting.due().into_iter().chain(retry).min();
            let left = due.map(|due| due.saturating_duration_since(Instant::now()));
            if waiting.closed || left.is_some_and(|left| left.is_zero()) {
                let Waiting { changes, newest, closed, .. } = mem::take(&mut *waiting);
                waiting.closed = closed;
                return (newest.map(|newest| (newest, changes)), closed);
            }
            waiting.looks = due;
            waiting = wait(&self.changed, waiting, left);
        }
    }
}

impl Waiting {
    fn add(&mut self, revision: u64, change: Change, now: Instant) {
        let delay = match change.urgency() {
            Urgency::Now => Duration::ZERO,
            Urgency::Soon => {
                self.soon += 1;
                self.quiet = Some(now + QUIET);
                if self.soon < ENOUGH { SOON } else { Duration::ZERO }
            }
            Urgency::Whenever => LAZY,
        };
        self.changes.change(change);
        self.newest = Some(revision);
        let due = now + delay;
        self.due = Some(self.due.map_or(due, |before| before.min(due)));
    }

    /// Returns when the writer takes the changes, as things are now.
    fn due(&self) -> Option<Instant> {
        self.due.into_iter().chain(self.quiet).min()
    }
}

/// How long what a PUBACK waits for may wait for company while more of it comes: requests at once share a write, and most
/// answers are delivered before they are written, which saves a second one.
const SOON: Duration = Duration::from_millis(16);
/// Without more of it for this long, company is not waited for: a broker with a small window sends no more until then.
const QUIET: Duration = Duration::from_millis(2);
/// This many are company enough: a quarter of what the broker may have in flight to the hub.
const ENOUGH: usize = 256;
/// How long a change that nothing waits for may wait for others.
const LAZY: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use hearthd_core::Memory;

    use super::*;
    use crate::store::tests::record;

    fn at(start: Instant, ms: u64) -> Instant {
        start + Duration::from_millis(ms)
    }

    fn change(urgency: Urgency) -> Change {
        let change = match urgency {
            Urgency::Now => Change::Memory(Memory::default()),
            Urgency::Soon => Change::Answer(record(1, None)),
            Urgency::Whenever => Change::Device { device: "lamp".into(), state: "on".into() },
        };
        assert_eq!(change.urgency(), urgency);
        change
    }

    fn add(waiting: &mut Waiting, urgency: Urgency, now: Instant) {
        waiting.add(0, change(urgency), now);
    }

    #[test]
    fn what_a_puback_waits_for_waits_for_company_as_long_as_it_comes() {
        let (mut waiting, start) = (Waiting::default(), Instant::now());
        add(&mut waiting, Urgency::Soon, start);
        assert_eq!(waiting.due(), Some(at(start, 2)));
        for ms in 1..15 {
            add(&mut waiting, Urgency::Soon, at(start, ms));
            assert_eq!(waiting.due(), Some(at(start, ms + 2)));
        }
        add(&mut waiting, Urgency::Soon, at(start, 15));
        assert_eq!(waiting.due(), Some(at(start, 16)));
    }

    #[test]
    fn a_quarter_of_the_window_is_company_enough() {
        let (mut waiting, start) = (Waiting::default(), Instant::now());
        for _ in 1..ENOUGH {
            add(&mut waiting, Urgency::Soon, start);
        }
        assert_eq!(waiting.due(), Some(at(start, 2)));
        add(&mut waiting, Urgency::Soon, start);
        assert_eq!(waiting.due(), Some(start));
    }

    #[test]
    fn what_somebody_waits_for_takes_all_with_it_and_what_nobody_waits_for_delays_nothing() {
        let (mut waiting, start) = (Waiting::default(), Instant::now());
        add(&mut waiting, Urgency::Whenever, start);
        assert_eq!(waiting.due(), Some(at(start, 1000)));
        add(&mut waiting, Urgency::Whenever, at(start, 999));
        assert_eq!(waiting.due(), Some(at(start, 1000)));
        add(&mut waiting, Urgency::Now, at(start, 999));
        assert_eq!(waiting.due(), Some(at(start, 999)));
    }

    #[test]
    fn the_writer_takes_all_at_once_and_what_is_left_at_the_end() {
        let inbox = Inbox::default();
        let put = |revision, urgency| inbox.put(revision, change(urgency));
        put(1, Urgency::Whenever);
        put(2, Urgency::Soon);
        put(3, Urgency::Now);
        let (changes, ended) = inbox.take(None);
        assert_eq!((changes.unwrap().0, ended), (3, false));
        put(4, Urgency::Whenever);
        inbox.close();
        let (changes, ended) = inbox.take(None);
        assert_eq!((changes.unwrap().0, ended), (4, true));
        assert_eq!((inbox.take(None).0.is_none(), inbox.take(None).1), (true, true));
    }
}
