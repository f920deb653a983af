//! A device's table with its secrets in place of what says where they are.

use std::{
    env, fmt,
    path::{Path, PathBuf},
};

use hearthd_config::secret;
use serde_json::Value as Json;

/// A device's table as its plugin gets it, as JSON; no debug print shows it.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct FilledTable(String);

impl FilledTable {
    /// Returns the JSON.
    pub(crate) fn json(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for FilledTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FilledTable(..)")
    }
}

/// What is wrong with keys of a table: the path below the table, and the text.
pub(crate) type Remarks = Vec<(String, String)>;

/// Reads the secrets at these places, JSON Pointers into the table; paths start at `folder`.
///
/// Returns the table, and what is unwise about it.
///
/// # Errors
/// Every secret that cannot be read.
pub(crate) fn fill(
    table: &Json,
    places: &[String],
    folder: &Path,
) -> Result<(FilledTable, Remarks), Remarks> {
    let mut filled = table.clone();
    let (mut problems, mut warnings) = (Remarks::new(), Remarks::new());
    for place in places {
        let path = || path_of(table, place);
        let Some(value) = filled.pointer_mut(place) else { continue };
        match value {
            Json::Object(reference) => {
                let text = file_of(reference, folder)
                    .and_then(|(key, file)| read(&file).map_err(|what| (Some(key), what)));
                match text {
                    Ok((text, warning)) => {
                        *value = text.into();
                        warnings.extend(warning.map(|what| (path(), what)));
                    }
                    Err((key, what)) => {
                        let key = key.map(|key| format!(".{key}")).unwrap_or_default();
                        problems.push((path() + &key, what));
                    }
                }
            }
            Json::String(_) => {
                let what = format!(
                    "is a secret, and here for everybody who can read this file; write {WANTED}"
                );
                warnings.push((path(), what));
            }
            // The plugin says what it takes.
            Json::Null | Json::Bool(_) | Json::Number(_) | Json::Array(_) => {}
        }
    }
    if problems.is_empty() {
        Ok((FilledTable(filled.to_string()), warnings))
    } else {
        Err(problems)
    }
}

/// Returns the file that a secret is in, and the key that says so.
fn file_of(
    reference: &serde_json::Map<String, Json>,
    folder: &Path,
) -> Result<(&'static str, PathBuf), (Option<&'static str>, String)> {
    let text = |key| reference.get(key).and_then(Json::as_str).filter(|text| !text.is_empty());
    match (text("file"), text("credential"), reference.len()) {
        (Some(file), None, 1) => Ok(("file", folder.join(file))),
        (None, Some(name), 1) if is_one_name(name) => Ok(("credential", credentials().join(name))),
        (None, Some(name), 1) => {
            Err((Some("credential"), format!("`{name}` is no name of a credential")))
        }
        _ => Err((None, format!("must be {WANTED}"))),
    }
}

fn read(file: &Path) -> Result<(String, Option<String>), String> {
    let (text, metadata) =
        secret::read(file).map_err(|what| format!("{}: {what}", file.display()))?;
    Ok((text, secret::warning_of_readers(file, &metadata)))
}

/// Returns where systemd has put the hub's credentials. Other programs, such as `hearthd check` by hand, find them where
/// systemd puts those of the packaged unit.
fn credentials() -> PathBuf {
    env::var_os("CREDENTIALS_DIRECTORY").map_or_else(|| PACKAGED.into(), PathBuf::from)
}

fn is_one_name(name: &str) -> bool {
    !name.contains(['/', '\0']) && !matches!(name, "." | "..")
}

/// Writes a JSON Pointer as the path of a key, such as `accounts[0].password`.
fn path_of(table: &Json, pointer: &str) -> String {
    let (mut path, mut value) = (String::new(), Some(table));
    for token in pointer.split('/').skip(1) {
        let token = token.replace("~1", "/").replace("~0", "~");
        if let Some(Json::Array(array)) = value {
            path += &format!("[{token}]");
            value = token.parse::<usize>().ok().and_then(|index| array.get(index));
        } else {
            let dot = if path.is_empty() { "" } else { "." };
            path += &format!("{dot}{token}");
            value = value.and_then(|value| value.get(&token));
        }
    }
    path
}

/// What to write for a secret.
const WANTED: &str = "{ file = \"FILE\" } or { credential = \"NAME\" }";
/// Where systemd puts the credentials of the packaged unit.
const PACKAGED: &str = "/run/credentials/hearthd.service";
