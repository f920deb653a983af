//! What became of the will: every outcome, and what it takes.

use std::time::Duration;

use hearthd_core::{
    Change, Disconnection, HubConfig, Input, Message, Outcome, Output, Published, QoS,
};

use crate::test_hub::{TestHub, config, connack};

/// The will as the broker publishes it, with RETAIN as published.
fn fired(hub: &TestHub) -> Message {
    let generation = hub.generation();
    Message {
        topic: "alice/hub/hub/presence".into(),
        payload: "offline".into(),
        qos: QoS::AtLeastOnce,
        retain: true,
        response_topic: Some("alice/response/hub/will".into()),
        correlation_data: Some(generation.0.to_vec().into()),
        ..Message::default()
    }
}

fn acknowledgement(will: &Message, responder: &str) -> Message {
    Message {
        topic: "alice/response/hub/will".into(),
        payload: "boiler off".into(),
        qos: QoS::AtLeastOnce,
        correlation_data: will.correlation_data.clone(),
        user_properties: vec![("client_id".into(), responder.into())],
        ..Message::default()
    }
}

fn decide(hub: &mut TestHub) -> Vec<Outcome> {
    hub.fence();
    hub.settle();
    hub.absences().iter().map(|absence| absence.outcome).collect()
}

#[test]
fn an_acknowledged_will_is_consumed() {
    let before = TestHub::online();
    let will = fired(&before);
    let mut hub = before.restarted(true);
    hub.receive(will.clone());
    hub.receive(acknowledgement(&will, "guardian"));
    hub.receive(acknowledgement(&will, "neighbour"));
    assert_eq!(decide(&mut hub), [Outcome::Consumed]);
    let absence = hub.absences().remove(0);
    assert_eq!(absence.generation, before.generation());
    let responders: Vec<_> =
        absence.acknowledgements.iter().map(|a| a.responder.as_deref().unwrap()).collect();
    assert_eq!(responders, ["guardian", "neighbour"]);
    assert!(absence.acknowledgements[0].before_fence);
    hub.accept_all();
    let published = hub.published().into_iter().find(|m| m.topic == "alice/hub/hub/absence");
    let published = published.expect("the outcome is published");
    assert!(published.retain);
    let facts: serde_json::Value = serde_json::from_slice(&published.payload).unwrap();
    assert_eq!(facts, absence.facts());
}

#[test]
fn an_acknowledgement_counts_without_a_copy_of_the_will() {
    let before = TestHub::online();
    let will = fired(&before);
    let mut hub = before.restarted(false);
    hub.receive(acknowledgement(&will, "guardian"));
    assert_eq!(decide(&mut hub), [Outcome::Consumed]);
}

#[test]
fn a_will_that_nobody_acknowledged_is_unconsumed() {
    let before = TestHub::online();
    let mut hub = before.restarted(true);
    hub.receive(fired(&before));
    assert_eq!(decide(&mut hub), [Outcome::Unconsumed]);
}

#[test]
fn what_could_not_be_read_may_have_been_an_acknowledgement() {
    for (topic, outcome) in [
        ("alice/response/hub/will", Outcome::Unknown),
        ("alice/hub/hub/presence", Outcome::Unknown),
        ("", Outcome::Unknown),
        ("alice/cmnd/lamp/power", Outcome::Unconsumed),
    ] {
        let before = TestHub::online();
        let mut hub = before.restarted(true);
        hub.receive(fired(&before));
        hub.handle(Input::Unreadable { topic: topic.into(), error: "malformed".into() });
        assert_eq!(decide(&mut hub), [outcome], "{topic}");
        // Nothing of this connection's own will can have come yet.
        let mut next = hub.restarted(true);
        next.receive(fired(&hub));
        assert_eq!(decide(&mut next), [Outcome::Unconsumed], "{topic}");
    }
}

#[test]
fn the_retained_copy_in_a_fresh_session_proves_that_the_will_was_published_and_no_more() {
    let before = TestHub::online();
    let mut hub = before.restarted(false);
    hub.receive(fired(&before));
    assert_eq!(decide(&mut hub), [Outcome::Unknown]);
    assert_eq!(hub.absences()[0].published, Published::Yes);
}

#[test]
fn a_return_within_the_delay_is_not_published() {
    let mut hub = TestHub::online().restarted(true);
    assert_eq!(decide(&mut hub), [Outcome::NotPublished]);
}

