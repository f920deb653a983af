//! What a device does after it has been answered 202: a shutter that moves.

use std::time::Duration;

use hearthd_core::{
    Answer, Change, Disconnection, Input, Message, Notice, Output, Request, Status,
};
use serde_json::{Value, json};

use crate::test_hub::{TestHub, request, retry, status};

/// Asks the lamp, which accepts; returns the request as the device has it.
fn accepted(hub: &mut TestHub, message: Message) -> Request {
    hub.take();
    hub.receive(message);
    let asked = hub.executed().pop().expect("the device is asked");
    hub.answer(&asked, Answer::text("OFF").accepted());
    hub.accept_all();
    asked
}

fn end(hub: &mut TestHub, asked: &Request, answer: Answer) {
    hub.take();
    hub.handle(Input::Ended { request: asked.id, answer });
    hub.accept_all();
}

fn events(hub: &TestHub) -> Vec<(Value, Option<Vec<u8>>)> {
    let told = hub.published().into_iter().filter(|m| m.topic == "alice/event/lamp");
    told.map(|m| {
        let facts = serde_json::from_slice(&m.payload).expect("an event is JSON");
        (facts, m.correlation_data.map(|data| data.to_vec()))
    })
    .collect()
}

fn responses(hub: &TestHub) -> Vec<Message> {
    hub.published().into_iter().filter(|m| m.user_property("__stat").is_some()).collect()
}

#[test]
fn the_requester_gets_one_answer_and_an_event_tells_the_end_with_its_correlation_data() {
    let mut hub = TestHub::online();
    let asked = accepted(&mut hub, request("ON", b"1"));
    let answers = responses(&hub);
    assert_eq!((answers.len(), status(&answers[0])), (1, "202"));
    assert_eq!(&answers[0].payload[..], b"OFF", "the state as it is now");
    assert_eq!(hub.acknowledged().len(), 1, "the request is settled");
    end(&mut hub, &asked, Answer::text("ON"));
    assert_eq!(responses(&hub), [], "there is no second answer");
    let facts = json!({ "event": "done", "property": "power", "payload": "ON", "status": 200 });
    assert_eq!(events(&hub), [(facts, Some(b"1".to_vec()))]);
    end(&mut hub, &asked, Answer::text("ON"));
    assert_eq!(events(&hub), [], "it ends once");
}

#[test]
fn an_end_that_fails_is_told_as_a_failed_command_with_its_reason() {
    let mut hub = TestHub::online();
    let asked = accepted(&mut hub, request("ON", b"1"));
    end(&mut hub, &asked, Answer::failure(Status::Failed, "it is stuck"));
    let facts = json!({
        "event": "failed", "property": "power", "payload": "ON", "status": 500,
        "message": "it is stuck",
    });
    assert_eq!(events(&hub), [(facts, Some(b"1".to_vec()))]);
    let told = hub
        .take()
        .into_iter()
        .any(|output| matches!(output, Output::Notice(Notice::RequestFailed { status: 500, .. })));
    assert!(told, "the log has it as well");
}

#[test]
fn a_repeat_is_told_what_is_so_by_then() {
    let mut hub = TestHub::online();
    let asked = accepted(&mut hub, request("ON", b"1"));
    let repeat = |hub: &mut TestHub| {
        hub.take();
        hub.receive(retry(request("ON", b"1")));
        assert!(hub.executed().is_empty(), "it is not done twice");
        hub.accept_all();
        responses(hub).pop().expect("a repeat is answered")
    };
    let under_way = repeat(&mut hub);
    assert_eq!((status(&under_way), &under_way.payload[..]), ("202", &b"OFF"[..]));
    end(&mut hub, &asked, Answer::text("ON"));
    let done = repeat(&mut hub);
    assert_eq!((status(&done), &done.payload[..]), ("200", &b"ON"[..]));

    let first = accepted(&mut hub, request("ON", b"2"));
    let _second = accepted(&mut hub, request("OFF", b"3"));
    end(&mut hub, &first, Answer::failure(Status::Failed, "another request came"));
    hub.take();
    hub.receive(retry(request("ON", b"2")));
    assert_eq!(responses(&hub).pop().as_ref().map(status), Some("500"));
}

