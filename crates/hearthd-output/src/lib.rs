//! Switches and dims what is wired to a machine: GPIO lines, LEDs, PWM channels, and programs that do it. It also
//! watches the GPIO lines that something outside drives.
//!
//! An [`Output`] is what a device holds. It opens its hardware when it is first driven, and anew after a failure, so
//! hardware that the kernel or udev makes ready late costs a retry and not a device.

mod command;
mod error;
mod gpio;
mod input;
mod led;
mod output;
mod pwm;

pub use command::OutputCommand;
pub use error::DriveError;
pub use gpio::{Gpio, Line};
pub use hearthd_program::ProgramError;
pub use input::{GpioInput, LineEvent, Pull};
pub use led::Led;
pub use output::{Output, OutputError, Wiring};
pub use pwm::{Polarity, Pwm};

/// What is wrong in a table: a place within it, and a message.
pub type TableProblem = (&'static str, String);
