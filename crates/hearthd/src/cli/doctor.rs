//! `hearthd doctor`: tests the broker and says how a phone reaches the page, or lists what can become a device.

mod broker;
mod devices;

use std::{path::PathBuf, process::ExitCode, time::Duration};

use super::{ConfigFile, page, parse_duration};

/// What to check.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Doctor {
    #[command(flatten)]
    file: ConfigFile,
    /// The time limit for each step.
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = parse_duration)]
    timeout: Duration,
    /// The configuration file of hearth-web, for the addresses at which a phone finds the page.
    #[arg(long, value_name = "FILE", default_value = page::WEB_CONFIG)]
    web_config: PathBuf,
    /// List what can become a device instead, as lines to paste into the configuration: thermometers, LEDs, PWM channels
    /// and GPIO chips of this machine, and the devices of Zigbee2MQTT, Tasmota, Shelly and ESPHome at the broker.
    #[arg(long)]
    devices: bool,
    /// The folder that contains /sys and /dev.
    #[arg(long, value_name = "DIR", default_value = "/", requires = "devices")]
    root: PathBuf,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Tests the configured broker and looks for the page, or lists what can become a device.
pub(super) fn run(doctor: &Doctor) -> ExitCode {
    if doctor.devices { devices::list(doctor) } else { broker::check(doctor) }
}
