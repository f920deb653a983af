//! `[[account]]`, in the configuration and in the accounts file.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::{Deserialize, Serialize};
use toml::Spanned;

use super::Check;
use crate::{
    accounts::{Credential, PasswordHash, Secret},
    rights::{Account, NamePattern, Right, Role, filter_fault},
};

/// The accounts file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawAccounts {
    /// `[[account]]`.
    #[serde(default)]
    pub account: Vec<Spanned<RawAccount>>,
}

/// One `[[account]]`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RawAccount {
    /// User name.
    pub name: Spanned<String>,
    /// What the account is in the home.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<Spanned<String>>,
    /// Argon2 hash of the password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_hash: Option<Spanned<String>>,
    /// File with the password or its hash.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_file: Option<Spanned<PathBuf>>,
    /// Client IDs that belong to the account.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub client_ids: Vec<Spanned<String>>,
    /// Devices that belong to the account, or are given to it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<Spanned<String>>,
    /// Topics beside those of the role.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rights: Vec<RawRight>,
}

/// One of `rights`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RawRight {
    /// A topic filter; `*` at the end of a level stands for any rest of it.
    pub filter: Spanned<String>,
    /// `read`, `write`, or both where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access: Option<Spanned<String>>,
}

impl Check<'_> {
    /// Checks accounts and adds them to those of other files.
    pub(super) fn accounts(
        &mut self,
        raw: &[Spanned<RawAccount>],
        accounts: &mut BTreeMap<Arc<str>, Credential>,
    ) {
        for raw in raw {
            let name = raw.get_ref().name.get_ref().as_str();
            let at = raw.get_ref().name.span().start;
            if name.is_empty() || name.chars().any(char::is_control) {
                self.problem(at, "account.name: must be a name without control characters");
            } else if accounts.contains_key(name) {
                self.problem(at, &format!("account.name: `{name}` is there twice"));
            }
            if let Some(credential) = self.account(raw) {
                accounts.insert(credential.account.name.clone(), credential);
            }
        }
    }

    /// Checks that one hub at most names no devices: another one could write the states of its devices.
    pub(super) fn hubs(&mut self, raw: &[Spanned<RawAccount>], of_the_rest: &mut Option<String>) {
        for raw in raw {
            let account = raw.get_ref();
            let is_hub = account.role.as_ref().is_some_and(|role| role.get_ref() == "hub");
            if !is_hub || !account.devices.is_empty() {
                continue;
            }
            let name = account.name.get_ref();
            match of_the_rest {
                None => *of_the_rest = Some(name.clone()),
                Some(other) => {
                    let what = format!(
                        "account.devices: hub `{other}` names no devices either, so each could write \
                         the states of the other's; name those of `{name}`"
                    );
                    self.problem(account.name.span().start, &what);
                }
            }
        }
    }

    fn account(&mut self, raw: &Spanned<RawAccount>) -> Option<Credential> {
        let at = raw.span().start;
        let raw = raw.get_ref();
        let role = match &raw.role {
            None => Role::Everything,
            Some(role) => self.role(role)?,
        };
        let client_ids = self.names(&raw.client_ids, "client_ids");
        let devices = self.names(&raw.devices, "devices");
        let rights = raw.rights.iter().filter_map(|right| self.right(right)).collect();
        let (place, secret) = match (&raw.password_hash, &raw.password_file) {
            (Some(hash), None) => (hash.span().start, parse_hash(hash.get_ref())),
            (None, Some(file)) => (file.span().start, read_password(&self.resolve(file.get_ref()))),
            (Some(_), Some(file)) => (
                file.span().start,
                Err("password_file: password_hash is there too; keep one of them".into()),
            ),
            (None, None) => (
                at,
                Err("give password_hash (`hearth-broker hash-password`) or password_file".into()),
            ),
        };
        match secret {
            Ok(secret) => {
                let name = raw.name.get_ref().as_str().into();
                let account = Account { name, role, client_ids, devices, rights };
                Some(Credential { account, secret })
            }
            Err(what) => {
                self.problem(place, &format!("account.{what}"));
                None
            }
        }
    }

    fn role(&mut self, raw: &Spanned<String>) -> Option<Role> {
        let role = Role::parse(raw.get_ref());
        if role.is_none() {
            let known = Role::GIVEN.map(Role::name).join(", ");
            let what = format!("account.role: `{}` is none of {known}", raw.get_ref());
            self.problem(raw.span().start, &what);
        }
        role
    }

    fn names(&mut self, raw: &[Spanned<String>], key: &str) -> Vec<NamePattern> {
        let mut names = Vec::new();
        for raw in raw {
            match NamePattern::parse(raw.get_ref()) {
                Ok(name) => names.push(name),
                Err(error) => {
                    let what = format!("account.{key}: `{}` {error}", raw.get_ref());
                    self.problem(raw.span().start, &what);
                }
            }
        }
        names
    }

    fn right(&mut self, raw: &RawRight) -> Option<Right> {
        let filter = raw.filter.get_ref();
        if let Some(fault) = filter_fault(filter) {
            let what = format!("account.rights: `{filter}`: {fault}");
            self.problem(raw.filter.span().start, &what);
            return None;
        }
        let (read, write) = match raw.access.as_ref().map(|access| access.get_ref().as_str()) {
            None => (true, true),
            Some("read") => (true, false),
            Some("write") => (false, true),
            Some(_) => {
                let at = raw.access.as_ref().map_or(0, |access| access.span().start);
                self.problem(at, "account.rights: access is `read`, `write`, or left out for both");
                return None;
            }
        };
        Some(Right { filter: filter.clone(), read, write })
    }
}

fn parse_hash(text: &str) -> Result<Secret, String> {
    PasswordHash::parse(text).map(Secret::Hash).ok_or_else(|| {
        "password_hash: is no argon2 hash; `hearth-broker hash-password` makes one".into()
    })
}

fn read_password(path: &Path) -> Result<Secret, String> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| format!("password_file: {}: {error}", path.display()))?;
    // The mark of UTF-8 at its start is no part of it, for the hub neither.
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    match text.trim_end_matches(['\r', '\n']) {
        "" => Err(format!("password_file: {} is empty", path.display())),
        hash if hash.starts_with("$argon2") => parse_hash(hash),
        password => Ok(Secret::Plain(password.into())),
    }
}
