//! How long to wait before the next connection attempt.

use std::time::Duration;

/// Exponential back-off with jitter.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// Returns the next wait: between half of and the whole of an interval that doubles up to a minute.
    pub(crate) fn next(&mut self, random: u8) -> Duration {
        let interval = SHORTEST.saturating_mul(1 << self.failures.min(16)).min(LONGEST);
        self.failures += 1;
        interval / 2 + (interval / 2).mul_f64(f64::from(random) / 255.0)
    }

    /// Returns the wait after another client took the session over: never short, so that two do not fight.
    pub(crate) fn after_takeover(&mut self, random: u8) -> Duration {
        self.next(random).max(TAKEOVER)
    }

    /// Begins with the shortest pause again: a connection has held.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }
}

/// Returns a random part of `spread`; each part is equally likely.
pub(crate) fn part_of(spread: Duration, random: u16) -> Duration {
    spread.mul_f64(f64::from(random) / f64::from(u16::MAX))
}

const SHORTEST: Duration = Duration::from_millis(250);
const LONGEST: Duration = Duration::from_secs(60);
const TAKEOVER: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_second_of_a_spread_gets_more_hubs_than_another() {
        let mut seconds = [0_u32; 21];
        for random in 0..=u16::MAX {
            let waited = part_of(Duration::from_secs(20), random).as_secs();
            seconds[usize::try_from(waited).unwrap()] += 1;
        }
        assert_eq!(seconds[20], 1, "the longest wait");
        assert!(seconds[..20].iter().all(|hubs| (3276..=3277).contains(hubs)), "{seconds:?}");
    }
}