/// The same hub after a restart, whose broker refuses it the subscription to its own presence.
fn unwatched(before: &TestHub) -> TestHub {
    let mut hub = TestHub::with_journal(config(), before.memory.clone(), before.journal.clone());
    hub.handle(Input::Elapsed);
    hub.connect(connack(Some("alice"), true));
    hub.grant_but(|filter| if filter.ends_with("presence") { 0x97 } else { 1 });
    hub.return_to_session();
    hub
}

#[test]
fn a_presence_that_cannot_be_seen_leaves_the_outcome_unknown() {
    let mut hub = unwatched(&TestHub::online());
    assert_eq!(decide(&mut hub), [Outcome::Unknown]);
}

#[test]
fn an_end_in_order_proves_nothing_where_the_will_would_not_come_back() {
    let mut hub = unwatched(&TestHub::online());
    decide(&mut hub);
    hub.accept_all();
    hub.handle(Input::Shutdown);
    hub.accept_all();
    hub.handle(Input::Disconnected(Disconnection::Requested));
    let mut hub = hub.restarted(true);
    assert_eq!(decide(&mut hub), [Outcome::Unknown]);
}

#[test]
fn what_tells_of_a_connection_that_the_store_does_not_hold_leaves_the_outcome_unknown() {
    let before = TestHub::online();
    let mut unstored = before.restarted(true);
    unstored.fence();
    unstored.settle();
    let another = fired(&unstored);
    for evidence in [another.clone(), acknowledgement(&another, "guardian")] {
        let mut hub = before.restarted(true);
        hub.receive(evidence);
        assert_eq!(decide(&mut hub), [Outcome::Unknown]);
    }
}

#[test]
fn what_tells_later_of_a_connection_that_the_store_does_not_hold_takes_back_what_silence_proved() {
    let before = TestHub::online();
    let mut unstored = before.restarted(true);
    unstored.fence();
    unstored.settle();
    let another = fired(&unstored);
    for (seen, decided) in [(true, Outcome::Unconsumed), (false, Outcome::NotPublished)] {
        let mut hub = before.restarted(true);
        if seen {
            hub.receive(fired(&before));
        }
        assert_eq!(decide(&mut hub), [decided]);
        hub.take();
        hub.receive(another.clone());
        let absences = hub.absences();
        assert_eq!(absences[0].outcome, Outcome::Unknown);
        let published = if seen { Published::Yes } else { Published::NotKnown };
        assert_eq!(absences[0].published, published);
        hub.receive(acknowledgement(&fired(&before), "guardian"));
        assert_eq!(hub.absences().last().unwrap().outcome, Outcome::Consumed);
    }
}

#[test]
fn an_outcome_that_is_taken_back_is_stored_also_where_an_end_in_order_had_decided_it() {
    let mut ended = TestHub::online();
    ended.accept_all();
    ended.handle(Input::Shutdown);
    ended.accept_all();
    ended.handle(Input::Disconnected(Disconnection::Requested));
    let unstored = ended.restarted(true);
    let mut hub = ended.restarted(true);
    hub.advance(Duration::from_secs(60));
    assert_eq!(hub.absences()[0].outcome, Outcome::NotPublished, "the fence was given up");
    hub.receive(fired(&unstored));
    assert_eq!(hub.absences().last().unwrap().outcome, Outcome::Unknown);
    assert_eq!(hub.memory.decided[0].outcome, Outcome::Unknown);
}

#[test]
fn an_old_message_that_somebody_replays_takes_no_outcome_back() {
    let before = TestHub::online();
    let mut unstored = before.restarted(true);
    unstored.fence();
    unstored.settle();
    let mut hub = before.restarted(true);
    hub.receive(fired(&before));
    assert_eq!(decide(&mut hub), [Outcome::Unconsumed]);
    hub.take();
    hub.advance(Duration::from_secs(600));
    hub.receive(fired(&unstored));
    hub.receive(unstored.online.clone().expect("the hub was online"));
    assert!(hub.absences().is_empty());
    assert_eq!(hub.memory.decided[0].outcome, Outcome::Unconsumed);
}

