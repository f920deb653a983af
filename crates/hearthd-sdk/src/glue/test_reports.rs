//! The host's extensions, for the harness.

use std::ffi::{CStr, c_char, c_void};

use super::test_children::CHILDREN;
use super::test_instance::{Script, script, send};
use super::text;
use crate::abi::children::EXT_CHILDREN;
use crate::abi::mqtt::{EXT_MQTT, HostMqtt};
use crate::abi::{self, ExtAccept, ExtEvent, ExtReach, Host, Slice};

/// Looks up an extension of the harness's host.
pub(super) unsafe extern "C" fn get_extension(_: *const Host, id: *const c_char) -> *const c_void {
    if id.is_null() {
        return std::ptr::null();
    }
    // SAFETY: the SDK passes a NUL-terminated name.
    match unsafe { CStr::from_ptr(id) }.to_str() {
        Ok(abi::EXT_REACH) => (&raw const REACH).cast(),
        Ok(abi::EXT_ACCEPT) => (&raw const ACCEPT).cast(),
        Ok(abi::EXT_EVENT) => (&raw const EVENT).cast(),
        Ok(EXT_CHILDREN) => (&raw const CHILDREN).cast(),
        Ok(EXT_MQTT) => (&raw const MQTT).cast(),
        Ok(_) | Err(_) => std::ptr::null(),
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the table has 16 bytes")]
static MQTT: HostMqtt =
    HostMqtt { struct_size: size_of::<HostMqtt>() as u32, reserved: 0, publish: send };

#[expect(clippy::cast_possible_truncation, reason = "the table has 24 bytes")]
static REACH: ExtReach =
    ExtReach { struct_size: size_of::<ExtReach>() as u32, reserved: 0, unreachable, reachable };

#[expect(clippy::cast_possible_truncation, reason = "the table has 16 bytes")]
static EVENT: ExtEvent = ExtEvent { struct_size: size_of::<ExtEvent>() as u32, reserved: 0, event };

#[expect(clippy::cast_possible_truncation, reason = "the table has 16 bytes")]
static ACCEPT: ExtAccept =
    ExtAccept { struct_size: size_of::<ExtAccept>() as u32, reserved: 0, accept };

unsafe extern "C" fn accept(host: *const Host, token: u64, within_ms: u64) -> i32 {
    // SAFETY: the SDK passes the host it was given.
    unsafe { script(host) }.map_or(abi::ERR_GONE, |script| script.accept(token, within_ms))
}

unsafe extern "C" fn event(host: *const Host, property: Slice, kind: Slice) -> i32 {
    // SAFETY: the SDK passes the host it was given.
    let Some(script) = (unsafe { script(host) }) else { return abi::ERR_GONE };
    // SAFETY: the SDK lends the name for this call (M1).
    let property = unsafe { text(property) };
    // SAFETY: the SDK lends the kind for this call (M1).
    script.event(&property, &unsafe { text(kind) })
}

unsafe extern "C" fn unreachable(host: *const Host, reason: Slice) -> i32 {
    // SAFETY: the SDK passes the host it was given.
    let Some(script) = (unsafe { script(host) }) else { return abi::ERR_GONE };
    // SAFETY: the SDK lends the reason for this call (M1).
    script.reach(Some(unsafe { text(reason) }))
}

unsafe extern "C" fn reachable(host: *const Host) -> i32 {
    // SAFETY: the SDK passes the host it was given.
    unsafe { script(host) }.map_or(abi::ERR_GONE, |script: &dyn Script| script.reach(None))
}
