//! What the hub leaves at the broker for its devices, and how it takes that back.

use std::time::Duration;

use hearthd_core::{
    Connack, DevicePolicy, Disconnection, HubConfig, Input, Memory, Message, Notice, Output, QoS,
    Subscription,
};

use crate::test_hub::{TestHub, config, connack, request, state};

fn without(device: &str) -> HubConfig {
    let mut config = config();
    config.devices.remove(device);
    config
}

fn retained(topic: &str, payload: &'static str, hub: &str) -> Message {
    Message {
        topic: topic.into(),
        payload: payload.into(),
        qos: QoS::AtLeastOnce,
        retain: true,
        user_properties: vec![("hub".into(), hub.into())],
        ..Message::default()
    }
}

fn subscribed(hub: &TestHub) -> Vec<Subscription> {
    let packets = hub.outputs.iter().filter_map(|output| match output {
        Output::Subscribe(filters) => Some(filters.clone()),
        _ => None,
    });
    packets.flatten().collect()
}

fn filters(hub: &TestHub) -> Vec<String> {
    subscribed(hub).into_iter().map(|subscription| subscription.filter).collect()
}

fn unsubscribed(hub: &TestHub) -> Vec<String> {
    let packets = hub.outputs.iter().filter_map(|output| match output {
        Output::Unsubscribe(filters) => Some(filters.clone()),
        _ => None,
    });
    packets.flatten().collect()
}

fn notices(hub: &TestHub) -> Vec<Notice> {
    let notices = hub.outputs.iter().filter_map(|output| match output {
        Output::Notice(notice) => Some(notice.clone()),
        _ => None,
    });
    notices.collect()
}

/// Answers the hub's probe behind what the broker has retained, and lets the time for late copies pass.
fn pass_retained(hub: &mut TestHub) {
    let probe = hub.published().into_iter().rev().find(|m| m.topic.ends_with("/retained"));
    hub.receive(probe.expect("the hub asks for what comes behind the retained messages"));
    hub.advance(Duration::from_millis(300));
}

#[test]
fn the_hub_subscribes_to_its_own_devices_and_to_nobody_elses() {
    let hub = TestHub::online().restarted(true);
    let expected = [
        "alice/response/hub/+",
        "alice/hub/hub/presence",
        "alice/cmnd/hub/+",
        "alice/cmnd/blinds/+",
        "alice/state/blinds/status",
        "alice/cmnd/lamp/+",
        "alice/state/lamp/status",
    ];
    assert_eq!(filters(&hub), expected);
    let status = subscribed(&hub).pop().unwrap();
    assert!(status.no_local && !status.retained, "{status:?}");
}

#[test]
fn without_wildcards_each_declared_property_has_a_filter() {
    let mut hub = TestHub::new(config(), TestHub::online().memory);
    hub.connect(Connack { wildcards: false, ..connack(Some("alice"), true) });
    hub.grant();
    let filters = filters(&hub);
    assert!(filters.iter().all(|filter| !filter.contains(['+', '#'])), "{filters:?}");
    for filter in [
        "alice/response/hub/will",
        "alice/response/hub/fence",
        "alice/cmnd/hub/devices",
        "alice/cmnd/lamp/power",
        "alice/cmnd/lamp/set",
        "alice/cmnd/blinds/step",
    ] {
        assert!(filters.iter().any(|other| other == filter), "{filter} in {filters:?}");
    }
}

/// A home whose filters do not fit into one packet.
fn big_home() -> HubConfig {
    let mut config = config();
    for n in 0..200 {
        config.devices.insert(format!("lamp-{n:03}"), DevicePolicy::new(Duration::from_secs(5)));
    }
    config
}

#[test]
fn a_big_homes_filters_go_one_packet_after_the_other() {
    let mut hub = TestHub::new(big_home(), TestHub::online().memory);
    hub.connect(hearthd_core::Connack {
        maximum_packet_size: Some(300),
        ..connack(Some("alice"), true)
    });
    let mut packets = 0;
    while let Some(asked) = hub.asked.pop_front() {
        assert!(hub.asked.is_empty(), "one at a time");
        assert!(11 + asked.iter().map(|asked| 3 + asked.filter.len()).sum::<usize>() <= 300);
        packets += 1;
        hub.handle(Input::Subscribed { reason_codes: vec![1; asked.len()] });
    }
    assert!(packets > 40, "{packets}");
    assert_eq!(filters(&hub).len(), 3 + 2 * 202);
    assert!(hub.published().iter().any(|message| message.topic.ends_with("/fence")));
}

