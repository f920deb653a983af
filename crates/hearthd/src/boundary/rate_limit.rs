//! Limits how often a plugin may report something: a token bucket, and a count of what was left out.

use std::time::{Duration, Instant};

/// Allows a burst, and then a steady rate.
#[derive(Debug)]
pub(crate) struct Bucket {
    rate: Rate,
    tokens: f64,
    filled: Instant,
}

/// What a bucket allows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rate {
    pub(crate) per_second: u32,
    pub(crate) burst: u32,
}

impl Bucket {
    /// Makes a bucket that is full.
    pub(crate) fn new(rate: Rate, now: Instant) -> Self {
        Self { rate, tokens: rate.burst.into(), filled: now }
    }

    /// Takes a token; false where there is none.
    pub(crate) fn take(&mut self, now: Instant) -> bool {
        let gained = now.saturating_duration_since(self.filled).as_secs_f64();
        let full = self.tokens + gained * f64::from(self.rate.per_second);
        self.tokens = full.min(self.rate.burst.into());
        self.filled = now;
        let there = self.tokens >= 1.0;
        if there {
            self.tokens -= 1.0;
        }
        there
    }

    /// Returns when there will be a token.
    pub(crate) fn next(&self) -> Instant {
        let missing = (1.0 - self.tokens).max(0.0) / f64::from(self.rate.per_second);
        self.filled + Duration::from_secs_f64(missing)
    }
}

/// Counts what was left out, and says so at once and then once in a period.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    total: u64,
    unsaid: u64,
    said: Option<Instant>,
}

impl Tally {
    /// Counts one more; returns the number to tell people where it is time to.
    pub(crate) fn count(&mut self, now: Instant) -> Option<u64> {
        self.total += 1;
        self.unsaid += 1;
        if self.said.is_some_and(|said| now < said + PERIOD) {
            return None;
        }
        self.said = Some(now);
        Some(std::mem::take(&mut self.unsaid))
    }

    /// Returns how many were left out since the start.
    pub(crate) fn total(&self) -> u64 {
        self.total
    }
}

const PERIOD: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_allows_a_burst_and_then_its_rate() {
        let start = Instant::now();
        let mut bucket = Bucket::new(Rate { per_second: 10, burst: 3 }, start);
        assert_eq!([(); 4].map(|()| bucket.take(start)), [true, true, true, false]);
        assert_eq!(bucket.next(), start + Duration::from_millis(100));
        assert!(!bucket.take(start + Duration::from_millis(50)));
        assert!(bucket.take(start + Duration::from_millis(101)));
        let later = start + Duration::from_secs(60);
        assert_eq!([(); 4].map(|()| bucket.take(later)), [true, true, true, false]);
    }

    #[test]
    fn what_is_left_out_is_said_once_in_a_period() {
        let start = Instant::now();
        let mut tally = Tally::default();
        assert_eq!(tally.count(start), Some(1));
        assert_eq!([(); 5].map(|()| tally.count(start + PERIOD / 2)), [None; 5]);
        assert_eq!(tally.count(start + PERIOD), Some(6));
        assert_eq!(tally.total(), 7);
    }
}
