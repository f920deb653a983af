//! The plugin ABI, version 1.3: `include/hearth_plugin.h` in Rust.
//!
//! Layout and rules are the header's; the rule numbers below (L1, M1, ...) refer to it. Nothing here
//! depends on a compiler version: plain C data, C function pointers, fields that are only ever appended.

use std::ffi::{c_char, c_void};

/// The name of the one exported data symbol.
pub const ENTRY_SYMBOL: &str = "hearth_plugin_entry_v1";
/// The name of the data symbol of a plugin that was built with the hub itself: a [`Build`].
pub const BUILD_SYMBOL: &str = "hearth_plugin_build_v1";
/// The first eight bytes of [`Prefix`].
pub const MAGIC: [u8; 8] = *b"HEARTHP\0";
/// The ABI major version: a host loads only its own.
pub const ABI_MAJOR: u16 = 1;
/// The ABI minor version: grows when fields are appended.
pub const ABI_MINOR: u16 = 3;

/// Done.
pub const OK: i32 = 0;
/// `complete` was or will be called exactly once with the command's token (C1).
pub const PENDING: i32 = 1;
/// The device failed.
pub const ERR_FAILED: i32 = -1;
/// The value or the argument is not acceptable.
pub const ERR_INVALID: i32 = -2;
/// The operation is not provided.
pub const ERR_UNSUPPORTED: i32 = -3;
/// Try again later.
pub const ERR_BUSY: i32 = -4;
/// The instance or the token no longer exists.
pub const ERR_GONE: i32 = -5;
/// The data does not fit.
pub const ERR_TOO_LARGE: i32 = -6;
/// A panic was caught at the boundary (F2).
pub const ERR_PANIC: i32 = -7;
/// The device cannot reach what it stands for (R1); since 1.1.
pub const ERR_UNREACHABLE: i32 = -8;
/// Nobody can tell whether the changes are, or will be, applied (C4); since 1.1.
pub const ERR_INDETERMINATE: i32 = -9;

/// Log levels of [`Host::log`].
pub const LOG_ERROR: i32 = 1;
/// See [`LOG_ERROR`].
pub const LOG_WARN: i32 = 2;
/// See [`LOG_ERROR`].
pub const LOG_INFO: i32 = 3;
/// See [`LOG_ERROR`].
pub const LOG_DEBUG: i32 = 4;
/// See [`LOG_ERROR`].
pub const LOG_TRACE: i32 = 5;

/// [`Prefix::flags`]: a panic in this plugin aborts the process.
pub const FLAG_PANIC_ABORT: u32 = 1;
/// [`Command::flags`]: the payload is a JSON object of several properties (C0).
pub const COMMAND_SET: u32 = 1;
/// The longest time that a command may be under way, in milliseconds: a day (C5).
pub const LONGEST_UNDER_WAY_MS: u64 = 24 * 60 * 60 * 1000;
/// The delay that disarms a timer.
pub const TIMER_CANCEL: u64 = u64::MAX;
/// The extension through which a kind saves state.
pub const EXT_STATE: &str = "hearth.state/1";

/// A struct that begins with its size, and that later minor versions append fields to (S1).
///
/// # Safety
///
/// The type is `repr(C)`, all bits of zero are a value of each of its fields beyond [`Growing::FIRST_SIZE`], and the
/// `u32` at [`Growing::SIZE_AT`] is the struct's size as its writer knows it.
#[expect(unsafe_code, reason = "whoever implements it vouches for a layout")]
pub unsafe trait Growing: Sized {
    /// The size in the minor version 0: none is shorter.
    const FIRST_SIZE: usize;
    /// Where its size stands in it.
    const SIZE_AT: usize = 0;

