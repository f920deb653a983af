//! A broker that sends more than the Receive Maximum, or takes no answers, costs nobody an answer.

use std::{collections::BTreeSet, time::Duration};

use hearthd_core::{Answer, Disconnection, HubConfig, Input, Message, Notice, Output, QoS};

use crate::{
    guards::{guarding, will},
    test_hub::{TestHub, config, request, status},
};

/// A hub that works on few messages at a time, for devices that may have any number waiting.
fn online(receive_maximum: u16) -> TestHub {
    let known = TestHub::online();
    let config = HubConfig { receive_maximum, queue: 10_000, ..config() };
    let mut hub = TestHub::with_journal(config, known.memory, known.journal);
    hub.go_online(true);
    hub.take();
    hub
}

fn numbered(n: u32) -> Message {
    Message { correlation_data: Some(n.to_be_bytes().to_vec().into()), ..request("ON", b"") }
}

/// Answers and accepts until nothing happens any more; returns how many were executed at the same time at most.
fn finish(hub: &mut TestHub) -> usize {
    let (mut done, mut most) = (BTreeSet::new(), 0);
    loop {
        let asked: Vec<_> = hub.executed().into_iter().filter(|r| done.insert(r.id)).collect();
        most = most.max(asked.len());
        let published = hub.published().len();
        for asked in &asked {
            hub.answer(asked, Answer::text("ON"));
        }
        hub.accept_all();
        if asked.is_empty() && hub.published().len() == published {
            return most;
        }
    }
}

fn answered(hub: &TestHub) -> Vec<(Vec<u8>, String)> {
    let answers = hub.published().into_iter().filter(|m| m.topic == "alice/response/phone/lamp");
    answers.map(|m| (m.correlation_data.clone().unwrap().to_vec(), status(&m).to_owned())).collect()
}

#[test]
fn more_than_the_receive_maximum_waits_and_is_answered_in_order() {
    let mut hub = online(4);
    let deliveries: Vec<_> = (0..40).map(|n| hub.receive(numbered(n))).collect();
    assert_eq!(hub.executed().len(), 4);
    assert_eq!(finish(&mut hub), 4);
    let expected: Vec<_> =
        (0_u32..40).map(|n| (n.to_be_bytes().to_vec(), "200".to_owned())).collect();
    assert_eq!(answered(&hub), expected);
    assert_eq!(hub.acknowledged(), deliveries);
}

#[test]
fn requests_wait_while_the_broker_takes_no_answers() {
    let mut hub = online(10_000);
    for n in 0..3000 {
        hub.receive(numbered(n));
    }
    assert_eq!(hub.executed().len(), 2048);
    for asked in hub.executed() {
        hub.answer(&asked, Answer::text("ON"));
    }
    assert_eq!(hub.executed().len(), 2048, "the broker has taken none of the answers");
    finish(&mut hub);
    assert_eq!(answered(&hub).len(), 3000);
    assert_eq!(hub.acknowledged().len(), 3000);
}

#[test]
fn what_waits_keeps_the_fence_behind_it_and_is_stale_all_the_same() {
    let known = TestHub::online();
    let config = HubConfig { receive_maximum: 2, ..config() };
    let mut hub = TestHub::with_journal(config, known.memory, known.journal);
    hub.go_online_unfenced(true);
    for n in 0..6 {
        hub.receive(numbered(n));
    }
    hub.fence();
    hub.advance(Duration::from_secs(20));
    let online = |hub: &TestHub| hub.published().iter().any(|m| &m.payload[..] == b"online");
    assert!(!online(&hub), "the fence is not given up while something waits before it");
    assert_eq!(answered(&hub).len(), 2);
    hub.accept_all();
    assert!(online(&hub));
    assert_eq!(answered(&hub).len(), 6);
    assert!(answered(&hub).iter().all(|(_, status)| status == "409"));
    assert!(hub.executed().is_empty());
}

#[test]
fn a_request_that_expires_while_it_waits_is_not_carried_out() {
    let mut hub = online(1);
    hub.receive(numbered(0));
    hub.receive(Message { expiry: Some(2), ..numbered(1) });
    hub.receive(Message { expiry: Some(9), ..numbered(2) });
    hub.advance(Duration::from_secs(3));
    finish(&mut hub);
    assert_eq!(hub.executed().len(), 2);
    assert_eq!(hub.published().last().unwrap().expiry, Some(6), "what was waited counts");
    assert_eq!(hub.acknowledged().len(), 3);
}

#[test]
fn what_cannot_be_held_is_left_and_comes_on_another_connection() {
    let mut hub = online(1);
    for n in 0..20 {
        hub.receive(numbered(n));
    }
    finish(&mut hub);
    assert_eq!(answered(&hub).len(), 17, "one in progress and sixteen that wait");
    assert_eq!(hub.acknowledged().len(), 17);
    assert_eq!(hub.outputs.last(), Some(&Output::Disconnect));
    hub.take();
    hub.handle(Input::Disconnected(Disconnection::Requested));
    hub.go_online_unfenced(true);
    for n in 17..20 {
        hub.receive(Message { expiry: Some(60), ..numbered(n) });
    }
    hub.fence();
    finish(&mut hub);
    assert_eq!(answered(&hub).len(), 3);
    assert!(hub.published().iter().any(|m| &m.payload[..] == b"online"));
    assert!(!hub.outputs.contains(&Output::Disconnect));
}

