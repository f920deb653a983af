//! Tells systemd how the service is; does nothing elsewhere.

use sd_notify::NotifyState;
use tracing::debug;

/// The hub is `online`.
pub fn online(devices: usize) {
    let status = format!("online, {devices} devices");
    notify(&[NotifyState::Ready, NotifyState::Status(&status)]);
}

/// The hub reads its configuration anew.
pub fn reloading() {
    // systemd takes the message only with the time at which the reload began.
    match NotifyState::monotonic_usec_now() {
        Ok(now) => notify(&[NotifyState::Reloading, now]),
        Err(error) => debug!(%error, "no time for systemd"),
    }
}

/// The reload is over, whether anything has changed or not.
pub fn reloaded() {
    notify(&[NotifyState::Ready]);
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
