//! What a question comes to, without a broker.

use std::path::Path;

use super::{responder::Since, *};

fn config(text: &str) -> Config {
    Config::parse(Path::new("hearthd.toml"), text).unwrap()
}

fn rule(required: bool, fallback: Option<&str>) -> ResponseInformation {
    let fallback = fallback.map(|fallback| Prefix::parse(fallback).unwrap());
    ResponseInformation { required, fallback }
}

#[test]
fn the_prefix_is_what_the_daemon_makes_of_response_information() {
    for (offered, fallback, expected) in [
        (Some("alice"), None, Some("alice")),
        (Some("FRONT,alice"), Some("home"), Some("alice")),
        (Some("FRONT, alice/"), Some("home"), Some("alice")),
        (Some("BACK,alice"), Some("home"), Some("home")),
        (Some(""), None, None),
        (None, Some("home"), Some("home")),
        (None, None, None),
    ] {
        let prefix = resolve_prefix(&rule(false, fallback), offered).unwrap();
        assert_eq!(prefix.as_ref().map(Prefix::as_str), expected, "{offered:?} {fallback:?}");
    }
}

#[test]
fn required_response_information_has_no_fallback() {
    let required = rule(true, Some("home"));
    assert!(resolve_prefix(&required, Some("alice")).is_ok());
    let refused = resolve_prefix(&required, Some("BACK,alice")).unwrap_err();
    assert!(matches!(refused, AskError::ResponseInformation(_)), "{refused}");
    let missing = resolve_prefix(&required, None).unwrap_err();
    assert!(matches!(missing, AskError::NoResponseInformation), "{missing}");
}

#[test]
fn the_command_waits_longer_than_the_device_may_take() {
    let config = config(
        "[broker]\nurl = \"mqtt://127.0.0.1:1\"\n[requests]\ndeadline = \"4s\"\n\
         [devices.slow]\nplugin = \"light\"\ndeadline = \"30s\"\n",
    );
    assert_eq!(default_timeout(&config, "lamp"), Duration::from_secs(6));
    assert_eq!(default_timeout(&config, "slow"), Duration::from_secs(32));
}

#[test]
fn a_device_or_property_is_one_level_of_a_topic() {
    for good in ["lamp", "light-in-bedroom", "21", "Küche"] {
        assert_eq!(check_level(good), Ok(()), "{good}");
    }
    for bad in ["", "+", "#", "a/b", "a+", "a\0b", "a\u{1b}[2J"] {
        assert!(check_level(bad).is_err(), "{bad:?}");
    }
}

/// Says what the presence of `hub` tells, if it is away.
fn told(payload: &'static str, is_will: bool, properties: &[(&str, &str)]) -> Option<String> {
    let presence = Message {
        payload: payload.into(),
        response_topic: is_will.then(|| "response/hub/will".to_owned()),
        user_properties: properties
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
        ..Message::default()
    };
    Away::read("hub", &presence).map(|away| away.to_string())
}

#[test]
fn an_absence_is_told_since_when_it_is_known() {
    const BEGIN: (&str, &str) = ("connected_at", "2026-11-28T14:00:00Z");
    const END: (&str, &str) = ("at", "2026-11-28T15:00:00Z");
    let away = |text: &str| Some(format!("hub hub is away{text}"));
    assert_eq!(told("online", false, &[BEGIN]), None);
    assert_eq!(told("offline", false, &[BEGIN, END]), away(" since 2026-11-28T15:00:00Z"));
    let lost = away(": its connection of 2026-11-28T14:00:00Z was lost");
    assert_eq!(told("offline", true, &[BEGIN]), lost);
    assert_eq!(told("offline", false, &[BEGIN]), away(""));
    assert_eq!(told("offline", true, &[("connected_at", "\u{1b}[2J")]), away(""));
    let unknown = Away { hub: "hub".into(), since: Since::Unknown };
    assert_eq!(Some(unknown.to_string()), away(""));
}

#[test]
fn whoever_asks_for_what_nobody_has_hears_what_there_is() {
    let untold = |similar: Option<&str>| Known::Untold { similar: similar.map(str::to_owned) };
    let nobody = |known: &Known| {
        let error = AskError::NoResponder { device: "lmap".into(), hint: known.hint_for_nobody() };
        error.to_string()
    };
    assert_eq!(nobody(&untold(Some("lamp"))), "nobody serves `lmap`; did you mean `lamp`?");
    let alone = "nobody serves `lmap`, and no hub tells of it: is its hub running?";
    assert_eq!(nobody(&untold(None)), alone);
    assert_eq!(nobody(&Known::Told), "nobody serves `lmap`: is its hub running?");
    let silent = |known: &Known| {
        let hint = known.hint_for_silence("lmap");
        let timeout = Duration::from_secs(7);
        AskError::NoAnswer { topic: "cmnd/lmap/power".into(), timeout, hint }.to_string()
    };
    assert_eq!(silent(&Known::Hidden), "no answer on cmnd/lmap/power within 7s");
    let expected = "no answer on cmnd/lmap/power within 7s: \
                    no hub tells of a device `lmap`; did you mean `lamp`?";
    assert_eq!(silent(&untold(Some("lamp"))), expected);
}
