//! Turns a command into wanted values, and finds what makes no sense in it.

use crate::{Property, Readings, Switch, Value, Wanted, family::Dialect};

/// Returns the wanted values, and whether the power among them is a toggle.
pub(crate) fn target(
    wanted: &Wanted,
    dialect: &Dialect,
    confirmed: &Readings,
) -> Result<(Readings, bool), String> {
    let Wanted { power, brightness, color_temperature, color, transition, setpoint } = *wanted;
    if !(0.0..=3_600.0).contains(&transition) {
        return Err(format!("a transition of {transition} s is not 0 to 3600 s"));
    }
    if transition > 0.0 && !dialect.has_transition() {
        return Err("the device changes at once; it has no transition".to_owned());
    }
    let mut target = Readings::default();
    let mut toggles = false;
    match (power, brightness) {
        (_, Some(percent @ 101..)) => {
            return Err(format!("brightness {percent} is not 0 to 100 %"));
        }
        (Some(Switch::On), Some(0)) => {
            return Err("a light at brightness 0 is not on".to_owned());
        }
        (Some(Switch::Toggle), Some(_)) => {
            return Err("a brightness and a toggle contradict each other".to_owned());
        }
        (Some(Switch::Off), _) | (None, Some(0)) => target.insert(Value::Power(false)),
        (Some(Switch::On) | None, Some(percent)) => {
            target.insert(Value::Power(true));
            target.insert(Value::Brightness(f64::from(percent)));
        }
        (Some(Switch::On), None) => target.insert(Value::Power(true)),
        (Some(Switch::Toggle), None) => match confirmed.power() {
            Some(on) => target.insert(Value::Power(!on)),
            None => {
                toggles = true;
                target.insert(Value::Power(true));
            }
        },
        (None, None) => {}
    }
    match (color_temperature, color) {
        (Some(_), Some(_)) => {
            return Err("a color and a color temperature exclude each other".to_owned());
        }
        (Some(0), None) => return Err("0 is not a color temperature".to_owned()),
        (Some(kelvin), None) => target.insert(Value::ColorTemperature(f64::from(kelvin))),
        (None, Some(color)) => {
            let in_range =
                (0.0..=360.0).contains(&color.hue) && (0.0..=100.0).contains(&color.saturation);
            if !in_range {
                return Err("a color has a hue of 0 to 360 and a saturation of 0 to 100".to_owned());
            }
            target.insert(Value::Color(color));
        }
        (None, None) => {}
    }
    if let Some(celsius) = setpoint {
        if !celsius.is_finite() {
            return Err(format!("{celsius} is not a temperature"));
        }
        target.insert(Value::Setpoint(celsius));
    }
    if target.is_empty() {
        return Err("nothing is wanted".to_owned());
    }
    // A light that is off shows no color: the color is sent once the light is on.
    if target.power() == Some(false) {
        let dark = [Property::Power, Property::Setpoint];
        target = target.values().filter(|value| dark.contains(&value.property())).collect();
    }
    if let Some(missing) = target.properties().find(|property| !dialect.has(*property)) {
        return Err(format!("the device has no {}", missing.as_str()));
    }
    dialect.unsupported(&target).map_or(Ok((target, toggles)), Err)
}