#[test]
fn a_repeat_does_not_share_an_answer_that_is_on_its_way_and_not_true_any_more() {
    let mut hub = TestHub::online();
    hub.take();
    hub.receive(request("ON", b"1"));
    let asked = hub.executed().pop().expect("the device is asked");
    hub.answer(&asked, Answer::text("OFF").accepted());
    hub.handle(Input::Ended { request: asked.id, answer: Answer::text("ON") });
    hub.receive(retry(request("ON", b"1")));
    let answers = responses(&hub);
    let statuses: Vec<_> = answers.iter().map(status).collect();
    assert_eq!(statuses, ["202", "200"]);
    hub.accept_all();
    assert_eq!(hub.acknowledged().len(), 2);
}

#[test]
fn what_has_ended_while_its_first_answer_was_on_its_way_is_told_on_the_next_connection() {
    for repeated in [false, true] {
        let mut hub = TestHub::online();
        hub.receive(request("ON", b"1"));
        let asked = hub.executed().pop().expect("the device is asked");
        hub.answer(&asked, Answer::text("OFF").accepted());
        hub.handle(Input::Ended { request: asked.id, answer: Answer::text("ON") });
        if repeated {
            hub.receive(retry(request("ON", b"1")));
        }
        hub.take();
        hub.handle(Input::Disconnected(Disconnection::Lost { error: "cut".into() }));
        hub.advance(Duration::from_secs(60));
        hub.go_online(true);
        let answers = responses(&hub);
        assert_eq!(answers.len(), 1 + usize::from(repeated), "{answers:#?}");
        for answer in &answers {
            assert_eq!((status(answer), &answer.payload[..]), ("200", &b"ON"[..]));
        }
    }
}

#[test]
fn what_a_device_had_under_way_when_it_was_removed_is_not_told_to_be_under_way_any_more() {
    let mut hub = TestHub::online();
    hub.receive(request("ON", b"1"));
    let asked = hub.executed().pop().expect("the device is asked");
    hub.answer(&asked, Answer::text("OFF").accepted());
    hub.take();
    hub.handle(Input::Devices(Default::default()));
    let told = |notice: &Notice| matches!(notice, Notice::RequestFailed { status: 409, .. });
    assert!(hub.outputs.iter().any(|o| matches!(o, Output::Notice(notice) if told(notice))));
    hub.handle(Input::Disconnected(Disconnection::Lost { error: "cut".into() }));
    hub.advance(Duration::from_secs(60));
    hub.take();
    hub.go_online(true);
    let answer = responses(&hub).pop().expect("it is answered");
    let expected = ("409", Some("indeterminate"));
    assert_eq!((status(&answer), answer.user_property("reason")), expected);
}

#[test]
fn the_end_is_told_with_long_correlation_data_that_only_the_repeat_has_brought() {
    const LONG: &[u8] = &[7; 100];
    let mut hub = TestHub::online();
    let asked = accepted(&mut hub, request("ON", LONG));
    hub.receive(retry(request("ON", LONG)));
    hub.handle(Input::Ended { request: asked.id, answer: Answer::text("ON") });
    hub.take();
    hub.handle(Input::Disconnected(Disconnection::Lost { error: "cut".into() }));
    hub.advance(Duration::from_secs(60));
    hub.go_online(true);
    let answer = responses(&hub).pop().expect("the repeat is answered");
    assert_eq!((status(&answer), answer.correlation_data.as_deref()), ("200", Some(LONG)));
}

#[test]
fn what_has_ended_while_its_first_answer_was_refused_for_now_is_told_instead() {
    for ends_first in [false, true] {
        let mut hub = TestHub::online();
        hub.receive(request("ON", b"1"));
        let asked = hub.executed().pop().expect("the device is asked");
        hub.take();
        hub.answer(&asked, Answer::text("OFF").accepted());
        let sent = |hub: &TestHub| {
            let outputs = hub.outputs.iter().rev();
            outputs
                .filter_map(|output| match output {
                    Output::Publish { id, message }
                        if message.user_property("__stat").is_some() =>
                    {
                        Some(*id)
                    }
                    _ => None,
                })
                .next()
        };
        let id = sent(&hub).expect("it is answered");
        let ended = Input::Ended { request: asked.id, answer: Answer::text("ON") };
        let refused = Input::Published { id, reason_code: 0x97 };
        let inputs = if ends_first { [ended, refused] } else { [refused, ended] };
        for input in inputs {
            hub.handle(input);
        }
        hub.take();
        hub.advance(Duration::from_secs(2));
        let answers = responses(&hub);
        assert_eq!(answers.iter().map(status).collect::<Vec<_>>(), ["200"]);
    }
}

