//! The prefix, the two-phase connect, the end.

use std::{collections::BTreeSet, time::Duration};

use hearthd_core::{Change, Disconnection, Fatal, HubConfig, Input, Memory, Notice, Output};

use crate::test_hub::{TestHub, config, connack, refused};

#[test]
fn the_first_connection_learns_the_prefix_and_the_second_carries_the_will() {
    let mut hub = TestHub::new(config(), Memory::default());
    assert_eq!(hub.take(), [Output::Connect { will: None }]);
    hub.connect(connack(Some("FRONT,alice"), false));
    assert!(hub.take().contains(&Output::Disconnect));
    hub.handle(Input::Disconnected(Disconnection::Requested));
    let will = hub.will();
    assert_eq!(will.topic, "alice/hub/hub/presence");
    assert_eq!(&will.payload[..], b"offline");
    assert!(will.retain);
    assert_eq!(will.response_topic.as_deref(), Some("alice/response/hub/will"));
    assert_eq!(will.correlation_data.as_deref(), Some(&hub.generation().0[..]));
    assert_eq!(will.user_property("client_id"), Some("hub"));
}

#[test]
fn a_generation_is_stored_before_connect_is_sent() {
    let known = TestHub::online().memory;
    let mut hub = TestHub::new(config(), Memory::default());
    hub.store_works = false;
    hub.connect(connack(Some("alice"), false));
    hub.take();
    hub.handle(Input::Disconnected(Disconnection::Requested));
    let outputs = hub.take();
    let [Output::Store { revision, change: Change::Memory(memory) }] = &outputs[..] else {
        panic!("{outputs:?}")
    };
    assert_eq!(memory.prefix, known.prefix);
    hub.handle(Input::Stored { revision: *revision });
    assert!(matches!(hub.take()[..], [Output::Connect { will: Some(_) }]));
}

#[test]
fn online_is_never_said_on_a_connection_with_the_wrong_will() {
    let memory = TestHub::online().memory;
    let mut hub = TestHub::new(config(), memory);
    hub.connect(connack(Some("bob"), true));
    assert!(hub.published().is_empty());
    assert!(hub.take().contains(&Output::Disconnect));
    hub.handle(Input::Disconnected(Disconnection::Requested));
    assert_eq!(hub.will().topic, "bob/hub/hub/presence");
    hub.go_online_below("bob", true);
    hub.fence();
    let online = hub.published().pop().unwrap();
    assert_eq!(
        (online.topic.as_str(), &online.payload[..]),
        ("bob/hub/hub/presence", &b"online"[..])
    );
}

#[test]
fn a_broker_that_changes_the_prefix_at_every_connection_is_given_a_rest() {
    let mut hub = TestHub::online();
    hub.handle(Input::Disconnected(Disconnection::Lost { error: "cut".into() }));
    for prefix in ["b", "c", "d"] {
        hub.advance(Duration::from_secs(60));
        hub.take();
        hub.connect(connack(Some(prefix), false));
        hub.handle(Input::Disconnected(Disconnection::Requested));
    }
    let waits = |output: &Output| matches!(output, Output::Notice(Notice::Offline { .. }));
    assert!(hub.take().iter().any(waits));
}

#[test]
fn malformed_response_information_is_never_used() {
    for offered in ["a/+/b", "#", "", "$SYS", "BACK,alice", "a\0b", "a//b"] {
        let mut hub = TestHub::new(config(), Memory::default());
        hub.connect(connack(Some(offered), false));
        let refused = |output: &Output| {
            matches!(output, Output::Notice(Notice::ResponseInformationRefused { .. }))
        };
        assert!(hub.take().iter().any(refused), "{offered:?}");
        hub.handle(Input::Disconnected(Disconnection::Requested));
        assert_eq!(hub.will().topic, "hub/hub/presence", "{offered:?}");
    }
}

#[test]
fn a_hub_that_requires_response_information_does_not_run_without() {
    let mut config = config();
    config.require_response_information = true;
    let mut hub = TestHub::new(config, Memory::default());
    hub.connect(connack(None, false));
    hub.handle(Input::Disconnected(Disconnection::Requested));
    let stopped = Output::Stopped(Err(Fatal::ResponseInformationRequired { error: None }));
    assert!(hub.take().contains(&stopped));
}

#[test]
fn a_refused_will_makes_the_hub_learn_the_prefix_anew() {
    let memory = TestHub::online().memory;
    let mut hub = TestHub::new(config(), memory);
    hub.take();
    hub.handle(Input::Disconnected(refused(0x87)));
    hub.advance(Duration::from_secs(60));
    assert!(hub.take().contains(&Output::Connect { will: None }));
}

#[test]
fn attempts_that_reach_no_broker_use_one_generation() {
    let mut hub = TestHub::online();
    hub.handle(Input::Disconnected(Disconnection::Lost { error: "cut".into() }));
    for _ in 0..20 {
        hub.advance(Duration::from_secs(60));
        hub.handle(Input::Disconnected(Disconnection::Unreachable { error: "no route".into() }));
    }
    assert_eq!(hub.memory.open.len(), 2);
}

