//! The exported symbol.

use super::{HostRef, contained};
use crate::abi::{self, Entry, Host, Kind, Prefix};
use crate::{log, scope};

/// The exported symbol's value.
#[repr(transparent)]
#[derive(Debug)]
pub struct Exported(Entry);

// SAFETY: an entry is immutable plain data, and its pointers lead to immutable statics.
unsafe impl Sync for Exported {}

impl Exported {
    /// Returns the entry.
    pub const fn entry(&self) -> &Entry {
        &self.0
    }
}

/// Builds the exported symbol's value; `kinds` are tables of `kind`, ended by a null pointer.
///
/// # Panics
///
/// Panics where two kinds have one name: in a static, that is an error of the compiler.
pub const fn entry(
    package: &str,
    version: &str,
    toolchain: &str,
    panic_abort: bool,
    kinds: &'static [*const Kind],
) -> Exported {
    assert!(kinds[kinds.len() - 1].is_null(), "the kinds end with a null pointer");
    let mut second = 1;
    while second + 1 < kinds.len() {
        let mut first = 0;
        while first < second {
            let same = equal(name(kinds[first]), name(kinds[second]));
            assert!(!same, "two kinds of this plugin have the same name, `Device::KIND`");
            first += 1;
        }
        second += 1;
    }
    #[expect(clippy::cast_possible_truncation, reason = "an entry has 144 bytes")]
    let prefix = Prefix {
        magic: abi::MAGIC,
        struct_size: size_of::<Entry>() as u32,
        abi_major: abi::ABI_MAJOR,
        abi_minor: abi::ABI_MINOR,
        host_minor_min: 0,
        reserved: 0,
        flags: if panic_abort { abi::FLAG_PANIC_ABORT } else { 0 },
        name: padded(package.as_bytes(), start_of_name(package.as_bytes())),
        version: padded(version.as_bytes(), 0),
        toolchain: padded(toolchain.as_bytes(), 0),
    };
    Exported(Entry { prefix, init: Some(init), kinds: kinds.as_ptr() })
}

/// The build that the plugin belongs to.
pub const BUILD: abi::Build = padded(env!("HEARTH_BUILD").as_bytes(), 0);

/// Returns the name of a kind whose table is a constant.
const fn name(kind: *const Kind) -> &'static [u8] {
    // SAFETY: `entry` is given the addresses of constants.
    let kind: &'static Kind = unsafe { &*kind };
    // SAFETY: the name of such a table is a constant as well.
    unsafe { kind.name.bytes() }
}

const fn equal(one: &[u8], other: &[u8]) -> bool {
    if one.len() != other.len() {
        return false;
    }
    let mut at = 0;
    while at < one.len() {
        if one[at] != other[at] {
            return false;
        }
        at += 1;
    }
    true
}

/// Takes the host of the plugin as a whole.
///
/// # Safety
///
/// `host` is null, or readable until the process ends (M3).
pub(super) unsafe extern "C" fn init(host: *const Host) -> i32 {
    contained(|| {
        // SAFETY: as the caller vouches.
        match unsafe { HostRef::new(host) } {
            Some(host) => {
                scope::set_plugin_host(host);
                log::install();
                abi::OK
            }
            None => abi::ERR_UNSUPPORTED,
        }
    })
}

/// Copies text into a field, cut so that a NUL ends it.
const fn padded<const N: usize>(text: &[u8], start: usize) -> [u8; N] {
    let mut field = [0; N];
    let mut at = 0;
    while at + 1 < N && start + at < text.len() {
        field[at] = text[start + at];
        at += 1;
    }
    field
}

/// Returns the length of the leading `hearthd-`, if a name follows it.
const fn start_of_name(package: &[u8]) -> usize {
    const LEADING: &[u8] = b"hearthd-";
    if package.len() <= LEADING.len() {
        return 0;
    }
    let mut at = 0;
    while at < LEADING.len() {
        if package[at] != LEADING[at] {
            return 0;
        }
        at += 1;
    }
    LEADING.len()
}
