//! The command line.

mod account;
mod certificate;
mod password;
mod preset;
mod private;

use std::{
    collections::BTreeSet,
    io::Write as _,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{CommandFactory as _, Parser, Subcommand};
use hearthd_config::{
    Problems,
    announcement::{self, Service},
    exit,
};

use account::AccountError;
use certificate::CertificateError;
use password::PasswordError;

use crate::{
    accounts::{HashError, PasswordHash},
    config::Config,
    driver::{self, BrokerError},
    memory::keep_no_large_blocks,
};

/// Runs the command line and returns the process's exit code (sysexits.h).
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let code = if error.use_stderr() { exit::USAGE } else { 0 };
            // Nothing is left to tell anyone where the terminal is gone.
            let _ = error.print();
            return code.into();
        }
    };
    hearthd_program::log::start("warn");
    let outcome = match &arguments.command {
        Some(Command::HashPassword) => hash_password(),
        Some(Command::Account(arguments)) => account::run(arguments),
        Some(Command::Check { config }) => check(config),
        Some(Command::Announce { config, withdraw }) => announce(config, *withdraw),
        Some(Command::Certificate(arguments)) => certificate::run(arguments),
        None => run(&arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{failure}");
            failure.exit_code().into()
        }
    }
}

/// Returns what the command line takes, for the manual pages and the shells' completions.
pub fn command() -> clap::Command {
    Arguments::command()
}

/// The bundled broker of one home, for MQTT 5 and 3.1.1. Without a command, it runs.
#[derive(Debug, Parser)]
#[command(name = "hearth-broker", version, args_conflicts_with_subcommands = true)]
struct Arguments {
    /// The configuration file.
    #[arg(long, value_name = "FILE", default_value = CONFIG)]
    config: PathBuf,
    /// An address to listen on instead of those in the file; port 0 picks a free port.
    #[arg(long, value_name = "ADDR")]
    listen: Vec<SocketAddr>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Read a password from standard input, and print its hash for `password_hash`.
    HashPassword,
    /// Add, list and remove accounts, also while the broker runs.
    Account(account::Arguments),
    /// Make certificates for `[tls]`, with the home's own authority.
    Certificate(certificate::Arguments),
    /// Have avahi announce the broker in the home's network, if other machines can reach it. The service's unit runs this.
    Announce {
        /// The configuration file.
        #[arg(long, value_name = "FILE", default_value = CONFIG)]
        config: PathBuf,
        /// Take the announcement back.
        #[arg(long)]
        withdraw: bool,
    },
    /// Check the configuration, and print every problem.
    Check {
        /// The configuration file.
        #[arg(long, value_name = "FILE", default_value = CONFIG)]
        config: PathBuf,
    },
}

/// Why the command failed.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Config(#[from] Problems),
    #[error(transparent)]
    Broker(#[from] BrokerError),
    #[error(transparent)]
    Account(#[from] AccountError),
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    #[error("hash the password: {0}")]
    Hash(HashError),
    #[error("write the hash: {0}")]
    Output(std::io::Error),
    #[error("announce the broker: {0}")]
    Announcement(std::io::Error),
}

impl Failure {
    fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_) => exit::CONFIG,
            Self::Broker(error) => error.exit_code(),
            Self::Output(_) => exit::IO,
            Self::Announcement(_) => exit::CANNOT_CREATE,
            Self::Account(error) => account_exit_code(error),
            Self::Certificate(error) => certificate_exit_code(error),
            Self::Hash(_) => exit::SOFTWARE,
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), Failure> {
    keep_no_large_blocks();
    let mut config = Config::load(&arguments.config)?;
    for warning in &config.warnings {
        tracing::warn!(%warning, "the configuration has a risk");
    }
    if !arguments.listen.is_empty() {
        config.listen.clone_from(&arguments.listen);
    }
    Ok(driver::run(&config, &arguments.config)?)
}

fn check(path: &Path) -> Result<(), Failure> {
    let config = Config::load_without_credentials(path)?;
    for warning in &config.warnings {
        eprintln!("{warning}");
    }
    Ok(driver::check_certificates(&config)?)
}

fn announce(path: &Path, withdraw: bool) -> Result<(), Failure> {
    let services =
        if withdraw { BTreeSet::new() } else { services(&Config::load_without_credentials(path)?) };
    announcement::announce(&announcement::folder(), "hearth-broker", &services)
        .map_err(Failure::Announcement)
}

fn services(config: &Config) -> BTreeSet<Service> {
    let mut services = announcement::reachable("_mqtt._tcp", &config.listen);
    let tls = config.tls.as_ref().map(|tls| &*tls.listen).unwrap_or_default();
    services.extend(announcement::reachable("_secure-mqtt._tcp", tls));
    services
}

fn hash_password() -> Result<(), Failure> {
    let password = password::ask("Password: ").map_err(AccountError::from)?;
    let hash = PasswordHash::of(&password).map_err(Failure::Hash)?;
    writeln!(std::io::stdout(), "{}", hash.as_str()).map_err(Failure::Output)
}

fn account_exit_code(error: &AccountError) -> u8 {
    match error {
        AccountError::Known(_)
        | AccountError::Unknown(_)
        | AccountError::NotThePassword(_)
        | AccountError::CodeOfHub(_)
        | AccountError::Elsewhere { .. } => exit::DATA,
        AccountError::Password(PasswordError::Input(_)) => exit::IO,
        AccountError::Password(_) => exit::DATA,
        AccountError::File { .. } => exit::CANNOT_CREATE,
    }
}

fn certificate_exit_code(error: &CertificateError) -> u8 {
    match error {
        CertificateError::NoTls(_) => exit::CONFIG,
        CertificateError::Name(_) => exit::USAGE,
        CertificateError::Clock | CertificateError::Authority { .. } => exit::DATA,
        CertificateError::File { .. } => exit::CANNOT_CREATE,
        CertificateError::Make(_) => exit::SOFTWARE,
    }
}

/// Where the package puts the configuration.
const CONFIG: &str = "/etc/hearthd/hearth-broker.toml";
