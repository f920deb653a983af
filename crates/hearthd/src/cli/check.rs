//! `hearthd check` and `hearthd plugin check`.

use std::{path::Path, process::ExitCode};

use super::{exit, fail};
use crate::{
    config::Limits,
    device::Checked,
    plugin::{Launcher, Plugins, identity::Identity},
    reload,
};

/// Reports every problem of the configuration, of the plugin files and of each device's table, as a reload does.
pub(super) fn check(file: &Path) -> ExitCode {
    let staging = match tempfile::tempdir() {
        Ok(staging) => staging,
        Err(error) => return fail(exit::IO, format!("make a temporary folder: {error}")),
    };
    let none = Plugins::none(&Launcher::new(Limits::default()));
    match reload::prepare(file, &none, &Checked::default(), staging.path()) {
        Ok(prepared) => {
            println!("{}: {} devices, all good", file.display(), prepared.config.devices.len());
            ExitCode::SUCCESS
        }
        Err(problems) => {
            eprintln!("{problems}");
            ExitCode::from(exit::CONFIG)
        }
    }
}

/// Tells what a shared object holds.
pub(super) fn plugin(file: &Path) -> ExitCode {
    let identity = match Identity::read(file) {
        Ok(identity) => identity,
        Err(error) => return fail(exit::CONFIG, error),
    };
    println!("{identity}");
    let staging = match tempfile::tempdir() {
        Ok(staging) => staging,
        Err(error) => return fail(exit::IO, format!("make a temporary folder: {error}")),
    };
    let launcher = Launcher::new(Limits::default());
    let loaded = Plugins::load_file(file, staging.path(), &launcher);
    match loaded {
        Ok(plugins) => {
            for kind in plugins.kinds() {
                println!("kind {kind}");
            }
            ExitCode::SUCCESS
        }
        Err(error) => fail(exit::CONFIG, error),
    }
}
