//! The LEDs, PWM chips and GPIO chips that a machine has.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::root::{LEDS, PWM, Root, read_number, read_text};

/// An LED of the kernel's LED class.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LedFound {
    /// Its name.
    pub name: String,
    /// Its greatest brightness.
    pub max_brightness: u32,
    /// What drives it now: the trigger in brackets of its `trigger` file.
    pub trigger: Option<String>,
}

/// A chip of the kernel's PWM class.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PwmChip {
    /// Its name, which the kernel gives in the order of discovery.
    pub name: String,
    /// The device behind it, which stays the same.
    pub device: Option<String>,
    /// How many channels it has.
    pub channels: u32,
}

/// A GPIO character device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GpioChip {
    /// Its name, which the kernel gives in the order of discovery.
    pub name: String,
    /// What its driver calls it, where the kernel tells in a file.
    pub label: Option<String>,
    /// How many lines it has, where the kernel tells in a file.
    pub lines: Option<u32>,
    /// The lines that the device tree names, as (offset, name).
    pub named_lines: Vec<(u32, String)>,
}

/// Returns the LEDs.
pub fn leds(root: &Root) -> Vec<LedFound> {
    let led = |name: String| {
        let folder = root.path(LEDS.folder).join(&name);
        let triggers = read_text(&folder.join("trigger")).unwrap_or_default();
        let active = triggers.split_whitespace().find_map(|word| {
            word.strip_prefix('[').and_then(|word| word.strip_suffix(']')).map(str::to_owned)
        });
        let max_brightness = whole(&folder.join("max_brightness")).unwrap_or(1);
        LedFound { max_brightness, trigger: active, name }
    };
    root.members(&LEDS).into_iter().map(led).collect()
}

/// Returns the PWM chips.
pub fn pwm_chips(root: &Root) -> Vec<PwmChip> {
    let chip = |name: String| {
        let folder = root.path(PWM.folder).join(&name);
        let channels = whole(&folder.join("npwm")).unwrap_or(0);
        PwmChip { device: PWM.label_of(&folder), channels, name }
    };
    root.members(&PWM).into_iter().map(chip).collect()
}

/// Returns the GPIO chips, from `/dev` and from what `/sys` and the device tree tell about them.
pub fn gpio_chips(root: &Root) -> Vec<GpioChip> {
    let chips = root.names("/dev").into_iter().filter(|name| name.starts_with("gpiochip"));
    chips
        .map(|name| {
            let device = root.path("/sys/bus/gpio/devices").join(&name);
            let legacy = legacy_folder(root, &device);
            let of_legacy = |file: &str| legacy.as_ref().map(|folder| folder.join(file));
            GpioChip {
                label: of_legacy("label").and_then(|file| read_text(&file).ok()),
                lines: of_legacy("ngpio").and_then(|file| whole(&file)),
                named_lines: line_names(&device),
                name,
            }
        })
        .collect()
}

/// Finds the entry of the older GPIO class that stands for the same device: the two share a parent folder.
fn legacy_folder(root: &Root, device: &Path) -> Option<PathBuf> {
    let parent = device.canonicalize().ok()?.parent()?.to_owned();
    let mut entries = root.names("/sys/class/gpio").into_iter().filter_map(|name| {
        let folder = root.path("/sys/class/gpio").join(name);
        folder.join("ngpio").exists().then_some(folder)
    });
    entries.find(|folder| {
        folder
            .join("device")
            .canonicalize()
            .is_ok_and(|target| target == parent || target.parent() == Some(parent.as_path()))
    })
}

/// Reads the device tree's list of names, each ended by a NUL; lines without a name have an empty one.
fn line_names(device: &Path) -> Vec<(u32, String)> {
    let file = ["of_node/gpio-line-names", "../of_node/gpio-line-names"];
    let bytes = file.iter().find_map(|file| std::fs::read(device.join(file)).ok());
    let text = String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned();
    let lines = (0..).zip(text.split('\0'));
    lines.filter(|(_, name)| !name.is_empty()).map(|(line, name)| (line, name.to_owned())).collect()
}

fn whole(path: &Path) -> Option<u32> {
    let number = read_number(path).ok()?;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "checked beside it"
    )]
    (number.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(&number))
        .then_some(number as u32)
}
