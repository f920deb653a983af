//! `[broker] username`, `password_file` and `password_env`.

use std::path::Path;

use hearthd_config::{
    Entry, Reader, Section,
    secret::{self, warn_of_readers},
    wrong_type,
};

use super::Secret;

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
            let text = secret::read(&path).map(|(text, metadata)| {
                warn_of_readers(reader, &file, &path, &metadata);
                text
            });
            let named = |what| format!("{}: {what}", path.display());
            (file, text.map_err(named))
        }
        (None, Some(variable)) => {
            let text = match variable.value.as_str() {
                Some(name) => std::env::var(name)
                    .map_err(|error| error.to_string())
                    .and_then(secret::without_frame)
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
    let text = secret::read(path);
    text.map(|(text, _)| Secret::new(text)).map_err(|what| format!("{}: {what}", path.display()))
}

/// Checks that MQTT can carry a user name.
pub(super) fn check_username(name: &str) -> Result<(), String> {
    if name.is_empty() {
        return Err("is empty; write a text or delete it".into());
    }
    if name.contains('\0') {
        return Err("contains U+0000, which MQTT does not allow".into());
    }
    secret::check_length(name)
}
