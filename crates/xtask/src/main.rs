//! The commands of the README: `cargo xtask demo | run | test | tidy | deny | bench | counts | conformance | sim | chaos | fleet |
//! toolchains | sanitize | package | test-arm | test-service | test-pi | nightly`.

mod arm;
mod bench;
mod chaos;
mod conformance;
mod container;
mod counts;
mod demo;
mod deny;
mod fleet;
mod nightly;
mod package;
mod pi;
mod play;
mod provision;
mod readme;
mod root;
mod sanitize;
mod service;
mod sim;
mod suite;
mod tidy;
mod toolchains;
mod transcript;

use std::{future::Future, process::ExitCode};

use clap::{Parser, Subcommand};
use hearthd_tests::{Failure, Result};
use tokio::signal::unix::{SignalKind, signal};

/// The commands of this repository.
#[derive(Debug, Parser)]
#[command(bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Build everything, and play one evening at home: requests, answers, a crash, a will.
    Demo(demo::Options),
    /// Start a broker, the daemon and the page for phones, to play with by hand.
    Run(play::Options),
    /// Run every test; the end-to-end tests use real brokers.
    Test,
    /// Check the links and words of the documents, and the licences and sources of the dependencies.
    Tidy,
    /// Check the dependencies with cargo-deny: licences, sources, advisories.
    Deny(deny::Options),
    /// Measure the daemon, and alternatives for comparison.
    Bench(bench::Options),
    /// Write the table of the MQTT standards' statements that the broker is tested against.
    Conformance,
    /// Compare what a request costs the core, in allocations and instructions, with the budget.
    Counts,
    /// Kill hub and broker and break their link, and count what became of every request and will.
    Chaos(chaos::Options),
    /// Put many homes on one cluster, kill and restart its nodes, and tell what a home costs.
    Fleet(fleet::Options),
    /// Simulate the core with a model broker under faults, by seed; `sim --help` lists the options.
    #[command(disable_help_flag = true)]
    Sim {
        /// The simulation's options.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Test plugins of every Rust toolchain on this machine behind one daemon.
    Toolchains,
    /// Make a Debian package, for this or another processor.
    Package(package::Options),
    /// Test the hub for 64-bit and 32-bit ARM in an emulator.
    TestArm(arm::Options),
    /// Test the package as a service under a real systemd in a container.
    TestService(service::Options),
    /// Look for undefined behaviour with Miri and AddressSanitizer (nightly).
    Sanitize,
    /// Test with real Linux drivers on an emulated Raspberry Pi 3B, and watch its pins.
    TestPi(pi::Options),
    /// Run the jobs that take too long for `test`: all, or those that are named.
    Nightly(nightly::Options),
}

fn main() -> ExitCode {
    let command = match Arguments::try_parse() {
        Ok(Arguments { command }) => command,
        Err(error) => {
            // A closed standard output is no reason to fail.
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(EX_USAGE) } else { ExitCode::SUCCESS };
        }
    };
    let done = match command {
        Command::Demo(options) => block_on(demo::demo(&options)),
        Command::Run(options) => block_on(play::play(&options)),
        Command::Test => suite::test(),
        Command::Tidy => tidy::tidy(),
        Command::Deny(options) => deny::deny(&options),
        Command::Bench(options) => block_on(unless_interrupted(bench::bench(options))),
        Command::Conformance => conformance::write(),
        Command::Counts => counts::counts(),
        Command::Chaos(options) => block_on(unless_interrupted(chaos::chaos(options))),
        Command::Fleet(options) => block_on(unless_interrupted(fleet::fleet(options))),
        Command::Sim { arguments } => sim::sim(&arguments),
        Command::Toolchains => block_on(unless_interrupted(toolchains::toolchains())),
        Command::Package(options) => package::package(&options),
        Command::TestArm(options) => block_on(unless_interrupted(arm::test_arm(&options))),
        Command::TestService(options) => {
            block_on(unless_interrupted(service::test_service(&options)))
        }
        Command::Sanitize => sanitize::sanitize(),
        Command::TestPi(options) => block_on(unless_interrupted(pi::test_pi(options))),
        Command::Nightly(options) => block_on(unless_interrupted(nightly::nightly(&options))),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("\nxtask: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn block_on(command: impl Future<Output = Result<()>>) -> Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(command)
}

/// Gives up when somebody interrupts, so that whatever was started is dropped and thereby ended.
async fn unless_interrupted<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::select! {
        done = work => done,
        signal = interruption() => Err(Failure::new(signal?)),
    }
}

/// Waits for Ctrl-C or SIGTERM and names it.
async fn interruption() -> Result<&'static str> {
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted?,
        _ = terminate.recv() => return Ok("terminated"),
    }
    Ok("interrupted")
}

const EX_USAGE: u8 = 64;
