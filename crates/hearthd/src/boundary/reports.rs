//! The host's extensions with which a device reports about itself (R1, E1): C functions in front of [`HostCalls`].

#![expect(unsafe_code, reason = "the tables are called from C with raw pointers")]

use std::ffi::{CStr, c_char, c_void};

use hearthd_sdk::abi::{self, ExtEvent, ExtReach, Host, Slice};

use super::{
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
        Ok(abi::EXT_EVENT) => (&raw const EVENT).cast(),
        Ok(abi::mqtt::EXT_MQTT) => mqtt::extension(),
        Ok(_) | Err(_) => std::ptr::null(),
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the table has 24 bytes")]
static REACH: ExtReach =
    ExtReach { struct_size: size_of::<ExtReach>() as u32, reserved: 0, unreachable, reachable };

#[expect(clippy::cast_possible_truncation, reason = "the table has 16 bytes")]
static EVENT: ExtEvent = ExtEvent { struct_size: size_of::<ExtEvent>() as u32, reserved: 0, event };

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
