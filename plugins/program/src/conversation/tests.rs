//! The conversation by hand: lines in, outputs out, on a virtual clock.

use std::collections::BTreeMap;
use std::time::Duration;

use hearthd_sdk::FailureKind;
use serde_json::{Map, Value as Json, json};

use super::{Asked, Conversation, FAULTS, Greeting, Output};
use crate::config::Config;
use crate::protocol::Level;

const PATIENCE: Duration = Duration::from_secs(10);

/// A conversation, its clock, and what it has said.
struct Talked {
    conversation: Conversation,
    now: Duration,
    requests: u64,
}

impl Talked {
    fn new() -> Self {
        let conversation = Conversation::new(PATIENCE);
        Self { conversation, now: Duration::from_secs(100), requests: 0 }
    }

    /// A conversation with these devices, each a lamp, that are all ready.
    fn ready(devices: &[&str]) -> Self {
        let mut talked = Self::new();
        for device in devices {
            talked.attach(device, &lamp());
        }
        talked.conversation.started(talked.now);
        for (id, _) in (1..).zip(devices) {
            talked.hear(json!({"type": "answer", "id": id}));
        }
        talked.outputs();
        talked
    }

    fn attach(&mut self, device: &str, config: &Json) {
        let config: Config = serde_json::from_value(config.clone()).unwrap();
        self.conversation.attach(
            self.now,
            device.to_owned(),
            Greeting::new(&config, None, Vec::new()),
        );
    }

    fn set(&mut self, device: &str, values: &Json, within: Duration) -> u64 {
        self.requests += 1;
        let properties = &self.conversation.devices[device].greeting.properties;
        let read = |(name, json): (&String, &Json)| {
            (name.clone(), properties[name].1.read_value(json).unwrap())
        };
        let values: BTreeMap<_, _> = values.as_object().unwrap().iter().map(read).collect();
        let asked = Asked { request: self.requests, values, within };
        self.conversation.set(self.now, device, asked);
        self.requests
    }

    fn hear(&mut self, message: Json) {
        self.conversation.line(self.now, &message.to_string());
    }

    fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(due) = self.conversation.next_deadline().filter(|due| *due <= until) {
            assert!(due >= self.now, "a deadline that has passed was not met");
            self.now = due;
            self.conversation.tick(due);
            if self.conversation.next_deadline() == Some(due) {
                panic!("what is due at {due:?} stays due");
            }
        }
        self.now = until;
    }

    fn outputs(&mut self) -> Vec<Output> {
        std::iter::from_fn(|| self.conversation.next_output()).collect()
    }

    fn words(&mut self) -> Vec<String> {
        self.outputs().iter().filter_map(words).collect()
    }

    /// Returns how a request was answered.
    #[track_caller]
    fn answered(&mut self, asked: u64) -> Result<(), (FailureKind, String)> {
        let outputs = self.outputs();
        let mut answers = outputs.iter().filter_map(|output| match output {
            Output::Answer { request, result } if *request == asked => Some(result),
            _ => None,
        });
        let answer = answers.next().unwrap_or_else(|| panic!("no answer: {outputs:?}"));
        assert_eq!(answers.next(), None, "answered twice");
        answer.clone().map_err(|failure| (failure.kind(), failure.message().to_owned()))
    }
}

fn lamp() -> Json {
    json!({
        "command": ["lamp"],
        "properties": {
            "power": {"type": "switch"},
            "level": {"type": "integer", "min": 0, "max": 100},
            "count": {"type": "integer", "idempotent": false},
            "button": {"type": "event", "values": ["press"]},
            "secret": {"type": "text", "access": "w"},
        },
    })
}

