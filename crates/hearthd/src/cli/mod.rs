//! The command line.

/// Prints a line, as `println!` does, also where nobody reads it.
macro_rules! say {
    ($($text:tt)*) => {
        $crate::cli::print_line(format_args!($($text)*))
    };
}

mod ask;
mod asking;
mod check;
mod doctor;
mod log;
mod plugin;
mod plugin_check;
mod plugin_new;
mod run;

use std::{
    fmt,
    io::{self, IsTerminal as _, Write as _},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use clap::{CommandFactory as _, Parser, Subcommand};

use asking::Asking;
use hearthd_config::{exit, printable};
use tracing_subscriber::filter::Targets;

/// The smart-home hub daemon: MQTT 5 request/response for device plugins.
#[derive(Debug, Parser)]
#[command(version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the daemon.
    Run {
        #[command(flatten)]
        file: ConfigFile,
        /// What to log, such as `debug`, or `info,hearthd::link=trace`; else the variable RUST_LOG says, else `info`.
        ///
        /// The levels are `off`, `error`, `warn`, `info`, `debug` and `trace`; at `debug`, each request is a line.
        #[arg(long, value_name = "FILTER")]
        log: Option<Targets>,
    },
    /// Check the configuration and each device's own table; print every problem.
    Check(ConfigFile),
    /// Ask a device, as any requester would.
    ///
    /// A device whose hub is away is not asked: the request would wait at the broker, and be carried out late.
    Request {
        /// Device ID.
        device: String,
        /// Property, or `set`, `get`, `describe`.
        property: String,
        /// The value; nothing reads.
        #[arg(default_value = "", allow_negative_numbers = true)]
        payload: String,
        /// Wait for the answers of several responders until the time is over.
        #[arg(long)]
        all: bool,
        #[command(flatten)]
        common: Asking,
    },
    /// List the devices of the running daemon.
    Devices(Asking),
    /// Tell how the running daemon is.
    Status(Asking),
    /// Tell what a device can do.
    Describe {
        /// Device ID.
        device: String,
        #[command(flatten)]
        common: Asking,
    },
    /// Tell what became of the daemon's last wills.
    Will(Asking),
    /// Show what the daemon's log tells of a device; with --follow also what its event topic does.
    Log(log::Log),
    /// Tell what this machine offers.
    Doctor(doctor::Doctor),
    /// Write plugins, and look at plugin files.
    #[command(subcommand)]
    Plugin(plugin::PluginCommand),
    /// Run one plugin's code for the daemon, which starts this command by itself.
    #[command(hide = true)]
    PluginHost,
}

#[derive(Clone, Debug, clap::Args)]
struct ConfigFile {
    /// The configuration; the variable HEARTHD_CONFIG names another one for all commands.
    #[arg(long, env = CONFIG_VARIABLE, hide_env = true, default_value = CONFIG_FILE)]
    config: PathBuf,
}

/// Runs the command that the arguments name.
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Nothing is left to tell anyone where the terminal is gone.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { exit::USAGE } else { 0 });
        }
    };
    match arguments.command {
        Command::Run { file, log } => run::run(&file.config, log),
        Command::Check(file) => check::check(&file.config),
        Command::Request { device, property, payload, all, common } => {
            ask::request(&common, device, property, payload, all)
        }
        Command::Devices(common) => ask::devices(&common),
        Command::Status(common) => ask::status(&common),
        Command::Describe { device, common } => ask::describe(&common, device),
        Command::Will(common) => ask::will(&common),
        Command::Log(log) => log::show(&log),
        Command::Doctor(doctor) => doctor::run(&doctor),
        Command::Plugin(command) => plugin::main(command),
        Command::PluginHost => crate::plugin::child::serve(),
    }
}

/// Returns what the command line takes, for the manual pages and the shells' completions.
pub fn command() -> clap::Command {
    Arguments::command()
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|error| error.to_string())
}

/// Prints a line to standard output; that its reader has gone, as `head` does, is nobody's fault.
///
/// Nothing in it commands a terminal; a program gets it as it is.
fn print_line(line: fmt::Arguments<'_>) {
    let stdout = io::stdout();
    let written = if stdout.is_terminal() {
        writeln!(stdout.lock(), "{}", printable(&line.to_string()))
    } else {
        writeln!(stdout.lock(), "{line}")
    };
    match written {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
        Err(error) => {
            fail(exit::IO, format!("write to standard output: {error}"));
            std::process::exit(exit::IO.into());
        }
    }
}

/// Prints an error as the command line does everywhere, and returns its exit code.
fn fail(code: u8, error: impl fmt::Display) -> ExitCode {
    complain(format_args!("hearthd: {error}"));
    ExitCode::from(code)
}

/// Prints a line to standard error, where nothing in it commands a terminal.
fn complain(line: fmt::Arguments<'_>) {
    // Nothing is left to tell anyone where the terminal is gone.
    let _ = writeln!(io::stderr().lock(), "{}", printable(&line.to_string()));
}

/// Where the package puts the configuration.
const CONFIG_FILE: &str = "/etc/hearthd/hearthd.toml";
/// Names another file, for all commands.
const CONFIG_VARIABLE: &str = "HEARTHD_CONFIG";
