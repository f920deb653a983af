//! Where the machine's files are, and what can go wrong with them.

use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// The folder that `/sys`, `/dev` and `/proc` are looked up in.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Root(PathBuf);

/// A folder in which the kernel keeps one kind of hardware.
#[derive(Clone, Copy, Debug)]
pub struct Class {
    /// The folder.
    pub folder: &'static str,
    /// What a person calls a member.
    pub what: &'static str,
    /// Which names in the folder are members.
    pub(crate) holds: fn(&str) -> bool,
    pub(crate) label: Label,
}

/// Where a member of a class says what it is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Label {
    /// Nowhere: its name stays the same.
    None,
    /// In a file.
    File(&'static str),
    /// In the name of the folder that a link leads to.
    Link(&'static str),
}

/// Sensors on the 1-wire bus: DS18S20, DS1822, DS18B20, MAX31850, DS28EA00.
pub(crate) const W1: Class = Class {
    folder: "/sys/bus/w1/devices",
    what: "sensor",
    holds: |name| ["10-", "22-", "28-", "3b-", "42-"].iter().any(|code| name.starts_with(code)),
    label: Label::None,
};

pub(crate) const HWMON: Class = Class {
    folder: "/sys/class/hwmon",
    what: "chip",
    holds: |name| name.starts_with("hwmon"),
    label: Label::File("name"),
};

pub(crate) const IIO: Class = Class {
    folder: "/sys/bus/iio/devices",
    what: "sensor",
    holds: |name| name.starts_with("iio:device"),
    label: Label::File("name"),
};

pub(crate) const THERMAL: Class = Class {
    folder: "/sys/class/thermal",
    what: "thermal zone",
    holds: |name| name.starts_with("thermal_zone"),
    label: Label::File("type"),
};

/// The kernel's LEDs.
pub const LEDS: Class =
    Class { folder: "/sys/class/leds", what: "LED", holds: |_| true, label: Label::None };

/// The kernel's PWM chips; a chip's label is the device behind it, such as `fe20c000.pwm`.
pub const PWM: Class = Class {
    folder: "/sys/class/pwm",
    what: "PWM chip",
    holds: |name| name.starts_with("pwmchip"),
    label: Label::Link("device"),
};

/// Why a piece of hardware cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HardwareError {
    /// There is no such thing now; it may appear later.
    #[error("no such {what} in {place}; {}", present_ones(.present))]
    Absent {
        /// What was looked for, such as "LED `relay`".
        what: String,
        /// Where it was looked for.
        place: String,
        /// What is there instead.
        present: Vec<String>,
    },
    /// A file cannot be read or written.
    #[error("{path}: {}", reason(.source))]
    File {
        /// The file.
        path: String,
        /// What the system says.
        source: io::Error,
    },
    /// A file holds what makes no sense.
    #[error("{path}: {reason}")]
    Content {
        /// The file.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl HardwareError {
    /// Makes an error from a file and what the system says about it.
    pub fn file(path: &Path, source: io::Error) -> Self {
        Self::File { path: path.display().to_string(), source }
    }

    pub(crate) fn content(path: &Path, reason: impl Into<String>) -> Self {
        Self::Content { path: path.display().to_string(), reason: reason.into() }
    }
}

impl Default for Root {
    fn default() -> Self {
        Self::new("/")
    }
}

impl Root {
    /// Makes a root of a folder.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self(folder.into())
    }

    /// Returns where an absolute path lies below the root.
    pub fn path(&self, absolute: impl AsRef<Path>) -> PathBuf {
        let path = absolute.as_ref();
        self.0.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// Returns the names in a folder in order; none where it cannot be read.
    pub fn names(&self, absolute: impl AsRef<Path>) -> Vec<String> {
        let entries = std::fs::read_dir(self.path(absolute)).into_iter().flatten().flatten();
        let mut names: Vec<String> =
            entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort_by_key(|name| numbered(name));
        names
    }

    /// Returns the members of a class.
    pub fn members(&self, class: &Class) -> Vec<String> {
        let mut names = self.names(class.folder);
        names.retain(|name| (class.holds)(name));
        names
    }

    /// Returns the folder of a member of a class, by its own name or by its label.
    pub fn find(&self, class: &Class, wanted: &str) -> Result<PathBuf, HardwareError> {
        let mut present = Vec::new();
        for name in self.members(class) {
            let path = self.path(class.folder).join(&name);
            let label = class.label_of(&path);
            if name == wanted || label.as_deref() == Some(wanted) {
                return Ok(path);
            }
            present.push(label.unwrap_or(name));
        }
        Err(HardwareError::Absent {
            what: format!("{} `{wanted}`", class.what),
            place: self.path(class.folder).display().to_string(),
            present,
        })
    }
}

impl Class {
    /// Returns what a member calls itself, which stays the same where the kernel's number does not.
    pub(crate) fn label_of(&self, member: &Path) -> Option<String> {
        match self.label {
            Label::None => None,
            Label::File(file) => read_text(&member.join(file)).ok().filter(|text| !text.is_empty()),
            Label::Link(link) => {
                let target = member.join(link).canonicalize().ok()?;
                target.file_name()?.to_str().map(str::to_owned)
            }
        }
    }
}

/// Reads a file of one line, without the newline.
pub(crate) fn read_text(path: &Path) -> Result<String, HardwareError> {
    let text = std::fs::read_to_string(path).map_err(|error| HardwareError::file(path, error))?;
    Ok(text.trim().to_owned())
}

/// Reads a file that holds a number.
pub fn read_number(path: &Path) -> Result<f64, HardwareError> {
    let text = read_text(path)?;
    text.parse()
        .ok()
        .filter(|number: &f64| number.is_finite())
        .ok_or_else(|| HardwareError::content(path, format!("`{text}` is not a number")))
}

/// Orders `hwmon10` after `hwmon9`.
fn numbered(name: &str) -> (String, u64, String) {
    let stem = name.trim_end_matches(|c: char| c.is_ascii_digit());
    (stem.to_owned(), name[stem.len()..].parse().unwrap_or(0), name.to_owned())
}

fn present_ones(present: &[String]) -> String {
    if present.is_empty() {
        "there is none".into()
    } else {
        format!("present: {}", present.join(", "))
    }
}

/// Says what the system says, and what to do about the two usual reasons.
fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "no such file".into(),
        io::ErrorKind::PermissionDenied => {
            "permission denied; may the daemon's user or group write it?".into()
        }
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absolute_paths_stay_below_the_root() {
        assert_eq!(Root::new("/tmp/x").path("/sys/class"), Path::new("/tmp/x/sys/class"));
        assert_eq!(Root::default().path("/dev/gpiochip0"), Path::new("/dev/gpiochip0"));
    }

    #[test]
    fn names_are_in_the_order_of_their_numbers() {
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["hwmon10", "hwmon9", "alpha"] {
            std::fs::write(folder.path().join(name), "").expect("a file");
        }
        assert_eq!(Root::new(folder.path()).names("/"), ["alpha", "hwmon9", "hwmon10"]);
        assert_eq!(Root::new(folder.path()).names("/nowhere"), [""; 0]);
    }
}
