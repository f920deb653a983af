//! Reads and checks the configuration file; reports every problem with its place.

mod topics;
mod values;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

pub(crate) use hearthd_config::{Problem, Problems};
use hearthd_config::{Reader, Section, Source, read, units};

/// A configuration that has been checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Config {
    /// Addresses to listen on.
    pub listen: Vec<SocketAddr>,
    /// Names of this machine that browsers may use, besides addresses, `localhost` and `NAME.local`.
    pub names: Vec<String>,
    /// `[broker]`: the broker that the page connects to.
    pub broker: Broker,
    /// `[topics]`: the templates that the home does not leave at their defaults, by their keys.
    pub topics: Vec<(&'static str, String)>,
    /// `[tls]`: HTTPS instead of HTTP.
    pub tls: Option<Tls>,
    /// `[limits]`.
    pub limits: Limits,
    /// Warnings: settings that work but are a risk.
    pub warnings: Vec<Problem>,
}

/// `[broker] url`, one or those of a cluster's nodes, with `ca_file` for `mqtts://`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Broker {
    /// `unix:PATH`: hearth-broker's socket for programs that connect for others.
    Unix(PathBuf),
    /// `mqtt://HOST:PORT`, of each node.
    Tcp(Vec<Authority>),
    /// `mqtts://HOST:PORT`, of each node.
    Tls {
        /// Hosts and ports.
        nodes: Vec<Authority>,
        /// PEM file with certificate authorities instead of the system's.
        ca_file: Option<PathBuf>,
    },
}

/// A host, by name or address, and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Authority {
    /// The host; an IPv6 address has no brackets here.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// `[tls]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tls {
    /// PEM file with the certificate and those up to its authority.
    pub certificate_file: PathBuf,
    /// PEM file with its key.
    pub key_file: PathBuf,
}

/// `[limits]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// The most WebSockets at the same time that are logged in.
    pub connections: usize,
    /// The most connections at the same time that are not logged in.
    pub strangers: usize,
    /// The same for one address.
    pub strangers_of_address: usize,
    /// The largest WebSocket message of a page, in bytes.
    pub frame: usize,
    /// Time from the WebSocket to the end of the CONNECT, and again to the broker's CONNACK.
    pub login_time: Duration,
    /// How long a page may send nothing.
    pub silence: Duration,
    /// How long a page or the broker may leave data unread.
    pub stall: Duration,
    /// Wrong passwords of one address and account within a minute; not used with hearth-broker's socket.
    pub wrong_passwords: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 256,
            strangers: 128,
            strangers_of_address: 32,
            frame: 256 * 1024,
            login_time: Duration::from_secs(10),
            silence: Duration::from_secs(5 * 60),
            stall: Duration::from_secs(30),
            wrong_passwords: 10,
        }
    }
}

impl Config {
    /// Reads a file.
    ///
    /// # Errors
    /// Every problem of the file at once.
    pub(crate) fn load(path: &Path) -> Result<Self, Problems> {
        Self::check(&Source::read(path)?, FilesOfIt::Open)
    }

    /// Reads a file for a command that says where the page is: its user need not be able to read the key.
    ///
    /// # Errors
    /// Every problem of the file at once.
    pub(crate) fn load_for_addresses(path: &Path) -> Result<Self, Problems> {
        Self::check(&Source::read(path)?, FilesOfIt::Ignore)
    }

    /// Reads a text as if it were a file.
    #[cfg(test)]
    pub(crate) fn of(text: &str) -> Result<Self, Problems> {
        Self::check(&Source::new(Path::new("hearth-web.toml"), text), FilesOfIt::Open)
    }

    fn check(source: &Source, files: FilesOfIt) -> Result<Self, Problems> {
        let read_all = |reader: &mut Reader, root: &mut Section<'_>| config(reader, root, files);
        let (mut config, outcome) = read(source, Some(other_name), read_all);
        config.warnings = outcome.warnings;
        if outcome.problems.is_empty() { Ok(config) } else { Err(outcome.problems.into()) }
    }
}

/// Whether the files that a configuration names have to be readable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FilesOfIt {
    Open,
    Ignore,
}

fn config(reader: &mut Reader, root: &mut Section<'_>, files: FilesOfIt) -> Config {
    Config {
        listen: reader
            .addresses(root, "listen", "\"[::]:8080\"", "192.168.1.5:8080 or [::]:8080")
            .unwrap_or_else(|| vec![DEFAULT_LISTEN]),
        names: names(reader, root),
        broker: broker(reader, root, files),
        topics: topics::topics(reader, root),
        tls: tls(reader, root, files),
        limits: limits(reader, root),
        warnings: Vec::new(),
    }
}

