//! Addresses: the URL of a broker, and the network that a client's address belongs to.

use std::net::{IpAddr, Ipv6Addr};

use toml::de::DeValue;

use crate::wrong_type;

/// The address in a broker's URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerAddress {
    /// A host name or an address; an IPv6 address has no brackets, and may have a scope: `fe80::1%eth0`.
    pub host: String,
    /// The port; by default 1883, or 8883 with TLS.
    pub port: u16,
    /// Whether the URL begins with `mqtts://`.
    pub tls: bool,
}

impl BrokerAddress {
    /// Reads `mqtt://HOST:PORT` or `mqtts://HOST:PORT`; the port may be left out, and a `/` may end the URL.
    ///
    /// # Errors
    /// A description for people. `instead_of_account` says what to do instead of writing an account into the URL.
    pub fn parse(url: &str, instead_of_account: &str) -> Result<Self, String> {
        let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
        let tls = match scheme {
            "mqtt" => false,
            "mqtts" => true,
            _ => return Err(format!("`{url}` must start with mqtt:// or mqtts://")),
        };
        if rest.contains('@') {
            return Err(format!("has a user name in it; {instead_of_account}"));
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
        let is_name =
            |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '%');
        if host.is_empty() || !host.chars().all(is_name) {
            return Err(format!("`{host}` is not a host name or address"));
        }
        let port = match port {
            "" if tls => 8883,
            "" => 1883,
            port => port
                .parse()
                .ok()
                .filter(|port| *port != 0)
                .ok_or_else(|| format!("`{port}` is not a port; write 1 to 65535"))?,
        };
        Ok(Self { host, port, tls })
    }
}

/// Reads the URL of a broker, or an array of those of its nodes, by whatever reads one URL: at least one, all with TLS or
/// none, and none twice.
///
/// # Errors
/// A description for people.
pub fn nodes(
    value: &DeValue<'_>,
    read: impl Fn(&str) -> Result<BrokerAddress, String>,
) -> Result<Vec<BrokerAddress>, String> {
    let text = |value: &DeValue<'_>| {
        let text = value.as_str().ok_or_else(|| wrong_type("a URL in quotes", value))?;
        read(text)
    };
    let Some(array) = value.as_array() else { return Ok(vec![text(value)?]) };
    let mut nodes: Vec<BrokerAddress> = Vec::new();
    for node in array.iter() {
        let node = text(node.get_ref())?;
        if nodes.first().is_some_and(|first| first.tls != node.tls) {
            return Err("must begin with mqtt:// everywhere, or with mqtts:// everywhere".into());
        }
        if nodes.contains(&node) {
            return Err(format!("`{}:{}` is there twice", node.host, node.port));
        }
        nodes.push(node);
    }
    if nodes.is_empty() { Err("is empty: write at least one URL".into()) } else { Ok(nodes) }
}

/// Reads an address that may have a scope, such as `fe80::1%eth0`, as URLs also write it: `fe80::1%25eth0` (RFC 6874).
fn ipv6(text: &str, tls: bool) -> Result<String, String> {
    let (address, scope) = text.split_once('%').map_or((text, None), |(a, s)| (a, Some(s)));
    if address.parse::<Ipv6Addr>().is_err() {
        return Err(format!("`{address}` is not an IPv6 address"));
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

/// Returns the address under which a client is counted: with IPv6 that of its network, because a device may choose any
/// address of it.
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => {
            let mut segments = address.segments();
            segments[4..].fill(0);
            Ipv6Addr::from(segments).into()
        }
    }
}

/// The most characters of a network interface's name (IFNAMSIZ without the zero at its end).
const LONGEST_INTERFACE: usize = 15;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_counted_by_its_ipv4_address_or_its_ipv6_network() {
        let network = |text: &str| network(text.parse().unwrap()).to_string();
        assert_eq!(network("192.0.2.7"), "192.0.2.7");
        assert_eq!(network("::ffff:192.0.2.7"), "192.0.2.7");
        assert_eq!(network("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
    }

    #[test]
    fn a_url_has_a_scheme_a_host_and_perhaps_a_port() {
        let read = |url: &str| {
            BrokerAddress::parse(url, "log in otherwise").map(|a| (a.host, a.port, a.tls))
        };
        assert_eq!(read("mqtt://pi.local"), Ok(("pi.local".into(), 1883, false)));
        assert_eq!(read("mqtts://pi/"), Ok(("pi".into(), 8883, true)));
        assert_eq!(read("mqtt://[::1]:1884"), Ok(("::1".into(), 1884, false)));
        assert_eq!(read("mqtt://[fe80::1%25eth0]"), Ok(("fe80::1%eth0".into(), 1883, false)));
        let complaint = "has a user name in it; log in otherwise".to_owned();
        assert_eq!(read("mqtt://anna:secret@pi"), Err(complaint));
        for url in ["pi", "mqtt://", "mqtt://pi:0", "mqtt://[::1", "mqtt://[::1]x", "mqtt://[x]"] {
            assert!(read(url).is_err(), "{url}");
        }
    }
}
