//! The command line.

use std::{
    collections::BTreeSet,
    io::{self, Write as _},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{CommandFactory as _, Parser, Subcommand};
use hearthd_config::{
    announcement::{self, Service},
    exit,
};

use crate::{
    addresses::{Machine, addresses},
    config::{Config, Problems},
    server::{self, ServerError},
};

/// Runs the command line and returns the process's exit code (sysexits.h).
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let code = if error.use_stderr() { exit::USAGE } else { 0 };
            // If the terminal is gone, nobody is left to tell.
            let _ = error.print();
            return code.into();
        }
    };
    hearthd_program::log::start("info");
    let outcome = match &arguments.command {
        Some(Command::Check { config }) => load(config).map(drop),
        Some(Command::Address { config }) => print_addresses(config),
        Some(Command::Announce { withdraw: true, .. }) => announce(&BTreeSet::new()),
        Some(Command::Announce { config, .. }) => {
            load_for_addresses(config).and_then(|config| announce(&services(&config)))
        }
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

/// Returns the command line's definition, for the manual pages and the shells' completions.
pub fn command() -> clap::Command {
    Arguments::command()
}

/// Serves the page for phones, and the WebSocket through which it reaches the broker. Without a command, it runs.
#[derive(Debug, Parser)]
#[command(name = "hearth-web", version, args_conflicts_with_subcommands = true)]
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
    /// Check the configuration, and print every problem.
    Check {
        /// The configuration file.
        #[arg(long, value_name = "FILE", default_value = CONFIG)]
        config: PathBuf,
    },
    /// Print the addresses at which a browser finds the page, the best one for people first.
    Address {
        /// The configuration file.
        #[arg(long, value_name = "FILE", default_value = CONFIG)]
        config: PathBuf,
    },
    /// Have avahi announce the page in the home's network, if other machines can reach it. The service's unit runs this.
    Announce {
        /// The configuration file.
        #[arg(long, value_name = "FILE", default_value = CONFIG)]
        config: PathBuf,
        /// Take the announcement back.
        #[arg(long)]
        withdraw: bool,
    },
}

/// Why the command failed.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Config(#[from] Problems),
    #[error("hearth-web: {0}")]
    Server(#[from] ServerError),
    #[error("write to standard output: {0}")]
    Output(io::Error),
    #[error("announce the page: {0}")]
    Announcement(io::Error),
}

impl Failure {
    fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_) => exit::CONFIG,
            Self::Server(error) => error.exit_code(),
            Self::Output(_) => exit::IO,
            Self::Announcement(_) => exit::CANNOT_CREATE,
        }
    }
}

/// Reads the configuration, and logs a warning for each risk in it.
fn load(path: &Path) -> Result<Config, Failure> {
    let config = Config::load(path)?;
    for warning in &config.warnings {
        eprintln!("{warning}");
    }
    Ok(config)
}

/// Reads the configuration for a command that does not serve the page.
fn load_for_addresses(path: &Path) -> Result<Config, Failure> {
    Ok(Config::load_for_addresses(path)?)
}

fn print_addresses(path: &Path) -> Result<(), Failure> {
    let mut out = io::stdout();
    for address in addresses(&load_for_addresses(path)?, &Machine::this()) {
        writeln!(out, "{address}").map_err(Failure::Output)?;
    }
    Ok(())
}

fn announce(services: &BTreeSet<Service>) -> Result<(), Failure> {
    announcement::announce(&announcement::folder(), "hearth-web", services)
        .map_err(Failure::Announcement)
}

fn services(config: &Config) -> BTreeSet<Service> {
    let kind = if config.tls.is_some() { "_https._tcp" } else { "_http._tcp" };
    announcement::reachable(kind, &config.listen)
}

fn run(arguments: &Arguments) -> Result<(), Failure> {
    let mut config = load(&arguments.config)?;
    if !arguments.listen.is_empty() {
        config.listen.clone_from(&arguments.listen);
    }
    Ok(server::run(&config)?)
}

/// Where the package puts the configuration.
const CONFIG: &str = "/etc/hearthd/hearth-web.toml";
