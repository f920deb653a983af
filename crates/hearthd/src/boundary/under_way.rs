//! The commands that a device has accepted and not ended (C5).

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use hearthd_sdk::abi;

/// The tokens of such commands, each with the time until which its end may come.
#[derive(Debug, Default)]
pub(crate) struct UnderWay(BTreeMap<u64, Instant>);

impl UnderWay {
    /// Adds a command.
    ///
    /// # Errors
    /// The status for the plugin, if there are too many.
    pub(crate) fn add(&mut self, token: u64, within: Duration) -> Result<(), i32> {
        let now = Instant::now();
        self.0.retain(|_, until| *until > now);
        if self.0.len() >= MOST {
            return Err(abi::ERR_BUSY);
        }
        self.0.insert(token, now + within);
        Ok(())
    }

    /// Removes a command; returns whether it was there.
    pub(crate) fn remove(&mut self, token: u64) -> bool {
        self.0.remove(&token).is_some()
    }

    /// Removes all.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}

/// How many commands of one device may be under way.
const MOST: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_too_many_the_next_one_is_refused_until_one_ends_or_its_time_is_over() {
        let mut under_way = UnderWay::default();
        let long = Duration::from_secs(3600);
        for token in 0..16 {
            assert_eq!(under_way.add(token, long), Ok(()));
        }
        assert_eq!(under_way.add(16, long), Err(abi::ERR_BUSY));
        assert!(under_way.remove(3) && !under_way.remove(3));
        assert_eq!(under_way.add(17, Duration::ZERO), Ok(()));
        assert_eq!(under_way.add(18, long), Ok(()), "the time of 17 is over");
        assert!(!under_way.remove(17));
    }
}
