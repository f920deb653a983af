//! An LED of the kernel's LED class.

use std::path::PathBuf;

use hearthd_hardware::{LEDS, Root, read_number};
use serde::Deserialize;

use crate::TableProblem;
use crate::output::{OpenOutput, OutputError, write};

/// An LED by its name below `/sys/class/leds`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Led {
    /// The name.
    pub name: String,
}

#[derive(Debug)]
struct Open {
    brightness: PathBuf,
    max: f64,
}

impl Led {
    pub(crate) fn problems(&self) -> Vec<TableProblem> {
        if self.name.is_empty() || self.name.contains('/') {
            return vec![("led.name", format!("`{}` is not a name", self.name))];
        }
        Vec::new()
    }

    pub(crate) fn open(&self, root: &Root, level: f64) -> Result<Box<dyn OpenOutput>, OutputError> {
        let folder = root.find(&LEDS, &self.name)?;
        // A trigger would go on writing the brightness.
        write(&folder.join("trigger"), "none")?;
        let max = read_number(&folder.join("max_brightness"))?;
        let mut open = Open { brightness: folder.join("brightness"), max };
        open.drive(level)?;
        Ok(Box::new(open))
    }
}

impl OpenOutput for Open {
    fn drive(&mut self, level: f64) -> Result<(), OutputError> {
        // The least light is still light.
        let least = if level > 0.0 { 1.0 } else { 0.0 };
        let brightness = (level * self.max).round().max(least);
        Ok(write(&self.brightness, brightness.to_string())?)
    }
}
