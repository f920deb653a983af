//! The configuration file: read, checked, and every problem in it told with its place.

use std::{
    collections::BTreeSet,
    fmt,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use toml::Spanned;

use crate::accounts::{Account, ClientIdPattern, PasswordHash};

/// A configuration that cannot be wrong.
#[derive(Clone, Debug)]
pub struct Config {
    /// Addresses to listen on.
    pub listen: Vec<SocketAddr>,
    /// The home's user ID: Response Information and prefix of every topic.
    pub home: String,
    /// `[storage] directory`: the folder for sessions, queues and retained messages.
    pub storage_directory: PathBuf,
    /// `[[account]]`.
    pub accounts: Vec<Account>,
}

impl Config {
    /// Reads a file.
    ///
    /// # Errors
    /// Every problem of the file at once; where it is no TOML or has an unknown key, the first.
    pub fn load(path: &Path) -> Result<Self, Problems> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            Problems(vec![format!("{}: {error}; give --config FILE", path.display())])
        })?;
        Self::parse(path, &text)
    }

    fn parse(path: &Path, text: &str) -> Result<Self, Problems> {
        let mut check = Check { path, text, problems: Vec::new() };
        let raw: RawConfig = match toml::from_str(text) {
            Ok(raw) => raw,
            Err(error) => {
                let at = error.span().map_or(0, |span| span.start);
                check.problem(at, error.message());
                return Err(Problems(check.problems));
            }
        };
        let config = check.config(&raw);
        if check.problems.is_empty() { Ok(config) } else { Err(Problems(check.problems)) }
    }
}

/// Everything that is wrong with a configuration file, one problem on each line.
#[derive(Debug)]
pub struct Problems(Vec<String>);

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
    #[serde(default)]
    storage: RawStorage,
    #[serde(default)]
    account: Vec<Spanned<RawAccount>>,
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

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawAccount {
    name: Spanned<String>,
    password_hash: Option<Spanned<String>>,
    password_file: Option<Spanned<PathBuf>>,
    #[serde(default)]
    client_ids: Vec<Spanned<String>>,
}

fn default_listen() -> Spanned<Vec<Spanned<String>>> {
    Spanned::new(0..0, vec![Spanned::new(0..0, "127.0.0.1:1883".into())])
}

struct Check<'a> {
    path: &'a Path,
    text: &'a str,
    problems: Vec<String>,
}

