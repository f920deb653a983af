//! Reads files that a person has named, whatever kind of file they are.

use std::{
    fs::{File, Metadata, OpenOptions},
    io::Read as _,
    os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _},
    path::Path,
};

/// Opens a file; refuses what could block an open or a read.
///
/// # Errors
/// A description for people.
pub(crate) fn open(path: &Path) -> Result<(File, Metadata), String> {
    // Without the flag, opening a FIFO waits for a writer.
    let opened = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path);
    let file = opened.map_err(|error| error.to_string())?;
    let metadata = file.metadata().map_err(|error| error.to_string())?;
    let kind = metadata.file_type();
    let what = if kind.is_dir() {
        "a folder"
    } else if kind.is_fifo() {
        "a FIFO"
    } else if kind.is_file() {
        return Ok((file, metadata));
    } else {
        "a device or a socket"
    };
    Err(format!("is {what}, not a file"))
}

/// Reads a file of at most `most` bytes.
///
/// # Errors
/// A description for people.
pub(crate) fn read(path: &Path, most: usize) -> Result<(Vec<u8>, Metadata), String> {
    let (file, metadata) = open(path)?;
    let mut bytes = Vec::new();
    let read = file.take(most as u64 + 1).read_to_end(&mut bytes);
    read.map_err(|error| error.to_string())?;
    if bytes.len() > most {
        return Err(format!("has more than {most} bytes"));
    }
    Ok((bytes, metadata))
}
