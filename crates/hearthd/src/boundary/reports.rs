//! The host's extensions with which a device reports about itself and its commands (R1, E1, C5): C functions in front of [`HostCalls`].

#![expect(unsafe_code, reason = "the tables are called from C with raw pointers")]

use std::{
    ffi::{CStr, c_char, c_void},
    time::Duration,
};

use hearthd_sdk::abi::{self, ExtAccept, ExtEvent, ExtReach, Host, Slice};

use super::{
    children,
    host::{HostCalls, HostTable},
    mqtt,
    pairs::bytes,
};

/// Looks up an extension by its name; null where there is none.
///
/// # Safety
/// `id` is null, or NUL-terminated.
pub(super) unsafe fn find(id: *const c_char) -> *const c_void {
    if id.is_null() {
        return std::ptr::null();
    }
    // SAFETY: as the caller vouches.
    match unsafe { CStr::from_ptr(id) }.to_str() {
        Ok(abi::EXT_REACH) => (&raw const REACH).cast(),
        Ok(abi::EXT_ACCEPT) => (&raw const ACCEPT).cast(),
        Ok(abi::EXT_EVENT) => (&raw const EVENT).cast(),
        Ok(abi::children::EXT_CHILDREN) => children::extension(),
        Ok(abi::mqtt::EXT_MQTT) => mqtt::extension(),
        Ok(_) | Err(_) => std::ptr::null(),
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the table has 24 bytes")]
static REACH: ExtReach =
    ExtReach { struct_size: size_of::<ExtReach>() as u32, reserved: 0, unreachable, reachable };

#[expect(clippy::cast_possible_truncation, reason = "the table has 16 bytes")]
static EVENT: ExtEvent = ExtEvent { struct_size: size_of::<ExtEvent>() as u32, reserved: 0, event };

#[expect(clippy::cast_possible_truncation, reason = "the table has 16 bytes")]
static ACCEPT: ExtAccept =
    ExtAccept { struct_size: size_of::<ExtAccept>() as u32, reserved: 0, accept };

unsafe extern "C" fn accept(host: *const Host, token: u64, within_ms: u64) -> i32 {
    // SAFETY: the plugin passes the table that it was given.
    let Some(calls) = (unsafe { HostTable::behind(host) }) else { return abi::ERR_GONE };
    if !(1..=abi::LONGEST_UNDER_WAY_MS).contains(&within_ms) {
        return abi::ERR_INVALID;
    }
    calls.accept(token, Duration::from_millis(within_ms))
}

unsafe extern "C" fn event(host: *const Host, property: Slice, kind: Slice) -> i32 {
    // SAFETY: the plugin passes the table that it was given.
    let Some(calls) = (unsafe { HostTable::behind(host) }) else { return abi::ERR_GONE };
    // SAFETY: the plugin's slices are valid during the call (M1).
    let property = String::from_utf8_lossy(unsafe { bytes(property) });
    // SAFETY: as above.
    calls.event(&property, &String::from_utf8_lossy(unsafe { bytes(kind) }))
}

unsafe extern "C" fn unreachable(host: *const Host, reason: Slice) -> i32 {
    // SAFETY: the plugin passes the table that it was given.
    let Some(calls) = (unsafe { HostTable::behind(host) }) else { return abi::ERR_GONE };
    // SAFETY: the plugin's slice is valid during the call (M1).
    calls.unreachable(&String::from_utf8_lossy(unsafe { bytes(reason) }))
}

unsafe extern "C" fn reachable(host: *const Host) -> i32 {
    // SAFETY: the plugin passes the table that it was given.
    unsafe { HostTable::behind(host) }.map_or(abi::ERR_GONE, HostCalls::reachable)
}
