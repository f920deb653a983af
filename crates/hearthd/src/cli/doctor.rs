//! `hearthd doctor`: what the broker really does, and what the machine offers.

mod broker;
mod devices;

use std::{path::PathBuf, process::ExitCode, time::Duration};

use super::{ConfigFile, parse_duration};

/// What to check.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Doctor {
    #[command(flatten)]
    file: ConfigFile,
    /// How long each step may take.
    #[arg(long, default_value = "5s", value_parser = parse_duration)]
    timeout: Duration,
    /// List thermometers, LEDs, PWM channels and GPIO chips instead, as a configuration to paste.
    #[arg(long, conflicts_with = "timeout")]
    devices: bool,
    /// The folder that /sys and /dev are looked up in.
    #[arg(long, default_value = "/", requires = "devices")]
    root: PathBuf,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Examines the broker of the configuration, or the machine.
pub(super) fn run(doctor: &Doctor) -> ExitCode {
    if doctor.devices {
        devices::list(&doctor.root, doctor.json)
    } else {
        broker::check(&doctor.file.config, doctor.timeout, doctor.json)
    }
}