#[test]
fn an_attempt_whose_connack_is_lost_keeps_its_generation_to_itself_and_is_no_absence() {
    let mut hub = TestHub::online();
    hub.handle(Input::Disconnected(Disconnection::Lost { error: "cut".into() }));
    for _ in 0..2 {
        hub.advance(Duration::from_secs(60));
        hub.handle(Input::Disconnected(Disconnection::Lost { error: "no CONNACK".into() }));
    }
    hub.advance(Duration::from_secs(60));
    let generations: BTreeSet<_> = hub.memory.open.iter().map(|will| will.generation).collect();
    assert_eq!(generations.len(), 4);
    let first = hub.memory.open[0].generation;
    hub.go_online(true);
    let told: Vec<_> = hub.absences().iter().map(|absence| absence.generation).collect();
    assert_eq!(told, [first], "only this one was ever connected");
}

#[test]
fn hubs_that_lose_one_node_come_back_at_different_times() {
    let pause = |spread: Duration| {
        let config = HubConfig { reconnect_spread: spread, ..config() };
        let mut hub = TestHub::new(config, TestHub::online().memory);
        hub.go_online(true);
        hub.take();
        hub.handle(Input::Disconnected(Disconnection::Lost { error: "reset".into() }));
        let outputs = hub.take();
        let Some(Output::Notice(Notice::Offline { retry_in, .. })) = outputs.last() else {
            panic!("{outputs:?}")
        };
        *retry_in
    };
    let pauses = |spread: Duration| (0..64).map(|_| pause(spread)).collect::<BTreeSet<_>>();
    let at_once = pauses(Duration::ZERO);
    assert!(at_once.iter().all(|pause| *pause <= Duration::from_millis(250)), "{at_once:?}");
    let spread = pauses(Duration::from_secs(600));
    let (first, last) = (spread.first().unwrap(), spread.last().unwrap());
    assert!(*last - *first > Duration::from_secs(30), "{first:?} to {last:?}");
    assert!(*last <= Duration::from_secs(601), "{last:?}");
}

#[test]
fn a_takeover_is_not_fought() {
    let mut hub = TestHub::online();
    let reason_string = None;
    hub.handle(Input::Disconnected(Disconnection::ByBroker {
        reason_code: 0x8E,
        reason_string,
        server_reference: None,
    }));
    let outputs = hub.take();
    let Some(Output::Notice(Notice::Offline { retry_in, .. })) = outputs.last() else {
        panic!("{outputs:?}")
    };
    assert!(*retry_in >= Duration::from_secs(30));
}

#[test]
fn shutdown_says_offline_and_disconnects_after_the_broker_has_it() {
    let mut hub = TestHub::online();
    hub.handle(Input::Shutdown);
    let farewell = hub.published().pop().unwrap();
    assert_eq!(&farewell.payload[..], b"offline");
    assert_eq!(farewell.response_topic, None);
    assert!(!hub.outputs.contains(&Output::Disconnect));
    hub.accept_all();
    assert!(hub.outputs.contains(&Output::Disconnect));
    hub.handle(Input::Disconnected(Disconnection::Requested));
    assert!(hub.memory.open[0].clean);
    assert_eq!(hub.take().last(), Some(&Output::Stopped(Ok(()))));
}

#[test]
fn shutdown_waits_for_the_answers_in_flight() {
    let mut hub = TestHub::online();
    hub.receive(crate::test_hub::request("ON", b"1"));
    let request = hub.executed().remove(0);
    hub.handle(Input::Shutdown);
    assert!(hub.published().is_empty());
    hub.answer(&request, hearthd_core::Answer::text("ON"));
    hub.accept_all();
    let published = hub.published();
    assert_eq!(published.len(), 2);
    assert_eq!(&published[1].payload[..], b"offline");
}

#[test]
fn online_comes_after_the_fence_or_when_it_is_given_up() {
    let says_online = |hub: &TestHub| hub.published().iter().any(|m| m.payload[..] == *b"online");
    let mut hub = TestHub::online().restarted(true);
    assert!(!says_online(&hub));
    hub.fence();
    assert!(says_online(&hub));
    let mut hub = TestHub::online().restarted(true);
    hub.advance(Duration::from_secs(10));
    hub.accept_all();
    assert!(says_online(&hub));
}

#[test]
fn another_client_with_the_hubs_client_id_is_told_from_a_stranger_who_plays_the_hub() {
    let mut hub = TestHub::online();
    hub.receive(hub.online.clone().unwrap());
    let namesake = hearthd_core::Message {
        correlation_data: Some(b"aaaaaaaaaaaaaaaa"[..].into()),
        ..hub.online.clone().unwrap()
    };
    let told = |hub: &TestHub| hub.outputs.contains(&Output::Notice(Notice::ClientIdShared));
    hub.receive(namesake.clone());
    assert!(!told(&hub), "the connection lives");
    hub.handle(Input::Disconnected(Disconnection::Lost { error: "closed".into() }));
    hub.advance(Duration::from_secs(60));
    hub.go_online_unfenced(true);
    hub.receive(namesake);
    assert!(told(&hub));
}
