//! Switches and dims what is wired to a machine: GPIO lines, LEDs, PWM channels, and programs that do it.
//!
//! A [`Wire`] is what a device holds. It opens its hardware when it is first driven, and anew after a failure, so
//! hardware that the kernel or udev makes ready late costs a retry and not a device.
#![deny(missing_docs)]

mod command;
mod gpio;
mod led;
mod pwm;
mod wire;

pub use command::Command;
pub use gpio::{Gpio, Line};
pub use hearthd_program::ProgramError;
pub use led::Led;
pub use pwm::{Polarity, Pwm};
pub use wire::{OutputError, Wire, Wiring};

/// What is wrong in a table: a place within it, and a message.
pub type Problem = (&'static str, String);
