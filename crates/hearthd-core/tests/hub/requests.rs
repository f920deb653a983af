//! Every accepted request gets one definite answer.

use std::time::Duration;

use hearthd_core::{Answer, Disconnection, Input, Message, Notice, Output, QoS, Status};

use crate::test_hub::{TestHub, config, connack, request, state, status};

#[test]
fn the_answer_carries_correlation_data_qos_and_status() {
    let mut hub = TestHub::online();
    let delivery = hub.receive(request("ON", b"\0\xff any bytes"));
    let asked = hub.executed().remove(0);
    assert_eq!((&*asked.device, &*asked.property), ("lamp", "power"));
    hub.answer(&asked, Answer::text("ON"));
    let response = hub.published().pop().unwrap();
    assert_eq!(response.topic, "alice/response/phone/lamp");
    assert_eq!(response.correlation_data.as_deref(), Some(&b"\0\xff any bytes"[..]));
    assert_eq!(response.qos, QoS::AtLeastOnce);
    assert!(!response.retain && response.utf8 && response.response_topic.is_none());
    assert_eq!(response.content_type.as_deref(), Some("text/plain"));
    assert_eq!((status(&response), &response.payload[..]), ("200", &b"ON"[..]));
    assert!(hub.acknowledged().is_empty(), "PUBACK waits for the answer's PUBACK");
    hub.accept_all();
    assert_eq!(hub.acknowledged(), [delivery]);
}

#[test]
fn a_failure_says_what_is_wrong_twice() {
    let mut hub = TestHub::online();
    hub.receive(request("banana", b"1"));
    let asked = hub.executed().remove(0);
    let answer = Answer::failure(Status::BadRequest, "no fruit").about("power", Some("banana"));
    hub.answer(&asked, answer);
    let response = hub.published().pop().unwrap();
    assert_eq!(status(&response), "400");
    assert_eq!(response.user_property("__stMsg"), Some("no fruit"));
    assert_eq!(response.user_property("__propName"), Some("power"));
    assert_eq!(response.user_property("__propVal"), Some("banana"));
    let facts: serde_json::Value = serde_json::from_slice(&response.payload).unwrap();
    let expected = r#"{"message":"no fruit","property":"power","status":400,"value":"banana"}"#;
    assert_eq!(facts, serde_json::from_str::<serde_json::Value>(expected).unwrap());
}

#[test]
fn a_few_failures_a_minute_are_told_with_who_asked_and_why() {
    let mut hub = TestHub::online();
    let mut told = Vec::new();
    for n in 0..9 {
        let payload = if n == 0 { "ON" } else { "banana" };
        hub.receive(request(payload, Box::leak(Box::new([n]))));
        let asked = hub.executed().remove(0);
        let answer = match n {
            0 => Answer::text("ON"),
            _ => Answer::failure(Status::BadRequest, "no fruit"),
        };
        hub.answer(&asked, answer);
        hub.accept_all();
        let notices = hub.take().into_iter().filter_map(|output| match output {
            Output::Notice(Notice::RequestAnswered { failure, .. }) => failure,
            _ => None,
        });
        told.extend(notices);
        if n == 7 {
            hub.advance(Duration::from_secs(60));
        }
    }
    let mores: Vec<_> = told.iter().map(|failure| failure.more).collect();
    assert_eq!(mores, [0, 0, 0, 0, 0, 2]);
    assert_eq!(&*told[0].requester, "alice/response/phone/lamp");
    assert_eq!(told[0].message, "no fruit");
}

#[test]
fn a_request_for_a_device_that_the_hub_does_not_have_is_none_of_its_business() {
    let mut hub = TestHub::online();
    let toaster = Message { topic: "alice/cmnd/toaster/power".into(), ..request("ON", b"1") };
    let delivery = hub.receive(toaster);
    assert!(hub.executed().is_empty());
    assert!(hub.published().is_empty());
    assert_eq!(hub.acknowledged(), [delivery]);
}

#[test]
fn a_silent_device_costs_the_requester_one_deadline() {
    let mut hub = TestHub::online();
    hub.receive(request("ON", b"1"));
    let asked = hub.executed().remove(0);
    hub.advance(Duration::from_millis(4999));
    assert!(hub.published().is_empty());
    hub.advance(Duration::from_millis(1));
    assert_eq!(status(&hub.published()[0]), "408");
    hub.answer(&asked, Answer::text("ON"));
    assert_eq!(hub.published().len(), 1, "the late answer is dropped");
}

