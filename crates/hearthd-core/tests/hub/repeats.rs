//! Who asks again, and what is true by then.

use std::time::Duration;

use hearthd_core::{
    Answer, Disconnection, Input, Message, Notice, Output, QoS, SENDER_ACCOUNT, Status,
};

use crate::test_hub::{TestHub, config, connack, request, retry, state, status};

/// Lets the lamp answer whatever it was told, and the broker take it.
fn finish(hub: &mut TestHub, state: &'static str) {
    for asked in hub.executed() {
        hub.answer(&asked, Answer::text(state));
    }
    hub.accept_all();
}

fn ask(hub: &mut TestHub, message: Message) -> Vec<Message> {
    hub.take();
    let payload = match &message.payload[..] {
        b"OFF" => "OFF",
        _ => "ON",
    };
    hub.receive(message);
    finish(hub, payload);
    hub.published().into_iter().filter(|m| m.user_property("__stat").is_some()).collect()
}

fn toggle() -> Message {
    request("TOGGLE", b"t")
}

#[test]
fn equal_requests_without_a_mark_are_carried_out_again() {
    let mut hub = TestHub::online();
    for _ in 0..2 {
        let answers = ask(&mut hub, request("ON", b"1"));
        assert_eq!(answers.len(), 1);
        assert_eq!(answers[0].user_property("repeated"), None);
        assert_eq!(hub.executed().len(), 1);
    }
}

#[test]
fn on_off_on_by_a_counter_that_starts_again_leaves_the_lamp_on() {
    let mut hub = TestHub::online();
    ask(&mut hub, request("ON", b"1"));
    ask(&mut hub, request("OFF", b"2"));
    let answers = ask(&mut hub, request("ON", b"1"));
    assert_eq!(hub.executed().len(), 1);
    assert_eq!(&answers[0].payload[..], b"ON");
}

#[test]
fn what_may_be_done_once_is_a_repeat_without_a_mark() {
    let mut hub = TestHub::online();
    ask(&mut hub, toggle());
    let answers = ask(&mut hub, toggle());
    assert!(hub.executed().is_empty());
    assert_eq!(answers[0].user_property("repeated"), Some("2023-11-14T22:13:20Z"));
    assert_eq!(&answers[0].payload[..], b"ON");
}

#[test]
fn a_marked_repeat_gets_the_first_answer_as_long_as_it_is_true() {
    let mut hub = TestHub::online();
    ask(&mut hub, request("ON", b"1"));
    let answers = ask(&mut hub, retry(request("ON", b"1")));
    assert!(hub.executed().is_empty());
    assert!(answers[0].user_property("repeated").is_some());
    ask(&mut hub, request("OFF", b"2"));
    let answers = ask(&mut hub, retry(request("ON", b"1")));
    assert!(hub.executed().is_empty());
    let answer = &answers[0];
    assert_eq!((status(answer), answer.user_property("reason")), ("409", Some("superseded")));
    assert_eq!(answer.user_property("__propVal"), Some("OFF"));
    assert_eq!(answer.user_property("first_status"), Some("200"));
}

#[test]
fn a_device_at_rest_that_tells_another_state_supersedes_the_first_answer() {
    let mut hub = TestHub::online();
    ask(&mut hub, request("ON", b"1"));
    hub.handle(state("lamp", "power", "OFF"));
    let answers = ask(&mut hub, retry(request("ON", b"1")));
    assert_eq!(answers[0].user_property("reason"), Some("superseded"));
}

#[test]
fn a_read_whose_answer_waits_is_read_anew_only_where_that_is_not_so_any_more() {
    let mut hub = TestHub::online();
    hub.receive(request("", b"r"));
    let asked = hub.executed().remove(0);
    hub.answer(&asked, Answer::text("ON"));
    hub.take();
    hub.receive(retry(request("", b"r")));
    assert!(hub.executed().is_empty() && hub.published().is_empty(), "the answer is on its way");
    hub.handle(state("lamp", "power", "OFF"));
    let answers = ask(&mut hub, retry(request("", b"r")));
    assert_eq!(hub.executed().len(), 1);
    assert_eq!((answers.len(), status(&answers[0])), (1, "200"));
}

