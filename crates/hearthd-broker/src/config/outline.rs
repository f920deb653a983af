//! What the command line needs of the configuration to change accounts: no password is read.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use serde::Serialize;

use super::{Check, Problems, RawAccount, RawAccounts, RawConfig, Tls};

/// The accounts, without their passwords.
#[derive(Debug)]
pub struct Outline {
    /// The home.
    pub home: String,
    /// `[tls]`, whose files need not be there.
    pub tls: Option<Tls>,
    /// The accounts of the configuration file.
    pub names: Vec<String>,
    /// The hub of the configuration file that names no devices.
    hub_of_the_rest: Option<String>,
    /// The accounts file.
    pub accounts_file: PathBuf,
    /// The accounts in it.
    pub made: Vec<RawAccount>,
}

impl Outline {
    /// Reads the configuration file and the accounts file.
    ///
    /// # Errors
    /// Where one cannot be read or is no TOML.
    pub fn load(path: &Path) -> Result<Self, Problems> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            Problems(vec![format!("{}: {error}; give --config FILE", path.display())])
        })?;
        let mut check = Check { path, text: &text, problems: Vec::new() };
        let raw: RawConfig = check.toml()?;
        let accounts_file = check.resolve(&raw.accounts_file);
        let made = match std::fs::read_to_string(&accounts_file) {
            Ok(text) => {
                let mut check = Check { path: &accounts_file, text: &text, problems: Vec::new() };
                let made: RawAccounts = check.toml()?;
                made.account.into_iter().map(toml::Spanned::into_inner).collect()
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(error) => {
                return Err(Problems(vec![format!("{}: {error}", accounts_file.display())]));
            }
        };
        let names = raw.account.iter().map(|it| it.get_ref().name.get_ref().clone()).collect();
        let mut hub_of_the_rest = None;
        check.hubs(&raw.account, &mut hub_of_the_rest);
        let tls = raw.tls.as_ref().map(|tls| check.tls(tls));
        if !check.problems.is_empty() {
            return Err(Problems(check.problems));
        }
        let home = raw.home.into_inner();
        Ok(Self { home, tls, names, hub_of_the_rest, accounts_file, made })
    }

    /// Returns the text of the accounts file.
    ///
    /// # Errors
    /// Where the broker would refuse it.
    pub fn text(&self) -> Result<String, Problems> {
        #[derive(Serialize)]
        struct Written<'a> {
            account: &'a [RawAccount],
        }
        let path = &self.accounts_file;
        let written = toml::to_string(&Written { account: &self.made })
            .map_err(|error| Problems(vec![format!("{}: {error}", path.display())]))?;
        let text = format!("{HEAD}{written}");
        let mut check = Check { path, text: &text, problems: Vec::new() };
        let raw: RawAccounts = check.toml()?;
        check.accounts(&raw.account, &mut BTreeMap::new());
        check.hubs(&raw.account, &mut self.hub_of_the_rest.clone());
        if check.problems.is_empty() { Ok(text) } else { Err(Problems(check.problems)) }
    }
}

const HEAD: &str =
    "# Written by `hearth-broker account`; the broker reads it again when it changes.\n\n";
