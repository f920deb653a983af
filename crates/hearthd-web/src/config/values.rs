//! Values of the configuration: URLs and names.

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

/// Reads a name of this machine; returns it in the form in which a browser's name is compared with it.
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
