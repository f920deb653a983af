//! `hearthd check`.

use std::{path::Path, process::ExitCode};

use super::{complain, counted, exit, fail};
use crate::{
    config::Limits,
    device::Checked,
    plugin::{Launcher, Plugins},
    preflight,
};

/// Reports every problem of the configuration, of the plugin files and of each device's table, as a reload does.
pub(super) fn check(file: &Path) -> ExitCode {
    let staging = match tempfile::tempdir() {
        Ok(staging) => staging,
        Err(error) => return fail(exit::IO, format!("make a temporary folder: {error}")),
    };
    let none = Plugins::none(&Launcher::new(Limits::default()));
    match preflight::check(file, &none, &Checked::default(), staging.path()) {
        Ok(accepted) => {
            for warning in &accepted.config.warnings {
                complain(format_args!("warning: {warning}"));
            }
            let devices = counted(accepted.config.devices.len(), "device");
            say!("{}: {devices}, all good", file.display());
            for (device, topics) in accepted.checked.topics() {
                for (purpose, filter) in topics.all() {
                    say!("{device}: MQTT {purpose} {}", filter.as_str());
                }
                for other in &topics.ask {
                    say!("{device}: asks {other}");
                }
                for (other, property) in &topics.follow {
                    say!("{device}: follows {other}/{property}");
                }
            }
            for device in accepted.checked.adding() {
                say!("{device}: may add devices of its own, as {device}-NAME");
            }
            ExitCode::SUCCESS
        }
        Err(problems) => {
            complain(format_args!("{problems}"));
            ExitCode::from(exit::CONFIG)
        }
    }
}