impl Check<'_> {
    fn problem(&mut self, at: usize, what: &str) {
        let before = self.text.get(..at).unwrap_or(self.text);
        let line = before.matches('\n').count() + 1;
        let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
        let what = what.trim_end().replace('\n', "; ");
        self.problems.push(format!("{}:{line}:{column}: {what}", self.path.display()));
    }

    fn config(&mut self, raw: &RawConfig) -> Config {
        if raw.listen.get_ref().is_empty() {
            self.problem(raw.listen.span().start, "listen: names no address; try 127.0.0.1:1883");
        }
        let mut listen = Vec::new();
        for address in raw.listen.get_ref() {
            match address.get_ref().parse() {
                Ok(address) => listen.push(address),
                Err(_) => self.problem(
                    address.span().start,
                    "listen: must be an IP address and a port, like 127.0.0.1:1883 or [::1]:1883",
                ),
            }
        }
        let home = raw.home.get_ref().clone();
        if let Err(error) = check_home(&home) {
            self.problem(raw.home.span().start, &format!("home: {error}"));
        }
        let mut names = BTreeSet::new();
        let mut accounts = Vec::new();
        for account in &raw.account {
            let name = &account.get_ref().name;
            if name.get_ref().is_empty() {
                self.problem(name.span().start, "account.name: is empty");
            } else if !names.insert(name.get_ref().clone()) {
                let what = format!("account.name: `{}` is there twice", name.get_ref());
                self.problem(name.span().start, &what);
            }
            accounts.extend(self.account(account));
        }
        if raw.account.is_empty() {
            self.problem(
                self.text.len(),
                "account: nobody could log in; add an [[account]] with name and password_hash \
                 (`hearth-broker hash-password` makes one)",
            );
        }
        let storage_directory = self.resolve(&raw.storage.directory);
        Config { listen, home, storage_directory, accounts }
    }

    fn account(&mut self, raw: &Spanned<RawAccount>) -> Option<Account> {
        let at = raw.span().start;
        let raw = raw.get_ref();
        let mut client_ids = Vec::new();
        for pattern in &raw.client_ids {
            match ClientIdPattern::parse(pattern.get_ref()) {
                Ok(pattern) => client_ids.push(pattern),
                Err(error) => {
                    let what = format!("account.client_ids: `{}` {error}", pattern.get_ref());
                    self.problem(pattern.span().start, &what);
                }
            }
        }
        let (place, outcome) = match (&raw.password_hash, &raw.password_file) {
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
        match outcome {
            Ok(password_hash) => {
                Some(Account { name: raw.name.get_ref().clone(), password_hash, client_ids })
            }
            Err(what) => {
                self.problem(place, &format!("account.{what}"));
                None
            }
        }
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
    match home.chars().find(|c| matches!(c, '+' | '#' | ',') || c.is_control()) {
        Some(bad) => Err(format!("may not contain {bad:?}")),
        None => Ok(()),
    }
}

fn parse_hash(text: &str) -> Result<PasswordHash, String> {
    PasswordHash::parse(text).ok_or_else(|| {
        "password_hash: is no argon2 hash; `hearth-broker hash-password` makes one".into()
    })
}

fn read_password(path: &Path) -> Result<PasswordHash, String> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| format!("password_file: {}: {error}", path.display()))?;
    // The mark of UTF-8 at its start is no part of it, for the hub neither.
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    match text.trim_end_matches(['\r', '\n']) {
        "" => Err(format!("password_file: {} is empty", path.display())),
        hash if hash.starts_with("$argon2") => parse_hash(hash),
        password => PasswordHash::of(password).map_err(|error| format!("password_file: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CREDENTIALS: &str = "/run/credentials/hearth-broker.service/";

    fn problems(text: &str) -> Vec<String> {
        Config::parse(Path::new("b.toml"), text).unwrap_err().0
    }

    #[test]
    fn the_shipped_file_loads() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hearth-broker.toml");
        let shipped = include_str!("../../../config/hearth-broker.toml");
        std::fs::write(&path, shipped.replace(CREDENTIALS, "")).unwrap();
        for credential in ["mqtt-password", "home-password"] {
            assert!(shipped.contains(&format!("{CREDENTIALS}{credential}")), "{credential}");
            std::fs::write(folder.path().join(credential), "secret\n").unwrap();
        }
        let config = Config::load(&path).unwrap();
        assert_eq!(config.listen, ["127.0.0.1:1883".parse().unwrap()]);
        assert_eq!(config.home, "home");
        assert_eq!(config.storage_directory, Path::new("/var/lib/hearth-broker"));
        assert_eq!(config.accounts.len(), 2);
    }

    #[test]
    fn every_problem_is_told_with_its_line() {
        let found = problems(
            "listen = [\"1883\"]\nhome = \"a+b\"\n[[account]]\nname = \"x\"\n\
             password_hash = \"secret\"\n[[account]]\nname = \"x\"\nclient_ids = [\"*\"]\n",
        );
        let places: Vec<&str> = found.iter().map(|p| p.split(": ").next().unwrap()).collect();
        assert_eq!(
            places,
            ["b.toml:1:11", "b.toml:2:8", "b.toml:5:17", "b.toml:7:8", "b.toml:8:15", "b.toml:6:1"],
            "{found:#?}"
        );
    }

    #[test]
    fn an_unknown_key_is_refused_where_it_stands() {
        let found = problems("home = \"alice\"\npasword = 1\n");
        assert!(found[0].starts_with("b.toml:2:1: unknown field `pasword`"), "{found:?}");
    }

    #[test]
    fn a_file_without_accounts_is_refused() {
        assert!(problems("home = \"alice\"\n")[0].contains("nobody could log in"));
    }
}
