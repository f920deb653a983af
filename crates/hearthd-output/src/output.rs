//! An output that is opened when it can be, and opened anew after a failure.

use std::fmt::Debug;

use hearthd_hardware::{HardwareError, Root};

use crate::{Gpio, Led, Pwm, TableProblem};

/// One output of the machine, as a table names it.
#[derive(Clone, Debug)]
pub enum Wiring {
    /// A GPIO line, on or off.
    Gpio(Gpio),
    /// An LED of the kernel's LED class, which may be a relay.
    Led(Led),
    /// A PWM channel.
    Pwm(Pwm),
}

/// Why an output cannot be driven.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// Its files are missing or refuse.
    #[error(transparent)]
    Hardware(#[from] HardwareError),
    /// The GPIO line is not to be had.
    #[error("{what}: {source}")]
    Gpio {
        /// The chip and the line.
        what: String,
        /// What the system says.
        source: gpiocdev::Error,
    },
}

/// One output of the machine.
#[derive(Debug)]
pub struct Output {
    wiring: Wiring,
    root: Root,
    consumer: String,
    open: Option<Box<dyn OpenOutput>>,
}

/// Hardware that is open.
pub(crate) trait OpenOutput: Debug + Send {
    /// Drives the output: 0 is off, 1 is full.
    fn drive(&mut self, level: f64) -> Result<(), OutputError>;
}

impl Wiring {
    /// Returns what no machine can make right.
    pub fn problems(&self) -> Vec<TableProblem> {
        match self {
            Self::Gpio(gpio) => gpio.problems(),
            Self::Led(led) => led.problems(),
            Self::Pwm(pwm) => pwm.problems(),
        }
    }
}

impl Output {
    /// Makes an output that opens nothing yet; the kernel shows the consumer beside a GPIO line.
    pub fn new(wiring: Wiring, root: Root, consumer: impl Into<String>) -> Self {
        Self { wiring, root, consumer: consumer.into(), open: None }
    }

    /// Drives the output: 0 is off, 1 is full.
    ///
    /// After a failure the hardware is opened anew by the next call.
    pub fn drive(&mut self, level: f64) -> Result<(), OutputError> {
        let level = level.clamp(0.0, 1.0);
        let Some(open) = &mut self.open else {
            let open = match &self.wiring {
                Wiring::Gpio(gpio) => gpio.open(&self.root, &self.consumer, level)?,
                Wiring::Led(led) => led.open(&self.root, level)?,
                Wiring::Pwm(pwm) => pwm.open(&self.root, level)?,
            };
            self.open = Some(open);
            return Ok(());
        };
        let driven = open.drive(level);
        if driven.is_err() {
            self.open = None;
        }
        driven
    }
}

/// Writes a file of the kernel's.
pub(crate) fn write(path: &std::path::Path, text: impl AsRef<[u8]>) -> Result<(), HardwareError> {
    // Opened without creating it: a missing file of /sys is to be noticed.
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .truncate(true)
        .open(path)
        .map_err(|error| HardwareError::file(path, error))?;
    std::io::Write::write_all(&mut file, text.as_ref())
        .map_err(|error| HardwareError::file(path, error))
}
