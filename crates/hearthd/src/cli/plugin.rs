//! `hearthd plugin`: the commands for whoever writes plugins.

use std::{path::PathBuf, process::ExitCode};

use clap::Subcommand;

use super::{plugin_check, plugin_new};

/// The commands below `hearthd plugin`.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Write a crate with a lamp that builds and passes its own test.
    New(plugin_new::New),
    /// Tell what a shared object holds, and whether it would load here.
    Check(plugin_check::Check),
    /// Load a shared object and write down what is in it; `check` runs this as a process of its own.
    #[command(hide = true)]
    Examine {
        /// The shared object.
        file: PathBuf,
        /// The device's table as JSON.
        config: String,
        /// Where to write.
        report: PathBuf,
    },
}

pub(super) fn main(command: Command) -> ExitCode {
    match command {
        Command::New(new) => plugin_new::new(&new),
        Command::Check(check) => plugin_check::check(&check),
        Command::Examine { file, config, report } => plugin_check::examine(&file, &config, &report),
    }
}
