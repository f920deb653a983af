//! Where a device's table has secrets: an extension of the kind, since version 1.2.

use super::{Growing, Sink, Slice};

/// The extension through which a kind says which keys of a table are secrets (K1).
pub const EXT_SECRET: &str = "hearth.secret/1";

/// [`EXT_SECRET`] of a kind.
#[repr(C)]
#[derive(Debug)]
pub struct ExtSecret {
    /// Size of this struct as the plugin knows it.
    pub struct_size: u32,
    /// Zero.
    pub reserved: u32,
    /// Puts the place of each secret as a JSON Pointer, with an empty value.
    pub secrets: Option<unsafe extern "C" fn(config: Slice, out: Sink) -> i32>,
}

growing! {
    ExtSecret up to secrets: usize, 16 or 12 bytes;
}
