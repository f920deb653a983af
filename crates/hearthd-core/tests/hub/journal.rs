//! Nothing is done twice: what a redelivery gets, also after the daemon has died.

use std::time::Duration;

use hearthd_core::{Answer, Disconnection, Input, Message, QoS, Record, Status};

use crate::rig::{Rig, config, connack, request, status};

/// A request that must not be carried out twice.
fn step(correlation_data: &'static [u8]) -> Message {
    Message { topic: "alice/cmnd/blinds/step".into(), ..request("1", correlation_data) }
}

fn again(message: &Message) -> Message {
    Message { dup: true, ..message.clone() }
}

fn lose_connection(rig: &mut Rig) {
    rig.handle(Input::Disconnected(Disconnection::Lost { error: "cut".into() }));
    rig.advance(Duration::from_secs(60));
}

fn the_record(rig: &Rig) -> &Record {
    let records: Vec<_> = rig.journal.values().collect();
    let [record] = records[..] else { panic!("one record, not {records:#?}") };
    record
}

#[test]
fn a_request_is_carried_out_only_after_the_store_holds_its_intent() {
    let mut rig = Rig::online();
    rig.store_works = false;
    rig.receive(step(b"1"));
    assert!(rig.executed().is_empty());
    rig.store_catches_up();
    assert_eq!(rig.executed().len(), 1);
    assert_eq!(the_record(&rig).answer, None);
}

#[test]
fn an_idempotent_request_waits_for_no_store_but_its_puback_does() {
    let mut rig = Rig::online();
    rig.store_works = false;
    let delivery = rig.receive(request("ON", b"1"));
    let asked = rig.executed().remove(0);
    rig.answer(&asked, Answer::text("ON"));
    assert_eq!(status(&rig.published()[0]), "200");
    rig.accept_all();
    assert!(rig.acknowledged().is_empty());
    rig.store_catches_up();
    assert_eq!(rig.acknowledged(), [delivery]);
}

