//! What the hub announces to other programs, how often, and how it takes that back.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use hearthd_core::{
    Announcement, Announcer, Answer, Change, Disconnection, Discovery, HubConfig, Input, Kept,
    Known, Message, Notice, Output, Status,
};

use crate::test_hub::{TestHub, config, connack, request, state};

/// Announces each device in one message, and how many are not ready in another.
#[derive(Debug)]
struct Words {
    devices: BTreeSet<String>,
    text: &'static str,
}

impl Announcer for Words {
    fn announcements(&self, known: &Known<'_>) -> Vec<Announcement> {
        let prefix = known.prefix.map(|prefix| prefix.as_str()).unwrap_or_default();
        let device = |id: &String| Announcement {
            topic: format!("found/{id}"),
            payload: format!("{} {id} below {prefix}", self.text).into(),
            parts: BTreeMap::from([(id.clone(), "part".to_owned())]),
        };
        let not_ready = known.statuses.values().filter(|status| status.word != "ready").count();
        let state = Announcement {
            topic: "found-state".into(),
            payload: not_ready.to_string().into(),
            parts: BTreeMap::new(),
        };
        self.devices.iter().map(device).chain([state]).collect()
    }

    fn snapshot(&self, device: &str, states: &BTreeMap<&str, &[u8]>) -> Option<Bytes> {
        let text =
            |(name, value): (&&str, &&[u8])| format!("{name}={}", String::from_utf8_lossy(value));
        let all: Vec<_> = states.iter().map(text).collect();
        (device == "lamp").then(|| all.join(" ").into())
    }
}

fn discovery(devices: &[&str], text: &'static str) -> Discovery {
    let devices: BTreeSet<String> = devices.iter().map(|id| (*id).to_owned()).collect();
    Discovery {
        announcer: Arc::new(Words { devices: devices.clone(), text }),
        devices,
        prefix: "found".into(),
        start: ("found/status".into(), "online"),
    }
}

fn announcing(devices: &[&str]) -> HubConfig {
    HubConfig { discovery: Some(discovery(devices, "new")), ..config() }
}

/// A hub that announces the lamp and the blinds, and has done so.
fn announced() -> TestHub {
    let mut hub = fresh();
    hub.accept_all();
    hub.take();
    hub
}

/// The same, with its first announcement under way.
fn fresh() -> TestHub {
    next_life(&TestHub::online(), announcing(&["blinds", "lamp"]))
}

/// The hub after an end in order and a start, online again.
fn after_an_end(mut before: TestHub, config: HubConfig) -> TestHub {
    before.handle(Input::Shutdown);
    before.accept_all();
    before.handle(Input::Disconnected(Disconnection::Requested));
    next_life(&before, config)
}

/// The hub after SIGKILL and a start, online again.
fn next_life(before: &TestHub, config: HubConfig) -> TestHub {
    let kept = Kept {
        memory: before.memory.clone(),
        journal: before.journal.values().cloned().collect(),
        served: before.served.values().cloned().collect(),
        announced: before.announced.values().cloned().collect(),
    };
    let mut hub = TestHub::begin(config, kept);
    hub.now = before.now;
    hub.handle(Input::Elapsed);
    go_online(&mut hub, true);
    hub.grant();
    accept_others(&mut hub);
    hub
}

/// The connection ends, and the next one gets as far as the wills' outcomes.
fn reconnect(hub: &mut TestHub, cause: Disconnection, session_present: bool) {
    hub.handle(Input::Disconnected(cause));
    hub.advance(Duration::from_secs(10));
    go_online(hub, session_present);
}

fn go_online(hub: &mut TestHub, session_present: bool) {
    hub.go_online_unfenced(session_present);
    hub.fence();
    hub.settle();
    // What the hub does because of the last input is due at once.
    hub.advance(Duration::ZERO);
}

fn lost() -> Disconnection {
    Disconnection::Lost { error: String::new() }
}

