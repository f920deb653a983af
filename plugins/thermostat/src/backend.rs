//! Where the temperature comes from, and what heats.

use std::fmt::Debug;
use std::time::Duration;

use hearth_sdk::Failure;

use crate::room::Room;

/// A thermometer and a heater.
pub(crate) trait Backend: Debug + Send {
    /// Reads the temperature in °C at a time of the monotonic clock.
    fn temperature(&mut self, now: Duration) -> Result<f64, Failure>;

    /// Switches the heater.
    fn heat(&mut self, on: bool) -> Result<(), Failure>;
}

/// A computed room with a heater.
#[derive(Debug)]
pub(crate) struct Simulated {
    room: Room,
    heating: bool,
    at: Duration,
}

impl Simulated {
    pub(crate) fn new(room: Room, now: Duration) -> Self {
        Self { room, heating: false, at: now }
    }
}

impl Backend for Simulated {
    fn temperature(&mut self, now: Duration) -> Result<f64, Failure> {
        let passed = now.saturating_sub(self.at);
        self.at = self.at.max(now);
        Ok(self.room.advance(passed, self.heating))
    }

    fn heat(&mut self, on: bool) -> Result<(), Failure> {
        self.heating = on;
        tracing::debug!(on, "simulated heater");
        Ok(())
    }
}
