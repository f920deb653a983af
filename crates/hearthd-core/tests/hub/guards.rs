//! Other hubs' wills are requests to the devices of this one.

use hearthd_core::{Answer, Guard, HubConfig, Message, QoS, Status, topic::Template};

use crate::test_hub::{TestHub, config, connack, status};

pub(crate) fn guarding() -> HubConfig {
    let guard = |property: &str| Guard {
        presence: Template::parse("{prefix}/hub/attic/presence", &[]).unwrap(),
        device: "lamp".into(),
        property: property.into(),
        payload: "OFF".into(),
    };
    HubConfig { guards: vec![guard("power"), guard("fan")], queue: 8, ..config() }
}

fn online() -> TestHub {
    let mut hub = TestHub::new(guarding(), hearthd_core::Memory::default());
    hub.connect(connack(Some("alice"), false));
    hub.handle(hearthd_core::Input::Disconnected(hearthd_core::Disconnection::Requested));
    hub.go_online(true);
    hub.take();
    hub
}

fn restarted(before: &TestHub, session_present: bool) -> TestHub {
    let mut hub = TestHub::with_journal(guarding(), before.memory.clone(), before.journal.clone());
    hub.now = before.now;
    hub.handle(hearthd_core::Input::Elapsed);
    hub.go_online_unfenced(session_present);
    hub
}

pub(crate) fn will(generation: &'static [u8]) -> Message {
    Message {
        topic: "alice/hub/attic/presence".into(),
        payload: "offline".into(),
        qos: QoS::AtLeastOnce,
        retain: true,
        response_topic: Some("alice/response/attic/will".into()),
        correlation_data: Some(generation.into()),
        ..Message::default()
    }
}

fn presence_online() -> Message {
    Message { payload: "online".into(), response_topic: None, ..will(b"next generation!") }
}

#[test]
fn a_will_becomes_local_requests_whose_results_are_its_acknowledgements() {
    let mut hub = online();
    let delivery = hub.receive(will(b"generation"));
    let asked = hub.executed();
    let properties: Vec<_> = asked.iter().map(|request| &*request.property).collect();
    assert_eq!(properties, ["power", "fan"]);
    hub.answer(&asked[0], Answer::text("OFF"));
    hub.answer(&asked[1], Answer::failure(Status::Unavailable, "down"));
    let answers = hub.published();
    assert_eq!((status(&answers[0]), status(&answers[1])), ("200", "503"));
    for answer in &answers {
        assert_eq!(answer.topic, "alice/response/attic/will");
        assert_eq!(answer.correlation_data.as_deref(), Some(&b"generation"[..]));
        assert_eq!(answer.user_property("client_id"), Some("hub"));
    }
    assert!(hub.acknowledged().is_empty());
    hub.accept_all();
    assert_eq!(hub.acknowledged(), [delivery]);
}

#[test]
fn a_will_is_acted_on_once_however_often_it_is_seen() {
    let mut hub = online();
    hub.receive(will(b"generation"));
    for asked in hub.executed() {
        hub.answer(&asked, Answer::text("OFF"));
    }
    hub.accept_all();
    hub.take();
    hub.advance(std::time::Duration::from_secs(3600));
    let mut hub = restarted(&hub, false);
    let delivery = hub.receive(will(b"generation"));
    hub.fence();
    assert!(hub.executed().is_empty());
    assert!(hub.acknowledged().contains(&delivery));
    hub.receive(will(b"another generation"));
    assert_eq!(hub.executed().len(), 2);
}

#[test]
fn a_will_that_online_has_replaced_is_not_acted_on() {
    let mut hub = restarted(&online(), true);
    let will_delivery = hub.receive(will(b"generation"));
    assert!(hub.executed().is_empty(), "online may follow");
    let online_delivery = hub.receive(presence_online());
    hub.fence();
    assert!(hub.executed().is_empty());
    let acknowledged = hub.acknowledged();
    assert!(acknowledged.contains(&will_delivery) && acknowledged.contains(&online_delivery));
}

#[test]
fn a_will_that_stands_when_the_fence_is_back_is_acted_on() {
    let mut hub = restarted(&online(), false);
    hub.receive(presence_online());
    hub.receive(will(b"generation"));
    hub.fence();
    assert_eq!(hub.executed().len(), 2);
}

#[test]
fn a_farewell_and_a_will_without_a_response_topic_are_no_requests() {
    let mut hub = online();
    let delivery = hub.receive(Message { response_topic: None, ..will(b"generation") });
    hub.receive(Message { correlation_data: None, ..will(b"") });
    assert!(hub.executed().is_empty());
    assert_eq!(hub.acknowledged()[0], delivery);
}

#[test]
fn a_response_topic_out_of_bounds_is_not_answered_and_nothing_is_done() {
    let mut hub = online();
    let outside = Some("bob/response/attic/will".into());
    let delivery = hub.receive(Message { response_topic: outside, ..will(b"generation") });
    assert!(hub.executed().is_empty());
    assert_eq!(hub.acknowledged(), [delivery]);
}

#[test]
fn a_guard_that_crashed_acts_when_it_is_back_and_answers_what_it_had_done() {
    let mut before = online();
    before.receive(will(b"generation"));
    let asked = before.executed();
    before.answer(&asked[0], Answer::text("OFF"));
    let mut hub = restarted(&before, true);
    hub.receive(Message { dup: true, ..will(b"generation") });
    hub.fence();
    let executed = hub.executed();
    let again: Vec<_> = executed.iter().map(|request| &*request.property).collect();
    assert_eq!(again, ["fan"], "idempotent, and without an answer");
    hub.accept_all();
    let answers = hub.published().into_iter().filter(|m| m.topic == "alice/response/attic/will");
    assert_eq!(answers.map(|m| m.payload).collect::<Vec<_>>(), ["OFF"]);
}

#[test]
fn an_older_will_that_is_answered_late_does_not_hide_the_newer() {
    let mut hub = online();
    hub.receive(will(b"older"));
    let older = hub.executed();
    hub.take();
    hub.receive(will(b"newer"));
    for asked in hub.executed().iter().chain(&older) {
        hub.answer(asked, Answer::text("OFF"));
    }
    assert!(hub.memory.guarded.values().all(|wills| wills.len() == 2), "{:?}", hub.memory.guarded);
    hub.advance(std::time::Duration::from_secs(3600));
    let mut hub = restarted(&hub, false);
    hub.receive(will(b"newer"));
    hub.fence();
    assert!(hub.executed().is_empty());
}