#[test]
fn silence_is_evidence_only_on_a_connection_that_lives_at_the_end_of_it() {
    for (acknowledged, returns, outcome) in [
        (false, true, Outcome::Unconsumed),
        (true, true, Outcome::Consumed),
        (false, false, Outcome::Unknown),
    ] {
        let before = TestHub::online();
        let mut hub = before.restarted(true);
        hub.receive(fired(&before));
        hub.fence();
        hub.advance(Duration::from_millis(300));
        assert!(hub.absences().is_empty(), "the connection may have been dead meanwhile");
        if acknowledged {
            hub.receive(acknowledgement(&fired(&before), "guardian"));
        }
        if returns {
            hub.fence();
        } else {
            hub.advance(Duration::from_secs(60));
        }
        assert_eq!(hub.absences()[0].outcome, outcome);
    }
}

#[test]
fn a_lost_session_leaves_the_outcome_unknown() {
    let mut hub = TestHub::online().restarted(false);
    assert_eq!(decide(&mut hub), [Outcome::Unknown]);
}

#[test]
fn a_retained_online_of_a_lost_session_proves_nothing() {
    let before = TestHub::online();
    let online = before.online.clone().expect("the hub is online");
    let mut hub = before.restarted(false);
    hub.receive(online);
    assert_eq!(decide(&mut hub), [Outcome::Unknown]);
}

#[test]
fn a_clean_end_is_not_published() {
    let mut before = TestHub::online();
    before.handle(Input::Shutdown);
    before.accept_all();
    before.handle(Input::Disconnected(Disconnection::Requested));
    let mut hub = before.restarted(false);
    assert_eq!(decide(&mut hub), [Outcome::NotPublished]);
    assert!(hub.absences()[0].clean);
}

#[test]
fn a_clean_end_does_not_hide_a_will_that_was_seen() {
    let mut before = TestHub::online();
    let will = fired(&before);
    before.handle(Input::Shutdown);
    before.accept_all();
    before.handle(Input::Disconnected(Disconnection::Requested));
    let mut hub = before.restarted(true);
    hub.receive(will);
    assert_eq!(decide(&mut hub), [Outcome::Unconsumed]);
}

#[test]
fn without_the_fence_nothing_is_concluded_from_silence() {
    let mut hub = TestHub::online().restarted(true);
    hub.advance(Duration::from_secs(10));
    assert_eq!(hub.absences()[0].outcome, Outcome::Unknown);
}

#[test]
fn late_evidence_upgrades_the_outcome() {
    let before = TestHub::online();
    let will = fired(&before);
    let mut hub = before.restarted(true);
    assert_eq!(decide(&mut hub), [Outcome::NotPublished]);
    hub.take();
    hub.receive(will.clone());
    assert_eq!(hub.absences()[0].outcome, Outcome::Unconsumed);
    hub.take();
    hub.receive(acknowledgement(&will, "guardian"));
    let absence = hub.absences().remove(0);
    assert_eq!(absence.outcome, Outcome::Consumed);
    assert!(!absence.acknowledgements[0].before_fence);
    assert_eq!(hub.memory.decided[0], absence);
}

#[test]
fn each_unclean_generation_keeps_its_own_outcome() {
    let first = TestHub::online();
    let first_will = fired(&first);
    let mut second = first.restarted(true);
    second.store_works = true;
    let second_will = fired(&second);
    let mut hub = second.restarted(true);
    hub.receive(first_will.clone());
    hub.receive(acknowledgement(&second_will, "guardian"));
    assert_eq!(decide(&mut hub), [Outcome::Unknown, Outcome::Consumed]);
    assert_eq!(hub.absences()[0].published, Published::Yes);
}

#[test]
fn evidence_is_stored_before_it_is_acknowledged() {
    let before = TestHub::online();
    let will = fired(&before);
    let mut hub = before.restarted(true);
    hub.store_works = false;
    let delivery = hub.receive(acknowledgement(&will, "guardian"));
    assert!(!hub.acknowledged().contains(&delivery));
    let Some(Output::Store { revision, change: Change::Memory(memory) }) =
        hub.outputs.iter().rev().find(|output| matches!(output, Output::Store { .. })).cloned()
    else {
        panic!("the evidence is stored")
    };
    assert_eq!(memory.open[0].acknowledgements.len(), 1);
    hub.handle(Input::Stored { revision });
    assert!(hub.acknowledged().contains(&delivery));
}

