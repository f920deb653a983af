//! Reads and checks the configuration files; reports every problem with its place.

mod account;
mod code;
mod limits;
mod outline;

use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use hearthd_config::{Problem, Problems, Reader, Section, Source, read, wrong_type};

use crate::accounts::Credentials;

pub(crate) use account::{WrittenAccount, WrittenRight};
pub(crate) use code::WrittenCode;
pub(crate) use limits::DriverLimits;
pub(crate) use outline::Outline;

use account::{Accounts, Passwords, accounts};

/// A configuration that cannot be wrong.
#[derive(Clone, Debug)]
pub(crate) struct Config {
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
    /// Warnings: settings that work but are a risk.
    pub warnings: Vec<Problem>,
}

/// `[tls]`.
#[derive(Clone, Debug)]
pub(crate) struct Tls {
    /// Addresses to listen on for MQTT over TLS.
    pub listen: Vec<SocketAddr>,
    /// PEM file with the certificate and those up to its authority.
    pub certificate_file: PathBuf,
    /// PEM file with its key.
    pub key_file: PathBuf,
}

impl Config {
    /// Reads a file, and the accounts file that it names if that exists.
    ///
    /// # Errors
    /// Every problem of the files at once.
    pub(crate) fn load(path: &Path) -> Result<Self, Problems> {
        Self::check(&Source::read(path)?, Passwords::Read)
    }

    /// As [`Config::load`], for people who cannot read the credentials that systemd gives to the service.
    ///
    /// Accounts with such a password file get a placeholder: nobody can log in with it.
    ///
    /// # Errors
    /// Every problem of the files at once.
    pub(crate) fn load_without_credentials(path: &Path) -> Result<Self, Problems> {
        Self::check(&Source::read(path)?, Passwords::ReadWithoutCredentials)
    }

    fn check(source: &Source, passwords: Passwords) -> Result<Self, Problems> {
        let (mut config, mut problems) = config_file(source, passwords);
        if let Some(source) = accounts_file(&config.accounts_file)? {
            let Credentials { accounts, codes, .. } = &mut config.credentials;
            let (_, outcome) = read(&source, None, |reader, root| {
                accounts_of(reader, root, accounts, passwords);
                *codes = code::codes(reader, root);
            });
            problems.extend(outcome.problems);
            config.warnings.extend(outcome.warnings);
        }
        if config.credentials.accounts.is_empty() && problems.is_empty() {
            let what = "nobody could log in; add an [[account]] or run `hearth-broker account add \
                        NAME --role resident`";
            problems.push(source.problem_at(Some((1, 1)), "account", what));
        }
        if problems.is_empty() { Ok(config) } else { Err(problems.into()) }
    }
}

/// Reads the configuration file alone; where something is wrong, stand-ins are in its place.
fn config_file(source: &Source, passwords: Passwords) -> (Config, Vec<Problem>) {
    let (mut config, outcome) =
        read(source, Some(other_name), |reader, root| config(reader, root, passwords));
    config.warnings = outcome.warnings;
    (config, outcome.problems)
}

/// Reads the text of the accounts file, if it exists.
fn accounts_file(path: &Path) -> Result<Option<Source>, Problems> {
    match std::fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        _ => Source::read(path).map(Some),
    }
}

fn config(reader: &mut Reader, root: &mut Section<'_>, passwords: Passwords) -> Config {
    let listen = addresses(reader, root, "listen");
    let home = reader.parsed(root, "home", |value| {
        let home = value.as_str().ok_or_else(|| wrong_type("a text in quotes", value))?;
        check_home(home).map(|()| home.to_owned())
    });
    if !root.has("home") {
        let what = "home is missing; name the user whose home it is: home = \"home\"";
        reader.problem(root.at, &root.path, what);
    }
    let accounts_file = reader.path(root, "accounts_file");
    let accounts_file =
        accounts_file.unwrap_or_else(|| reader.source().resolve("hearth-broker-accounts.toml"));
    let tls = tls(reader, root);
    let mut unix = reader.section(root, "unix");
    let socket = reader.path(&mut unix, "socket");
    reader.finish(unix);
    let mut storage = reader.section(root, "storage");
    let storage_directory = reader.path(&mut storage, "directory");
    reader.finish(storage);
    let (limits, driver_limits) = limits::limits(reader, root);
    let mut accounts = BTreeMap::new();
    accounts_of(reader, root, &mut accounts, passwords);
    Config {
        listen: listen.unwrap_or_else(|| vec![SocketAddr::from(([127, 0, 0, 1], 1883))]),
        tls,
        socket,
        storage_directory: storage_directory.unwrap_or_else(|| "/var/lib/hearth-broker".into()),
        credentials: Credentials {
            home: Arc::from(home.unwrap_or_default()),
            accounts,
            codes: BTreeMap::new(),
        },
        accounts_file,
        limits,
        driver_limits,
        warnings: Vec::new(),
    }
}

fn accounts_of(
    reader: &mut Reader,
    root: &mut Section<'_>,
    found: &mut Accounts,
    passwords: Passwords,
) {
    for mut section in reader.sections(root, "account") {
        accounts(reader, &mut section, found, passwords);
        reader.finish(section);
    }
}

fn tls(reader: &mut Reader, root: &mut Section<'_>) -> Option<Tls> {
    let mut section = reader.section(root, "tls");
    let listen = addresses(reader, &mut section, "listen");
    let certificate_file = reader.path(&mut section, "certificate_file");
    let key_file = reader.path(&mut section, "key_file");
    for key in ["listen", "certificate_file", "key_file"] {
        reader.require(&section, key);
    }
    reader.finish(section);
    Some(Tls { listen: listen?, certificate_file: certificate_file?, key_file: key_file? })
}

fn addresses(
    reader: &mut Reader,
    section: &mut Section<'_>,
    key: &'static str,
) -> Option<Vec<SocketAddr>> {
    reader.addresses(section, key, "127.0.0.1:1883", "127.0.0.1:1883 or [::1]:1883")
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

/// Returns the key for what people expect under another name.
fn other_name(path: &str) -> Option<&'static str> {
    Some(match path {
        "port" | "bind" | "address" => "listen = [\"127.0.0.1:1883\"]",
        "tls.cert_file" | "tls.certfile" => "certificate_file = \"FILE\"",
        "tls.keyfile" => "key_file = \"FILE\"",
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
