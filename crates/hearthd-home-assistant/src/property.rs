//! The components of one property, by what it declares.

use hearthd_core::property::{Access, Declaration, Range, Values};
use serde_json::json;

use crate::{Device, Topics, component::Component, measures::measure};

/// Returns what a property comes to: one component, or two for a warning.
pub(crate) fn components(
    topics: &Topics<'_>,
    device: &Device,
    declaration: &Declaration,
) -> Vec<Component> {
    let property = Property { topics, device, declaration };
    let component = match &declaration.values {
        Values::Switch => property.switch(),
        Values::Integer(range) => property.number(*range, 1.0),
        Values::Number(range) => property.number(*range, 0.01),
        Values::Enum(values) => property.choice(values),
        Values::Text => property.text(),
        Values::Json => property.json(),
        Values::Event(kinds) => property.event(kinds),
    };
    let component = match &*declaration.name {
        "alert" if declaration.access == Access::Read => component.diagnostic(),
        // How commands are carried out, and no command by itself.
        "transition" if declaration.access != Access::Read => {
            component.with("entity_category", "config")
        }
        _ => component,
    };
    let is_alert = declaration.name == "alert"
        && declaration.access == Access::Read
        && declaration.values == Values::Text;
    let problem = is_alert.then(|| property.problem());
    [component].into_iter().chain(problem).collect()
}

struct Property<'p> {
    topics: &'p Topics<'p>,
    device: &'p Device,
    declaration: &'p Declaration,
}

impl Property<'_> {
    fn switch(&self) -> Component {
        let (on, off) = ("ON", "OFF");
        match self.declaration.access {
            Access::ReadWrite => self
                .read_write("switch")
                .with("payload_on", on)
                .with("payload_off", off)
                .with("state_on", on)
                .with("state_off", off),
            Access::Read => {
                self.read("binary_sensor").with("payload_on", on).with("payload_off", off)
            }
            Access::Write => self.write("button").with("payload_press", on),
        }
    }

    fn number(&self, range: Range, least_step: f64) -> Component {
        let measure =
            self.declaration.unit.as_deref().and_then(|unit| measure(&self.declaration.name, unit));
        let unit = self.declaration.unit.clone();
        let device_class = measure.map(|measure| measure.device_class);
        if self.declaration.access == Access::Read {
            let by_default = self.declaration.retained.then_some("measurement");
            let state_class = measure.map(|measure| measure.state_class).or(by_default);
            return self
                .read("sensor")
                .with_some("unit_of_measurement", unit)
                .with_some("device_class", device_class)
                .with_some("state_class", state_class);
        }
        let (min, max) = (range.min.unwrap_or(-FAR), range.max.unwrap_or(FAR));
        // Home Assistant takes no smaller step.
        let step = range.step.unwrap_or(least_step).max(0.001);
        let mode = if (max - min) / step > SLIDER_STEPS { "box" } else { "slider" };
        self.settable("number")
            .with("min", min)
            .with("max", max)
            .with("step", step)
            .with("mode", mode)
            .with_some("unit_of_measurement", unit)
            .with_some("device_class", device_class)
    }

    fn choice(&self, values: &[String]) -> Component {
        match self.declaration.access {
            Access::ReadWrite => self.read_write("select").with("options", json!(values)),
            Access::Write => match values {
                [only] => self.write("button").with("payload_press", only.as_str()),
                _ => self.write("select").with("options", json!(values)),
            },
            Access::Read => match self.opening(values) {
                Some(device_class) => self
                    .read("binary_sensor")
                    .with("payload_on", "open")
                    .with("payload_off", "closed")
                    .with("device_class", device_class),
                None => {
                    self.read("sensor").with("device_class", "enum").with("options", json!(values))
                }
            },
        }
    }

    /// Returns what it is that is open or closed.
    fn opening(&self, values: &[String]) -> Option<&'static str> {
        let is = |word: &str| values.iter().any(|value| value == word);
        let words = ["window", "door", "garage_door", "opening"];
        let named = words.into_iter().find(|word| *word == self.declaration.name);
        named.filter(|_| values.len() == 2 && is("open") && is("closed"))
    }

    fn text(&self) -> Component {
        match self.declaration.access {
            Access::Read => self.read("sensor").with("value_template", SHORTENED),
            Access::ReadWrite => {
                self.read_write("text").with("max", 255).with("value_template", SHORTENED)
            }
            Access::Write => self.write("text").with("max", 255).disabled(),
        }
    }

    fn json(&self) -> Component {
        if self.declaration.access == Access::Write {
            return self.write("text").with("max", 255).disabled();
        }
        let topic = self.topics.state(&self.device.id, &self.declaration.name);
        self.read("sensor")
            .with("value_template", SHORTENED)
            .with("json_attributes_topic", topic)
            // Attributes are an object, and the property may be anything.
            .with("json_attributes_template", ATTRIBUTES)
            .disabled()
    }

    /// What happens, of all that the device's event topic tells.
    fn event(&self, kinds: &[String]) -> Component {
        let name = &self.declaration.name;
        let template = format!(
            "{{% if value_json.property == '{name}' and value_json.event in {} %}}\
             {{{{ dict(value_json, event_type=value_json.event) | tojson }}}}{{% endif %}}",
            json!(kinds)
        );
        let is_named = |part: &str| name.split('_').any(|word| word == part);
        let is_kind = |kind: &str| kinds.iter().any(|other| other == kind);
        let device_class = match () {
            // Home Assistant wants this kind of a doorbell.
            () if (is_named("bell") || is_named("doorbell")) && is_kind("ring") => Some("doorbell"),
            () if is_named("motion") => Some("motion"),
            () if kinds.iter().any(|kind| kind.contains("press")) => Some("button"),
            () => None,
        };
        Component::new("event", name)
            .with("state_topic", self.topics.event(&self.device.id))
            .with("event_types", json!(kinds))
            .with("value_template", template)
            .with_some("device_class", device_class)
    }

    /// A warning by itself, for whoever looks for problems.
    fn problem(&self) -> Component {
        let id = format!("{}-problem", self.declaration.name);
        Component::new("binary_sensor", &id)
            .with("state_topic", self.topics.state(&self.device.id, &self.declaration.name))
            .with("value_template", "{{ 'OFF' if value == 'none' else 'ON' }}")
            .with("device_class", "problem")
            .diagnostic()
    }

    fn settable(&self, platform: &'static str) -> Component {
        if self.declaration.access == Access::Write {
            self.write(platform)
        } else {
            self.read_write(platform)
        }
    }

    fn read_write(&self, platform: &'static str) -> Component {
        let request = self.topics.request(&self.device.id, &self.declaration.name);
        self.read(platform).with("command_topic", request)
    }

    fn read(&self, platform: &'static str) -> Component {
        let state = self.topics.state(&self.device.id, &self.declaration.name);
        Component::new(platform, &self.declaration.name).with("state_topic", state)
    }

    fn write(&self, platform: &'static str) -> Component {
        let request = self.topics.request(&self.device.id, &self.declaration.name);
        Component::new(platform, &self.declaration.name).with("command_topic", request)
    }
}

/// Stands for a limit that the property does not have: Home Assistant's own defaults are 1 and 100.
const FAR: f64 = 1e9;
/// A slider with more steps cannot be set by hand.
const SLIDER_STEPS: f64 = 100.0;
/// A state of Home Assistant has so many characters at most.
const SHORTENED: &str = "{{ value[:255] }}";
const ATTRIBUTES: &str = "{% if not value %}{}{% else %}\
    {{ (value_json if value_json is mapping else {'value': value_json}) | tojson }}{% endif %}";
