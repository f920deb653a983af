//! What a configuration file may say, and what is told about a wrong one.

mod mistakes;
mod passwords;

use std::{fs, path::Path, time::Duration};

use super::*;

const SHIPPED: &str = include_str!("../../../../config/hearthd.toml");

/// The shipped file without the account, whose password is not here.
fn shipped() -> String {
    let account =
        |line: &&str| line.starts_with("username = ") || line.starts_with("password_file = ");
    SHIPPED.lines().filter(|line| !account(line)).collect::<Vec<_>>().join("\n")
}

fn parse(text: &str) -> Result<Config, Problems> {
    Config::parse(Path::new("c.toml"), text)
}

#[track_caller]
fn problems(text: &str) -> Vec<String> {
    parse(text).unwrap_err().iter().map(Problem::to_string).collect()
}

/// Fails unless the text has one problem and that starts so.
#[track_caller]
fn check_problem(text: &str, start: &str) {
    let found = problems(text);
    assert!(found.len() == 1 && found[0].starts_with(start), "{found:#?}");
}

fn with_defaults_uncommented(text: &str) -> String {
    let uncomment = |line: &str| match line.strip_prefix("# ") {
        Some(rest) if is_key_line(rest) && !rest.ends_with("# example") => rest.to_owned(),
        _ => line.to_owned(),
    };
    text.lines().map(uncomment).collect::<Vec<_>>().join("\n")
}

fn is_key_line(line: &str) -> bool {
    line.split_once(" = ").is_some_and(|(key, _)| {
        !key.is_empty() && key.chars().all(|c| c.is_ascii_lowercase() || c == '_')
    })
}

#[test]
fn every_documented_default_is_the_default() {
    let shown = |text: &str| format!("{:#?}", parse(text).unwrap());
    let text = shipped();
    let documented = with_defaults_uncommented(&text);
    assert!(documented.lines().filter(|line| is_key_line(line)).count() > 20, "{documented}");
    assert_eq!(shown(&documented), shown(&text));
    let mut without_devices = parse(&text).unwrap();
    without_devices.devices.clear();
    assert_eq!(format!("{without_devices:#?}"), shown(""));
}

#[test]
fn every_key_is_documented() {
    let source = Source::new(Path::new("c.toml"), &shipped());
    let (_, outcome) = hearthd_config::read(&source, None, sections::config);
    for path in outcome.known {
        let key = path.rsplit('.').next().unwrap();
        let documented = SHIPPED.lines().any(|line| {
            line.trim_start_matches("# ").starts_with(&format!("{key} = "))
                || line.ends_with(&format!(".{key}]"))
                || line.contains(&format!("[[{key}]]"))
        });
        assert!(documented, "{path} is not in config/hearthd.toml");
    }
}

#[test]
fn the_shipped_file_has_two_devices() {
    let config = parse(&shipped()).unwrap();
    let kinds: Vec<_> = config.devices.values().map(|d| (d.id.as_str(), d.kind.as_str())).collect();
    assert_eq!(kinds, [("heating", "thermostat"), ("light-in-bedroom", "light")]);
    assert_eq!(config.devices["heating"].config["backend"], "simulated");
    assert_eq!(config.broker.keep_alive, Duration::from_secs(20));
    assert_eq!(config.requests.max_payload, 65_536);
}

#[test]
fn five_mistakes_are_told_at_once_with_their_places() {
    let text = r#"[broker]
url = "http://broker"
keep_alife = "20s"
[requests]
deadline = 5
[topics]
state = "{prefix}/state/{room}"
[will]
delay = "soon"
[devices.Bedroom]
name = "Bedroom"
[[guards]]
presence = "x"
"#;
    assert_eq!(
        problems(text),
        [
            "c.toml:2:7: broker.url: `http://broker` must start with mqtt:// or mqtts://",
            "c.toml:3:1: broker.keep_alife: unknown key; did you mean `keep_alive`?",
            "c.toml:5:12: requests.deadline: must be a duration in quotes such as \"10s\", \
             \"500ms\" or \"7d\", not a whole number",
            "c.toml:7:9: topics.state: `{room}` is no placeholder of this topic; the default is \
             `{prefix}/state/{device}/{property}`",
            "c.toml:9:9: will.delay: `soon` is no duration; write one such as \"10s\" or \"7d\"",
            "c.toml:10:10: devices.Bedroom: `Bedroom` is no ID; use 1 to 64 of a-z, 0-9, `_` and \
             `-`, such as `bedroom`",
            "c.toml:10:10: devices.Bedroom: plugin is missing; name the device's kind: plugin = \
             \"light\"",
            "c.toml:12:3: guards: unknown key; did you mean `guard`?",
        ]
    );
}

