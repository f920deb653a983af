//! The command line.

/// Prints a line as `println!` does, but does not panic if the reader is gone.
macro_rules! say {
    ($($text:tt)*) => {
        $crate::cli::print_line(format_args!($($text)*))
    };
}

mod ask;
mod asking;
mod check;
mod declaration;
mod doctor;
mod log;
mod page;
mod pair;
mod plugin;
mod plugin_check;
mod plugin_new;
mod plugin_try;
mod qr;
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

/// A smart-home hub: it runs devices, and gives each request over MQTT 5 one definite answer.
#[derive(Debug, Parser)]
#[command(version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

/// The commands; their comments are the text of `--help`.
#[derive(Debug, Subcommand)]
enum Command {
    /// Run the daemon.
    Run {
        #[command(flatten)]
        file: ConfigFile,
        /// What to log, such as `debug` or `info,hearthd::link=trace` [default: the variable RUST_LOG, or `info`].
        ///
        /// The levels are `off`, `error`, `warn`, `info`, `debug` and `trace`. At `debug`, each request is a line.
        #[arg(long, value_name = "FILTER")]
        log: Option<Targets>,
    },
    /// Check the configuration, the plugins and each device's table, and print every problem.
    Check(ConfigFile),
    /// Send a request to a device, and print the answer.
    ///
    /// If the device's hub is away, nothing is sent: the broker would keep the request, and the hub would carry it out late.
    Request {
        /// Device ID.
        device: String,
        /// Property, or `set`, `get` or `describe`.
        property: String,
        /// The value to set; leave it out to read.
        #[arg(default_value = "", allow_negative_numbers = true)]
        payload: String,
        /// Wait until the timeout for the answers of several responders.
        #[arg(long)]
        all: bool,
        #[command(flatten)]
        common: Asking,
    },
    /// List the hub's devices and their states.
    Devices(Asking),
    /// Show the hub's status: connection, prefix, devices, problems.
    Status(Asking),
    /// Show a device's properties, with types, ranges and units.
    Describe {
        /// Device ID.
        device: String,
        #[command(flatten)]
        common: Asking,
    },
    /// Show the outcomes of the hub's last wills.
    Will(Asking),
    /// Print what the hub has counted, in Prometheus's text format: requests, times, devices, wills, temperatures.
    ///
    /// If the hub does not answer, it prints `hearthd_up 0`, and the exit code says why.
    Metrics {
        /// Replace this file instead, for the textfile collector of node_exporter.
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
        #[command(flatten)]
        common: Asking,
    },
    /// Show the log lines about a device; with --follow, also its events.
    Log(log::Log),
    /// Test the broker, or list what can become a device.
    Doctor(doctor::Doctor),
    /// Give a phone an account at the bundled broker, and print a QR code with which it logs in.
    ///
    /// The QR code is an address of the page. Its fragment has the account and a random password; a browser never sends
    /// a fragment, so the password is in no log. Run it as root: it changes the broker's accounts.
    Pair(pair::Pair),
    /// Remove a phone's account.
    Unpair(pair::Unpair),
    /// Make a plugin, try it, or check a plugin file.
    #[command(subcommand)]
    Plugin(plugin::PluginCommand),
    /// Run a plugin's code for the daemon. The daemon starts this command itself.
    #[command(hide = true)]
    PluginHost,
}

/// The option `--config` of all commands that read the configuration file.
#[derive(Clone, Debug, clap::Args)]
struct ConfigFile {
    /// The configuration file; the variable HEARTHD_CONFIG sets it for all commands.
    #[arg(long, value_name = "FILE", env = CONFIG_VARIABLE, hide_env = true, default_value = CONFIG_FILE)]
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
        Command::Metrics { output, common } => ask::metrics(&common, output.as_deref()),
        Command::Log(log) => log::show(&log),
        Command::Doctor(doctor) => doctor::run(&doctor),
        Command::Pair(pair) => pair::pair(&pair),
        Command::Unpair(unpair) => pair::unpair(&unpair),
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

/// Prints a line to standard output. It is not an error if the reader has gone, as `head` does.
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

/// Writes how many there are: "1 device", "2 devices".
fn counted(number: usize, one: &str) -> String {
    if number == 1 { format!("1 {one}") } else { format!("{number} {one}s") }
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