fn names(reader: &mut Reader, root: &mut Section<'_>) -> Vec<String> {
    let mut names = Vec::new();
    for (entry, text) in reader.texts(root, "names").unwrap_or_default() {
        match values::host_name(text) {
            Ok(name) => names.push(name),
            Err(what) => reader.problem(entry.at, &entry.path, what),
        }
    }
    names
}

fn file(
    reader: &mut Reader,
    section: &mut Section<'_>,
    key: &'static str,
    is_secret: bool,
    files: FilesOfIt,
) -> Option<PathBuf> {
    match files {
        FilesOfIt::Open => reader.readable_file(section, key, is_secret),
        FilesOfIt::Ignore => reader.path(section, key),
    }
}

fn broker(reader: &mut Reader, root: &mut Section<'_>, files: FilesOfIt) -> Broker {
    let mut section = reader.section(root, "broker");
    let broker = reader.parsed(&mut section, "url", values::broker);
    let ca_file = file(reader, &mut section, "ca_file", false, files);
    let broker = match broker.unwrap_or_else(|| Broker::Unix(DEFAULT_SOCKET.into())) {
        Broker::Unix(path) => Broker::Unix(reader.source().resolve(&path.to_string_lossy())),
        Broker::Tls { nodes, .. } => Broker::Tls { nodes, ca_file },
        Broker::Tcp(nodes) => Broker::Tcp(nodes),
    };
    if let Some(at) = section.place_of("ca_file")
        && !matches!(broker, Broker::Tls { .. })
    {
        let what = "needs a url that starts with mqtts://";
        reader.problem(at, &section.path_of("ca_file"), what);
    }
    reader.finish(section);
    broker
}

fn tls(reader: &mut Reader, root: &mut Section<'_>, files: FilesOfIt) -> Option<Tls> {
    let mut section = reader.section(root, "tls");
    let certificate_file = file(reader, &mut section, "certificate_file", false, files);
    let key_file = file(reader, &mut section, "key_file", true, files);
    for key in ["certificate_file", "key_file"] {
        reader.require(&section, key);
    }
    reader.finish(section);
    Some(Tls { certificate_file: certificate_file?, key_file: key_file? })
}

fn limits(reader: &mut Reader, root: &mut Section<'_>) -> Limits {
    let mut section = reader.section(root, "limits");
    let mut limits = Limits::default();
    for (key, value) in [
        ("connections", &mut limits.connections),
        ("strangers", &mut limits.strangers),
        ("strangers_of_address", &mut limits.strangers_of_address),
    ] {
        let number =
            reader.parsed(&mut section, key, |value| units::whole_number(value, 1, MOST_SOCKETS));
        *value = number.unwrap_or(*value);
    }
    let frame = reader
        .parsed(&mut section, "frame", |value| units::size(value, SMALLEST_FRAME, LARGEST_FRAME));
    limits.frame = frame.unwrap_or(limits.frame);
    for (key, value) in [
        ("login_time", &mut limits.login_time),
        ("silence", &mut limits.silence),
        ("stall", &mut limits.stall),
    ] {
        let least = Duration::from_secs(1);
        let duration = reader.parsed(&mut section, key, |value| units::duration(value, least));
        *value = duration.unwrap_or(*value);
    }
    let wrong = reader.parsed(&mut section, "wrong_passwords", |value| {
        units::whole_number(value, 1, MOST_WRONG).map(|number| number as u32)
    });
    limits.wrong_passwords = wrong.unwrap_or(limits.wrong_passwords);
    reader.finish(section);
    limits
}

/// Returns the key for what people expect under another name.
fn other_name(path: &str) -> Option<&'static str> {
    Some(match path {
        "port" | "bind" | "address" => "listen = [\"[::]:8080\"]",
        "host" | "hosts" | "origins" => "names = [\"hub.example.org\"]",
        "tls.cert_file" | "tls.certfile" => "certificate_file = \"FILE\"",
        "tls.keyfile" => "key_file = \"FILE\"",
        "broker.username" | "broker.password" | "broker.password_file" => {
            "no account: the page logs in with that of whoever uses it"
        }
        _ => return None,
    })
}

/// All addresses of this machine, of both kinds.
const DEFAULT_LISTEN: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED), 8080);
/// Where the package has hearth-broker make it.
const DEFAULT_SOCKET: &str = "/run/hearth-clients/broker.sock";
const MOST_SOCKETS: usize = 100_000;
const MOST_WRONG: usize = 10_000;
const SMALLEST_FRAME: usize = 1024;
const LARGEST_FRAME: usize = 16 * 1024 * 1024;

#[cfg(test)]
mod tests;
