//! The function table of the extension `hearth.children/1` of one kind, and the host's.

use std::ffi::c_void;

use super::kind::{Glue, Instance, answer, read_changes};
use super::{HostRef, contained, sink, text};
use crate::abi::children::{Child, HostChildren, KindChildren};
use crate::abi::{self, Command, Growing, Slice};
use crate::children::ChildDeclaration;
use crate::device::read_config;
use crate::{Device, Failure, scope};

impl<D: Device> Glue<D> {
    #[expect(clippy::cast_possible_truncation, reason = "the table has 48 bytes")]
    pub(super) const CHILDREN: &'static KindChildren = &KindChildren {
        struct_size: size_of::<KindChildren>() as u32,
        reserved: 0,
        may_add: Some(may_add::<D>),
        on_command: Some(on_command::<D>),
        on_timer: Some(on_timer::<D>),
        on_wake: Some(on_wake::<D>),
        on_refused: Some(on_refused::<D>),
    };
}

impl HostRef {
    /// Adds a child, and returns its host (N2).
    pub(crate) fn add_child(
        self,
        name: &str,
        declaration: &ChildDeclaration,
    ) -> Result<Self, Failure> {
        let Some(table) = self.children() else {
            return Err(Failure::failed("the hub is too old for devices that are added"));
        };
        let properties = declaration.as_json();
        let mut out = std::ptr::null();
        let (status, errors) = sink::collect(|errors| {
            #[expect(clippy::cast_possible_truncation, reason = "the struct has 104 bytes")]
            let child = Child {
                struct_size: size_of::<Child>() as u32,
                reserved: 0,
                name: Slice::new(name.as_bytes()),
                kind: Slice::new(declaration.kind.as_bytes()),
                title: Slice::new(declaration.title.as_bytes()),
                room: Slice::new(declaration.room.as_bytes()),
                properties: Slice::new(properties.as_bytes()),
                errors,
            };
            // SAFETY: the table is the function's own, and the struct and the place outlive the call (M1).
            unsafe { (table.add)(self.0, &raw const child, &raw mut out) }
        });
        if status == abi::OK {
            // SAFETY: the host of a child stays readable until the process ends (N2, M3).
            let host = unsafe { Self::new(out) };
            return host.ok_or_else(|| Failure::failed("the hub gives the child no host"));
        }
        let mut lines = errors.into_iter().map(|(path, message)| {
            let message = String::from_utf8_lossy(&message).into_owned();
            if path.is_empty() { message } else { format!("{path}: {message}") }
        });
        let message = lines.next().unwrap_or_else(|| format!("not added (status {status})"));
        Err(match status {
            abi::ERR_INVALID => Failure::invalid(message),
            abi::ERR_BUSY => Failure::busy(message),
            _ => Failure::failed(message),
        })
    }

    /// Removes a child (N4).
    pub(crate) fn remove_child(self, name: &str) -> i32 {
        let Some(table) = self.children() else { return abi::ERR_UNSUPPORTED };
        // SAFETY: the table is the function's own, and the slice outlives the call (M1).
        unsafe { (table.remove)(self.0, Slice::new(name.as_bytes())) }
    }

    /// Returns the names of all children (N3).
    pub(crate) fn list_children(self) -> Vec<String> {
        let Some(table) = self.children() else { return Vec::new() };
        // SAFETY: the table is the function's own, and the sink outlives the call.
        let (_, pairs) = sink::collect(|out| unsafe { (table.list)(self.0, out) });
        pairs.into_iter().map(|(name, _)| name).collect()
    }

    fn children(self) -> Option<HostChildren> {
        const _: () = assert!(
            size_of::<HostChildren>() == HostChildren::FIRST_SIZE,
            "no pointer may be zero"
        );
        // SAFETY: the extension of this name is such a table.
        unsafe { self.extension(c"hearth.children/1") }
    }
}

unsafe extern "C" fn may_add<D: Device>(config: Slice) -> i32 {
    contained(|| {
        // SAFETY: the host lends the configuration for this call (M1).
        let config = unsafe { config.bytes() };
        read_config::<D>(config).map_or(abi::ERR_INVALID, |config| D::may_add(&config).into())
    })
}

unsafe extern "C" fn on_command<D: Device>(
    instance: *mut c_void,
    child: Slice,
    command: *const Command,
) -> i32 {
    contained(|| {
        // SAFETY: the host's command begins with its size (S1).
        let Some(command) = (unsafe { Command::copied(command) }) else {
            return abi::ERR_UNSUPPORTED;
        };
        // SAFETY: the host passes a live instance, and calls on it do not overlap (T1).
        let instance = unsafe { Instance::<D>::borrow(instance) };
        // SAFETY: the host lends the name for this call (M1).
        let name = unsafe { text(child) };
        let Some(slot) = instance.children.find(&name) else { return abi::ERR_GONE };
        // SAFETY: the host lends what the command has for this call (M1).
        let changes = unsafe { read_changes(&slot.declared, &command) };
        match &mut *slot.lock() {
            Some(added) => {
                answer(added.host, command.token, changes, |changes| added.child.set(changes))
            }
            None => abi::ERR_GONE,
        }
    })
}

unsafe extern "C" fn on_timer<D: Device>(
    instance: *mut c_void,
    child: Slice,
    timer_id: u32,
) -> i32 {
    // SAFETY: the host passes a live instance and a name, as this function demands them.
    unsafe { call_child::<D>(instance, child, |child| child.timer(timer_id)) }
}

unsafe extern "C" fn on_wake<D: Device>(instance: *mut c_void, child: Slice) -> i32 {
    // SAFETY: as for a timer.
    unsafe { call_child::<D>(instance, child, |child| child.wake()) }
}

/// Calls a child that asks for no answer; one that is gone is not called.
///
/// # Safety
/// The instance is live and calls on it do not overlap (T1), and the name is lent for this call (M1).
unsafe fn call_child<D: Device>(
    instance: *mut c_void,
    child: Slice,
    call: impl FnOnce(&mut dyn crate::Child),
) -> i32 {
    contained(|| {
        // SAFETY: as the caller vouches.
        let instance = unsafe { Instance::<D>::borrow(instance) };
        // SAFETY: as the caller vouches.
        let name = unsafe { text(child) };
        let Some(slot) = instance.children.find(&name) else { return abi::OK };
        if let Some(added) = &mut *slot.lock() {
            let _scope = scope::enter(added.host, None);
            call(&mut *added.child);
        }
        abi::OK
    })
}

unsafe extern "C" fn on_refused<D: Device>(
    instance: *mut c_void,
    child: Slice,
    reason: Slice,
) -> i32 {
    contained(|| {
        // SAFETY: the host passes a live instance, and calls on it do not overlap (T1).
        let instance = unsafe { Instance::<D>::borrow(instance) };
        // SAFETY: the host lends the name for this call (M1).
        let name = unsafe { text(child) };
        // SAFETY: the host lends the reason for this call (M1).
        let reason = unsafe { text(reason) };
        drop(instance.children.replace(&name, None));
        instance.call(|device| device.child_refused(&name, &reason))
    })
}
