//! Values of the configuration: URLs and names.

use hearthd_config::address::{BrokerAddress, nodes};
use toml::de::DeValue;

use super::{Authority, Broker};

/// Reads `[broker] url`: a socket, a URL, or an array of those of a cluster's nodes.
pub(super) fn broker(value: &DeValue<'_>) -> Result<Broker, String> {
    if let Some(path) = value.as_str().and_then(|text| text.strip_prefix("unix:")) {
        if path.is_empty() {
            return Err("names no socket; write unix:/run/hearth-clients/broker.sock".into());
        }
        return Ok(Broker::Unix(path.into()));
    }
    let read = |text: &str| {
        if text.starts_with("unix:") {
            return Err("a socket stands alone: `url` is not an array then".into());
        }
        if !text.starts_with("mqtt://") && !text.starts_with("mqtts://") {
            return Err("must start with unix:, mqtt:// or mqtts://".into());
        }
        BrokerAddress::parse(
            text,
            "leave it out: the page logs in with the account of the person who uses it",
        )
    };
    let found = nodes(value, read)?;
    let is_tls = found.iter().any(|node| node.tls);
    let authority = |BrokerAddress { host, port, .. }| Authority { host, port };
    let nodes = found.into_iter().map(authority).collect();
    Ok(if is_tls { Broker::Tls { nodes, ca_file: None } } else { Broker::Tcp(nodes) })
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
