//! `hearthd doctor --devices`: what the machine offers to lights and thermostats.

mod snippet;
#[cfg(test)]
mod tests;

use std::{path::PathBuf, process::ExitCode};

use hearth_hardware::{
    FoundThermometer, GpioChip, LedFound, PwmChip, Root, gpio_chips, leds, pwm_chips, thermometers,
};
use serde_json::{Value, json};

use super::{exit, fail};

/// What to examine.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Doctor {
    /// List thermometers, LEDs, PWM channels and GPIO chips, as a configuration to paste.
    #[arg(long, required = true)]
    devices: bool,
    /// The folder that /sys and /dev are looked up in.
    #[arg(long, default_value = "/")]
    root: PathBuf,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// What a machine offers.
struct Offer {
    thermometers: Vec<FoundThermometer>,
    leds: Vec<LedFound>,
    pwm_chips: Vec<PwmChip>,
    gpio_chips: Vec<GpioChip>,
}

/// Prints what the machine offers.
pub(super) fn examine(doctor: &Doctor) -> ExitCode {
    if !doctor.root.is_dir() {
        return fail(exit::NO_INPUT, format!("{} is not a folder", doctor.root.display()));
    }
    let offer = Offer::of(&Root::new(&doctor.root));
    if doctor.json {
        println!("{:#}", offer.to_json());
    } else {
        print!("{}", offer.to_snippet());
    }
    ExitCode::SUCCESS
}

impl Offer {
    fn of(root: &Root) -> Self {
        Self {
            thermometers: thermometers(root),
            leds: leds(root),
            pwm_chips: pwm_chips(root),
            gpio_chips: gpio_chips(root),
        }
    }

    fn to_json(&self) -> Value {
        let thermometer = |found: &FoundThermometer| match &found.reading {
            Ok(celsius) => json!({"sensor": found.thermometer, "celsius": celsius}),
            Err(error) => json!({"sensor": found.thermometer, "error": error.to_string()}),
        };
        json!({
            "thermometers": self.thermometers.iter().map(thermometer).collect::<Vec<_>>(),
            "leds": self.leds,
            "pwm_chips": self.pwm_chips,
            "gpio_chips": self.gpio_chips,
        })
    }
}
