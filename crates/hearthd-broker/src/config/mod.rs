//! The configuration files: read, checked, and every problem in them told with its place.

mod account;
mod limits;
mod outline;

use std::{
    collections::BTreeMap,
    fmt,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::Deserialize;
use toml::Spanned;

use crate::accounts::Credentials;

pub use account::{RawAccount, RawAccounts, RawRight};
pub use limits::DriverLimits;
pub use outline::Outline;

use limits::RawLimits;

/// A configuration that cannot be wrong.
#[derive(Clone, Debug)]
pub struct Config {
    /// Addresses to listen on for plain MQTT.
    pub listen: Vec<SocketAddr>,
    /// `[tls]`.
    pub tls: Option<Tls>,
    /// `[unix] socket`: where programs of this machine connect for others, whose addresses they tell.
    pub socket: Option<PathBuf>,
    /// `[storage] directory`: the folder for sessions, queues and retained messages.
    pub storage_directory: PathBuf,
    /// The accounts of this file and of `accounts_file`.
    pub credentials: Credentials,
    /// The file that `hearth-broker account` writes.
    pub accounts_file: PathBuf,
    /// `[limits]`, what the core keeps to.
    pub limits: crate::core::Limits,
    /// `[limits]`, what the driver keeps to.
    pub driver_limits: DriverLimits,
}

/// `[tls]`.
#[derive(Clone, Debug)]
pub struct Tls {
    /// Addresses to listen on for MQTT over TLS.
    pub listen: Vec<SocketAddr>,
    /// PEM file with the certificate and those up to its authority.
    pub certificate_file: PathBuf,
    /// PEM file with its key.
    pub key_file: PathBuf,
}

impl Config {
    /// Reads a file, and the accounts file that it names where that is there.
    ///
    /// # Errors
    /// Every problem of the files at once; where one is no TOML or has an unknown key, the first.
    pub fn load(path: &Path) -> Result<Self, Problems> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            Problems(vec![format!("{}: {error}; give --config FILE", path.display())])
        })?;
        Self::parse(path, &text)
    }

    fn parse(path: &Path, text: &str) -> Result<Self, Problems> {
        let mut check = Check { path, text, problems: Vec::new() };
        let raw: RawConfig = check.toml()?;
        let mut config = check.config(&raw);
        let mut hub_of_the_rest = None;
        check.hubs(&raw.account, &mut hub_of_the_rest);
        let mut problems = check.problems;
        match std::fs::read_to_string(&config.accounts_file) {
            Ok(text) => {
                let path = config.accounts_file.clone();
                let mut check = Check { path: &path, text: &text, problems: Vec::new() };
                let made: RawAccounts = check.toml()?;
                check.accounts(&made.account, &mut config.credentials.accounts);
                check.hubs(&made.account, &mut hub_of_the_rest);
                problems.append(&mut check.problems);
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => problems.push(format!("{}: {error}", config.accounts_file.display())),
        }
        if config.credentials.accounts.is_empty() && problems.is_empty() {
            let path = path.display();
            problems.push(format!(
                "{path}:1:1: account: nobody could log in; add an [[account]] or run \
                 `hearth-broker account add NAME --role resident`"
            ));
        }
        if problems.is_empty() { Ok(config) } else { Err(Problems(problems)) }
    }
}

