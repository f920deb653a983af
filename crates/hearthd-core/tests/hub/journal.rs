//! Nothing is done twice: what a redelivery gets, also after the daemon has died.

use std::time::Duration;

use hearthd_core::{Answer, Disconnection, Input, JournalRecord, Message, QoS, Status};

use crate::test_hub::{TestHub, config, connack, request, status};

/// A request that must not be carried out twice.
fn step(correlation_data: &'static [u8]) -> Message {
    Message { topic: "alice/cmnd/blinds/step".into(), ..request("1", correlation_data) }
}

fn again(message: &Message) -> Message {
    Message { dup: true, ..message.clone() }
}

fn lose_connection(hub: &mut TestHub) {
    hub.handle(Input::Disconnected(Disconnection::Lost { error: "cut".into() }));
    hub.advance(Duration::from_secs(60));
}

fn the_record(hub: &TestHub) -> &JournalRecord {
    let records: Vec<_> = hub.journal.values().collect();
    let [record] = records[..] else { panic!("one record, not {records:#?}") };
    record
}

#[test]
fn a_request_is_carried_out_only_after_the_store_holds_its_intent() {
    let mut hub = TestHub::online();
    hub.store_works = false;
    hub.receive(step(b"1"));
    assert!(hub.executed().is_empty());
    hub.store_catches_up();
    assert_eq!(hub.executed().len(), 1);
    assert_eq!(the_record(&hub).answer, None);
}

#[test]
fn a_refusal_for_its_turn_waits_for_the_store_because_a_redelivery_could_be_carried_out() {
    let mut hub = TestHub::online();
    hub.store_works = false;
    for data in [&b"1"[..], b"2", b"3"] {
        hub.receive(request("ON", data));
    }
    hub.advance(Duration::from_secs(5));
    let answers = |hub: &TestHub| hub.published().iter().map(|m| status(m).to_owned()).collect();
    let before: Vec<_> = answers(&hub);
    assert_eq!(before, ["408", "408"]);
    hub.store_catches_up();
    let after: Vec<_> = answers(&hub);
    assert_eq!(after, ["408", "408", "409"]);
}

#[test]
fn an_idempotent_request_waits_for_no_store_but_its_puback_does() {
    let mut hub = TestHub::online();
    hub.store_works = false;
    let delivery = hub.receive(request("ON", b"1"));
    let asked = hub.executed().remove(0);
    hub.answer(&asked, Answer::text("ON"));
    assert_eq!(status(&hub.published()[0]), "200");
    hub.accept_all();
    assert!(hub.acknowledged().is_empty());
    hub.store_catches_up();
    assert_eq!(hub.acknowledged(), [delivery]);
}