#[test]
fn a_guard_names_another_hub_and_a_device_of_this_one() {
    let text = r#"
[broker]
client_id = "attic"
[devices.boiler]
plugin = "light"
[[guard]]
presence = "{prefix}/hub/cellar/presence"
request = { device = "boiler", property = "power", value = "OFF" }
[[guard]]
presence = "{prefix}/hub/garage/presence"
request = { device = "boiler", property = "brightness", value = 20 }
"#;
    let config = parse(text).unwrap();
    let payloads: Vec<_> = config.guards.iter().map(|guard| &guard.payload[..]).collect();
    assert_eq!(payloads, [b"OFF", &b"20"[..]]);
    assert_eq!(config.guards[0].presence.to_string(), "{prefix}/hub/cellar/presence");
    let own = text.replace("hub/cellar", "hub/attic");
    check_problem(&own, "c.toml:7:12: guard[0].presence: is this hub's own presence");
    for own in ["hub/attic", "alice/hub/attic"] {
        let own = text.replace("{prefix}/hub/cellar", own);
        let own = own + "[response_information]\nfallback = \"alice\"\n";
        check_problem(&own, "c.toml:7:12: guard[0].presence: is this hub's own presence");
    }
    let request = text.replace("hub/cellar/presence", "cmnd/lamp/power");
    check_problem(&request, "c.toml:7:12: guard[0].presence: is a topic of topics.request");
    let itself = text.replace(
        "{ device = \"boiler\", property = \"power\"",
        "{ device = \"attic\", property = \"power\"",
    );
    check_problem(&itself, "c.toml:8:22: guard[0].request.device: is the hub itself");
    let gone = text.replace("device = \"boiler\", property = \"power\"", "device = \"pump\"");
    let told = problems(&gone);
    assert!(
        told[0].contains("guard[0].request: property is missing; write presence = "),
        "{told:#?}"
    );
    assert!(told[1].contains("guard[0].request.device: there is no device `pump`"), "{told:#?}");
    check_problem("guard = 3", "c.toml:1:9: guard: must be an array of tables, not a whole number");
    check_problem("[[guard]]\npresence = \"x\"", "c.toml:1:1: guard[0]: request is missing");
}

#[test]
fn topics_of_which_one_name_matches_two_are_refused() {
    let check = |keys: &str, expected: &[&str]| {
        let found = parse(&format!("[topics]\n{keys}")).map_or_else(
            |problems| problems.iter().map(Problem::to_string).collect::<Vec<_>>(),
            |_| Vec::new(),
        );
        assert_eq!(found, expected, "{keys}");
    };
    check(
        "request = \"{prefix}/state/{device}/{property}\"",
        &["c.toml:2:11: topics.request: `{prefix}/state/{device}/{property}` would be a topic of \
           `state` as well; change one"],
    );
    check(
        "request = \"home/{device}/{property}\"\nstate = \"home/{device}/{property}\"",
        &["c.toml:3:9: topics.state: `home/{device}/{property}` would be a topic of `request` as \
           well; change one"],
    );
    check(
        "state = \"{prefix}/hub/{device}/{property}\"",
        &[
            "c.toml:2:9: topics.state: `{prefix}/hub/{client_id}/presence` would be a topic of \
             `presence` as well; change one",
            "c.toml:2:9: topics.state: `{prefix}/hub/{client_id}/absence` would be a topic of \
             `absence` as well; change one",
        ],
    );
    // Under a prefix alone.
    check(
        "event = \"{prefix}/{device}\"\npresence = \"{client_id}/presence\"",
        &[
            "c.toml:2:9: topics.event: `{prefix}/presence` would be a topic of `presence` as well; \
             change one",
            "c.toml:3:12: topics.presence: `state/presence` would be a topic of `snapshot` as well; \
             change one",
        ],
    );
    for good in [
        "request = \"cmnd/{device}/{property}\"\nstate = \"stat/{device}/{property}\"",
        "request = \"{prefix}/{device}/{property}/set\"\nstate = \"{prefix}/{device}/{property}/is\"\n\
         response = \"{prefix}/response/{client_id}/to/{purpose}\"",
    ] {
        check(good, &[]);
    }
}

