//! How mistakes are told: all of them, each with its place, in words that a terminal can show.

use std::{
    fmt::Write as _,
    os::unix::net::UnixListener,
    time::{Duration, Instant},
};

use super::*;

#[test]
fn a_mistake_in_the_toml_hides_none_in_other_tables() {
    let found = problems(
        "[broker]\nurl = mqtt://pi\nkeep_alife = \"20s\"\n[will]\ndelay = \"soon\"\n[requests]\nqueue = 0\n\
         queue = 1\n[devices.küche]\nplugin = \"light\"\n[devices.\"flür\"]\nplugin = \"light\"\n",
    );
    assert_eq!(
        found,
        [
            "c.toml:2:7: not TOML: string values must be quoted, expected literal string",
            "c.toml:5:9: will.delay: `soon` is no duration; write one such as \"10s\" or \"7d\"",
            "c.toml:8:1: not TOML: the key `queue` is there twice",
            "c.toml:9:11: not TOML: `küche` is no key; use letters a to z, digits, `_` and `-`, \
             such as `kueche`",
            "c.toml:11:10: devices.flür: `flür` is no ID; use 1 to 64 of a-z, 0-9, `_` and `-`, \
             such as `fluer`",
        ]
    );
}

#[test]
fn where_tables_cannot_be_told_apart_only_the_toml_is_wrong() {
    for text in
        ["[devices.lamp\nplugin = \"x\"\n", "[devices.my lamp]\nqueue = 1\n", "a = [1,\nb = 2\n"]
    {
        let found = problems(&format!("{text}[will]\ndelay = \"soon\"\n"));
        assert!(found.iter().all(|problem| problem.contains(": not TOML: ")), "{found:#?}");
    }
}

#[test]
fn keys_and_sections_that_people_expect_lead_to_the_right_ones() {
    for (text, start) in [
        (
            "broker.password = \"x\"",
            "c.toml:1:8: broker.password: unknown key; write password_file = \"FILE\" with the \
             password in that file",
        ),
        ("broker.host = \"pi\"", "c.toml:1:8: broker.host: unknown key; write url = "),
        ("[respones]\n", "c.toml:1:2: respones: unknown key; did you mean `responses`?"),
        ("[will]\ndealy = \"1s\"", "c.toml:2:1: will.dealy: unknown key; did you mean `delay`?"),
        ("[will]\nwhat = 1", "c.toml:2:1: will.what: unknown key; known here: delay"),
    ] {
        check_problem(text, start);
    }
}

#[test]
fn what_home_assistant_cannot_be_told_is_named() {
    let lamp = "[devices.lamp]\nplugin = \"light\"\n";
    for (text, start) in [
        ("discovery = 1", "c.toml:2:13: home_assistant.discovery: "),
        ("expiry = \"no\"", "c.toml:2:10: home_assistant.expiry: "),
        ("prefix = \"a/#\"", "c.toml:2:10: home_assistant.prefix: `a/#` contains a wildcard"),
        ("prefix = \"\"", "c.toml:2:10: home_assistant.prefix: `` is empty"),
        ("prefix = \"a//b\"", "c.toml:2:10: home_assistant.prefix: `a//b` has an empty level"),
        (
            "prefix = \"state\"",
            "c.toml:2:10: home_assistant.prefix: `state` is where the hub has its own topics, \
             `{prefix}/state/{device}/{property}`",
        ),
        (
            "exclude = [\"lamp\", \"lmp\"]",
            "c.toml:2:20: home_assistant.exclude[1]: there is no device `lmp`; did you mean `lamp`?",
        ),
        ("prefx = \"a\"", "c.toml:2:1: home_assistant.prefx: unknown key; did you mean `prefix`?"),
    ] {
        check_problem(&format!("[home_assistant]\n{text}\n{lamp}"), start);
    }
    check_problem(
        &format!("{lamp}home_assistant = \"no\"\n"),
        "c.toml:3:18: devices.lamp.home_assistant: ",
    );
}

