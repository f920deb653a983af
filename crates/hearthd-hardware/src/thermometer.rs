//! The sensors that a table can name, and how each is read.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::root::{HWMON, HardwareError, IIO, Root, THERMAL, W1, read_number, read_text};
use crate::w1;

/// A thermometer as a table names it: exactly one of the sources, and a correction.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Thermometer {
    /// A DS18B20 on the 1-wire bus, by its ID, such as `28-0000075a9f3c`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub w1: Option<String>,
    /// A chip of the hwmon class.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hwmon: Option<Hwmon>,
    /// A chip of the IIO bus.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub iio: Option<Iio>,
    /// A thermal zone by its type, such as `cpu-thermal`, or by its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thermal_zone: Option<String>,
    /// Any file that holds a number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<PlainFile>,
    /// Kelvin to add to each reading.
    #[serde(skip_serializing_if = "is_zero")]
    pub offset: f64,
}

/// A chip of the hwmon class.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Hwmon {
    /// What the chip's `name` file says, or the name of its folder.
    pub name: String,
    /// The input, `temp1` by default.
    #[serde(default = "temp1")]
    pub input: String,
}

/// A chip of the IIO bus.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Iio {
    /// What the chip's `name` file says, or the name of its folder.
    pub name: String,
    /// The channel, `in_temp` by default.
    #[serde(default = "in_temp")]
    pub channel: String,
}

/// A file that holds a number.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct PlainFile {
    /// The file, below the root.
    pub path: PathBuf,
    /// What the number is multiplied with to be °C: 0.001 where the file holds thousandths.
    #[serde(default = "one")]
    pub scale: f64,
}

/// The one source that a [`Thermometer`] names.
#[derive(Clone, Copy, Debug)]
pub enum Source<'a> {
    /// [`Thermometer::w1`].
    W1(&'a str),
    /// [`Thermometer::hwmon`].
    Hwmon(&'a Hwmon),
    /// [`Thermometer::iio`].
    Iio(&'a Iio),
    /// [`Thermometer::thermal_zone`].
    ThermalZone(&'a str),
    /// [`Thermometer::file`].
    File(&'a PlainFile),
}

impl Thermometer {
    /// Returns the source, where exactly one is named.
    pub fn source(&self) -> Option<Source<'_>> {
        let Self { w1, hwmon, iio, thermal_zone, file, offset: _ } = self;
        let named = [
            w1.as_deref().map(Source::W1),
            hwmon.as_ref().map(Source::Hwmon),
            iio.as_ref().map(Source::Iio),
            thermal_zone.as_deref().map(Source::ThermalZone),
            file.as_ref().map(Source::File),
        ];
        let mut named = named.into_iter().flatten();
        named.next().filter(|_| named.next().is_none())
    }

    /// Returns what no machine can make right: a place within the table, and what is wrong there.
    pub fn problems(&self) -> Vec<(&'static str, String)> {
        let mut problems = Vec::new();
        if !(-20.0..=20.0).contains(&self.offset) {
            problems.push(("offset", format!("{} is not within -20 to 20 K", self.offset)));
        }
        let one_level = |name: &str| !name.is_empty() && !name.contains('/') && name != "..";
        let (place, name) = match self.source() {
            None => {
                let message = "name one of w1, hwmon, iio, thermal_zone, file".to_owned();
                problems.push(("", message));
                return problems;
            }
            Some(Source::W1(id)) => ("w1", id),
            Some(Source::Hwmon(Hwmon { name, input })) => {
                if one_level(name) {
                    ("hwmon.input", input.as_str())
                } else {
                    ("hwmon.name", name.as_str())
                }
            }
            Some(Source::Iio(Iio { name, channel })) => {
                if one_level(name) {
                    ("iio.channel", channel.as_str())
                } else {
                    ("iio.name", name.as_str())
                }
            }
            Some(Source::ThermalZone(zone)) => ("thermal_zone", zone),
            Some(Source::File(PlainFile { path, scale })) => {
                if !path.is_absolute() {
                    problems.push(("file.path", format!("{} is not absolute", path.display())));
                }
                if !scale.is_finite() || *scale == 0.0 {
                    problems.push(("file.scale", format!("{scale} makes no temperature")));
                }
                return problems;
            }
        };
        if !one_level(name) {
            problems.push((place, format!("`{name}` is not a name")));
        }
        problems
    }

    /// Reads the temperature in °C.
    ///
    /// A DS18B20 takes 0.75 s for it, and longer where the bus is bad.
    pub fn read(&self, root: &Root) -> Result<f64, HardwareError> {
        let celsius = match self.source() {
            None => return Err(HardwareError::content(Path::new("sensor"), "no source")),
            Some(Source::W1(id)) => read_w1(root, id)?,
            Some(Source::Hwmon(Hwmon { name, input })) => {
                let chip = root.find(&HWMON, name)?;
                read_number(&chip.join(format!("{input}_input")))? / 1000.0
            }
            Some(Source::Iio(Iio { name, channel })) => read_iio(&root.find(&IIO, name)?, channel)?,
            Some(Source::ThermalZone(zone)) => {
                let zone = root.find(&THERMAL, zone)?;
                read_number(&zone.join("temp"))? / 1000.0
            }
            Some(Source::File(PlainFile { path, scale })) => read_number(&root.path(path))? * scale,
        };
        Ok(celsius + self.offset)
    }
}

fn read_w1(root: &Root, id: &str) -> Result<f64, HardwareError> {
    let sensor = root.find(&W1, id)?;
    let slave = sensor.join("w1_slave");
    if slave.exists() {
        let text = read_text(&slave)?;
        return w1::celsius(&text).map_err(|reason| HardwareError::content(&slave, reason));
    }
    let temperature = sensor.join("temperature");
    let celsius = read_number(&temperature)? / 1000.0;
    if w1::is_power_on(celsius) {
        return Err(HardwareError::content(&temperature, w1::POWER_ON));
    }
    Ok(celsius)
}

/// Reads a channel in the kernel's unit, thousandths of a degree: as it is, or `(raw + offset) * scale`.
fn read_iio(chip: &Path, channel: &str) -> Result<f64, HardwareError> {
    let file = |kind: &str| chip.join(format!("{channel}_{kind}"));
    if file("input").exists() {
        return Ok(read_number(&file("input"))? / 1000.0);
    }
    let or = |kind: &str, default: f64| {
        if file(kind).exists() { read_number(&file(kind)) } else { Ok(default) }
    };
    let (offset, scale) = (or("offset", 0.0)?, or("scale", 1.0)?);
    Ok((read_number(&file("raw"))? + offset) * scale / 1000.0)
}

fn temp1() -> String {
    "temp1".into()
}

fn in_temp() -> String {
    "in_temp".into()
}

fn one() -> f64 {
    1.0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_zero(number: &f64) -> bool {
    *number == 0.0
}
