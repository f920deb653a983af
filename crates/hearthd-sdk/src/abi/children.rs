//! The extension `hearth.children/1`: a device adds and removes devices of its own while it runs.
//!
//! Layout and rules (N1 to N7) are those of `include/hearth_children.h`.

use std::ffi::c_void;

use super::{Command, Growing, Host, Sink, Slice};

/// The name of the extension, on both sides.
pub const EXT_CHILDREN: &str = "hearth.children/1";

/// How many children a device may have (N2).
pub const MOST_CHILDREN: usize = 256;
/// How many bytes the declarations of one child may have (N2).
pub const MOST_DECLARED: usize = 16 * 1024;

/// A device that another one adds (N2).
#[repr(C)]
#[derive(Debug)]
pub struct Child {
    /// Size of this struct as the plugin knows it.
    pub struct_size: u32,
    /// Zero.
    pub reserved: u32,
    /// Its name: what follows the parent's ID in its own.
    pub name: Slice,
    /// What it is, for people; empty for the parent's kind.
    pub kind: Slice,
    /// Name for people; may be empty.
    pub title: Slice,
    /// The room that it is in; empty for the parent's.
    pub room: Slice,
    /// A JSON object of names and declarations (D1).
    pub properties: Slice,
    /// Takes (path, message) pairs on failure.
    pub errors: Sink,
}

/// [`EXT_CHILDREN`] of the host.
#[repr(C)]
#[derive(Debug)]
pub struct HostChildren {
    /// Size of this struct as the host knows it.
    pub struct_size: u32,
    /// Zero.
    pub reserved: u32,
    /// Adds a child, and gives its host (N2).
    pub add: unsafe extern "C" fn(*const Host, *const Child, out: *mut *const Host) -> i32,
    /// Removes a child (N4).
    pub remove: unsafe extern "C" fn(*const Host, name: Slice) -> i32,
    /// Puts the names of all children (N3).
    pub list: unsafe extern "C" fn(*const Host, out: Sink) -> i32,
}

/// [`EXT_CHILDREN`] of a kind.
#[repr(C)]
#[derive(Debug)]
pub struct KindChildren {
    /// Size of this struct as the plugin knows it.
    pub struct_size: u32,
    /// Zero.
    pub reserved: u32,
    /// Returns 1 where a device with this table may add others, else 0.
    pub may_add: Option<unsafe extern "C" fn(config: Slice) -> i32>,
    /// Applies a command of a child (N5).
    pub on_command: Option<
        unsafe extern "C" fn(instance: *mut c_void, child: Slice, command: *const Command) -> i32,
    >,
    /// A child's timer fired (N5).
    pub on_timer:
        Option<unsafe extern "C" fn(instance: *mut c_void, child: Slice, timer_id: u32) -> i32>,
    /// `wake` was called on a child's host (N5).
    pub on_wake: Option<unsafe extern "C" fn(instance: *mut c_void, child: Slice) -> i32>,
    /// A child is none after all (N6).
    pub on_refused:
        Option<unsafe extern "C" fn(instance: *mut c_void, child: Slice, reason: Slice) -> i32>,
}

growing! {
    Child up to errors: Sink, 104 or 56 bytes;
    HostChildren up to list: usize, 32 or 20 bytes;
    KindChildren up to on_refused: usize, 48 or 28 bytes;
}
