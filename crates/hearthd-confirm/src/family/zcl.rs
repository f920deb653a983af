//! The bytes of a Zigbee device's answer to a read (Zigbee Cluster Library, 2.5.2).

use super::Reply;
use crate::{Color, Property, Readings, Value, value::mireds};

/// A cluster that a property is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cluster {
    OnOff,
    Level,
    Color,
    Thermostat,
}

/// The command of an answer to a read.
const READ_RESPONSE: u8 = 0x01;
/// The bit of the frame control that says that a manufacturer's code follows.
const MANUFACTURER: u8 = 0x04;

const HUE: u16 = 0x0000;
const SATURATION: u16 = 0x0001;
const X: u16 = 0x0003;
const Y: u16 = 0x0004;
const COLOR_TEMPERATURE: u16 = 0x0007;
const COLOR_MODE: u16 = 0x0008;
const OCCUPIED_HEATING_SETPOINT: u16 = 0x0012;
/// The color mode of a color temperature.
const MODE_TEMPERATURE: i64 = 2;
/// The color mode of hue and saturation.
const MODE_HUE: i64 = 0;

impl Cluster {
    pub(crate) fn of(property: Property) -> Self {
        match property {
            Property::Power => Self::OnOff,
            Property::Brightness => Self::Level,
            Property::ColorTemperature | Property::Color => Self::Color,
            Property::Setpoint => Self::Thermostat,
        }
    }

    pub(crate) fn from_id(id: u64) -> Option<Self> {
        match id {
            0x0006 => Some(Self::OnOff),
            0x0008 => Some(Self::Level),
            0x0300 => Some(Self::Color),
            0x0201 => Some(Self::Thermostat),
            _ => None,
        }
    }

    /// Returns the name that Zigbee2MQTT has for it.
    pub(crate) fn key(self) -> &'static str {
        match self {
            Self::OnOff => "genOnOff",
            Self::Level => "genLevelCtrl",
            Self::Color => "lightingColorCtrl",
            Self::Thermostat => "hvacThermostat",
        }
    }

    pub(crate) fn attributes(self) -> &'static [u16] {
        match self {
            Self::OnOff | Self::Level => &[0],
            Self::Color => &[HUE, SATURATION, X, Y, COLOR_TEMPERATURE, COLOR_MODE],
            Self::Thermostat => &[OCCUPIED_HEATING_SETPOINT],
        }
    }
}

/// Returns what an answer says.
pub(crate) fn answer(cluster: Cluster, bytes: &[u8]) -> Reply {
    let Some(attributes) = attributes(bytes) else {
        return Reply::Unreachable("the device's answer to a read is not readable".to_owned());
    };
    let value = |id: u16| attributes.iter().find(|(attribute, _)| *attribute == id)?.1;
    let readings: Readings = match cluster {
        Cluster::OnOff => value(0).map(|on| Value::Power(on != 0)).into_iter().collect(),
        Cluster::Level => {
            let percent = value(0).map(|level| level as f64 / 254.0 * 100.0);
            percent.map(Value::Brightness).into_iter().collect()
        }
        Cluster::Color => color(value).into_iter().collect(),
        Cluster::Thermostat => {
            let celsius =
                value(OCCUPIED_HEATING_SETPOINT).map(|hundredths| hundredths as f64 / 100.0);
            celsius.map(Value::Setpoint).into_iter().collect()
        }
    };
    if readings.is_empty() {
        return Reply::Unsupported(format!("the device has no {} to read", cluster.key()));
    }
    Reply::State(readings)
}

/// Returns what the color mode says that the device shows.
fn color(value: impl Fn(u16) -> Option<i64>) -> Option<Value> {
    let part = |id| value(id).map(|number| number as f64);
    match value(COLOR_MODE) {
        Some(MODE_TEMPERATURE) | None => {
            let kelvin = part(COLOR_TEMPERATURE).filter(|value| *value > 0.0).map(mireds);
            kelvin.map(Value::ColorTemperature)
        }
        Some(MODE_HUE) => {
            let (hue, saturation) = (part(HUE)? / 254.0 * 360.0, part(SATURATION)? / 254.0 * 100.0);
            Some(Value::Color(Color { hue, saturation }))
        }
        Some(_) => Some(Value::Color(Color::from_xy(part(X)? / 65_536.0, part(Y)? / 65_536.0))),
    }
}

/// Returns the attributes of an answer with their values, those that the device does not have without one.
fn attributes(bytes: &[u8]) -> Option<Vec<(u16, Option<i64>)>> {
    let header = if bytes.first()? & MANUFACTURER == 0 { 3 } else { 5 };
    if *bytes.get(header - 1)? != READ_RESPONSE {
        return None;
    }
    let mut rest = bytes.get(header..)?;
    let mut attributes = Vec::new();
    while let [low, high, status, tail @ ..] = rest {
        let id = u16::from_le_bytes([*low, *high]);
        if *status != 0 {
            attributes.push((id, None));
            rest = tail;
            continue;
        }
        let (kind, tail) = tail.split_first()?;
        let width = width(*kind)?;
        attributes.push((id, Some(integer(*kind, tail.get(..width)?))));
        rest = &tail[width..];
    }
    rest.is_empty().then_some(attributes)
}

/// Returns how many bytes a value of a type takes, for the types of whole numbers (2.6.2).
fn width(kind: u8) -> Option<usize> {
    match kind {
        0x10 => Some(1),
        0x08..=0x0f | 0x18..=0x1f | 0x20..=0x27 | 0x28..=0x2f => Some(usize::from(kind & 7) + 1),
        0x30 => Some(1),
        0x31 => Some(2),
        _ => None,
    }
}

fn integer(kind: u8, bytes: &[u8]) -> i64 {
    let negative =
        (0x28..=0x2f).contains(&kind) && bytes.last().is_some_and(|byte| byte & 0x80 != 0);
    let mut whole = [if negative { 0xff } else { 0 }; 8];
    whole[..bytes.len()].copy_from_slice(bytes);
    i64::from_le_bytes(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_a_real_stack_are_read() {
        let read = |cluster, bytes: &[u8]| match answer(cluster, bytes) {
            Reply::State(readings) => readings.to_string(),
            other => format!("{other:?}"),
        };
        assert_eq!(read(Cluster::OnOff, &[24, 2, 1, 0, 0, 0, 16, 1]), "power ON");
        assert_eq!(read(Cluster::Level, &[24, 3, 1, 0, 0, 0, 32, 100]), "brightness 39 %");
        let color = [24, 4, 1, 7, 0, 0, 33, 44, 1, 3, 0, 134, 4, 0, 134, 8, 0, 0, 48, 2];
        assert_eq!(read(Cluster::Color, &color), "color_temperature 3333 K");
        let frost = [24, 5, 1, 0x12, 0, 0, 0x29, 0x0c, 0xfe];
        assert_eq!(read(Cluster::Thermostat, &frost), "setpoint -5.0 °C");
    }

    #[test]
    fn an_answer_that_is_cut_short_or_another_command_is_no_value() {
        let whole = [24, 2, 1, 0, 0, 0, 16, 1];
        for end in 0..whole.len() {
            // The header alone is an answer about no attribute.
            let expected = matches!(answer(Cluster::OnOff, &whole[..end]), Reply::State(_));
            assert!(!expected, "{end} bytes");
        }
        assert!(matches!(answer(Cluster::OnOff, &[24, 2, 11, 1, 0]), Reply::Unreachable(_)));
        assert!(matches!(answer(Cluster::OnOff, &[24, 2, 1, 0, 0, 134]), Reply::Unsupported(_)));
    }
}
