//! The clock that a device's timers, deadlines and back-off follow.

use std::{
    sync::Mutex,
    time::{Duration, Instant},
};

use crate::{boundary::host::monotonic_ms, sync::lock};

/// The system's clock, or one that a trial sets forward.
#[derive(Debug, Default)]
pub(crate) enum Clock {
    /// The monotonic clock.
    #[default]
    System,
    /// A clock that stands still between two steps.
    Stepped(Stepped),
}

/// A clock that starts at the present time.
#[derive(Debug)]
pub(crate) struct Stepped {
    start: Instant,
    start_ms: u64,
    ahead: Mutex<Duration>,
}

impl Clock {
    /// Makes a clock that stands still.
    pub(crate) fn stepped() -> Self {
        let (start, start_ms) = (Instant::now(), monotonic_ms());
        Self::Stepped(Stepped { start, start_ms, ahead: Mutex::default() })
    }

    /// Returns the present time.
    pub(crate) fn now(&self) -> Instant {
        match self {
            Self::System => Instant::now(),
            Self::Stepped(stepped) => stepped.start + *lock(&stepped.ahead),
        }
    }

    /// Returns the present time as plugins see it, in milliseconds (C2).
    pub(crate) fn now_ms(&self) -> u64 {
        self.stepped_ms().unwrap_or_else(monotonic_ms)
    }

    /// Returns the time that a process with a plugin must be told, in milliseconds; `None` if it sees the same clock.
    pub(crate) fn stepped_ms(&self) -> Option<u64> {
        let Self::Stepped(stepped) = self else { return None };
        let ahead = lock(&stepped.ahead).as_millis();
        Some(stepped.start_ms.saturating_add(u64::try_from(ahead).unwrap_or(u64::MAX)))
    }

    /// Sets a stepped clock forward to a time; the system's clock moves by itself.
    pub(crate) fn set(&self, to: Instant) {
        if let Self::Stepped(stepped) = self {
            let mut ahead = lock(&stepped.ahead);
            *ahead = to.saturating_duration_since(stepped.start).max(*ahead);
        }
    }
}
