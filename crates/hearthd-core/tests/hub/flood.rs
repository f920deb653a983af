//! A broker that sends more than the Receive Maximum, or takes no answers, costs nobody an answer.

use std::{collections::BTreeSet, time::Duration};

use hearthd_core::{Answer, Disconnection, HubConfig, Input, Message, Output};

use crate::{
    guards::{guarding, will},
    rig::{Rig, config, request, status},
};

/// A hub that works on few messages at a time, for devices that may have any number waiting.
fn online(receive_maximum: u16) -> Rig {
    let known = Rig::online();
    let config = HubConfig { receive_maximum, queue: 10_000, ..config() };
    let mut rig = Rig::with_journal(config, known.memory, known.journal);
    rig.go_online(true);
    rig.take();
    rig
}

fn numbered(n: u32) -> Message {
    Message { correlation_data: Some(n.to_be_bytes().to_vec().into()), ..request("ON", b"") }
}

/// Answers and accepts until nothing happens any more; returns how many were executed at the same time at most.
fn finish(rig: &mut Rig) -> usize {
    let (mut done, mut most) = (BTreeSet::new(), 0);
    loop {
        let asked: Vec<_> = rig.executed().into_iter().filter(|r| done.insert(r.id)).collect();
        most = most.max(asked.len());
        let published = rig.published().len();
        for asked in &asked {
            rig.answer(asked, Answer::text("ON"));
        }
        rig.accept_all();
        if asked.is_empty() && rig.published().len() == published {
            return most;
        }
    }
}

fn answered(rig: &Rig) -> Vec<(Vec<u8>, String)> {
    let answers = rig.published().into_iter().filter(|m| m.topic == "alice/response/phone/lamp");
    answers.map(|m| (m.correlation_data.clone().unwrap().to_vec(), status(&m).to_owned())).collect()
}

#[test]
fn more_than_the_receive_maximum_waits_and_is_answered_in_order() {
    let mut rig = online(4);
    let deliveries: Vec<_> = (0..40).map(|n| rig.receive(numbered(n))).collect();
    assert_eq!(rig.executed().len(), 4);
    assert_eq!(finish(&mut rig), 4);
    let expected: Vec<_> =
        (0_u32..40).map(|n| (n.to_be_bytes().to_vec(), "200".to_owned())).collect();
    assert_eq!(answered(&rig), expected);
    assert_eq!(rig.acknowledged(), deliveries);
}

#[test]
fn requests_wait_while_the_broker_takes_no_answers() {
    let mut rig = online(10_000);
    for n in 0..3000 {
        rig.receive(numbered(n));
    }
    assert_eq!(rig.executed().len(), 2048);
    for asked in rig.executed() {
        rig.answer(&asked, Answer::text("ON"));
    }
    assert_eq!(rig.executed().len(), 2048, "the broker has taken none of the answers");
    finish(&mut rig);
    assert_eq!(answered(&rig).len(), 3000);
    assert_eq!(rig.acknowledged().len(), 3000);
}

#[test]
fn what_waits_keeps_the_fence_behind_it_and_is_stale_all_the_same() {
    let known = Rig::online();
    let config = HubConfig { receive_maximum: 2, ..config() };
    let mut rig = Rig::with_journal(config, known.memory, known.journal);
    rig.go_online_unfenced(true);
    for n in 0..6 {
        rig.receive(numbered(n));
    }
    rig.fence();
    rig.advance(Duration::from_secs(20));
    let online = |rig: &Rig| rig.published().iter().any(|m| &m.payload[..] == b"online");
    assert!(!online(&rig), "the fence is not given up while something waits before it");
    assert_eq!(answered(&rig).len(), 2);
    rig.accept_all();
    assert!(online(&rig));
    assert_eq!(answered(&rig).len(), 6);
    assert!(answered(&rig).iter().all(|(_, status)| status == "409"));
    assert!(rig.executed().is_empty());
}

#[test]
fn a_request_that_expires_while_it_waits_is_not_carried_out() {
    let mut rig = online(1);
    rig.receive(numbered(0));
    rig.receive(Message { expiry: Some(2), ..numbered(1) });
    rig.receive(Message { expiry: Some(9), ..numbered(2) });
    rig.advance(Duration::from_secs(3));
    finish(&mut rig);
    assert_eq!(rig.executed().len(), 2);
    assert_eq!(rig.published().last().unwrap().expiry, Some(6), "what was waited counts");
    assert_eq!(rig.acknowledged().len(), 3);
}

#[test]
fn what_cannot_be_held_is_left_and_comes_on_another_connection() {
    let mut rig = online(1);
    for n in 0..20 {
        rig.receive(numbered(n));
    }
    finish(&mut rig);
    assert_eq!(answered(&rig).len(), 17, "one in progress and sixteen that wait");
    assert_eq!(rig.acknowledged().len(), 17);
    assert_eq!(rig.outputs.last(), Some(&Output::Disconnect));
    rig.take();
    rig.handle(Input::Disconnected(Disconnection::Requested));
    rig.go_online_unfenced(true);
    for n in 17..20 {
        rig.receive(Message { expiry: Some(60), ..numbered(n) });
    }
    rig.fence();
    finish(&mut rig);
    assert_eq!(answered(&rig).len(), 3);
    assert!(rig.published().iter().any(|m| &m.payload[..] == b"online"));
    assert!(!rig.outputs.contains(&Output::Disconnect));
}

#[test]
fn what_waits_is_bounded_by_its_size_as_well() {
    let large = |n| Message { payload: vec![b'x'; 1_000_000].into(), ..numbered(n) };
    let mut rig = online(1);
    for n in 0..12 {
        rig.receive(large(n));
    }
    rig.accept_all();
    assert_eq!(answered(&rig).len(), 9, "too large to be carried out, but not to be refused");
    assert_eq!(rig.outputs.last(), Some(&Output::Disconnect));
}

#[test]
fn a_hub_that_ends_leaves_what_waits_to_its_next_life() {
    let mut rig = online(1);
    for n in 0..3 {
        rig.receive(numbered(n));
    }
    rig.handle(Input::Shutdown);
    finish(&mut rig);
    assert_eq!(rig.executed().len(), 1);
    assert_eq!(rig.acknowledged().len(), 1);
}

#[test]
fn a_will_that_waits_for_the_fence_does_not_keep_it_from_coming() {
    let config = HubConfig { receive_maximum: 1, queue: 10_000, ..guarding() };
    let mut rig = Rig::new(config, Rig::online().memory);
    rig.go_online_unfenced(true);
    rig.receive(will(b"generation"));
    for n in 0..6 {
        rig.receive(numbered(n));
    }
    rig.fence();
    rig.accept_all();
    assert_eq!(answered(&rig).len(), 6);
    assert_eq!(rig.executed().len(), 2, "the guard acts, and what waited is stale");
    finish(&mut rig);
    assert_eq!(rig.acknowledged().len(), 9);
}

#[test]
fn a_repetition_that_came_in_time_is_known_however_long_it_waits() {
    let mut rig = online(1);
    rig.receive(numbered(0));
    finish(&mut rig);
    rig.receive(numbered(1));
    let asked = rig.executed().pop().unwrap();
    rig.answer(&asked, Answer::text("ON"));
    rig.receive(crate::rig::retry(numbered(0)));
    rig.advance(Duration::from_secs(61));
    finish(&mut rig);
    assert_eq!(rig.executed().len(), 2);
    assert_eq!(answered(&rig).len(), 3);
}
