//! `[broker] password_file` and `password_env`.

use std::path::Path;

use super::{
    Secret,
    reader::{Reader, Section, wrong_type},
    regular,
};

/// Reads the password from where the configuration says.
pub(super) fn password(reader: &mut Reader, broker: &mut Section<'_>) -> Option<Secret> {
    let file = reader.entry(broker, "password_file");
    let variable = reader.entry(broker, "password_env");
    let (entry, outcome) = match (file, variable) {
        (Some(_), Some(variable)) => {
            (variable, Err("password_file is there too; keep one of them".to_owned()))
        }
        (Some(file), None) => {
            let path = reader.entry_path(&file)?;
            let text = from_file(&path).map_err(|what| format!("{}: {what}", path.display()));
            (file, text)
        }
        (None, Some(variable)) => {
            let value = match variable.value.as_str() {
                Some(name) => std::env::var(name).map_err(|error| format!("{name}: {error}")),
                None => Err(wrong_type("a variable's name in quotes", variable.value)),
            };
            (variable, value)
        }
        (None, None) => return None,
    };
    match outcome {
        Ok(text) => Some(Secret::new(text.trim_end_matches(['\r', '\n']).to_owned())),
        Err(what) => {
            reader.problem(entry.at, &entry.path, what);
            None
        }
    }
}

fn from_file(path: &Path) -> Result<String, String> {
    let (bytes, _) = regular::read(path, MAX_FILE)?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let line = error.as_bytes()[..at].iter().filter(|byte| **byte == b'\n').count() + 1;
        format!("is not UTF-8, in line {line}")
    })?;
    if text.trim().is_empty() { Err("is empty".into()) } else { Ok(text) }
}

/// A file of more bytes holds no password that could be sent, however many line breaks end it.
const MAX_FILE: usize = 128 * 1024;
