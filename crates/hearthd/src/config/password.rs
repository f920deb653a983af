//! `[broker] username`, `password_file` and `password_env`.

use std::{fs::Metadata, os::unix::fs::PermissionsExt as _, path::Path};

use super::{
    Secret,
    reader::{Entry, Reader, Section, wrong_type},
    regular,
};

/// Reads the user name and the password, which go together in CONNECT.
pub(super) fn account(
    reader: &mut Reader,
    broker: &mut Section<'_>,
) -> (Option<String>, Option<Secret>) {
    let username = reader.parsed(broker, "username", |value| {
        let name = value.as_str().ok_or_else(|| wrong_type("a text in quotes", value))?;
        check_username(name).map(|()| name.to_owned())
    });
    let has_username = broker.has("username");
    let Some((entry, password)) = password(reader, broker) else { return (username, None) };
    if !has_username {
        // MQTT 5 allows it, and hardly any broker knows what to do about it.
        let what = "a password needs a username as well; write username = \"NAME\"";
        reader.problem(entry.at, &entry.path, what);
    }
    match password {
        Ok(password) => (username, Some(password)),
        Err(what) => {
            reader.problem(entry.at, &entry.path, what);
            (username, None)
        }
    }
}

/// Warns of a secret that every account of this machine can read.
pub(super) fn warn_of_readers(
    reader: &mut Reader,
    entry: &Entry<'_>,
    path: &Path,
    metadata: &Metadata,
) {
    if is_readable_by_all(path, metadata) {
        let path = path.display();
        let what = format!("{path} is readable by everybody here; run `chmod o-rwx {path}`");
        reader.warn(entry.at, &entry.path, what);
    }
}

/// Reads the password from where the configuration says.
fn password<'t>(
    reader: &mut Reader,
    broker: &mut Section<'t>,
) -> Option<(Entry<'t>, Result<Secret, String>)> {
    let file = reader.entry(broker, "password_file");
    let variable = reader.entry(broker, "password_env");
    let (entry, text) = match (file, variable) {
        (Some(_), Some(variable)) => {
            (variable, Err("password_file is there too; keep one of them".to_owned()))
        }
        (Some(file), None) => {
            let path = reader.entry_path(&file)?;
            let text = read_text(&path).map(|(text, metadata)| {
                warn_of_readers(reader, &file, &path, &metadata);
                text
            });
            let named = |what| format!("{}: {what}", path.display());
            (file, text.and_then(without_frame).map_err(named))
        }
        (None, Some(variable)) => {
            let text = match variable.value.as_str() {
                Some(name) => std::env::var(name)
                    .map_err(|error| error.to_string())
                    .and_then(without_frame)
                    .map_err(|what| format!("{name}: {what}")),
                None => Err(wrong_type("a variable's name in quotes", variable.value)),
            };
            (variable, text)
        }
        (None, None) => return None,
    };
    Some((entry, text.map(Secret::new)))
}

/// Reads the text of a password's file.
///
/// # Errors
/// What is wrong with it, for people.
pub(super) fn read_password(path: &Path) -> Result<Secret, String> {
    let text = read_text(path).and_then(|(text, _)| without_frame(text));
    text.map(Secret::new).map_err(|what| format!("{}: {what}", path.display()))
}

/// Checks that MQTT can carry a user name.
pub(super) fn check_username(name: &str) -> Result<(), String> {
    if name.is_empty() {
        return Err("is empty; write a text or delete it".into());
    }
    if name.contains('\0') {
        return Err("contains U+0000, which MQTT does not allow".into());
    }
    check_length(name)
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

/// Takes off what editors put around a password: the mark of UTF-8, and the line's end.
fn without_frame(text: String) -> Result<String, String> {
    let password = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let password = password.trim_end_matches(['\r', '\n']);
    if password.trim().is_empty() {
        return Err("is empty".into());
    }
    check_length(password).map(|()| password.to_owned())
}

/// Checks that MQTT can carry a text (MQTT 1.5.4, 1.5.6).
fn check_length(text: &str) -> Result<(), String> {
    match text.len() {
        length if length > LONGEST => {
            Err(format!("has {length} bytes; MQTT carries {LONGEST} at the most"))
        }
        _ => Ok(()),
    }
}

/// Returns whether others may read a file, and may go through every folder on the way to it.
fn is_readable_by_all(path: &Path, metadata: &Metadata) -> bool {
    const READ: u32 = 0o004;
    const ENTER: u32 = 0o001;
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let is_open = |folder: &Path| {
        folder.metadata().is_ok_and(|folder| folder.permissions().mode() & ENTER != 0)
    };
    metadata.permissions().mode() & READ != 0 && path.ancestors().skip(1).all(is_open)
}

/// Bytes of a user name or a password.
const LONGEST: usize = u16::MAX as usize;
/// A file of more bytes holds no password that could be sent, however many line breaks end it.
const MAX_FILE: usize = 2 * LONGEST;