#[test]
fn message_expiry_shortens_the_deadline_and_the_response_carries_the_rest() {
    let mut hub = TestHub::online();
    hub.receive(Message { expiry: Some(3), ..request("ON", b"1") });
    let asked = hub.executed().remove(0);
    assert_eq!(asked.remaining, Duration::from_secs(3));
    hub.advance(Duration::from_secs(1));
    hub.answer(&asked, Answer::text("ON"));
    assert_eq!(hub.published()[0].expiry, Some(2));
}

#[test]
fn an_expired_request_is_neither_executed_nor_answered() {
    let mut hub = TestHub::online();
    let delivery = hub.receive(Message { expiry: Some(0), ..request("ON", b"1") });
    assert!(hub.executed().is_empty());
    assert!(hub.published().iter().all(|message| message.topic == "alice/event/lamp"));
    assert_eq!(hub.acknowledged(), [delivery]);
}

#[test]
fn more_requests_than_the_device_is_given_at_a_time_wait_for_their_turn() {
    let mut hub = TestHub::online();
    for data in [&b"1"[..], b"2", b"3"] {
        hub.receive(request("ON", data));
    }
    let executed = hub.executed();
    assert_eq!(executed.len(), 2);
    hub.answer(&executed[0], Answer::text("ON"));
    assert_eq!(hub.executed().len(), 3);
    assert_eq!(hub.executed()[2].remaining, Duration::from_secs(5), "its time begins now");
}

#[test]
fn a_request_whose_turn_does_not_come_in_time_is_409_and_not_carried_out() {
    let mut hub = TestHub::online();
    for data in [&b"1"[..], b"2", b"3"] {
        hub.receive(request("ON", data));
    }
    hub.advance(Duration::from_secs(5));
    let answers = hub.published();
    let third = answers.iter().find(|m| m.correlation_data.as_deref() == Some(b"3")).unwrap();
    assert_eq!((status(third), third.user_property("reason")), ("409", Some("queued")));
    assert_eq!(hub.executed().len(), 2);
}

#[test]
fn a_device_that_does_not_answer_has_no_more_than_its_queue() {
    let mut hub = TestHub::online();
    hub.receive(request("ON", b"1"));
    hub.advance(Duration::from_secs(5));
    hub.take();
    for data in [&b"2"[..], b"3", b"4"] {
        hub.receive(request("ON", data));
    }
    assert_eq!(hub.executed().len(), 2);
    assert_eq!(status(&hub.published()[0]), "429");
}

#[test]
fn a_response_topic_out_of_bounds_is_refused_and_the_request_not_executed() {
    let mut hub = TestHub::online();
    for topic in [
        "bob/response/phone/lamp",
        "alice",
        "alicea/response",
        "alice/+/phone",
        "alice/#",
        "$SYS/broker",
        "",
        "alice/\0",
        "alice/cmnd/lamp/power",
        "alice/response/hub/will",
        "alice/response/hub/fence",
        "alice/hub/hub/presence",
        "alice/hub/attic/presence",
        "alice/hub/hub/absence",
        "alice/hub/attic/zzz",
        "alice/cmnd/a/b/c",
        "alice/cmnd//b",
        "alice/response/attic/will",
        "alice/response/attic/fence/x",
        "alice/response/attic/session",
        "alice/event/lamp",
        "alice/state/blinds/position",
        "alice/state/lamp/brightness",
        "alice/state/lamp/status",
        "alice/state/lamp",
    ] {
        let message = Message { response_topic: Some(topic.into()), ..request("ON", b"1") };
        let delivery = hub.receive(message);
        assert!(hub.executed().is_empty(), "{topic:?}");
        let events = |message: &Message| message.topic == "alice/event/lamp";
        assert!(hub.published().iter().all(events), "{topic:?}");
        assert_eq!(hub.acknowledged().last(), Some(&delivery), "{topic:?}");
    }
}

#[test]
fn a_request_without_response_topic_is_executed_and_not_answered() {
    let mut hub = TestHub::online();
    let delivery = hub.receive(Message { response_topic: None, ..request("ON", b"1") });
    let asked = hub.executed().remove(0);
    hub.answer(&asked, Answer::text("ON"));
    assert!(hub.published().is_empty());
    assert_eq!(hub.acknowledged(), [delivery]);
}

#[test]
fn a_retained_request_is_never_executed() {
    let mut hub = TestHub::online();
    hub.receive(Message { retain: true, ..request("ON", b"1") });
    assert!(hub.executed().is_empty());
    assert_eq!(status(&hub.published()[0]), "400");
}