#[test]
fn what_waits_is_bounded_by_its_size_as_well() {
    let large = |n| Message { payload: vec![b'x'; 2_000_000].into(), ..numbered(n) };
    let mut hub = online(1);
    for n in 0..12 {
        hub.receive(large(n));
    }
    hub.accept_all();
    assert_eq!(answered(&hub).len(), 9, "too large to be carried out, but not to be refused");
    assert_eq!(hub.outputs.last(), Some(&Output::Disconnect));
}

#[test]
fn what_takes_more_memory_than_its_packet_counts_with_its_memory() {
    let full = |n| Message {
        user_properties: vec![("a".to_owned(), "b".to_owned()); 20_000],
        ..numbered(n)
    };
    assert!(full(0).memory_size() > 10 * full(0).packet_size());
    let mut hub = online(1);
    for n in 0..12 {
        hub.receive(full(n));
    }
    finish(&mut hub);
    assert_eq!(answered(&hub).len(), 6, "one in progress, and five that wait in 16 MiB");
    assert_eq!(hub.outputs.last(), Some(&Output::Disconnect));
}

#[test]
fn a_hub_that_ends_leaves_what_waits_to_its_next_life() {
    let mut hub = online(1);
    for n in 0..3 {
        hub.receive(numbered(n));
    }
    hub.handle(Input::Shutdown);
    finish(&mut hub);
    assert_eq!(hub.executed().len(), 1);
    assert_eq!(hub.acknowledged().len(), 1);
}

#[test]
fn a_will_that_waits_for_the_fence_does_not_keep_it_from_coming() {
    let config = HubConfig { receive_maximum: 1, queue: 10_000, ..guarding() };
    let mut hub = TestHub::new(config, TestHub::online().memory);
    hub.go_online_unfenced(true);
    hub.receive(will(b"generation"));
    for n in 0..6 {
        hub.receive(numbered(n));
    }
    hub.fence();
    hub.accept_all();
    assert_eq!(answered(&hub).len(), 6);
    assert_eq!(hub.executed().len(), 2, "the guard acts, and what waited is stale");
    finish(&mut hub);
    assert_eq!(hub.acknowledged().len(), 9);
}

#[test]
fn a_repetition_that_came_in_time_is_known_however_long_it_waits() {
    let mut hub = online(1);
    hub.receive(numbered(0));
    finish(&mut hub);
    hub.receive(numbered(1));
    let asked = hub.executed().pop().unwrap();
    hub.answer(&asked, Answer::text("ON"));
    hub.receive(crate::test_hub::retry(numbered(0)));
    hub.advance(Duration::from_secs(61));
    finish(&mut hub);
    assert_eq!(hub.executed().len(), 2);
    assert_eq!(answered(&hub).len(), 3);
}

#[test]
fn what_was_left_may_be_what_is_retained_of_a_device_that_is_gone() {
    for floods in [false, true] {
        let mut hub = online(1);
        for n in 0..if floods { 40 } else { 17 } {
            hub.receive(numbered(n));
        }
        // All that the hub has held is taken in, and the last of it is not done.
        for _ in 0..16 {
            let asked = hub.executed().pop().expect("one is executed");
            hub.answer(&asked, Answer::text("ON"));
            hub.accept_all();
        }
        let mut devices = config().devices;
        devices.remove("blinds");
        hub.take();
        hub.handle(Input::Devices(devices));
        hub.grant();
        let published = hub.published().into_iter().rev();
        let probe = { published }.find(|m| m.topic.ends_with("/retained")).expect("it looks");
        hub.handle(Input::Received {
            message: Message { qos: QoS::AtMostOnce, ..probe },
            delivery: None,
        });
        hub.advance(Duration::from_millis(300));
        hub.accept_all();
        assert_eq!(hub.served.contains_key("blinds"), floods);
    }
}

#[test]
fn an_answer_at_qos_0_finds_room_behind_a_flood_of_answers_at_qos_1() {
    let mut hub = online(2_000);
    let mut ask = |n: u32, delivered: bool| {
        hub.take();
        if delivered {
            hub.receive(numbered(n));
        } else {
            let message = Message { qos: QoS::AtMostOnce, ..numbered(n) };
            hub.handle(Input::Received { message, delivery: None });
        }
        let asked = hub.executed().remove(0);
        hub.answer(&asked, Answer::text("ON"));
        let full = |output: &Output| matches!(output, Output::Notice(Notice::QueueFull { .. }));
        hub.outputs.iter().any(full)
    };
    for n in 0..1_100 {
        assert!(!ask(n, true), "{n}");
    }
    assert!(!ask(1_100, false));
}
