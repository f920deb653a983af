//! Durations, sizes, identifiers and the broker's address, as people write them.

use std::{net::Ipv6Addr, time::Duration};

use toml::de::DeValue;

use super::{Isolation, Stale, reader::wrong_type};

/// Reads a duration of at least `least`.
pub(super) fn duration(value: &DeValue<'_>, least: Duration) -> Result<Duration, String> {
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

/// Reads a duration that goes over the wire in whole seconds, `least` and `most` included.
pub(super) fn whole_seconds(
    value: &DeValue<'_>,
    least: u32,
    most: u32,
) -> Result<Duration, String> {
    let duration = duration(value, Duration::from_secs(least.into()))?;
    if duration.subsec_nanos() != 0 {
        return Err("MQTT counts it in whole seconds; leave the fraction out".into());
    }
    if duration.as_secs() > u64::from(most) {
        return Err(format!("is too long; the most is {most}s"));
    }
    Ok(duration)
}

/// Reads a number of bytes: `"64KiB"`, `"1MiB"`, or a plain number.
pub(super) fn size(value: &DeValue<'_>) -> Result<usize, String> {
    let bytes = match value {
        DeValue::Integer(_) => return whole_number(value, 1, MAX_SIZE),
        DeValue::String(text) => parse_size(text),
        _ => return Err(wrong_type("a size such as \"64KiB\" or a number of bytes", value)),
    };
    bytes
        .filter(|bytes| (1..=MAX_SIZE).contains(bytes))
        .ok_or_else(|| "is no size from 1 byte to 512KiB; write one such as \"64KiB\"".into())
}

/// Reads the memory of a plugin's process.
pub(super) fn memory(value: &DeValue<'_>) -> Result<u64, String> {
    let text = value.as_str().ok_or_else(|| wrong_type("a size such as \"64MiB\"", value))?;
    parse_size(text)
        .filter(|bytes| (LEAST_MEMORY..=MOST_MEMORY).contains(bytes))
        .map(|bytes| bytes as u64)
        .ok_or_else(|| "is no size from 4MiB to 1024MiB; write one such as \"64MiB\"".into())
}

fn parse_size(text: &str) -> Option<usize> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let unit = match text[digits.len()..].trim() {
        "" | "B" => 1,
        "KiB" => 1024,
        "MiB" => 1024 * 1024,
        _ => return None,
    };
    digits.parse::<usize>().ok()?.checked_mul(unit)
}

/// Reads a whole number, `least` and `most` included.
pub(super) fn whole_number(
    value: &DeValue<'_>,
    least: usize,
    most: usize,
) -> Result<usize, String> {
    let number = value.as_integer().ok_or_else(|| wrong_type("a whole number", value))?;
    usize::from_str_radix(number.as_str(), number.radix())
        .ok()
        .filter(|number| (least..=most).contains(number))
        .ok_or_else(|| format!("{number} is out of range; write {least} to {most}"))
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

/// Checks a hub or device ID: one topic level of `[a-z0-9_-]`.
pub(super) fn check_id(id: &str) -> Result<(), String> {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-');
    if id.is_empty() || id.len() > MAX_ID || !id.chars().all(allowed) {
        return Err(format!(
            "`{id}` is no ID; use 1 to {MAX_ID} of a-z, 0-9, `_` and `-`, such as `{}`",
            sanitised(id, "light-in-bedroom")
        ));
    }
    Ok(())
}

/// Turns a text into an ID; `fallback` where nothing is left of it.
pub(super) fn sanitised(text: &str, fallback: &str) -> String {
    let lower = text.to_lowercase();
    let letters = lower.chars().flat_map(|c| spelled(c).chars().chain(kept(c)));
    let id: String = letters.take(MAX_ID / 2).collect();
    let id = id.trim_matches('-');
    if id.is_empty() { fallback.to_owned() } else { id.to_owned() }
}

/// Spells a letter that an ID cannot have.
fn spelled(c: char) -> &'static str {
    match c {
        'ä' | 'æ' => "ae",
        'ö' | 'ø' => "oe",
        'ü' => "ue",
        'ß' => "ss",
        'à'..='ã' | 'å' => "a",
        'ç' => "c",
        'è'..='ë' => "e",
        'ì'..='ï' => "i",
        'ñ' => "n",
        'ò'..='õ' => "o",
        'ù'..='û' => "u",
        'ý' | 'ÿ' => "y",
        _ => "",
    }
}

/// Returns what stands for a character that is not spelled.
fn kept(c: char) -> Option<char> {
    if !spelled(c).is_empty() {
        return None;
    }
    Some(if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' })
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
/// Letters in an ID.
const MAX_ID: usize = 64;
