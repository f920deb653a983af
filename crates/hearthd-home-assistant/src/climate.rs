//! A thermostat: one climate entity.

use hearthd_core::property::{Access, Declaration, Range, Values};
use serde_json::json;

use crate::{Device, Topics, component::Component};

/// The properties of a thermostat.
pub(crate) struct Climate<'d> {
    target: (&'d Declaration, Range),
    mode: (&'d Declaration, &'d [String]),
    current: Option<&'d Declaration>,
    preset: Option<(&'d Declaration, &'d [String])>,
    action: Option<&'d Declaration>,
}

impl<'d> Climate<'d> {
    /// Reads a device as a thermostat: one with a target temperature, and a mode whose words Home Assistant knows.
    pub(crate) fn of(device: &'d Device) -> Option<Self> {
        let get = |name: &str| device.declarations.get(name);
        let is_writable = |declaration: &&Declaration| declaration.access == Access::ReadWrite;
        let words = |name: &str| match get(name)? {
            declaration @ Declaration { values: Values::Enum(words), .. } => {
                Some((declaration, words.as_slice()))
            }
            _ => None,
        };
        let number = |name: &str| match get(name)? {
            declaration @ Declaration {
                values: Values::Integer(range) | Values::Number(range),
                ..
            } => Some((declaration, *range)),
            _ => None,
        };
        let are = |known: &[&str], words: &[String]| {
            words.iter().all(|word| known.contains(&word.as_str()))
        };
        let target = number("target_temperature").filter(|(target, _)| is_writable(target))?;
        let mode = words("mode").filter(|(mode, words)| is_writable(mode) && are(&MODES, words))?;
        let action = words("action").filter(|(_, words)| are(&ACTIONS, words));
        Some(Self {
            target,
            mode,
            current: number("current_temperature").map(|(current, _)| current),
            preset: words("preset").filter(|(preset, _)| is_writable(preset)),
            action: action.map(|(action, _)| action),
        })
    }

    /// Names the properties that the climate entity shows.
    pub(crate) fn properties(&self) -> impl Iterator<Item = &'d str> {
        let others = [self.current, self.preset.map(|(preset, _)| preset), self.action];
        let all = [self.target.0, self.mode.0].into_iter().chain(others.into_iter().flatten());
        all.map(|declaration| declaration.name.as_str())
    }

    pub(crate) fn component(&self, topics: &Topics<'_>, device: &Device) -> Component {
        let state = |declaration: &Declaration| topics.state(&device.id, &declaration.name);
        let request = |declaration: &Declaration| topics.request(&device.id, &declaration.name);
        let ((target, range), (mode, modes)) = (self.target, self.mode);
        let unit = target.unit.as_deref().unwrap_or("°C");
        let step = range.step.unwrap_or(0.5);
        let mut component = Component::new("climate", "climate")
            .with("temperature_command_topic", request(target))
            .with("temperature_state_topic", state(target))
            .with("mode_command_topic", request(mode))
            .with("mode_state_topic", state(mode))
            .with("modes", json!(modes))
            .with("temperature_unit", if unit.ends_with('F') { "F" } else { "C" })
            .with("temp_step", step)
            // Home Assistant knows these three.
            .with(
                "precision",
                if step >= 1.0 {
                    1.0
                } else if step >= 0.5 {
                    0.5
                } else {
                    0.1
                },
            )
            .with_some("min_temp", range.min)
            .with_some("max_temp", range.max)
            .with_some("current_temperature_topic", self.current.map(state))
            .with_some("action_topic", self.action.map(state));
        if let Some((preset, presets)) = self.preset {
            // Home Assistant adds it by itself, and refuses it here.
            let presets: Vec<_> = presets.iter().filter(|preset| *preset != "none").collect();
            component = component
                .with("preset_modes", json!(presets))
                .with("preset_mode_command_topic", request(preset))
                .with("preset_mode_state_topic", state(preset));
        }
        component
    }
}

/// The modes that Home Assistant knows.
const MODES: [&str; 7] = ["auto", "off", "cool", "heat", "heat_cool", "dry", "fan_only"];
/// The actions that it knows.
const ACTIONS: [&str; 8] =
    ["off", "heating", "cooling", "drying", "idle", "fan", "preheating", "defrosting"];
