//! What devices behind one radio share: only one of them is read at a time, unless a command is for it.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// The shortest and the longest time from one look to the next.
const INTERVAL: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(3));
/// A look without an answer is over after this time.
const LONGEST: Duration = Duration::from_secs(3);
/// A device that does not ask again this long after it may has no need to look any more.
const LATE: Duration = Duration::from_secs(1);

/// The radio that several devices share, as the Zigbee coordinator of a bridge.
///
/// The [`Confirmer`](crate::Confirmer)s of devices behind one radio look at their devices in turn: one at a time, and
/// for at most half of the time. So forty devices that all have to be read cost a slow radio no more than one does. The
/// reads of a command do not wait for their turn. All confirmers that share a radio must use one clock.
#[derive(Debug, Default)]
pub struct Radio(Mutex<Turns>);

#[derive(Debug, Default)]
struct Turns {
    /// How many confirmers share the radio.
    sharing: u64,
    /// Who looks now, or did last, and since when.
    last: Option<(u64, Duration)>,
    /// Whether that look is over.
    is_over: bool,
    /// Twice the time that the last looks took.
    interval: Duration,
    /// Who waits, and when each asks again.
    waiting: VecDeque<(u64, Duration)>,
}

/// One confirmer's place at a radio.
#[derive(Debug)]
pub(crate) struct Place {
    radio: Arc<Radio>,
    number: u64,
}

/// The right to look; others wait until it is dropped.
#[derive(Debug)]
pub(crate) struct Turn {
    radio: Arc<Radio>,
    number: u64,
    at: Duration,
}

impl Radio {
    fn turns(&self) -> MutexGuard<'_, Turns> {
        // Every change is complete before anything can panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    pub(crate) fn new(radio: Arc<Radio>) -> Self {
        let mut turns = radio.turns();
        turns.sharing += 1;
        let number = turns.sharing;
        drop(turns);
        Self { radio, number }
    }

    /// Takes the turn, or returns when to ask again.
    pub(crate) fn take_turn(&self, now: Duration) -> Result<Turn, Duration> {
        let mut turns = self.radio.turns();
        let interval = turns.interval.clamp(INTERVAL.0, INTERVAL.1);
        turns.waiting.retain(|(number, again)| *number == self.number || now <= *again + LATE);
        let place = turns.waiting.iter().position(|(number, _)| *number == self.number);
        let place = place.unwrap_or_else(|| {
            turns.waiting.push_back((self.number, now));
            turns.waiting.len() - 1
        });
        if place == 0 && turns.is_free(now, interval) {
            turns.waiting.pop_front();
            turns.last = Some((self.number, now));
            turns.is_over = false;
            return Ok(Turn { radio: self.radio.clone(), number: self.number, at: now });
        }
        let again = now + interval * (place + 1) as u32;
        if let Some(waiting) = turns.waiting.get_mut(place) {
            waiting.1 = again;
        }
        Err(again)
    }
}

impl Turns {
    fn is_free(&self, now: Duration, interval: Duration) -> bool {
        self.last.is_none_or(|(_, at)| {
            let since = now.saturating_sub(at);
            // A look cannot begin later than now, unless its clock is another one.
            at > now + LONGEST || since >= LONGEST || (self.is_over && since >= interval)
        })
    }
}

impl Turn {
    /// Ends the turn with an answer.
    pub(crate) fn answered(self, now: Duration) {
        let mut turns = self.radio.turns();
        turns.interval = (now.saturating_sub(self.at) * 2).max(turns.interval / 2).min(INTERVAL.1);
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut turns = self.radio.turns();
        if turns.last.is_some_and(|(number, _)| number == self.number) {
            turns.is_over = true;
        }
    }
}
