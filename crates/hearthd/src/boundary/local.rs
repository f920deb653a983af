//! An instance in this process: every call into the plugin that needs an instance.

#![expect(unsafe_code, reason = "the plugin ABI is C: calling it is unsafe by nature")]

use std::{ffi::c_void, ptr, sync::Arc};

use hearthd_sdk::abi::{self, Command, CreateArgs, ExtState};

use super::{
    call::{Call, ChildCall, CreateArguments, InstanceError, PANICKED},
    children::ChildrenOfKind,
    host::{HostCalls, HostTable},
    library::KindTable,
    mqtt::{KindCalls, MqttCall},
    pairs::{Pairs, sink, slice, text},
};

/// A living instance; dropping it destroys it.
#[derive(Debug)]
pub(crate) struct Local {
    kind: KindTable,
    handle: *mut c_void,
    host: &'static HostTable,
    state: Option<ExtState>,
    mqtt: Option<KindCalls>,
    children: Option<ChildrenOfKind>,
}

// SAFETY: calls may come from different threads over time (T1), and the handle is used by its owner alone.
unsafe impl Send for Local {}

impl Local {
    /// Creates an instance with what its predecessor saved.
    pub(crate) fn create(
        kind: KindTable,
        calls: Arc<dyn HostCalls>,
        arguments: CreateArguments<'_>,
    ) -> Result<Self, InstanceError> {
        let host = HostTable::leak(calls);
        let mut problems = Pairs::new();
        let args = CreateArgs {
            struct_size: size_u32::<CreateArgs>(),
            reserved: 0,
            host: host.as_ptr(),
            device_id: slice(arguments.device.as_bytes()),
            config: slice(arguments.config.as_bytes()),
            saved_state: slice(arguments.saved.unwrap_or_default()),
            errors: sink(&mut problems),
        };
        let create = kind.table().create.expect("checked when the kind was made");
        let mut handle = ptr::null_mut();
        // SAFETY: the arguments outlive the call, and the host table outlives everything (M1, M3).
        let status = unsafe { create(&raw const args, &raw mut handle) };
        if status == abi::OK {
            // SAFETY: the extension of this name is such a table.
            let state = unsafe { kind.extension(abi::EXT_STATE) };
            let mqtt = KindCalls::of(kind);
            let children = ChildrenOfKind::of(kind);
            return Ok(Self { kind, handle, host, state, mqtt, children });
        }
        host.end();
        Err(match status {
            abi::ERR_PANIC => InstanceError::Crashed(PANICKED.into()),
            _ => InstanceError::Refused(describe_failure(status, problems)),
        })
    }

    /// Calls the plugin; returns its status code, [`abi::OK`] or another.
    pub(crate) fn call(&mut self, call: Call<'_>) -> i32 {
        let (table, handle) = (self.kind.table(), self.handle);
        match call {
            Call::Command { token, deadline_ms, property, payload } => {
                let Some(on_command) = table.on_command else { return abi::ERR_UNSUPPORTED };
                let command = command(token, deadline_ms, property, payload);
                // SAFETY: the handle is alive, calls do not overlap (T1), and the command outlives the call.
                unsafe { on_command(handle, &raw const command) }
            }
            Call::Timer(id) => {
                // SAFETY: the handle is alive, and calls do not overlap (T1).
                table.on_timer.map_or(abi::OK, |call| unsafe { call(handle, id) })
            }
            Call::Wake => {
                // SAFETY: as for a timer.
                table.on_wake.map_or(abi::OK, |call| unsafe { call(handle) })
            }
            Call::Absence(absence) => {
                let Some(on_absence) = table.on_absence else { return abi::OK };
                // SAFETY: as for a timer, and the text outlives the call.
                unsafe { on_absence(handle, slice(absence.as_bytes())) }
            }
            Call::Message { topic, payload, retained } => {
                self.call_mqtt(MqttCall::Message { topic, payload, retained })
            }
            Call::Link(up) => self.call_mqtt(MqttCall::Link(up)),
            Call::Outcome { token, status, reply } => {
                self.call_mqtt(MqttCall::Outcome { token, status, reply })
            }
            Call::Child { child, call } => {
                let Some(children) = &self.children else { return abi::ERR_UNSUPPORTED };
                if let ChildCall::Refused(_) = call {
                    self.host.end_child(child);
                }
                // SAFETY: the handle is alive, and calls do not overlap (T1).
                unsafe { children.call(handle, child, call) }
            }
        }
    }

    fn call_mqtt(&mut self, call: MqttCall<'_>) -> i32 {
        // SAFETY: the handle is alive, and calls do not overlap (T1).
        self.mqtt.as_ref().map_or(abi::OK, |mqtt| unsafe { mqtt.call(self.handle, call) })
    }

    /// Asks for what a successor should know.
    pub(crate) fn save(&mut self) -> Result<Option<Vec<u8>>, InstanceError> {
        let Some(state) = &self.state else { return Ok(None) };
        let mut pairs = Pairs::new();
        // SAFETY: the handle is alive, calls do not overlap (T1), and the sink outlives the call.
        let status = unsafe { (state.save)(self.handle, sink(&mut pairs)) };
        match status {
            abi::OK => Ok(pairs.pop().map(|(_, value)| value)),
            abi::ERR_PANIC => Err(InstanceError::Crashed(PANICKED.into())),
            _ => Ok(None),
        }
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        let destroy = self.kind.table().destroy.expect("checked when the kind was made");
        // SAFETY: the handle is alive, and no call follows (T1).
        unsafe { destroy(self.handle) };
        self.host.end();
    }
}

/// Writes a command as a plugin reads it; it borrows the texts.
pub(super) fn command(
    token: u64,
    deadline_ms: u64,
    property: Option<&str>,
    payload: &str,
) -> Command {
    Command {
        struct_size: size_u32::<Command>(),
        flags: if property.is_none() { abi::COMMAND_SET } else { 0 },
        token,
        deadline_ms,
        name: slice(property.unwrap_or_default().as_bytes()),
        payload: slice(payload.as_bytes()),
    }
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

/// The stack of a thread that calls plugins.
pub(crate) const STACK_SIZE: usize = 512 * 1024;
