//! What an answer says is stored before it goes out: the state that the device saved ahead of it.

use std::time::Duration;

use hearthd_core::{Answer, Change, Input, Message, Output, QoS, Request, Urgency};

use crate::test_hub::{TestHub, request, status};

/// A hub whose lamp is asked for something, and whose store does not write for the present.
fn asked(message: Message) -> (TestHub, Request) {
    let mut hub = TestHub::online();
    hub.store_works = false;
    hub.receive(message);
    let asked = hub.executed().remove(0);
    (hub, asked)
}

fn read(correlation_data: &'static [u8]) -> Message {
    Message { qos: QoS::AtMostOnce, ..request("", correlation_data) }
}

/// What the store was given, in order.
fn changes(hub: &TestHub) -> Vec<(&'static str, Urgency)> {
    let changes = hub.outputs.iter().filter_map(|output| match output {
        Output::Store { change, .. } => Some(change),
        _ => None,
    });
    let name = |change: &Change| match change {
        Change::Memory(_) => "memory",
        Change::Record(_) => "record",
        Change::Answer(_) => "answer",
        Change::Served(_)
        | Change::Unserved(_)
        | Change::Announced(_)
        | Change::Withdrawn(_)
        | Change::Forget(_) => "forget",
        Change::Device { .. } => "device",
        Change::Children { .. } => "children",
        Change::Await => "await",
    };
    changes.map(|change| (name(change), change.urgency())).collect()
}

#[test]
fn an_answer_is_not_published_before_the_store_holds_what_the_device_saved_with_it() {
    let (mut hub, asked) = asked(request("ON", b"1"));
    hub.save("lamp", "on");
    hub.answer(&asked, Answer::text("ON"));
    assert_eq!(changes(&hub), [("device", Urgency::Whenever), ("record", Urgency::Now)]);
    assert_eq!((hub.published().len(), hub.acknowledged().len()), (0, 0));
    hub.store_catches_up();
    assert_eq!(hub.saved["lamp"], "on");
    assert_eq!(status(&hub.published()[0]), "200");
    assert!(hub.acknowledged().is_empty(), "PUBACK comes after the answer");
    hub.accept_all();
    assert_eq!(hub.acknowledged().len(), 1);
}

#[test]
fn a_store_that_holds_the_state_and_not_the_answer_yet_is_waited_for() {
    let (mut hub, asked) = asked(request("ON", b"1"));
    hub.save("lamp", "on");
    hub.answer(&asked, Answer::text("ON"));
    let first = hub.outputs.iter().find_map(|output| match output {
        Output::Store { revision, .. } => Some(*revision),
        _ => None,
    });
    hub.handle(Input::Stored { revision: first.unwrap() });
    assert!(hub.published().is_empty());
    hub.handle(Input::Stored { revision: first.unwrap() + 1 });
    assert_eq!(status(&hub.published()[0]), "200");
}

#[test]
fn an_answer_that_is_not_stored_itself_has_the_state_that_it_tells_of_written_at_once() {
    for message in [read(b"1"), Message { qos: QoS::AtMostOnce, ..request("ON", b"1") }] {
        let (mut hub, asked) = asked(message);
        hub.save("lamp", "on");
        hub.answer(&asked, Answer::text("ON"));
        assert!(hub.published().is_empty());
        // One is enough for all that wait for the same.
        hub.receive(read(b"2"));
        let second = hub.executed().pop().unwrap();
        hub.answer(&second, Answer::text("ON"));
        assert_eq!(changes(&hub), [("device", Urgency::Whenever), ("await", Urgency::Now)]);
        hub.store_catches_up();
        assert_eq!(hub.published().len(), 2);
    }
}

#[test]
fn an_answer_of_a_device_that_has_saved_nothing_new_waits_for_nothing() {
    let (mut hub, asked) = asked(read(b"1"));
    hub.save("blinds", "half");
    hub.answer(&asked, Answer::text("OFF"));
    assert_eq!(changes(&hub), [("device", Urgency::Whenever)]);
    assert_eq!(hub.published().len(), 1);
    hub.store_catches_up();
    hub.store_works = false;
    hub.take();
    hub.receive(Message { topic: "alice/cmnd/blinds/position".into(), ..read(b"2") });
    let asked = hub.executed().remove(0);
    hub.answer(&asked, Answer::text("50"));
    assert_eq!((changes(&hub).len(), hub.published().len()), (0, 1), "the store holds it");
}

#[test]
fn while_the_store_fails_answers_go_out_without_the_state() {
    for message in [read(b"1"), request("ON", b"1")] {
        let mut hub = TestHub::online();
        hub.receive(message);
        let asked = hub.executed().remove(0);
        hub.store_fails = true;
        hub.save("lamp", "on");
        hub.answer(&asked, Answer::text("ON"));
        assert_eq!(status(&hub.published()[0]), "200");
        assert!(hub.saved.is_empty());
    }
}

#[test]
fn what_a_device_saves_as_it_ends_is_stored_after_the_hub_has_stopped() {
    let mut hub = TestHub::online();
    hub.handle(Input::Shutdown);
    hub.accept_all();
    hub.handle(Input::Disconnected(hearthd_core::Disconnection::Requested));
    assert!(hub.take().contains(&Output::Stopped(Ok(()))));
    hub.save("lamp", "off");
    assert_eq!(hub.saved["lamp"], "off");
    assert!(hub.outputs.is_empty());
}

/// Has the lamp answer a message that the broker gives a Packet Identifier, and the broker take the answer.
fn answer_as(hub: &mut TestHub, packet_id: u16, message: Message) {
    hub.receive_as(packet_id, message);
    let asked = hub.executed().pop().unwrap();
    hub.answer(&asked, Answer::text("ON"));
    hub.accept_all();
    hub.take();
}

#[test]
fn the_store_hears_nothing_of_a_request_that_it_was_never_given() {
    let mut hub = TestHub::online();
    answer_as(&mut hub, 9, Message { qos: QoS::AtMostOnce, ..request("ON", b"1") });
    answer_as(&mut hub, 10, request("", b"2"));
    hub.store_works = false;
    hub.advance(Duration::from_secs(120));
    assert_eq!(changes(&hub), []);
}

#[test]
fn the_store_forgets_what_a_request_that_it_is_not_given_has_taken_the_place_of() {
    let mut hub = TestHub::online();
    let unnamed = |payload| Message { correlation_data: None, ..request(payload, b"") };
    answer_as(&mut hub, 9, unnamed("ON"));
    assert_eq!(hub.journal.len(), 1);
    answer_as(&mut hub, 9, unnamed(""));
    assert_eq!(hub.journal.len(), 1);
    hub.advance(Duration::from_secs(120));
    assert!(hub.journal.is_empty());
}