#[test]
fn two_broken_lines_are_both_told() {
    let found = problems("[broker]\nurl = \n[will]\ndelay = 10s\n");
    assert!(found.len() >= 2, "{found:#?}");
    assert!(found[0].starts_with("c.toml:2:"), "{found:#?}");
    assert!(found.iter().any(|problem| problem.starts_with("c.toml:4:")), "{found:#?}");
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = Config::load(Path::new("/nonexistent/hearthd.toml")).unwrap_err().to_string();
    assert!(error.starts_with("/nonexistent/hearthd.toml: cannot be read: "), "{error}");
}

#[test]
fn the_port_follows_the_scheme() {
    let broker = |url: &str| {
        let broker = parse(&format!("broker.url = \"{url}\"")).unwrap().broker;
        (broker.host, broker.port, broker.tls.is_some())
    };
    assert_eq!(broker("mqtt://pi.local"), ("pi.local".into(), 1883, false));
    assert_eq!(broker("mqtts://pi"), ("pi".into(), 8883, true));
    assert_eq!(broker("mqtt://[::1]:1884"), ("::1".into(), 1884, false));
    assert_eq!(broker("mqtt://[fe80::1%eth0]:1883"), ("fe80::1%eth0".into(), 1883, false));
    assert_eq!(broker("mqtt://[fe80::1%25eth0]"), ("fe80::1%eth0".into(), 1883, false));
    assert_eq!(broker("mqtt://[fe80::1%25]"), ("fe80::1%25".into(), 1883, false));
    for url in ["mqtt://[fe80::1%]", "mqtt://[fe80::1%a b]", "mqtts://[fe80::1%eth0]"] {
        check_problem(&format!("broker.url = \"{url}\""), "c.toml:1:14: broker.url: ");
    }
    for url in ["mqtt://", "mqtt://pi:0", "mqtt://pi:70000", "mqtt://a:b@pi", "mqtt://[x]", "pi"] {
        check_problem(&format!("broker.url = \"{url}\""), "c.toml:1:14: broker.url: ");
    }
}