/// Acknowledges what is no announcement.
fn accept_others(hub: &mut TestHub) {
    let others = hub.outputs.iter().filter_map(|output| match output {
        Output::Publish { id, message } if !message.topic.starts_with("found") => Some(*id),
        _ => None,
    });
    for id in others.collect::<Vec<_>>() {
        hub.handle(Input::Published { id, reason_code: 0 });
    }
}

/// Lists what was published on topics of announcements.
fn found(hub: &TestHub) -> Vec<(String, String)> {
    let messages = hub.published().into_iter().filter(|message| message.topic.starts_with("found"));
    messages
        .map(|message| {
            assert!(message.retain);
            assert_eq!(message.user_property("hub"), Some("hub"));
            (message.topic, String::from_utf8(message.payload.to_vec()).unwrap())
        })
        .collect()
}

fn topics(hub: &TestHub) -> Vec<String> {
    found(hub).into_iter().map(|(topic, _)| topic).collect()
}

/// Lists the announcements without PUBACK.
fn ids(hub: &TestHub) -> Vec<hearthd_core::PublishId> {
    let ids = hub.outputs.iter().filter_map(|output| match output {
        Output::Publish { id, message } if message.topic.starts_with("found") => Some(*id),
        _ => None,
    });
    ids.collect()
}

fn refusals(hub: &TestHub) -> Vec<Notice> {
    let notices = hub.outputs.iter().filter_map(|output| match output {
        Output::Notice(notice @ Notice::DiscoveryRefused { .. }) => Some(notice.clone()),
        _ => None,
    });
    notices.collect()
}

fn start() -> Message {
    Message { topic: "found/status".into(), payload: "online".into(), ..Message::default() }
}

/// A command as Home Assistant sends it: nobody is answered.
fn command(payload: &'static str) -> Message {
    Message { response_topic: None, correlation_data: None, ..request(payload, b"") }
}

/// Returns the last that was published on a topic, and forgets what was published.
fn told(hub: &mut TestHub, topic: &str) -> Option<String> {
    hub.accept_all();
    let messages = hub.published().into_iter().filter(|message| message.topic == topic);
    let last = messages.last().map(|message| String::from_utf8(message.payload.to_vec()).unwrap());
    hub.take();
    last
}

#[test]
fn each_announcement_goes_out_once_and_only_when_the_store_knows_of_it() {
    let mut hub = fresh();
    assert_eq!(topics(&hub), ["found/blinds"], "one at a time");
    assert_eq!(hub.announced["found/blinds"].digest, None);
    hub.accept_all();
    let expected = [
        ("found/blinds".to_owned(), "new blinds below alice".to_owned()),
        ("found/lamp".to_owned(), "new lamp below alice".to_owned()),
        ("found-state".to_owned(), "0".to_owned()),
    ];
    assert_eq!(found(&hub), expected);
    assert!(hub.announced.values().all(|announced| announced.digest.is_some()));
    // A reload that changes nothing, and another life of the daemon.
    hub.take();
    hub.handle(Input::Discovery(Some(discovery(&["blinds", "lamp"], "new"))));
    hub.handle(Input::Devices(config().devices));
    hub.advance(Duration::from_secs(60));
    assert_eq!(topics(&hub), [""; 0]);
    let mut hub = after_an_end(hub, announcing(&["blinds", "lamp"]));
    hub.accept_all();
    assert_eq!(topics(&hub), [""; 0]);
}

#[test]
fn after_an_end_that_was_not_in_order_the_broker_may_have_lost_it() {
    let all = ["found/blinds", "found/lamp", "found-state"];
    // The power has failed, for both.
    let mut hub = next_life(&announced(), announcing(&["blinds", "lamp"]));
    hub.accept_all();
    assert_eq!(topics(&hub), all);
    hub.take();
    // The broker has crashed.
    reconnect(&mut hub, lost(), true);
    hub.accept_all();
    assert_eq!(topics(&hub), all);
}

