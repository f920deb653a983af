//! The prefix, the two-phase connect, the end.

use std::{collections::BTreeSet, time::Duration};

use hearthd_core::{Change, Disconnection, Fatal, Input, Memory, Notice, Output};

use crate::rig::{Rig, config, connack, refused};

#[test]
fn the_first_connection_learns_the_prefix_and_the_second_carries_the_will() {
    let mut rig = Rig::new(config(), Memory::default());
    assert_eq!(rig.take(), [Output::Connect { will: None }]);
    rig.connect(connack(Some("FRONT,alice"), false));
    assert!(rig.take().contains(&Output::Disconnect));
    rig.handle(Input::Disconnected(Disconnection::Requested));
    let will = rig.will();
    assert_eq!(will.topic, "alice/hub/hub/presence");
    assert_eq!(&will.payload[..], b"offline");
    assert!(will.retain);
    assert_eq!(will.response_topic.as_deref(), Some("alice/response/hub/will"));
    assert_eq!(will.correlation_data.as_deref(), Some(&rig.generation().0[..]));
    assert_eq!(will.user_property("client_id"), Some("hub"));
}

#[test]
fn a_generation_is_stored_before_connect_is_sent() {
    let known = Rig::online().memory;
    let mut rig = Rig::new(config(), Memory::default());
    rig.store_works = false;
    rig.connect(connack(Some("alice"), false));
    rig.take();
    rig.handle(Input::Disconnected(Disconnection::Requested));
    let outputs = rig.take();
    let [Output::Store { revision, change: Change::Memory(memory) }] = &outputs[..] else {
        panic!("{outputs:?}")
    };
    assert_eq!(memory.prefix, known.prefix);
    rig.handle(Input::Stored { revision: *revision });
    assert!(matches!(rig.take()[..], [Output::Connect { will: Some(_) }]));
}

#[test]
fn online_is_never_said_on_a_connection_with_the_wrong_will() {
    let memory = Rig::online().memory;
    let mut rig = Rig::new(config(), memory);
    rig.connect(connack(Some("bob"), true));
    assert!(rig.published().is_empty());
    assert!(rig.take().contains(&Output::Disconnect));
    rig.handle(Input::Disconnected(Disconnection::Requested));
    assert_eq!(rig.will().topic, "bob/hub/hub/presence");
    rig.go_online_below("bob", true);
    rig.fence();
    let online = rig.published().pop().unwrap();
    assert_eq!(
        (online.topic.as_str(), &online.payload[..]),
        ("bob/hub/hub/presence", &b"online"[..])
    );
}

#[test]
fn a_broker_that_changes_the_prefix_at_every_connection_is_given_a_rest() {
    let mut rig = Rig::online();
    rig.handle(Input::Disconnected(Disconnection::Lost { error: "cut".into() }));
    for prefix in ["b", "c", "d"] {
        rig.advance(Duration::from_secs(60));
        rig.take();
        rig.connect(connack(Some(prefix), false));
        rig.handle(Input::Disconnected(Disconnection::Requested));
    }
    let waits = |output: &Output| matches!(output, Output::Notice(Notice::Offline { .. }));
    assert!(rig.take().iter().any(waits));
}

#[test]
fn malformed_response_information_is_never_used() {
    for offered in ["a/+/b", "#", "", "$SYS", "BACK,alice", "a\0b", "a//b"] {
        let mut rig = Rig::new(config(), Memory::default());
        rig.connect(connack(Some(offered), false));
        let refused = |output: &Output| {
            matches!(output, Output::Notice(Notice::ResponseInformationRefused { .. }))
        };
        assert!(rig.take().iter().any(refused), "{offered:?}");
        rig.handle(Input::Disconnected(Disconnection::Requested));
        assert_eq!(rig.will().topic, "hub/hub/presence", "{offered:?}");
    }
}

#[test]
fn a_hub_that_requires_response_information_does_not_run_without() {
    let mut config = config();
    config.require_response_information = true;
    let mut rig = Rig::new(config, Memory::default());
    rig.connect(connack(None, false));
    rig.handle(Input::Disconnected(Disconnection::Requested));
    let stopped = Output::Stopped(Err(Fatal::ResponseInformationRequired { error: None }));
    assert!(rig.take().contains(&stopped));
}

#[test]
fn a_refused_will_makes_the_hub_learn_the_prefix_anew() {
    let memory = Rig::online().memory;
    let mut rig = Rig::new(config(), memory);
    rig.take();
    rig.handle(Input::Disconnected(refused(0x87)));
    rig.advance(Duration::from_secs(60));
    assert!(rig.take().contains(&Output::Connect { will: None }));
}

