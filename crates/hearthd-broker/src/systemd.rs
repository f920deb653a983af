//! Notifies systemd.

use sd_notify::NotifyState;
use tracing::warn;

/// Tells systemd how the broker is; where there is none, nothing is told.
pub(crate) fn notify(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        warn!(%error, "cannot notify systemd");
    }
}
