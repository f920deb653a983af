//! `[[account]]`, in the configuration and in the accounts file.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use hearthd_config::{Entry, Reader, Section, secret, wrong_type};
use serde::{Deserialize, Serialize};

use super::code::WrittenCode;
use crate::{
    accounts::{Credential, PasswordHash, Secret},
    rights::{Account, NamePattern, Right, Role, filter_fault},
};

/// Accounts by their names.
pub(super) type Accounts = BTreeMap<Arc<str>, Credential>;

/// Whether the files with passwords are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Passwords {
    Read,
    /// For people who look at the files by hand: credentials that systemd gives only to the service are left out, with
    /// a warning.
    ReadWithoutCredentials,
    /// For commands that only need to know which accounts exist.
    Skip,
}

/// The accounts file, as `hearth-broker account` writes it.
#[derive(Debug, Default, Deserialize, Serialize)]
pub(super) struct WrittenAccounts {
    /// `[[account]]`.
    #[serde(default)]
    pub(super) account: Vec<WrittenAccount>,
    /// `[[code]]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) code: Vec<WrittenCode>,
}

/// One `[[account]]` of the accounts file.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct WrittenAccount {
    /// User name.
    pub name: String,
    /// What the account is in the home.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// Argon2 hash of the password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_hash: Option<String>,
    /// File with the password or its hash.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_file: Option<String>,
    /// Client IDs that belong to the account.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub client_ids: Vec<String>,
    /// Devices that belong to the account, or are given to it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<String>,
    /// Topics beside those of the role.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rights: Vec<WrittenRight>,
}

/// One of `rights`.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct WrittenRight {
    /// A topic filter; `*` at the end of a level stands for any rest of it.
    pub filter: String,
    /// `read`, `write`, or both where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access: Option<String>,
}

/// Reads an account and adds it to those that there are.
pub(super) fn accounts(
    reader: &mut Reader,
    section: &mut Section<'_>,
    accounts: &mut Accounts,
    passwords: Passwords,
) {
    let taken = |name: &str| {
        let known = accounts.contains_key(name);
        if known { Err(format!("`{name}` is there twice")) } else { Ok(()) }
    };
    let name = reader.parsed(section, "name", |value| {
        let name = value.as_str().ok_or_else(|| wrong_type("a text in quotes", value))?;
        if name.is_empty() || name.chars().any(char::is_control) {
            return Err("must be a name without control characters".into());
        }
        taken(name).map(|()| name.to_owned())
    });
    reader.require(section, "name");
    let role = reader.parsed(section, "role", |value| {
        let known = || Role::GIVEN.map(Role::name).join(", ");
        let name = value.as_str().ok_or_else(|| wrong_type("a text in quotes", value))?;
        Role::parse(name).ok_or_else(|| format!("`{name}` is none of {}", known()))
    });
    let client_ids = names(reader, section, "client_ids");
    let devices = names(reader, section, "devices");
    let rights = reader.sections(section, "rights");
    let rights = rights.into_iter().filter_map(|section| right(reader, section)).collect();
    let secret = password(reader, section, passwords);
    let role = if section.has("role") { role } else { Some(Role::Everything) };
    // A hub that names no devices writes the states of all that no other one names.
    let has_the_rest = |it: &&Account| it.role == Role::Hub && it.devices.is_empty();
    let other = accounts.values().map(|known| &known.account).find(has_the_rest);
    if role == Some(Role::Hub)
        && devices.is_empty()
        && let Some(other) = other
    {
        let what = format!(
            "hub `{}` names no devices either, so each could write the states of the other's; name \
             the devices of this one",
            other.name
        );
        let at = section.value_at("name").unwrap_or(section.at);
        reader.problem(at, &section.path_of("devices"), what);
    }
    if let (Some(name), Some(role), Some(secret)) = (name, role, secret) {
        let name: Arc<str> = name.into();
        let account = Account { name: name.clone(), role, client_ids, devices, rights };
        accounts.insert(name, Credential { account, secret });
    }
}

/// Reads the password or its hash.
fn password(
    reader: &mut Reader,
    section: &mut Section<'_>,
    passwords: Passwords,
) -> Option<Secret> {
    let hash = reader.entry(section, "password_hash");
    let file = reader.entry(section, "password_file");
    let (entry, secret) = match (hash, file) {
        (Some(_), Some(file)) => {
            (file, Err("password_hash is there too; keep one of them".to_owned()))
        }
        (Some(hash), None) => {
            let secret = parse_hash(reader.entry_text(&hash)?);
            (hash, secret)
        }
        (None, Some(_)) if passwords == Passwords::Skip => {
            return Some(Secret::Plain(String::new().into()));
        }
        (None, Some(file)) => {
            let path = reader.entry_path(&file)?;
            if passwords == Passwords::ReadWithoutCredentials && secret::is_withheld(&path) {
                let what = format!(
                    "{} is not looked at: systemd makes it for the service alone, while that runs",
                    path.display()
                );
                reader.warn(file.at, &file.path, what);
                return Some(Secret::Plain(String::new().into()));
            }
            let secret = read_password(reader, &file, &path);
            (file, secret.map_err(|what| format!("{}: {what}", path.display())))
        }
        (None, None) => {
            let what = "give password_hash (`hearth-broker hash-password`) or password_file";
            reader.problem(section.at, &section.path, what);
            return None;
        }
    };
    secret.map_err(|what| reader.problem(entry.at, &entry.path, what)).ok()
}

fn names(reader: &mut Reader, section: &mut Section<'_>, key: &'static str) -> Vec<NamePattern> {
    let mut names = Vec::new();
    for (entry, text) in reader.texts(section, key).unwrap_or_default() {
        match NamePattern::parse(text) {
            Ok(name) => names.push(name),
            Err(error) => reader.problem(entry.at, &entry.path, format!("`{text}` {error}")),
        }
    }
    names
}

fn right(reader: &mut Reader, mut section: Section<'_>) -> Option<Right> {
    let filter = reader.parsed(&mut section, "filter", |value| {
        let filter = value.as_str().ok_or_else(|| wrong_type("a text in quotes", value))?;
        match filter_fault(filter) {
            Some(fault) => Err(format!("`{filter}`: {fault}")),
            None => Ok(filter.to_owned()),
        }
    });
    reader.require(&section, "filter");
    let access = reader.parsed(&mut section, "access", |value| match value.as_str() {
        Some("read") => Ok((true, false)),
        Some("write") => Ok((false, true)),
        _ => Err("must be \"read\" or \"write\"; leave it out for both".into()),
    });
    let (read, write) = if section.has("access") { access? } else { (true, true) };
    reader.finish(section);
    Some(Right { filter: filter?, read, write })
}

fn parse_hash(text: &str) -> Result<Secret, String> {
    PasswordHash::parse(text)
        .map(Secret::Hash)
        .map_err(|fault| format!("{fault}; `hearth-broker hash-password` makes one"))
}

fn read_password(reader: &mut Reader, entry: &Entry<'_>, path: &Path) -> Result<Secret, String> {
    let (text, metadata) = secret::read(path)?;
    secret::warn_of_readers(reader, entry, path, &metadata);
    if text.starts_with("$argon2") { parse_hash(&text) } else { Ok(Secret::Plain(text.into())) }
}
