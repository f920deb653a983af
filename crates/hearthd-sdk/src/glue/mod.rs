//! Where safe Rust meets the C ABI; the only module with `unsafe` beside `abi`.

mod children;
mod entry;
mod host;
mod kind;
mod mqtt;
mod reports;
mod secrets;
mod sink;
mod test_children;
mod test_instance;
mod test_reports;

pub use entry::{BUILD, Exported, entry};
pub(crate) use host::HostRef;
pub use kind::kind;
pub(crate) use test_instance::{ChildArguments, Script, TestInstance, check_config, describe};

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::abi;

/// Runs a callback so that no panic leaves it (F1).
fn contained(callback: impl FnOnce() -> i32) -> i32 {
    // After a panic the host destroys the instance (F2), so nobody sees what it left half done.
    catch_unwind(AssertUnwindSafe(callback)).unwrap_or_else(|payload| {
        // Dropping the payload could panic again.
        std::mem::forget(payload);
        abi::ERR_PANIC
    })
}

/// Copies text that the other side lent; what is not UTF-8 is replaced.
///
/// # Safety
///
/// As for [`abi::Slice::bytes`], for as long as the call takes.
unsafe fn text(slice: abi::Slice) -> String {
    // SAFETY: as the caller vouches.
    let bytes = unsafe { slice.bytes() };
    String::from_utf8_lossy(bytes).into_owned()
}