#[test]
fn attempts_that_reach_no_broker_use_one_generation() {
    let mut rig = Rig::online();
    rig.handle(Input::Disconnected(Disconnection::Lost { error: "cut".into() }));
    for _ in 0..20 {
        rig.advance(Duration::from_secs(60));
        rig.handle(Input::Disconnected(Disconnection::Unreachable { error: "no route".into() }));
    }
    assert_eq!(rig.memory.open.len(), 2);
}

#[test]
fn an_attempt_whose_connack_is_lost_keeps_its_generation_to_itself_and_is_no_absence() {
    let mut rig = Rig::online();
    rig.handle(Input::Disconnected(Disconnection::Lost { error: "cut".into() }));
    for _ in 0..2 {
        rig.advance(Duration::from_secs(60));
        rig.handle(Input::Disconnected(Disconnection::Lost { error: "no CONNACK".into() }));
    }
    rig.advance(Duration::from_secs(60));
    let generations: BTreeSet<_> = rig.memory.open.iter().map(|will| will.generation).collect();
    assert_eq!(generations.len(), 4);
    let first = rig.memory.open[0].generation;
    rig.go_online(true);
    let told: Vec<_> = rig.absences().iter().map(|absence| absence.generation).collect();
    assert_eq!(told, [first], "only this one was ever connected");
}

#[test]
fn a_takeover_is_not_fought() {
    let mut rig = Rig::online();
    let reason_string = None;
    rig.handle(Input::Disconnected(Disconnection::ByBroker {
        reason_code: 0x8E,
        reason_string,
        server_reference: None,
    }));
    let outputs = rig.take();
    let Some(Output::Notice(Notice::Offline { retry_in, .. })) = outputs.last() else {
        panic!("{outputs:?}")
    };
    assert!(*retry_in >= Duration::from_secs(30));
}

#[test]
fn shutdown_says_offline_and_disconnects_after_the_broker_has_it() {
    let mut rig = Rig::online();
    rig.handle(Input::Shutdown);
    let farewell = rig.published().pop().unwrap();
    assert_eq!(&farewell.payload[..], b"offline");
    assert_eq!(farewell.response_topic, None);
    assert!(!rig.outputs.contains(&Output::Disconnect));
    rig.accept_all();
    assert!(rig.outputs.contains(&Output::Disconnect));
    rig.handle(Input::Disconnected(Disconnection::Requested));
    assert!(rig.memory.open[0].clean);
    assert_eq!(rig.take().last(), Some(&Output::Stopped(Ok(()))));
}

#[test]
fn shutdown_waits_for_the_answers_in_flight() {
    let mut rig = Rig::online();
    rig.receive(crate::rig::request("ON", b"1"));
    let request = rig.executed().remove(0);
    rig.handle(Input::Shutdown);
    assert!(rig.published().is_empty());
    rig.answer(&request, hearthd_core::Answer::text("ON"));
    rig.accept_all();
    let published = rig.published();
    assert_eq!(published.len(), 2);
    assert_eq!(&published[1].payload[..], b"offline");
}

#[test]
fn online_comes_after_the_fence_or_when_it_is_given_up() {
    let says_online = |rig: &Rig| rig.published().iter().any(|m| m.payload[..] == *b"online");
    let mut rig = Rig::online().restarted(true);
    assert!(!says_online(&rig));
    rig.fence();
    assert!(says_online(&rig));
    let mut rig = Rig::online().restarted(true);
    rig.advance(Duration::from_secs(10));
    rig.accept_all();
    assert!(says_online(&rig));
}

#[test]
fn another_client_with_the_hubs_client_id_is_told_from_a_stranger_who_plays_the_hub() {
    let mut rig = Rig::online();
    rig.receive(rig.online.clone().unwrap());
    let namesake = hearthd_core::Message {
        correlation_data: Some(b"aaaaaaaaaaaaaaaa"[..].into()),
        ..rig.online.clone().unwrap()
    };
    let told = |rig: &Rig| rig.outputs.contains(&Output::Notice(Notice::ClientIdShared));
    rig.receive(namesake.clone());
    assert!(!told(&rig), "the connection lives");
    rig.handle(Input::Disconnected(Disconnection::Lost { error: "closed".into() }));
    rig.advance(Duration::from_secs(60));
    rig.go_online_unfenced(true);
    rig.receive(namesake);
    assert!(told(&rig));
}
