//! One instance of a kind: every call into the plugin that needs one.

#![expect(unsafe_code, reason = "the plugin ABI is C: calling it is unsafe by nature")]

use std::{ffi::c_void, ptr, sync::Arc};

use hearth_sdk::abi::{self, Command, CreateArgs, ExtState};

use super::{Shared, host::HostTable};
use crate::plugin::{
    Kind,
    library::{Pairs, sink, slice, text},
};

/// A living instance; dropping it destroys it.
#[derive(Debug)]
pub(crate) struct Instance {
    kind: Kind,
    handle: *mut c_void,
    host: &'static HostTable,
    state: Option<&'static ExtState>,
}

// SAFETY: calls may come from different threads over time (T1), and the handle is used by its owner alone.
unsafe impl Send for Instance {}

/// A command for the instance.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Order<'a> {
    pub(crate) token: u64,
    pub(crate) deadline_ms: u64,
    /// The property; none for a set of several.
    pub(crate) property: Option<&'a str>,
    pub(crate) payload: &'a str,
}

impl Instance {
    /// Creates an instance with what its predecessor saved.
    pub(crate) fn create(
        kind: Kind,
        shared: &Arc<Shared>,
        saved: Option<&[u8]>,
    ) -> Result<Self, String> {
        let host = HostTable::leak(Arc::clone(shared));
        let config = shared.config.config.to_string();
        let mut problems = Pairs::new();
        let args = CreateArgs {
            struct_size: size_u32::<CreateArgs>(),
            reserved: 0,
            host: host.as_ptr(),
            device_id: slice(shared.config.id.as_bytes()),
            config: slice(config.as_bytes()),
            saved_state: slice(saved.unwrap_or_default()),
            errors: sink(&mut problems),
        };
        let create = kind.table().create.expect("checked when the kind was made");
        let mut handle = ptr::null_mut();
        // SAFETY: the arguments outlive the call, and the host table outlives everything (M1, M3).
        let status = unsafe { create(&raw const args, &raw mut handle) };
        if status < 0 {
            host.end();
            return Err(describe_failure(status, problems));
        }
        Ok(Self { kind, handle, host, state: state_extension(kind) })
    }

    pub(crate) fn command(&mut self, order: Order<'_>) -> i32 {
        let Some(on_command) = self.kind.table().on_command else { return abi::ERR_UNSUPPORTED };
        let command = Command {
            struct_size: size_u32::<Command>(),
            flags: if order.property.is_none() { abi::COMMAND_SET } else { 0 },
            token: order.token,
            deadline_ms: order.deadline_ms,
            name: slice(order.property.unwrap_or_default().as_bytes()),
            payload: slice(order.payload.as_bytes()),
        };
        // SAFETY: the handle is alive, calls do not overlap (T1), and the command outlives the call.
        unsafe { on_command(self.handle, &raw const command) }
    }

    pub(crate) fn timer(&mut self, id: u32) -> i32 {
        // SAFETY: the handle is alive, and calls do not overlap (T1).
        self.kind.table().on_timer.map_or(abi::OK, |call| unsafe { call(self.handle, id) })
    }

    pub(crate) fn wake(&mut self) -> i32 {
        // SAFETY: as for `timer`.
        self.kind.table().on_wake.map_or(abi::OK, |call| unsafe { call(self.handle) })
    }

    pub(crate) fn absence(&mut self, absence: &str) -> i32 {
        let Some(on_absence) = self.kind.table().on_absence else { return abi::OK };
        // SAFETY: as for `timer`, and the text outlives the call.
        unsafe { on_absence(self.handle, slice(absence.as_bytes())) }
    }

    /// Asks for what a successor should know.
    pub(crate) fn save(&mut self) -> Option<Vec<u8>> {
        let state = self.state?;
        let mut pairs = Pairs::new();
        // SAFETY: as for `timer`, and the sink outlives the call.
        let status = unsafe { (state.save)(self.handle, sink(&mut pairs)) };
        if status < 0 {
            return None;
        }
        pairs.pop().map(|(_, value)| value)
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        let destroy = self.kind.table().destroy.expect("checked when the kind was made");
        // SAFETY: the handle is alive, and no call follows (T1).
        unsafe { destroy(self.handle) };
        self.host.end();
    }
}

fn state_extension(kind: Kind) -> Option<&'static ExtState> {
    let get_extension = kind.table().get_extension?;
    let id = std::ffi::CString::new(abi::EXT_STATE).expect("the name has no NUL");
    // SAFETY: the name outlives the call.
    let extension = unsafe { get_extension(id.as_ptr()) }.cast::<ExtState>();
    if extension.is_null() {
        return None;
    }
    // SAFETY: an extension is constant data of a library that is never closed.
    let extension: &'static ExtState = unsafe { &*extension };
    (extension.struct_size as usize >= size_of::<ExtState>()).then_some(extension)
}

fn describe_failure(status: i32, problems: Pairs) -> String {
    if problems.is_empty() {
        return format!("the plugin cannot create the device (status {status})");
    }
    let lines = problems.into_iter().map(|(path, message)| match (text(path), text(message)) {
        (path, message) if path.is_empty() => message,
        (path, message) => format!("{path}: {message}"),
    });
    lines.collect::<Vec<_>>().join("; ")
}

fn size_u32<T>() -> u32 {
    u32::try_from(size_of::<T>()).expect("ABI structs are small")
}