#[test]
fn toggle_is_not_idempotent_wherever_it_stands() {
    for (topic, payload) in
        [("alice/cmnd/lamp/power", "toggle"), ("alice/cmnd/lamp/set", r#"{"power":"TOGGLE"}"#)]
    {
        let mut rig = Rig::online();
        rig.store_works = false;
        rig.receive(Message { topic: topic.into(), ..request(payload, b"1") });
        assert!(rig.executed().is_empty(), "{payload}");
    }
}

#[test]
fn requests_to_one_device_keep_their_order_while_the_store_is_slow() {
    let mut rig = Rig::online();
    rig.store_works = false;
    rig.receive(step(b"1"));
    rig.receive(Message { topic: "alice/cmnd/blinds/position".into(), ..request("", b"2") });
    rig.receive(request("ON", b"3"));
    let executed = rig.executed();
    let devices: Vec<_> = executed.iter().map(|request| &*request.device).collect();
    assert_eq!(devices, ["lamp"], "another device does not wait");
    rig.store_catches_up();
    let executed = rig.executed();
    let properties: Vec<_> = executed.iter().map(|request| &*request.property).collect();
    assert_eq!(properties, ["power", "step", "position"]);
}

#[test]
fn a_request_that_timed_out_while_it_waited_for_the_store_is_not_carried_out() {
    let mut rig = Rig::online();
    rig.store_works = false;
    rig.receive(step(b"1"));
    rig.advance(Duration::from_secs(5));
    rig.store_catches_up();
    assert!(rig.executed().is_empty());
    let answer = &rig.published()[0];
    assert_eq!((status(answer), answer.user_property("reason")), ("409", Some("queued")));
}

#[test]
fn an_answer_goes_out_only_after_the_store_holds_it() {
    let mut rig = Rig::online();
    rig.receive(step(b"1"));
    let asked = rig.executed().remove(0);
    rig.store_works = false;
    rig.answer(&asked, Answer::text("1"));
    assert!(rig.published().is_empty());
    rig.store_catches_up();
    assert_eq!(status(&rig.published()[0]), "200");
}

#[test]
fn while_the_store_fails_what_must_not_be_repeated_gets_503_and_all_else_its_answer() {
    let mut rig = Rig::online();
    rig.store_fails = true;
    // The first finds out that the store fails, the second knows it.
    for correlation_data in [b"1", b"2"] {
        let delivery = rig.receive(step(correlation_data));
        assert!(rig.executed().is_empty());
        let answer = rig.published().remove(0);
        assert_eq!((status(&answer), rig.acknowledged().len()), ("503", 0));
        assert!(answer.user_property("__stMsg").unwrap().contains("(disk full)"));
        rig.accept_all();
        assert_eq!(rig.acknowledged(), [delivery]);
        rig.take();
    }
    let delivery = rig.receive(request("ON", b"3"));
    let asked = rig.executed().remove(0);
    rig.answer(&asked, Answer::text("ON"));
    assert_eq!(status(&rig.published()[0]), "200");
    rig.accept_all();
    assert_eq!(rig.acknowledged(), [delivery]);
}

#[test]
fn a_request_refused_by_a_failing_store_is_not_carried_out_when_it_comes_again() {
    let mut rig = Rig::online();
    rig.store_fails = true;
    let refused = [step(b"1"), step(b"2")];
    for request in &refused {
        rig.receive(request.clone());
    }
    rig.accept_all();
    rig.store_fails = false;
    rig.receive(request("ON", b"3"));
    let asked = rig.executed().remove(0);
    rig.answer(&asked, Answer::text("ON"));
    rig.take();
    for request in &refused {
        rig.receive(again(request));
    }
    assert!(rig.executed().is_empty());
    assert_eq!(rig.published().iter().map(status).collect::<Vec<_>>(), ["503", "503"]);
    rig.receive(step(b"4"));
    assert_eq!(rig.executed().len(), 1, "the store works again");
}

#[test]
fn what_was_carried_out_when_the_store_fails_gets_its_answer() {
    let mut rig = Rig::online();
    let delivery = rig.receive(step(b"1"));
    let asked = rig.executed().remove(0);
    rig.store_fails = true;
    rig.answer(&asked, Answer::text("1"));
    assert_eq!(status(&rig.published()[0]), "200");
    rig.accept_all();
    assert_eq!(rig.acknowledged(), [delivery]);
}

#[test]
fn a_hub_whose_store_fails_comes_online() {
    let mut rig = Rig::online();
    rig.store_fails = true;
    lose_connection(&mut rig);
    rig.take();
    rig.go_online(true);
    assert!(rig.published().iter().any(|m| m.payload == "online"));
}

#[test]
fn after_a_crash_a_redelivery_gets_the_first_answer_and_is_not_carried_out() {
    for first in [step(b"1"), request("ON", b"1")] {
        let mut before = Rig::online();
        before.receive(first.clone());
        let asked = before.executed().remove(0);
        before.answer(&asked, Answer::text("done"));
        let mut rig = before.restarted(true);
        rig.receive(again(&first));
        assert!(rig.executed().is_empty());
        rig.fence();
        rig.accept_all();
        let answers: Vec<_> = rig
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
        let mut before = Rig::online();
        before.receive(Message { expiry: Some(10), ..step(b"1") });
        let asked = before.executed().remove(0);
        before.answer(&asked, Answer::text("1"));
        before.now += Duration::from_secs(age);
        let mut rig = before.restarted(false);
        rig.accept_all();
        let answers = rig.published().into_iter().filter(|m| m.user_property("__stat").is_some());
        assert_eq!(answers.count(), usize::from(arrives), "{age} s");
    }
}

#[test]
fn an_answer_that_the_broker_has_is_not_sent_by_the_next_life() {
    let mut before = Rig::online();
    before.receive(step(b"1"));
    let asked = before.executed().remove(0);
    before.answer(&asked, Answer::text("1"));
    before.accept_all();
    assert!(the_record(&before).delivered);
    let mut rig = before.restarted(true);
    rig.fence();
    rig.accept_all();
    assert!(rig.published().iter().all(|m| m.user_property("__stat").is_none()));
}

#[test]
fn an_intent_without_an_answer_is_indeterminate_and_the_state_is_read_back() {
    for redelivered in [true, false] {
        let mut before = Rig::online();
        before.receive(step(b"1"));
        let mut rig = before.restarted(redelivered);
        let delivery = redelivered.then(|| rig.receive(again(&step(b"1"))));
        rig.fence();
        let read = rig.executed().remove(0);
        assert_eq!((&*read.property, read.payload.len()), ("step", 0));
        rig.answer(&read, Answer::text("7"));
        let answer = rig
            .published()
            .into_iter()
            .find(|m| m.user_property("__stat").is_some())
            .expect("also a request that does not come again is answered");
        assert_eq!(status(&answer), "409");
        assert!(answer.user_property("__stMsg").unwrap().starts_with("indeterminate"));
        assert_eq!(answer.user_property("__propVal"), Some("7"));
        assert_eq!(answer.correlation_data.as_deref(), Some(&b"1"[..]));
        rig.accept_all();
        assert!(delivery.is_none_or(|delivery| rig.acknowledged().contains(&delivery)));
    }
}

#[test]
fn an_answer_is_remembered_until_the_broker_has_delivered_all_however_long_that_takes() {
    let mut before = Rig::online();
    before.receive(step(b"1"));
    let mut rig = before.restarted(true);
    rig.advance(config().fence_timeout);
    let read = rig.executed().remove(0);
    rig.answer(&read, Answer::text("7"));
    rig.accept_all();
    let fence = rig.published().into_iter().find(|message| message.topic.ends_with("/fence"));
    rig.take();
    rig.advance(2 * config().redelivery);
    rig.receive(again(&step(b"1")));
    assert!(rig.executed().is_empty(), "it may have been carried out by the life before");
    assert_eq!(status(&rig.published()[0]), "409");
    rig.accept_all();
    rig.receive(fence.expect("the hub has published a fence"));
    rig.advance(2 * config().redelivery);
    rig.receive(step(b"1"));
    assert_eq!(rig.executed().len(), 1, "by now it is another request of the same name");
}

#[test]
fn an_idempotent_request_that_was_cut_short_is_carried_out_again_where_it_is_not_stale() {
    let mut before = Rig::online();
    let first = Message { expiry: Some(60), ..request("ON", b"1") };
    before.receive(first.clone());
    assert_eq!(before.executed().len(), 1);
    let mut rig = before.restarted(true);
    rig.receive(again(&first));
    assert_eq!(rig.executed().len(), 1);
}

#[test]
fn an_idempotent_request_that_was_cut_short_and_is_stale_is_indeterminate() {
    let mut before = Rig::online();
    before.receive(request("ON", b"1"));
    let mut rig = before.restarted(true);
    rig.receive(again(&request("ON", b"1")));
    let read = rig.executed().remove(0);
    assert!(read.payload.is_empty());
    rig.answer(&read, Answer::text("ON"));
    let answer = rig.published().into_iter().find(|m| m.user_property("__stat").is_some()).unwrap();
    assert_eq!((status(&answer), answer.user_property("__propVal")), ("409", Some("ON")));
    rig.receive(request("OFF", b"2"));
    let refused = rig.published().pop().unwrap();
    assert!(refused.user_property("__stMsg").unwrap().starts_with("stale"), "never seen before");
}

#[test]
fn without_correlation_data_the_packet_identifier_names_a_redelivery() {
    let plain = Message { response_topic: None, correlation_data: None, ..step(b"") };
    let mut before = Rig::online();
    before.receive_as(7, plain.clone());
    let asked = before.executed().remove(0);
    before.answer(&asked, Answer::text("1"));
    let mut rig = before.restarted(true);
    let delivery = rig.receive_as(7, again(&plain));
    rig.fence();
    assert!(rig.executed().is_empty());
    assert!(rig.acknowledged().contains(&delivery));
    rig.receive_as(7, plain.clone());
    assert_eq!(rig.executed().len(), 1, "without DUP it is another message");
    rig.receive_as(9, Message { payload: "2".into(), dup: true, ..plain });
    assert_eq!(rig.executed().len(), 2, "another identifier is another message");
}

#[test]
fn packet_identifiers_mean_nothing_in_another_session() {
    let plain = Message { expiry: Some(60), response_topic: None, ..step(b"") };
    let mut before = Rig::online();
    before.receive_as(7, plain.clone());
    let asked = before.executed().remove(0);
    before.answer(&asked, Answer::text("1"));
    let mut rig = before.restarted(false);
    assert!(rig.journal.is_empty(), "{:#?}", rig.journal);
    rig.receive_as(7, again(&plain));
    assert_eq!(rig.executed().len(), 1);
}

#[test]
fn a_packet_identifier_of_this_connection_outlives_the_loss_of_an_older_session() {
    let plain = Message { expiry: Some(60), response_topic: None, ..step(b"") };
    let mut rig = Rig::new(crate::rig::config(), Rig::online().memory);
    rig.subscribe("alice", true);
    rig.receive_as(7, plain.clone());
    let asked = rig.executed().remove(0);
    rig.answer(&asked, Answer::text("1"));
    rig.fence();
    rig.settle();
    lose_connection(&mut rig);
    rig.take();
    rig.go_online_unfenced(true);
    rig.receive_as(7, again(&plain));
    assert!(rig.executed().is_empty());
}

#[test]
fn a_request_is_forgotten_a_while_after_its_puback_and_not_before() {
    let mut rig = Rig::online();
    rig.receive(step(b"1"));
    let asked = rig.executed().remove(0);
    rig.answer(&asked, Answer::text("1"));
    rig.advance(Duration::from_secs(170));
    assert_eq!(rig.journal.len(), 1, "it has no PUBACK yet");
    rig.accept_all();
    rig.advance(Duration::from_secs(59));
    assert_eq!(rig.journal.len(), 1);
    rig.advance(Duration::from_secs(1));
    assert!(rig.journal.is_empty());
}

#[test]
fn a_lost_connection_keeps_a_request_until_the_next_fence() {
    let mut rig = Rig::online();
    rig.receive(step(b"1"));
    let asked = rig.executed().remove(0);
    rig.answer(&asked, Answer::text("1"));
    rig.accept_all();
    lose_connection(&mut rig);
    rig.advance(Duration::from_secs(100_000));
    rig.take();
    rig.go_online_unfenced(true);
    assert_eq!(rig.journal.len(), 1, "its PUBACK may be lost");
    rig.fence();
    rig.advance(Duration::from_secs(60));
    assert!(rig.journal.is_empty());
}

#[test]
fn a_refusal_that_might_not_be_repeated_is_remembered() {
    let mut before = Rig::online();
    before.receive(step(b"0"));
    before.advance(Duration::from_secs(5));
    for data in [&b"1"[..], b"2", b"3"] {
        before.receive(Message { correlation_data: Some(data.into()), ..step(b"") });
    }
    let busy = before.published().pop().unwrap();
    assert_eq!(status(&busy), "429");
    let mut rig = before.restarted(true);
    rig.receive(again(&Message { correlation_data: Some(b"3"[..].into()), ..step(b"") }));
    assert!(rig.executed().is_empty());
    rig.accept_all();
    let answer = rig.published().into_iter().find(|m| m.correlation_data == busy.correlation_data);
    assert_eq!(status(&answer.unwrap()), "429");
}

#[test]
fn the_journal_has_a_bound_and_what_does_not_fit_is_busy() {
    let mut config = crate::rig::config();
    config.queue = 10_000;
    config.receive_maximum = 10_000;
    let mut rig = Rig::new(config, hearthd_core::Memory::default());
    rig.connect(connack(Some("alice"), false));
    rig.handle(Input::Disconnected(Disconnection::Requested));
    rig.go_online(true);
    rig.take();
    let asks = |rig: &mut Rig, n: u32| {
        let data = n.to_be_bytes().to_vec().into();
        rig.receive(Message { correlation_data: Some(data), ..step(b"") });
    };
    (0..2048).for_each(|n| asks(&mut rig, n));
    assert_eq!((rig.executed().len(), rig.journal.len()), (2048, 2048));
    let executed = rig.executed();
    for asked in &executed[1..] {
        rig.answer(asked, Answer::text("1"));
    }
    rig.accept_all();
    (2048..3072).for_each(|n| asks(&mut rig, n));
    for asked in &rig.executed()[2048..] {
        rig.answer(asked, Answer::text("1"));
    }
    rig.accept_all();
    asks(&mut rig, 3072);
    assert_eq!(
        rig.executed().len(),
        3072,
        "the first has no answer, and holds up the PUBACKs of all"
    );
    let other = Message {
        response_topic: Some("alice/response/tablet/1".into()),
        correlation_data: Some(b"1"[..].into()),
        ..step(b"")
    };
    rig.receive(other);
    assert_eq!(rig.executed().len(), 3073, "another sender finds its share");
    let busy = rig.published().into_iter().filter(|m| m.user_property("__stat") == Some("429"));
    assert_eq!(busy.count(), 1);
    rig.answer(&executed[0], Answer::text("1"));
    rig.accept_all();
    asks(&mut rig, 3073);
    assert_eq!(rig.executed().len(), 3074, "answered requests make room");
    assert_eq!(rig.journal.len(), 1025, "the last is under way");
}

#[test]
fn one_who_fills_the_journal_while_nothing_may_be_forgotten_leaves_others_their_room() {
    let mut config = crate::rig::config();
    config.queue = 10_000;
    config.receive_maximum = 10_000;
    let mut rig = Rig::new(config, hearthd_core::Memory::default());
    rig.connect(connack(Some("alice"), false));
    rig.handle(Input::Disconnected(Disconnection::Requested));
    rig.go_online(true);
    rig.take();
    let is_taken_on = |rig: &mut Rig, sender: &str, data: Vec<u8>| {
        let before = rig.executed().len();
        rig.receive(Message {
            response_topic: Some(format!("alice/response/{sender}/1")),
            correlation_data: Some(data.into()),
            ..step(b"")
        });
        let new = rig.executed().into_iter().nth(before);
        new.map(|asked| rig.answer(&asked, Answer::text("1"))).is_some()
    };
    // The broker takes no answer, so the long Correlation Data is kept with each.
    let taken = (0..200).filter(|&n| is_taken_on(&mut rig, "hostile", vec![n; 60_000])).count();
    assert!((10..100).contains(&taken), "{taken} requests of 60 kB were taken on");
    for sender in ["phone", "tablet"] {
        let taken = (0..700_u32)
            .filter(|n| is_taken_on(&mut rig, sender, n.to_be_bytes().to_vec()))
            .count();
        assert_eq!(taken, 700, "requests of the {sender}");
    }
}

#[test]
fn the_journal_gives_up_the_oldest_first_however_late_their_time_is_up() {
    let mut config = crate::rig::config();
    config.queue = 10_000;
    let ask = |rig: &mut Rig, n: u32| {
        let data = n.to_be_bytes().to_vec().into();
        rig.receive(Message { correlation_data: Some(data), ..step(b"") });
        for asked in rig.executed() {
            rig.answer(&asked, Answer::text("1"));
        }
        rig.accept_all();
        rig.take();
    };
    let mut before = Rig::with_journal(config.clone(), Rig::online().memory, Default::default());
    before.go_online(true);
    (0..1024).for_each(|n| ask(&mut before, n));
    let mut rig = Rig::with_journal(config, before.memory.clone(), before.journal.clone());
    rig.now = before.now;
    rig.handle(Input::Elapsed);
    rig.subscribe("alice", false);
    let fence = rig.published().into_iter().find(|m| m.topic.ends_with("/fence")).unwrap();
    (5000..5010).for_each(|n| ask(&mut rig, n));
    rig.receive(fence);
    (6000..6010).for_each(|n| ask(&mut rig, n));
    rig.receive(Message {
        correlation_data: Some(5000_u32.to_be_bytes().to_vec().into()),
        ..again(&step(b""))
    });
    assert!(rig.executed().is_empty(), "it was answered a moment ago");
}

#[test]
fn a_read_leaves_nothing_in_the_store() {
    let mut rig = Rig::online();
    rig.receive(Message { payload: "".into(), ..step(b"1") });
    rig.receive(Message { qos: QoS::AtMostOnce, ..request("ON", b"2") });
    rig.receive(Message { topic: "alice/cmnd/hub/devices".into(), ..request("", b"3") });
    for asked in rig.executed() {
        rig.answer(&asked, Answer::text("1"));
    }
    assert!(rig.journal.is_empty());
}

#[test]
fn a_device_that_failed_gives_the_same_failure_again() {
    let mut rig = Rig::online();
    rig.receive(step(b"1"));
    let asked = rig.executed().remove(0);
    rig.answer(&asked, Answer::failure(Status::Unavailable, "down"));
    rig.accept_all();
    rig.take();
    rig.receive(step(b"1"));
    assert!(rig.executed().is_empty());
    assert_eq!(status(&rig.published()[0]), "503");
    assert_eq!(the_record(&rig).answer.as_ref().unwrap().status, Status::Unavailable);
}

#[test]
fn without_its_store_the_hub_does_not_carry_out_what_may_have_been() {
    let before = Rig::online();
    let first = Message { expiry: Some(60), ..step(b"1") };
    let mut rig = Rig::new(crate::rig::config(), hearthd_core::Memory::default());
    rig.now = before.now;
    rig.connect(connack(Some("alice"), true));
    rig.handle(Input::Disconnected(Disconnection::Requested));
    rig.go_online_unfenced(true);
    rig.receive(again(&first));
    let read = rig.executed().remove(0);
    assert!(read.payload.is_empty(), "it is only read back");
    rig.answer(&read, Answer::text("7"));
    rig.fence();
    rig.accept_all();
    let answer = rig.published().into_iter().find(|m| m.user_property("__stat").is_some()).unwrap();
    assert!(answer.user_property("__stMsg").unwrap().starts_with("indeterminate"));
    rig.take();
    rig.receive(Message { correlation_data: Some(b"2"[..].into()), ..again(&first) });
    assert_eq!(rig.executed()[0].payload, "1", "what comes after the fence is new");
}

#[test]
fn an_answer_whose_topic_is_out_of_bounds_under_another_prefix_goes_nowhere() {
    for answered_before in [true, false] {
        let mut rig = Rig::online();
        rig.receive(step(b"1"));
        let asked = rig.executed().remove(0);
        if answered_before {
            rig.answer(&asked, Answer::text("1"));
        }
        lose_connection(&mut rig);
        rig.connect(connack(Some("bob"), true));
        rig.handle(Input::Disconnected(Disconnection::Requested));
        rig.take();
        rig.go_online_below("bob", true);
        if !answered_before {
            rig.answer(&asked, Answer::text("1"));
        }
        rig.fence();
        rig.accept_all();
        assert!(rig.published().iter().all(|m| m.topic.starts_with("bob/")), "{answered_before}");
        assert!(the_record(&rig).delivered, "no later life tries again");
    }
}

#[test]
fn an_intent_whose_requester_has_gone_is_still_not_carried_out_again() {
    let mut before = Rig::online();
    before.receive(Message { expiry: Some(1), ..step(b"1") });
    before.now += Duration::from_secs(5);
    let mut rig = before.restarted(true);
    rig.fence();
    rig.receive(Message { expiry: Some(30), ..step(b"1") });
    let read = rig.executed().remove(0);
    assert!(read.payload.is_empty(), "it is only read back");
    rig.advance(Duration::from_secs(60));
    assert_eq!(the_record(&rig).answer.as_ref().unwrap().status, Status::Conflict);
}

#[test]
fn a_repeated_request_waits_longer_for_an_answer_that_is_on_its_way() {
    let mut rig = Rig::online();
    rig.receive(Message { expiry: Some(10), ..request("ON", b"1") });
    let asked = rig.executed().remove(0);
    lose_connection(&mut rig);
    rig.handle(Input::Answered { request: asked.id, answer: Answer::text("ON") });
    rig.take();
    rig.connect(connack(Some("alice"), true));
    rig.receive(Message { expiry: Some(30), dup: true, ..request("ON", b"1") });
    rig.grant();
    let answer = rig.published().into_iter().find(|m| m.user_property("__stat").is_some());
    assert!(answer.is_some(), "the first copy's requester has gone, the second's has not");
}
