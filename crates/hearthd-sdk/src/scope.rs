//! The device and the command that the current thread works for.

use std::cell::Cell;
use std::sync::OnceLock;

use crate::glue::HostRef;

/// Whether the command at hand will be answered later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deferral {
    /// Nobody asked.
    None,
    /// A `Deferred` answers or has answered.
    Taken,
    /// A `Deferred` was dropped before the device returned.
    Abandoned,
}

#[derive(Clone, Copy)]
struct Scope {
    host: HostRef,
    command: Option<(u64, Deferral)>,
}

thread_local! {
    static SCOPE: Cell<Option<Scope>> = const { Cell::new(None) };
}

/// The host of the plugin as a whole, which has no device.
static PLUGIN_HOST: OnceLock<HostRef> = OnceLock::new();

/// Restores the previous scope when it is dropped.
pub(crate) struct Entered {
    previous: Option<Scope>,
}

impl Drop for Entered {
    fn drop(&mut self) {
        SCOPE.set(self.previous);
    }
}

/// Enters a callback of a device, and perhaps a command of it.
pub(crate) fn enter(host: HostRef, token: Option<u64>) -> Entered {
    let command = token.map(|token| (token, Deferral::None));
    Entered { previous: SCOPE.replace(Some(Scope { host, command })) }
}

/// Keeps the host for threads that are in no callback.
pub(crate) fn set_plugin_host(host: HostRef) {
    // A second `init` brings nothing new: the first host stays readable (M3).
    let _ = PLUGIN_HOST.set(host);
}

/// Returns whether the plugin's host knows declarations of type event; without a host, nobody reads them.
pub(crate) fn host_knows_events() -> bool {
    PLUGIN_HOST.get().is_none_or(|host| host.knows_events())
}

/// Returns the host of the device in whose callback the thread is.
pub(crate) fn device_host() -> Option<HostRef> {
    SCOPE.try_with(Cell::get).ok().flatten().map(|scope| scope.host)
}

/// Returns the host that takes the thread's log lines.
pub(crate) fn log_host() -> Option<HostRef> {
    device_host().or_else(|| PLUGIN_HOST.get().copied())
}

/// Marks the command at hand as deferred and returns its token; none if this is not the device's command.
pub(crate) fn take(host: HostRef) -> Option<u64> {
    let scope = SCOPE.get().filter(|scope| scope.host == host)?;
    match scope.command {
        Some((token, Deferral::None)) => {
            SCOPE.set(Some(Scope { command: Some((token, Deferral::Taken)), ..scope }));
            Some(token)
        }
        Some((_, Deferral::Taken | Deferral::Abandoned)) | None => None,
    }
}

/// Marks the command at hand as abandoned; false if it is not this one.
pub(crate) fn abandon(host: HostRef, token: u64) -> bool {
    let scope = SCOPE.try_with(Cell::get).ok().flatten();
    match scope {
        Some(scope) if scope.host == host && scope.command == Some((token, Deferral::Taken)) => {
            SCOPE.set(Some(Scope { command: Some((token, Deferral::Abandoned)), ..scope }));
            true
        }
        Some(_) | None => false,
    }
}

/// Returns what became of the command at hand.
pub(crate) fn deferral() -> Deferral {
    SCOPE.get().and_then(|scope| scope.command).map_or(Deferral::None, |(_, deferral)| deferral)
}