/// Returns an output as the transcript has it; none for what is to be written.
fn words(output: &Output) -> Option<String> {
    Some(match output {
        Output::Write(line) => format!("> {line}"),
        Output::Accept { within, .. } => format!("= answer 202, within {within:?}"),
        Output::Answer { result: Ok(()), .. } => "= answer 200".into(),
        Output::Answer { result: Err(failure), .. } => {
            let status = match failure.kind() {
                FailureKind::Failed => 500,
                FailureKind::Invalid => 422,
                FailureKind::Busy => 429,
                FailureKind::Unreachable => 503,
                FailureKind::Indeterminate => 409,
            };
            format!("= answer {status} {failure}")
        }
        Output::Publish { device, property, value } => {
            format!("= state {device} {property} {}", value.to_text())
        }
        Output::Event { device, property, kind } => format!("= event {device} {property} {kind}"),
        Output::Reach { device, unreachable: Some(reason) } => {
            format!("= unreachable {device}: {reason}")
        }
        Output::Reach { device, unreachable: None } => format!("= reachable {device}"),
        Output::Add { device, .. } => format!("= add {device}"),
        Output::Remove { device, .. } => format!("= remove {device}"),
        Output::Save { device, state } => {
            format!("= save {device} {}", String::from_utf8_lossy(state))
        }
        Output::Log { device, level, message } => {
            format!("= log {device} {} {message}", format!("{level:?}").to_lowercase())
        }
        Output::End(reason) => format!("= end: {reason}"),
    })
}

#[test]
fn the_transcript_is_what_happens() {
    let mut talked = Talked::new();
    let mut told: Vec<String> = Vec::new();
    let transcript = include_str!("../../transcript.txt");
    for line in transcript.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        match line.split_at(2) {
            ("> " | "= ", _) => {
                assert!(!told.is_empty(), "nothing happens, and is to: {line}");
                assert_eq!(told.remove(0), line);
                continue;
            }
            ("< ", said) => {
                assert_eq!(told, [""; 0], "before: {line}");
                talked.conversation.line(talked.now, said);
            }
            ("! ", event) => {
                assert_eq!(told, [""; 0], "before: {line}");
                happen(&mut talked, event);
            }
            _ => panic!("no line of a transcript: {line}"),
        }
        told = talked.words();
    }
    assert_eq!(told, [""; 0], "at the end");
}

fn happen(talked: &mut Talked, event: &str) {
    let (what, rest) = event.split_once(' ').unwrap_or((event, ""));
    let (device, more) = rest.split_once(' ').unwrap_or((rest, ""));
    let mut json = serde_json::Deserializer::from_str(more).into_iter::<Json>();
    let mut next = || json.next().expect("there is more").unwrap();
    match what {
        "device" => {
            let (properties, settings, saved, secrets) = (next(), next(), next(), next());
            let config = json!({"command": ["x"], "properties": properties, "settings": settings, "secrets": secrets});
            let config: Config = serde_json::from_value(config).unwrap();
            let greeting = Greeting::new(&config, Some(saved), Vec::new());
            talked.conversation.attach(talked.now, device.to_owned(), greeting);
        }
        "bridge" => {
            let config = json!({"command": ["x"], "adds": true, "properties": {}});
            let config: Config = serde_json::from_value(config).unwrap();
            let known = more.split_whitespace().map(str::to_owned).collect();
            let greeting = Greeting::new(&config, None, known);
            talked.conversation.attach(talked.now, device.to_owned(), greeting);
        }
        "refuse" => {
            let (name, reason) = more.split_once(' ').expect("a name and a reason");
            talked.conversation.refused(device, name, reason);
        }
        "start" => talked.conversation.started(talked.now),
        "end" => talked.conversation.ended(rest),
        "set" => {
            let (values, within) = (next(), next());
            talked.set(device, &values, Duration::from_millis(within.as_u64().unwrap()));
        }
        "pass" => talked.pass(Duration::from_millis(rest.parse().unwrap())),
        "poll" => talked.conversation.poll(talked.now, device),
        "absence" => talked.conversation.absence(device, next()),
        "stop" => drop(talked.conversation.detach(device)),
        _ => panic!("no event of a transcript: {event}"),
    }
}

#[test]
fn what_is_under_way_may_be_silent_and_ends_once() {
    let mut talked = Talked::ready(&["lamp"]);
    let asked = talked.set("lamp", &json!({"level": 7}), Duration::from_secs(5));
    talked.hear(json!({"type": "answer", "id": 2, "status": 202, "within": 60}));
    assert!(talked.words().contains(&"= answer 202, within 60s".to_owned()));
    talked.pass(PATIENCE * 3);
    assert_eq!(talked.words(), [""; 0], "it owes no answer");
    talked.hear(json!({"type": "state", "values": {"level": 5}}));
    talked.hear(json!({"type": "answer", "id": 2, "status": 500, "reason": "it is stuck"}));
    assert_eq!(talked.answered(asked), Err((FailureKind::Failed, "it is stuck".into())));
    talked.hear(json!({"type": "answer", "id": 2}));
    assert!(talked.words()[0].contains("was not asked or has answered"));
}