#[test]
fn a_broker_that_never_answers_several_filters_gets_one_at_a_time() {
    let mut hub = TestHub::new(config(), TestHub::online().memory);
    hub.connect(connack(Some("alice"), true));
    assert_eq!(hub.asked.len(), 1);
    hub.advance(Duration::from_secs(10));
    assert!(hub.outputs.contains(&Output::Disconnect));
    hub.handle(Input::Disconnected(Disconnection::Requested));
    hub.take();
    hub.connect(connack(Some("alice"), true));
    while let Some(asked) = hub.asked.pop_front() {
        assert_eq!(asked.len(), 1);
        hub.handle(Input::Subscribed { reason_codes: vec![1] });
    }
    assert!(hub.published().iter().any(|message| message.topic.ends_with("/fence")));
}

#[test]
fn a_refused_filter_is_asked_for_again_and_told_once() {
    let mut hub = TestHub::new(config(), TestHub::online().memory);
    hub.connect(connack(Some("alice"), true));
    hub.grant_but(|filter| if filter == "alice/cmnd/lamp/+" { 0x97 } else { 1 });
    for seconds in [10, 20, 40] {
        hub.advance(Duration::from_secs(seconds));
        let asked = hub.asked.pop_front().expect("it is asked for again");
        assert_eq!(asked.len(), 1);
        hub.handle(Input::Subscribed { reason_codes: vec![0x97] });
    }
    let refused = |notice: &&Notice| matches!(notice, Notice::SubscriptionRefused { .. });
    assert_eq!(notices(&hub).iter().filter(refused).count(), 1);
}

#[test]
fn the_session_of_version_0_1_0_takes_requests_for_all_devices_no_longer() {
    let mut memory = TestHub::online().memory;
    memory.takes_its_own = false;
    let mut hub = TestHub::new(config(), memory);
    hub.go_online_unfenced(true);
    assert_eq!(unsubscribed(&hub), ["alice/cmnd/+/+"]);
    assert!(!hub.memory.takes_its_own, "nobody knows yet whether the broker has it");
    hub.fence();
    assert!(hub.memory.takes_its_own);
}

#[test]
fn a_device_that_goes_is_taken_back_and_only_what_carries_the_hubs_name() {
    let mut hub = TestHub::online();
    hub.handle(state("lamp", "power", "ON"));
    hub.accept_all();
    hub.take();
    hub.handle(Input::Devices(without("lamp").devices));
    assert_eq!(unsubscribed(&hub), ["alice/cmnd/lamp/+", "alice/state/lamp/status"]);
    hub.grant();
    hub.receive(retained("alice/state/lamp/power", "ON", "hub"));
    hub.receive(retained("alice/state/lamp/status", "ready", "annex"));
    pass_retained(&mut hub);
    let cleared: Vec<_> =
        hub.published().into_iter().filter(|m| m.retain && m.payload.is_empty()).collect();
    assert_eq!(cleared.len(), 1, "{cleared:#?}");
    assert_eq!(cleared[0].topic, "alice/state/lamp/power");
    assert!(hub.served.contains_key("lamp"), "the broker has not acknowledged yet");
    hub.accept_all();
    assert!(!hub.served.contains_key("lamp"));
    let left = unsubscribed(&hub);
    assert!(left.contains(&"alice/state/lamp/power".to_owned()), "{left:?}");
}

/// Lists the states that the hub clears.
fn cleared(hub: &TestHub) -> Vec<String> {
    let clears = hub.published().into_iter().filter(|m| m.retain && m.payload.is_empty());
    clears.map(|message| message.topic).collect()
}

/// A hub without the lamp, of which it has seen a retained state.
fn with_leftover(mut hub: TestHub) -> TestHub {
    hub.handle(Input::Devices(without("lamp").devices));
    hub.grant();
    hub.receive(retained("alice/state/lamp/power", "ON", "hub"));
    hub
}

/// Refuses what the hub has published on a topic, for now.
fn refuse_for_now(hub: &mut TestHub, topic: &str) {
    let ids = hub.outputs.iter().filter_map(|output| match output {
        Output::Publish { id, message } if message.topic == topic => Some(*id),
        _ => None,
    });
    for id in ids.collect::<Vec<_>>() {
        hub.handle(Input::Published { id, reason_code: 0x97 });
    }
}

