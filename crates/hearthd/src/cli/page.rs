//! Where phones find the page that `hearth-web` serves.

use std::{
    io,
    net::{TcpStream, ToSocketAddrs as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use super::exit;

/// The configuration files of the programs that phones use.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Files {
    /// The configuration file of hearth-web.
    #[arg(long, value_name = "FILE", default_value = WEB_CONFIG)]
    pub(super) web_config: PathBuf,
    /// The configuration file of hearth-broker.
    #[arg(long, value_name = "FILE", default_value = BROKER_CONFIG)]
    pub(super) broker_config: PathBuf,
}

impl Files {
    /// Returns the option that names hearth-broker's file to another command; nothing if it is where the package puts it.
    pub(super) fn broker_option(&self) -> String {
        let file = self.broker_config.display().to_string();
        if file == BROKER_CONFIG {
            return String::new();
        }
        let is_plain = |c: char| c.is_alphanumeric() || "/._-".contains(c);
        let quoted = format!("'{}'", file.replace('\'', "'\\''"));
        format!(" --broker-config {}", if file.chars().all(is_plain) { &file } else { &quoted })
    }
}

/// Why the address of the page is not known.
#[derive(Debug, thiserror::Error)]
pub(super) enum PageError {
    #[error("start {program}: {source}; it is in the package hearthd")]
    Start { program: &'static str, source: io::Error },
    /// The program has said why, on standard error.
    #[error("hearth-web does not say where its page is; name it with --address")]
    Unknown(u8),
    #[error("this machine has no address in a network; name the page's with --address")]
    NoNetwork,
}

impl PageError {
    /// Returns the exit code of a command that fails because of this.
    pub(super) fn exit_code(&self) -> u8 {
        match self {
            Self::Start { .. } | Self::NoNetwork => exit::UNAVAILABLE,
            Self::Unknown(code) => *code,
        }
    }
}

/// Returns the page's addresses, the best one for people first.
pub(super) fn addresses(web_config: &Path) -> Result<Vec<String>, PageError> {
    let mut command = Command::new(program(WEB));
    command.arg("address").arg("--config").arg(web_config).stdin(Stdio::null());
    let ended = command.stderr(Stdio::inherit()).output();
    let ended = ended.map_err(|source| PageError::Start { program: WEB, source })?;
    if !ended.status.success() {
        let code = ended.status.code().and_then(|code| u8::try_from(code).ok());
        return Err(PageError::Unknown(code.unwrap_or(exit::SOFTWARE)));
    }
    Ok(String::from_utf8_lossy(&ended.stdout).lines().map(str::to_owned).collect())
}

/// Returns the address that is best for people.
pub(super) fn best_address(files: &Files) -> Result<String, PageError> {
    addresses(&files.web_config)?.into_iter().next().ok_or(PageError::NoNetwork)
}

/// Returns why a phone does not find a page at this address, as far as this machine can tell.
pub(super) fn unreachable(address: &str) -> Option<String> {
    let (scheme, rest) = address.split_once("://")?;
    let host = rest.split(['/', '#']).next()?;
    let named = host.rsplit_once(':').filter(|(_, port)| port.parse::<u16>().is_ok());
    let usual = if scheme == "https" { 443 } else { 80 };
    let (host, port) =
        named.map_or((host, usual), |(host, port)| (host, port.parse().unwrap_or(usual)));
    let host = host.trim_start_matches('[').trim_end_matches(']');
    // NAME.local is this machine: not every machine can look its own name up.
    let host = if host.ends_with(".local") { "localhost" } else { host };
    let places = (host, port).to_socket_addrs().map(Iterator::collect::<Vec<_>>);
    let is_open = places
        .unwrap_or_default()
        .iter()
        .any(|place| TcpStream::connect_timeout(place, PATIENCE).is_ok());
    if !is_open {
        return Some(format!(
            "nothing answers at port {port} of {host} now; the page starts with: sudo systemctl enable --now hearth-web"
        ));
    }
    (host == "localhost" && !address.contains(".local")).then(|| {
        "only this machine can open that address; add one of your network to `listen` in hearth-web.toml".into()
    })
}

/// Returns a program that lies beside this one, or its name, to be looked up.
pub(super) fn program(name: &str) -> PathBuf {
    let beside = std::env::current_exe().ok().map(|own| own.with_file_name(name));
    beside.filter(|path| path.exists()).unwrap_or_else(|| name.into())
}

pub(super) const BROKER: &str = "hearth-broker";
const WEB: &str = "hearth-web";
/// Where the package puts the configuration of hearth-broker.
const BROKER_CONFIG: &str = "/etc/hearthd/hearth-broker.toml";
/// Where the package puts the configuration of hearth-web.
pub(super) const WEB_CONFIG: &str = "/etc/hearthd/hearth-web.toml";
const PATIENCE: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hint_names_the_brokers_file_only_where_it_is_another() {
        let option = |file: &str| {
            Files { web_config: WEB_CONFIG.into(), broker_config: file.into() }.broker_option()
        };
        assert_eq!(option("/etc/hearthd/hearth-broker.toml"), "");
        assert_eq!(option("/tmp/b.toml"), " --broker-config /tmp/b.toml");
        assert_eq!(option("/my home/it's.toml"), " --broker-config '/my home/it'\\''s.toml'");
    }
}