#[test]
fn the_time_for_a_hundred_thousand_problems_grows_with_their_number_alone() {
    let mut lines = String::from("[broker]\n");
    let mut long_line = String::from("broker = { ");
    for n in 0..100_000 {
        writeln!(lines, "key{n} = 1").unwrap();
        write!(long_line, "key{n} = 1, ").unwrap();
    }
    for text in [lines, long_line + "}"] {
        let start = Instant::now();
        let problems = parse(&text).unwrap_err();
        let shown = problems.to_string();
        let took = start.elapsed();
        assert_eq!(problems.iter().count(), 100_000);
        assert_eq!(shown.lines().count(), 101);
        let last = "100000 problems, of which these are the first 100";
        assert_eq!(shown.lines().last(), Some(last));
        // Two seconds at the most in a release; with the square of their number it would be many minutes.
        assert!(took < Duration::from_secs(60), "{took:?}");
    }
}

#[test]
fn places_count_characters_also_in_a_long_line() {
    let found = problems("will = { é = 1, b = 2 }\nresponses = { c = 1 }\n");
    let places: Vec<_> = found.iter().map(|found| found.split(' ').next().unwrap()).collect();
    assert_eq!(places, ["c.toml:1:10:"], "what is beside a broken key is not told");
    let found = problems("will = { \"é\" = 1, b = 2 }\n");
    let places: Vec<_> = found.iter().map(|found| found.split(' ').next().unwrap()).collect();
    assert_eq!(places, ["c.toml:1:10:", "c.toml:1:19:"]);
}

#[test]
fn what_is_no_readable_file_gets_its_line_and_nobody_waits() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    rustix::fs::mknodat(
        rustix::fs::CWD,
        at("fifo"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
    let _listening = UnixListener::bind(at("socket")).unwrap();
    fs::create_dir(at("folder")).unwrap();
    fs::write(at("latin"), b"pass\xe9").unwrap();
    for (name, what) in [
        ("fifo", "is a FIFO, not a file"),
        ("socket", "No such device"),
        ("folder", "is a folder, not a file"),
        ("nothing", "No such file"),
    ] {
        let error = Config::load(&at(name)).unwrap_err().to_string();
        let start = format!("{}: cannot be read: {what}", at(name).display());
        assert!(error.starts_with(&start), "{error}");
        for (key, scheme) in [("password_file", "mqtt"), ("tls.ca_file", "mqtts")] {
            let text = format!(
                "[broker]\nurl = \"{scheme}://pi\"\nusername = \"a\"\n{key} = {:?}\n",
                at(name)
            );
            let column = key.len() + 4;
            check_problem(
                &text,
                &format!("c.toml:4:{column}: broker.{key}: {}: {what}", at(name).display()),
            );
        }
    }
    check_problem(
        &format!("broker.username = \"a\"\nbroker.password_file = {:?}", at("latin")),
        &format!(
            "c.toml:2:24: broker.password_file: {}: is not UTF-8, in line 1",
            at("latin").display()
        ),
    );
    fs::write(at("c.toml"), b"[broker]\nname = \"Caf\xe9\"\n").unwrap();
    let error = Config::load(&at("c.toml")).unwrap_err().to_string();
    let expected = format!("{}:2:12: is not UTF-8: the byte 0xe9", at("c.toml").display());
    assert!(error.starts_with(&expected), "{error}");
}

#[test]
fn nothing_of_a_configuration_commands_a_terminal() {
    let found = problems("[broker]\nclient_id = \"\\u001b[2J\"\n\"a\\nb.toml:1:1: forged\" = 1\n");
    for problem in &found {
        assert!(!problem.contains(char::is_control), "{problem:?}");
    }
    assert!(found[0].contains("`\\u{1b}[2J` is no ID"), "{found:#?}");
    assert_eq!(found.len(), 2);
}
