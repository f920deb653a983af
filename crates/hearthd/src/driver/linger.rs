//! Waits a moment for a device's answer without sleeping.

use std::time::{Duration, Instant};

/// Waits for a device that was just woken, as long as that helps.
///
/// A quick device has answered before a thread that sleeps is awake again. So the driver looks again and again, and
/// gives the processor to others in between. Where others keep the processors busy, it gets its own back late, and
/// would be awake sooner from sleep. Each time that this happens, it waits twice as rarely, and each time that it does
/// not, twice as often.
#[derive(Debug, Default)]
pub(super) struct Linger {
    /// How many times in a row it does not wait after a time that it did.
    rest: u32,
    /// How many of them are left.
    left: u32,
}

impl Linger {
    /// Returns what `look` finds. `give_way` gives the processor to others, and returns the time at which it is back.
    pub(super) fn wait<T>(
        &mut self,
        start: Instant,
        mut give_way: impl FnMut() -> Instant,
        mut look: impl FnMut() -> Option<T>,
    ) -> Option<T> {
        if self.left > 0 {
            self.left -= 1;
            return None;
        }
        loop {
            let waited = give_way().saturating_duration_since(start);
            let found = look();
            if found.is_some() || waited >= LONGEST {
                let late = waited >= LATE;
                self.rest =
                    if late { (2 * self.rest + 1).min(LONGEST_REST) } else { self.rest / 2 };
                self.left = self.rest;
                return found;
            }
        }
    }
}

/// How long a device may take: it is woken itself, and calls its plugin.
const LONGEST: Duration = Duration::from_micros(100);
/// Whoever is back after this long has waited for others.
const LATE: Duration = Duration::from_micros(500);
const LONGEST_REST: u32 = 1023;

#[cfg(test)]
mod tests {
    use super::*;

    /// Waits for what is there at the `nth` look, where the processor is back each time after so many microseconds.
    /// Returns whether it was found, and how often it was looked for.
    fn wait(linger: &mut Linger, nth: usize, back_after: u64) -> (bool, usize) {
        let start = Instant::now();
        let (mut now, mut looks) = (start, 0);
        let give_way = || {
            now += Duration::from_micros(back_after);
            now
        };
        let found = linger.wait(start, give_way, || {
            looks += 1;
            (looks == nth).then_some(())
        });
        (found.is_some(), looks)
    }

    #[test]
    fn a_quick_device_is_waited_for_and_a_slow_one_no_longer_than_it_helps() {
        let mut linger = Linger::default();
        assert_eq!(wait(&mut linger, 3, 10), (true, 3));
        assert_eq!(wait(&mut linger, 1000, 10), (false, 10));
        assert_eq!(wait(&mut linger, 1, 10), (true, 1));
    }

    #[test]
    fn where_others_keep_the_processor_it_hardly_ever_waits() {
        let mut linger = Linger::default();
        let waits = (0..100_000).filter(|_| wait(&mut linger, 1, 3000).1 > 0).count();
        assert!(waits < 120, "{waits}");
    }

    #[test]
    fn once_others_have_left_it_waits_again_and_one_delay_costs_one_turn() {
        let mut linger = Linger::default();
        assert_eq!(wait(&mut linger, 1, 3000), (true, 1));
        assert_eq!(wait(&mut linger, 1, 10), (false, 0));
        assert_eq!(wait(&mut linger, 1, 10), (true, 1));
        assert_eq!(wait(&mut linger, 1, 10), (true, 1));

        for _ in 0..10_000 {
            wait(&mut linger, 1, 3000);
        }
        let rests = (0..10_000).filter(|_| wait(&mut linger, 1, 10).1 == 0).count();
        assert!(rests < 2100, "{rests}");
    }
}
