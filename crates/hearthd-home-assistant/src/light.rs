//! A light: one entity with one atomic command, by Home Assistant's template schema.
//!
//! Its default schema would send power, brightness and color as several requests.

use hearthd_core::property::{Access, Declaration, Range, Values};

use crate::{Device, Topics, component::Component};

/// The properties of a light.
pub(crate) struct Light<'d> {
    /// Brightness, and its greatest value.
    brightness: Option<(&'d Declaration, f64)>,
    color_temperature: Option<(&'d Declaration, Range)>,
    color: Option<Color<'d>>,
    transition: Option<&'d Declaration>,
}

/// A color of the form `#rrggbb`.
#[derive(Clone, Copy)]
struct Color<'d> {
    declaration: &'d Declaration,
    /// Tells whether the color or the color temperature is shown, of a light that has both.
    mode: Option<&'d Declaration>,
}

impl<'d> Light<'d> {
    /// Reads a device as a light: one that can be switched, and is of that kind or can be dimmed.
    pub(crate) fn of(device: &'d Device) -> Option<Self> {
        if device.kind == ONE_AT_A_TIME {
            return None;
        }
        let writable = |name: &str| {
            device
                .declarations
                .get(name)
                .filter(|declaration| declaration.access == Access::ReadWrite)
        };
        writable("power").filter(|power| power.values == Values::Switch)?;
        let number = |name| {
            let declaration = writable(name)?;
            match declaration.values {
                Values::Integer(range) | Values::Number(range) => Some((declaration, range)),
                Values::Switch
                | Values::Enum(_)
                | Values::Text
                | Values::Json
                | Values::Event(_) => None,
            }
        };
        let brightness = number("brightness").and_then(|(declaration, range)| {
            let max = range.max.filter(|max| *max > 0.0)?;
            Some((declaration, max))
        });
        let color_temperature = number("color_temperature")
            .filter(|(declaration, _)| declaration.unit.as_deref().is_none_or(|unit| unit == "K"));
        let color = writable("color").filter(|color| color.values == Values::Text);
        let color = color.map(|declaration| Color {
            declaration,
            mode: device.declarations.get("color_mode").filter(|mode| is_color_mode(mode)),
        });
        let is_light = device.kind == "light"
            || brightness.is_some()
            || color_temperature.is_some()
            || color.is_some();
        is_light.then_some(Self {
            brightness,
            color_temperature,
            color,
            transition: number("transition").map(|(declaration, _)| declaration),
        })
    }

    /// Names the properties that the light alone shows; a transition can be set by itself as well.
    pub(crate) fn properties(&self) -> impl Iterator<Item = &'d str> {
        let brightness = self.brightness.map(|(declaration, _)| &*declaration.name);
        let color_temperature = self.color_temperature.map(|(declaration, _)| &*declaration.name);
        let color = self.color.into_iter();
        let color = color.flat_map(|color| [Some(color.declaration), color.mode]).flatten();
        let color = color.map(|declaration| &*declaration.name);
        ["power"].into_iter().chain(brightness).chain(color_temperature).chain(color)
    }

    pub(crate) fn component(&self, topics: &Topics<'_>, device: &Device) -> Component {
        let mut more = String::new();
        let mut component = Component::new("light", "light")
            .with("schema", "template")
            .with("state_topic", topics.snapshot(&device.id))
            .with("command_topic", topics.request(&device.id, "set"))
            .with("state_template", "{{ value_json.power | default('None') | lower }}");
        if let Some((_, max)) = self.brightness {
            // The least brightness is 1: 0 would switch the light off.
            more += &format!(
                "{{% if brightness is defined %}},\"brightness\":\
                 {{{{ [1, (brightness * {max} / 255) | round | int] | max }}}}{{% endif %}}"
            );
            component = component.with(
                "brightness_template",
                format!(
                    "{{{{ (value_json.brightness | default(0) * 255 / {max}) | round | int }}}}"
                ),
            );
        }
        if let Some((_, range)) = self.color_temperature {
            more +=
                "{% if color_temp is defined %},\"color_temperature\":{{ color_temp }}{% endif %}";
            component = component
                .with("color_temp_template", "{{ value_json.color_temperature | default('') }}")
                .with("color_temp_kelvin", true)
                .with_some("min_kelvin", range.min.map(|min| min.ceil() as u64))
                .with_some("max_kelvin", range.max.map(|max| max.floor() as u64));
        }
        if let Some(color) = self.color {
            more += COMMAND_COLOR;
            let shown = color.is_shown(self.color_temperature.is_some());
            for (key, at) in [("red_template", 1), ("green_template", 3), ("blue_template", 5)] {
                component = component.with(key, part_of_color(&shown, at));
            }
        }
        let transition = if self.transition.is_some() {
            "{% if transition is defined %},\"transition\":{{ transition }}{% endif %}"
        } else {
            ""
        };
        component
            .with("command_on_template", format!("{{\"power\":\"ON\"{more}{transition}}}"))
            .with("command_off_template", format!("{{\"power\":\"OFF\"{transition}}}"))
    }
}

impl Color<'_> {
    /// Returns the Jinja condition for that the color is shown, and not the color temperature.
    fn is_shown(&self, has_color_temperature: bool) -> String {
        match self.mode {
            _ if !has_color_temperature => "true".into(),
            Some(mode) => format!("value_json.{} == 'color'", mode.name),
            // Such a light is white while its color temperature is shown.
            None => "value_json.color | lower != '#ffffff'".into(),
        }
    }
}

/// Returns whether a property tells which of `color` and `color_temperature` is shown.
fn is_color_mode(declaration: &Declaration) -> bool {
    match &declaration.values {
        Values::Enum(values) => {
            declaration.access == Access::Read && values.iter().any(|value| value == "color")
        }
        Values::Switch
        | Values::Integer(_)
        | Values::Number(_)
        | Values::Text
        | Values::Json
        | Values::Event(_) => false,
    }
}

/// Returns the template of one part of a color, two digits from a place on: 0 to 255, or `None` for all three where no
/// color is shown.
fn part_of_color(shown: &str, at: usize) -> String {
    let end = at + 2;
    format!(
        "{{% if value_json.color is string and value_json.color | length == 7 and {shown} %}}\
         {{{{ value_json.color[{at}:{end}] | int(0, 16) }}}}{{% else %}}None{{% endif %}}"
    )
}

/// The kind of device that refuses a command for several properties: a program of its sets one.
const ONE_AT_A_TIME: &str = "command";
/// Adds the color to a command, where Home Assistant sets one: it is at full brightness, which is set by itself.
const COMMAND_COLOR: &str = "{% if red is defined and green is defined and blue is defined %}\
    ,\"color\":\"{{ '#%02x%02x%02x' | format(red | int, green | int, blue | int) }}\"{% endif %}";
