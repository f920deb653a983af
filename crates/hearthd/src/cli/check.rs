//! `hearthd check` and `hearthd plugin check`.

use std::{path::Path, process::ExitCode};

use super::{exit, fail};
use crate::{
    config::{Config, Limits},
    device::{self, Checked},
    plugin::{Launcher, Plugins, identity::Identity},
};

/// Reports every problem of the configuration, of the plugin files and of each device's table.
pub(super) fn check(file: &Path) -> ExitCode {
    let config = match Config::load(file) {
        Ok(config) => config,
        Err(problems) => {
            eprintln!("{problems}");
            return ExitCode::from(exit::CONFIG);
        }
    };
    let staging = match tempfile::tempdir() {
        Ok(staging) => staging,
        Err(error) => return fail(exit::IO, format!("make a temporary folder: {error}")),
    };
    let launcher = Launcher::new(config.containment.limits);
    let (plugins, errors) = Plugins::load(&config.plugin_path, staging.path(), &launcher);
    let problems = device::check(&config, &plugins, &Checked::default()).err().unwrap_or_default();
    for error in &errors {
        eprintln!("{error}");
    }
    if !problems.is_empty() {
        eprintln!("{}", render(file, &config, &problems));
    }
    if errors.is_empty() && problems.is_empty() {
        println!("{}: {} devices, all good", file.display(), config.devices.len());
        return ExitCode::SUCCESS;
    }
    ExitCode::from(exit::CONFIG)
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

/// Writes the devices' own complaints as `file:line:column: devices.ID.config.path: message`.
pub(super) fn render(
    file: &Path,
    config: &Config,
    problems: &[(String, String, String)],
) -> String {
    let line = |(device, path, message): &(String, String, String)| {
        let place = match config.locate(device, path) {
            Some((line, column)) => format!("{}:{line}:{column}", file.display()),
            None => file.display().to_string(),
        };
        let dot = if path.is_empty() { "" } else { "." };
        format!("{place}: devices.{device}.config{dot}{path}: {message}")
    };
    problems.iter().map(line).collect::<Vec<_>>().join("\n")
}
