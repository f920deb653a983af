//! Devices that cannot reach what they stand for: what the broker retains of them, and what their requesters read.

use std::time::Duration;

use hearthd_core::{Answer, ContentType, Disconnection, Input, LastKnown, Message, PropertyState};
use serde_json::{Value, json};

use crate::test_hub::{TestHub, request, retry, status};

fn said(word: &'static str, details: &[(&str, &str)]) -> Input {
    let details = details.iter().map(|(name, text)| ((*name).into(), (*text).into()));
    Input::State(PropertyState {
        device: "lamp".into(),
        property: "status".into(),
        payload: word.into(),
        content_type: ContentType::Text,
        retain: true,
        details: details.collect(),
    })
}

fn last_status(hub: &TestHub) -> Message {
    let told = hub.published().into_iter().rev();
    told.into_iter().find(|m| m.topic == "alice/state/lamp/status").expect("it was told")
}

#[test]
fn the_status_is_retained_with_its_reason_and_told_again_on_the_next_connection() {
    let mut hub = TestHub::online();
    hub.handle(said(
        "unreachable",
        &[("reason", "no\u{1}answer"), ("since", "2026-11-29T01:02:03Z")],
    ));
    hub.accept_all();
    for _ in 0..2 {
        let told = last_status(&hub);
        assert_eq!((&told.payload[..], told.retain), (&b"unreachable"[..], true));
        assert_eq!(told.user_property("hub"), Some("hub"));
        assert_eq!(told.user_property("reason"), Some("no\u{fffd}answer"), "a broker takes it");
        assert_eq!(told.user_property("since"), Some("2026-11-29T01:02:03Z"));
        hub.handle(Input::Disconnected(Disconnection::Lost { error: "cut".into() }));
        hub.take();
        hub.advance(Duration::from_secs(60));
        hub.go_online(true);
        hub.accept_all();
    }
    hub.handle(said("ready", &[]));
    let told = last_status(&hub);
    assert_eq!((&told.payload[..], told.user_property("reason")), (&b"ready"[..], None));
}

#[test]
fn the_hub_knows_its_own_word_by_the_reason_as_it_was_published() {
    let mut hub = TestHub::online();
    hub.handle(said("unreachable", &[("reason", "no\u{1}answer")]));
    hub.accept_all();
    let told = last_status(&hub);
    for reason in ["no\u{fffd}answer", "another"] {
        hub.take();
        let mut heard = told.clone();
        heard.user_properties.retain(|(name, _)| name != "reason");
        heard.user_properties.push(("reason".into(), reason.into()));
        hub.receive(heard);
        hub.advance(Duration::from_secs(1));
        let again = hub.published().iter().filter(|m| m.topic == told.topic).count();
        assert_eq!(again, usize::from(reason == "another"), "{reason}");
        hub.accept_all();
    }
}

#[test]
fn a_read_of_an_unreachable_device_is_a_503_with_what_was_last_known() {
    let mut hub = TestHub::online();
    let asked = request("", b"read");
    hub.receive(asked.clone());
    let executed = hub.executed().pop().expect("it goes to the device");
    let known = LastKnown { value: json!("ON"), since: "2026-11-29T01:02:03Z".into() };
    let answer = Answer::unreachable("`lamp` is unreachable").with_last_known(known);
    hub.answer(&executed, answer.about("power", None));
    let response = hub.published().pop().expect("it is answered");
    assert_eq!(status(&response), "503");
    for (name, value) in [
        ("__stMsg", "`lamp` is unreachable"),
        ("__propName", "power"),
        ("reason", "unreachable"),
        ("since", "2026-11-29T01:02:03Z"),
    ] {
        assert_eq!(response.user_property(name), Some(value), "{name}");
    }
    let facts: Value = serde_json::from_slice(&response.payload).expect("JSON");
    let expected = json!({
        "status": 503,
        "message": "`lamp` is unreachable",
        "property": "power",
        "reason": "unreachable",
        "last_known": "ON",
        "since": "2026-11-29T01:02:03Z",
    });
    assert_eq!(facts, expected);
    // Asked again, it is read again: nothing of it is kept.
    hub.accept_all();
    hub.take();
    hub.receive(retry(asked));
    let again = hub.executed().pop().expect("reads are never answered from the journal");
    hub.answer(&again, Answer::text("OFF"));
    assert_eq!(status(&hub.published().pop().expect("it is answered")), "200");
}