#[test]
fn a_broker_that_does_not_answer_may_have_lost_it_though_the_hub_leaves_in_order() {
    let mut hub = announced();
    hub.handle(state("lamp", "power", "ON"));
    hub.take();
    hub.advance(Duration::from_secs(180));
    assert!(hub.outputs.contains(&Output::Disconnect), "no PUBACK for the state has come");
    reconnect(&mut hub, Disconnection::Requested, true);
    hub.accept_all();
    assert_eq!(topics(&hub), ["found/blinds", "found/lamp", "found-state"]);
}

#[test]
fn nothing_is_published_before_the_store_holds_it() {
    let mut hub = announced();
    hub.store_works = false;
    hub.handle(Input::Discovery(Some(discovery(&["blinds", "lamp"], "newer"))));
    hub.advance(Duration::from_secs(60));
    assert_eq!(topics(&hub), [""; 0]);
    let waits = hub.inner.poll_timeout();
    assert!(waits.is_none_or(|until| until > hub.now), "it waits for the store, not for a time");
    hub.store_catches_up();
    assert_eq!(topics(&hub), ["found/blinds"]);
}

#[test]
fn a_crash_between_publishing_and_storing_leaves_nothing_behind() {
    // The broker has it; the store knows only that it may.
    let hub = fresh();
    assert_eq!(topics(&hub), ["found/blinds"]);
    let mut again = next_life(&hub, announcing(&["blinds"]));
    again.accept_all();
    assert_eq!(topics(&again), ["found/blinds", "found-state"]);
    let mut gone = next_life(&hub, config());
    gone.accept_all();
    assert_eq!(found(&gone), [("found/blinds".to_owned(), String::new())]);
    assert!(gone.announced.is_empty());
}

#[test]
fn a_crash_before_an_announcement_is_cleared_clears_it_later() {
    let hub = announced();
    // SIGKILL after the empty message was sent, before its PUBACK.
    let hub = next_life(&hub, announcing(&["blinds"]));
    assert_eq!(found(&hub), [("found/lamp".to_owned(), String::new())]);
    let mut hub = next_life(&hub, announcing(&["blinds"]));
    hub.accept_all();
    assert_eq!(found(&hub)[0], ("found/lamp".to_owned(), String::new()));
    let mut hub = next_life(&hub, announcing(&["blinds"]));
    hub.accept_all();
    assert_eq!(topics(&hub), ["found/blinds", "found-state"]);
}

#[test]
fn what_a_reload_changes_goes_out_alone() {
    let mut hub = announced();
    hub.advance(Duration::from_secs(10));
    hub.handle(Input::Discovery(Some(discovery(&["lamp"], "new"))));
    hub.handle(Input::Devices(config().devices));
    hub.accept_all();
    assert_eq!(found(&hub), [("found/blinds".to_owned(), String::new())]);
    hub.take();
    hub.handle(Input::Discovery(None));
    hub.handle(Input::Devices(config().devices));
    hub.accept_all();
    assert_eq!(topics(&hub), ["found-state", "found/lamp"]);
    assert!(hub.announced.is_empty());
    let left = hub.outputs.iter().any(|output| {
        matches!(output, Output::Unsubscribe(filters) if filters == &["found/status".to_owned()])
    });
    assert!(left, "{:#?}", hub.outputs);
}

#[test]
fn start_messages_are_not_listened_to_once_discovery_was_switched_off_while_the_hub_was_down() {
    let left = |hub: &TestHub| {
        hub.outputs.iter().any(|output| {
            matches!(output, Output::Unsubscribe(filters) if filters == &["found/status".to_owned()])
        })
    };
    // Also where it was killed as soon as it had subscribed.
    for before in [announced(), fresh()] {
        let hub = next_life(&before, config());
        assert!(left(&hub), "{:#?}", hub.outputs);
    }
    assert!(!left(&next_life(&announced(), announcing(&["lamp"]))));
}

#[test]
fn a_reload_on_a_new_session_announces_what_it_changes_alone() {
    let mut hub = announced();
    reconnect(&mut hub, lost(), false);
    hub.grant();
    hub.accept_all();
    hub.advance(Duration::from_secs(10));
    hub.take();
    hub.handle(Input::Discovery(Some(discovery(&["lamp"], "new"))));
    hub.handle(Input::Devices(config().devices));
    hub.accept_all();
    assert_eq!(found(&hub), [("found/blinds".to_owned(), String::new())]);
}