#[test]
fn what_is_under_way_ends_with_its_time_with_its_program_and_with_its_device() {
    let why = "the program has not answered: ";
    for (end, expected) in [
        ("time", "its program has not told within 1s how it has ended"),
        ("program", "exit status: 1"),
        ("device", "the device ends"),
    ] {
        let mut talked = Talked::ready(&["lamp"]);
        let asked = talked.set("lamp", &json!({"level": 7}), Duration::from_secs(5));
        talked.hear(json!({"type": "answer", "id": 2, "status": 202, "within": 1}));
        talked.outputs();
        match end {
            "time" => talked.pass(Duration::from_secs(2)),
            "program" => talked.conversation.ended("exit status: 1"),
            _ => drop(talked.conversation.detach("lamp")),
        }
        let answered = talked.answered(asked);
        assert_eq!(answered, Err((FailureKind::Unreachable, format!("{why}{expected}"))));
    }
}

#[test]
fn a_program_that_accepts_twice_or_for_ever_misbehaves() {
    let mut talked = Talked::ready(&["lamp"]);
    talked.set("lamp", &json!({"level": 7}), Duration::from_secs(5));
    for within in [-1.0, 1e9] {
        talked.hear(json!({"type": "answer", "id": 2, "status": 202, "within": within}));
        let words = talked.words().join("\n");
        let expected = ["is not from 1 ms to 24 h", "with 202 twice"];
        assert!(words.contains(expected[usize::from(within > 0.0)]), "{words}");
        assert!(words.contains("within 60s") || within > 0.0, "{words}");
    }
    talked.hear(json!({"type": "answer", "id": 2}));
    assert!(talked.words().contains(&"= answer 200".to_owned()), "it can still end");
}

/// Checks a value against the parts of JSON Schema that the file uses; says where it does not fit.
fn fits(schema: &Json, root: &Json, value: &Json) -> Result<(), String> {
    let fail = |why: &str| Err(format!("{value}: {why}"));
    for (key, rule) in schema.as_object().expect("a schema is an object") {
        match key.as_str() {
            "$ref" => {
                let pointer = rule.as_str().unwrap().trim_start_matches('#');
                fits(root.pointer(pointer).expect("it refers to something"), root, value)?;
            }
            "oneOf" => {
                let all = rule.as_array().unwrap();
                let fitting = all.iter().filter(|one| fits(one, root, value).is_ok()).count();
                if fitting != 1 {
                    return fail(&format!("fits {fitting} of the alternatives"));
                }
            }
            "const" if rule != value => return fail(&format!("is not {rule}")),
            "enum" if !rule.as_array().unwrap().contains(value) => return fail("is none of them"),
            "type" => {
                let types: Vec<_> = rule.as_array().cloned().unwrap_or_else(|| vec![rule.clone()]);
                let is = |kind: &Json| match kind.as_str().unwrap() {
                    "object" => value.is_object(),
                    "array" => value.is_array(),
                    "string" => value.is_string(),
                    "number" => value.is_number(),
                    "integer" => value.is_i64() || value.is_u64(),
                    "boolean" => value.is_boolean(),
                    "null" => value.is_null(),
                    other => panic!("no type: {other}"),
                };
                if !types.iter().any(is) {
                    return fail(&format!("is not of the type {rule}"));
                }
            }
            "required" => {
                for name in rule.as_array().unwrap() {
                    if value.get(name.as_str().unwrap()).is_none() {
                        return fail(&format!("has no {name}"));
                    }
                }
            }
            "properties" => {
                for (name, rule) in rule.as_object().unwrap() {
                    value.get(name).map_or(Ok(()), |value| fits(rule, root, value))?;
                }
            }
            "additionalProperties" => {
                for value in value.as_object().into_iter().flatten().map(|(_, value)| value) {
                    fits(rule, root, value)?;
                }
            }
            "items" => {
                for value in value.as_array().into_iter().flatten() {
                    fits(rule, root, value)?;
                }
            }
            "const" | "enum" | "$schema" | "$id" | "$defs" | "title" | "description" => {}
            other => panic!("the test does not know {other}"),
        }
    }
    Ok(())
}

