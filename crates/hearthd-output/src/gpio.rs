//! A line of a GPIO chip, held as an output.

use std::fmt;
use std::path::PathBuf;

use gpiocdev::line::Value;
use gpiocdev::{Chip, Request};
use hearthd_hardware::{HardwareError, Root};
use serde::Deserialize;
use serde::de::{Deserializer, Error, Unexpected, Visitor};

use crate::TableProblem;
use crate::output::{OpenOutput, OutputError};

/// The kernel keeps so many bytes of a consumer's name.
const CONSUMER: usize = 31;

/// A GPIO line.
///
/// The kernel frees the line when the daemon ends: choose a wiring in which a free line is off.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gpio {
    /// The line: its name, such as `GPIO17`, or its offset in the chip.
    pub line: Line,
    /// The chip: its label, such as `pinctrl-bcm2711`, or its name; needed for an offset.
    #[serde(default)]
    pub chip: Option<String>,
    /// Whether the line is low while the load is on.
    #[serde(default)]
    pub active_low: bool,
}

/// How a table names a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// By its name.
    Name(String),
    /// By its number in the chip.
    Offset(u32),
}

#[derive(Debug)]
struct Open {
    request: Request,
    what: String,
}

impl Gpio {
    pub(crate) fn problems(&self) -> Vec<TableProblem> {
        let mut problems = Vec::new();
        match (&self.line, &self.chip) {
            (Line::Offset(offset), None) => {
                let message = format!("line {offset} of which chip? The offset alone does not say");
                problems.push(("gpio.chip", message));
            }
            (Line::Name(name), _) if name.is_empty() => {
                problems.push(("gpio.line", "a name or an offset is expected".into()));
            }
            (Line::Name(_) | Line::Offset(_), _) => {}
        }
        problems
    }

    /// Takes the line, with the level from its first moment on.
    pub(crate) fn open(
        &self,
        root: &Root,
        consumer: &str,
        level: f64,
    ) -> Result<Box<dyn OpenOutput>, OutputError> {
        let (chip, offset) = self.find(root)?;
        let what = format!("{} line {offset}", chip.display());
        let mut builder = Request::builder();
        let consumer = consumer_name(consumer);
        builder.on_chip(chip).with_consumer(consumer).with_line(offset).as_output(value(level));
        if self.active_low {
            builder.as_active_low();
        }
        match builder.request() {
            Ok(request) => Ok(Box::new(Open { request, what })),
            Err(source) => Err(OutputError::Gpio { what, source }),
        }
    }

    /// Returns the chip's file and the line's offset.
    pub(crate) fn find(&self, root: &Root) -> Result<(PathBuf, u32), OutputError> {
        let mut present = Vec::new();
        let mut refused = None;
        let names = root.names("/dev").into_iter().filter(|name| name.starts_with("gpiochip"));
        for name in names {
            let path = root.path("/dev").join(&name);
            let gpio = |source| OutputError::Gpio { what: path.display().to_string(), source };
            let (chip, info) = match Chip::from_path(&path)
                .and_then(|chip| chip.info().map(|info| (chip, info)))
            {
                Ok(opened) => opened,
                Err(error) => {
                    refused = Some(gpio(error));
                    continue;
                }
            };
            if self.chip.as_ref().is_some_and(|wanted| *wanted != name && *wanted != info.label) {
                present.push(format!("{name} ({})", info.label));
                continue;
            }
            match &self.line {
                Line::Offset(offset) if *offset < info.num_lines => return Ok((path, *offset)),
                Line::Offset(_) => present.push(format!("{name} with {} lines", info.num_lines)),
                Line::Name(line) => match chip.find_line_info(line) {
                    Some(found) => return Ok((path, found.offset)),
                    None => present.push(format!("{name} ({})", info.label)),
                },
            }
        }
        let what = match (&self.line, &self.chip) {
            (Line::Name(line), None) => format!("GPIO line `{line}`"),
            (Line::Name(line), Some(chip)) => format!("GPIO line `{line}` of chip `{chip}`"),
            (Line::Offset(line), Some(chip)) => format!("GPIO line {line} of chip `{chip}`"),
            (Line::Offset(line), None) => format!("GPIO line {line}"),
        };
        let place = root.path("/dev").display().to_string();
        Err(refused.unwrap_or(OutputError::Hardware(HardwareError::Absent {
            what,
            place,
            present,
        })))
    }
}

impl OpenOutput for Open {
    fn drive(&mut self, level: f64) -> Result<(), OutputError> {
        self.request
            .set_lone_value(value(level))
            .map_err(|source| OutputError::Gpio { what: self.what.clone(), source })
    }
}

/// Returns the name under which the kernel shows who holds a line.
pub(crate) fn consumer_name(device: &str) -> String {
    device.chars().filter(char::is_ascii).take(CONSUMER).collect()
}

fn value(level: f64) -> Value {
    if level > 0.0 { Value::Active } else { Value::Inactive }
}

impl<'de> Deserialize<'de> for Line {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(LineVisitor)
    }
}

struct LineVisitor;

impl Visitor<'_> for LineVisitor {
    type Value = Line;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a line's name such as \"GPIO17\", or its offset in the chip")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Line, E> {
        Ok(Line::Name(name.to_owned()))
    }

    fn visit_u64<E: Error>(self, offset: u64) -> Result<Line, E> {
        u32::try_from(offset)
            .map(Line::Offset)
            .map_err(|_| E::invalid_value(Unexpected::Unsigned(offset), &self))
    }

    fn visit_i64<E: Error>(self, offset: i64) -> Result<Line, E> {
        u32::try_from(offset)
            .map(Line::Offset)
            .map_err(|_| E::invalid_value(Unexpected::Signed(offset), &self))
    }
}
