//! The host's functions as safe methods.

use std::ffi::CStr;
use std::fmt;

use crate::abi::{self, Growing, Host, Slice};
use crate::{Failure, FailureKind};

/// A host's function table that stays readable until the process ends (M3).
#[derive(Clone, Copy)]
pub(crate) struct HostRef(pub(super) &'static Host);

// SAFETY: every host function may be called from any thread (T2), and the table itself never changes.
unsafe impl Send for HostRef {}
// SAFETY: as for Send.
unsafe impl Sync for HostRef {}

impl HostRef {
    /// Takes a table; none if it is null or lacks a function of minor 0 (S1).
    ///
    /// # Safety
    ///
    /// `host` is null, or its fields up to `struct_size` stay readable and unchanged until the process ends (M3).
    pub(crate) unsafe fn new(host: *const Host) -> Option<Self> {
        if host.is_null() {
            return None;
        }
        // SAFETY: not null, so `struct_size` is readable.
        let size = unsafe { (*host).struct_size };
        if (size as usize) < Host::FIRST_SIZE {
            return None;
        }
        const {
            assert!(
                size_of::<Host>() == Host::FIRST_SIZE,
                "a field of a later version must not be borrowed"
            )
        };
        // SAFETY: the size says that every field of the first version is there, and there are no others.
        Some(Self(unsafe { &*host }))
    }

    pub(crate) fn log(self, level: i32, target: &str, message: &str) {
        let (target, message) = (Slice::new(target.as_bytes()), Slice::new(message.as_bytes()));
        // SAFETY: the table is the function's own, and the slices outlive the call (M1).
        unsafe { (self.0.log)(self.0, level, target, message) }
    }

    pub(crate) fn log_enabled(self, level: i32) -> bool {
        // SAFETY: the table is the function's own.
        unsafe { (self.0.log_enabled)(self.0, level) != 0 }
    }

    pub(crate) fn publish(self, property: &str, payload: &[u8]) -> i32 {
        let (property, payload) = (Slice::new(property.as_bytes()), Slice::new(payload));
        // SAFETY: the table is the function's own, and the slices outlive the call (M1).
        unsafe { (self.0.publish)(self.0, property, payload, 0) }
    }

    pub(crate) fn complete(self, token: u64, status: i32, payload: &[u8]) -> i32 {
        // SAFETY: the table is the function's own, and the slice outlives the call (M1).
        unsafe { (self.0.complete)(self.0, token, status, Slice::new(payload)) }
    }

    pub(crate) fn fail(self, token: u64, failure: &Failure) -> i32 {
        self.complete(token, status(failure), failure.message().as_bytes())
    }

    pub(crate) fn set_timer(self, id: u32, delay_ms: u64) -> i32 {
        // SAFETY: the table is the function's own.
        unsafe { (self.0.set_timer)(self.0, id, delay_ms) }
    }

    pub(crate) fn wake(self) -> i32 {
        // SAFETY: the table is the function's own.
        unsafe { (self.0.wake)(self.0) }
    }

    pub(crate) fn now_ms(self) -> u64 {
        // SAFETY: the table is the function's own.
        unsafe { (self.0.now_ms)(self.0) }
    }
}

impl HostRef {
    pub(super) fn as_ptr(self) -> *const Host {
        self.0
    }

    /// Copies an extension of the host; none where the host does not have it.
    ///
    /// # Safety
    ///
    /// `T` is the table that the header gives for this name, and all its fields are of the table's first version.
    pub(super) unsafe fn extension<T: Growing>(self, name: &CStr) -> Option<T> {
        // SAFETY: the table is the function's own, and the name is NUL-terminated.
        let table = unsafe { (self.0.get_extension)(self.0, name.as_ptr()) };
        if table.is_null() {
            return None;
        }
        // SAFETY: the extension begins with its size (S1), and is as long as that says.
        unsafe { T::copied(table.cast()) }
    }
}

impl PartialEq for HostRef {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self.0, other.0)
    }
}

impl fmt::Debug for HostRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HostRef")
    }
}

/// Returns the status that stands for a failure.
pub(super) fn status(failure: &Failure) -> i32 {
    match failure.kind() {
        FailureKind::Failed => abi::ERR_FAILED,
        FailureKind::Invalid => abi::ERR_INVALID,
        FailureKind::Busy => abi::ERR_BUSY,
        FailureKind::Unreachable => abi::ERR_UNREACHABLE,
        FailureKind::Indeterminate => abi::ERR_INDETERMINATE,
    }
}
