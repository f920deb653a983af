//! `hearthd plugin`: commands for plugin authors.

use std::process::ExitCode;

use clap::Subcommand;

use super::{plugin_check, plugin_new, plugin_try};

/// The commands below `hearthd plugin`.
#[derive(Debug, Subcommand)]
pub(super) enum PluginCommand {
    /// Make a crate with a lamp, which builds and passes its own test, or a program in Python.
    New(plugin_new::New),
    /// Show what a plugin file contains, and whether it would load here.
    Check(plugin_check::Check),
    /// Run one device of a plugin by hand or by a script, without a hub.
    ///
    /// The device runs in a process of its own, as in the hub, on a clock that stands still between two commands. A
    /// script is a test: the exit code is 0 if each of its lines came true, and 1 otherwise.
    Try(plugin_try::Try),
}

/// Runs `hearthd plugin`.
pub(super) fn main(command: PluginCommand) -> ExitCode {
    match command {
        PluginCommand::New(new) => plugin_new::new(&new),
        PluginCommand::Check(check) => plugin_check::check(&check),
        PluginCommand::Try(arguments) => plugin_try::try_out(&arguments),
    }
}
