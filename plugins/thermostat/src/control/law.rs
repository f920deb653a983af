//! When the heater should be on: by hysteresis, or for a computed part of each cycle.

use std::time::Duration;

use crate::control::heater::Limits;

/// How the heater follows the temperature.
#[derive(Clone, Debug)]
pub(crate) enum Law {
    Hysteresis(Hysteresis),
    Proportional(Box<Proportional>),
}

impl Law {
    /// Returns whether the heater should be on.
    pub(crate) fn wants(&mut self, now: Duration, limits: &Limits, error: f64, on: bool) -> bool {
        match self {
            Self::Hysteresis(hysteresis) => hysteresis.wants(error, on),
            Self::Proportional(proportional) => proportional.wants(now, limits, error),
        }
    }

    /// Says that the heater does not follow for now, so that nothing winds up.
    pub(crate) fn pause(&mut self) {
        match self {
            Self::Hysteresis(_) => {}
            Self::Proportional(proportional) => proportional.pause(),
        }
    }
}

/// On below the target by half the width, off above it by half the width.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hysteresis {
    /// Kelvin between on and off.
    pub(crate) width: f64,
}

impl Hysteresis {
    /// Takes the kelvin by which the room is too cold; within the width the heater stays as it is.
    pub(crate) fn wants(self, error: f64, on: bool) -> bool {
        let half = self.width / 2.0;
        if on { error > -half } else { error > half }
    }
}

/// A PI controller whose output is the part of each cycle that the heater is on.
#[derive(Clone, Debug)]
pub(crate) struct Proportional {
    tuning: Tuning,
    /// The part of full power that holds the target, as learned so far.
    integral: f64,
    /// When the integral was last moved; none while paused.
    moved: Option<Duration>,
    cycle: Option<Cycle>,
    /// Seconds of heat that the least times kept back from, or gave to, earlier cycles.
    owed: f64,
}

/// The constants of [`Proportional`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tuning {
    /// The part of full power for each kelvin below the target.
    pub(crate) gain: f64,
    /// The time in which the integral does what the gain does at once.
    pub(crate) integral_time: Duration,
    pub(crate) cycle: Duration,
}

#[derive(Clone, Copy, Debug)]
struct Cycle {
    start: Duration,
    /// The heater is on from the start for so long.
    on: Duration,
}

impl Proportional {
    pub(crate) fn new(tuning: Tuning) -> Self {
        Self { tuning, integral: 0.0, moved: None, cycle: None, owed: 0.0 }
    }

    fn wants(&mut self, now: Duration, limits: &Limits, error: f64) -> bool {
        let duty = self.duty(now, error);
        let length = self.tuning.cycle;
        let cycle = match self.cycle {
            Some(cycle) if now.saturating_sub(cycle.start) < length => cycle,
            Some(_) | None => {
                let cycle = Cycle { start: now, on: self.time_on(duty, limits) };
                *self.cycle.insert(cycle)
            }
        };
        // A target that was moved far should not wait for the next cycle.
        if duty >= 1.0 || duty <= 0.0 {
            self.owed = 0.0;
            return duty >= 1.0;
        }
        now.saturating_sub(cycle.start) < cycle.on
    }

    fn pause(&mut self) {
        self.moved = None;
        self.cycle = None;
        self.owed = 0.0;
    }

    /// Moves the integral unless the heater is at its limit already, and returns the part of full power.
    fn duty(&mut self, now: Duration, error: f64) -> f64 {
        let Tuning { gain, integral_time, .. } = self.tuning;
        let passed = self.moved.map_or(0.0, |moved| now.saturating_sub(moved).as_secs_f64());
        self.moved = Some(now);
        let output = gain * error + self.integral;
        let saturated = (output >= 1.0 && error > 0.0) || (output <= 0.0 && error < 0.0);
        if !saturated {
            let step = gain * error * passed / integral_time.as_secs_f64();
            self.integral = (self.integral + step).clamp(0.0, 1.0);
        }
        (gain * error + self.integral).clamp(0.0, 1.0)
    }

    /// Returns how long the heater is on in a cycle; what the least times forbid is owed to the next one.
    fn time_on(&mut self, duty: f64, limits: &Limits) -> Duration {
        let length = self.tuning.cycle.as_secs_f64();
        let due = duty * length + self.owed;
        let on = if due < limits.min_on.as_secs_f64() {
            0.0
        } else if length - due < limits.min_off.as_secs_f64() {
            length
        } else {
            due
        };
        self.owed = (due - on).clamp(-length, length);
        Duration::from_secs_f64(on.clamp(0.0, length))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const LIMITS: Limits = Limits {
        min_on: SECOND.saturating_mul(60),
        min_off: SECOND.saturating_mul(60),
        max_on: None,
        rest: SECOND,
    };

    fn proportional() -> Proportional {
        Proportional::new(Tuning { gain: 0.5, integral_time: SECOND * 3600, cycle: SECOND * 600 })
    }

    /// Returns how many of the seconds the heater is wanted at one error.
    fn seconds_on(law: &mut Proportional, from: u32, to: u32, error: f64) -> usize {
        (from..to).filter(|&second| law.wants(SECOND * second, &LIMITS, error)).count()
    }

    #[test]
    fn hysteresis_stays_within_its_width() {
        let law = Hysteresis { width: 0.4 };
        assert!(law.wants(0.3, false) && law.wants(0.1, true) && law.wants(-0.1, true));
        assert!(!law.wants(0.1, false) && !law.wants(-0.3, true));
    }

    #[test]
    fn a_cold_room_gets_full_power_and_a_warm_one_none() {
        assert_eq!(seconds_on(&mut proportional(), 0, 1200, 5.0), 1200);
        assert_eq!(seconds_on(&mut proportional(), 0, 1200, -1.0), 0);
    }

    #[test]
    fn the_gain_is_the_part_of_each_cycle() {
        let on = seconds_on(&mut proportional(), 0, 600, 0.4);
        assert!((119..=121).contains(&on), "{on}");
    }

    #[test]
    fn a_day_at_full_power_does_not_wind_up() {
        let mut law = proportional();
        seconds_on(&mut law, 0, 86_400, 3.0);
        assert!(law.integral < 1e-9, "{}", law.integral);
        assert_eq!(seconds_on(&mut law, 86_400, 87_600, -0.2), 0);
    }

    #[test]
    fn what_is_shorter_than_the_least_time_is_given_later() {
        let mut law = proportional();
        law.tuning.integral_time = SECOND * 1_000_000_000;
        // 8 % of 600 s is 48 s, less than the least time of 60 s.
        let per_cycle: Vec<usize> =
            (0..20).map(|n| seconds_on(&mut law, n * 600, (n + 1) * 600, 0.16)).collect();
        assert!(per_cycle.iter().all(|&on| on == 0 || on >= 60), "{per_cycle:?}");
        let total: usize = per_cycle.iter().sum();
        assert!((900..=980).contains(&total), "{total}");
    }

    #[test]
    fn a_pause_leaves_the_integral_as_it_is() {
        let mut law = proportional();
        seconds_on(&mut law, 0, 600, 0.5);
        let before = law.integral;
        law.pause();
        law.wants(SECOND * 100_000, &LIMITS, 0.5);
        assert!((law.integral - before).abs() < 1e-12);
    }
}