#[test]
fn a_payload_that_is_too_large_is_400() {
    let mut hub = TestHub::online();
    hub.receive(Message { payload: vec![b'x'; 1025].into(), ..request("", b"1") });
    assert!(hub.executed().is_empty());
    assert_eq!(status(&hub.published()[0]), "400");
}

#[test]
fn a_redelivery_gets_the_first_answer_and_is_executed_once() {
    let mut hub = TestHub::online();
    hub.receive(request("TOGGLE", b"1"));
    let asked = hub.executed().remove(0);
    hub.answer(&asked, Answer::text("ON"));
    hub.accept_all();
    hub.take();
    hub.receive(Message { dup: true, ..request("TOGGLE", b"1") });
    assert!(hub.executed().is_empty());
    let response = hub.published().pop().unwrap();
    assert_eq!((status(&response), &response.payload[..]), ("200", &b"ON"[..]));
}

#[test]
fn the_same_correlation_data_with_another_payload_is_another_request() {
    let mut hub = TestHub::online();
    hub.receive(request("ON", b"1"));
    hub.receive(request("OFF", b"1"));
    assert_eq!(hub.executed().len(), 2);
}

#[test]
fn answers_survive_a_lost_connection() {
    let mut hub = TestHub::online();
    hub.receive(request("ON", b"1"));
    let asked = hub.executed().remove(0);
    hub.answer(&asked, Answer::text("ON"));
    hub.handle(Input::Disconnected(Disconnection::Lost { error: "cut".into() }));
    hub.take();
    hub.advance(Duration::from_secs(60));
    hub.go_online_unfenced(false);
    let again = hub.published().into_iter().filter(|m| m.topic.ends_with("phone/lamp")).count();
    assert_eq!(again, 1);
}

#[test]
fn what_waited_while_the_hub_was_away_is_stale_without_an_expiry() {
    let mut hub = TestHub::online().restarted(true);
    hub.accept_all();
    hub.take();
    hub.receive(request("ON", b"1"));
    hub.receive(Message { expiry: Some(9), ..request("ON", b"2") });
    assert_eq!(status(&hub.published()[0]), "409");
    assert_eq!(hub.executed().len(), 1);
}

#[test]
fn pubacks_go_out_in_the_order_of_arrival() {
    let mut hub = TestHub::online();
    let first = hub.receive(request("ON", b"1"));
    let second = hub.receive(request("OFF", b"2"));
    let asked = hub.executed();
    hub.answer(&asked[1], Answer::text("OFF"));
    hub.accept_all();
    assert!(hub.acknowledged().is_empty());
    hub.answer(&asked[0], Answer::text("ON"));
    hub.accept_all();
    assert_eq!(hub.acknowledged(), [first, second]);
}

#[test]
fn no_more_than_the_window_is_in_flight() {
    for (receive_maximum, window) in [(1, 1), (2, 1), (6, 3), (20, 10), (65_535, 64)] {
        let mut devices = config().devices;
        let lamp = devices.get_mut("lamp").expect("the lamp is there");
        lamp.properties.extend((0..100).map(|index| format!("p{index}")));
        let mut hub = TestHub::online();
        hub.handle(Input::Devices(devices));
        hub.handle(Input::Disconnected(Disconnection::Lost { error: "cut".into() }));
        hub.take();
        for index in 0..100 {
            hub.handle(state("lamp", &format!("p{index}"), "1"));
        }
        hub.advance(Duration::from_secs(60));
        hub.connect(hearthd_core::Connack { receive_maximum, ..connack(Some("alice"), true) });
        hub.grant();
        assert_eq!(hub.published().len(), window, "receive maximum {receive_maximum}");
        hub.accept_all();
        let all = "the states, the fence, and what asks whose session it is";
        assert_eq!(hub.published().len(), 100 + 2, "receive maximum {receive_maximum}: {all}");
    }
}

#[test]
fn an_answer_that_the_broker_cannot_take_becomes_a_500() {
    let mut hub = TestHub::online();
    hub.handle(Input::Disconnected(Disconnection::Lost { error: "cut".into() }));
    hub.advance(Duration::from_secs(60));
    let small = Some(1024);
    let connack =
        hearthd_core::Connack { maximum_packet_size: small, ..connack(Some("alice"), true) };
    hub.connect(connack);
    hub.handle(Input::Subscribed { reason_codes: vec![1, 1, 1] });
    hub.fence();
    hub.accept_all();
    hub.take();
    hub.receive(request("", b"1"));
    let asked = hub.executed().remove(0);
    hub.answer(&asked, Answer::text(vec![b'x'; 2000]));
    assert_eq!(status(&hub.published()[0]), "500");
}