#[test]
fn the_schema_has_every_message_of_the_transcript_and_no_other() {
    let schema: Json = serde_json::from_str(include_str!("../../protocol.schema.json")).unwrap();
    let of = |side: &str| schema.pointer(&format!("/$defs/{side}")).unwrap().clone();
    let (hub, program) = (of("fromHub"), of("fromProgram"));
    let mut types = BTreeMap::<&str, std::collections::BTreeSet<String>>::new();
    for line in include_str!("../../transcript.txt").lines() {
        let (side, rules) = match line.split_at_checked(2) {
            Some(("> ", _)) => ("hub", &hub),
            Some(("< ", _)) => ("program", &program),
            _ => continue,
        };
        let message: Json = serde_json::from_str(&line[2..]).unwrap();
        let kind = message["type"].as_str().unwrap().to_owned();
        if kind == "moon" {
            assert!(fits(rules, &schema, &message).is_err(), "{message}");
            continue;
        }
        fits(rules, &schema, &message).unwrap_or_else(|error| panic!("{error}"));
        types.entry(side).or_default().insert(kind);
    }
    for (side, rules) in [("hub", &hub), ("program", &program)] {
        let named = rules["oneOf"].as_array().unwrap().iter().map(|one| {
            let pointer = one["$ref"].as_str().unwrap().trim_start_matches('#');
            let kind = &schema.pointer(pointer).unwrap()["properties"]["type"]["const"];
            kind.as_str().unwrap().to_owned()
        });
        assert_eq!(types[side], named.collect(), "the transcript shows each message");
    }
    let wrong = json!({"type": "answer", "id": "one"});
    assert!(fits(&program, &schema, &wrong).is_err());
}

/// A bridge that has added the lamp `hall`.
fn bridge() -> Talked {
    let mut talked = Talked::new();
    let table = json!({"command": ["bridge"], "adds": true, "properties": {}});
    talked.attach("bridge", &table);
    talked.conversation.started(talked.now);
    talked.hear(json!({"type": "answer", "id": 1}));
    add(&mut talked, "hall");
    talked.outputs();
    talked
}

fn add(talked: &mut Talked, name: &str) {
    let properties = json!({"power": {"type": "switch"}});
    talked.hear(json!({"type": "add", "name": name, "properties": properties}));
}

