//! A level on its way to another.

use std::time::Duration;

/// A steady change of the level, on the monotonic clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ramp {
    from: f64,
    to: f64,
    start: Duration,
    length: Duration,
}

impl Ramp {
    /// Makes a ramp that takes a length of time, or none where there is nothing to do.
    pub(crate) fn new(from: f64, to: f64, start: Duration, length: Duration) -> Option<Self> {
        let moves = (from - to).abs() > 1e-6 && !length.is_zero();
        moves.then_some(Self { from, to, start, length })
    }

    pub(crate) fn level(&self, now: Duration) -> f64 {
        let part = now.saturating_sub(self.start).as_secs_f64() / self.length.as_secs_f64();
        self.from + (self.to - self.from) * part.min(1.0)
    }

    pub(crate) fn is_over(&self, now: Duration) -> bool {
        now >= self.start + self.length
    }
}
