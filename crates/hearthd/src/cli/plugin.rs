//! `hearthd plugin`: the commands for whoever writes plugins.

use std::process::ExitCode;

use clap::Subcommand;

use super::{plugin_check, plugin_new};

/// The commands below `hearthd plugin`.
#[derive(Debug, Subcommand)]
pub(super) enum PluginCommand {
    /// Write a crate with a lamp that builds and passes its own test.
    New(plugin_new::New),
    /// Tell what a shared object holds, and whether it would load here.
    Check(plugin_check::Check),
}

pub(super) fn main(command: PluginCommand) -> ExitCode {
    match command {
        PluginCommand::New(new) => plugin_new::new(&new),
        PluginCommand::Check(check) => plugin_check::check(&check),
    }
}