#[test]
fn a_broker_may_have_several_addresses() {
    let broker = |url: &str| parse(&format!("broker.url = {url}")).unwrap().broker;
    let one = broker("\"mqtt://a\"");
    assert_eq!((one.addresses(), one.identity().as_str()), (1, "a:1883"));
    let three = broker(r#"["mqtt://a", "mqtt://b:1884", "mqtt://[::1]"]"#);
    assert_eq!(three.identity(), "a:1883 b:1884 ::1:1883");
    let turns: Vec<_> = (0..4).map(|turn| three.at(turn).address()).collect();
    assert_eq!(turns, ["a:1883", "b:1884", "[::1]:1883", "a:1883"]);
    for (url, what) in [
        ("[]", "is empty"),
        (r#"["mqtt://a", "mqtts://b"]"#, "must begin with mqtt:// everywhere"),
        (r#"["mqtt://a", "mqtt://a:1883"]"#, "`a:1883` is there twice"),
        (r#"["mqtt://a", 7]"#, "must be a URL in quotes, not a whole number"),
        (r#"["mqtt://a", "b"]"#, "`b` must start with mqtt://"),
        ("7", "must be a URL in quotes, not a whole number"),
    ] {
        check_problem(&format!("broker.url = {url}"), &format!("c.toml:1:14: broker.url: {what}"));
    }
}

#[test]
fn tls_files_need_mqtts_and_come_in_pairs() {
    check_problem("[broker.tls]\n", "c.toml:1:9: broker.tls: needs a url that starts with mqtts");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("hub.pem");
    fs::write(&file, "").unwrap();
    check_problem(
        &format!("[broker]\nurl = \"mqtts://pi\"\n[broker.tls]\nclient_cert_file = {file:?}\n"),
        "c.toml:3:9: broker.tls: client_cert_file and client_key_file belong together",
    );
}

#[test]
fn a_hub_that_only_waits_is_not_reported_offline() {
    let text = "[broker]\nreconnect_spread = \"20s\"\n[will]\ndelay = \"20s\"\n";
    let problem =
        "c.toml:3:2: will: a will delay of 20s is no longer than broker.reconnect_spread (20s)";
    check_problem(text, problem);
    check_problem("broker.reconnect_spread = \"20s\"", "c.toml:");
    let config = parse("broker.reconnect_spread = \"20s\"\nwill.delay = \"30s\"").unwrap();
    assert_eq!(config.broker.reconnect_spread, Duration::from_secs(20));
}

#[test]
fn numbers_have_bounds() {
    for (text, start) in [
        ("broker.keep_alive = \"4s\"", "c.toml:1:21: broker.keep_alive: `4s` is too short"),
        ("broker.keep_alive = \"1d\"", "c.toml:1:21: broker.keep_alive: is too long"),
        ("will.delay = \"1500ms\"", "c.toml:1:14: will.delay: MQTT counts"),
        ("will.delay = \"8d\"", "c.toml:1:14: will.delay: is longer than broker.session_expiry"),
        ("broker.reconnect_spread = \"11m\"", "c.toml:1:27: broker.reconnect_spread: is too long"),
        ("requests.queue = 0", "c.toml:1:18: requests.queue: 0 is out of range"),
        ("requests.max_payload = \"64kb\"", "c.toml:1:24: requests.max_payload: is no size"),
        ("plugins.max_failures = 0", "c.toml:1:24: plugins.max_failures: 0 is out of range"),
        ("plugins.limits.memory = \"1KiB\"", "c.toml:1:25: plugins.limits.memory: is no size"),
        ("plugins.limits.cpu = \"2m\"", "c.toml:1:22: plugins.limits.cpu: is too long"),
        ("plugins.limits.files = 3", "c.toml:1:24: plugins.limits.files: 3 is out of range"),
        ("requests.stale = \"drop\"", "c.toml:1:18: requests.stale: must be \"refuse\""),
        ("responses.allow = [\"a\", \"b#\"]", "c.toml:1:25: responses.allow[1]: `b#`"),
        ("response_information.fallback = \"a+\"", "c.toml:1:33: response_information.fallback"),
    ] {
        check_problem(text, start);
    }
    for (size, bytes) in [("\"256KiB\"", 262_144), ("\"512KiB\"", 524_288), ("70", 70)] {
        let config = parse(&format!("requests.max_payload = {size}")).unwrap();
        assert_eq!(config.requests.max_payload, bytes);
    }
}

#[test]
fn a_device_is_no_namesake_of_the_hub_and_inherits_the_requests_section() {
    check_problem(
        "broker.client_id = \"pi\"\n[devices.pi]\nplugin = \"light\"\n",
        "c.toml:2:10: devices.pi: is the hub's client_id",
    );
    let config = parse(
        "[requests]\ndeadline = \"2s\"\nstale = \"execute\"\n[devices.a]\nplugin = \"light\"\n\
         [devices.b]\nplugin = \"light\"\ndeadline = \"300ms\"\nstale = \"refuse\"\n",
    )
    .unwrap();
    let of = |id: &str| (config.devices[id].deadline, config.devices[id].stale);
    assert_eq!(of("a"), (Duration::from_secs(2), Stale::Execute));
    assert_eq!(of("b"), (Duration::from_millis(300), Stale::Refuse));
}

#[test]
fn a_device_says_where_its_plugin_runs() {
    let isolation = |line: &str| {
        let text = format!("[devices.lamp]\nplugin = \"lamp\"\n{line}");
        parse(&text).map(|config| config.devices["lamp"].isolation)
    };
    assert_eq!(isolation("").unwrap(), Isolation::Auto);
    assert_eq!(isolation("isolation = \"process\"").unwrap(), Isolation::Process);
    let error = isolation("isolation = \"thread\"").unwrap_err().to_string();
    assert!(error.ends_with("isolation: must be \"auto\", \"none\" or \"process\""), "{error}");
}

#[test]
fn a_plugins_complaint_finds_its_key() {
    let config = parse(
        "[devices.house]\nplugin = \"x\"\n[devices.house.config]\nlimit = 0x10\n\
         inline = { depth = 1.5 }\n[[devices.house.config.rooms]]\nname = \"a\"\n\
         [[devices.house.config.rooms]]\nname = \"b\"\n[devices.bare]\nplugin = \"x\"\n",
    )
    .unwrap();
    let json = serde_json::json!({
        "limit": 16, "inline": { "depth": 1.5 }, "rooms": [{ "name": "a" }, { "name": "b" }],
    });
    assert_eq!(config.devices["house"].config, json);
    for (path, place) in [
        ("limit", (4, 9)),
        ("inline.depth", (5, 20)),
        ("rooms[1].name", (9, 8)),
        ("rooms[1].size", (8, 1)),
        ("no_such_key", (3, 16)),
        ("", (3, 16)),
    ] {
        assert_eq!(config.locate("house", path), Some(place), "{path}");
    }
    assert_eq!(config.locate("bare", "limit"), Some((10, 10)));
    assert_eq!(config.locate("nobody", "limit"), None);
    assert_eq!(
        config.device_problem("house", "rooms[1].name", "is taken").to_string(),
        "c.toml:9:8: devices.house.config.rooms[1].name: is taken"
    );
}
