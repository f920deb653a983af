//! Other hubs' wills are requests to the devices of this one.

use hearthd_core::{Answer, Guard, HubConfig, Message, QoS, Status, topic::Template};

use crate::rig::{Rig, config, connack, status};

pub(crate) fn guarding() -> HubConfig {
    let guard = |property: &str| Guard {
        presence: Template::parse("{prefix}/hub/attic/presence", &[]).unwrap(),
        device: "lamp".into(),
        property: property.into(),
        payload: "OFF".into(),
    };
    HubConfig { guards: vec![guard("power"), guard("fan")], queue: 8, ..config() }
}

fn online() -> Rig {
    let mut rig = Rig::new(guarding(), hearthd_core::Memory::default());
    rig.connect(connack(Some("alice"), false));
    rig.handle(hearthd_core::Input::Disconnected(hearthd_core::Disconnection::Requested));
    rig.go_online(true);
    rig.take();
    rig
}

fn restarted(before: &Rig, session_present: bool) -> Rig {
    let mut rig = Rig::with_journal(guarding(), before.memory.clone(), before.journal.clone());
    rig.now = before.now;
    rig.handle(hearthd_core::Input::Elapsed);
    rig.go_online_unfenced(session_present);
    rig
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
    let mut rig = online();
    let delivery = rig.receive(will(b"generation"));
    let asked = rig.executed();
    let properties: Vec<_> = asked.iter().map(|request| &*request.property).collect();
    assert_eq!(properties, ["power", "fan"]);
    rig.answer(&asked[0], Answer::text("OFF"));
    rig.answer(&asked[1], Answer::failure(Status::Unavailable, "down"));
    let answers = rig.published();
    assert_eq!((status(&answers[0]), status(&answers[1])), ("200", "503"));
    for answer in &answers {
        assert_eq!(answer.topic, "alice/response/attic/will");
        assert_eq!(answer.correlation_data.as_deref(), Some(&b"generation"[..]));
        assert_eq!(answer.user_property("client_id"), Some("hub"));
    }
    assert!(rig.acknowledged().is_empty());
    rig.accept_all();
    assert_eq!(rig.acknowledged(), [delivery]);
}

#[test]
fn a_will_is_acted_on_once_however_often_it_is_seen() {
    let mut rig = online();
    rig.receive(will(b"generation"));
    for asked in rig.executed() {
        rig.answer(&asked, Answer::text("OFF"));
    }
    rig.accept_all();
    rig.take();
    rig.advance(std::time::Duration::from_secs(3600));
    let mut rig = restarted(&rig, false);
    let delivery = rig.receive(will(b"generation"));
    rig.fence();
    assert!(rig.executed().is_empty());
    assert!(rig.acknowledged().contains(&delivery));
    rig.receive(will(b"another generation"));
    assert_eq!(rig.executed().len(), 2);
}

#[test]
fn a_will_that_online_has_replaced_is_not_acted_on() {
    let mut rig = restarted(&online(), true);
    let will_delivery = rig.receive(will(b"generation"));
    assert!(rig.executed().is_empty(), "online may follow");
    let online_delivery = rig.receive(presence_online());
    rig.fence();
    assert!(rig.executed().is_empty());
    let acknowledged = rig.acknowledged();
    assert!(acknowledged.contains(&will_delivery) && acknowledged.contains(&online_delivery));
}

#[test]
fn a_will_that_stands_when_the_fence_is_back_is_acted_on() {
    let mut rig = restarted(&online(), false);
    rig.receive(presence_online());
    rig.receive(will(b"generation"));
    rig.fence();
    assert_eq!(rig.executed().len(), 2);
}

#[test]
fn a_farewell_and_a_will_without_a_response_topic_are_no_requests() {
    let mut rig = online();
    let delivery = rig.receive(Message { response_topic: None, ..will(b"generation") });
    rig.receive(Message { correlation_data: None, ..will(b"") });
    assert!(rig.executed().is_empty());
    assert_eq!(rig.acknowledged()[0], delivery);
}

#[test]
fn a_response_topic_out_of_bounds_is_not_answered_and_nothing_is_done() {
    let mut rig = online();
    let outside = Some("bob/response/attic/will".into());
    let delivery = rig.receive(Message { response_topic: outside, ..will(b"generation") });
    assert!(rig.executed().is_empty());
    assert_eq!(rig.acknowledged(), [delivery]);
}

#[test]
fn a_guard_that_crashed_acts_when_it_is_back_and_answers_what_it_had_done() {
    let mut before = online();
    before.receive(will(b"generation"));
    let asked = before.executed();
    before.answer(&asked[0], Answer::text("OFF"));
    let mut rig = restarted(&before, true);
    rig.receive(Message { dup: true, ..will(b"generation") });
    rig.fence();
    let executed = rig.executed();
    let again: Vec<_> = executed.iter().map(|request| &*request.property).collect();
    assert_eq!(again, ["fan"], "idempotent, and without an answer");
    rig.accept_all();
    let answers = rig.published().into_iter().filter(|m| m.topic == "alice/response/attic/will");
    assert_eq!(answers.map(|m| m.payload).collect::<Vec<_>>(), ["OFF"]);
}

#[test]
fn an_older_will_that_is_answered_late_does_not_hide_the_newer() {
    let mut rig = online();
    rig.receive(will(b"older"));
    let older = rig.executed();
    rig.take();
    rig.receive(will(b"newer"));
    for asked in rig.executed().iter().chain(&older) {
        rig.answer(asked, Answer::text("OFF"));
    }
    assert!(rig.memory.guarded.values().all(|wills| wills.len() == 2), "{:?}", rig.memory.guarded);
    rig.advance(std::time::Duration::from_secs(3600));
    let mut rig = restarted(&rig, false);
    rig.receive(will(b"newer"));
    rig.fence();
    assert!(rig.executed().is_empty());
}
