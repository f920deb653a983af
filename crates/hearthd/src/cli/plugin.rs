//! `hearthd plugin`: commands for plugin authors.

use std::process::ExitCode;

use clap::Subcommand;

use super::{plugin_check, plugin_new};

/// The commands below `hearthd plugin`.
#[derive(Debug, Subcommand)]
pub(super) enum PluginCommand {
    /// Make a crate with a lamp, which builds and passes its own test, or a program in Python.
    New(plugin_new::New),
    /// Show what a plugin file contains, and whether it would load here.
    Check(plugin_check::Check),
}

/// Runs `hearthd plugin`.
pub(super) fn main(command: PluginCommand) -> ExitCode {
    match command {
        PluginCommand::New(new) => plugin_new::new(&new),
        PluginCommand::Check(check) => plugin_check::check(&check),
    }
}
