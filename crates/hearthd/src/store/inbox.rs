//! What waits for the writer, who is woken when something is due and not for each piece.

use std::{
    mem,
    sync::{Condvar, Mutex},
    time::{Duration, Instant},
};

use hearth_core::{Change, Urgency};

use crate::device::{lock, wait};

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
    /// When they are to be written at the latest.
    due: Option<Instant>,
    /// When they are to be written unless more comes for which only the broker waits.
    quiet: Option<Instant>,
    /// For how many of them only the broker waits.
    soon: usize,
    /// When the writer looks by itself.
    looks: Option<Instant>,
    closed: bool,
}

impl Inbox {
    /// Adds what somebody waits for, or nobody.
    pub(super) fn put(&self, command: Command, urgency: Urgency) {
        let mut waiting = lock(&self.waiting);
        waiting.add(command, urgency, Instant::now());
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

    /// Has the writer write all that is there, and end.
    pub(super) fn close(&self) {
        lock(&self.waiting).closed = true;
        self.changed.notify_one();
    }

    /// Waits until something is due, or `retry` has come; returns what there is, and whether nothing follows.
    pub(super) fn take(&self, retry: Option<Instant>) -> (Vec<Command>, bool) {
        let mut waiting = lock(&self.waiting);
        loop {
            let due = waiting.due().into_iter().chain(retry).min();
            let left = due.map(|due| due.saturating_duration_since(Instant::now()));
            if waiting.closed || left.is_some_and(|left| left.is_zero()) {
                let Waiting { commands, closed, .. } = mem::take(&mut *waiting);
                waiting.closed = closed;
                return (commands, closed);
            }
            waiting.looks = due;
            waiting = wait(&self.changed, waiting, left);
        }
    }
}

impl Waiting {
    fn add(&mut self, command: Command, urgency: Urgency, now: Instant) {
        let delay = match urgency {
            Urgency::Now => Duration::ZERO,
            Urgency::Soon => {
                self.soon += 1;
                self.quiet = Some(now + QUIET);
                if self.soon < ENOUGH { SOON } else { Duration::ZERO }
            }
            Urgency::Whenever => LAZY,
        };
        self.commands.push(command);
        let due = now + delay;
        self.due = Some(self.due.map_or(due, |before| before.min(due)));
    }

    /// Returns when the writer takes what is there, as it looks now.
    fn due(&self) -> Option<Instant> {
        self.due.into_iter().chain(self.quiet).min()
    }
}

/// How long what only a PUBACK waits for may wait for company while more of it comes: requests at once share a write, and
/// most answers are delivered before they are written, which saves a second one.
const SOON: Duration = Duration::from_millis(16);
/// Without more of it for this long, company is not waited for: a broker with a small window sends no more until then.
const QUIET: Duration = Duration::from_millis(2);
/// This many are company enough: a quarter of what the broker may have in flight to the hub.
const ENOUGH: usize = 256;
/// How long what nobody waits for may wait for company.
const LAZY: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    fn at(start: Instant, ms: u64) -> Instant {
        start + Duration::from_millis(ms)
    }

    fn add(waiting: &mut Waiting, urgency: Urgency, now: Instant) {
        waiting.add(Command::Device { id: "lamp".into(), state: Vec::new() }, urgency, now);
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
        let put = |urgency| {
            inbox.put(Command::Device { id: "lamp".into(), state: Vec::new() }, urgency);
        };
        put(Urgency::Whenever);
        put(Urgency::Soon);
        put(Urgency::Now);
        let (commands, ended) = inbox.take(None);
        assert_eq!((commands.len(), ended), (3, false));
        put(Urgency::Whenever);
        inbox.close();
        let (commands, ended) = inbox.take(None);
        assert_eq!((commands.len(), ended), (1, true));
    }
}