#[test]
fn evidence_that_was_taken_without_the_store_leaves_the_outcome_unknown_after_a_crash() {
    for farewell in [false, true] {
        let mut before = TestHub::online();
        let will = fired(&before);
        before.store_fails = true;
        before.handle(Input::Disconnected(Disconnection::Lost { error: "cut".into() }));
        before.advance(Duration::from_secs(1));
        before.take();
        before.go_online_unfenced(true);
        let taken = before.receive(will);
        before.fence();
        before.settle();
        before.accept_all();
        assert!(before.acknowledged().contains(&taken));
        if farewell {
            before.handle(Input::Shutdown);
        }
        let presence = before.published().into_iter().rev();
        let retained = presence.clone().find(|m| m.topic == "alice/hub/hub/presence").unwrap();
        assert_eq!(retained.payload, if farewell { "offline" } else { "online" });
        let mut hub = before.restarted(true);
        hub.receive(retained);
        assert_eq!(decide(&mut hub), [Outcome::Unknown]);
    }
}

#[test]
fn evidence_that_the_store_cannot_take_stays_with_the_broker_until_that_has_online() {
    let before = TestHub::online();
    let will = fired(&before);
    for works_again in [false, true] {
        let mut hub = before.restarted(true);
        hub.store_fails = true;
        let taken = hub.receive(acknowledgement(&will, "guardian"));
        assert!(!hub.acknowledged().contains(&taken), "nothing is left of this connection then");
        if works_again {
            hub.store_fails = false;
            hub.receive(acknowledgement(&will, "another guardian"));
        } else {
            hub.fence();
            assert!(!hub.acknowledged().contains(&taken), "`online` is still on its way");
            hub.accept_all();
        }
        assert!(hub.acknowledged().contains(&taken));
    }
}

#[test]
fn an_online_that_is_too_large_for_the_broker_releases_no_evidence() {
    let before = TestHub::online();
    let will = fired(&before);
    let (memory, journal) = (before.memory.clone(), before.journal.clone());
    let mut hub =
        TestHub::with_kept(crate::test_hub::config(), memory, journal, before.served.clone());
    let small = Some(150);
    hub.connect(hearthd_core::Connack {
        maximum_packet_size: small,
        ..connack(Some("alice"), true)
    });
    hub.grant();
    hub.return_to_session();
    hub.store_fails = true;
    let taken = hub.receive(acknowledgement(&will, "guardian"));
    hub.fence();
    hub.accept_all();
    assert!(!hub.published().iter().any(|message| &message.payload[..] == b"online"));
    assert!(!hub.acknowledged().contains(&taken), "the next life would know of nothing");
    hub.store_fails = false;
    hub.receive(acknowledgement(&will, "another guardian"));
    assert!(hub.acknowledged().contains(&taken));
}

#[test]
fn an_offline_that_replaces_the_hubs_online_is_replaced_in_turn() {
    let mut hub = TestHub::online();
    let late_will = fired(&hub);
    hub.receive(hub.online.clone().expect("the hub is online"));
    hub.receive(late_will);
    hub.advance(Duration::from_secs(1));
    let restored = hub.published().pop().expect("the hub speaks up");
    assert_eq!(&restored.payload[..], b"online");
}

#[test]
fn acknowledgements_under_the_old_prefix_still_count() {
    let before = TestHub::online();
    let will = fired(&before);
    let mut hub = TestHub::new(config(), before.memory.clone());
    hub.connect(connack(Some("bob"), true));
    hub.handle(Input::Disconnected(Disconnection::Requested));
    hub.go_online_below("bob", true);
    hub.receive(acknowledgement(&will, "guardian"));
    let outcomes = decide(&mut hub);
    assert_eq!(outcomes[0], Outcome::Consumed);
}

#[test]
fn a_session_that_another_client_had_proves_nothing() {
    let mut before = TestHub::online();
    let taken_over =
        Disconnection::ByBroker { reason_code: 0x8E, reason_string: None, server_reference: None };
    before.handle(Input::Disconnected(taken_over));
    let mut hub = before.restarted(true);
    assert_eq!(decide(&mut hub), [Outcome::Unknown]);
}

#[test]
fn what_one_broker_kept_says_nothing_about_a_will_at_another() {
    let before = TestHub::online();
    let mut hub =
        TestHub::new(HubConfig { broker: "another".into(), ..config() }, before.memory.clone());
    assert_eq!(hub.take(), [Output::Connect { will: None }], "the prefix is another broker's");
    hub.connect(connack(Some("alice"), true));
    hub.handle(Input::Disconnected(Disconnection::Requested));
    hub.go_online_unfenced(true);
    assert_eq!(decide(&mut hub), [Outcome::Unknown]);
    assert_eq!(hub.memory.broker.as_deref(), Some("another"));
}