    /// Copies a struct of the other side, of whatever minor version; fields that it does not have are zero.
    ///
    /// Returns none where it is shorter than it ever was.
    ///
    /// # Safety
    ///
    /// `from` leads to as many readable bytes as the struct says to have, and at least to its size.
    #[expect(unsafe_code, reason = "the struct lies behind a pointer of the other side")]
    unsafe fn copied(from: *const Self) -> Option<Self> {
        let bytes = from.cast::<u8>();
        // SAFETY: the size is within the struct.
        let size = unsafe { bytes.add(Self::SIZE_AT) }.cast::<u32>();
        // SAFETY: the caller vouches for the size at least.
        let size = unsafe { size.read() } as usize;
        if size < Self::FIRST_SIZE {
            return None;
        }
        let mut copy = std::mem::MaybeUninit::<Self>::zeroed();
        let length = size.min(size_of::<Self>());
        // SAFETY: so many bytes are readable there, and fit here.
        unsafe { bytes.copy_to_nonoverlapping(copy.as_mut_ptr().cast::<u8>(), length) };
        // SAFETY: what the first version had is copied, and zeros are a value of the rest.
        Some(unsafe { copy.assume_init() })
    }
}

macro_rules! growing {
    ($($name:ident up to $last:ident: $type:ty, $bytes:literal or $few:literal bytes;)+) => {$(
        // SAFETY: the struct is C's, begins with its size, and has no more fields than those of its first version.
        #[expect(unsafe_code, reason = "the layout is the header's")]
        unsafe impl Growing for $name {
            const FIRST_SIZE: usize = std::mem::offset_of!(Self, $last) + size_of::<$type>();
        }
        const _: () = assert!(
            $name::FIRST_SIZE == if cfg!(target_pointer_width = "64") { $bytes } else { $few },
            "plugins that were built against the first version have this size"
        );
    )+};
}

growing! {
    Host up to get_extension: usize, 80 or 44 bytes;
    CreateArgs up to errors: Sink, 80 or 44 bytes;
    Command up to payload: Slice, 56 or 40 bytes;
    Kind up to get_extension: usize, 112 or 60 bytes;
    ExtState up to save: usize, 16 or 12 bytes;
}

// SAFETY: as for the others; the size stands behind the magic.
#[expect(unsafe_code, reason = "the layout is the header's")]
unsafe impl Growing for Entry {
    const FIRST_SIZE: usize = std::mem::offset_of!(Self, kinds) + size_of::<usize>();
    const SIZE_AT: usize = std::mem::offset_of!(Prefix, struct_size);
}

pub mod children;
pub mod mqtt;
mod reports;
mod secrets;

pub use reports::{EXT_ACCEPT, EXT_EVENT, EXT_REACH, ExtAccept, ExtEvent, ExtReach};
pub use secrets::{EXT_SECRET, ExtSecret};

/// A borrowed run of bytes, valid until the callee returns (M1).
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Slice {
    /// First byte; null means empty.
    pub ptr: *const u8,
    /// Length in bytes.
    pub len: usize,
}

impl Slice {
    /// No bytes.
    pub const EMPTY: Self = Self { ptr: std::ptr::null(), len: 0 };

    /// Borrows bytes; whoever keeps the slice keeps them alive (M1).
    pub const fn new(bytes: &[u8]) -> Self {
        Self { ptr: bytes.as_ptr(), len: bytes.len() }
    }

    /// Returns the bytes.
    ///
    /// # Safety
    ///
    /// Unless `ptr` is null, `ptr` and `len` describe bytes that stay readable and unchanged for `'a` (M1).
    #[expect(unsafe_code, reason = "the bytes lie behind a pointer of the other side")]
    pub const unsafe fn bytes<'a>(self) -> &'a [u8] {
        if self.ptr.is_null() {
            return &[];
        }
        // SAFETY: the caller vouches for a pointer that is not null.
        unsafe { std::slice::from_raw_parts(self.ptr, self.len) }
    }
}

/// Where a callee puts key and value pairs (M2).
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Sink {
    /// Passed back to `put`.
    pub ctx: *mut c_void,
    /// Takes one pair; copies what it keeps.
    pub put: unsafe extern "C" fn(ctx: *mut c_void, key: Slice, value: Slice),
}

