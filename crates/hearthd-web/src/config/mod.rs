//! The configuration file: read, checked, and every problem in it told with its place.

mod reader;
mod units;

use std::{
    fmt,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use reader::{Reader, Section};

/// A configuration that cannot be wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Addresses to listen on.
    pub listen: Vec<SocketAddr>,
    /// Names of this machine that the page may be asked for by, beside addresses, `localhost` and `NAME.local`.
    pub names: Vec<String>,
    /// `[broker]`: where the page's connections lead.
    pub broker: Broker,
    /// `[tls]`: HTTPS instead of HTTP.
    pub tls: Option<Tls>,
    /// `[limits]`.
    pub limits: Limits,
}

/// `[broker] url`, with `ca_file` where it is `mqtts://`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Broker {
    /// `unix:PATH`: hearth-broker's socket for programs that connect for others.
    Unix(PathBuf),
    /// `mqtt://HOST:PORT`.
    Tcp(Authority),
    /// `mqtts://HOST:PORT`.
    Tls {
        /// Host and port.
        authority: Authority,
        /// PEM file with certificate authorities instead of the system's.
        ca_file: Option<PathBuf>,
    },
}

/// A host, by name or address, and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authority {
    /// The host; an IPv6 address has no brackets here.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// `[tls]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// PEM file with the certificate and those up to its authority.
    pub certificate_file: PathBuf,
    /// PEM file with its key.
    pub key_file: PathBuf,
}

/// `[limits]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// WebSockets at once that are logged in.
    pub connections: usize,
    /// Connections at once that are not.
    pub strangers: usize,
    /// The same from one address.
    pub strangers_of_address: usize,
    /// Largest WebSocket message of a page, in bytes.
    pub frame: usize,
    /// Time from the WebSocket to the end of the CONNECT, and again to the broker's CONNACK.
    pub login_time: Duration,
    /// How long a page may send nothing.
    pub silence: Duration,
    /// How long a page or the broker may take nothing.
    pub stall: Duration,
    /// Wrong passwords of one address and account within a minute, where the broker is not hearth-broker's socket.
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
    pub fn load(path: &Path) -> Result<Self, Problems> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            Problems(vec![format!("{}: {error}; give --config FILE", path.display())])
        })?;
        Self::parse(path, &text)
    }

    fn parse(path: &Path, text: &str) -> Result<Self, Problems> {
        let mut reader = Reader::new(path, text);
        let (root, mistakes) = toml::de::DeTable::parse_recoverable(text);
        for mistake in &mistakes {
            let at = mistake.span().map_or(text.len(), |span| span.start);
            reader.problem(at, "", format!("not TOML: {}", mistake.message()));
        }
        let mut root = Section::root(root.get_ref());
        let config = Self {
            listen: listen(&mut reader, &mut root),
            names: names(&mut reader, &mut root),
            broker: broker(&mut reader, &mut root),
            tls: tls(&mut reader, &mut root),
            limits: limits(&mut reader, &mut root),
        };
        reader.finish(&root);
        let problems = reader.into_problems();
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

fn listen(reader: &mut Reader<'_>, root: &mut Section<'_>) -> Vec<SocketAddr> {
    let Some(texts) = reader.texts(root, "listen") else { return vec![DEFAULT_LISTEN] };
    if texts.is_empty() {
        reader.problem_of_key(root, "listen", "names no address; try \"[::]:8080\"");
    }
    let mut addresses = Vec::new();
    for entry in texts {
        match entry.value.parse() {
            Ok(address) => addresses.push(address),
            Err(_) => {
                let what = "must be an IP address and a port, like 192.168.1.5:8080 or [::]:8080";
                reader.problem(entry.at, &entry.path, what);
            }
        }
    }
    addresses
}

fn names(reader: &mut Reader<'_>, root: &mut Section<'_>) -> Vec<String> {
    let mut names = Vec::new();
    for entry in reader.texts(root, "names").unwrap_or_default() {
        match units::host_name(entry.value) {
            Ok(name) => names.push(name),
            Err(what) => reader.problem(entry.at, &entry.path, what),
        }
    }
    names
}

fn broker(reader: &mut Reader<'_>, root: &mut Section<'_>) -> Broker {
    let mut section = reader.section(root, "broker");
    let url = reader.text(&mut section, "url");
    let broker = match &url {
        None => Broker::Unix(DEFAULT_SOCKET.into()),
        Some(url) => units::broker(url.value).unwrap_or_else(|what| {
            reader.problem(url.at, &url.path, what);
            Broker::Unix(DEFAULT_SOCKET.into())
        }),
    };
    let ca_file = reader.text(&mut section, "ca_file");
    let broker = match (broker, ca_file) {
        (Broker::Unix(path), None) => Broker::Unix(reader.resolve(&path)),
        (Broker::Tls { authority, .. }, ca_file) => {
            let ca_file = ca_file.map(|file| reader.resolve(Path::new(file.value)));
            Broker::Tls { authority, ca_file }
        }
        (broker, None) => broker,
        (broker, Some(ca_file)) => {
            reader.problem(ca_file.at, &ca_file.path, "needs a url that starts with mqtts://");
            broker
        }
    };
    reader.finish(&section);
    broker
}

fn tls(reader: &mut Reader<'_>, root: &mut Section<'_>) -> Option<Tls> {
    let mut section = reader.section(root, "tls");
    let certificate = reader.text(&mut section, "certificate_file");
    let key = reader.text(&mut section, "key_file");
    let files = match (certificate, key) {
        (Some(certificate), Some(key)) => Some(Tls {
            certificate_file: reader.resolve(Path::new(certificate.value)),
            key_file: reader.resolve(Path::new(key.value)),
        }),
        _ => {
            if section.exists() {
                let what = "needs certificate_file and key_file";
                reader.problem(section.at, &section.path, what);
            }
            None
        }
    };
    reader.finish(&section);
    files
}

fn limits(reader: &mut Reader<'_>, root: &mut Section<'_>) -> Limits {
    let mut section = reader.section(root, "limits");
    let mut limits = Limits::default();
    for (key, value) in [
        ("connections", &mut limits.connections),
        ("strangers", &mut limits.strangers),
        ("strangers_of_address", &mut limits.strangers_of_address),
    ] {
        if let Some(number) = reader.parsed(&mut section, key, |it| units::number(it, MOST_SOCKETS))
        {
            *value = number;
        }
    }
    if let Some(size) = reader.parsed(&mut section, "frame", units::size) {
        limits.frame = size;
    }
    for (key, value) in [
        ("login_time", &mut limits.login_time),
        ("silence", &mut limits.silence),
        ("stall", &mut limits.stall),
    ] {
        if let Some(duration) = reader.parsed(&mut section, key, units::duration) {
            *value = duration;
        }
    }
    let wrong = reader.parsed(&mut section, "wrong_passwords", |it| units::number(it, MOST_WRONG));
    if let Some(wrong) = wrong {
        limits.wrong_passwords = u32::try_from(wrong).unwrap_or(u32::MAX);
    }
    reader.finish(&section);
    limits
}

/// All addresses of this machine, of both kinds.
const DEFAULT_LISTEN: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED), 8080);
/// Where the package has hearth-broker make it.
const DEFAULT_SOCKET: &str = "/run/hearth-clients/broker.sock";
const MOST_SOCKETS: usize = 100_000;
const MOST_WRONG: usize = 10_000;

#[cfg(test)]
mod tests;