#[test]
fn the_same_topic_is_published_on_again_after_a_moment_and_with_the_newest_alone() {
    let mut hub = announced();
    for text in ["a", "b", "c"] {
        hub.handle(Input::Discovery(Some(discovery(&["lamp"], text))));
        hub.accept_all();
    }
    hub.advance(Duration::from_secs(2));
    hub.accept_all();
    let lamp: Vec<_> = found(&hub).into_iter().filter(|(topic, _)| topic == "found/lamp").collect();
    assert_eq!(lamp.last().unwrap().1, "c lamp below alice");
    assert!(lamp.len() <= 2, "{lamp:?}");
}

#[test]
fn another_prefix_is_announced_anew() {
    let mut hub = announced();
    hub.handle(Input::Disconnected(lost()));
    hub.advance(Duration::from_secs(10));
    hub.connect(connack(Some("bob"), true));
    hub.handle(Input::Disconnected(Disconnection::Requested));
    hub.advance(Duration::from_secs(10));
    hub.go_online_below("bob", true);
    hub.fence();
    hub.settle();
    hub.advance(Duration::ZERO);
    hub.accept_all();
    let expected = ("found/lamp".to_owned(), "new lamp below bob".to_owned());
    assert!(found(&hub).contains(&expected), "{:?}", found(&hub));
}

#[test]
fn a_broker_that_has_lost_the_session_gets_all_again() {
    let mut hub = announced();
    reconnect(&mut hub, lost(), false);
    hub.accept_all();
    assert_eq!(topics(&hub), ["found/blinds", "found/lamp", "found-state"]);
}

#[test]
fn an_end_in_order_does_not_hide_that_the_broker_had_lost_the_session() {
    let config =
        || HubConfig { require_response_information: true, ..announcing(&["blinds", "lamp"]) };
    let mut hub = after_an_end(announced(), config());
    assert!(found(&hub).is_empty());
    hub.handle(Input::Disconnected(lost()));
    hub.advance(Duration::from_secs(10));
    // It offers no prefix either, so the hub ends.
    hub.connect(connack(None, false));
    hub.handle(Input::Disconnected(Disconnection::Requested));
    let mut hub = next_life(&hub, config());
    hub.accept_all();
    assert_eq!(topics(&hub), ["found/blinds", "found/lamp", "found-state"]);
}

#[test]
fn what_was_to_be_announced_again_before_an_end_in_order_is_so_after_it() {
    let mut hub = announced();
    reconnect(&mut hub, lost(), true);
    accept_others(&mut hub);
    assert_eq!(topics(&hub), ["found/blinds"]);
    let mut hub = after_an_end(hub, announcing(&["blinds", "lamp"]));
    hub.accept_all();
    assert_eq!(topics(&hub), ["found/lamp", "found-state"]);
}

#[test]
fn a_refused_right_costs_discovery_alone_and_is_told_once() {
    let mut hub = fresh();
    let [id] = ids(&hub)[..] else { panic!("one at a time") };
    hub.handle(Input::Published { id, reason_code: 0x87 });
    hub.advance(Duration::from_secs(599));
    assert_eq!(topics(&hub), ["found/blinds"]);
    let topic = "found/blinds".to_owned();
    assert_eq!(refusals(&hub), [Notice::DiscoveryRefused { topic, reason_code: Some(0x87) }]);
    let others = hub
        .outputs
        .iter()
        .filter(|output| matches!(output, Output::Notice(Notice::PublishRefused { .. })));
    assert_eq!(others.count(), 0);
    // Requests are answered as ever.
    hub.receive(request("ON", b"one"));
    let asked = hub.executed().pop().unwrap();
    hub.answer(&asked, Answer::text("ON"));
    let answer = hub.published().pop().unwrap();
    assert_eq!(answer.correlation_data.as_deref(), Some(&b"one"[..]));
    // The right may have been granted meanwhile.
    accept_others(&mut hub);
    hub.take();
    hub.advance(Duration::from_secs(1));
    let [id] = ids(&hub)[..] else { panic!("it is tried again") };
    hub.handle(Input::Published { id, reason_code: 0x87 });
    assert_eq!(refusals(&hub), []);
    hub.advance(Duration::from_secs(600));
    hub.accept_all();
    assert!(topics(&hub).contains(&"found/lamp".to_owned()), "{:?}", topics(&hub));
}