#[test]
fn no_user_property_has_a_character_that_brokers_refuse() {
    let mut hub = TestHub::online();
    hub.receive(request("\0\u{7f}\u{ffff}", b"1"));
    let asked = hub.executed().remove(0);
    let text = "a\0b\u{1b}\u{fdd0}\u{ffff}c";
    hub.answer(&asked, Answer::failure(Status::BadRequest, text).about("power", Some(text)));
    let response = hub.published().pop().unwrap();
    let clean = "a\u{fffd}b\u{fffd}\u{fffd}\u{fffd}c";
    assert_eq!(response.user_property("__stMsg"), Some(clean));
    assert_eq!(response.user_property("__propVal"), Some(clean));
}

/// Has the lamp say on its own how it is.
fn report(hub: &mut TestHub, payload: &'static str) {
    hub.handle(state("lamp", "power", payload));
}

#[test]
fn an_old_state_is_never_sent_after_a_newer_one() {
    let mut hub = TestHub::online();
    report(&mut hub, "1");
    report(&mut hub, "2");
    hub.handle(Input::Disconnected(Disconnection::Lost { error: "cut".into() }));
    report(&mut hub, "3");
    hub.advance(Duration::from_secs(60));
    hub.take();
    hub.go_online(true);
    let states: Vec<_> =
        hub.published().into_iter().filter(|m| m.topic == "alice/state/lamp/power").collect();
    assert_eq!(states.last().unwrap().payload, "3");
}

#[test]
fn a_clock_that_is_months_behind_and_then_set_changes_nothing_that_is_decided() {
    const MONTHS: Duration = Duration::from_secs(200 * 24 * 3600);
    let play = |behind: Duration| {
        let mut hub = TestHub::online();
        let set = hub.unix;
        hub.unix = set - behind;
        let mut told = Vec::new();
        hub.receive(request("ON", b"1"));
        hub.advance(Duration::from_secs(2));
        told.push(hub.inner.poll_timeout());
        hub.unix = set;
        hub.receive(Message { expiry: Some(4), ..request("OFF", b"2") });
        told.push(hub.inner.poll_timeout());
        hub.advance(Duration::from_millis(3500));
        hub.handle(Input::Disconnected(Disconnection::Lost { error: "cut".into() }));
        told.push(hub.inner.poll_timeout());
        let answers: Vec<_> = hub.published().iter().map(|m| status(m).to_owned()).collect();
        (told, answers, hub.executed())
    };
    let (told, answers, executed) = play(Duration::ZERO);
    assert_eq!((&answers[..], executed.len()), (&["408".to_owned()][..], 2));
    assert_eq!(play(MONTHS), (told, answers, executed));
}

#[test]
fn a_state_that_the_broker_refuses_for_now_goes_again_and_the_newest_alone() {
    let mut hub = TestHub::online();
    let refuse = |hub: &mut TestHub, reason_code: u8| {
        let refused = hub.take().into_iter().find_map(|output| match output {
            Output::Publish { id, .. } => Some(id),
            _ => None,
        });
        hub.handle(Input::Published { id: refused.expect("a state is published"), reason_code });
    };
    report(&mut hub, "1");
    refuse(&mut hub, 0x97);
    report(&mut hub, "2");
    assert_eq!(hub.published(), []);
    hub.advance(Duration::from_secs(10));
    let states: Vec<_> = hub.published().into_iter().map(|state| state.payload).collect();
    assert_eq!(states, ["2"]);
    refuse(&mut hub, 0x87);
    hub.advance(Duration::from_secs(60));
    assert_eq!(hub.published(), [], "what is not authorized stays refused");
}

#[test]
fn a_hub_whose_farewell_is_refused_leaves_the_word_to_its_will() {
    let mut hub = TestHub::online();
    hub.handle(Input::Shutdown);
    let farewell = hub.take().into_iter().find_map(|output| match output {
        Output::Publish { id, .. } => Some(id),
        _ => None,
    });
    hub.handle(Input::Published { id: farewell.expect("a farewell"), reason_code: 0x97 });
    assert!(!hub.outputs.contains(&Output::Disconnect));
    assert!(hub.outputs.contains(&Output::Stopped(Ok(()))));
}
