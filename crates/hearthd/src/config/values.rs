//! What is the hub's own among the values of its configuration: the broker's address, policies, and plugins' tables.

use std::net::Ipv6Addr;

use hearthd_config::units;
use toml::de::DeValue;

use super::{Isolation, Stale};

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

/// The broker's address.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) tls: bool,
}

/// Reads `mqtt://host:port` or `mqtts://host:port`.
pub(super) fn address(url: &str) -> Result<Address, String> {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let tls = match scheme {
        "mqtt" => false,
        "mqtts" => true,
        _ => return Err(format!("`{url}` must start with mqtt:// or mqtts://")),
    };
    if rest.contains('@') {
        return Err("holds a user name; write username and password_file instead".into());
    }
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let (host, port) = match rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, port)) => {
            let port = port.strip_prefix(':').or(port.is_empty().then_some(""));
            (ipv6(host, tls)?, port.ok_or_else(|| format!("`{url}`: write [address]:port"))?)
        }
        None => {
            let (host, port) = rest.split_once(':').unwrap_or((rest, ""));
            (host.to_owned(), port)
        }
    };
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '%');
    if host.is_empty() || !host.chars().all(is_name) {
        return Err(format!("`{host}` is no host name or address"));
    }
    let port = match port {
        "" if tls => 8883,
        "" => 1883,
        port => port
            .parse()
            .ok()
            .filter(|port| *port != 0)
            .ok_or_else(|| format!("`{port}` is no port; write 1 to 65535"))?,
    };
    Ok(Address { host, port, tls })
}

/// Reads an address that may have a scope, such as `fe80::1%eth0`, as URLs also write it: `fe80::1%25eth0` (RFC 6874).
fn ipv6(text: &str, tls: bool) -> Result<String, String> {
    let (address, scope) = text.split_once('%').map_or((text, None), |(a, s)| (a, Some(s)));
    if address.parse::<Ipv6Addr>().is_err() {
        return Err(format!("`{address}` is no IPv6 address"));
    }
    let Some(scope) = scope else { return Ok(address.to_owned()) };
    let is_letter = |c: char| c.is_ascii_alphabetic();
    let scope =
        scope.strip_prefix("25").filter(|rest| rest.starts_with(is_letter)).unwrap_or(scope);
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if scope.is_empty() || scope.len() > LONGEST_INTERFACE || !scope.chars().all(fits) {
        return Err(format!("`{scope}` names no network interface, such as `eth0`"));
    }
    if tls {
        return Err(format!(
            "no certificate is for an address with a scope; write a name for `{text}`"
        ));
    }
    Ok(format!("{address}%{scope}"))
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
/// Letters in the name of a network interface (IFNAMSIZ without its end).
const LONGEST_INTERFACE: usize = 15;