#[test]
fn a_refused_subscription_costs_the_answer_to_starts_alone() {
    let mut hub = TestHub::begin(announcing(&["lamp"]), kept_of(&TestHub::online()));
    hub.go_online_unfenced(true);
    hub.fence();
    hub.settle();
    hub.advance(Duration::ZERO);
    hub.grant_but(|filter| if filter == "found/status" { 0x87 } else { 1 });
    hub.accept_all();
    hub.advance(Duration::from_secs(3600));
    let topic = "found/status".to_owned();
    assert_eq!(refusals(&hub), [Notice::DiscoveryRefused { topic, reason_code: Some(0x87) }]);
    assert_eq!(topics(&hub), ["found/lamp", "found-state"]);
    hub.take();
    hub.advance(Duration::from_secs(3600));
    assert!(hub.asked.is_empty(), "{:?}", hub.asked);
}

fn kept_of(hub: &TestHub) -> Kept {
    Kept { memory: hub.memory.clone(), ..Kept::default() }
}

#[test]
fn a_start_is_answered_after_a_moment_and_many_are_answered_once() {
    let mut hub = announced();
    hub.advance(Duration::from_secs(60));
    for _ in 0..100 {
        hub.receive(start());
    }
    assert_eq!(topics(&hub), [""; 0]);
    hub.advance(Duration::from_secs(3));
    hub.accept_all();
    assert_eq!(topics(&hub), ["found/blinds", "found/lamp", "found-state"]);
    hub.take();
    hub.receive(start());
    hub.advance(Duration::from_secs(29));
    hub.accept_all();
    assert_eq!(topics(&hub), [""; 0]);
    hub.advance(Duration::from_secs(1));
    hub.accept_all();
    assert_eq!(topics(&hub).len(), 3);
    // The will of the other program is no start.
    hub.take();
    hub.advance(Duration::from_secs(60));
    hub.receive(Message { payload: "offline".into(), ..start() });
    hub.advance(Duration::from_secs(60));
    assert_eq!(topics(&hub), [""; 0]);
}

