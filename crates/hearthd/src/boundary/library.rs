//! Loads a plugin file, and calls the functions of a kind that need no instance.

#![expect(unsafe_code, reason = "the plugin ABI is C: loading and calling it is unsafe by nature")]

use std::{error::Error, ffi::CString, path::Path, sync::Arc};

use hearthd_sdk::abi::{self, Growing};
use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW, Symbol};

use super::{
    host::{HostCalls, HostTable},
    pairs::{Pairs, bytes, sink, slice, texts},
};

/// The functions of one kind of device; its code stays until the process ends.
#[derive(Clone, Copy, Debug)]
pub struct KindTable {
    table: &'static abi::Kind,
    name: &'static str,
}

// SAFETY: the table is constant data, and its functions may be called from any thread (T1).
unsafe impl Send for KindTable {}
// SAFETY: as for Send.
unsafe impl Sync for KindTable {}

impl KindTable {
    /// Takes a kind's table.
    ///
    /// # Errors
    /// Where the table lacks a function that it must have, or has no name.
    ///
    /// # Safety
    /// The table and all that it points to follow the plugin ABI, and stay until the process ends.
    pub unsafe fn new(table: &'static abi::Kind) -> Result<Self, String> {
        // SAFETY: the name lives as long as the table.
        let name = unsafe { bytes(table.name) };
        let name = std::str::from_utf8(name).map_err(|_| "a kind's name is not UTF-8")?;
        if name.is_empty() {
            return Err("a kind has no name".into());
        }
        let missing = if table.describe.is_none() {
            "describe"
        } else if table.create.is_none() {
            "create"
        } else if table.destroy.is_none() {
            "destroy"
        } else {
            return Ok(Self { table, name });
        };
        Err(format!("kind `{name}` has no `{missing}`"))
    }

    /// Returns the name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Returns the table, for the calls on instances.
    pub(crate) fn table(&self) -> &'static abi::Kind {
        self.table
    }

    /// Copies what the kind offers under the name of an extension; `None` if it does not have it.
    ///
    /// # Safety
    /// `T` is the table that the header gives for this name.
    pub(super) unsafe fn extension<T: Growing>(&self, name: &str) -> Option<T> {
        let get_extension = self.table.get_extension?;
        let name = CString::new(name).expect("the name has no NUL");
        // SAFETY: the name outlives the call.
        let extension = unsafe { get_extension(name.as_ptr()) }.cast::<T>();
        if extension.is_null() {
            return None;
        }
        // SAFETY: an extension is constant data of a library that is never closed, and says its size.
        unsafe { T::copied(extension) }
    }

    /// Checks a device's table; returns (path, message) pairs.
    pub(crate) fn check_config(&self, config: &str) -> Vec<(String, String)> {
        let Some(check_config) = self.table.check_config else { return Vec::new() };
        let mut problems = Pairs::new();
        // SAFETY: the function is the plugin's, and config and sink outlive the call.
        let status = unsafe { check_config(slice(config.as_bytes()), sink(&mut problems)) };
        let mut problems = texts(problems);
        if status < 0 && problems.is_empty() {
            problems.push((String::new(), format!("refused by the plugin (status {status})")));
        }
        problems
    }

    /// Asks which properties a device with this table has: names and JSON declarations.
    ///
    /// # Errors
    /// Where the plugin fails.
    pub(crate) fn describe(&self, config: &str) -> Result<Vec<(String, String)>, String> {
        let describe = self.table.describe.expect("checked when the kind was made");
        let mut pairs = Pairs::new();
        // SAFETY: the function is the plugin's, and config and sink outlive the call.
        let status = unsafe { describe(slice(config.as_bytes()), sink(&mut pairs)) };
        if status < 0 {
            return Err(format!("the plugin cannot describe the device (status {status})"));
        }
        Ok(texts(pairs))
    }
}

/// Loads a private copy of a plugin whose identity has been checked; `calls` is its host without a device.
///
/// # Errors
/// Where the system cannot load it, or it does not begin.
pub(crate) fn load(copy: &Path, calls: Arc<dyn HostCalls>) -> Result<Vec<KindTable>, String> {
    // SAFETY: the identity says that the file is a plugin, whose constructors do nothing (L2).
    let library = unsafe { Library::open(Some(copy), RTLD_NOW | RTLD_LOCAL) };
    // Never closed: code that ran once may have left pointers anywhere (L2).
    let library: &'static Library =
        Box::leak(Box::new(library.map_err(|error| dl_reason(&error))?));
    // SAFETY: the ABI fixes the symbol's type, and the identity its version.
    let entry: Result<Symbol<*const abi::Entry>, _> =
        unsafe { library.get(abi::ENTRY_SYMBOL.as_bytes()) };
    let entry = entry.map_err(|error| dl_reason(&error))?.into_raw().cast::<abi::Entry>();
    // SAFETY: the symbol is an entry, which says its size.
    let entry = unsafe { abi::Entry::copied(entry) }.ok_or("its entry is too short")?;
    if let Some(init) = entry.init {
        // SAFETY: called once for this copy, with a table that is never freed (M3).
        let status = unsafe { init(HostTable::leak(calls).as_ptr()) };
        if status < 0 {
            return Err(format!("its init failed (status {status})"));
        }
    }
    collect_kinds(&entry)
}

/// Returns what the dynamic linker says; the error itself names the failed function alone.
fn dl_reason(error: &libloading::Error) -> String {
    error.source().map_or_else(|| error.to_string(), ToString::to_string)
}

fn collect_kinds(entry: &abi::Entry) -> Result<Vec<KindTable>, String> {
    const MOST: usize = 256;
    let mut kinds = Vec::new();
    if entry.kinds.is_null() {
        return Err("its list of kinds is missing".into());
    }
    for index in 0..MOST {
        // SAFETY: the list is ended by a null pointer, which is not passed.
        let place = unsafe { entry.kinds.add(index) };
        // SAFETY: as above.
        let table = unsafe { *place };
        if table.is_null() {
            return Ok(kinds);
        }
        // SAFETY: every version of the table starts with its size (S1).
        let table = unsafe { abi::Kind::copied(table) };
        let table = table.ok_or("a kind's table is shorter than in any version of this ABI")?;
        // As the library itself, for as long as the process lives.
        let table: &'static abi::Kind = Box::leak(Box::new(table));
        // SAFETY: it is the table of a library that is never closed.
        kinds.push(unsafe { KindTable::new(table) }?);
    }
    Err(format!("its list of kinds has no end within {MOST}"))
}
