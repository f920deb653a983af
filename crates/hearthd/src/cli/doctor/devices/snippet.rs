//! Writes the machine's hardware as a configuration to paste.

use std::fmt::Write;

use hearthd_hardware::{FoundThermometer, GpioChip};
use toml::{Table, Value};

use super::Offer;

/// Notes begin at this column, or after what is longer.
const NOTES: usize = 60;

impl Offer {
    /// Writes a thermostat and a light; what needs a choice is a comment.
    pub(super) fn to_snippet(&self) -> String {
        let mut text = String::from(
            "# A thermostat: keep the sensors that hang in the room, and one line of the actuator.\n\
             [devices.my-thermostat]\nplugin = \"thermostat\"\n\
             [devices.my-thermostat.config]\nbackend = \"hardware\"\nsensors = [\n",
        );
        for found in &self.thermometers {
            sensor(&mut text, found);
        }
        if self.thermometers.is_empty() {
            text += "    # none was found: is the overlay enabled, and the sensor wired?\n";
        }
        text += "]\n[devices.my-thermostat.config.actuator]\n";
        line(&mut text, "simulated = {}", "switches nothing; or one of these:");
        for (_, entry, note) in self.outputs() {
            line(&mut text, &format!("# {entry}"), &note);
        }
        text += "\n# A light: one pair of these.\n[devices.my-light]\nplugin = \"light\"\n\
                 [devices.my-light.config]\nbackend = \"simulated\"\n";
        for (backend, entry, note) in self.outputs() {
            line(&mut text, &format!("# backend = \"{backend}\""), "");
            line(&mut text, &format!("# {entry}"), &note);
        }
        text
    }

    /// Returns the outputs as (backend, entry, note).
    fn outputs(&self) -> Vec<(&'static str, String, String)> {
        let mut outputs = Vec::new();
        for chip in &self.gpio_chips {
            outputs.push(("gpio", gpio(chip), gpio_note(chip)));
        }
        for led in &self.leds {
            let entry = table([("name", led.name.as_str().into())]);
            let levels = match led.max_brightness {
                1 => "on or off".to_owned(),
                max => format!("{max} levels"),
            };
            let note = match led.trigger.as_deref() {
                None | Some("none") => levels,
                Some(trigger) => format!("{levels}; now driven by {trigger}"),
            };
            outputs.push(("led", format!("led = {entry}"), note));
        }
        for chip in &self.pwm_chips {
            for channel in 0..chip.channels {
                let label = chip.device.as_deref().unwrap_or(&chip.name);
                let entry = table([("chip", label.into()), ("channel", i64::from(channel).into())]);
                outputs.push(("pwm", format!("pwm = {entry}"), chip.name.clone()));
            }
        }
        outputs
    }
}

/// Writes a sensor with its reading; one that measures the machine, or cannot be read, as a comment.
fn sensor(text: &mut String, found: &FoundThermometer) {
    let sensor = &found.thermometer;
    let of_room = sensor.w1.is_some() || sensor.iio.is_some();
    let note = match &found.reading {
        Ok(celsius) => format!("{celsius:.1} °C"),
        Err(error) => error.to_string(),
    };
    let off = if of_room && found.reading.is_ok() { "" } else { "# " };
    let entry = Value::try_from(sensor).expect("a sensor is a table of text and numbers");
    line(text, &format!("    {off}{entry},"), &note);
}

fn gpio(chip: &GpioChip) -> String {
    let label = chip.label.as_deref().unwrap_or(&chip.name);
    let first = match chip.named_lines.first() {
        Some((_, name)) => Value::from(name.as_str()),
        None => Value::from(0),
    };
    format!("gpio = {}", table([("chip", label.into()), ("line", first)]))
}

fn gpio_note(chip: &GpioChip) -> String {
    let names: Vec<&str> = chip.named_lines.iter().map(|(_, name)| name.as_str()).collect();
    match (chip.lines, names.is_empty()) {
        (_, false) => format!("{}; lines: {}", chip.name, names.join(", ")),
        (Some(lines), true) => format!("{}; lines 0 to {}", chip.name, lines.saturating_sub(1)),
        (None, true) => format!("{}; `gpioinfo` lists its lines", chip.name),
    }
}

fn table<const N: usize>(entries: [(&str, Value); N]) -> Value {
    let entries = entries.map(|(key, value)| (key.to_owned(), value));
    Value::Table(Table::from_iter(entries))
}

fn line(text: &mut String, entry: &str, note: &str) {
    let written = if note.is_empty() {
        writeln!(text, "{entry}")
    } else {
        writeln!(text, "{entry:<NOTES$} # {note}")
    };
    written.expect("a String takes everything");
}