#[test]
fn the_session_leaves_an_old_prefix_once_its_wills_are_decided() {
    let before = TestHub::online();
    let mut hub = TestHub::new(config(), before.memory.clone());
    hub.connect(connack(Some("bob"), true));
    hub.handle(Input::Disconnected(Disconnection::Requested));
    hub.go_online_below("bob", true);
    let left = |hub: &TestHub| {
        hub.outputs.iter().find_map(|output| match output {
            Output::Unsubscribe(filters) => Some(filters.clone()),
            _ => None,
        })
    };
    assert_eq!(left(&hub), None, "acknowledgements may still come under the old prefix");
    decide(&mut hub);
    let filters = left(&hub).expect("UNSUBSCRIBE");
    let expected = [
        "alice/cmnd/+/+",
        "alice/cmnd/blinds/+",
        "alice/cmnd/hub/+",
        "alice/cmnd/lamp/+",
        "alice/hub/hub/presence",
        "alice/response/hub/+",
        "alice/state/blinds/status",
        "alice/state/lamp/status",
    ];
    assert_eq!(filters, expected);
    assert_eq!(hub.memory.past, []);
}

#[test]
fn the_fence_may_take_longer_while_the_broker_still_delivers() {
    let mut hub = TestHub::online().restarted(true);
    for _ in 0..9 {
        hub.advance(Duration::from_secs(6));
        hub.receive(crate::test_hub::request("", b"a backlog"));
        assert!(hub.absences().is_empty());
    }
    hub.advance(Duration::from_secs(6));
    assert_eq!(hub.absences()[0].outcome, Outcome::Unknown, "but not for ever");
}

#[test]
fn a_fence_that_never_comes_does_not_make_every_request_stale() {
    let mut hub = TestHub::online().restarted(true);
    hub.receive(crate::test_hub::request("ON", b"1"));
    assert!(hub.executed().is_empty());
    hub.advance(Duration::from_secs(10));
    hub.receive(crate::test_hub::request("ON", b"2"));
    assert_eq!(hub.executed().len(), 1);
}

#[test]
fn a_session_that_was_made_anew_proves_nothing_whatever_connack_says() {
    let before = TestHub::online();
    let mut hub = TestHub::new(config(), before.memory.clone());
    hub.subscribe("alice", true);
    assert_eq!(decide(&mut hub), [Outcome::Unknown]);
}

#[test]
fn a_connection_that_ended_before_it_knew_its_session_leaves_only_its_own_will_to_conclude_on() {
    let before = TestHub::online();
    let mut between = TestHub::new(config(), before.memory.clone());
    between.subscribe("alice", true);
    let mut hub = between.restarted(true);
    assert_eq!(decide(&mut hub), [Outcome::Unknown, Outcome::NotPublished]);

    let mut again = TestHub::new(config(), between.memory.clone());
    again.subscribe("alice", true);
    let mut hub = again.restarted(true);
    hub.receive(fired(&before));
    hub.receive(fired(&between));
    hub.receive(fired(&again));
    let outcomes = [Outcome::Unknown, Outcome::Unknown, Outcome::Unconsumed];
    assert_eq!(decide(&mut hub), outcomes);
}

#[test]
fn a_session_that_is_lost_while_the_prefix_is_learned_is_lost() {
    let before = TestHub::online();
    let mut hub = TestHub::new(config(), before.memory.clone());
    hub.connect(connack(Some("bob"), false));
    hub.handle(Input::Disconnected(Disconnection::Requested));
    hub.go_online_below("bob", true);
    assert_eq!(decide(&mut hub)[0], Outcome::Unknown);
}

#[test]
fn the_echo_of_the_hubs_own_online_is_no_evidence_later() {
    let mut hub = TestHub::online();
    hub.receive(hub.online.clone().expect("the hub is online"));
    hub.handle(Input::Disconnected(Disconnection::Lost { error: "cut".into() }));
    hub.advance(Duration::from_secs(60));
    hub.go_online_unfenced(false);
    assert_eq!(decide(&mut hub), [Outcome::Unknown]);
}

