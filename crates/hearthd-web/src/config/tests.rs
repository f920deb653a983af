use super::*;

const SHIPPED: &str = include_str!("../../../../config/hearth-web.toml");

fn parse(text: &str) -> Result<Config, Vec<String>> {
    let source = Source::new(Path::new("/etc/w.toml"), text);
    let told = |problems: Problems| problems.iter().map(ToString::to_string).collect();
    Config::check(&source, FilesOfIt::Open).map_err(told)
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
    let mut written = parse(&text).unwrap();
    // The page has the same defaults: see `the_defaults_of_the_page_are_those_of_the_file`.
    assert_eq!(written.topics.len(), 6);
    written.topics.clear();
    assert_eq!(written, parse("").unwrap());
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
         username = \"x\"\n[tls]\nkey_file = \"/no/k\"\n[limits]\nframe = 12\nconnections = 0\nsilence = \"1\"\n",
        &[
            "/etc/w.toml:1:11: listen[0]: must be an IP address and a port, like 192.168.1.5:8080 or [::]:8080",
            "/etc/w.toml:1:19: listen[1]: must be a text in quotes, not a whole number",
            "/etc/w.toml:2:10: names[0]: must be a host name without port or scheme, like hub.example.org",
            "/etc/w.toml:3:1: name: unknown key; did you mean `names`?",
            "/etc/w.toml:5:7: broker.url: must start with unix:, mqtt:// or mqtts://",
            "/etc/w.toml:6:1: broker.username: unknown key; write no account: the page logs in with that of whoever uses it",
            "/etc/w.toml:7:2: tls: certificate_file is missing",
            "/etc/w.toml:8:12: tls.key_file: /no/k: No such file or directory (os error 2)",
            "/etc/w.toml:10:9: limits.frame: 12 is out of range; write 1024 to 16777216",
            "/etc/w.toml:11:15: limits.connections: 0 is out of range; write 1 to 100000",
            "/etc/w.toml:12:11: limits.silence: `1` is no duration; write one such as \"10s\" or \"7d\"",
        ],
    );
}

#[test]
fn the_defaults_of_the_page_are_those_of_the_file_and_of_the_hub() {
    let page = include_str!("../../page/topics.mjs");
    let hub = include_str!("../../../../config/hearthd.toml");
    for key in ["request", "state", "response", "presence", "absence", "event"] {
        let line = SHIPPED.lines().find(|line| line.starts_with(&format!("# {key} = "))).unwrap();
        assert!(hub.lines().any(|it| it == line), "{line}");
        let template = line.split('"').nth(1).unwrap();
        assert!(page.contains(&format!("{key}: '{template}'")), "{line}");
    }
}

#[test]
fn topics_keep_to_the_rules_of_the_hub() {
    let config = parse("[topics]\nevent = \"x/{device}\"\nsnapshot = \"y/{device}\"\n").unwrap();
    assert_eq!(config.topics, [("event", "x/{device}".to_owned())]);
    check_problems(
        "[topics]\nrequest = \"a/{device}\"\nstate = \"{device}/{property}/{device}\"\nevent = \"#/{device}\"\n\
         presence = \"x/{prefix}/{client_id}\"\nabsence = \"a//{client_id}\"\nresponse = 1\n",
        &[
            "/etc/w.toml:2:11: topics.request: `{property}` is missing",
            "/etc/w.toml:3:9: topics.state: `{device}` is no placeholder of this topic, or is there twice",
            "/etc/w.toml:4:9: topics.event: `#` cannot be a level of a topic name",
            "/etc/w.toml:5:12: topics.presence: `{prefix}` may only be the first level",
            "/etc/w.toml:6:11: topics.absence: a level is empty",
            "/etc/w.toml:7:12: topics.response: must be a text in quotes",
        ],
    );
}

#[test]
fn brokers_are_named_by_url() {
    let broker = |url: &str| parse(&format!("[broker]\nurl = \"{url}\"\n")).unwrap().broker;
    let authority = |host: &str, port| Authority { host: host.into(), port };
    assert_eq!(broker("unix:b.sock"), Broker::Unix("/etc/b.sock".into()));
    assert_eq!(broker("mqtt://hub.local"), Broker::Tcp(vec![authority("hub.local", 1883)]));
    let scoped = Broker::Tcp(vec![authority("fe80::1%eth0", 1884)]);
    assert_eq!(broker("mqtt://[fe80::1%eth0]:1884/"), scoped);
    let tls = Broker::Tls { nodes: vec![authority("x.example", 8883)], ca_file: None };
    assert_eq!(broker("mqtts://x.example"), tls);
    for wrong in ["mqtt://", "mqtt://a:b@c", "mqtt://[::1", "mqtt://a:0", "mqtt://[::1]x", "unix:"]
    {
        assert!(parse(&format!("[broker]\nurl = \"{wrong}\"\n")).is_err(), "{wrong}");
    }
    let nodes = "[broker]\nurl = [\"mqtts://a\", \"mqtts://b:1\"]\n";
    let both = vec![authority("a", 8883), authority("b", 1)];
    assert_eq!(parse(nodes).unwrap().broker, Broker::Tls { nodes: both, ca_file: None });
}

#[test]
fn the_nodes_of_a_broker_are_alike_and_no_sockets() {
    for (url, what) in [
        ("[]", "is empty: write at least one URL"),
        (
            r#"["mqtt://a", "mqtts://b"]"#,
            "must begin with mqtt:// everywhere, or with mqtts:// everywhere",
        ),
        (r#"["mqtt://a", "mqtt://a:1883"]"#, "`a:1883` is there twice"),
        (r#"["mqtt://a", "unix:/b"]"#, "a socket stands alone: `url` is not an array then"),
    ] {
        let problem = format!("/etc/w.toml:2:7: broker.url: {what}");
        check_problems(&format!("[broker]\nurl = {url}\n"), &[&problem]);
    }
}

#[test]
fn an_authority_needs_tls() {
    check_problems(
        "[broker]\nurl = \"mqtt://x\"\nca_file = \"/etc/hostname\"\n",
        &["/etc/w.toml:3:1: broker.ca_file: needs a url that starts with mqtts://"],
    );
}
