//! A device's reports besides its states and answers: extensions of the host, since version 1.1.

use super::{Growing, Host, Slice};

/// The extension of the host through which a device says whether it can reach what it stands for (R1).
pub const EXT_REACH: &str = "hearth.reach/1";

/// [`EXT_REACH`] of a host.
#[repr(C)]
#[derive(Debug)]
pub struct ExtReach {
    /// Size of this struct as the host knows it.
    pub struct_size: u32,
    /// Zero.
    pub reserved: u32,
    /// Says that the device cannot reach what it stands for, and why.
    pub unreachable: unsafe extern "C" fn(*const Host, reason: Slice) -> i32,
    /// Says that it can again.
    pub reachable: unsafe extern "C" fn(*const Host) -> i32,
}

/// The extension of the host through which a device says that something has happened (E1).
pub const EXT_EVENT: &str = "hearth.event/1";

/// [`EXT_EVENT`] of a host.
#[repr(C)]
#[derive(Debug)]
pub struct ExtEvent {
    /// Size of this struct as the host knows it.
    pub struct_size: u32,
    /// Zero.
    pub reserved: u32,
    /// Says that something of this kind has happened at a property of type event.
    pub event: unsafe extern "C" fn(*const Host, property: Slice, kind: Slice) -> i32,
}

/// The extension of the host through which a device accepts a command, and tells its end later (C5); since 1.2.
pub const EXT_ACCEPT: &str = "hearth.accept/1";

/// [`EXT_ACCEPT`] of a host.
#[repr(C)]
#[derive(Debug)]
pub struct ExtAccept {
    /// Size of this struct as the host knows it.
    pub struct_size: u32,
    /// Zero.
    pub reserved: u32,
    /// Says that a command is under way, and ends within this time.
    pub accept: unsafe extern "C" fn(*const Host, token: u64, within_ms: u64) -> i32,
}

growing! {
    ExtAccept up to accept: usize, 16 or 12 bytes;
    ExtReach up to reachable: usize, 24 or 16 bytes;
    ExtEvent up to event: usize, 16 or 12 bytes;
}