#[test]
fn a_farewell_whose_disconnect_was_not_written_is_no_clean_end() {
    let mut before = TestHub::online();
    before.handle(Input::Shutdown);
    before.accept_all();
    assert!(before.take().contains(&Output::Disconnect));
    assert!(!before.memory.open[0].clean, "a crash now would make it a lie");
    before.handle(Input::Disconnected(Disconnection::Lost { error: "cut".into() }));
    assert!(before.take().contains(&Output::Stopped(Ok(()))));
    let mut hub = before.restarted(false);
    assert_eq!(decide(&mut hub), [Outcome::Unknown]);
}

#[test]
fn subscribe_waits_until_the_store_holds_what_it_makes_of_the_evidence() {
    for session_present in [true, false] {
        let before = TestHub::online();
        let mut hub = TestHub::new(config(), before.memory.clone());
        hub.store_works = false;
        hub.connect(connack(Some("alice"), session_present));
        let subscribed =
            |hub: &TestHub| hub.outputs.iter().any(|output| matches!(output, Output::Subscribe(_)));
        assert!(!subscribed(&hub));
        hub.store_catches_up();
        assert!(subscribed(&hub));
        assert_eq!(hub.memory.unproven, session_present);
        assert_eq!(hub.memory.open[0].subscribed, session_present);
    }
}

#[test]
fn late_evidence_under_a_prefix_that_was_just_left_still_counts() {
    let before = TestHub::online();
    let will = fired(&before);
    let mut hub = TestHub::new(config(), before.memory.clone());
    hub.connect(connack(Some("bob"), true));
    hub.handle(Input::Disconnected(Disconnection::Requested));
    hub.go_online_below("bob", true);
    decide(&mut hub);
    hub.take();
    hub.receive(acknowledgement(&will, "guardian"));
    assert_eq!(hub.absences()[0].outcome, Outcome::Consumed);
}

/// The hub's next life, after an end in order.
fn after_a_clean_end(mut before: TestHub) -> TestHub {
    before.handle(Input::Shutdown);
    before.accept_all();
    before.handle(Input::Disconnected(Disconnection::Requested));
    before.restarted(true)
}

#[test]
fn the_generation_is_text_that_a_shell_can_echo_and_is_seen_nowhere_but_in_the_will() {
    let mut hub = TestHub::online().restarted(true);
    hub.fence();
    hub.accept_all();
    let generation = hub.generation().0;
    assert!(generation.iter().all(|byte| matches!(byte, b'a'..=b'z' | b'2'..=b'7')));
    assert_eq!(hub.will().correlation_data.as_deref(), Some(&generation[..]));
    for message in hub.published() {
        assert_ne!(message.correlation_data.as_deref(), Some(&generation[..]), "{message:?}");
    }
}

#[test]
fn what_is_told_of_an_absence_does_not_let_anybody_acknowledge_the_will() {
    let before = TestHub::online();
    let will = fired(&before);
    let mut hub = after_a_clean_end(before);
    assert_eq!(decide(&mut hub), [Outcome::NotPublished]);
    let generation = String::from_utf8(will.correlation_data.clone().unwrap().to_vec()).unwrap();
    let told = hub.published().into_iter().find(|m| m.topic.ends_with("/absence")).unwrap();
    let told: serde_json::Value = serde_json::from_slice(&told.payload).unwrap();
    assert_eq!(told["generation"], generation[..8]);
    hub.accept_all();
    let ask =
        Message { topic: "alice/cmnd/hub/absences".into(), ..crate::test_hub::request("", b"1") };
    hub.receive(ask);
    let answer =
        hub.published().into_iter().find(|m| m.topic == "alice/response/phone/lamp").unwrap();
    assert!(!String::from_utf8_lossy(&answer.payload).contains(&generation), "{answer:?}");
    hub.take();
    let name = told["generation"].as_str().unwrap().to_owned();
    let forged =
        Message { correlation_data: Some(name.into()), ..acknowledgement(&will, "reader") };
    hub.receive(forged);
    assert!(hub.absences().is_empty());
}

#[test]
fn what_is_said_of_a_will_while_its_connection_lives_counts_for_nothing() {
    let mut before = TestHub::online();
    let will = fired(&before);
    before.receive(acknowledgement(&will, "stranger"));
    before.receive(will.clone());
    let memory = before.memory.open.last().unwrap();
    assert!(memory.acknowledgements.is_empty() && !memory.seen);
    let mut hub = after_a_clean_end(before);
    assert_eq!(decide(&mut hub), [Outcome::NotPublished]);
    assert_eq!(hub.absences()[0].published, Published::No);
}