#[test]
fn a_state_that_was_read_and_found_no_room_is_not_told_on_a_later_connection() {
    let mut hub = TestHub::online();
    let read = |n: u16| Message {
        qos: QoS::AtMostOnce,
        correlation_data: Some(n.to_be_bytes().to_vec().into()),
        ..request("", b"")
    };
    let last = 1030_u16;
    for n in 0..=last {
        hub.take();
        hub.handle(Input::Received { message: read(n), delivery: None });
        let asked = hub.executed().remove(0);
        hub.answer(&asked, Answer::text("ON"));
    }
    let full = |output: &Output| matches!(output, Output::Notice(Notice::QueueFull { .. }));
    assert!(hub.outputs.iter().any(full));
    hub.take();
    hub.handle(Input::Disconnected(Disconnection::Lost { error: String::new() }));
    hub.advance(Duration::from_secs(2));
    hub.go_online(true);
    let answered = hub.published().into_iter().filter(|m| m.user_property("__stat").is_some());
    let answered: Vec<_> = answered.filter_map(|answer| answer.correlation_data).collect();
    assert!(!answered.is_empty());
    assert!(!answered.contains(&last.to_be_bytes().to_vec().into()));
}

#[test]
fn a_set_of_several_is_superseded_by_any_of_them() {
    let set = |payload: &'static str, data: &'static [u8]| Message {
        topic: "alice/cmnd/lamp/set".into(),
        ..request(payload, data)
    };
    let mut hub = TestHub::online();
    hub.receive(set(r#"{"power":"ON","brightness":50}"#, b"1"));
    let states = serde_json::json!({ "power": "ON", "brightness": 50 });
    let asked = hub.executed().remove(0);
    hub.answer(&asked, Answer::json(&states));
    hub.accept_all();
    hub.take();
    hub.receive(retry(set(r#"{"power":"ON","brightness":50}"#, b"1")));
    assert_eq!(status(&hub.published()[0]), "200");
    hub.accept_all();
    ask(&mut hub, request("OFF", b"2"));
    hub.take();
    hub.receive(retry(set(r#"{"power":"ON","brightness":50}"#, b"1")));
    let answer = hub.published().remove(0);
    assert_eq!(answer.user_property("reason"), Some("superseded"));
    assert_eq!(answer.user_property("__propName"), Some("power"));
}

#[test]
fn what_was_superseded_is_known_after_a_restart() {
    let mut before = TestHub::online();
    ask(&mut before, toggle());
    before.advance(Duration::from_secs(1));
    before.unix += Duration::from_secs(1);
    ask(&mut before, request("OFF", b"2"));
    let mut hub = before.restarted(true);
    hub.handle(state("lamp", "power", "OFF"));
    hub.receive(Message { dup: true, ..toggle() });
    hub.accept_all();
    assert!(hub.executed().is_empty(), "the lamp has told how it is");
    let answer = hub.published().into_iter().find(|m| m.user_property("__stat").is_some());
    assert_eq!(answer.unwrap().user_property("reason"), Some("superseded"));
}

#[test]
fn a_device_that_may_have_forgotten_is_read_before_its_first_answer_is_given_again() {
    let reads = [
        (Answer::text("ON"), ("200", None, Some("ON"))),
        (Answer::text("OFF"), ("409", Some("superseded"), None)),
        (Answer::failure(Status::Unavailable, "unplugged"), ("409", Some("indeterminate"), None)),
        (Answer::failure(Status::NotFound, "it cannot be read"), ("200", None, Some("ON"))),
    ];
    for (read, expected) in reads {
        for crashes in [false, true] {
            let mut before = TestHub::online();
            ask(&mut before, toggle());
            let mut hub = if crashes {
                before.handle(state("lamp", "status", "restarting"));
                before
            } else {
                before.restarted(true)
            };
            hub.take();
            hub.receive(Message { dup: true, ..toggle() });
            let asked = hub.executed();
            assert_eq!((asked.len(), &asked[0].payload[..]), (1, &b""[..]), "it is only read");
            assert!(hub.published().iter().all(|m| m.user_property("__stat").is_none()));
            let repeat = hub.receive(Message { dup: true, ..toggle() });
            assert_eq!(hub.executed().len(), 1, "once for both");
            assert!(!hub.acknowledged().contains(&repeat));
            hub.answer(&asked[0], read.clone());
            hub.accept_all();
            assert!(hub.acknowledged().contains(&repeat));
            let answers = hub.published();
            let answers: Vec<_> =
                answers.iter().filter(|m| m.user_property("__stat").is_some()).collect();
            let (code, reason, payload) = expected;
            assert_eq!(answers.len(), 1, "{answers:#?}");
            assert_eq!((status(answers[0]), answers[0].user_property("reason")), (code, reason));
            assert!(answers[0].user_property("repeated").is_some());
            assert_eq!(answers[0].user_property("first_status"), Some("200"));
            if let Some(payload) = payload {
                assert_eq!(&answers[0].payload[..], payload.as_bytes());
            }
        }
    }
}

#[test]
fn what_is_said_in_the_place_of_an_answer_on_its_way_is_read_as_well_where_the_device_begins_anew()
{
    let mut hub = TestHub::online();
    for data in [b"1", b"2"] {
        hub.receive(request("TOGGLE", data));
        let asked = hub.executed().pop().expect("the lamp is asked");
        hub.answer(&asked, Answer::text(if data == b"1" { "ON" } else { "OFF" }));
    }
    hub.handle(state("lamp", "status", "restarting"));
    hub.take();
    hub.receive(retry(request("TOGGLE", b"1")));
    let asked = hub.executed();
    assert_eq!((asked.len(), &asked[0].payload[..]), (1, &b""[..]));
    hub.answer(&asked[0], Answer::text("0"));
    let answers = hub.published();
    let answer = answers.iter().find(|m| m.user_property("reason") == Some("superseded"));
    assert_eq!(answer.expect("it is answered").user_property("__propVal"), Some("0"));
}

#[test]
fn an_end_is_not_told_again_by_a_device_that_has_begun_anew_while_the_first_answer_is_on_its_way() {
    let mut hub = TestHub::online();
    hub.receive(request("TOGGLE", b"1"));
    let asked = hub.executed().pop().expect("the lamp is asked");
    hub.answer(&asked, Answer::text("OFF").accepted());
    hub.handle(Input::Ended { request: asked.id, answer: Answer::text("ON") });
    hub.handle(state("lamp", "status", "restarting"));
    hub.take();
    hub.receive(retry(request("TOGGLE", b"1")));
    let asked = hub.executed();
    assert_eq!((asked.len(), &asked[0].payload[..]), (1, &b""[..]));
    assert!(hub.published().iter().all(|m| m.user_property("__stat").is_none()));
}

#[test]
fn answers_that_are_late_wait_for_one_read_of_their_property() {
    let reads = [
        (Answer::text("ON"), [("200", None), ("409", Some("superseded"))]),
        (
            Answer::failure(Status::Unavailable, "unplugged"),
            [("409", Some("indeterminate")), ("409", Some("indeterminate"))],
        ),
    ];
    for (read, expected) in reads {
        let mut before = TestHub::online();
        for (data, state) in [(b"1", "ON"), (b"2", "OFF")] {
            before.receive(request("TOGGLE", data));
            let asked = before.executed().pop().expect("the lamp is asked");
            before.answer(&asked, Answer::text(state));
        }
        let mut hub = before.restarted(false);
        let asked = hub.executed();
        assert_eq!((asked.len(), &asked[0].payload[..]), (1, &b""[..]));
        hub.answer(&asked[0], read);
        hub.accept_all();
        assert_eq!(hub.executed().len(), 1);
        let answers = hub.published().into_iter().filter(|m| m.user_property("__stat").is_some());
        let said: Vec<_> = answers
            .map(|m| (status(&m).to_owned(), m.user_property("reason").map(str::to_owned)))
            .collect();
        let expected = expected.map(|(code, reason)| (code.into(), reason.map(str::to_owned)));
        assert_eq!(said, expected);
    }
}

#[test]
fn a_device_that_does_not_come_back_leaves_its_first_answer_in_doubt() {
    let mut before = TestHub::online();
    ask(&mut before, toggle());
    let mut hub = before.restarted(true);
    hub.receive(Message { dup: true, ..toggle() });
    hub.advance(Duration::from_secs(5));
    hub.accept_all();
    let answers = hub.published();
    let answer = answers.iter().find(|m| m.user_property("__stat").is_some()).unwrap();
    assert_eq!((status(answer), answer.user_property("reason")), ("409", Some("indeterminate")));
    assert!(String::from_utf8_lossy(&answer.payload).contains("was answered 200 at 2023-11-14"));
}

#[test]
fn a_read_is_never_answered_from_the_journal() {
    let mut hub = TestHub::online();
    for mark in [false, true] {
        let read = request("", b"r");
        let read = if mark { retry(read) } else { read };
        ask(&mut hub, read);
        assert_eq!(hub.executed().len(), 1);
    }
}

#[test]
fn another_account_with_the_same_topic_and_data_is_another_sender() {
    let from = |account: &str| Message {
        user_properties: vec![
            (SENDER_ACCOUNT.into(), account.into()),
            ("retry".into(), "1".into()),
        ],
        ..request("ON", b"1")
    };
    for vouches in [true, false] {
        let mut hub = TestHub::new(config(), TestHub::online().memory);
        hub.connect(hearthd_core::Connack { vouches, ..connack(Some("alice"), false) });
        hub.grant();
        hub.fence();
        hub.settle();
        hub.accept_all();
        ask(&mut hub, from("phone"));
        ask(&mut hub, from("tablet"));
        assert_eq!(hub.executed().len(), usize::from(vouches));
    }
}

#[test]
fn long_correlation_data_is_kept_as_a_digest_and_still_names_its_request() {
    let data: &'static [u8] = Box::leak(vec![b'x'; 60_000].into_boxed_slice());
    let other: &'static [u8] = Box::leak([&[b'x'; 59_999][..], b"y"].concat().into_boxed_slice());
    let mut hub = TestHub::online();
    let answers = ask(&mut hub, Message { correlation_data: Some(data.into()), ..toggle() });
    assert_eq!(answers[0].correlation_data.as_deref(), Some(data), "verbatim, whatever its length");
    let record = hub.journal.values().next().unwrap();
    assert!(format!("{record:?}").len() < 2000);
    ask(&mut hub, Message { correlation_data: Some(data.into()), ..toggle() });
    assert!(hub.executed().is_empty());
    ask(&mut hub, Message { correlation_data: Some(other.into()), ..toggle() });
    assert_eq!(hub.executed().len(), 1);
}

#[test]
fn a_sender_with_much_pushes_out_its_own_entries_and_nobody_elses() {
    let mut hub =
        TestHub::new(hearthd_core::HubConfig { queue: 64, ..config() }, TestHub::online().memory);
    hub.go_online(false);
    ask(&mut hub, Message { response_topic: Some("alice/response/tablet/1".into()), ..toggle() });
    for n in 0..3000_u32 {
        hub.receive(Message {
            correlation_data: Some(n.to_be_bytes().to_vec().into()),
            ..request("TOGGLE", b"")
        });
        finish(&mut hub, "ON");
        hub.take();
    }
    ask(&mut hub, Message { response_topic: Some("alice/response/tablet/1".into()), ..toggle() });
    assert!(hub.executed().is_empty(), "the tablet's request is remembered");
}

#[test]
fn large_requests_to_a_slow_device_leave_room_for_others() {
    let data: &'static [u8] = Box::leak(vec![b'x'; 60_000].into_boxed_slice());
    let mut hub = TestHub::online();
    for _ in 0..100 {
        hub.receive(Message { correlation_data: Some(data.into()), ..request("ON", b"") });
    }
    let busy = hub.published();
    assert!(busy.iter().all(|answer| status(answer) == "429"), "its own share is used up");
    assert!(!busy.is_empty());
    hub.accept_all();
    hub.take();
    let blinds = Message {
        topic: "alice/cmnd/blinds/position".into(),
        response_topic: Some("alice/response/tablet/1".into()),
        ..request("50", b"b")
    };
    hub.receive(blinds);
    assert_eq!(hub.executed().len(), 1);
}

#[test]
fn what_waited_through_an_outage_is_held_back_and_all_carried_out() {
    let mut hub = TestHub::online().restarted(true);
    for n in 0..1000_u32 {
        hub.receive(Message {
            expiry: Some(600),
            correlation_data: Some(n.to_be_bytes().to_vec().into()),
            ..request("ON", b"")
        });
    }
    let mut carried_out = 0;
    loop {
        let executed = hub.executed();
        hub.take();
        if executed.is_empty() {
            break;
        }
        assert!(executed.len() <= 2, "no more than the device is given at a time");
        carried_out += executed.len();
        hub.now += Duration::from_millis(10);
        for asked in executed {
            hub.answer(&asked, Answer::text("ON"));
        }
        let published = hub.published();
        assert!(published.iter().all(|m| m.user_property("__stat").is_none_or(|s| s == "200")));
        let executed: Vec<_> = hub.executed();
        hub.accept_all();
        hub.outputs.retain(|output| matches!(output, hearthd_core::Output::Execute(_)));
        assert!(executed.len() <= hub.executed().len());
    }
    assert_eq!(carried_out, 1000);
}

#[test]
fn an_answer_that_is_refused_for_now_goes_again() {
    let mut hub = TestHub::online();
    hub.receive(request("ON", b"1"));
    let asked = hub.executed().remove(0);
    hub.answer(&asked, Answer::text("ON"));
    let id = |hub: &TestHub| {
        let publish = hub.outputs.iter().rev().find_map(|output| match output {
            hearthd_core::Output::Publish { id, .. } => Some(*id),
            _ => None,
        });
        publish.unwrap()
    };
    let first = id(&hub);
    hub.handle(Input::Published { id: first, reason_code: 0x97 });
    assert!(hub.acknowledged().is_empty(), "the request waits for its answer");
    hub.take();
    hub.advance(Duration::from_secs(2));
    assert_eq!(hub.published().len(), 1);
    hub.handle(Input::Published { id: first, reason_code: 0 });
    assert_eq!(hub.acknowledged().len(), 1);
}

#[test]
fn a_broker_that_adds_an_expiry_makes_no_old_request_look_dated() {
    let mut before = TestHub::online().restarted(true);
    let fence = before.published().into_iter().find(|m| m.topic.ends_with("/fence")).unwrap();
    assert_eq!(fence.expiry, None);
    before.receive(Message { expiry: Some(86_400), ..fence });
    before.advance(Duration::from_millis(300));
    before.accept_all();
    assert!(before.memory.adds_expiry);
    let mut hub = TestHub::new(config(), before.memory.clone());
    hub.subscribe("alice", true);
    hub.receive(Message { expiry: Some(86_300), ..request("ON", b"1") });
    let answer = hub.published().into_iter().find(|m| m.user_property("__stat").is_some());
    assert_eq!(answer.unwrap().user_property("reason"), Some("stale"));
    let marked = Message {
        expiry: Some(30),
        user_properties: vec![("expiry".into(), "60".into())],
        ..request("ON", b"2")
    };
    hub.receive(marked);
    assert_eq!(hub.executed().len(), 1);
}

#[test]
fn a_command_that_nobody_is_answered_about_leaves_a_trace() {
    let event = |hub: &mut TestHub, message: Message| -> serde_json::Value {
        hub.take();
        hub.receive(Message { response_topic: None, ..message });
        for asked in hub.executed() {
            hub.answer(&asked, Answer::failure(hearthd_core::Status::Unprocessable, "too bright"));
        }
        let events: Vec<_> =
            hub.published().into_iter().filter(|m| m.topic == "alice/event/lamp").collect();
        assert_eq!(events.len(), 1);
        assert!(!events[0].retain);
        hub.accept_all();
        hub.advance(Duration::from_secs(1));
        serde_json::from_slice(&events[0].payload).unwrap()
    };
    let mut hub = TestHub::online();
    let wrong = event(&mut hub, request("999", b"1"));
    assert_eq!(
        (wrong["status"].as_u64(), wrong["message"].as_str()),
        (Some(422), Some("too bright"))
    );
    assert_eq!(wrong["property"], "power");
    let retained = event(&mut hub, Message { retain: true, ..request("ON", b"2") });
    assert_eq!(retained["status"], 400);
    assert_eq!(retained["payload"], "ON");
    let late = event(&mut hub, Message { expiry: Some(0), ..request("ON", b"3") });
    assert_eq!(late["status"], 408);
    let mut hub = TestHub::online().restarted(true);
    let stale = event(&mut hub, request("ON", b"4"));
    assert_eq!(stale["reason"], "stale");
}

#[test]
fn a_flood_of_bad_commands_is_told_now_and_then() {
    let mut hub = TestHub::online();
    for _ in 0..1000 {
        hub.receive(Message { response_topic: None, retain: true, ..request("ON", b"1") });
    }
    hub.accept_all();
    assert!(hub.published().len() <= 11, "{}", hub.published().len());
    let notices =
        hub.outputs.iter().filter(|o| matches!(o, hearthd_core::Output::Notice(_))).count();
    assert!(notices < 1020, "one for each answer at debug, and few more: {notices}");
}

#[test]
fn without_a_prefix_answers_go_where_responses_go_and_nowhere_else() {
    let mut hub = TestHub::new(config(), hearthd_core::Memory::default());
    hub.connect(connack(None, false));
    hub.handle(Input::Disconnected(hearthd_core::Disconnection::Requested));
    hub.connect(connack(None, true));
    hub.grant();
    hub.fence();
    hub.accept_all();
    let mut ask = |topic: &str| {
        hub.take();
        hub.receive(Message {
            topic: "cmnd/lamp/power".into(),
            response_topic: Some(topic.into()),
            ..request("ON", b"1")
        });
        let executed = hub.executed();
        executed.iter().for_each(|asked| hub.answer(asked, Answer::text("ON")));
        hub.accept_all();
        executed.len()
    };
    assert_eq!(ask("response/phone/1"), 1);
    assert_eq!(ask("state/lamp/power"), 1, "the classic form");
    for topic in ["zigbee2mqtt/siren/set", "state/blinds/position", "state/lamp/status", "x"] {
        assert_eq!(ask(topic), 0, "{topic}");
    }
}

#[test]
fn a_name_that_is_used_again_with_other_contents_takes_no_requests_place() {
    let mut hub = TestHub::online();
    ask(&mut hub, toggle());
    ask(&mut hub, Message { topic: "alice/cmnd/blinds/step".into(), ..request("1", b"t") });
    assert_eq!(hub.executed().len(), 1);
    ask(&mut hub, retry(toggle()));
    assert!(hub.executed().is_empty(), "the first is still known");
}

#[test]
fn large_requests_under_way_push_nobodys_entries_out() {
    let data: &'static [u8] = Box::leak(vec![b'x'; 50_000].into_boxed_slice());
    let mut hub =
        TestHub::new(hearthd_core::HubConfig { queue: 64, ..config() }, TestHub::online().memory);
    hub.go_online(false);
    ask(&mut hub, toggle());
    hub.take();
    for n in 0..40_u8 {
        let mut name = data.to_vec();
        name.push(n);
        hub.receive(Message {
            topic: "alice/cmnd/blinds/step".into(),
            response_topic: Some(format!("alice/response/stranger-{n}/1")),
            correlation_data: Some(name.into()),
            ..request("1", b"")
        });
    }
    let other = Message { response_topic: Some("alice/response/tablet/1".into()), ..toggle() };
    ask(&mut hub, other);
    ask(&mut hub, retry(toggle()));
    assert!(hub.executed().is_empty(), "the first is still known");
}
