//! Secrets, which are in separate files and never in a configuration.

use std::{
    fs::{File, Metadata},
    io::ErrorKind,
    os::unix::fs::PermissionsExt as _,
    path::Path,
};

use crate::{Entry, Reader, regular};

/// Reads a file with a secret: one line of text, no longer than MQTT can carry (MQTT 1.5.6).
///
/// # Errors
/// A description for people.
pub fn read(path: &Path) -> Result<(String, Metadata), String> {
    let (text, metadata) = read_text(path)?;
    Ok((without_frame(text)?, metadata))
}

/// Returns whether a file is a credential that systemd gives to one service alone, and this program cannot read it:
/// it is there only while that service runs, and for nobody else.
pub fn is_withheld(path: &Path) -> bool {
    let unreadable = |error: std::io::Error| {
        matches!(error.kind(), ErrorKind::NotFound | ErrorKind::PermissionDenied)
    };
    path.starts_with(CREDENTIALS) && File::open(path).is_err_and(unreadable)
}

/// Warns of a secret that every account of this machine can read.
pub fn warn_of_readers(reader: &mut Reader, entry: &Entry<'_>, path: &Path, metadata: &Metadata) {
    if let Some(what) = warning_of_readers(path, metadata) {
        reader.warn(entry.at, &entry.path, what);
    }
}

/// Returns what to say of a secret that every account of this machine can read; `None` of any other.
pub fn warning_of_readers(path: &Path, metadata: &Metadata) -> Option<String> {
    let path = is_readable_by_all(path, metadata).then(|| path.display())?;
    Some(format!("{path} is readable by everybody here; run `chmod o-rwx {path}`"))
}

/// Removes what editors add around a password: the UTF-8 mark, and the end of the line.
///
/// # Errors
/// Nothing is left, or more than MQTT can carry.
pub fn without_frame(text: String) -> Result<String, String> {
    let password = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let password = password.trim_end_matches(['\r', '\n']);
    if password.trim().is_empty() {
        return Err("is empty".into());
    }
    check_length(password).map(|()| password.to_owned())
}

/// Checks that MQTT can carry a text (MQTT 1.5.4, 1.5.6).
///
/// # Errors
/// The text is too long.
pub fn check_length(text: &str) -> Result<(), String> {
    match text.len() {
        length if length > LONGEST => {
            Err(format!("has {length} bytes; MQTT carries {LONGEST} at the most"))
        }
        _ => Ok(()),
    }
}

fn read_text(path: &Path) -> Result<(String, Metadata), String> {
    let (bytes, metadata) = regular::read(path, MAX_FILE)?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let line = error.as_bytes()[..at].iter().filter(|byte| **byte == b'\n').count() + 1;
        format!("is not UTF-8, in line {line}")
    })?;
    Ok((text, metadata))
}

/// Returns whether other users may read a file, and may enter every folder on the way to it.
fn is_readable_by_all(path: &Path, metadata: &Metadata) -> bool {
    const READ: u32 = 0o004;
    const ENTER: u32 = 0o001;
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let is_open = |folder: &Path| {
        folder.metadata().is_ok_and(|folder| folder.permissions().mode() & ENTER != 0)
    };
    metadata.permissions().mode() & READ != 0 && path.ancestors().skip(1).all(is_open)
}

/// Where systemd puts the credentials of services, a folder for each.
const CREDENTIALS: &str = "/run/credentials";
/// The most bytes of a user name or a password.
const LONGEST: usize = u16::MAX as usize;
/// A larger file holds no password that could be sent, even if many line breaks end it.
const MAX_FILE: usize = 2 * LONGEST;
