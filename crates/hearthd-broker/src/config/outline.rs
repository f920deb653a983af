//! The part of the configuration that the command line needs to change accounts; it contains no passwords.

use std::path::{Path, PathBuf};

use hearthd_config::{Problems, Source, read};

use super::{
    Tls, WrittenAccount, WrittenCode,
    account::{Accounts, Passwords, WrittenAccounts},
    accounts_file, accounts_of,
    code::codes,
    config_file,
};
use crate::rights::Role;

/// The accounts, without their passwords.
#[derive(Debug)]
pub(crate) struct Outline {
    /// The home.
    pub home: String,
    /// `[tls]`, whose files need not be there.
    pub tls: Option<Tls>,
    /// The accounts of the configuration file.
    pub names: Vec<String>,
    /// The accounts file.
    pub accounts_file: PathBuf,
    /// The accounts in it.
    pub made: Vec<WrittenAccount>,
    /// The pairing codes in it, of accounts of both files.
    pub codes: Vec<WrittenCode>,
    /// The accounts of the configuration file, beside which those of the other must be right.
    configured: Accounts,
}

impl Outline {
    /// Reads the configuration file and the accounts file.
    ///
    /// # Errors
    /// Every problem of the files.
    pub(crate) fn load(path: &Path) -> Result<Self, Problems> {
        let (config, problems) = config_file(&Source::read(path)?, Passwords::Skip);
        if !problems.is_empty() {
            return Err(problems.into());
        }
        let written = match accounts_file(&config.accounts_file)? {
            Some(source) => written_in(&source, &config.credentials.accounts)?,
            None => WrittenAccounts::default(),
        };
        let WrittenAccounts { account: made, code: codes } = written;
        let configured = config.credentials.accounts;
        let names = configured.keys().map(|name| name.to_string()).collect();
        let home = config.credentials.home.to_string();
        let (tls, accounts_file) = (config.tls, config.accounts_file);
        Ok(Self { home, tls, names, accounts_file, made, codes, configured })
    }

    /// Returns whether an account of either file is that of a hub.
    pub(crate) fn is_hub(&self, name: &str) -> bool {
        let made = self.made.iter().find(|account| account.name == name);
        let configured = self.configured.get(name);
        made.and_then(|account| Role::parse(account.role.as_deref()?)) == Some(Role::Hub)
            || configured.is_some_and(|credential| credential.account.role == Role::Hub)
    }

    /// Returns the text of the accounts file.
    ///
    /// # Errors
    /// Where the broker would refuse it.
    pub(crate) fn text(&self) -> Result<String, Problems> {
        let path = &self.accounts_file;
        let written = WrittenAccounts { account: self.made.clone(), code: self.codes.clone() };
        let written = toml::to_string(&written).map_err(|error| {
            vec![Source::new(path, "").problem_at(None, "account", &error.to_string())]
        })?;
        let text = format!("{HEAD}{written}");
        written_in(&Source::new(path, &text), &self.configured)?;
        Ok(text)
    }
}

/// Reads the accounts file as it is written.
fn written_in(source: &Source, beside: &Accounts) -> Result<WrittenAccounts, Problems> {
    let (_, outcome) = read(source, None, |reader, root| {
        accounts_of(reader, root, &mut beside.clone(), Passwords::Skip);
        codes(reader, root);
    });
    if !outcome.problems.is_empty() {
        return Err(outcome.problems.into());
    }
    let written: Result<WrittenAccounts, _> = toml::from_str(source.text());
    Ok(written.map_err(|error| vec![source.problem_at(None, "account", error.message())])?)
}

const HEAD: &str =
    "# Written by `hearth-broker account`; the broker reads it again when it changes.\n\n";