#[test]
fn requests_for_an_added_device_wait_until_a_new_program_has_added_it_again() {
    let mut talked = bridge();
    talked.conversation.ended("exit status: 1");
    let down = "= unreachable bridge-hall: its program does not run: exit status: 1";
    assert!(talked.words().contains(&down.to_owned()));
    talked.conversation.started(talked.now);
    let words = talked.words();
    assert!(words[0].contains(r#""device":"bridge","#) && words[0].contains(r#"["hall"]"#));
    let waits = "= unreachable bridge-hall: its program has not added it again";
    assert_eq!(words[2..], [waits.to_owned()], "it is greeted for the bridge alone");
    let asked = talked.set("bridge-hall", &json!({"power": "ON"}), Duration::from_secs(5));
    let late = talked.set("bridge-hall", &json!({"power": "ON"}), Duration::from_secs(1));
    assert_eq!(talked.words(), [""; 0]);
    talked.pass(Duration::from_secs(2));
    let why = "its program has not added it again".to_owned();
    assert_eq!(talked.answered(late), Err((FailureKind::Unreachable, why)));
    add(&mut talked, "hall");
    let words = talked.words();
    assert_eq!(words[..2], ["= add bridge-hall", "= reachable bridge-hall"]);
    assert!(words[2].contains(r#""device":"bridge-hall","values":{"power":"ON"}"#), "{words:?}");
    talked.hear(json!({"type": "answer", "id": 3}));
    assert_eq!(talked.answered(asked), Ok(()));
}

#[test]
fn what_cannot_be_added_is_refused_and_the_program_hears_why() {
    let mut talked = bridge();
    for (properties, why) in [
        (json!({}), "it has no properties"),
        (json!({"power": {"type": "lamp"}}), "`power`: unknown variant"),
        (json!({"get": {"type": "text"}}), "`get`: the name is taken"),
    ] {
        talked.hear(json!({"type": "add", "name": "porch", "properties": properties}));
        let words = talked.words();
        assert!(words[0].contains("\"refused\"") || words[1].contains("\"refused\""), "{words:?}");
        assert!(words.concat().contains(why), "{words:?}");
        assert!(!words.concat().contains("= add"), "{words:?}");
    }
    for (message, fault) in [
        (json!({"type": "remove", "name": "porch"}), "removes `porch`, which it has not added"),
        (json!({"type": "save", "device": "bridge-hall", "state": 1}), "has added itself"),
        (
            json!({"type": "add", "device": "bridge-hall", "name": "x", "properties": {}}),
            "needs `adds = true`",
        ),
    ] {
        talked.hear(message);
        assert!(talked.words().concat().contains(fault));
    }
}

#[test]
fn an_added_device_that_is_declared_anew_and_wrongly_is_removed() {
    let mut talked = bridge();
    talked.hear(json!({"type": "add", "name": "hall", "properties": {}}));
    let words = talked.words();
    assert!(words.contains(&"= remove bridge-hall".to_owned()), "{words:?}");
    add(&mut talked, "hall");
    assert!(talked.words().contains(&"= add bridge-hall".to_owned()));
}

#[test]
fn a_device_of_the_program_is_not_replaced_by_one_that_is_added_with_its_id() {
    let mut talked = bridge();
    let power = json!({"command": ["bridge"], "properties": {"power": {"type": "switch"}}});
    talked.attach("bridge-porch", &power);
    talked.hear(json!({"type": "answer", "id": 2}));
    talked.outputs();
    let properties = json!({"power": {"type": "switch"}});
    let porch =
        json!({"type": "add", "device": "bridge", "name": "porch", "properties": properties});
    talked.hear(porch);
    let words = talked.words().concat();
    assert!(words.contains("serves another `bridge-porch`"), "{words}");
    assert!(words.contains("\"refused\"") && !words.contains("= add"), "{words}");
    talked.conversation.refused("bridge", "porch", "another device has the ID");
    let asked = talked.set("bridge-porch", &json!({"power": "ON"}), Duration::from_secs(5));
    talked.hear(json!({"type": "answer", "id": 3}));
    assert_eq!(talked.answered(asked), Ok(()));
}

#[test]
fn a_device_that_ends_takes_those_with_it_that_were_added_to_it() {
    let mut talked = bridge();
    let asked = talked.set("bridge-hall", &json!({"power": "ON"}), Duration::from_secs(5));
    assert_eq!(talked.conversation.detach("bridge"), ["bridge-hall", "bridge"]);
    let why = "the program has not answered: the device ends".to_owned();
    assert_eq!(talked.answered(asked), Err((FailureKind::Unreachable, why)));
    talked.hear(json!({"type": "state", "device": "bridge-hall", "values": {"power": "ON"}}));
    assert_eq!(talked.words(), [""; 0], "it may still speak of it");
}

#[test]
fn a_request_waits_until_the_program_has_said_hello_and_then_has_less_time() {
    let mut talked = Talked::new();
    talked.attach("lamp", &lamp());
    let request = talked.set("lamp", &json!({"power": "ON"}), Duration::from_secs(5));
    talked.conversation.started(talked.now);
    talked.pass(Duration::from_secs(2));
    talked.outputs();
    talked.hear(json!({"type": "answer", "id": 1}));
    let asked = json!({"type": "set", "id": 2, "device": "lamp", "values": {"power": "ON"}, "within_ms": 3000});
    let written: Vec<_> = talked.words();
    let line = written.last().unwrap().strip_prefix("> ").unwrap();
    assert_eq!(serde_json::from_str::<Json>(line).unwrap(), asked);
    talked.hear(json!({"type": "answer", "id": 2}));
    assert_eq!(talked.answered(request), Ok(()));
}

#[test]
fn a_program_that_never_says_hello_is_ended_and_the_request_is_answered_in_its_time() {
    let mut talked = Talked::new();
    talked.attach("lamp", &lamp());
    talked.conversation.started(talked.now);
    let request = talked.set("lamp", &json!({"power": "ON"}), Duration::from_secs(3));
    talked.pass(Duration::from_secs(3));
    let (kind, text) = talked.answered(request).unwrap_err();
    assert_eq!(kind, FailureKind::Unreachable, "{text}");
    talked.pass(Duration::from_secs(7));
    let said = "= end: it said nothing for 10s, and owes an answer";
    assert!(talked.words().contains(&said.to_owned()));
    talked.hear(json!({"type": "state", "values": {"power": "ON"}}));
    assert_eq!(talked.words(), [""; 0], "it is not listened to any more");
    talked.conversation.ended("killed");
    let refused = talked.set("lamp", &json!({"power": "ON"}), Duration::from_secs(3));
    let (kind, text) = talked.answered(refused).unwrap_err();
    assert_eq!((kind, &*text), (FailureKind::Unreachable, "its program does not run: killed"));
}

#[test]
fn a_slow_device_is_unreachable_and_its_neighbour_is_not() {
    let mut talked = Talked::ready(&["fast", "slow"]);
    talked.set("slow", &json!({"power": "ON"}), Duration::from_secs(5));
    for _ in 0..12 {
        talked.pass(Duration::from_secs(1));
        talked.hear(json!({"type": "state", "device": "fast", "values": {"power": "ON"}}));
    }
    let words = talked.words();
    let reason = "its program has not answered `set` within 5s";
    assert!(words.contains(&format!("= unreachable slow: {reason}")), "{words:#?}");
    assert!(!words.iter().any(|word| word.starts_with("= unreachable fast")), "{words:#?}");
    assert!(!words.iter().any(|word| word.starts_with("= end")), "it speaks: {words:#?}");
    let request = talked.set("fast", &json!({"power": "OFF"}), Duration::from_secs(5));
    talked.hear(json!({"type": "answer", "id": 4}));
    assert_eq!(talked.answered(request), Ok(()));
    // Too late for the requester, and no fault.
    talked.hear(json!({"type": "answer", "id": 3}));
    assert_eq!(talked.words(), ["= reachable slow"]);
    talked.hear(json!({"type": "answer", "id": 3}));
    let words = talked.words();
    assert!(words[0].contains("it answers 3, which it was not asked or has answered"), "{words:?}");
}

#[test]
fn a_lie_is_not_published_and_an_answer_with_a_lie_is_a_failure() {
    let mut talked = Talked::ready(&["lamp"]);
    let mut lie = |values: Json| {
        talked.hear(json!({"type": "state", "values": values}));
        talked.words()
    };
    for (values, why) in [
        (json!({"level": 101}), "it tells 101 of `level`, which the declaration does not allow"),
        (
            json!({"power": "DIM"}),
            "it tells \"DIM\" of `power`, which the declaration does not allow",
        ),
        (json!({"moon": 1}), "it tells `moon`, which is not declared"),
        (json!({"secret": "x"}), "it tells `secret`, which has no state"),
        (json!({"button": "press"}), "it tells `button`, which has no state"),
    ] {
        assert_eq!(lie(values), [format!("= log lamp warn the program misbehaves: {why}")]);
    }
    assert_eq!(lie(json!({"level": 7, "power": 3})).len(), 2, "what fits is published");
    let request = talked.set("lamp", &json!({"level": 50}), Duration::from_secs(5));
    talked.outputs();
    talked.hear(json!({"type": "answer", "id": 2, "values": {"level": 500}}));
    let (kind, text) = talked.answered(request).unwrap_err();
    assert_eq!(kind, FailureKind::Failed);
    assert!(text.contains("500 of `level`"), "{text}");
    talked.hear(json!({"type": "event", "property": "button", "kind": "long"}));
    assert_eq!(talked.words().len(), 1, "it is in the log alone");
}

#[test]
fn a_program_that_misbehaves_all_the_time_is_ended() {
    for fault in ["{", "[]", "{\"type\":\"answer\"}", "{\"type\":\"answer\",\"id\":99}", "\u{7f}"] {
        let mut talked = Talked::ready(&["lamp"]);
        for _ in 1..FAULTS {
            talked.conversation.line(talked.now, fault);
        }
        assert!(!talked.words().iter().any(|word| word.starts_with("= end")), "{fault}");
        talked.pass(Duration::from_secs(61));
        for _ in 1..FAULTS {
            talked.conversation.line(talked.now, fault);
        }
        assert!(!talked.words().iter().any(|word| word.starts_with("= end")), "{fault}");
        talked.conversation.line(talked.now, fault);
        let end = "= end: it misbehaved 20 times within a minute, at last: ";
        assert!(talked.words().last().unwrap().starts_with(end), "{fault}");
    }
}

#[test]
fn a_program_for_another_device_does_not_serve_this_one() {
    let declared = json!({
        "power": {"type": "switch", "title": "Power", "moon": 1},
        "level": {"type": "integer", "min": 0, "max": 100},
        "count": {"type": "integer"},
        "button": {"type": "event", "values": ["press"]},
        "secret": {"type": "text", "access": "w"},
    });
    let with = |name: &str, json: Json| {
        let mut declared = declared.clone();
        declared[name] = json;
        declared
    };
    let mut without = declared.clone();
    without.as_object_mut().unwrap().remove("level");
    for (declared, reason) in [
        (
            with("level", json!({"type": "integer", "min": 0, "max": 255})),
            "`level`: max is 255, and 100 in the table",
        ),
        (
            with("power", json!({"type": "text"})),
            "`power`: the type is Text, and Switch in the table",
        ),
        (
            with("power", json!({"type": "switch", "access": "r"})),
            "`power`: the access is Read, and ReadWrite in the table",
        ),
        (
            with("button", json!({"type": "event", "values": ["press", "long"]})),
            "`button`: values is press, long, and press in the table",
        ),
        (with("moon", json!({"type": "switch"})), "the program has `moon`, and the table does not"),
        (without, "the table has `level`, and the program does not"),
    ] {
        let mut talked = Talked::new();
        talked.attach("lamp", &lamp());
        talked.conversation.started(talked.now);
        let waits = talked.set("lamp", &json!({"power": "ON"}), Duration::from_secs(5));
        talked.hear(json!({"type": "answer", "id": 1, "properties": declared}));
        let words = talked.words();
        let reason = format!("its program takes it for another device: {reason}");
        assert_eq!(words.last().unwrap(), &format!("= unreachable lamp: {reason}"));
        assert!(words.contains(&format!("= answer 503 {reason}")), "{waits}: {words:#?}");
        talked.pass(Duration::from_secs(1));
        assert!(talked.words()[0].contains("hello"), "it is asked again");
    }
    let mut talked = Talked::new();
    talked.attach("lamp", &lamp());
    talked.conversation.started(talked.now);
    talked.hear(json!({"type": "answer", "id": 1, "properties": declared}));
    assert_eq!(talked.words().last().unwrap(), "= reachable lamp");
}

#[test]
fn statuses_of_a_program_are_those_of_a_device() {
    let cases = [
        (422, FailureKind::Invalid),
        (400, FailureKind::Invalid),
        (409, FailureKind::Indeterminate),
        (429, FailureKind::Busy),
        (500, FailureKind::Failed),
        (503, FailureKind::Unreachable),
        (504, FailureKind::Unreachable),
        (418, FailureKind::Failed),
    ];
    for (status, expected) in cases {
        let mut talked = Talked::ready(&["lamp"]);
        let request = talked.set("lamp", &json!({"power": "ON"}), Duration::from_secs(5));
        talked.hear(json!({"type": "answer", "id": 2, "status": status, "reason": "no\nsuch"}));
        assert_eq!(talked.answered(request), Err((expected, "no such".into())), "{status}");
    }
}

#[test]
fn bounds_hold_for_requests_and_timers() {
    let mut talked = Talked::ready(&["lamp"]);
    for _ in 0..16 {
        talked.set("lamp", &json!({"power": "ON"}), Duration::from_secs(5));
    }
    talked.outputs();
    let more = talked.set("lamp", &json!({"power": "ON"}), Duration::from_secs(5));
    assert_eq!(talked.answered(more).unwrap_err().0, FailureKind::Busy);
    for timer in 0..16 {
        talked.hear(json!({"type": "timer", "name": timer.to_string(), "after": 60}));
    }
    assert_eq!(talked.words(), [""; 0]);
    talked.hear(json!({"type": "timer", "name": "more", "after": 60}));
    assert!(talked.words()[0].contains("it has 16 timers"));
    talked.hear(json!({"type": "timer", "name": "3", "after": null}));
    talked.hear(json!({"type": "timer", "name": "more", "after": 1e300}));
    talked.hear(json!({"type": "timer", "name": "more", "after": -1}));
    assert_eq!(talked.words().len(), 2, "times that are none");
    talked.hear(json!({"type": "timer", "name": "more", "after": 1}));
    talked.hear(json!({"type": "timer", "name": "more", "after": 2}));
    talked.pass(Duration::from_secs(4));
    let rings = talked.words().iter().filter(|word| word.contains("\"more\"")).count();
    assert_eq!(rings, 1, "a timer is started anew");
}

#[test]
fn several_devices_are_named_and_one_leaves_without_the_others() {
    let mut talked = Talked::ready(&["one", "two"]);
    talked.hear(json!({"type": "state", "values": {"power": "ON"}}));
    assert!(talked.words()[0].contains("it names no device, and serves several"));
    talked.hear(json!({"type": "unreachable", "reason": "the gateway is gone"}));
    let gone = ["= unreachable one: the gateway is gone", "= unreachable two: the gateway is gone"];
    assert_eq!(talked.words(), gone);
    let request = talked.set("one", &json!({"count": 1}), Duration::from_secs(5));
    talked.outputs();
    talked.conversation.detach("one");
    assert_eq!(talked.answered(request).unwrap_err().0, FailureKind::Indeterminate);
    talked.hear(json!({"type": "state", "device": "one", "values": {"power": "ON"}}));
    assert_eq!(talked.words(), [""; 0], "it may not know yet");
    talked.hear(json!({"type": "state", "device": "three", "values": {"power": "ON"}}));
    assert!(talked.words()[0].contains("which it does not serve"));
    talked.hear(json!({"type": "reachable"}));
    assert_eq!(talked.words(), ["= reachable two"]);
}

#[test]
fn a_poll_is_one_question_at_a_time() {
    let mut talked = Talked::new();
    let mut config = lamp();
    config["poll"] = json!("1s");
    talked.attach("lamp", &config);
    talked.conversation.started(talked.now);
    talked.hear(json!({"type": "answer", "id": 1}));
    talked.outputs();
    talked.pass(Duration::from_secs(5));
    assert_eq!(talked.words().iter().filter(|word| word.contains("\"get\"")).count(), 1);
    talked.hear(json!({"type": "answer", "id": 2, "values": {"power": "ON"}}));
    talked.pass(Duration::from_secs(1));
    let words = talked.words();
    assert!(words.contains(&"= state lamp power ON".to_owned()), "{words:?}");
    assert_eq!(words.iter().filter(|word| word.contains("\"get\"")).count(), 1);
}

#[test]
fn levels_have_the_names_that_programs_use() {
    let mut talked = Talked::ready(&["lamp"]);
    for (name, level) in
        [("warning", Level::Warn), ("error", Level::Error), ("debug", Level::Debug)]
    {
        talked.hear(json!({"type": "log", "level": name, "message": "m"}));
        let line = Output::Log { device: "lamp".into(), level, message: "m".into() };
        assert_eq!(talked.outputs(), [line]);
    }
}

#[test]
fn no_line_brings_it_down() {
    // Each message of the transcript, cut at every place, and with every part left out or of another type.
    let lines = include_str!("../../transcript.txt").lines();
    for line in lines.filter_map(|line| line.strip_prefix("< ")) {
        let mut talked = Talked::ready(&["lamp"]);
        for end in (0..line.len()).filter(|end| line.is_char_boundary(*end)) {
            talked.conversation.line(talked.now, &line[..end]);
            talked.conversation.started(talked.now);
        }
        let message: Map<String, Json> = serde_json::from_str(line).unwrap();
        for key in message.keys() {
            for other in [Json::Null, json!(-1), json!("x"), json!([]), json!({}), json!(true)] {
                let mut message = message.clone();
                message.insert(key.clone(), other);
                talked.hear(Json::Object(message));
                talked.conversation.started(talked.now);
            }
        }
    }
}