#[test]
fn whoever_has_seen_all_that_the_hub_publishes_can_neither_forge_its_will_nor_acknowledge_it() {
    let mut before = TestHub::online();
    let online = before.online.clone().unwrap();
    before = before.restarted(true);
    before.fence();
    before.accept_all();
    let mut seen: Vec<_> =
        before.published().into_iter().filter_map(|message| message.correlation_data).collect();
    seen.extend(online.correlation_data);
    seen.push(vec![0; 16].into());
    let mut hub = after_a_clean_end(before);
    for data in seen {
        let forged = Message {
            topic: "alice/hub/hub/presence".into(),
            payload: "offline".into(),
            qos: QoS::AtLeastOnce,
            retain: true,
            correlation_data: Some(data),
            ..Message::default()
        };
        hub.receive(acknowledgement(&forged, "stranger"));
        hub.receive(forged);
    }
    assert!(!decide(&mut hub).contains(&Outcome::Consumed));
    assert!(!hub.absences().iter().any(|absence| absence.published == Published::Yes));
}

#[test]
fn an_offline_without_correlation_data_changes_nothing() {
    let before = TestHub::online();
    let anonymous = Message { correlation_data: None, response_topic: None, ..fired(&before) };
    let mut hub = before.restarted(true);
    hub.receive(anonymous);
    assert_eq!(decide(&mut hub), [Outcome::NotPublished]);
}

#[test]
fn unconsumed_needs_a_session_that_would_have_kept_an_acknowledgement() {
    let before = TestHub::online();
    let will = fired(&before);
    // The probe does not come back: the session is not the one of before.
    let mut hub = TestHub::new(config(), before.memory.clone());
    hub.subscribe("alice", true);
    hub.receive(will.clone());
    assert_eq!(decide(&mut hub), [Outcome::Unknown]);
    assert_eq!(hub.absences()[0].published, Published::Yes);
    // It does, and the broker grants no more than QoS 0 to what would tell.
    let mut hub = TestHub::new(config(), before.memory.clone());
    hub.connect(connack(Some("alice"), true));
    hub.grant_but(|filter| u8::from(!filter.contains("/response/hub/")));
    hub.return_to_session();
    hub.receive(will.clone());
    assert_eq!(decide(&mut hub), [Outcome::Unknown]);
    // All is as it should be.
    let mut hub = before.restarted(true);
    hub.receive(will);
    assert_eq!(decide(&mut hub), [Outcome::Unconsumed]);
}

#[test]
fn a_subscription_that_was_granted_at_qos_0_proves_nothing_later() {
    let mut before = TestHub::new(config(), TestHub::online().memory);
    before.connect(connack(Some("alice"), true));
    before.grant_but(|filter| u8::from(!filter.contains("/response/hub/")));
    before.return_to_session();
    before.fence();
    before.settle();
    before.accept_all();
    let will = fired(&before);
    let mut hub = before.restarted(true);
    hub.receive(will);
    assert_eq!(decide(&mut hub).last(), Some(&Outcome::Unknown));
}

#[test]
fn junk_does_not_crowd_the_real_answer_out() {
    let before = TestHub::online();
    let will = fired(&before);
    let mut hub = before.restarted(true);
    for n in 0..20 {
        let junk = Message {
            payload: format!("{n}{}", "x".repeat(60_000)).into(),
            ..acknowledgement(&will, &format!("junk-{n}-{}", "y".repeat(1000)))
        };
        hub.receive(junk);
    }
    hub.receive(acknowledgement(&will, "guardian"));
    hub.receive(acknowledgement(&will, "guardian"));
    assert_eq!(decide(&mut hub), [Outcome::Consumed]);
    let absence = hub.absences().remove(0);
    let real =
        absence.acknowledgements.iter().filter(|a| a.responder.as_deref() == Some("guardian"));
    assert_eq!(real.count(), 1);
    assert!(absence.left_out > 0);
    assert!(serde_json::to_vec(&absence).unwrap().len() < 4096);
}