#[test]
fn the_end_is_kept_for_repeats_after_a_restart_and_without_one_nobody_can_tell() {
    for ended in [true, false] {
        let mut hub = TestHub::online();
        let asked = accepted(&mut hub, request("TOGGLE", b"1"));
        if ended {
            end(&mut hub, &asked, Answer::text("ON"));
        }
        let mut hub = hub.restarted(true);
        hub.go_online(true);
        let told = events(&hub);
        assert_eq!(told.len(), usize::from(!ended), "{told:?}");
        for (facts, data) in told {
            assert_eq!(
                (&facts["event"], &facts["reason"]),
                (&json!("failed"), &json!("indeterminate"))
            );
            assert_eq!(data.as_deref(), Some(&b"1"[..]));
        }
        hub.accept_all();
        let mut hub = hub.restarted(true);
        hub.go_online(true);
        assert_eq!(events(&hub), [], "it is told once");
        hub.accept_all();
        hub.take();
        hub.receive(retry(request("TOGGLE", b"1")));
        if ended {
            hub.reads_are("ON");
        }
        assert!(hub.executed().iter().all(|asked| asked.payload.is_empty()));
        let answer = responses(&hub).pop().expect("it is answered");
        let expected = if ended { ("200", None) } else { ("409", Some("indeterminate")) };
        assert_eq!((status(&answer), answer.user_property("reason")), expected);
    }
}

#[test]
fn an_end_ahead_of_the_first_answer_is_the_answer() {
    let mut hub = TestHub::online();
    hub.take();
    hub.store_works = false;
    hub.receive(request("TOGGLE", b"1"));
    hub.store_catches_up();
    hub.store_works = false;
    let asked = hub.executed().pop().expect("the device is asked");
    hub.answer(&asked, Answer::text("OFF").accepted());
    hub.handle(Input::Ended { request: asked.id, answer: Answer::text("ON") });
    assert_eq!(responses(&hub), [], "the store does not have it");
    hub.store_catches_up();
    let answers = responses(&hub);
    assert_eq!((answers.len(), status(&answers[0])), (1, "200"));
}

#[test]
fn of_too_many_that_are_under_way_nobody_can_know_how_the_oldest_ends() {
    const DATA: [&[u8]; 17] = [
        b"0", b"1", b"2", b"3", b"4", b"5", b"6", b"7", b"8", b"9", b"a", b"b", b"c", b"d", b"e",
        b"f", b"g",
    ];
    let mut hub = TestHub::online();
    let mut asked: Vec<_> =
        DATA[..16].iter().map(|data| accepted(&mut hub, request("ON", data))).collect();
    assert_eq!(events(&hub), []);
    asked.push(accepted(&mut hub, request("ON", DATA[16])));
    let told = events(&hub);
    let (facts, data) = &told[0];
    assert_eq!((told.len(), data.as_deref()), (1, Some(DATA[0])));
    assert_eq!((&facts["status"], &facts["reason"]), (&json!(409), &json!("indeterminate")));
    hub.take();
    hub.receive(retry(request("ON", DATA[0])));
    hub.accept_all();
    assert_eq!(status(&responses(&hub)[0]), "409");
    end(&mut hub, &asked[0], Answer::text("ON"));
    assert_eq!(events(&hub), [], "it ends once");
    end(&mut hub, &asked[1], Answer::text("ON"));
    assert_eq!(events(&hub).len(), 1);
}

#[test]
fn what_nobody_can_repeat_is_not_stored() {
    let mut hub = TestHub::online();
    let asked =
        accepted(&mut hub, Message { qos: hearthd_core::QoS::AtMostOnce, ..request("ON", b"1") });
    hub.take();
    hub.handle(Input::Ended { request: asked.id, answer: Answer::text("ON") });
    let stored = hub.take().into_iter().any(|output| {
        matches!(output, Output::Store { change: Change::Answer(_) | Change::Record(_), .. })
    });
    assert!(!stored);
}
