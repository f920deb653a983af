//! Brokers that end the connection over a message.

use std::time::Duration;

use hearthd_core::{Answer, Disconnection, Input, Memory, Message, Notice, Output};

use crate::test_hub::{TestHub, config, connack, request, state};

const STATE: &str = "alice/state/lamp/power";
const ANSWER: &str = "alice/response/phone/lamp";

fn not_authorized() -> Disconnection {
    Disconnection::ByBroker { reason_code: 0x87, reason_string: None, server_reference: None }
}

/// The broker acknowledges one message after the other, until one comes on this topic: over that it ends the connection.
/// Returns whether one came.
fn accept_all_but(hub: &mut TestHub, topic: &str) -> bool {
    let mut accepted = 0;
    loop {
        let mut publishes = hub.outputs.iter().filter_map(|output| match output {
            Output::Publish { id, message } => Some((*id, message.clone())),
            _ => None,
        });
        let Some((id, message)) = publishes.nth(accepted) else { return false };
        accepted += 1;
        if message.topic == topic {
            hub.handle(Input::Disconnected(not_authorized()));
            return true;
        }
        hub.handle(Input::Published { id, reason_code: 0 });
        if message.topic.ends_with("/session") || message.topic.ends_with("/fence") {
            hub.receive(message);
        }
    }
}

/// The hub comes back to such a broker.
fn come_back(hub: &mut TestHub, topic: &str) -> bool {
    hub.advance(Duration::from_secs(60));
    hub.take();
    hub.connect(connack(Some("alice"), true));
    let mut is_over = accept_all_but(hub, topic);
    hub.outputs.retain(|output| !matches!(output, Output::Publish { .. }));
    hub.grant();
    is_over |= accept_all_but(hub, topic);
    is_over
}

fn tell(hub: &mut TestHub, payload: &'static str) {
    hub.handle(state("lamp", "power", payload));
}

fn notices(hub: &TestHub) -> Vec<Notice> {
    let notices = hub.outputs.iter().filter_map(|output| match output {
        Output::Notice(notice) => Some(notice.clone()),
        _ => None,
    });
    notices.collect()
}

fn is_set_aside(hub: &TestHub, expected: &str) -> bool {
    let told = |notice| matches!(notice, Notice::TopicSetAside { topic, .. } if topic == expected);
    notices(hub).into_iter().any(told)
}

fn states(hub: &TestHub) -> Vec<Message> {
    hub.published().into_iter().filter(|message| message.topic == STATE).collect()
}

/// A hub whose lamp has told a state, at which the broker has ended two connections.
fn denied_twice() -> TestHub {
    let mut hub = TestHub::online();
    hub.take();
    tell(&mut hub, "ON");
    assert!(accept_all_but(&mut hub, STATE));
    assert!(!is_set_aside(&hub, STATE), "once may be chance");
    assert!(come_back(&mut hub, STATE));
    assert!(is_set_aside(&hub, STATE));
    hub
}

#[test]
fn a_state_that_ended_two_connections_is_set_aside_for_an_hour_and_then_told_as_it_is() {
    let mut hub = denied_twice();
    assert!(!come_back(&mut hub, STATE), "the connection holds");
    assert!(hub.published().iter().any(|message| message.payload == "online"));
    hub.take();
    tell(&mut hub, "OFF");
    hub.advance(Duration::from_secs(3400));
    assert!(!accept_all_but(&mut hub, STATE));
    assert_eq!(states(&hub), []);
    hub.advance(Duration::from_secs(200));
    let told = states(&hub);
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].payload, "OFF");
}

#[test]
fn a_device_that_adds_another_gives_nothing_another_chance() {
    let mut hub = denied_twice();
    come_back(&mut hub, STATE);
    hub.take();
    let devices = config().devices;
    let (device, children) = ("bridge".into(), "bridge-hall".into());
    hub.handle(Input::Children { device, children, devices, discovery: None });
    hub.advance(Duration::from_secs(60));
    assert_eq!(states(&hub), []);
}

