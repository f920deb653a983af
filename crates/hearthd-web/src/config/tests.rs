use super::*;

const SHIPPED: &str = include_str!("../../../../config/hearth-web.toml");

fn parse(text: &str) -> Result<Config, Vec<String>> {
    Config::parse(Path::new("/etc/w.toml"), text).map_err(|problems| problems.0)
}

#[track_caller]
fn check_problems(text: &str, expected: &[&str]) {
    assert_eq!(parse(text).unwrap_err(), expected, "{text}");
}

#[test]
fn an_empty_file_is_the_shipped_file() {
    assert_eq!(parse("").unwrap(), parse(SHIPPED).unwrap());
}

#[test]
fn the_keys_of_the_shipped_file_are_all_keys_with_their_defaults() {
    // Every key that is commented out is written as it would be without the mark, but for examples.
    let mut text = String::new();
    for line in SHIPPED.lines() {
        let bare = line.strip_prefix("# ").unwrap_or(line);
        let is_key = bare.split_once(" = ").is_some_and(|(key, _)| {
            !key.is_empty() && key.chars().all(|c| c.is_ascii_lowercase() || c == '_')
        });
        let is_table = bare.starts_with('[') && bare.ends_with(']');
        let is_default = (is_key || is_table) && !line.ends_with("# example");
        text += if is_default { bare } else { line };
        text.push('\n');
    }
    assert_eq!(parse(&text).unwrap(), parse("").unwrap());
    for key in [
        "listen",
        "names",
        "url",
        "ca_file",
        "certificate_file",
        "key_file",
        "connections",
        "strangers",
        "strangers_of_address",
        "frame",
        "login_time",
        "silence",
        "stall",
        "wrong_passwords",
    ] {
        assert!(SHIPPED.contains(&format!("\n# {key} = ")), "{key}");
    }
}

#[test]
fn every_problem_is_told_with_its_line_and_column() {
    check_problems(
        "listen = [\"8080\", 3]\nnames = [\"http://hub\"]\nname = 1\n[broker]\nurl = \"http://x\"\n\
         [tls]\nkey_file = \"k\"\n[limits]\nframe = 12\nconnections = 0\nsilence = \"1d\"\n",
        &[
            "/etc/w.toml:1:11: listen: must be an IP address and a port, like 192.168.1.5:8080 or [::]:8080",
            "/etc/w.toml:1:19: listen: must be a text in quotes",
            "/etc/w.toml:2:10: names: must be a host name without port or scheme, like hub.example.org",
            "/etc/w.toml:3:1: name: is no key; there are: listen, names, broker, tls, limits",
            "/etc/w.toml:5:7: broker.url: must start with unix:, mqtt:// or mqtts://",
            "/etc/w.toml:6:1: tls: needs certificate_file and key_file",
            "/etc/w.toml:9:9: limits.frame: must be a size from 1KiB to 16MiB, like 256KiB",
            "/etc/w.toml:10:15: limits.connections: must be a whole number from 1 to 100000",
            "/etc/w.toml:11:11: limits.silence: must be a time from 1s to 24h, like 30s, 5m or 1h",
        ],
    );
}

#[test]
fn what_is_no_toml_is_told_beside_the_rest() {
    let problems = parse("listen = []\nnames = [\n[limits]\nframe = 1\n").unwrap_err();
    assert!(problems.iter().any(|it| it.contains("w.toml:1:10: listen: names no")), "{problems:?}");
    assert!(problems.iter().any(|it| it.contains("not TOML")), "{problems:?}");
}

#[test]
fn brokers_are_named_by_url() {
    let broker = |url: &str| parse(&format!("[broker]\nurl = \"{url}\"\n")).unwrap().broker;
    let authority = |host: &str, port| Authority { host: host.into(), port };
    assert_eq!(broker("unix:b.sock"), Broker::Unix("/etc/b.sock".into()));
    assert_eq!(broker("mqtt://hub.local"), Broker::Tcp(authority("hub.local", 1883)));
    assert_eq!(broker("mqtt://[fe80::1%eth0]:1884/"), Broker::Tcp(authority("fe80::1%eth0", 1884)));
    let tls = Broker::Tls { authority: authority("x.example", 8883), ca_file: None };
    assert_eq!(broker("mqtts://x.example"), tls);
    for wrong in ["mqtt://", "mqtt://a:b@c", "mqtt://[::1", "mqtt://a:0", "mqtt://[::1]x", "unix:"]
    {
        assert!(parse(&format!("[broker]\nurl = \"{wrong}\"\n")).is_err(), "{wrong}");
    }
}

#[test]
fn an_authority_needs_tls() {
    check_problems(
        "[broker]\nurl = \"mqtt://x\"\nca_file = \"ca.pem\"\n",
        &["/etc/w.toml:3:11: broker.ca_file: needs a url that starts with mqtts://"],
    );
}
