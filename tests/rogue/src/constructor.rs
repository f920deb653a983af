//! Code that runs as soon as the file is loaded, which tells a test that it was.

#![expect(unsafe_code, reason = "a constructor is a section of the file")]

use std::fs;

// SAFETY: the section holds pointers to functions that the loader calls once, with arguments that may be ignored.
#[used]
#[unsafe(link_section = ".init_array")]
static CONSTRUCTOR: extern "C" fn() = constructor;

/// Leaves a file beside the one that is being loaded.
extern "C" fn constructor() {
    let maps = fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let mut paths = maps.lines().filter_map(|line| Some(&line[line.find('/')?..]));
    if let Some(path) = paths.rfind(|path| path.contains("rogue") && path.ends_with(".so")) {
        // A folder that cannot be written to tells nothing.
        let _ = fs::write(format!("{path}.constructed"), "");
    }
}
