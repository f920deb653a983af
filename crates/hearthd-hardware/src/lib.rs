//! What a machine offers a home: thermometers, LEDs, PWM channels and GPIO chips, read from plain files.
//!
//! Everything is looked up below a [`Root`], so a test builds a tree of files and is a machine.

mod census;
mod found;
mod root;
mod thermometer;
mod w1;

pub use census::{GpioChip, LedFound, PwmChip, gpio_chips, leds, pwm_chips};
pub use found::{FoundThermometer, thermometers};
pub use root::{Class, HardwareError, LEDS, PWM, Root, read_number};
pub use thermometer::{Hwmon, Iio, PlainFile, Source, Thermometer};
