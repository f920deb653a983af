//! A room as a physicist's first approximation.

use std::time::Duration;

/// A room that a heater warms at a constant rate, and that loses heat in proportion to the difference to outside.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    temperature: f64,
    outside: f64,
    heating_rate: f64,
    loss: f64,
}

impl Room {
    /// Makes a room from °C, °C, K/s and 1/s.
    pub(crate) fn new(temperature: f64, outside: f64, heating_rate: f64, loss: f64) -> Self {
        Self { temperature, outside, heating_rate, loss }
    }

    /// Lets time pass and returns the temperature in °C.
    ///
    /// Solves dT/dt = heating - loss * (T - outside) exactly, so the size of the steps does not matter.
    pub(crate) fn advance(&mut self, passed: Duration, heating: bool) -> f64 {
        let seconds = passed.as_secs_f64();
        let power = if heating { self.heating_rate } else { 0.0 };
        if self.loss > 0.0 {
            let rest = self.outside + power / self.loss;
            self.temperature = rest + (self.temperature - rest) * (-self.loss * seconds).exp();
        } else {
            self.temperature += power * seconds;
        }
        self.temperature
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn an_unheated_room_takes_the_temperature_outside() {
        let mut room = Room::new(20.0, 5.0, 0.01, 0.0003);
        let first = room.advance(HOUR, false);
        assert!(5.0 < first && first < 20.0);
        assert!((room.advance(HOUR * 24, false) - 5.0).abs() < 0.001);
    }

    #[test]
    fn a_heated_room_settles_where_heat_and_loss_are_equal() {
        let mut room = Room::new(20.0, 5.0, 0.01, 0.0005);
        assert!((room.advance(HOUR * 24, true) - 25.0).abs() < 0.001);
    }

    #[test]
    fn many_small_steps_equal_one_large_step() {
        let mut small = Room::new(18.0, 5.0, 0.01, 0.0003);
        let mut large = small;
        for _ in 0..3600 {
            small.advance(Duration::from_secs(1), true);
        }
        assert!((small.temperature - large.advance(HOUR, true)).abs() < 1e-6);
    }

    #[test]
    fn a_room_without_loss_warms_steadily() {
        let mut room = Room::new(18.0, 5.0, 0.01, 0.0);
        assert!((room.advance(Duration::from_secs(100), true) - 19.0).abs() < 1e-9);
        assert!((room.advance(HOUR, false) - 19.0).abs() < 1e-9);
    }
}