#[test]
fn one_responder_has_no_more_than_its_share() {
    let before = TestHub::online();
    let will = fired(&before);
    let mut hub = before.restarted(true);
    for n in 0..20 {
        let payload = format!("{n}").into();
        hub.receive(Message { payload, ..acknowledgement(&will, "chatty") });
    }
    decide(&mut hub);
    assert_eq!(hub.absences()[0].acknowledgements.len(), 2);
}

#[test]
fn the_account_that_the_broker_vouches_for_goes_before_what_an_answer_says_of_itself() {
    for vouches in [true, false] {
        let before = TestHub::online();
        let mut answer = acknowledgement(&fired(&before), "the fire brigade");
        answer.user_properties.push((hearthd_core::SENDER_ACCOUNT.into(), "phone".into()));
        let mut hub = TestHub::new(config(), before.memory.clone());
        hub.connect(hearthd_core::Connack { vouches, ..connack(Some("alice"), true) });
        hub.grant();
        hub.receive(answer);
        let answer = hub.memory.open[0].acknowledgements[0].clone();
        let expected = if vouches { "phone" } else { "the fire brigade" };
        assert_eq!((answer.responder.as_deref(), answer.vouched), (Some(expected), vouches));
    }
}

#[test]
fn whatever_takes_the_place_of_online_is_replaced_once_a_second_at_most() {
    let mut hub = TestHub::online();
    hub.receive(hub.online.clone().unwrap());
    hub.advance(Duration::from_secs(1));
    hub.take();
    for payload in ["offline", "", "nonsense", "online"] {
        for _ in 0..50 {
            hub.receive(Message {
                topic: "alice/hub/hub/presence".into(),
                payload: payload.into(),
                retain: true,
                qos: QoS::AtLeastOnce,
                ..Message::default()
            });
        }
        assert_eq!(hub.published().len(), 1, "{payload:?}");
        hub.advance(Duration::from_secs(5));
        assert_eq!(hub.published().len(), 1, "one is under way");
        hub.accept_all();
        hub.advance(Duration::from_secs(1));
        hub.accept_all();
        hub.take();
    }
}

#[test]
fn one_real_crash_outlives_many_ends_in_order() {
    let before = TestHub::online();
    let will = fired(&before);
    let mut hub = before.restarted(true);
    hub.receive(will.clone());
    hub.receive(acknowledgement(&will, "guardian"));
    decide(&mut hub);
    hub.accept_all();
    for _ in 0..12 {
        hub = after_a_clean_end(hub);
        decide(&mut hub);
        hub.accept_all();
    }
    let outcomes: Vec<_> = hub.memory.decided.iter().map(|absence| absence.outcome).collect();
    assert_eq!((outcomes.len(), outcomes[0]), (8, Outcome::Consumed), "{outcomes:?}");
}

#[test]
fn an_online_with_the_hubs_own_token_and_other_words_is_replaced_as_well() {
    let mut hub = TestHub::online();
    let online = hub.online.clone().unwrap();
    hub.receive(online.clone());
    hub.advance(Duration::from_secs(1));
    let words = Message { payload: "{}".into(), ..online.clone() };
    let nameless = Message { user_properties: Vec::new(), ..online };
    for forged in [words, nameless] {
        hub.take();
        hub.receive(forged);
        assert_eq!(hub.published().len(), 1);
        hub.accept_all();
        hub.advance(Duration::from_secs(2));
    }
}

#[test]
fn what_silence_proved_a_moment_ago_is_not_forgotten_before_what_is_settled() {
    let mut hub = TestHub::online();
    for _ in 0..8 {
        let will = fired(&hub);
        hub = hub.restarted(true);
        hub.receive(will);
        decide(&mut hub);
        hub.accept_all();
    }
    let reconnect = |hub: &mut TestHub| {
        let will = fired(hub);
        hub.handle(Input::Disconnected(Disconnection::Lost { error: "reset".into() }));
        hub.advance(Duration::from_secs(2));
        hub.go_online_unfenced(true);
        assert_eq!(decide(hub).last(), Some(&Outcome::NotPublished));
        hub.accept_all();
        will
    };
    let first = reconnect(&mut hub);
    reconnect(&mut hub);
    hub.take();
    hub.receive(first);
    let told = hub.absences();
    assert_eq!(told.len(), 1, "a copy that comes late corrects what was said");
    assert_eq!((told[0].outcome, told[0].published), (Outcome::Unconsumed, Published::Yes));
}
