//! A PWM channel of the kernel's PWM class.

use std::path::PathBuf;

use hearthd_hardware::{HardwareError, PWM, Root, read_number};
use serde::Deserialize;

use crate::TableProblem;
use crate::output::{OpenOutput, OutputError, write};

const NANOSECONDS: f64 = 1e9;

/// A PWM channel.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pwm {
    /// The chip: `pwmchip0`, or better the device behind it, such as `fe20c000.pwm`, which stays the same.
    pub chip: String,
    /// The channel, counted from 0.
    pub channel: u32,
    /// In hertz, 1000 by default.
    #[serde(default = "kilohertz")]
    pub frequency: f64,
    /// `inversed` where the load is on while the line is low.
    #[serde(default)]
    pub polarity: Polarity,
}

/// Which half of the wave is on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Polarity {
    /// High.
    #[default]
    Normal,
    /// Low.
    Inversed,
}

#[derive(Debug)]
struct Open {
    duty: PathBuf,
    period: f64,
}

impl Pwm {
    pub(crate) fn problems(&self) -> Vec<TableProblem> {
        let mut problems = Vec::new();
        if self.chip.is_empty() || self.chip.contains('/') {
            problems.push(("pwm.chip", format!("`{}` is not a name", self.chip)));
        }
        if !(1.0..=1_000_000.0).contains(&self.frequency) {
            let message = format!("{} is not within 1 to 1000000 Hz", self.frequency);
            problems.push(("pwm.frequency", message));
        }
        problems
    }

    pub(crate) fn open(&self, root: &Root, level: f64) -> Result<Box<dyn OpenOutput>, OutputError> {
        let chip = root.find(&PWM, &self.chip)?;
        let channels = read_number(&chip.join("npwm"))?;
        if f64::from(self.channel) >= channels {
            let present = (0..).take_while(|&n| f64::from(n) < channels);
            return Err(OutputError::Hardware(HardwareError::Absent {
                what: format!("channel {}", self.channel),
                place: chip.display().to_string(),
                present: present.map(|n: u32| n.to_string()).collect(),
            }));
        }
        let channel = chip.join(format!("pwm{}", self.channel));
        if !channel.exists() {
            write(&chip.join("export"), self.channel.to_string())?;
        }
        let file = |name: &str| channel.join(name);
        let period = (NANOSECONDS / self.frequency).round();
        // The kernel refuses a period below the duty cycle, and a polarity while the channel is on; the driver of the
        // Pi refuses any change before the first period.
        if read_number(&file("period"))? != 0.0 {
            write(&file("duty_cycle"), "0")?;
        }
        write(&file("period"), period.to_string())?;
        let polarity = match self.polarity {
            Polarity::Normal => "normal",
            Polarity::Inversed => "inversed",
        };
        let present = std::fs::read_to_string(file("polarity"));
        if present.map_or(self.polarity != Polarity::Normal, |text| text.trim() != polarity) {
            if read_number(&file("enable"))? != 0.0 {
                write(&file("enable"), "0")?;
            }
            write(&file("polarity"), polarity)?;
        }
        let mut open = Open { duty: file("duty_cycle"), period };
        open.drive(level)?;
        write(&file("enable"), "1")?;
        Ok(Box::new(open))
    }
}

impl OpenOutput for Open {
    fn drive(&mut self, level: f64) -> Result<(), OutputError> {
        Ok(write(&self.duty, (level * self.period).round().to_string())?)
    }
}

fn kilohertz() -> f64 {
    1000.0
}
