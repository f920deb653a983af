//! Checks by which name a browser asks for the page, and which page opens the WebSocket.
//!
//! Checking Origin alone does not stop DNS rebinding: a foreign page whose own name leads to this machine has an Origin
//! that matches its Host. So the name itself must be one that no attacker can have: an address, `localhost`, a name of
//! the local network, or one that the configuration lists.

use std::net::{Ipv4Addr, Ipv6Addr};

use hyper::{
    HeaderMap,
    header::{HOST, HeaderName, ORIGIN},
    http::uri::Authority,
};

/// What is wrong with a request's Host or Origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Foreign {
    /// There is no Host, more than one, or an invalid one.
    NoHost,
    /// The name is not this machine's.
    Host(String),
    /// Another page asks.
    Origin(String),
}

/// Checks the name that the browser uses for this machine.
pub(crate) fn check_host(headers: &HeaderMap, names: &[String]) -> Result<(), Foreign> {
    let host = only(headers, &HOST).ok_or(Foreign::NoHost)?;
    let authority: Authority = host.parse().map_err(|_| Foreign::NoHost)?;
    if host.contains('@') {
        return Err(Foreign::NoHost);
    }
    if is_own(authority.host(), names) { Ok(()) } else { Err(Foreign::Host(host.to_owned())) }
}

/// Checks that this program's own page opens the WebSocket. `is_tls` says whether this program speaks TLS itself.
///
/// If it does not, the page may still have come by HTTPS: from a proxy that speaks TLS for this program.
pub(crate) fn check_origin(headers: &HeaderMap, is_tls: bool) -> Result<(), Foreign> {
    let host = only(headers, &HOST).ok_or(Foreign::NoHost)?;
    let origin = only(headers, &ORIGIN).ok_or_else(|| Foreign::Origin("none".into()))?;
    let schemes: &[&str] = if is_tls { &["https://"] } else { &["http://", "https://"] };
    let of_page = schemes.iter().find_map(|scheme| origin.strip_prefix(scheme));
    match of_page {
        Some(of_page) if of_page.eq_ignore_ascii_case(host) => Ok(()),
        _ => Err(Foreign::Origin(origin.to_owned())),
    }
}

fn is_own(host: &str, names: &[String]) -> bool {
    if let Some(address) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return address.parse::<Ipv6Addr>().is_ok();
    }
    let host = host.to_ascii_lowercase();
    let host = host.strip_suffix('.').unwrap_or(&host);
    host.parse::<Ipv4Addr>().is_ok()
        || host == "localhost"
        || host.strip_suffix(".local").is_some_and(|name| !name.is_empty() && !name.contains('.'))
        || names.iter().any(|name| name == host)
}

/// Returns the value of a header that occurs exactly once.
fn only<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn addresses_local_names_and_configured_ones_are_this_machines() {
        let names = ["hub.example.org".to_owned()];
        for own in [
            "192.168.1.5",
            "192.168.1.5:8080",
            "[fe80::1]:8080",
            "[::1]",
            "localhost:8080",
            "LocalHost",
            "raspberrypi.local",
            "RaspberryPi.local:8080",
            "raspberrypi.local.",
            "hub.example.org:443",
            "HUB.example.org",
        ] {
            assert_eq!(check_host(&headers(&[("host", own)]), &names), Ok(()), "{own}");
        }
        for foreign in [
            "example.org",
            "evil.hub.example.org",
            "a.b.local",
            ".local",
            "local",
            "localhost.example.org",
            "192.168.1.5.example.org",
            "0x7f.1",
        ] {
            let found = check_host(&headers(&[("host", foreign)]), &names);
            assert_eq!(found, Err(Foreign::Host(foreign.into())), "{foreign}");
        }
        for none in ["", "a b", "user@localhost", "[::1"] {
            assert_eq!(
                check_host(&headers(&[("host", none)]), &names),
                Err(Foreign::NoHost),
                "{none}"
            );
        }
        assert_eq!(check_host(&headers(&[]), &names), Err(Foreign::NoHost));
        let twice = headers(&[("host", "localhost"), ("host", "localhost")]);
        assert_eq!(check_host(&twice, &names), Err(Foreign::NoHost));
    }

    #[test]
    fn the_page_that_opens_a_websocket_has_the_name_that_it_was_asked_for_by() {
        let check = |origin: &str, is_tls| {
            check_origin(&headers(&[("host", "hub.local:8080"), ("origin", origin)]), is_tls)
        };
        assert_eq!(check("http://hub.local:8080", false), Ok(()));
        assert_eq!(check("http://HUB.local:8080", false), Ok(()));
        assert_eq!(check("https://hub.local:8080", false), Ok(()));
        assert_eq!(check("https://hub.local:8080", true), Ok(()));
        for (origin, is_tls) in [
            ("http://hub.local:8080", true),
            ("http://hub.local", false),
            ("http://evil.example:8080", false),
            ("http://hub.local:8080.evil.example", false),
            ("null", false),
            ("ws://hub.local:8080", false),
        ] {
            assert_eq!(check(origin, is_tls), Err(Foreign::Origin(origin.into())));
        }
        let without = headers(&[("host", "hub.local:8080")]);
        assert_eq!(check_origin(&without, false), Err(Foreign::Origin("none".into())));
        let twice = headers(&[
            ("host", "a.local"),
            ("origin", "http://a.local"),
            ("origin", "http://b.local"),
        ]);
        assert!(check_origin(&twice, false).is_err());
    }
}
