//! Times to stop waiting.

use std::time::Duration;

/// Rounds up, because a response with an expiry of zero is never delivered.
pub(crate) fn whole_seconds(duration: Duration) -> u32 {
    let seconds = duration.as_secs() + u64::from(duration.subsec_nanos() > 0);
    u32::try_from(seconds).unwrap_or(u32::MAX).max(1)
}

/// Returns the later of two times to stop waiting; none never comes.
pub(crate) fn later(one: Option<Duration>, other: Option<Duration>) -> Option<Duration> {
    one.zip(other).map(|(one, other)| one.max(other))
}
