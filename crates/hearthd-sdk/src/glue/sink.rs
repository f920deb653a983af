//! Pairs of slices that one side passes to the other.

use std::ffi::c_void;

use crate::Problem;
use crate::abi::{Sink, Slice};

/// Puts one pair into the other side's sink.
///
/// # Safety
///
/// The sink is the one that the other side passed to the callback at hand.
pub(super) unsafe fn put(sink: Sink, key: &str, value: &[u8]) {
    // SAFETY: the caller vouches for the sink, and the slices outlive the call (M1).
    unsafe { (sink.put)(sink.ctx, Slice::new(key.as_bytes()), Slice::new(value)) }
}

/// Puts the problems of a configuration (F3).
///
/// # Safety
///
/// As for [`put`].
pub(super) unsafe fn put_problems(sink: Sink, problems: &[Problem]) {
    for problem in problems {
        // SAFETY: as the caller vouches.
        unsafe { put(sink, &problem.path, problem.message.as_bytes()) }
    }
}

/// Key and value pairs.
pub(crate) type Pairs = Vec<(String, Vec<u8>)>;

/// Returns what a callback puts into a sink, beside its status.
pub(super) fn collect(callback: impl FnOnce(Sink) -> i32) -> (i32, Pairs) {
    let mut pairs = Pairs::new();
    let status = callback(Sink { ctx: (&raw mut pairs).cast(), put: take });
    (status, pairs)
}

unsafe extern "C" fn take(ctx: *mut c_void, key: Slice, value: Slice) {
    // SAFETY: `collect` made the context from exclusive pairs that outlive the callback.
    let pairs = unsafe { &mut *ctx.cast::<Pairs>() };
    // SAFETY: the plugin lends the key for this call (M1).
    let key = unsafe { super::text(key) };
    // SAFETY: the plugin lends the value for this call (M1).
    let value = unsafe { value.bytes() };
    pairs.push((key, value.to_vec()));
}
