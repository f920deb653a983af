//! `hearthd doctor --devices`: what the machine offers to lights and thermostats.

mod snippet;
#[cfg(test)]
mod tests;

use std::{path::Path, process::ExitCode};

use hearthd_hardware::{
    FoundThermometer, GpioChip, LedFound, PwmChip, Root, gpio_chips, leds, pwm_chips, thermometers,
};
use serde_json::{Value, json};

use super::super::{exit, fail};

/// What a machine offers.
struct Offer {
    thermometers: Vec<FoundThermometer>,
    leds: Vec<LedFound>,
    pwm_chips: Vec<PwmChip>,
    gpio_chips: Vec<GpioChip>,
}

/// Prints what the machine offers; its /sys and /dev are below `root`.
pub(super) fn list(root: &Path, as_json: bool) -> ExitCode {
    if !root.is_dir() {
        return fail(exit::NO_INPUT, format!("{} is not a folder", root.display()));
    }
    let offer = Offer::of(&Root::new(root));
    if as_json {
        say!("{:#}", offer.to_json());
    } else {
        say!("{}", offer.to_snippet().trim_end());
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
