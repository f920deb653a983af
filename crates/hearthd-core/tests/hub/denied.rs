//! Brokers that end the connection over a message.

use std::time::Duration;

use hearthd_core::{Answer, ContentType, Disconnection, Input, Memory, Message, Notice, Output};

use crate::rig::{Rig, config, connack, request};

const STATE: &str = "alice/state/lamp/power";
const ANSWER: &str = "alice/response/phone/lamp";

fn not_authorized() -> Disconnection {
    Disconnection::ByBroker { reason_code: 0x87, reason_string: None, server_reference: None }
}

/// The broker acknowledges one message after the other, until one comes on this topic: over that it ends the connection.
/// Returns whether one came.
fn accept_all_but(rig: &mut Rig, topic: &str) -> bool {
    let mut accepted = 0;
    loop {
        let mut publishes = rig.outputs.iter().filter_map(|output| match output {
            Output::Publish { id, message } => Some((*id, message.clone())),
            _ => None,
        });
        let Some((id, message)) = publishes.nth(accepted) else { return false };
        accepted += 1;
        if message.topic == topic {
            rig.handle(Input::Disconnected(not_authorized()));
            return true;
        }
        rig.handle(Input::Published { id, reason_code: 0 });
        if message.topic.ends_with("/session") || message.topic.ends_with("/fence") {
            rig.receive(message);
        }
    }
}

/// The hub comes back to such a broker.
fn come_back(rig: &mut Rig, topic: &str) -> bool {
    rig.advance(Duration::from_secs(60));
    rig.take();
    rig.connect(connack(Some("alice"), true));
    let mut is_over = accept_all_but(rig, topic);
    rig.outputs.retain(|output| !matches!(output, Output::Publish { .. }));
    rig.grant();
    is_over |= accept_all_but(rig, topic);
    is_over
}

fn tell(rig: &mut Rig, payload: &'static str) {
    rig.handle(Input::State {
        device: "lamp".into(),
        property: "power".into(),
        payload: payload.into(),
        content_type: ContentType::Text,
        retain: true,
    });
}

fn notices(rig: &Rig) -> Vec<Notice> {
    let notices = rig.outputs.iter().filter_map(|output| match output {
        Output::Notice(notice) => Some(notice.clone()),
        _ => None,
    });
    notices.collect()
}

fn is_set_aside(rig: &Rig, expected: &str) -> bool {
    let told = |notice| matches!(notice, Notice::TopicSetAside { topic, .. } if topic == expected);
    notices(rig).into_iter().any(told)
}

fn states(rig: &Rig) -> Vec<Message> {
    rig.published().into_iter().filter(|message| message.topic == STATE).collect()
}

/// A hub whose lamp has told a state, at which the broker has ended two connections.
fn denied_twice() -> Rig {
    let mut rig = Rig::online();
    rig.take();
    tell(&mut rig, "ON");
    assert!(accept_all_but(&mut rig, STATE));
    assert!(!is_set_aside(&rig, STATE), "once may be chance");
    assert!(come_back(&mut rig, STATE));
    assert!(is_set_aside(&rig, STATE));
    rig
}

#[test]
fn a_state_that_ended_two_connections_is_set_aside_for_an_hour_and_then_told_as_it_is() {
    let mut rig = denied_twice();
    assert!(!come_back(&mut rig, STATE), "the connection holds");
    assert!(rig.published().iter().any(|message| message.payload == "online"));
    rig.take();
    tell(&mut rig, "OFF");
    rig.advance(Duration::from_secs(3400));
    assert!(!accept_all_but(&mut rig, STATE));
    assert_eq!(states(&rig), []);
    rig.advance(Duration::from_secs(200));
    let told = states(&rig);
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].payload, "OFF");
}

#[test]
fn a_reload_tries_again() {
    let mut rig = denied_twice();
    assert!(!come_back(&mut rig, STATE));
    rig.take();
    rig.handle(Input::Devices(config().devices));
    assert_eq!(states(&rig).len(), 1);
}

#[test]
fn an_answer_that_ended_two_connections_is_undeliverable_and_its_request_acknowledged() {
    let mut rig = Rig::online();
    rig.take();
    rig.receive_as(700, request("ON", b"1"));
    let asked = rig.executed().remove(0);
    rig.answer(&asked, Answer::text("ON"));
    assert!(accept_all_but(&mut rig, ANSWER));
    assert!(come_back(&mut rig, ANSWER));
    assert!(is_set_aside(&rig, ANSWER));
    assert!(!come_back(&mut rig, ANSWER));
    let left_out =
        |notice: &Notice| matches!(notice, Notice::MessageLeftOut { is_answer: true, .. });
    assert!(notices(&rig).iter().any(left_out));
    let again = Message { dup: true, ..request("ON", b"1") };
    let delivery = rig.receive_as(700, again);
    assert!(rig.acknowledged().contains(&delivery));
    assert_eq!(rig.executed().len(), 0, "not carried out twice");
}

#[test]
fn a_broker_that_says_nothing_has_the_message_named_and_nothing_set_aside() {
    let mut rig = Rig::new(config(), Rig::online().memory);
    let mut suspected = 0;
    for _ in 0..4 {
        rig.advance(Duration::from_secs(60));
        rig.take();
        rig.go_online_unfenced(true);
        rig.take();
        rig.handle(Input::Disconnected(Disconnection::Lost { error: "closed".into() }));
        let told = |notice: &Notice| matches!(notice, Notice::PublishSuspected { .. });
        suspected += notices(&rig).iter().filter(|notice| told(notice)).count();
        assert!(!notices(&rig).iter().any(|n| matches!(n, Notice::TopicSetAside { .. })));
    }
    assert_eq!(suspected, 3, "from the second time on");
}

#[test]
fn whoever_was_not_alone_under_way_is_not_set_aside() {
    let mut rig = Rig::online();
    rig.take();
    tell(&mut rig, "ON");
    rig.receive(request("ON", b"1"));
    let asked = rig.executed().remove(0);
    rig.answer(&asked, Answer::text("ON"));
    // The answer is to blame, and the broker is slow to acknowledge the state before it.
    assert_eq!(states(&rig).len(), 1);
    rig.handle(Input::Disconnected(not_authorized()));
    for _ in 0..2 {
        assert!(come_back(&mut rig, ANSWER));
    }
    assert!(is_set_aside(&rig, ANSWER) && !is_set_aside(&rig, STATE));
    assert!(!come_back(&mut rig, ANSWER));
    assert_eq!(states(&rig).len(), 1);
}

#[test]
fn a_presence_that_is_denied_leaves_the_hub_at_work() {
    const PRESENCE: &str = "alice/hub/hub/presence";
    let mut rig = Rig::new(config(), Memory::default());
    rig.connect(connack(Some("alice"), false));
    rig.handle(Input::Disconnected(Disconnection::Requested));
    rig.connect(connack(Some("alice"), true));
    rig.grant();
    assert!(accept_all_but(&mut rig, PRESENCE));
    assert!(come_back(&mut rig, PRESENCE));
    assert!(is_set_aside(&rig, PRESENCE));
    assert!(!come_back(&mut rig, PRESENCE));
    assert!(notices(&rig).iter().any(|notice| matches!(notice, Notice::Online { .. })));
    // It ends all the same, and leaves the last word to its will.
    rig.handle(Input::Shutdown);
    assert!(rig.outputs.contains(&Output::Stopped(Ok(()))));
    assert!(!rig.outputs.contains(&Output::Disconnect));
}