#[test]
fn a_reload_tries_again() {
    let mut hub = denied_twice();
    assert!(!come_back(&mut hub, STATE));
    hub.take();
    hub.handle(Input::Devices(config().devices));
    assert_eq!(states(&hub).len(), 1);
}

#[test]
fn an_answer_that_ended_two_connections_is_undeliverable_and_its_request_acknowledged() {
    let mut hub = TestHub::online();
    hub.take();
    hub.receive_as(700, request("ON", b"1"));
    let asked = hub.executed().remove(0);
    hub.answer(&asked, Answer::text("ON"));
    assert!(accept_all_but(&mut hub, ANSWER));
    assert!(come_back(&mut hub, ANSWER));
    assert!(is_set_aside(&hub, ANSWER));
    assert!(!come_back(&mut hub, ANSWER));
    let left_out =
        |notice: &Notice| matches!(notice, Notice::MessageLeftOut { is_answer: true, .. });
    assert!(notices(&hub).iter().any(left_out));
    let again = Message { dup: true, ..request("ON", b"1") };
    let delivery = hub.receive_as(700, again);
    assert!(hub.acknowledged().contains(&delivery));
    assert_eq!(hub.executed().len(), 0, "not carried out twice");
}

#[test]
fn a_broker_that_says_nothing_has_the_message_named_and_nothing_set_aside() {
    let mut hub = TestHub::new(config(), TestHub::online().memory);
    let mut suspected = 0;
    for _ in 0..4 {
        hub.advance(Duration::from_secs(60));
        hub.take();
        hub.go_online_unfenced(true);
        hub.take();
        hub.handle(Input::Disconnected(Disconnection::Lost { error: "closed".into() }));
        let told = |notice: &Notice| matches!(notice, Notice::PublishSuspected { .. });
        suspected += notices(&hub).iter().filter(|notice| told(notice)).count();
        assert!(!notices(&hub).iter().any(|n| matches!(n, Notice::TopicSetAside { .. })));
    }
    assert_eq!(suspected, 3, "from the second time on");
}

#[test]
fn whoever_was_not_alone_under_way_is_not_set_aside() {
    let mut hub = TestHub::online();
    hub.take();
    tell(&mut hub, "ON");
    hub.receive(request("ON", b"1"));
    let asked = hub.executed().remove(0);
    hub.answer(&asked, Answer::text("ON"));
    // The answer is to blame, and the broker is slow to acknowledge the state before it.
    assert_eq!(states(&hub).len(), 1);
    hub.handle(Input::Disconnected(not_authorized()));
    for _ in 0..2 {
        assert!(come_back(&mut hub, ANSWER));
    }
    assert!(is_set_aside(&hub, ANSWER) && !is_set_aside(&hub, STATE));
    assert!(!come_back(&mut hub, ANSWER));
    assert_eq!(states(&hub).len(), 1);
}

#[test]
fn a_presence_that_is_denied_leaves_the_hub_at_work() {
    const PRESENCE: &str = "alice/hub/hub/presence";
    let mut hub = TestHub::new(config(), Memory::default());
    hub.connect(connack(Some("alice"), false));
    hub.handle(Input::Disconnected(Disconnection::Requested));
    hub.connect(connack(Some("alice"), true));
    hub.grant();
    assert!(accept_all_but(&mut hub, PRESENCE));
    assert!(come_back(&mut hub, PRESENCE));
    assert!(is_set_aside(&hub, PRESENCE));
    assert!(!come_back(&mut hub, PRESENCE));
    assert!(notices(&hub).iter().any(|notice| matches!(notice, Notice::Online { .. })));
    // It ends all the same, and leaves the last word to its will.
    hub.handle(Input::Shutdown);
    assert!(hub.outputs.contains(&Output::Stopped(Ok(()))));
    assert!(!hub.outputs.contains(&Output::Disconnect));
}
