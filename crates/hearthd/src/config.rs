//! The configuration from `hearthd.toml`, after all checks.

mod complaint;
mod draft;
mod filled;
mod guards;
mod home_assistant;
mod password;
mod sections;
mod topics;
mod values;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    time::Duration,
};

use hearthd_config::address::BrokerAddress;
use hearthd_core::{
    Guard, TopicRules,
    topic::{Prefix, Templates, TopicFilter},
};
use serde::{Deserialize, Serialize};

pub use draft::Draft;
pub(crate) use filled::{FilledTable, Remarks, fill};
pub use hearthd_config::{Problem, Problems, Source};

/// A configuration that cannot be wrong.
#[derive(Clone, Debug)]
pub struct Config {
    /// `[broker]`.
    pub broker: Broker,
    /// `[response_information]`.
    pub response_information: ResponseInformation,
    /// `[topics]`.
    pub topics: Templates,
    /// `[responses] allow`: topics outside the prefix that may be answered on.
    pub allow_responses: Vec<TopicFilter>,
    /// `[bridges] allow`: topics outside the prefix that devices may use.
    pub allow_bridges: Vec<TopicFilter>,
    /// `[will] delay`.
    pub will_delay: Duration,
    /// `[requests]`.
    pub requests: Requests,
    /// `[plugins] path`: folders whose `*.so` files are loaded.
    pub plugin_path: Vec<PathBuf>,
    /// The rest of `[plugins]`: what a misbehaving plugin may cost.
    pub containment: Containment,
    /// `[state] directory`.
    pub state_directory: PathBuf,
    /// `[devices.ID]`.
    pub devices: BTreeMap<String, DeviceConfig>,
    /// `[home_assistant]`.
    pub home_assistant: HomeAssistant,
    /// `[[guard]]`.
    pub guards: Vec<Guard>,
    /// Warnings: settings that work but are a risk.
    pub warnings: Vec<Problem>,
    /// The text that all this was read from, for problems that a plugin finds in its table.
    pub source: Source,
}

impl Config {
    /// Reads and checks a file; relative paths in it start at its folder.
    ///
    /// # Errors
    /// Everything that is wrong with it, at once.
    pub fn load(path: &Path) -> Result<Self, Problems> {
        sections::parse(Source::read(path)?)
    }

    /// Checks a text as if it stood in a file.
    ///
    /// # Errors
    /// Everything that is wrong with it, at once.
    pub fn parse(path: &Path, text: &str) -> Result<Self, Problems> {
        sections::parse(Source::new(path, text))
    }

    /// Returns line and column, from 1, of a key in `[devices.ID.config]`, such as `rooms[2].name`.
    ///
    /// Where the key is not there, the nearest table or array around it that is; none for an
    /// unknown device.
    pub(crate) fn locate(&self, device: &str, path: &str) -> Option<(usize, usize)> {
        Some(self.source.place(self.find(device, path)?))
    }

    /// Lists the prefixes that topics may have: none, the configured one, and stand-ins for what a broker may offer.
    pub(crate) fn possible_prefixes(&self) -> Vec<Option<Prefix>> {
        topics::possible_prefixes(self.response_information.fallback.as_ref())
    }

    /// Returns what decides about the devices' own topics below a prefix.
    pub(crate) fn topic_rules<'c>(&'c self, prefix: Option<&'c Prefix>) -> TopicRules<'c> {
        let (topics, client_id) = (&self.topics, self.broker.client_id.as_str());
        TopicRules { topics, client_id, allow: &self.allow_bridges, prefix }
    }

    fn find(&self, device: &str, path: &str) -> Option<usize> {
        self.source.find(device, &below_config(path))
    }

    /// Creates the problem that a plugin has with a key of its device's table.
    pub(crate) fn device_problem(&self, device: &str, path: &str, what: &str) -> Problem {
        let key = format!("devices.{device}.{}", below_config(path));
        self.source.problem_at(self.locate(device, path), &key, &complaint::in_words(what))
    }
}

/// Returns the path of a key below its device.
fn below_config(path: &str) -> String {
    let dot = if path.is_empty() || path.starts_with('[') { "" } else { "." };
    format!("config{dot}{path}")
}

/// How to reach the broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broker {
    /// Host name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Hosts and ports of the same broker's other nodes, which are tried in turn.
    pub others: Vec<(String, u16)>,
    /// TLS, for `mqtts://`.
    pub tls: Option<Tls>,
    /// The hub's ID: client identifier and topic level.
    pub client_id: String,
    /// User name.
    pub username: Option<String>,
    /// Password, read from its file or environment variable.
    pub password: Option<Secret>,
    /// Keep Alive (MQTT 3.1.2.10), at least five seconds.
    pub keep_alive: Duration,
    /// Session Expiry Interval (MQTT 3.1.2.11.2).
    pub session_expiry: Duration,
    /// A random part of this passes before a hub that has lost its connection tries again.
    pub reconnect_spread: Duration,
}