#[test]
fn answers_wait_for_one_announcement_at_most() {
    let names: Vec<String> = (0..200).map(|n| format!("lamp-{n:03}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut hub = next_life(&TestHub::online(), announcing(&names));
    for _ in 0..50 {
        let under_way = ids(&hub);
        assert_eq!(under_way.len(), 1);
        hub.take();
        for id in under_way {
            hub.handle(Input::Published { id, reason_code: 0 });
        }
    }
}

#[test]
fn a_status_changes_the_summary_alone() {
    let mut hub = announced();
    hub.advance(Duration::from_secs(10));
    hub.handle(state("lamp", "status", "quarantined"));
    hub.accept_all();
    assert_eq!(found(&hub), [("found-state".to_owned(), "1".to_owned())]);
}

#[test]
fn a_failed_command_is_a_problem_until_the_next_one_succeeds() {
    let mut hub = announced();
    hub.receive(command("ON"));
    let asked = hub.executed().pop().unwrap();
    hub.answer(&asked, Answer::failure(Status::Unavailable, "no reply"));
    hub.accept_all();
    let messages = hub.published();
    let on = |topic: &str| {
        let message = messages.iter().find(|message| message.topic == topic).unwrap();
        assert_eq!(message.retain, topic != "alice/event/lamp");
        serde_json::from_slice::<serde_json::Value>(&message.payload).unwrap()
    };
    let mut facts = serde_json::json!({
        "property": "power", "payload": "ON", "status": 503, "message": "no reply",
    });
    assert_eq!(on("alice/state/lamp/problem"), facts);
    facts["event"] = "failed".into();
    assert_eq!(on("alice/event/lamp"), facts);
    hub.take();
    // To read is no command.
    hub.receive(command(""));
    let asked = hub.executed().pop().unwrap();
    hub.answer(&asked, Answer::text("OFF"));
    assert_eq!(told(&mut hub, "alice/state/lamp/problem"), None);
    hub.receive(request("ON", b"phone"));
    let asked = hub.executed().pop().unwrap();
    hub.answer(&asked, Answer::text("ON"));
    assert_eq!(told(&mut hub, "alice/state/lamp/problem").as_deref(), Some("{}"));
}

#[test]
fn a_read_that_fails_is_no_problem() {
    let mut hub = announced();
    hub.receive(command(""));
    let asked = hub.executed().pop().unwrap();
    hub.answer(&asked, Answer::failure(Status::Unavailable, "no reply"));
    assert_eq!(told(&mut hub, "alice/state/lamp/problem"), None);
}

#[test]
fn a_command_that_came_too_late_is_a_problem_too() {
    let mut hub = announced();
    hub.receive(Message { expiry: Some(0), ..command("ON") });
    let problem = told(&mut hub, "alice/state/lamp/problem").unwrap();
    assert!(problem.contains("expired"), "{problem}");
}

#[test]
fn what_the_hub_tells_beside_the_properties_goes_with_the_announcement() {
    let mut hub = announced();
    hub.handle(state("lamp", "power", "ON"));
    hub.handle(state("lamp", "brightness", "42"));
    assert_eq!(told(&mut hub, "alice/state/lamp").as_deref(), Some("brightness=42 power=ON"));
    hub.advance(Duration::from_secs(10));
    hub.handle(Input::Discovery(None));
    hub.handle(Input::Devices(config().devices));
    let asked: Vec<_> = hub.asked.iter().flatten().map(|asked| asked.filter.clone()).collect();
    for topic in ["alice/state/lamp", "alice/state/lamp/problem", "alice/state/blinds/problem"] {
        assert!(asked.iter().any(|filter| filter == topic), "{topic} in {asked:?}");
    }
    hub.take();
    hub.handle(state("lamp", "power", "OFF"));
    assert_eq!(told(&mut hub, "alice/state/lamp"), None);
}

#[test]
fn a_device_that_declares_a_problem_tells_its_own() {
    let mut announces = announcing(&["lamp"]);
    announces.devices.get_mut("lamp").unwrap().properties.insert("problem".into());
    let mut hub = next_life(&TestHub::online(), announces);
    hub.accept_all();
    hub.take();
    hub.receive(command("ON"));
    let asked = hub.executed().pop().unwrap();
    hub.answer(&asked, Answer::failure(Status::Unavailable, "no reply"));
    assert_eq!(told(&mut hub, "alice/state/lamp/problem"), None);
}

#[test]
fn no_answer_goes_where_devices_are_announced() {
    let mut announces = announcing(&["lamp"]);
    announces.allow_responses = vec![hearthd_core::topic::TopicFilter::parse("found/#").unwrap()];
    let mut hub = next_life(&TestHub::online(), announces);
    let topic = Some("found/lamp/config".to_owned());
    hub.receive(Message { response_topic: topic, ..request("ON", b"forged") });
    assert!(hub.executed().is_empty());
}

#[test]
fn only_what_is_about_to_be_published_waits_for_the_store() {
    use hearthd_core::{Announced, Urgency};
    let announced = |digest| {
        let (topic, parts, start) = ("found".into(), BTreeMap::new(), None);
        Change::Announced(Announced { topic, digest, parts, start })
    };
    assert_eq!(announced(None).urgency(), Urgency::Now);
    assert_eq!(announced(Some(1)).urgency(), Urgency::Whenever);
    assert_eq!(Change::Withdrawn("found".into()).urgency(), Urgency::Whenever);
}
