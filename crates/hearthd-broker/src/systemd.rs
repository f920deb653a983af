//! Notifies systemd.

use sd_notify::NotifyState;
use tracing::warn;

/// Tells systemd the broker's status; does nothing without systemd.
pub(crate) fn notify(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        warn!(%error, "cannot notify systemd");
    }
}
