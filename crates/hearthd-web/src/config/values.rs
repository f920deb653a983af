//! Values of the configuration: URLs and names.

use hearthd_config::address::BrokerAddress;

use super::{Authority, Broker};

/// Reads `[broker] url`.
pub(super) fn broker(text: &str) -> Result<Broker, String> {
    if let Some(path) = text.strip_prefix("unix:") {
        if path.is_empty() {
            return Err("names no socket; write unix:/run/hearth-clients/broker.sock".into());
        }
        return Ok(Broker::Unix(path.into()));
    }
    if !text.starts_with("mqtt://") && !text.starts_with("mqtts://") {
        return Err("must start with unix:, mqtt:// or mqtts://".into());
    }
    let BrokerAddress { host, port, tls } = BrokerAddress::parse(
        text,
        "leave it out: the page logs in with the account of the person who uses it",
    )?;
    let authority = Authority { host, port };
    Ok(if tls { Broker::Tls { authority, ca_file: None } } else { Broker::Tcp(authority) })
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
