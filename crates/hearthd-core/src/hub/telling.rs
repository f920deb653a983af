//! Limits how often something is reported that strangers cause.

use std::time::Duration;

/// How often one kind of thing is told: a few times in a row, then once in a while with how many were left out.
#[derive(Debug, Default)]
pub struct Telling {
    /// When each of the last ones that were told ceases to count.
    told: [Duration; BURST],
    left_out: u64,
}

impl Telling {
    /// Returns whether to tell now, with how many were left out since the last time; `now` is of a clock that nobody
    /// sets, and never earlier than before.
    pub fn tell(&mut self, now: Duration) -> Option<u64> {
        match self.told.iter_mut().find(|until| **until <= now) {
            Some(free) => {
                *free = now + INTERVAL;
                Some(std::mem::take(&mut self.left_out))
            }
            None => {
                self.left_out += 1;
                None
            }
        }
    }
}

/// So many are told in [`INTERVAL`].
const BURST: usize = 5;
const INTERVAL: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_told_a_few_times_a_minute_and_none_of_it_is_forgotten() {
        let mut telling = Telling::default();
        let mut told = 0;
        let mut left_out = 0;
        for millisecond in 1..=120_000 {
            if let Some(more) = telling.tell(Duration::from_millis(millisecond)) {
                told += 1;
                left_out += more;
            }
        }
        assert_eq!(told, 10);
        assert_eq!(told + left_out + telling.left_out, 120_000);
    }
}