#[test]
fn toggle_is_not_idempotent_wherever_it_stands() {
    for (topic, payload) in
        [("alice/cmnd/lamp/power", "toggle"), ("alice/cmnd/lamp/set", r#"{"power":"TOGGLE"}"#)]
    {
        let mut hub = TestHub::online();
        hub.store_works = false;
        hub.receive(Message { topic: topic.into(), ..request(payload, b"1") });
        assert!(hub.executed().is_empty(), "{payload}");
    }
}

#[test]
fn requests_to_one_device_keep_their_order_while_the_store_is_slow() {
    let mut hub = TestHub::online();
    hub.store_works = false;
    hub.receive(step(b"1"));
    hub.receive(Message { topic: "alice/cmnd/blinds/position".into(), ..request("", b"2") });
    hub.receive(request("ON", b"3"));
    let executed = hub.executed();
    let devices: Vec<_> = executed.iter().map(|request| &*request.device).collect();
    assert_eq!(devices, ["lamp"], "another device does not wait");
    hub.store_catches_up();
    let executed = hub.executed();
    let properties: Vec<_> = executed.iter().map(|request| &*request.property).collect();
    assert_eq!(properties, ["power", "step", "position"]);
}

#[test]
fn a_request_that_timed_out_while_it_waited_for_the_store_is_not_carried_out() {
    let mut hub = TestHub::online();
    hub.store_works = false;
    hub.receive(step(b"1"));
    hub.advance(Duration::from_secs(5));
    hub.store_catches_up();
    assert!(hub.executed().is_empty());
    let answer = &hub.published()[0];
    assert_eq!((status(answer), answer.user_property("reason")), ("409", Some("queued")));
}

#[test]
fn an_answer_goes_out_only_after_the_store_holds_it() {
    let mut hub = TestHub::online();
    hub.receive(step(b"1"));
    let asked = hub.executed().remove(0);
    hub.store_works = false;
    hub.answer(&asked, Answer::text("1"));
    assert!(hub.published().is_empty());
    hub.store_catches_up();
    assert_eq!(status(&hub.published()[0]), "200");
}

#[test]
fn while_the_store_fails_what_must_not_be_repeated_gets_503_and_all_else_its_answer() {
    let mut hub = TestHub::online();
    hub.store_fails = true;
    // The first finds out that the store fails, the second knows it.
    for correlation_data in [b"1", b"2"] {
        let delivery = hub.receive(step(correlation_data));
        assert!(hub.executed().is_empty());
        let answer = hub.published().remove(0);
        assert_eq!((status(&answer), hub.acknowledged().len()), ("503", 0));
        assert!(answer.user_property("__stMsg").unwrap().contains("(disk full)"));
        hub.accept_all();
        assert_eq!(hub.acknowledged(), [delivery]);
        hub.take();
    }
    let delivery = hub.receive(request("ON", b"3"));
    let asked = hub.executed().remove(0);
    hub.answer(&asked, Answer::text("ON"));
    assert_eq!(status(&hub.published()[0]), "200");
    hub.accept_all();
    assert_eq!(hub.acknowledged(), [delivery]);
}

#[test]
fn a_request_refused_by_a_failing_store_is_not_carried_out_when_it_comes_again() {
    let mut hub = TestHub::online();
    hub.store_fails = true;
    let refused = [step(b"1"), step(b"2")];
    for request in &refused {
        hub.receive(request.clone());
    }
    hub.accept_all();
    hub.store_fails = false;
    hub.receive(request("ON", b"3"));
    let asked = hub.executed().remove(0);
    hub.answer(&asked, Answer::text("ON"));
    hub.take();
    for request in &refused {
        hub.receive(again(request));
    }
    assert!(hub.executed().is_empty());
    assert_eq!(hub.published().iter().map(status).collect::<Vec<_>>(), ["503", "503"]);
    hub.receive(step(b"4"));
    assert_eq!(hub.executed().len(), 1, "the store works again");
}

#[test]
fn what_was_carried_out_when_the_store_fails_gets_its_answer() {
    let mut hub = TestHub::online();
    let delivery = hub.receive(step(b"1"));
    let asked = hub.executed().remove(0);
    hub.store_fails = true;
    hub.answer(&asked, Answer::text("1"));
    assert_eq!(status(&hub.published()[0]), "200");
    hub.accept_all();
    assert_eq!(hub.acknowledged(), [delivery]);
}

#[test]
fn a_hub_whose_store_fails_comes_online() {
    let mut hub = TestHub::online();
    hub.store_fails = true;
    lose_connection(&mut hub);
    hub.take();
    hub.go_online(true);
    assert!(hub.published().iter().any(|m| m.payload == "online"));
}

#[test]
fn after_a_crash_a_redelivery_gets_the_first_answer_and_is_not_carried_out() {
    for first in [step(b"1"), request("ON", b"1")] {
        let mut before = TestHub::online();
        before.receive(first.clone());
        let asked = before.executed().remove(0);
        before.answer(&asked, Answer::text("done"));
        let mut hub = before.restarted(true);
        hub.receive(again(&first));
        hub.reads_are("done");
        hub.fence();
        hub.accept_all();
        let answers: Vec<_> = hub
            .published()
            .into_iter()
            .filter(|m| m.topic == "alice/response/phone/lamp")
            .collect();
        assert_eq!(answers.len(), 1, "{answers:#?}");
        assert_eq!((status(&answers[0]), &answers[0].payload[..]), ("200", &b"done"[..]));
    }
}

#[test]
fn an_answer_survives_a_crash_and_a_lost_session_until_it_expires() {
    for (age, arrives) in [(0, true), (9, true), (10, false)] {
        let mut before = TestHub::online();
        before.receive(Message { expiry: Some(10), ..step(b"1") });
        let asked = before.executed().remove(0);
        before.answer(&asked, Answer::text("1"));
        before.now += Duration::from_secs(age);
        let mut hub = before.restarted(false);
        hub.reads_are("1");
        hub.accept_all();
        let answers = hub.published().into_iter().filter(|m| m.user_property("__stat").is_some());
        let answers: Vec<_> = answers.collect();
        assert_eq!(answers.len(), usize::from(arrives), "{age} s");
        assert!(answers.iter().all(|m| m.user_property("repeated").is_none()));
    }
}

#[test]
fn an_answer_that_the_broker_has_is_not_sent_by_the_next_life() {
    let mut before = TestHub::online();
    before.receive(step(b"1"));
    let asked = before.executed().remove(0);
    before.answer(&asked, Answer::text("1"));
    before.accept_all();
    assert!(the_record(&before).delivered);
    let mut hub = before.restarted(true);
    hub.fence();
    hub.accept_all();
    assert!(hub.published().iter().all(|m| m.user_property("__stat").is_none()));
}

#[test]
fn an_intent_without_an_answer_is_indeterminate_and_the_state_is_read_back() {
    for redelivered in [true, false] {
        let mut before = TestHub::online();
        before.receive(step(b"1"));
        let mut hub = before.restarted(redelivered);
        let delivery = redelivered.then(|| hub.receive(again(&step(b"1"))));
        hub.fence();
        let read = hub.executed().remove(0);
        assert_eq!((&*read.property, read.payload.len()), ("step", 0));
        hub.answer(&read, Answer::text("7"));
        let answer = hub
            .published()
            .into_iter()
            .find(|m| m.user_property("__stat").is_some())
            .expect("also a request that does not come again is answered");
        assert_eq!(status(&answer), "409");
        assert!(answer.user_property("__stMsg").unwrap().starts_with("indeterminate"));
        assert_eq!(answer.user_property("__propVal"), Some("7"));
        assert_eq!(answer.correlation_data.as_deref(), Some(&b"1"[..]));
        hub.accept_all();
        assert!(delivery.is_none_or(|delivery| hub.acknowledged().contains(&delivery)));
    }
}

#[test]
fn an_answer_is_remembered_until_the_broker_has_delivered_all_however_long_that_takes() {
    let mut before = TestHub::online();
    before.receive(step(b"1"));
    let mut hub = before.restarted(true);
    hub.advance(config().fence_timeout);
    let read = hub.executed().remove(0);
    hub.answer(&read, Answer::text("7"));
    hub.accept_all();
    let fence = hub.published().into_iter().find(|message| message.topic.ends_with("/fence"));
    hub.take();
    hub.advance(2 * config().redelivery);
    hub.receive(again(&step(b"1")));
    assert!(hub.executed().is_empty(), "it may have been carried out by the life before");
    assert_eq!(status(&hub.published()[0]), "409");
    hub.accept_all();
    hub.receive(fence.expect("the hub has published a fence"));
    hub.advance(2 * config().redelivery);
    hub.receive(step(b"1"));
    assert_eq!(hub.executed().len(), 1, "by now it is another request of the same name");
}

#[test]
fn an_idempotent_request_that_was_cut_short_is_carried_out_again_where_it_is_not_stale() {
    let mut before = TestHub::online();
    let first = Message { expiry: Some(60), ..request("ON", b"1") };
    before.receive(first.clone());
    assert_eq!(before.executed().len(), 1);
    let mut hub = before.restarted(true);
    hub.receive(again(&first));
    assert_eq!(hub.executed().len(), 1);
}

#[test]
fn an_idempotent_request_that_was_cut_short_and_is_stale_is_indeterminate() {
    let mut before = TestHub::online();
    before.receive(request("ON", b"1"));
    let mut hub = before.restarted(true);
    hub.receive(again(&request("ON", b"1")));
    let read = hub.executed().remove(0);
    assert!(read.payload.is_empty());
    hub.answer(&read, Answer::text("ON"));
    let answer = hub.published().into_iter().find(|m| m.user_property("__stat").is_some()).unwrap();
    assert_eq!((status(&answer), answer.user_property("__propVal")), ("409", Some("ON")));
    hub.receive(request("OFF", b"2"));
    let refused = hub.published().pop().unwrap();
    assert!(refused.user_property("__stMsg").unwrap().starts_with("stale"), "never seen before");
}

#[test]
fn without_correlation_data_the_packet_identifier_names_a_redelivery() {
    let plain = Message { response_topic: None, correlation_data: None, ..step(b"") };
    let mut before = TestHub::online();
    before.receive_as(7, plain.clone());
    let asked = before.executed().remove(0);
    before.answer(&asked, Answer::text("1"));
    let mut hub = before.restarted(true);
    let delivery = hub.receive_as(7, again(&plain));
    hub.reads_are("1");
    hub.fence();
    assert!(hub.acknowledged().contains(&delivery));
    hub.take();
    hub.receive_as(7, plain.clone());
    assert_eq!(hub.executed().len(), 1, "without DUP it is another message");
    hub.receive_as(9, Message { payload: "2".into(), dup: true, ..plain });
    assert_eq!(hub.executed().len(), 2, "another identifier is another message");
}

#[test]
fn packet_identifiers_mean_nothing_in_another_session() {
    let plain = Message { expiry: Some(60), response_topic: None, ..step(b"") };
    let mut before = TestHub::online();
    before.receive_as(7, plain.clone());
    let asked = before.executed().remove(0);
    before.answer(&asked, Answer::text("1"));
    let mut hub = before.restarted(false);
    assert!(hub.journal.is_empty(), "{:#?}", hub.journal);
    hub.receive_as(7, again(&plain));
    assert_eq!(hub.executed().len(), 1);
}

#[test]
fn a_packet_identifier_of_this_connection_outlives_the_loss_of_an_older_session() {
    let plain = Message { expiry: Some(60), response_topic: None, ..step(b"") };
    let mut hub = TestHub::new(crate::test_hub::config(), TestHub::online().memory);
    hub.subscribe("alice", true);
    hub.receive_as(7, plain.clone());
    let asked = hub.executed().remove(0);
    hub.answer(&asked, Answer::text("1"));
    hub.fence();
    hub.settle();
    lose_connection(&mut hub);
    hub.take();
    hub.go_online_unfenced(true);
    hub.receive_as(7, again(&plain));
    assert!(hub.executed().is_empty());
}

#[test]
fn a_request_is_forgotten_a_while_after_its_puback_and_not_before() {
    let mut hub = TestHub::online();
    hub.receive(step(b"1"));
    let asked = hub.executed().remove(0);
    hub.answer(&asked, Answer::text("1"));
    hub.advance(Duration::from_secs(170));
    assert_eq!(hub.journal.len(), 1, "it has no PUBACK yet");
    hub.accept_all();
    hub.advance(Duration::from_secs(59));
    assert_eq!(hub.journal.len(), 1);
    hub.advance(Duration::from_secs(1));
    assert!(hub.journal.is_empty());
}

#[test]
fn a_copy_that_the_broker_had_put_aside_is_not_carried_out_before_its_expiry_has_passed() {
    let mut hub = TestHub::online();
    let request = Message { expiry: Some(120), ..step(b"1") };
    hub.receive(request.clone());
    let asked = hub.executed().remove(0);
    hub.answer(&asked, Answer::text("1"));
    hub.accept_all();
    hub.advance(Duration::from_secs(100));
    hub.take();
    hub.receive(Message { expiry: Some(20), ..request });
    assert!(hub.executed().is_empty());
    assert_eq!(status(&hub.published().remove(0)), "200");
    hub.accept_all();
    hub.advance(Duration::from_secs(60));
    assert!(hub.journal.is_empty());
}

#[test]
fn a_lost_connection_keeps_a_request_until_the_next_fence() {
    let mut hub = TestHub::online();
    hub.receive(step(b"1"));
    let asked = hub.executed().remove(0);
    hub.answer(&asked, Answer::text("1"));
    hub.accept_all();
    lose_connection(&mut hub);
    hub.advance(Duration::from_secs(100_000));
    hub.take();
    hub.go_online_unfenced(true);
    assert_eq!(hub.journal.len(), 1, "its PUBACK may be lost");
    hub.fence();
    hub.advance(Duration::from_secs(60));
    assert!(hub.journal.is_empty());
}

#[test]
fn a_refusal_that_might_not_be_repeated_is_remembered() {
    let mut before = TestHub::online();
    before.receive(step(b"0"));
    before.advance(Duration::from_secs(5));
    for data in [&b"1"[..], b"2", b"3"] {
        before.receive(Message { correlation_data: Some(data.into()), ..step(b"") });
    }
    let busy = before.published().pop().unwrap();
    assert_eq!(status(&busy), "429");
    let mut hub = before.restarted(true);
    hub.receive(again(&Message { correlation_data: Some(b"3"[..].into()), ..step(b"") }));
    assert!(hub.executed().is_empty());
    hub.accept_all();
    let answer = hub.published().into_iter().find(|m| m.correlation_data == busy.correlation_data);
    assert_eq!(status(&answer.unwrap()), "429");
}

#[test]
fn the_journal_has_a_bound_and_what_does_not_fit_is_busy() {
    let mut config = crate::test_hub::config();
    config.queue = 10_000;
    config.receive_maximum = 10_000;
    let mut hub = TestHub::new(config, hearthd_core::Memory::default());
    hub.connect(connack(Some("alice"), false));
    hub.handle(Input::Disconnected(Disconnection::Requested));
    hub.go_online(true);
    hub.take();
    let asks = |hub: &mut TestHub, n: u32| {
        let data = n.to_be_bytes().to_vec().into();
        hub.receive(Message { correlation_data: Some(data), ..step(b"") });
    };
    (0..2048).for_each(|n| asks(&mut hub, n));
    assert_eq!((hub.executed().len(), hub.journal.len()), (2048, 2048));
    let executed = hub.executed();
    for asked in &executed[1..] {
        hub.answer(asked, Answer::text("1"));
    }
    hub.accept_all();
    (2048..3072).for_each(|n| asks(&mut hub, n));
    for asked in &hub.executed()[2048..] {
        hub.answer(asked, Answer::text("1"));
    }
    hub.accept_all();
    asks(&mut hub, 3072);
    assert_eq!(
        hub.executed().len(),
        3072,
        "the first has no answer, and holds up the PUBACKs of all"
    );
    let other = Message {
        response_topic: Some("alice/response/tablet/1".into()),
        correlation_data: Some(b"1"[..].into()),
        ..step(b"")
    };
    hub.receive(other);
    assert_eq!(hub.executed().len(), 3073, "another sender finds its share");
    let busy = hub.published().into_iter().filter(|m| m.user_property("__stat") == Some("429"));
    assert_eq!(busy.count(), 1);
    hub.answer(&executed[0], Answer::text("1"));
    hub.accept_all();
    asks(&mut hub, 3073);
    assert_eq!(hub.executed().len(), 3074, "answered requests make room");
    assert_eq!(hub.journal.len(), 1025, "the last is under way");
}

#[test]
fn one_who_fills_the_journal_while_nothing_may_be_forgotten_leaves_others_their_room() {
    let mut config = crate::test_hub::config();
    config.queue = 10_000;
    config.receive_maximum = 10_000;
    let mut hub = TestHub::new(config, hearthd_core::Memory::default());
    hub.connect(connack(Some("alice"), false));
    hub.handle(Input::Disconnected(Disconnection::Requested));
    hub.go_online(true);
    hub.take();
    let is_taken_on = |hub: &mut TestHub, sender: &str, data: Vec<u8>| {
        let before = hub.executed().len();
        hub.receive(Message {
            response_topic: Some(format!("alice/response/{sender}/1")),
            correlation_data: Some(data.into()),
            ..step(b"")
        });
        let new = hub.executed().into_iter().nth(before);
        new.map(|asked| hub.answer(&asked, Answer::text("1"))).is_some()
    };
    // The broker takes no answer, so the long Correlation Data is kept with each.
    let taken = (0..200).filter(|&n| is_taken_on(&mut hub, "hostile", vec![n; 60_000])).count();
    assert!((10..100).contains(&taken), "{taken} requests of 60 kB were taken on");
    for sender in ["phone", "tablet"] {
        let taken = (0..700_u32)
            .filter(|n| is_taken_on(&mut hub, sender, n.to_be_bytes().to_vec()))
            .count();
        assert_eq!(taken, 700, "requests of the {sender}");
    }
}

#[test]
fn the_journal_gives_up_the_oldest_first_however_late_their_time_is_up() {
    let mut config = crate::test_hub::config();
    config.queue = 10_000;
    let ask = |hub: &mut TestHub, n: u32| {
        let data = n.to_be_bytes().to_vec().into();
        hub.receive(Message { correlation_data: Some(data), ..step(b"") });
        for asked in hub.executed() {
            hub.answer(&asked, Answer::text("1"));
        }
        hub.accept_all();
        hub.take();
    };
    let mut before =
        TestHub::with_journal(config.clone(), TestHub::online().memory, Default::default());
    before.go_online(true);
    (0..1024).for_each(|n| ask(&mut before, n));
    let mut hub = TestHub::with_journal(config, before.memory.clone(), before.journal.clone());
    hub.now = before.now;
    hub.handle(Input::Elapsed);
    hub.subscribe("alice", false);
    let fence = hub.published().into_iter().find(|m| m.topic.ends_with("/fence")).unwrap();
    (5000..5010).for_each(|n| ask(&mut hub, n));
    hub.receive(fence);
    (6000..6010).for_each(|n| ask(&mut hub, n));
    hub.receive(Message {
        correlation_data: Some(5000_u32.to_be_bytes().to_vec().into()),
        ..again(&step(b""))
    });
    assert!(hub.executed().is_empty(), "it was answered a moment ago");
}

#[test]
fn a_read_leaves_nothing_in_the_store() {
    let mut hub = TestHub::online();
    hub.receive(Message { payload: "".into(), ..step(b"1") });
    hub.receive(Message { qos: QoS::AtMostOnce, ..request("ON", b"2") });
    hub.receive(Message { topic: "alice/cmnd/hub/devices".into(), ..request("", b"3") });
    for asked in hub.executed() {
        hub.answer(&asked, Answer::text("1"));
    }
    assert!(hub.journal.is_empty());
}

#[test]
fn a_device_that_failed_gives_the_same_failure_again() {
    let mut hub = TestHub::online();
    hub.receive(step(b"1"));
    let asked = hub.executed().remove(0);
    hub.answer(&asked, Answer::failure(Status::Unavailable, "down"));
    hub.accept_all();
    hub.take();
    hub.receive(step(b"1"));
    assert!(hub.executed().is_empty());
    assert_eq!(status(&hub.published()[0]), "503");
    assert_eq!(the_record(&hub).answer.as_ref().unwrap().status, Status::Unavailable);
}

#[test]
fn without_its_store_the_hub_does_not_carry_out_what_may_have_been() {
    let before = TestHub::online();
    let first = Message { expiry: Some(60), ..step(b"1") };
    let mut hub = TestHub::new(crate::test_hub::config(), hearthd_core::Memory::default());
    hub.now = before.now;
    hub.connect(connack(Some("alice"), true));
    hub.handle(Input::Disconnected(Disconnection::Requested));
    hub.go_online_unfenced(true);
    hub.receive(again(&first));
    let read = hub.executed().remove(0);
    assert!(read.payload.is_empty(), "it is only read back");
    hub.answer(&read, Answer::text("7"));
    hub.fence();
    hub.accept_all();
    let answer = hub.published().into_iter().find(|m| m.user_property("__stat").is_some()).unwrap();
    assert!(answer.user_property("__stMsg").unwrap().starts_with("indeterminate"));
    hub.take();
    hub.receive(Message { correlation_data: Some(b"2"[..].into()), ..again(&first) });
    assert_eq!(hub.executed()[0].payload, "1", "what comes after the fence is new");
}

#[test]
fn an_answer_whose_topic_is_out_of_bounds_under_another_prefix_goes_nowhere() {
    for answered_before in [true, false] {
        let mut hub = TestHub::online();
        hub.receive(step(b"1"));
        let asked = hub.executed().remove(0);
        if answered_before {
            hub.answer(&asked, Answer::text("1"));
        }
        lose_connection(&mut hub);
        hub.connect(connack(Some("bob"), true));
        hub.handle(Input::Disconnected(Disconnection::Requested));
        hub.take();
        hub.go_online_below("bob", true);
        if !answered_before {
            hub.answer(&asked, Answer::text("1"));
        }
        hub.fence();
        hub.accept_all();
        assert!(hub.published().iter().all(|m| m.topic.starts_with("bob/")), "{answered_before}");
        assert!(the_record(&hub).delivered, "no later life tries again");
    }
}

#[test]
fn an_intent_whose_requester_has_gone_is_still_not_carried_out_again() {
    let mut before = TestHub::online();
    before.receive(Message { expiry: Some(1), ..step(b"1") });
    before.now += Duration::from_secs(5);
    let mut hub = before.restarted(true);
    hub.fence();
    hub.receive(Message { expiry: Some(30), ..step(b"1") });
    let read = hub.executed().remove(0);
    assert!(read.payload.is_empty(), "it is only read back");
    hub.advance(Duration::from_secs(60));
    assert_eq!(the_record(&hub).answer.as_ref().unwrap().status, Status::Conflict);
}

#[test]
fn a_repeated_request_waits_longer_for_an_answer_that_is_on_its_way() {
    let mut hub = TestHub::online();
    hub.receive(Message { expiry: Some(10), ..request("ON", b"1") });
    let asked = hub.executed().remove(0);
    lose_connection(&mut hub);
    hub.handle(Input::Answered { request: asked.id, answer: Answer::text("ON") });
    hub.take();
    hub.connect(connack(Some("alice"), true));
    hub.receive(Message { expiry: Some(30), dup: true, ..request("ON", b"1") });
    hub.grant();
    let answer = hub.published().into_iter().find(|m| m.user_property("__stat").is_some());
    assert!(answer.is_some(), "the first copy's requester has gone, the second's has not");
}
