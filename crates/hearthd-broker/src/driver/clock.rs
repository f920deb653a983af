//! The two clocks of the core.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::core::Now;

/// Reads the clocks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    start: Instant,
}

impl Clock {
    pub(super) fn start() -> Self {
        Self { start: Instant::now() }
    }

    pub(super) fn now(self) -> Now {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now { monotonic: EPOCH + self.start.elapsed(), unix }
    }

    /// Returns when a time of the monotonic clock is.
    pub(super) fn instant(self, monotonic: Duration) -> Instant {
        self.start + monotonic.saturating_sub(EPOCH)
    }
}

/// What the monotonic clock shows at the start: so much that everything in the store was after 0.
const EPOCH: Duration = Duration::from_secs(1 << 33);
