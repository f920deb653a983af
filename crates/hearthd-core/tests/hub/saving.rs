//! What an answer says is stored before it goes out: the state that the device saved ahead of it.

use hearthd_core::{Answer, Change, Input, Message, Output, QoS, Request, Urgency};

use crate::rig::{Rig, request, status};

/// A hub whose lamp is asked for something, and whose store does not write for the present.
fn asked(message: Message) -> (Rig, Request) {
    let mut rig = Rig::online();
    rig.store_works = false;
    rig.receive(message);
    let asked = rig.executed().remove(0);
    (rig, asked)
}

fn read(correlation_data: &'static [u8]) -> Message {
    Message { qos: QoS::AtMostOnce, ..request("", correlation_data) }
}

/// What the store was given, in order.
fn changes(rig: &Rig) -> Vec<(&'static str, Urgency)> {
    let changes = rig.outputs.iter().filter_map(|output| match output {
        Output::Store { change, .. } => Some(change),
        _ => None,
    });
    let name = |change: &Change| match change {
        Change::Memory(_) => "memory",
        Change::Record(_) => "record",
        Change::Answer(_) => "answer",
        Change::Served(_) | Change::Unserved(_) | Change::Forget(_) => "forget",
        Change::Device { .. } => "device",
        Change::Await => "await",
    };
    changes.map(|change| (name(change), change.urgency())).collect()
}

#[test]
fn an_answer_is_not_published_before_the_store_holds_what_the_device_saved_with_it() {
    let (mut rig, asked) = asked(request("ON", b"1"));
    rig.save("lamp", "on");
    rig.answer(&asked, Answer::text("ON"));
    assert_eq!(changes(&rig), [("device", Urgency::Whenever), ("record", Urgency::Now)]);
    assert_eq!((rig.published().len(), rig.acknowledged().len()), (0, 0));
    rig.store_catches_up();
    assert_eq!(rig.saved["lamp"], "on");
    assert_eq!(status(&rig.published()[0]), "200");
    assert!(rig.acknowledged().is_empty(), "PUBACK comes after the answer");
    rig.accept_all();
    assert_eq!(rig.acknowledged().len(), 1);
}

#[test]
fn a_store_that_holds_the_state_and_not_the_answer_yet_is_waited_for() {
    let (mut rig, asked) = asked(request("ON", b"1"));
    rig.save("lamp", "on");
    rig.answer(&asked, Answer::text("ON"));
    let first = rig.outputs.iter().find_map(|output| match output {
        Output::Store { revision, .. } => Some(*revision),
        _ => None,
    });
    rig.handle(Input::Stored { revision: first.unwrap() });
    assert!(rig.published().is_empty());
    rig.handle(Input::Stored { revision: first.unwrap() + 1 });
    assert_eq!(status(&rig.published()[0]), "200");
}

#[test]
fn an_answer_that_is_not_stored_itself_has_the_state_that_it_tells_of_written_at_once() {
    for message in [read(b"1"), Message { qos: QoS::AtMostOnce, ..request("ON", b"1") }] {
        let (mut rig, asked) = asked(message);
        rig.save("lamp", "on");
        rig.answer(&asked, Answer::text("ON"));
        assert!(rig.published().is_empty());
        // One is enough for all that wait for the same.
        rig.receive(read(b"2"));
        let second = rig.executed().pop().unwrap();
        rig.answer(&second, Answer::text("ON"));
        assert_eq!(changes(&rig), [("device", Urgency::Whenever), ("await", Urgency::Now)]);
        rig.store_catches_up();
        assert_eq!(rig.published().len(), 2);
    }
}

#[test]
fn an_answer_of_a_device_that_has_saved_nothing_new_waits_for_nothing() {
    let (mut rig, asked) = asked(read(b"1"));
    rig.save("blinds", "half");
    rig.answer(&asked, Answer::text("OFF"));
    assert_eq!(changes(&rig), [("device", Urgency::Whenever)]);
    assert_eq!(rig.published().len(), 1);
    rig.store_catches_up();
    rig.store_works = false;
    rig.take();
    rig.receive(Message { topic: "alice/cmnd/blinds/position".into(), ..read(b"2") });
    let asked = rig.executed().remove(0);
    rig.answer(&asked, Answer::text("50"));
    assert_eq!((changes(&rig).len(), rig.published().len()), (0, 1), "the store holds it");
}

#[test]
fn while_the_store_fails_answers_go_out_without_the_state() {
    for message in [read(b"1"), request("ON", b"1")] {
        let mut rig = Rig::online();
        rig.receive(message);
        let asked = rig.executed().remove(0);
        rig.store_fails = true;
        rig.save("lamp", "on");
        rig.answer(&asked, Answer::text("ON"));
        assert_eq!(status(&rig.published()[0]), "200");
        assert!(rig.saved.is_empty());
    }
}

#[test]
fn what_a_device_saves_as_it_ends_is_stored_after_the_hub_has_stopped() {
    let mut rig = Rig::online();
    rig.handle(Input::Shutdown);
    rig.accept_all();
    rig.handle(Input::Disconnected(hearthd_core::Disconnection::Requested));
    assert!(rig.take().contains(&Output::Stopped(Ok(()))));
    rig.save("lamp", "off");
    assert_eq!(rig.saved["lamp"], "off");
    assert!(rig.outputs.is_empty());
}