impl Broker {
    /// Names another broker; of TLS, what the configuration says stays.
    ///
    /// # Errors
    /// Where this is no URL of a broker.
    pub(crate) fn move_to(&mut self, url: &str) -> Result<(), String> {
        let BrokerAddress { host, port, tls } = values::address(url)?;
        let none = Tls { ca_file: None, client_auth: None };
        let known = self.tls.take();
        self.tls = tls.then(|| known.unwrap_or(none));
        (self.host, self.port) = (host, port);
        self.others.clear();
        Ok(())
    }

    /// Returns how many addresses it has.
    pub(crate) fn addresses(&self) -> usize {
        1 + self.others.len()
    }

    /// Returns the broker with one of its addresses alone; they are counted round and round.
    pub(crate) fn at(&self, turn: usize) -> Self {
        let mut one = Self { others: Vec::new(), ..self.clone() };
        let other = (turn % self.addresses()).checked_sub(1).and_then(|n| self.others.get(n));
        if let Some((host, port)) = other {
            (one.host, one.port) = (host.clone(), *port);
        }
        one
    }

    /// Returns what tells the broker from others: what the hub remembers of one does not apply to another.
    pub(crate) fn identity(&self) -> String {
        let all = std::iter::once((&self.host, self.port));
        let all = all.chain(self.others.iter().map(|(host, port)| (host, *port)));
        let all: Vec<_> = all.map(|(host, port)| format!("{host}:{port}")).collect();
        all.join(" ")
    }

    /// Names another account, with the password of a file or with none.
    ///
    /// # Errors
    /// Where the name or the password cannot be sent, or the file not be read.
    pub(crate) fn log_in_as(&mut self, user: &str, password: Option<&Path>) -> Result<(), String> {
        password::check_username(user)?;
        self.username = Some(user.to_owned());
        self.password = password.map(password::read_password).transpose()?;
        Ok(())
    }

    /// Writes host and port as in a URL, with an IPv6 address in brackets.
    pub fn address(&self) -> String {
        let Self { host, port, .. } = self;
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }
}

/// TLS with the system's certificate authorities, or with one of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// PEM file of the certificate authorities; none means the system's.
    pub ca_file: Option<PathBuf>,
    /// PEM files of the client's certificate chain and key.
    pub client_auth: Option<(PathBuf, PathBuf)>,
}

/// What to do about Response Information.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResponseInformation {
    /// Refuse to run without it.
    pub required: bool,
    /// The prefix where the broker offers none.
    pub fallback: Option<Prefix>,
}

/// Defaults of all devices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requests {
    /// How long a device may take.
    pub deadline: Duration,
    /// Whether a request from before the reconnect is executed.
    pub stale: Stale,
    /// Requests that one device may have waiting.
    pub queue: usize,
    /// Largest payload in bytes.
    pub max_payload: usize,
}

/// What happens to a request without Message Expiry that waited while the hub was away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stale {
    /// It is answered 409.
    Refuse,
    /// It is executed.
    Execute,
}

/// What a misbehaving plugin may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Containment {
    /// Crashes within the window after which a device is left alone.
    pub max_failures: usize,
    /// How long a crash counts.
    pub failure_window: Duration,
    /// `[plugins.limits]`: what a device's own process may use.
    pub limits: Limits,
}

/// The resource limits of a process that runs a plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Bytes of writable memory (RLIMIT_DATA).
    pub memory: u64,
    /// CPU time within a minute (RLIMIT_CPU, moved on each minute).
    pub cpu: Duration,
    /// Open files (RLIMIT_NOFILE).
    pub files: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { memory: 64 * 1024 * 1024, cpu: Duration::from_secs(30), files: 64 }
    }
}

/// Where a device's plugin runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// In the daemon where the plugin belongs to its own build, else as [`Isolation::File`].
    Auto,
    /// In the daemon.
    None,
    /// In one process with all devices of the same plugin file that run so; what `Auto` may come to.
    File,
    /// In a process of its own.
    Process,
}

impl Isolation {
    /// Returns whether the plugin runs in the daemon; `Auto` is decided only after the plugin file was read.
    pub(crate) fn is_here(self) -> bool {
        self == Self::None
    }
}

/// One device.
#[derive(Clone, Debug, PartialEq)]
pub struct DeviceConfig {
    /// Device ID: one topic level.
    pub id: String,
    /// The kind that a plugin provides.
    pub kind: String,
    /// Name for people.
    pub name: Option<String>,
    /// The room that it is in, for people.
    pub room: Option<String>,
    /// Whether Home Assistant is told of it, where it is told of any.
    pub home_assistant: bool,
    /// How long the device may take.
    pub deadline: Duration,
    /// See [`Stale`].
    pub stale: Stale,
    /// Where its plugin runs.
    pub isolation: Isolation,
    /// The plugin's own table as the file has it: it says where secrets are.
    pub config: serde_json::Value,
}

/// Which devices Home Assistant is told of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HomeAssistant {
    /// Whether it is told of any.
    pub discovery: bool,
    /// The discovery prefix that it is set to.
    pub prefix: String,
    /// Whether its commands expire.
    pub expiry: bool,
    /// The devices that it is not told of.
    pub exclude: BTreeSet<String>,
}

/// A text that no log and no debug print shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a text.
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// Returns the text.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(..)")
    }
}

#[cfg(test)]
mod tests;
