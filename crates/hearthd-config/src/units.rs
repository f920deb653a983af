//! Durations, sizes and numbers in the form in which people write them.

use std::time::Duration;

use toml::de::DeValue;

use crate::wrong_type;

/// Reads a duration of at least `least`.
///
/// # Errors
/// A description for people.
pub fn duration(value: &DeValue<'_>, least: Duration) -> Result<Duration, String> {
    const WANTED: &str = "a duration in quotes such as \"10s\", \"500ms\" or \"7d\"";
    let text = value.as_str().ok_or_else(|| wrong_type(WANTED, value))?;
    let duration = humantime::parse_duration(text)
        .map_err(|_| format!("`{text}` is no duration; write one such as \"10s\" or \"7d\""))?;
    if duration < least {
        let least = humantime::format_duration(least);
        return Err(format!("`{text}` is too short; the least is {least}"));
    }
    Ok(duration)
}

/// Reads a duration that MQTT carries in whole seconds, from `least` to `most` inclusive.
///
/// # Errors
/// A description for people.
pub fn whole_seconds(value: &DeValue<'_>, least: u32, most: u32) -> Result<Duration, String> {
    let duration = duration(value, Duration::from_secs(least.into()))?;
    if duration.subsec_nanos() != 0 {
        return Err("MQTT counts it in whole seconds; leave the fraction out".into());
    }
    if duration.as_secs() > u64::from(most) {
        return Err(format!("is too long; the most is {most}s"));
    }
    Ok(duration)
}

/// Reads a number of bytes, from `least` to `most` inclusive: `"64KiB"`, `"1MiB"`, or a plain number.
///
/// # Errors
/// A description for people.
pub fn size(value: &DeValue<'_>, least: usize, most: usize) -> Result<usize, String> {
    let bytes = match value {
        DeValue::Integer(_) => return whole_number(value, least, most),
        DeValue::String(text) => parse_size(text),
        _ => return Err(wrong_type("a size such as \"64KiB\" or a number of bytes", value)),
    };
    bytes.filter(|bytes| (least..=most).contains(bytes)).ok_or_else(|| {
        let (least, most) = (written(least), written(most));
        format!("is no size from {least} to {most}; write one such as \"64KiB\"")
    })
}

fn parse_size(text: &str) -> Option<usize> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let unit = match text[digits.len()..].trim() {
        "" | "B" => 1,
        "KiB" => KIB,
        "MiB" => MIB,
        "GiB" => GIB,
        _ => return None,
    };
    digits.parse::<usize>().ok()?.checked_mul(unit)
}

/// Writes a size in the largest unit that leaves no fraction.
fn written(bytes: usize) -> String {
    match bytes {
        1 => "1 byte".into(),
        bytes if bytes.is_multiple_of(GIB) && bytes > GIB => format!("{}GiB", bytes / GIB),
        bytes if bytes.is_multiple_of(MIB) && bytes > MIB => format!("{}MiB", bytes / MIB),
        bytes if bytes.is_multiple_of(KIB) => format!("{}KiB", bytes / KIB),
        bytes => format!("{bytes} bytes"),
    }
}

/// Reads a whole number, from `least` to `most` inclusive.
///
/// # Errors
/// What is wrong with it, for people.
pub fn whole_number(value: &DeValue<'_>, least: usize, most: usize) -> Result<usize, String> {
    let number = value.as_integer().ok_or_else(|| wrong_type("a whole number", value))?;
    usize::from_str_radix(number.as_str(), number.radix())
        .ok()
        .filter(|number| (least..=most).contains(number))
        .ok_or_else(|| format!("{number} is out of range; write {least} to {most}"))
}

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;
const GIB: usize = 1024 * MIB;