/// The host's functions for one device (M3, T2).
#[repr(C)]
#[derive(Debug)]
pub struct Host {
    /// Size of this struct as the host knows it.
    pub struct_size: u32,
    /// The host's ABI minor version.
    pub abi_minor: u16,
    /// Zero.
    pub reserved: u16,
    /// The host's own data.
    pub ctx: *mut c_void,
    /// Writes one log line.
    pub log: unsafe extern "C" fn(*const Host, level: i32, target: Slice, msg: Slice),
    /// Non-zero when a line of this level would be written.
    pub log_enabled: unsafe extern "C" fn(*const Host, level: i32) -> i32,
    /// Reports a property's state (C3).
    pub publish:
        unsafe extern "C" fn(*const Host, property: Slice, payload: Slice, reserved: u32) -> i32,
    /// Answers a pending command (C1).
    pub complete: unsafe extern "C" fn(*const Host, token: u64, status: i32, payload: Slice) -> i32,
    /// Arms a one-shot timer (C2).
    pub set_timer: unsafe extern "C" fn(*const Host, timer_id: u32, delay_ms: u64) -> i32,
    /// Queues one `on_wake`.
    pub wake: unsafe extern "C" fn(*const Host) -> i32,
    /// Milliseconds of CLOCK_MONOTONIC.
    pub now_ms: unsafe extern "C" fn(*const Host) -> u64,
    /// Looks up an extension of the host by its NUL-terminated name.
    pub get_extension: unsafe extern "C" fn(*const Host, id: *const c_char) -> *const c_void,
}

/// The arguments of [`Kind::create`].
#[repr(C)]
#[derive(Debug)]
pub struct CreateArgs {
    /// Size of this struct as the host knows it.
    pub struct_size: u32,
    /// Zero.
    pub reserved: u32,
    /// The host's functions for this device.
    pub host: *const Host,
    /// The device ID of the configuration.
    pub device_id: Slice,
    /// The device's `config` table as a JSON object.
    pub config: Slice,
    /// What [`ExtState::save`] wrote, or empty.
    pub saved_state: Slice,
    /// Takes (path, message) pairs on failure (F3).
    pub errors: Sink,
}

/// One command (C0).
#[repr(C)]
#[derive(Debug)]
pub struct Command {
    /// Size of this struct as the host knows it.
    pub struct_size: u32,
    /// [`COMMAND_SET`] or zero.
    pub flags: u32,
    /// Names the command in `complete`.
    pub token: u64,
    /// On the `now_ms` clock; zero means none.
    pub deadline_ms: u64,
    /// The property; empty with [`COMMAND_SET`].
    pub name: Slice,
    /// The value, or a JSON object with [`COMMAND_SET`].
    pub payload: Slice,
}

/// One kind of device.
#[repr(C)]
#[derive(Debug)]
pub struct Kind {
    /// Size of this struct as the plugin knows it.
    pub struct_size: u32,
    /// Zero.
    pub reserved: u32,
    /// The name that `plugin = "..."` gives in the configuration.
    pub name: Slice,
    /// JSON Schema of the config table; may be empty.
    pub config_schema: Slice,
    /// Checks a config table without I/O.
    pub check_config: Option<unsafe extern "C" fn(config: Slice, errors: Sink) -> i32>,
    /// Declares the properties that a device with this config has (D1).
    pub describe: Option<unsafe extern "C" fn(config: Slice, properties: Sink) -> i32>,
    /// Makes an instance (F3).
    pub create: Option<unsafe extern "C" fn(args: *const CreateArgs, out: *mut *mut c_void) -> i32>,
    /// Ends an instance; no call follows.
    pub destroy: Option<unsafe extern "C" fn(instance: *mut c_void)>,
    /// Applies a command (C1).
    pub on_command:
        Option<unsafe extern "C" fn(instance: *mut c_void, command: *const Command) -> i32>,
    /// A timer fired (C2).
    pub on_timer: Option<unsafe extern "C" fn(instance: *mut c_void, timer_id: u32) -> i32>,
    /// `wake` was called (C2).
    pub on_wake: Option<unsafe extern "C" fn(instance: *mut c_void) -> i32>,
    /// The hub learned what became of its will (A1).
    pub on_absence: Option<unsafe extern "C" fn(instance: *mut c_void, absence: Slice) -> i32>,
    /// Looks up an extension of the kind by its NUL-terminated name.
    pub get_extension: Option<unsafe extern "C" fn(id: *const c_char) -> *const c_void>,
}

