//! How often and how long the heater may be on.

use std::time::Duration;

/// What the heater bears.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) min_on: Duration,
    pub(crate) min_off: Duration,
    /// The longest time on without a pause.
    pub(crate) max_on: Option<Duration>,
    /// The pause after that.
    pub(crate) rest: Duration,
}

/// The state of the heater, and since when.
///
/// [`permit`](Self::permit) decides, and [`switched`](Self::switched) is told once the real heater has followed.
#[derive(Debug)]
pub(crate) struct Heater {
    limits: Limits,
    on: bool,
    since: Duration,
    rest_until: Option<Duration>,
}

impl Heater {
    /// Makes a heater that was switched off just now.
    pub(crate) fn new(limits: Limits, now: Duration) -> Self {
        Self { limits, on: false, since: now, rest_until: None }
    }

    pub(crate) fn is_on(&self) -> bool {
        self.on
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Returns whether the heater should be on, given what the control wants.
    pub(crate) fn permit(&mut self, wanted: bool, now: Duration) -> bool {
        let lasted = now.saturating_sub(self.since);
        if self.rest_until.is_some_and(|until| now >= until) {
            self.rest_until = None;
        }
        if self.on && self.limits.max_on.is_some_and(|limit| lasted >= limit) {
            self.rest_until = Some(now + self.limits.rest);
        }
        if self.rest_until.is_some() {
            return false;
        }
        let least = if self.on { self.limits.min_on } else { self.limits.min_off };
        if lasted < least { self.on } else { wanted }
    }

    /// Returns whether the heater pauses because it was on for too long.
    pub(crate) fn is_resting(&self) -> bool {
        self.rest_until.is_some()
    }

    /// Takes note of what the real heater does.
    pub(crate) fn switched(&mut self, on: bool, now: Duration) {
        if self.on != on {
            self.on = on;
            self.since = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn heater() -> Heater {
        let limits = Limits {
            min_on: 3 * MINUTE,
            min_off: 5 * MINUTE,
            max_on: Some(60 * MINUTE),
            rest: 10 * MINUTE,
        };
        Heater::new(limits, Duration::ZERO)
    }

    /// Asks for the same every minute and returns the minutes at which the heater changed.
    fn changes(heater: &mut Heater, from: u32, to: u32, wanted: bool) -> Vec<u32> {
        let changed = |&minute: &u32| {
            let before = heater.is_on();
            let on = heater.permit(wanted, MINUTE * minute);
            heater.switched(on, MINUTE * minute);
            on != before
        };
        (from..to).filter(changed).collect()
    }

    #[test]
    fn a_new_heater_was_switched_off_just_now() {
        assert_eq!(changes(&mut heater(), 0, 10, true), [5]);
    }

    #[test]
    fn it_stays_on_and_off_for_the_least_times() {
        let mut heater = heater();
        changes(&mut heater, 0, 6, true);
        assert_eq!(changes(&mut heater, 6, 20, false), [8]);
        assert_eq!(changes(&mut heater, 9, 20, true), [13]);
    }

    #[test]
    fn it_rests_after_the_longest_time_on_and_begins_anew() {
        let mut heater = heater();
        assert_eq!(changes(&mut heater, 0, 66, true), [5, 65]);
        assert!(heater.is_resting());
        assert_eq!(changes(&mut heater, 66, 140, true), [75, 135]);
    }
}
