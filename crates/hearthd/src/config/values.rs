//! Reads the values that only the hub's configuration has: sizes, policies, and plugins' tables.

use hearthd_config::{
    address::{BrokerAddress, nodes},
    units, wrong_type,
};
use toml::de::DeValue;

use super::{Isolation, Stale};

/// Reads whether something is so.
pub(super) fn truth(value: &DeValue<'_>) -> Result<bool, String> {
    value.as_bool().ok_or_else(|| wrong_type("true or false", value))
}

/// Reads the size of a payload.
pub(super) fn size(value: &DeValue<'_>) -> Result<usize, String> {
    units::size(value, 1, MAX_SIZE)
}

/// Reads the memory of a plugin's process.
pub(super) fn memory(value: &DeValue<'_>) -> Result<u64, String> {
    units::size(value, LEAST_MEMORY, MOST_MEMORY).map(|bytes| bytes as u64)
}

/// Reads what happens to stale requests.
pub(super) fn stale(value: &DeValue<'_>) -> Result<Stale, String> {
    match value.as_str() {
        Some("refuse") => Ok(Stale::Refuse),
        Some("execute") => Ok(Stale::Execute),
        _ => Err("must be \"refuse\" or \"execute\"".into()),
    }
}

/// Reads where a device's plugin runs.
pub(super) fn isolation(value: &DeValue<'_>) -> Result<Isolation, String> {
    match value.as_str() {
        Some("auto") => Ok(Isolation::Auto),
        Some("none") => Ok(Isolation::None),
        Some("process") => Ok(Isolation::Process),
        _ => Err("must be \"auto\", \"none\" or \"process\"".into()),
    }
}

/// Reads `mqtt://host:port` or `mqtts://host:port`.
pub(super) fn address(url: &str) -> Result<BrokerAddress, String> {
    BrokerAddress::parse(url, "write `username` and `password_file` instead")
}

/// Reads the URL of a broker, or an array of those of its nodes; returns the first, and host and port of the others.
pub(super) fn addresses(
    value: &DeValue<'_>,
) -> Result<(BrokerAddress, Vec<(String, u16)>), String> {
    let mut nodes = nodes(value, address)?.into_iter();
    let first = nodes.next().ok_or("is empty: write at least one URL")?;
    Ok((first, nodes.map(|node| (node.host, node.port)).collect()))
}

/// Turns a plugin's table into JSON; dates become texts.
///
/// # Errors
/// The place, the path below the value, and what is wrong, of a number that JSON cannot hold.
pub(super) fn json(
    value: &DeValue<'_>,
    at: usize,
    path: &str,
) -> Result<serde_json::Value, (usize, String, String)> {
    let unfit = |what: &str| (at, path.to_owned(), what.to_owned());
    Ok(match value {
        DeValue::String(text) => text.as_ref().into(),
        DeValue::Boolean(value) => (*value).into(),
        DeValue::Datetime(time) => time.to_string().into(),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map_err(|_| unfit("is out of range; a whole number has 64 bits"))?
            .into(),
        DeValue::Float(number) => number
            .as_str()
            .parse::<f64>()
            .ok()
            .and_then(serde_json::Number::from_f64)
            .ok_or_else(|| unfit("must be a finite number"))?
            .into(),
        DeValue::Array(array) => array
            .iter()
            .enumerate()
            .map(|(i, item)| json(item.get_ref(), item.span().start, &format!("{path}[{i}]")))
            .collect::<Result<Vec<_>, _>>()?
            .into(),
        DeValue::Table(table) => table
            .iter()
            .map(|(key, item)| {
                let path = format!("{path}.{}", key.get_ref());
                let value = json(item.get_ref(), item.span().start, &path)?;
                Ok((key.get_ref().to_string(), value))
            })
            .collect::<Result<serde_json::Map<_, _>, _>>()?
            .into(),
    })
}

/// Half of the Maximum Packet Size that the hub announces, so that a payload beyond its limit still gets an answer.
const MAX_SIZE: usize = 512 * 1024;
/// What a process needs to start at all, and the most that may be allowed.
const LEAST_MEMORY: usize = 4 * 1024 * 1024;
const MOST_MEMORY: usize = 1024 * 1024 * 1024;