/// The plain data at the front of the exported symbol, read from the file before it is loaded (L1).
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Prefix {
    /// [`MAGIC`].
    pub magic: [u8; 8],
    /// Size of [`Entry`] as the plugin knows it.
    pub struct_size: u32,
    /// [`ABI_MAJOR`] of the plugin.
    pub abi_major: u16,
    /// [`ABI_MINOR`] of the plugin.
    pub abi_minor: u16,
    /// The oldest host minor version it runs on.
    pub host_minor_min: u16,
    /// Zero.
    pub reserved: u16,
    /// [`FLAG_PANIC_ABORT`] or zero.
    pub flags: u32,
    /// The plugin's name, NUL-padded.
    pub name: [u8; 32],
    /// The plugin's version, NUL-padded.
    pub version: [u8; 24],
    /// The compiler, NUL-padded; for messages only (L3).
    pub toolchain: [u8; 48],
}

/// Names the build that a plugin belongs to, NUL-padded; empty outside the hub's own workspace.
///
/// A plugin of the hub's own build runs in the hub where nothing else is configured.
pub type Build = [u8; 32];

/// The exported symbol.
#[repr(C)]
#[derive(Debug)]
pub struct Entry {
    /// See [`Prefix`].
    pub prefix: Prefix,
    /// Called once for each loaded copy.
    pub init: Option<unsafe extern "C" fn(host: *const Host) -> i32>,
    /// The kinds, ended by a null pointer.
    pub kinds: *const *const Kind,
}

/// [`EXT_STATE`] of a kind.
#[repr(C)]
#[derive(Debug)]
pub struct ExtState {
    /// Size of this struct as the plugin knows it.
    pub struct_size: u32,
    /// Zero.
    pub reserved: u32,
    /// Puts one pair: an empty key and the state as bytes.
    pub save: unsafe extern "C" fn(instance: *mut c_void, out: Sink) -> i32,
}

const _: () = assert!(size_of::<Prefix>() == 128, "L1: the host reads the first 128 bytes");

#[cfg(test)]
mod tests {
    use super::*;

    /// A command as a later version may have it.
    #[repr(C)]
    struct Later {
        first: Command,
        more: Option<unsafe extern "C" fn()>,
    }

    // SAFETY: the struct is C's, begins with its size, and the field beyond the first version may be zero.
    #[expect(unsafe_code, reason = "the layout is the test's")]
    unsafe impl Growing for Later {
        const FIRST_SIZE: usize = Command::FIRST_SIZE;
    }

    fn command(size: usize) -> Command {
        let struct_size = u32::try_from(size).unwrap();
        Command {
            struct_size,
            flags: 0,
            token: 7,
            deadline_ms: 8,
            name: Slice::new(b"power"),
            payload: Slice::new(b"ON"),
        }
    }

    #[test]
    #[expect(unsafe_code, reason = "the other side is a pointer")]
    fn either_side_may_be_the_older_one() {
        unsafe extern "C" fn more() {}
        let old = command(size_of::<Command>());
        // SAFETY: the struct has the size that it says.
        let read = unsafe { Later::copied((&raw const old).cast()) }.unwrap();
        assert_eq!((read.first.token, read.more.is_none()), (7, true));
        let new = Later { first: command(size_of::<Later>()), more: Some(more) };
        // SAFETY: as above.
        let read = unsafe { Command::copied((&raw const new).cast()) }.unwrap();
        assert_eq!((read.token, read.deadline_ms, read.payload.len), (7, 8, 2));
        // SAFETY: as above.
        let read = unsafe { Later::copied(&raw const new) }.unwrap();
        assert!(read.more.is_some());
        let short = command(Command::FIRST_SIZE - 1);
        // SAFETY: as above.
        assert!(unsafe { Command::copied(&raw const short) }.is_none());
    }
}
