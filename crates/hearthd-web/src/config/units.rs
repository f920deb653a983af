//! Values of the configuration: URLs, names, sizes and times.

use std::time::Duration;

use toml::de::DeValue;

use super::{Authority, Broker};

/// Reads `[broker] url`.
pub(super) fn broker(text: &str) -> Result<Broker, String> {
    if let Some(path) = text.strip_prefix("unix:") {
        if path.is_empty() {
            return Err("names no socket; write unix:/run/hearth-clients/broker.sock".into());
        }
        return Ok(Broker::Unix(path.into()));
    }
    if let Some(rest) = text.strip_prefix("mqtts://") {
        return Ok(Broker::Tls { authority: authority(rest, 8883)?, ca_file: None });
    }
    let rest = text.strip_prefix("mqtt://").ok_or("must start with unix:, mqtt:// or mqtts://")?;
    Ok(Broker::Tcp(authority(rest, 1883)?))
}

fn authority(text: &str, default_port: u16) -> Result<Authority, String> {
    let text = text.strip_suffix('/').unwrap_or(text);
    if text.contains('@') {
        return Err("takes no account: the page logs in with the account of whoever uses it".into());
    }
    let (host, port) = match text.strip_prefix('[').map(|rest| rest.split_once(']')) {
        Some(Some((host, rest))) => {
            (host, rest.strip_prefix(':').or(rest.is_empty().then_some("")))
        }
        Some(None) => return Err("has no `]` after its address".into()),
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, Some("")),
        },
    };
    let port = match port {
        Some("") => default_port,
        Some(port) => {
            port.parse().ok().filter(|port| *port != 0).ok_or("has no port from 1 to 65535")?
        }
        None => return Err("has something between `]` and its port".into()),
    };
    if host.is_empty() || host.contains(['/', ' ']) {
        return Err("names no host; write mqtt://127.0.0.1:1883".into());
    }
    Ok(Authority { host: host.to_owned(), port })
}

/// Reads a name of this machine; returns it as it is compared with what a browser asks for.
pub(super) fn host_name(text: &str) -> Result<String, String> {
    let name = text.to_ascii_lowercase();
    let name = name.strip_suffix('.').unwrap_or(&name);
    let is_label = |label: &str| {
        !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
    };
    if name.split('.').all(is_label) {
        return Ok(name.to_owned());
    }
    Err("must be a host name without port or scheme, like hub.example.org".into())
}

/// Reads a count.
pub(super) fn number(value: &DeValue<'_>, most: usize) -> Result<usize, String> {
    let wrong = || format!("must be a whole number from 1 to {most}");
    let DeValue::Integer(number) = value else { return Err(wrong()) };
    let read = usize::from_str_radix(number.as_str(), number.radix()).ok();
    read.filter(|number| (1..=most).contains(number)).ok_or_else(wrong)
}

/// Reads `256KiB`.
pub(super) fn size(value: &DeValue<'_>) -> Result<usize, String> {
    let wrong = "must be a size from 1KiB to 16MiB, like 256KiB";
    let (number, unit) = value.as_str().and_then(split_unit).ok_or(wrong)?;
    let factor: usize = match unit {
        "B" => 1,
        "KiB" => 1024,
        "MiB" => 1024 * 1024,
        _ => return Err(wrong.into()),
    };
    let size = usize::try_from(number).ok().and_then(|number| number.checked_mul(factor));
    size.filter(|size| (1024..=16 * 1024 * 1024).contains(size)).ok_or_else(|| wrong.into())
}

/// Reads `10s`.
pub(super) fn duration(value: &DeValue<'_>) -> Result<Duration, String> {
    let wrong = "must be a time from 1s to 24h, like 30s, 5m or 1h";
    let (number, unit) = value.as_str().and_then(split_unit).ok_or(wrong)?;
    let factor: u64 = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        _ => return Err(wrong.into()),
    };
    let seconds = number.checked_mul(factor).filter(|seconds| (1..=86_400).contains(seconds));
    seconds.map(Duration::from_secs).ok_or_else(|| wrong.into())
}

fn split_unit(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit())?;
    Some((text[..end].parse().ok()?, &text[end..]))
}