#[test]
fn what_clears_a_state_is_not_sent_again_on_another_connection() {
    let mut hub = with_leftover(TestHub::online());
    assert_eq!(cleared(&hub), ["alice/state/lamp/power"]);
    hub.take();
    hub.handle(Input::Disconnected(Disconnection::Lost { error: String::new() }));
    hub.advance(Duration::from_secs(2));
    hub.go_online_unfenced(true);
    assert!(cleared(&hub).is_empty(), "another hub may have the lamp by now");
    hub.fence();
    hub.grant();
    hub.receive(retained("alice/state/lamp/power", "ON", "annex"));
    pass_retained(&mut hub);
    hub.accept_all();
    assert!(cleared(&hub).is_empty());
    assert!(!hub.served.contains_key("lamp"));
}

#[test]
fn a_state_that_the_broker_does_not_clear_for_now_is_looked_at_again() {
    let mut hub = with_leftover(TestHub::online());
    refuse_for_now(&mut hub, "alice/state/lamp/power");
    assert!(unsubscribed(&hub).contains(&"alice/state/lamp/power".to_owned()));
    pass_retained(&mut hub);
    hub.accept_all();
    hub.take();
    hub.advance(Duration::from_secs(30));
    assert!(cleared(&hub).is_empty(), "nobody knows whose it is by then");
    hub.advance(Duration::from_secs(31));
    assert_eq!(filters(&hub), ["alice/state/lamp/power"]);
    hub.grant();
    hub.receive(retained("alice/state/lamp/power", "ON", "hub"));
    pass_retained(&mut hub);
    assert_eq!(cleared(&hub), ["alice/state/lamp/power"]);
    hub.accept_all();
    assert!(!hub.served.contains_key("lamp"));
}

/// A hub without the lamp, whose clearing of a state waits behind a message without PUBACK.
fn with_clearing_that_waits() -> TestHub {
    let config = HubConfig { receive_maximum: 1, ..config() };
    let mut hub = TestHub::new(config, Memory::default());
    hub.connect(connack(Some("alice"), false));
    hub.handle(Input::Disconnected(Disconnection::Requested));
    hub.connect(Connack { receive_maximum: 2, ..connack(Some("alice"), true) });
    hub.grant();
    hub.accept_all();
    hub.return_to_session();
    hub.fence();
    hub.advance(Duration::from_millis(300));
    hub.accept_all();
    hub.take();
    hub.handle(state("blinds", "position", "40"));
    with_leftover(hub)
}

#[test]
fn what_clears_a_state_is_withdrawn_where_another_hub_says_that_it_is_its_own() {
    let mut hub = with_clearing_that_waits();
    hub.receive(retained("alice/state/lamp/power", "OFF", "annex"));
    assert!(unsubscribed(&hub).contains(&"alice/state/lamp/power".to_owned()));
    hub.accept_all();
    assert!(cleared(&hub).is_empty());
}

#[test]
fn what_clears_a_state_is_withdrawn_also_where_what_another_hub_says_waits_to_be_taken_in() {
    let mut hub = with_clearing_that_waits();
    let step = |data| Message { topic: "alice/cmnd/blinds/step".into(), ..request("1", data) };
    hub.receive(step(b"1"));
    hub.receive(step(b"2"));
    hub.receive(retained("alice/state/lamp/power", "OFF", "annex"));
    assert_eq!(hub.executed().len(), 1, "the second waits, and what came behind it");
    hub.accept_all();
    assert!(cleared(&hub).is_empty());
}

#[test]
fn a_device_that_goes_and_comes_back_before_suback_is_asked_for_again() {
    let before = TestHub::online();
    let mut hub = TestHub::new(config(), before.memory.clone());
    hub.connect(connack(Some("alice"), true));
    assert!(filters(&hub).contains(&"alice/cmnd/lamp/+".to_owned()));
    hub.take();
    hub.handle(Input::Devices(without("lamp").devices));
    assert_eq!(unsubscribed(&hub), ["alice/cmnd/lamp/+", "alice/state/lamp/status"]);
    hub.handle(Input::Devices(config().devices));
    hub.grant();
    assert_eq!(filters(&hub), ["alice/cmnd/lamp/+", "alice/state/lamp/status"]);
}

