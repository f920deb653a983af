//! The addresses at which a browser finds the page.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    path::Path,
};

use crate::config::Config;

/// What this machine is called in its network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Machine {
    /// `NAME.local`, if a program answers for that name by multicast DNS.
    name: Option<String>,
    /// The machine's own address on the way to other networks, one of each kind.
    addresses: Vec<IpAddr>,
}

impl Machine {
    /// Asks the system.
    pub(crate) fn this() -> Self {
        let ways: [(IpAddr, SocketAddr); 2] = [
            (Ipv4Addr::UNSPECIFIED.into(), (ELSEWHERE_V4, 9).into()),
            (Ipv6Addr::UNSPECIFIED.into(), (ELSEWHERE_V6, 9).into()),
        ];
        Self {
            name: Path::new(MDNS_SOCKET).exists().then(local_name).flatten(),
            addresses: ways.iter().filter_map(|(from, to)| own_address(*from, *to)).collect(),
        }
    }
}

/// Lists the addresses of the page, the one that is best for people first.
pub(crate) fn addresses(config: &Config, machine: &Machine) -> Vec<String> {
    let mut found = Vec::new();
    for listen in &config.listen {
        let port = listen.port();
        match listen.ip() {
            ip if ip.is_loopback() => found.push(url(config, "localhost", port)),
            ip if ip.is_unspecified() => {
                found.extend(machine.name.iter().map(|name| url(config, name, port)));
                // A socket for all addresses of IPv6 takes those of IPv4 too.
                let of_kind = machine.addresses.iter().filter(|own| ip.is_ipv6() || own.is_ipv4());
                found.extend(of_kind.map(|own| url(config, &bracketed(*own), port)));
            }
            ip => found.push(url(config, &bracketed(ip), port)),
        }
    }
    let mut listed = Vec::new();
    for address in found {
        if !listed.contains(&address) {
            listed.push(address);
        }
    }
    listed
}

fn url(config: &Config, host: &str, port: u16) -> String {
    let (scheme, usual) = if config.tls.is_some() { ("https", 443) } else { ("http", 80) };
    if port == usual { format!("{scheme}://{host}/") } else { format!("{scheme}://{host}:{port}/") }
}

fn bracketed(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    }
}

/// Returns the address from which packets to another network would leave. Nothing is sent.
fn own_address(from: IpAddr, to: SocketAddr) -> Option<IpAddr> {
    let socket = UdpSocket::bind((from, 0)).ok()?;
    socket.connect(to).ok()?;
    Some(socket.local_addr().ok()?.ip()).filter(|own| !own.is_loopback() && !own.is_unspecified())
}

fn local_name() -> Option<String> {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    let first = name.trim().split('.').next()?.to_ascii_lowercase();
    (!first.is_empty()).then(|| format!("{first}.local"))
}

/// The socket of Debian's multicast DNS responder, avahi.
const MDNS_SOCKET: &str = "/run/avahi-daemon/socket";
/// Addresses of other networks, which documentation uses (RFC 5737, RFC 3849).
const ELSEWHERE_V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const ELSEWHERE_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(listen: &[&str], expected: &[&str]) {
        let machine = Machine {
            name: Some("pi.local".into()),
            addresses: vec!["192.168.1.5".parse().unwrap(), "fd00::5".parse().unwrap()],
        };
        let mut config = Config::of("").unwrap();
        config.listen = listen.iter().map(|address| address.parse().unwrap()).collect();
        assert_eq!(addresses(&config, &machine), expected, "{listen:?}");
    }

    #[test]
    fn a_name_comes_before_addresses_and_each_address_once() {
        check(
            &["[::]:8080"],
            &["http://pi.local:8080/", "http://192.168.1.5:8080/", "http://[fd00::5]:8080/"],
        );
        check(&["0.0.0.0:80", "192.168.1.5:80"], &["http://pi.local/", "http://192.168.1.5/"]);
        check(&["127.0.0.1:8080", "[::1]:8080"], &["http://localhost:8080/"]);
        check(&["[fd00::7]:8081"], &["http://[fd00::7]:8081/"]);
    }
}
