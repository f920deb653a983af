//! Counts a device's failures, and decides about the next attempt.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use super::shared::Shared;

/// How often the device has failed.
#[derive(Debug, Default)]
pub(crate) struct FailureHistory {
    /// Failures since the last instance that lived for a while.
    pub(crate) failures: u32,
    /// Crashes that count.
    crashes: VecDeque<Instant>,
}

impl FailureHistory {
    /// Begins with crashes of an earlier life.
    pub(crate) fn new(crashes: &[Instant]) -> Self {
        Self { failures: 0, crashes: crashes.iter().copied().collect() }
    }

    /// Returns how long to wait after one more failure.
    pub(crate) fn wait_after(&mut self, lived: Option<Duration>) -> Duration {
        if lived.is_some_and(|lived| lived > HEALTHY_AFTER) {
            self.failures = 0;
        }
        let wait = FIRST_WAIT.saturating_mul(1 << self.failures.min(10)).min(LONGEST_WAIT);
        self.failures += 1;
        wait
    }

    /// Counts a crash; returns whether there are too many.
    pub(crate) fn crashed(&mut self, shared: &Shared) -> Option<String> {
        self.crashes.push_back(shared.now());
        self.too_many(shared)
    }

    /// Returns how many crashes counted when the last one came.
    pub(crate) fn crashes(&self) -> usize {
        self.crashes.len()
    }

    /// Returns whether there are too many crashes within the window.
    pub(crate) fn too_many(&mut self, shared: &Shared) -> Option<String> {
        let (now, bounds) = (shared.now(), shared.bounds);
        while self.crashes.front().is_some_and(|crash| *crash + bounds.failure_window < now) {
            self.crashes.pop_front();
        }
        (self.crashes.len() >= bounds.max_failures).then(|| {
            let window = humantime::format_duration(bounds.failure_window);
            format!("in quarantine after {} crashes within {window}", self.crashes.len())
        })
    }
}

const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// An instance that has lived this long starts with a clean record.
const HEALTHY_AFTER: Duration = Duration::from_secs(60);