#[test]
fn a_device_that_went_while_the_hub_was_down_is_taken_back() {
    let mut hub = TestHub::online().restarted_with(without("lamp"), true);
    assert_eq!(unsubscribed(&hub), ["alice/cmnd/lamp/+", "alice/state/lamp/status"]);
    hub.fence();
    hub.grant();
    hub.receive(retained("alice/state/lamp/status", "ready", "hub"));
    pass_retained(&mut hub);
    hub.accept_all();
    let clears = |m: &Message| m.topic == "alice/state/lamp/status" && m.payload.is_empty();
    assert!(hub.published().iter().any(clears));
    assert!(!hub.served.contains_key("lamp"));
}

#[test]
fn what_comes_back_of_an_earlier_look_does_not_end_the_next() {
    let mut hub = TestHub::online();
    hub.handle(state("lamp", "power", "ON"));
    hub.accept_all();
    hub.handle(Input::Devices(without("lamp").devices));
    hub.grant();
    let probe = |hub: &TestHub| {
        hub.published().into_iter().rev().find(|m| m.topic.ends_with("/retained")).unwrap()
    };
    let late = probe(&hub);
    hub.advance(Duration::from_secs(10));
    hub.advance(Duration::from_secs(60));
    hub.grant();
    let second = probe(&hub);
    hub.receive(late);
    hub.advance(Duration::from_millis(300));
    hub.receive(retained("alice/state/lamp/power", "ON", "hub"));
    hub.receive(second);
    let cleared = hub.published().into_iter().any(|m| m.retain && m.payload.is_empty());
    assert!(cleared);
}

#[test]
fn a_state_of_a_device_that_comes_back_is_not_given_up_with_the_one_before() {
    let mut hub = TestHub::online();
    hub.handle(state("lamp", "power", "ON"));
    hub.handle(Input::Devices(without("lamp").devices));
    hub.handle(Input::Disconnected(Disconnection::Lost { error: "cut".into() }));
    hub.handle(Input::Devices(config().devices));
    hub.handle(state("lamp", "power", "OFF"));
    hub.take();
    hub.advance(Duration::from_secs(60));
    hub.go_online_unfenced(true);
    let power = |m: &&Message| m.topic == "alice/state/lamp/power";
    let published: Vec<_> = hub.published();
    let states: Vec<_> = published.iter().filter(power).map(|m| &m.payload[..]).collect();
    assert_eq!(states, [b"OFF"]);
}

#[test]
fn a_state_of_a_property_that_goes_is_not_sent_again() {
    let mut hub = TestHub::online();
    hub.handle(state("lamp", "brightness", "50"));
    let mut devices = config().devices;
    devices.get_mut("lamp").unwrap().properties.remove("brightness");
    hub.handle(Input::Devices(devices));
    hub.handle(Input::Disconnected(Disconnection::Lost { error: "cut".into() }));
    hub.take();
    hub.advance(Duration::from_secs(60));
    hub.go_online_unfenced(true);
    let brightness =
        |m: &Message| m.topic == "alice/state/lamp/brightness" && !m.payload.is_empty();
    assert!(!hub.published().iter().any(brightness));
}

#[test]
fn a_property_that_goes_is_taken_back_alone() {
    let mut config = config();
    config.devices.get_mut("lamp").unwrap().properties.remove("brightness");
    let mut hub = TestHub::online().restarted_with(config, true);
    assert!(unsubscribed(&hub).is_empty());
    hub.fence();
    assert_eq!(filters(&hub).last().unwrap(), "alice/state/lamp/brightness");
    hub.grant();
    hub.receive(retained("alice/state/lamp/brightness", "50", "hub"));
    pass_retained(&mut hub);
    hub.accept_all();
    let names: Vec<_> = hub.served["lamp"].properties.iter().map(|name| &**name).collect();
    assert_eq!(names, ["power", "status"]);
}

#[test]
fn a_state_is_published_only_once_the_store_knows_that_it_is() {
    let mut hub = TestHub::online();
    let mut devices = config().devices;
    let lamp = devices["lamp"].clone();
    devices.insert("shelf".into(), lamp);
    hub.store_works = false;
    hub.handle(Input::Devices(devices));
    hub.handle(state("shelf", "power", "ON"));
    let published =
        |hub: &TestHub| hub.published().iter().any(|m| m.topic == "alice/state/shelf/power");
    assert!(!published(&hub));
    hub.store_catches_up();
    assert!(published(&hub));
}

#[test]
fn what_was_told_of_a_device_before_others_could_be_heard_is_told_again() {
    let mut hub = TestHub::online();
    let mut devices = config().devices;
    let lamp = devices["lamp"].clone();
    devices.insert("shelf".into(), lamp);
    hub.handle(Input::Devices(devices));
    hub.handle(state("shelf", "power", "ON"));
    hub.accept_all();
    hub.take();
    hub.grant();
    hub.advance(Duration::from_secs(1));
    let again = hub.published().into_iter().filter(|m| m.topic == "alice/state/shelf/power");
    assert_eq!(again.count(), 1, "the hub that had it before may have taken it back");
}

