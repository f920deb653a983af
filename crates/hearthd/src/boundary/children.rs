//! The extension `hearth.children/1`: what the host offers, and every call of what a kind offers.

#![expect(
    unsafe_code,
    reason = "the plugin ABI is C: calling it, and being called, is unsafe by nature"
)]

use std::ffi::c_void;

use hearthd_sdk::abi::{
    self, Growing, Host, Sink, Slice,
    children::{Child, EXT_CHILDREN, HostChildren, KindChildren},
};

use super::{
    call::{ChildCall, ChildRefusal, NewChild},
    host::HostTable,
    library::KindTable,
    local::command,
    pairs::{bytes, slice},
};

/// Returns the host's table, the same for all devices.
pub(super) fn extension() -> *const c_void {
    static TABLE: HostChildren = HostChildren { struct_size: SIZE, reserved: 0, add, remove, list };
    (&raw const TABLE).cast()
}

unsafe extern "C" fn add(host: *const Host, child: *const Child, out: *mut *const Host) -> i32 {
    // SAFETY: the plugin passes the table that it was given.
    let Some(table) = (unsafe { HostTable::alive(host) }) else { return abi::ERR_GONE };
    if child.is_null() || out.is_null() {
        return abi::ERR_INVALID;
    }
    // SAFETY: the plugin's struct begins with its size (S1).
    let Some(lent) = (unsafe { Child::copied(child) }) else { return abi::ERR_UNSUPPORTED };
    // SAFETY: the plugin's slices are valid during the call (M1).
    let text = |slice: Slice| String::from_utf8_lossy(unsafe { bytes(slice) });
    let child = NewChild {
        name: &text(lent.name),
        kind: &text(lent.kind),
        title: &text(lent.title),
        room: &text(lent.room),
        properties: &text(lent.properties),
    };
    match table.add_child(&child) {
        Ok(added) => {
            // SAFETY: the plugin passes a place for the host (N2).
            unsafe { out.write(added.as_ptr()) };
            abi::OK
        }
        Err(ChildRefusal { status, path, message }) => {
            let (path, message) = (slice(path.as_bytes()), slice(message.as_bytes()));
            // SAFETY: the sink is the plugin's, and what it is given outlives the call.
            unsafe { (lent.errors.put)(lent.errors.ctx, path, message) };
            status
        }
    }
}

unsafe extern "C" fn remove(host: *const Host, name: Slice) -> i32 {
    // SAFETY: the plugin passes the table that it was given.
    let Some(table) = (unsafe { HostTable::alive(host) }) else { return abi::ERR_GONE };
    // SAFETY: the plugin's slice is valid during the call (M1).
    table.remove_child(&String::from_utf8_lossy(unsafe { bytes(name) }))
}

unsafe extern "C" fn list(host: *const Host, out: Sink) -> i32 {
    // SAFETY: the plugin passes the table that it was given.
    let Some(calls) = (unsafe { HostTable::behind(host) }) else { return abi::ERR_GONE };
    for name in calls.list_children() {
        // SAFETY: the sink is the plugin's, and the name outlives the call.
        unsafe { (out.put)(out.ctx, slice(name.as_bytes()), slice(&[])) };
    }
    abi::OK
}

/// What a kind offers of the extension.
#[derive(Debug)]
pub(super) struct ChildrenOfKind(KindChildren);

impl ChildrenOfKind {
    /// Looks up what a kind offers.
    pub(super) fn of(kind: KindTable) -> Option<Self> {
        // SAFETY: the extension of this name is such a table.
        unsafe { kind.extension(EXT_CHILDREN) }.map(Self)
    }

    /// Calls an instance about one of its children.
    ///
    /// # Safety
    /// The handle is that of a living instance of the kind, and no other call on it overlaps (T1).
    pub(super) unsafe fn call(&self, handle: *mut c_void, child: &str, call: ChildCall<'_>) -> i32 {
        let name = slice(child.as_bytes());
        match call {
            ChildCall::Command { token, deadline_ms, property, payload } => {
                let Some(on_command) = self.0.on_command else { return abi::ERR_UNSUPPORTED };
                let command = command(token, deadline_ms, property, payload);
                // SAFETY: as the caller vouches, and what is lent outlives the call.
                unsafe { on_command(handle, name, &raw const command) }
            }
            ChildCall::Timer(id) => {
                // SAFETY: as the caller vouches, and the name outlives the call.
                self.0.on_timer.map_or(abi::OK, |call| unsafe { call(handle, name, id) })
            }
            ChildCall::Wake => {
                // SAFETY: as for a timer.
                self.0.on_wake.map_or(abi::OK, |call| unsafe { call(handle, name) })
            }
            ChildCall::Refused(reason) => {
                let reason = slice(reason.as_bytes());
                // SAFETY: as for a timer.
                self.0.on_refused.map_or(abi::OK, |call| unsafe { call(handle, name, reason) })
            }
        }
    }
}

impl KindTable {
    /// Returns whether a device with this table may add devices of its own.
    pub(crate) fn may_add(&self, config: &str) -> bool {
        let may_add = ChildrenOfKind::of(*self).and_then(|kind| kind.0.may_add);
        // SAFETY: the function is the plugin's, and the table outlives the call.
        may_add.is_some_and(|may_add| unsafe { may_add(slice(config.as_bytes())) } > 0)
    }
}

const SIZE: u32 = {
    assert!(size_of::<HostChildren>() < 64);
    #[expect(clippy::cast_possible_truncation, reason = "it was just checked")]
    let size = size_of::<HostChildren>() as u32;
    size
};
