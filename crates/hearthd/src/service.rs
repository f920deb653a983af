//! Tells systemd how the service is; does nothing elsewhere.

use sd_notify::NotifyState;
use tracing::debug;

/// The hub is `online`.
pub fn online(devices: usize) {
    let status = format!("online, {devices} devices");
    notify(&[NotifyState::Ready, NotifyState::Status(&status)]);
}

/// The hub drains.
pub fn stopping() {
    notify(&[NotifyState::Stopping]);
}

fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        debug!(%error, "systemd does not listen");
    }
}
