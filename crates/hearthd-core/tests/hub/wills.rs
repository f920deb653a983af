//! What became of the will: every outcome, and what it takes.

use std::time::Duration;

use hearthd_core::{
    Change, Disconnection, HubConfig, Input, Message, Outcome, Output, Published, QoS,
};

use crate::rig::{Rig, config, connack};

/// The will as the broker publishes it, with RETAIN as published.
fn fired(rig: &Rig) -> Message {
    let generation = rig.generation();
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

fn decide(rig: &mut Rig) -> Vec<Outcome> {
    rig.fence();
    rig.settle();
    rig.absences().iter().map(|absence| absence.outcome).collect()
}

#[test]
fn an_acknowledged_will_is_consumed() {
    let before = Rig::online();
    let will = fired(&before);
    let mut rig = before.restarted(true);
    rig.receive(will.clone());
    rig.receive(acknowledgement(&will, "guardian"));
    rig.receive(acknowledgement(&will, "neighbour"));
    assert_eq!(decide(&mut rig), [Outcome::Consumed]);
    let absence = rig.absences().remove(0);
    assert_eq!(absence.generation, before.generation());
    let responders: Vec<_> =
        absence.acknowledgements.iter().map(|a| a.responder.as_deref().unwrap()).collect();
    assert_eq!(responders, ["guardian", "neighbour"]);
    assert!(absence.acknowledgements[0].before_fence);
    rig.accept_all();
    let published = rig.published().into_iter().find(|m| m.topic == "alice/hub/hub/absence");
    let published = published.expect("the outcome is published");
    assert!(published.retain);
    let facts: serde_json::Value = serde_json::from_slice(&published.payload).unwrap();
    assert_eq!(facts, absence.facts());
}

#[test]
fn an_acknowledgement_counts_without_a_copy_of_the_will() {
    let before = Rig::online();
    let will = fired(&before);
    let mut rig = before.restarted(false);
    rig.receive(acknowledgement(&will, "guardian"));
    assert_eq!(decide(&mut rig), [Outcome::Consumed]);
}

#[test]
fn a_will_that_nobody_acknowledged_is_unconsumed() {
    let before = Rig::online();
    let mut rig = before.restarted(true);
    rig.receive(fired(&before));
    assert_eq!(decide(&mut rig), [Outcome::Unconsumed]);
}

#[test]
fn what_could_not_be_read_may_have_been_an_acknowledgement() {
    for (topic, outcome) in [
        ("alice/response/hub/will", Outcome::Unknown),
        ("alice/hub/hub/presence", Outcome::Unknown),
        ("", Outcome::Unknown),
        ("alice/cmnd/lamp/power", Outcome::Unconsumed),
    ] {
        let before = Rig::online();
        let mut rig = before.restarted(true);
        rig.receive(fired(&before));
        rig.handle(Input::Unreadable { topic: topic.into(), error: "malformed".into() });
        assert_eq!(decide(&mut rig), [outcome], "{topic}");
        // Nothing of this connection's own will can have come yet.
        let mut next = rig.restarted(true);
        next.receive(fired(&rig));
        assert_eq!(decide(&mut next), [Outcome::Unconsumed], "{topic}");
    }
}

#[test]
fn the_retained_copy_in_a_fresh_session_proves_that_the_will_was_published_and_no_more() {
    let before = Rig::online();
    let mut rig = before.restarted(false);
    rig.receive(fired(&before));
    assert_eq!(decide(&mut rig), [Outcome::Unknown]);
    assert_eq!(rig.absences()[0].published, Published::Yes);
}

#[test]
fn a_return_within_the_delay_is_not_published() {
    let mut rig = Rig::online().restarted(true);
    assert_eq!(decide(&mut rig), [Outcome::NotPublished]);
}

/// The same hub after a restart, whose broker refuses it the subscription to its own presence.
fn unwatched(before: &Rig) -> Rig {
    let mut rig = Rig::with_journal(config(), before.memory.clone(), before.journal.clone());
    rig.handle(Input::Elapsed);
    rig.connect(connack(Some("alice"), true));
    rig.grant_but(|filter| if filter.ends_with("presence") { 0x97 } else { 1 });
    rig.return_to_session();
    rig
}

#[test]
fn a_presence_that_cannot_be_seen_leaves_the_outcome_unknown() {
    let mut rig = unwatched(&Rig::online());
    assert_eq!(decide(&mut rig), [Outcome::Unknown]);
}

#[test]
fn an_end_in_order_proves_nothing_where_the_will_would_not_come_back() {
    let mut rig = unwatched(&Rig::online());
    decide(&mut rig);
    rig.accept_all();
    rig.handle(Input::Shutdown);
    rig.accept_all();
    rig.handle(Input::Disconnected(Disconnection::Requested));
    let mut rig = rig.restarted(true);
    assert_eq!(decide(&mut rig), [Outcome::Unknown]);
}

#[test]
fn what_tells_of_a_connection_that_the_store_does_not_hold_leaves_the_outcome_unknown() {
    let before = Rig::online();
    let mut unstored = before.restarted(true);
    unstored.fence();
    unstored.settle();
    let another = fired(&unstored);
    for evidence in [another.clone(), acknowledgement(&another, "guardian")] {
        let mut rig = before.restarted(true);
        rig.receive(evidence);
        assert_eq!(decide(&mut rig), [Outcome::Unknown]);
    }
}

#[test]
fn what_tells_later_of_a_connection_that_the_store_does_not_hold_takes_back_what_silence_proved() {
    let before = Rig::online();
    let mut unstored = before.restarted(true);
    unstored.fence();
    unstored.settle();
    let another = fired(&unstored);
    for (seen, decided) in [(true, Outcome::Unconsumed), (false, Outcome::NotPublished)] {
        let mut rig = before.restarted(true);
        if seen {
            rig.receive(fired(&before));
        }
        assert_eq!(decide(&mut rig), [decided]);
        rig.take();
        rig.receive(another.clone());
        let absences = rig.absences();
        assert_eq!(absences[0].outcome, Outcome::Unknown);
        let published = if seen { Published::Yes } else { Published::NotKnown };
        assert_eq!(absences[0].published, published);
        rig.receive(acknowledgement(&fired(&before), "guardian"));
        assert_eq!(rig.absences().last().unwrap().outcome, Outcome::Consumed);
    }
}

#[test]
fn an_outcome_that_is_taken_back_is_stored_also_where_an_end_in_order_had_decided_it() {
    let mut ended = Rig::online();
    ended.accept_all();
    ended.handle(Input::Shutdown);
    ended.accept_all();
    ended.handle(Input::Disconnected(Disconnection::Requested));
    let unstored = ended.restarted(true);
    let mut rig = ended.restarted(true);
    rig.advance(Duration::from_secs(60));
    assert_eq!(rig.absences()[0].outcome, Outcome::NotPublished, "the fence was given up");
    rig.receive(fired(&unstored));
    assert_eq!(rig.absences().last().unwrap().outcome, Outcome::Unknown);
    assert_eq!(rig.memory.decided[0].outcome, Outcome::Unknown);
}

#[test]
fn an_old_message_that_somebody_replays_takes_no_outcome_back() {
    let before = Rig::online();
    let mut unstored = before.restarted(true);
    unstored.fence();
    unstored.settle();
    let mut rig = before.restarted(true);
    rig.receive(fired(&before));
    assert_eq!(decide(&mut rig), [Outcome::Unconsumed]);
    rig.take();
    rig.advance(Duration::from_secs(600));
    rig.receive(fired(&unstored));
    rig.receive(unstored.online.clone().expect("the hub was online"));
    assert!(rig.absences().is_empty());
    assert_eq!(rig.memory.decided[0].outcome, Outcome::Unconsumed);
}

#[test]
fn silence_is_evidence_only_on_a_connection_that_lives_at_the_end_of_it() {
    for (acknowledged, returns, outcome) in [
        (false, true, Outcome::Unconsumed),
        (true, true, Outcome::Consumed),
        (false, false, Outcome::Unknown),
    ] {
        let before = Rig::online();
        let mut rig = before.restarted(true);
        rig.receive(fired(&before));
        rig.fence();
        rig.advance(Duration::from_millis(300));
        assert!(rig.absences().is_empty(), "the connection may have been dead meanwhile");
        if acknowledged {
            rig.receive(acknowledgement(&fired(&before), "guardian"));
        }
        if returns {
            rig.fence();
        } else {
            rig.advance(Duration::from_secs(60));
        }
        assert_eq!(rig.absences()[0].outcome, outcome);
    }
}

#[test]
fn a_lost_session_leaves_the_outcome_unknown() {
    let mut rig = Rig::online().restarted(false);
    assert_eq!(decide(&mut rig), [Outcome::Unknown]);
}

#[test]
fn a_retained_online_of_a_lost_session_proves_nothing() {
    let before = Rig::online();
    let online = before.online.clone().expect("the hub is online");
    let mut rig = before.restarted(false);
    rig.receive(online);
    assert_eq!(decide(&mut rig), [Outcome::Unknown]);
}

#[test]
fn a_clean_end_is_not_published() {
    let mut before = Rig::online();
    before.handle(Input::Shutdown);
    before.accept_all();
    before.handle(Input::Disconnected(Disconnection::Requested));
    let mut rig = before.restarted(false);
    assert_eq!(decide(&mut rig), [Outcome::NotPublished]);
    assert!(rig.absences()[0].clean);
}

#[test]
fn a_clean_end_does_not_hide_a_will_that_was_seen() {
    let mut before = Rig::online();
    let will = fired(&before);
    before.handle(Input::Shutdown);
    before.accept_all();
    before.handle(Input::Disconnected(Disconnection::Requested));
    let mut rig = before.restarted(true);
    rig.receive(will);
    assert_eq!(decide(&mut rig), [Outcome::Unconsumed]);
}

#[test]
fn without_the_fence_nothing_is_concluded_from_silence() {
    let mut rig = Rig::online().restarted(true);
    rig.advance(Duration::from_secs(10));
    assert_eq!(rig.absences()[0].outcome, Outcome::Unknown);
}

#[test]
fn late_evidence_upgrades_the_outcome() {
    let before = Rig::online();
    let will = fired(&before);
    let mut rig = before.restarted(true);
    assert_eq!(decide(&mut rig), [Outcome::NotPublished]);
    rig.take();
    rig.receive(will.clone());
    assert_eq!(rig.absences()[0].outcome, Outcome::Unconsumed);
    rig.take();
    rig.receive(acknowledgement(&will, "guardian"));
    let absence = rig.absences().remove(0);
    assert_eq!(absence.outcome, Outcome::Consumed);
    assert!(!absence.acknowledgements[0].before_fence);
    assert_eq!(rig.memory.decided[0], absence);
}

#[test]
fn each_unclean_generation_keeps_its_own_outcome() {
    let first = Rig::online();
    let first_will = fired(&first);
    let mut second = first.restarted(true);
    second.store_works = true;
    let second_will = fired(&second);
    let mut rig = second.restarted(true);
    rig.receive(first_will.clone());
    rig.receive(acknowledgement(&second_will, "guardian"));
    assert_eq!(decide(&mut rig), [Outcome::Unknown, Outcome::Consumed]);
    assert_eq!(rig.absences()[0].published, Published::Yes);
}

#[test]
fn evidence_is_stored_before_it_is_acknowledged() {
    let before = Rig::online();
    let will = fired(&before);
    let mut rig = before.restarted(true);
    rig.store_works = false;
    let delivery = rig.receive(acknowledgement(&will, "guardian"));
    assert!(!rig.acknowledged().contains(&delivery));
    let Some(Output::Store { revision, change: Change::Memory(memory) }) =
        rig.outputs.iter().rev().find(|output| matches!(output, Output::Store { .. })).cloned()
    else {
        panic!("the evidence is stored")
    };
    assert_eq!(memory.open[0].acknowledgements.len(), 1);
    rig.handle(Input::Stored { revision });
    assert!(rig.acknowledged().contains(&delivery));
}

#[test]
fn evidence_that_was_taken_without_the_store_leaves_the_outcome_unknown_after_a_crash() {
    for farewell in [false, true] {
        let mut before = Rig::online();
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
        let mut rig = before.restarted(true);
        rig.receive(retained);
        assert_eq!(decide(&mut rig), [Outcome::Unknown]);
    }
}

#[test]
fn evidence_that_the_store_cannot_take_stays_with_the_broker_until_that_has_online() {
    let before = Rig::online();
    let will = fired(&before);
    for works_again in [false, true] {
        let mut rig = before.restarted(true);
        rig.store_fails = true;
        let taken = rig.receive(acknowledgement(&will, "guardian"));
        assert!(!rig.acknowledged().contains(&taken), "nothing is left of this connection then");
        if works_again {
            rig.store_fails = false;
            rig.receive(acknowledgement(&will, "another guardian"));
        } else {
            rig.fence();
            assert!(!rig.acknowledged().contains(&taken), "`online` is still on its way");
            rig.accept_all();
        }
        assert!(rig.acknowledged().contains(&taken));
    }
}

#[test]
fn an_offline_that_replaces_the_hubs_online_is_replaced_in_turn() {
    let mut rig = Rig::online();
    let late_will = fired(&rig);
    rig.receive(rig.online.clone().expect("the hub is online"));
    rig.receive(late_will);
    rig.advance(Duration::from_secs(1));
    let restored = rig.published().pop().expect("the hub speaks up");
    assert_eq!(&restored.payload[..], b"online");
}

#[test]
fn acknowledgements_under_the_old_prefix_still_count() {
    let before = Rig::online();
    let will = fired(&before);
    let mut rig = Rig::new(config(), before.memory.clone());
    rig.connect(connack(Some("bob"), true));
    rig.handle(Input::Disconnected(Disconnection::Requested));
    rig.go_online_below("bob", true);
    rig.receive(acknowledgement(&will, "guardian"));
    let outcomes = decide(&mut rig);
    assert_eq!(outcomes[0], Outcome::Consumed);
}

#[test]
fn a_session_that_another_client_had_proves_nothing() {
    let mut before = Rig::online();
    let taken_over =
        Disconnection::ByBroker { reason_code: 0x8E, reason_string: None, server_reference: None };
    before.handle(Input::Disconnected(taken_over));
    let mut rig = before.restarted(true);
    assert_eq!(decide(&mut rig), [Outcome::Unknown]);
}

#[test]
fn what_one_broker_kept_says_nothing_about_a_will_at_another() {
    let before = Rig::online();
    let mut rig =
        Rig::new(HubConfig { broker: "another".into(), ..config() }, before.memory.clone());
    assert_eq!(rig.take(), [Output::Connect { will: None }], "the prefix is another broker's");
    rig.connect(connack(Some("alice"), true));
    rig.handle(Input::Disconnected(Disconnection::Requested));
    rig.go_online_unfenced(true);
    assert_eq!(decide(&mut rig), [Outcome::Unknown]);
    assert_eq!(rig.memory.broker.as_deref(), Some("another"));
}

#[test]
fn the_session_leaves_an_old_prefix_once_its_wills_are_decided() {
    let before = Rig::online();
    let mut rig = Rig::new(config(), before.memory.clone());
    rig.connect(connack(Some("bob"), true));
    rig.handle(Input::Disconnected(Disconnection::Requested));
    rig.go_online_below("bob", true);
    let left = |rig: &Rig| {
        rig.outputs.iter().find_map(|output| match output {
            Output::Unsubscribe(filters) => Some(filters.clone()),
            _ => None,
        })
    };
    assert_eq!(left(&rig), None, "acknowledgements may still come under the old prefix");
    decide(&mut rig);
    let filters = left(&rig).expect("UNSUBSCRIBE");
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
    assert_eq!(rig.memory.past, []);
}

#[test]
fn the_fence_may_take_longer_while_the_broker_still_delivers() {
    let mut rig = Rig::online().restarted(true);
    for _ in 0..9 {
        rig.advance(Duration::from_secs(6));
        rig.receive(crate::rig::request("", b"a backlog"));
        assert!(rig.absences().is_empty());
    }
    rig.advance(Duration::from_secs(6));
    assert_eq!(rig.absences()[0].outcome, Outcome::Unknown, "but not for ever");
}

#[test]
fn a_fence_that_never_comes_does_not_make_every_request_stale() {
    let mut rig = Rig::online().restarted(true);
    rig.receive(crate::rig::request("ON", b"1"));
    assert!(rig.executed().is_empty());
    rig.advance(Duration::from_secs(10));
    rig.receive(crate::rig::request("ON", b"2"));
    assert_eq!(rig.executed().len(), 1);
}

#[test]
fn a_session_that_was_made_anew_proves_nothing_whatever_connack_says() {
    let before = Rig::online();
    let mut rig = Rig::new(config(), before.memory.clone());
    rig.subscribe("alice", true);
    assert_eq!(decide(&mut rig), [Outcome::Unknown]);
}

#[test]
fn a_connection_that_ended_before_it_knew_its_session_leaves_only_its_own_will_to_conclude_on() {
    let before = Rig::online();
    let mut between = Rig::new(config(), before.memory.clone());
    between.subscribe("alice", true);
    let mut rig = between.restarted(true);
    assert_eq!(decide(&mut rig), [Outcome::Unknown, Outcome::NotPublished]);

    let mut again = Rig::new(config(), between.memory.clone());
    again.subscribe("alice", true);
    let mut rig = again.restarted(true);
    rig.receive(fired(&before));
    rig.receive(fired(&between));
    rig.receive(fired(&again));
    let outcomes = [Outcome::Unknown, Outcome::Unknown, Outcome::Unconsumed];
    assert_eq!(decide(&mut rig), outcomes);
}

#[test]
fn a_session_that_is_lost_while_the_prefix_is_learned_is_lost() {
    let before = Rig::online();
    let mut rig = Rig::new(config(), before.memory.clone());
    rig.connect(connack(Some("bob"), false));
    rig.handle(Input::Disconnected(Disconnection::Requested));
    rig.go_online_below("bob", true);
    assert_eq!(decide(&mut rig)[0], Outcome::Unknown);
}

#[test]
fn the_echo_of_the_hubs_own_online_is_no_evidence_later() {
    let mut rig = Rig::online();
    rig.receive(rig.online.clone().expect("the hub is online"));
    rig.handle(Input::Disconnected(Disconnection::Lost { error: "cut".into() }));
    rig.advance(Duration::from_secs(60));
    rig.go_online_unfenced(false);
    assert_eq!(decide(&mut rig), [Outcome::Unknown]);
}

#[test]
fn a_farewell_whose_disconnect_was_not_written_is_no_clean_end() {
    let mut before = Rig::online();
    before.handle(Input::Shutdown);
    before.accept_all();
    assert!(before.take().contains(&Output::Disconnect));
    assert!(!before.memory.open[0].clean, "a crash now would make it a lie");
    before.handle(Input::Disconnected(Disconnection::Lost { error: "cut".into() }));
    assert!(before.take().contains(&Output::Stopped(Ok(()))));
    let mut rig = before.restarted(false);
    assert_eq!(decide(&mut rig), [Outcome::Unknown]);
}

#[test]
fn subscribe_waits_until_the_store_holds_what_it_makes_of_the_evidence() {
    for session_present in [true, false] {
        let before = Rig::online();
        let mut rig = Rig::new(config(), before.memory.clone());
        rig.store_works = false;
        rig.connect(connack(Some("alice"), session_present));
        let subscribed =
            |rig: &Rig| rig.outputs.iter().any(|output| matches!(output, Output::Subscribe(_)));
        assert!(!subscribed(&rig));
        rig.store_catches_up();
        assert!(subscribed(&rig));
        assert_eq!(rig.memory.unproven, session_present);
        assert_eq!(rig.memory.open[0].subscribed, session_present);
    }
}

#[test]
fn late_evidence_under_a_prefix_that_was_just_left_still_counts() {
    let before = Rig::online();
    let will = fired(&before);
    let mut rig = Rig::new(config(), before.memory.clone());
    rig.connect(connack(Some("bob"), true));
    rig.handle(Input::Disconnected(Disconnection::Requested));
    rig.go_online_below("bob", true);
    decide(&mut rig);
    rig.take();
    rig.receive(acknowledgement(&will, "guardian"));
    assert_eq!(rig.absences()[0].outcome, Outcome::Consumed);
}

/// The hub's next life, after an end in order.
fn after_a_clean_end(mut before: Rig) -> Rig {
    before.handle(Input::Shutdown);
    before.accept_all();
    before.handle(Input::Disconnected(Disconnection::Requested));
    before.restarted(true)
}

#[test]
fn the_generation_is_text_that_a_shell_can_echo_and_is_seen_nowhere_but_in_the_will() {
    let mut rig = Rig::online().restarted(true);
    rig.fence();
    rig.accept_all();
    let generation = rig.generation().0;
    assert!(generation.iter().all(|byte| matches!(byte, b'a'..=b'z' | b'2'..=b'7')));
    assert_eq!(rig.will().correlation_data.as_deref(), Some(&generation[..]));
    for message in rig.published() {
        assert_ne!(message.correlation_data.as_deref(), Some(&generation[..]), "{message:?}");
    }
}

#[test]
fn what_is_told_of_an_absence_does_not_let_anybody_acknowledge_the_will() {
    let before = Rig::online();
    let will = fired(&before);
    let mut rig = after_a_clean_end(before);
    assert_eq!(decide(&mut rig), [Outcome::NotPublished]);
    let generation = String::from_utf8(will.correlation_data.clone().unwrap().to_vec()).unwrap();
    let told = rig.published().into_iter().find(|m| m.topic.ends_with("/absence")).unwrap();
    let told: serde_json::Value = serde_json::from_slice(&told.payload).unwrap();
    assert_eq!(told["generation"], generation[..8]);
    rig.accept_all();
    let ask = Message { topic: "alice/cmnd/hub/absences".into(), ..crate::rig::request("", b"1") };
    rig.receive(ask);
    let answer =
        rig.published().into_iter().find(|m| m.topic == "alice/response/phone/lamp").unwrap();
    assert!(!String::from_utf8_lossy(&answer.payload).contains(&generation), "{answer:?}");
    rig.take();
    let name = told["generation"].as_str().unwrap().to_owned();
    let forged =
        Message { correlation_data: Some(name.into()), ..acknowledgement(&will, "reader") };
    rig.receive(forged);
    assert!(rig.absences().is_empty());
}

#[test]
fn what_is_said_of_a_will_while_its_connection_lives_counts_for_nothing() {
    let mut before = Rig::online();
    let will = fired(&before);
    before.receive(acknowledgement(&will, "stranger"));
    before.receive(will.clone());
    let memory = before.memory.open.last().unwrap();
    assert!(memory.acknowledgements.is_empty() && !memory.seen);
    let mut rig = after_a_clean_end(before);
    assert_eq!(decide(&mut rig), [Outcome::NotPublished]);
    assert_eq!(rig.absences()[0].published, Published::No);
}

#[test]
fn whoever_has_seen_all_that_the_hub_publishes_can_neither_forge_its_will_nor_acknowledge_it() {
    let mut before = Rig::online();
    let online = before.online.clone().unwrap();
    before = before.restarted(true);
    before.fence();
    before.accept_all();
    let mut seen: Vec<_> =
        before.published().into_iter().filter_map(|message| message.correlation_data).collect();
    seen.extend(online.correlation_data);
    seen.push(vec![0; 16].into());
    let mut rig = after_a_clean_end(before);
    for data in seen {
        let forged = Message {
            topic: "alice/hub/hub/presence".into(),
            payload: "offline".into(),
            qos: QoS::AtLeastOnce,
            retain: true,
            correlation_data: Some(data),
            ..Message::default()
        };
        rig.receive(acknowledgement(&forged, "stranger"));
        rig.receive(forged);
    }
    assert!(!decide(&mut rig).contains(&Outcome::Consumed));
    assert!(!rig.absences().iter().any(|absence| absence.published == Published::Yes));
}

#[test]
fn an_offline_without_correlation_data_changes_nothing() {
    let before = Rig::online();
    let anonymous = Message { correlation_data: None, response_topic: None, ..fired(&before) };
    let mut rig = before.restarted(true);
    rig.receive(anonymous);
    assert_eq!(decide(&mut rig), [Outcome::NotPublished]);
}

#[test]
fn unconsumed_needs_a_session_that_would_have_kept_an_acknowledgement() {
    let before = Rig::online();
    let will = fired(&before);
    // The probe does not come back: the session is not the one of before.
    let mut rig = Rig::new(config(), before.memory.clone());
    rig.subscribe("alice", true);
    rig.receive(will.clone());
    assert_eq!(decide(&mut rig), [Outcome::Unknown]);
    assert_eq!(rig.absences()[0].published, Published::Yes);
    // It does, and the broker grants no more than QoS 0 to what would tell.
    let mut rig = Rig::new(config(), before.memory.clone());
    rig.connect(connack(Some("alice"), true));
    rig.grant_but(|filter| u8::from(!filter.contains("/response/hub/")));
    rig.return_to_session();
    rig.receive(will.clone());
    assert_eq!(decide(&mut rig), [Outcome::Unknown]);
    // All is as it should be.
    let mut rig = before.restarted(true);
    rig.receive(will);
    assert_eq!(decide(&mut rig), [Outcome::Unconsumed]);
}

#[test]
fn a_subscription_that_was_granted_at_qos_0_proves_nothing_later() {
    let mut before = Rig::new(config(), Rig::online().memory);
    before.connect(connack(Some("alice"), true));
    before.grant_but(|filter| u8::from(!filter.contains("/response/hub/")));
    before.return_to_session();
    before.fence();
    before.settle();
    before.accept_all();
    let will = fired(&before);
    let mut rig = before.restarted(true);
    rig.receive(will);
    assert_eq!(decide(&mut rig).last(), Some(&Outcome::Unknown));
}

#[test]
fn junk_does_not_crowd_the_real_answer_out() {
    let before = Rig::online();
    let will = fired(&before);
    let mut rig = before.restarted(true);
    for n in 0..20 {
        let junk = Message {
            payload: format!("{n}{}", "x".repeat(60_000)).into(),
            ..acknowledgement(&will, &format!("junk-{n}-{}", "y".repeat(1000)))
        };
        rig.receive(junk);
    }
    rig.receive(acknowledgement(&will, "guardian"));
    rig.receive(acknowledgement(&will, "guardian"));
    assert_eq!(decide(&mut rig), [Outcome::Consumed]);
    let absence = rig.absences().remove(0);
    let real =
        absence.acknowledgements.iter().filter(|a| a.responder.as_deref() == Some("guardian"));
    assert_eq!(real.count(), 1);
    assert!(absence.left_out > 0);
    assert!(serde_json::to_vec(&absence).unwrap().len() < 4096);
}

#[test]
fn one_responder_has_no_more_than_its_share() {
    let before = Rig::online();
    let will = fired(&before);
    let mut rig = before.restarted(true);
    for n in 0..20 {
        let payload = format!("{n}").into();
        rig.receive(Message { payload, ..acknowledgement(&will, "chatty") });
    }
    decide(&mut rig);
    assert_eq!(rig.absences()[0].acknowledgements.len(), 2);
}

#[test]
fn the_account_that_the_broker_vouches_for_goes_before_what_an_answer_says_of_itself() {
    for vouches in [true, false] {
        let before = Rig::online();
        let mut answer = acknowledgement(&fired(&before), "the fire brigade");
        answer.user_properties.push((hearthd_core::SENDER_ACCOUNT.into(), "phone".into()));
        let mut rig = Rig::new(config(), before.memory.clone());
        rig.connect(hearthd_core::Connack { vouches, ..connack(Some("alice"), true) });
        rig.grant();
        rig.receive(answer);
        let answer = rig.memory.open[0].acknowledgements[0].clone();
        let expected = if vouches { "phone" } else { "the fire brigade" };
        assert_eq!((answer.responder.as_deref(), answer.vouched), (Some(expected), vouches));
    }
}

#[test]
fn whatever_takes_the_place_of_online_is_replaced_once_a_second_at_most() {
    let mut rig = Rig::online();
    rig.receive(rig.online.clone().unwrap());
    rig.advance(Duration::from_secs(1));
    rig.take();
    for payload in ["offline", "", "nonsense", "online"] {
        for _ in 0..50 {
            rig.receive(Message {
                topic: "alice/hub/hub/presence".into(),
                payload: payload.into(),
                retain: true,
                qos: QoS::AtLeastOnce,
                ..Message::default()
            });
        }
        assert_eq!(rig.published().len(), 1, "{payload:?}");
        rig.advance(Duration::from_secs(5));
        assert_eq!(rig.published().len(), 1, "one is under way");
        rig.accept_all();
        rig.advance(Duration::from_secs(1));
        rig.accept_all();
        rig.take();
    }
}

#[test]
fn one_real_crash_outlives_many_ends_in_order() {
    let before = Rig::online();
    let will = fired(&before);
    let mut rig = before.restarted(true);
    rig.receive(will.clone());
    rig.receive(acknowledgement(&will, "guardian"));
    decide(&mut rig);
    rig.accept_all();
    for _ in 0..12 {
        rig = after_a_clean_end(rig);
        decide(&mut rig);
        rig.accept_all();
    }
    let outcomes: Vec<_> = rig.memory.decided.iter().map(|absence| absence.outcome).collect();
    assert_eq!((outcomes.len(), outcomes[0]), (8, Outcome::Consumed), "{outcomes:?}");
}

#[test]
fn an_online_with_the_hubs_own_token_and_other_words_is_replaced_as_well() {
    let mut rig = Rig::online();
    let online = rig.online.clone().unwrap();
    rig.receive(online.clone());
    rig.advance(Duration::from_secs(1));
    let words = Message { payload: "{}".into(), ..online.clone() };
    let nameless = Message { user_properties: Vec::new(), ..online };
    for forged in [words, nameless] {
        rig.take();
        rig.receive(forged);
        assert_eq!(rig.published().len(), 1);
        rig.accept_all();
        rig.advance(Duration::from_secs(2));
    }
}
