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
    /// List what can become a device instead, as a configuration to paste: thermometers, LEDs, PWM channels and GPIO
    /// chips of the machine, and what Zigbee2MQTT, Tasmota, Shelly and ESPHome keep at the broker.
    #[arg(long)]
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
        devices::list(doctor)
    } else {
        broker::check(&doctor.file.config, doctor.timeout, doctor.json)
    }
}
