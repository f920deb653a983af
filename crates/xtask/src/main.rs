//! The commands of the README: `cargo xtask demo | run | test | bench | toolchains | sanitize`.

mod bench;
mod demo;
mod play;
mod sanitize;
mod suite;
mod toolchains;
mod transcript;

use std::{future::Future, process::ExitCode};

use hearth_tests::{Failure, Result};
use tokio::signal::unix::{SignalKind, signal};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let done = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["demo"] => block_on(unless_interrupted(demo::demo())),
        ["run"] => block_on(play::play()),
        ["test"] => suite::test(),
        ["bench"] => block_on(unless_interrupted(bench::bench())),
        ["toolchains"] => block_on(unless_interrupted(toolchains::toolchains())),
        ["sanitize"] => sanitize::sanitize(),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(EX_USAGE);
        }
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

const USAGE: &str = "usage: cargo xtask COMMAND

  demo        build, and play one evening at home: requests, answers, a crash, a will
  run         start a broker and the daemon to play with by hand
  test        every test, the end-to-end ones against real brokers
  bench       what a request through the daemon costs
  toolchains  plugins of every Rust toolchain that is here, behind one daemon
  sanitize    look for undefined behaviour with Miri and AddressSanitizer (nightly)";