#[test]
fn a_device_is_subscribed_to_only_once_the_store_knows_that_it_is() {
    let mut hub = TestHub::online();
    let mut devices = config().devices;
    let lamp = devices["lamp"].clone();
    devices.insert("shelf".into(), lamp);
    hub.store_works = false;
    hub.take();
    hub.handle(Input::Devices(devices));
    assert!(filters(&hub).is_empty(), "a crash now would leave the filters to the session");
    hub.store_catches_up();
    assert_eq!(filters(&hub), ["alice/cmnd/shelf/+", "alice/state/shelf/status"]);
}

#[test]
fn what_a_device_says_that_is_not_there_any_more_comes_too_late() {
    let mut hub = TestHub::online();
    hub.handle(Input::Devices(without("lamp").devices));
    hub.take();
    hub.handle(state("lamp", "power", "ON"));
    assert!(hub.published().is_empty());
}

#[test]
fn two_hubs_with_one_device_both_say_so_once() {
    let mut hub = TestHub::online();
    hub.handle(state("lamp", "status", "ready"));
    hub.accept_all();
    hub.take();
    for _ in 0..3 {
        hub.receive(retained("alice/state/lamp/status", "ready", "annex"));
    }
    hub.advance(Duration::from_secs(1));
    let rival = Notice::Rival { device: "lamp".into(), hub: Some("annex".into()) };
    assert_eq!(notices(&hub), [rival]);
    let again = hub.published().into_iter().filter(|m| m.topic == "alice/state/lamp/status");
    assert_eq!(again.count(), 1, "the other one hears of this hub");
    hub.receive(retained("alice/state/lamp/status", "", "annex"));
    assert_eq!(notices(&hub)[1], Notice::RivalGone { device: "lamp".into() });
}

/// A stranger says something of the lamp, again and again: what is retained is the hub's word within a second each time.
#[track_caller]
fn check_rewritten(payload: &'static str, says_to_be: Option<&str>, rewritten: bool) {
    let mut hub = TestHub::online();
    hub.handle(state("lamp", "status", "unreachable"));
    hub.accept_all();
    for round in 0..3 {
        hub.take();
        let mut forged = retained("alice/state/lamp/status", payload, "");
        let name = says_to_be.map(|name| ("hub".to_owned(), name.to_owned()));
        forged.user_properties = name.into_iter().collect();
        hub.receive(forged);
        hub.advance(Duration::from_secs(1));
        let again = hub.published().into_iter().filter(|m| m.topic == "alice/state/lamp/status");
        let payloads: Vec<_> = again.map(|m| m.payload).collect();
        let expected: &[&str] = if rewritten { &["unreachable"] } else { &[] };
        assert_eq!(payloads, expected, "{payload} of {says_to_be:?}, {round}");
        hub.accept_all();
    }
}

#[test]
fn what_a_stranger_says_of_a_device_does_not_stay() {
    check_rewritten("ready", None, true);
    check_rewritten("ready", Some("hub"), true);
    check_rewritten("unreachable", Some("hub"), false);
}

#[test]
fn states_carry_the_name_of_the_hub() {
    let mut hub = TestHub::online();
    hub.handle(state("lamp", "power", "ON"));
    assert_eq!(hub.published()[0].user_property("hub"), Some("hub"));
}

#[test]
fn a_connection_that_does_not_hold_makes_the_pause_grow() {
    let mut hub = TestHub::new(config(), Memory::default());
    hub.connect(connack(Some("alice"), false));
    hub.handle(Input::Disconnected(Disconnection::Requested));
    let mut pauses = Vec::new();
    for _ in 0..12 {
        hub.go_online(true);
        hub.take();
        hub.handle(Input::Disconnected(Disconnection::Lost { error: "closed".into() }));
        let offline = notices(&hub).into_iter().find_map(|notice| match notice {
            Notice::Offline { retry_in, .. } => Some(retry_in),
            _ => None,
        });
        pauses.extend(offline);
        hub.advance(Duration::from_secs(60));
    }
    assert!(pauses[0] < Duration::from_millis(300), "{pauses:?}");
    assert!(pauses[11] >= Duration::from_secs(30), "{pauses:?}");
}
