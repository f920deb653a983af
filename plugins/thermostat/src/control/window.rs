//! An open window shows as a temperature that falls fast.

use std::collections::VecDeque;
use std::time::Duration;

/// How many temperatures are kept over the time in which a fall counts.
const SAMPLES: u32 = 60;

/// What counts as an open window.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rule {
    /// Kelvin.
    pub(crate) fall: f64,
    /// The time in which the fall must happen.
    pub(crate) within: Duration,
    /// How long the heating pauses at the most.
    pub(crate) pause: Duration,
}

/// Watches one room.
#[derive(Debug)]
pub(crate) struct Window {
    rule: Rule,
    recent: VecDeque<(Duration, f64)>,
    open: Option<Open>,
}

#[derive(Clone, Copy, Debug)]
struct Open {
    until: Duration,
    lowest: f64,
}

impl Window {
    pub(crate) fn new(rule: Rule) -> Self {
        Self { rule, recent: VecDeque::new(), open: None }
    }

    /// Takes the temperature of a moment and returns whether the window seems open now.
    ///
    /// What lies longer between two moments is no fast fall, however the room got there. It counts as closed once the room has warmed by half the fall, or when the pause is over.
    pub(crate) fn observe(&mut self, temperature: f64, at: Duration, now: Duration) -> bool {
        let Rule { fall, within, pause } = self.rule;
        if let Some(open) = &mut self.open {
            open.lowest = open.lowest.min(temperature);
            if now < open.until && temperature < open.lowest + fall / 2.0 {
                return true;
            }
            self.open = None;
            self.recent.clear();
        }
        while self.recent.front().is_some_and(|&(earlier, _)| at.saturating_sub(earlier) > within) {
            self.recent.pop_front();
        }
        let highest = self.recent.iter().map(|&(_, t)| t).fold(temperature, f64::max);
        if highest - temperature >= fall {
            self.open = Some(Open { until: now + pause, lowest: temperature });
            return true;
        }
        let spacing = within / SAMPLES;
        if self.recent.back().is_none_or(|&(last, _)| at >= last + spacing) {
            self.recent.push_back((at, temperature));
        }
        false
    }

    /// Forgets the past, when a sensor was away and a step in its reading means nothing.
    pub(crate) fn forget(&mut self) {
        self.recent.clear();
        self.open = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn window() -> Window {
        Window::new(Rule { fall: 1.0, within: 5 * MINUTE, pause: 20 * MINUTE })
    }

    fn open(window: &mut Window, from: u32, temperatures: &[f64]) -> Vec<bool> {
        (from..)
            .zip(temperatures)
            .map(|(n, &t)| window.observe(t, MINUTE * n, MINUTE * n))
            .collect()
    }

    #[test]
    fn a_fast_fall_opens_and_warmth_closes() {
        let falls = [21.0, 21.0, 20.6, 19.9, 19.5, 19.7, 20.1];
        let expected = [false, false, false, true, true, true, false];
        assert_eq!(open(&mut window(), 0, &falls), expected);
    }

    #[test]
    fn the_pause_ends_where_the_room_stays_cold() {
        let mut window = window();
        open(&mut window, 0, &[21.0, 19.0]);
        assert!(open(&mut window, 2, &[19.0; 19]).iter().all(|&open| open));
        assert_eq!(open(&mut window, 21, &[19.0, 19.0]), [false, false]);
    }

    #[test]
    fn a_slow_fall_is_the_evening() {
        let falls: Vec<f64> = (0..120).map(|n| 21.0 - 0.1 * f64::from(n)).collect();
        assert!(open(&mut window(), 0, &falls).iter().all(|open| !open));
    }

    #[test]
    fn the_memory_is_bounded() {
        let mut window = window();
        for n in 0..100_000 {
            window.observe(20.0, Duration::from_millis(100) * n, Duration::from_millis(100) * n);
        }
        assert!(window.recent.len() <= SAMPLES as usize + 1, "{}", window.recent.len());
    }

    #[test]
    fn a_step_between_two_readings_an_hour_apart_is_no_fast_fall() {
        let mut window = window();
        for minute in 0..60 {
            assert!(!window.observe(21.0, Duration::ZERO, MINUTE * minute));
        }
        for minute in 60..120 {
            assert!(!window.observe(18.0, MINUTE * 60, MINUTE * minute), "{minute}");
        }
        assert!(window.observe(16.5, MINUTE * 64, MINUTE * 120));
    }
}