/// Everything that is wrong with a configuration, one problem on each line.
#[derive(Debug)]
pub struct Problems(pub(crate) Vec<String>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

impl std::error::Error for Problems {}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawConfig {
    #[serde(default = "default_listen")]
    listen: Spanned<Vec<Spanned<String>>>,
    home: Spanned<String>,
    #[serde(default = "default_accounts_file")]
    accounts_file: PathBuf,
    tls: Option<RawTls>,
    #[serde(default)]
    unix: RawUnix,
    #[serde(default)]
    storage: RawStorage,
    #[serde(default)]
    limits: RawLimits,
    #[serde(default)]
    account: Vec<Spanned<RawAccount>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTls {
    listen: Spanned<Vec<Spanned<String>>>,
    certificate_file: PathBuf,
    key_file: PathBuf,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawUnix {
    socket: Option<PathBuf>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawStorage {
    directory: PathBuf,
}

impl Default for RawStorage {
    fn default() -> Self {
        Self { directory: "/var/lib/hearth-broker".into() }
    }
}

fn default_listen() -> Spanned<Vec<Spanned<String>>> {
    Spanned::new(0..0, vec![Spanned::new(0..0, "127.0.0.1:1883".into())])
}

fn default_accounts_file() -> PathBuf {
    "hearth-broker-accounts.toml".into()
}

/// One file that is being checked.
struct Check<'a> {
    path: &'a Path,
    text: &'a str,
    problems: Vec<String>,
}

impl Check<'_> {
    fn toml<T: serde::de::DeserializeOwned>(&mut self) -> Result<T, Problems> {
        toml::from_str(self.text).map_err(|error| {
            self.problem(error.span().map_or(0, |span| span.start), error.message());
            Problems(std::mem::take(&mut self.problems))
        })
    }

    fn problem(&mut self, at: usize, what: &str) {
        let before = self.text.get(..at).unwrap_or(self.text);
        let line = before.matches('\n').count() + 1;
        let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
        let what = what.trim_end().replace('\n', "; ");
        self.problems.push(format!("{}:{line}:{column}: {what}", self.path.display()));
    }

    fn config(&mut self, raw: &RawConfig) -> Config {
        let listen = self.addresses(&raw.listen, "listen");
        let home = raw.home.get_ref();
        if let Err(what) = check_home(home) {
            self.problem(raw.home.span().start, &format!("home: {what}"));
        }
        let tls = raw.tls.as_ref().map(|tls| self.tls(tls));
        let mut accounts = BTreeMap::new();
        self.accounts(&raw.account, &mut accounts);
        let (limits, driver_limits) = self.limits(&raw.limits);
        Config {
            listen,
            tls,
            socket: raw.unix.socket.as_deref().map(|socket| self.resolve(socket)),
            storage_directory: self.resolve(&raw.storage.directory),
            credentials: Credentials { home: Arc::from(home.as_str()), accounts },
            accounts_file: self.resolve(&raw.accounts_file),
            limits,
            driver_limits,
        }
    }

    fn tls(&mut self, raw: &RawTls) -> Tls {
        Tls {
            listen: self.addresses(&raw.listen, "tls.listen"),
            certificate_file: self.resolve(&raw.certificate_file),
            key_file: self.resolve(&raw.key_file),
        }
    }

    fn addresses(&mut self, raw: &Spanned<Vec<Spanned<String>>>, key: &str) -> Vec<SocketAddr> {
        if raw.get_ref().is_empty() {
            let what = format!("{key}: names no address; try 127.0.0.1:1883");
            self.problem(raw.span().start, &what);
        }
        let mut addresses = Vec::new();
        for address in raw.get_ref() {
            match address.get_ref().parse() {
                Ok(address) => addresses.push(address),
                Err(_) => self.problem(
                    address.span().start,
                    &format!(
                        "{key}: must be an IP address and a port, like 127.0.0.1:1883 or [::1]:1883"
                    ),
                ),
            }
        }
        addresses
    }

    /// Relative paths start at the configuration file's folder.
    fn resolve(&self, path: &Path) -> PathBuf {
        self.path.parent().unwrap_or(Path::new("")).join(path)
    }
}

fn check_home(home: &str) -> Result<(), String> {
    if home.is_empty() || home.split('/').any(str::is_empty) {
        return Err("is empty or has an empty level; try a user ID such as `alice`".into());
    }
    if home.starts_with('$') {
        return Err("may not start with `$`".into());
    }
    match home.chars().find(|c| matches!(c, '+' | '#' | ',' | '*') || c.is_control()) {
        Some(bad) => Err(format!("may not contain {bad:?}")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
