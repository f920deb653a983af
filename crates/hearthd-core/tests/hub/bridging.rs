//! What devices say over MQTT themselves, and what is said to them.

use std::time::Duration;

use hearthd_core::{
    Answer, BRIDGE_MESSAGES, BridgeInput, BridgeOutput, Connack, DeclaredTopics, DevicePolicy,
    Disconnection, Expects, HubConfig, Input, Memory, Message, Notice, Output, Publication, QoS,
    Request, RequestId, Subscriber, Subscription, topic::TopicFilter,
};

use crate::test_hub::{TestHub, config, connack, request};

fn topics(subscribe: &[&str], publish: &[&str]) -> DeclaredTopics {
    let filters = |texts: &[&str]| texts.iter().map(|t| TopicFilter::parse(t).unwrap()).collect();
    DeclaredTopics {
        subscribe: filters(subscribe),
        publish: filters(publish),
        ..DeclaredTopics::default()
    }
}

/// A lamp that bridges a pair of topics, and one more device that bridges another.
fn bridging() -> HubConfig {
    let mut config = config();
    config.allow_bridges = vec![TopicFilter::parse("z/#").unwrap()];
    policy(&mut config, "lamp").topics = topics(&["z/lamp"], &["z/lamp/set"]);
    policy(&mut config, "blinds").topics = topics(&["z/blinds"], &["z/blinds/set"]);
    config
}

fn policy<'c>(config: &'c mut HubConfig, device: &str) -> &'c mut DevicePolicy {
    config.devices.get_mut(device).expect("the test's configuration has it")
}

/// A hub below `alice` whose devices are there.
fn online_with(config: HubConfig) -> TestHub {
    let mut hub = TestHub::new(config, Memory::default());
    for device in ["lamp", "blinds"] {
        begin(&mut hub, device);
    }
    hub.connect(connack(Some("alice"), false));
    hub.handle(Input::Disconnected(Disconnection::Requested));
    hub.go_online(true);
    hub.grant();
    hub
}

fn online() -> TestHub {
    let mut hub = online_with(bridging());
    hub.take();
    hub
}

fn begin(hub: &mut TestHub, device: &str) {
    hub.handle(Input::Bridge { device: device.into(), input: BridgeInput::Begun });
}

fn publication(number: u64, topic: &str) -> Publication {
    Publication {
        number,
        topic: topic.into(),
        payload: "ON".into(),
        qos: QoS::AtLeastOnce,
        retain: false,
        expiry: Duration::from_secs(10),
        expects: Expects::Nothing,
        request: None,
    }
}

fn publish(hub: &mut TestHub, device: &str, publication: Publication) {
    let input = BridgeInput::Publish(publication);
    hub.handle(Input::Bridge { device: device.into(), input });
}

/// What the devices were told, but for messages, each as a line.
fn told(hub: &TestHub) -> Vec<String> {
    let told = hub.outputs.iter().filter_map(|output| match output {
        Output::Bridge { device, output } => Some((device, output)),
        _ => None,
    });
    told.map(|(device, output)| match output {
        BridgeOutput::Link { up } => format!("{device} link {up}"),
        BridgeOutput::Message { topic, payload, retained } => {
            format!("{device} {topic} {} {retained}", String::from_utf8_lossy(payload))
        }
        BridgeOutput::Outcome { number, result: Ok(reply) } => {
            format!("{device} {number} {:?}", String::from_utf8_lossy(reply))
        }
        BridgeOutput::Outcome { number, result: Err(error) } => {
            format!("{device} {number} {error:?}")
        }
        BridgeOutput::Refused { reason } => {
            format!("{device} refused {}", reason.as_deref().unwrap_or("no more"))
        }
    })
    .collect()
}

fn of_devices(hub: &TestHub) -> Vec<Subscription> {
    let packets = hub.outputs.iter().filter_map(|output| match output {
        Output::Subscribe(filters) => Some(filters.clone()),
        _ => None,
    });
    packets.flatten().filter(|asked| asked.subscriber == Subscriber::Device).collect()
}

fn unsubscribed(hub: &TestHub) -> Vec<String> {
    let packets = hub.outputs.iter().filter_map(|output| match output {
        Output::Unsubscribe(filters) => Some(filters.clone()),
        _ => None,
    });
    packets.flatten().collect()
}

/// What the hub has published for devices.
fn sent(hub: &TestHub) -> Vec<Message> {
    hub.published().into_iter().filter(|message| message.topic.starts_with("z/")).collect()
}

fn arrived(topic: &str, payload: &'static str, retain: bool) -> Input {
    let message =
        Message { topic: topic.into(), payload: payload.into(), retain, ..Message::default() };
    Input::Received { message, delivery: None }
}

/// Has the lamp carry out a request.
fn asked(hub: &mut TestHub) -> Request {
    hub.receive(request("ON", b"1"));
    hub.executed().pop().expect("the lamp is asked")
}

#[test]
fn a_device_listens_and_publishes_once_its_filters_are_granted() {
    let hub = online_with(bridging());
    let asked = of_devices(&hub);
    assert_eq!(asked.len(), 2);
    assert!(asked.iter().all(|asked| asked.no_local && asked.retained), "{asked:?}");
    assert!(!Subscriber::Device.retain_as_published());
    assert_eq!(Subscriber::Device.qos(), QoS::AtMostOnce);
    assert_eq!(told(&hub), ["blinds link true", "lamp link true"]);

    let mut hub = online();
    hub.handle(arrived("z/lamp", "OFF", true));
    hub.handle(arrived("z/lamp", "ON", false));
    hub.handle(arrived("z/other", "ON", false));
    assert_eq!(told(&hub), ["lamp z/lamp OFF true", "lamp z/lamp ON false"]);
    hub.take();
    publish(&mut hub, "lamp", Publication { retain: true, ..publication(7, "z/lamp/set") });
    let sent = sent(&hub);
    let [message] = &sent[..] else { panic!("{sent:?}") };
    assert_eq!((message.retain, message.qos), (true, QoS::AtLeastOnce));
    assert_eq!((message.expiry, &message.response_topic), (Some(10), &None));
    hub.accept_all();
    assert_eq!(told(&hub), ["lamp 7 \"\""]);
}

#[test]
fn nothing_is_told_of_a_connection_before_the_filters_are_granted() {
    let mut hub = TestHub::new(bridging(), Memory::default());
    begin(&mut hub, "lamp");
    hub.connect(connack(Some("alice"), false));
    hub.handle(Input::Disconnected(Disconnection::Requested));
    hub.connect(connack(Some("alice"), true));
    let own = hub.asked.pop_front().expect("the hub's own filters");
    assert!(own.iter().all(|asked| asked.subscriber == Subscriber::Hub));
    publish(&mut hub, "lamp", publication(1, "z/lamp/set"));
    hub.handle(Input::Subscribed { reason_codes: vec![1; own.len()] });
    publish(&mut hub, "lamp", publication(2, "z/lamp/set"));
    assert_eq!(told(&hub), ["lamp 1 Gone", "lamp 2 Gone"]);
    hub.grant();
    assert_eq!(told(&hub)[2..], ["lamp link true"]);
    assert_eq!(sent(&hub), []);
}

#[test]
fn what_is_not_declared_is_never_sent() {
    let mut hub = online();
    for topic in ["z/blinds/set", "z/lamp", "z/lamp/set/x", "alice/cmnd/blinds/position", "z/+", ""]
    {
        publish(&mut hub, "lamp", publication(1, topic));
    }
    publish(&mut hub, "nobody", publication(1, "z/lamp/set"));
    assert_eq!(sent(&hub), []);
    assert!(told(&hub).iter().all(|line| line.ends_with(" 1 Refused")), "{:?}", told(&hub));
    assert_eq!(told(&hub).len(), 7);
}

#[test]
fn what_is_not_allowed_is_neither_sent_nor_asked_for_until_it_is() {
    let config = HubConfig { allow_bridges: Vec::new(), ..bridging() };
    let mut hub = online_with(config);
    assert_eq!(of_devices(&hub), []);
    let refused = "lamp refused its topic `z/lamp` is neither below the prefix `alice` nor allowed; \
                   add [bridges] allow = [\"z/lamp\", \"z/lamp/set\"]";
    assert_eq!(told(&hub)[1], refused);
    publish(&mut hub, "lamp", publication(1, "z/lamp/set"));
    assert_eq!((sent(&hub), told(&hub)[2].as_str()), (vec![], "lamp 1 Refused"));
    hub.take();
    // A reload with the line that is told.
    let allow = ["z/lamp", "z/lamp/set"].map(|text| TopicFilter::parse(text).unwrap());
    hub.handle(Input::AllowBridges(allow.into()));
    hub.handle(Input::Devices(bridging().devices));
    hub.grant();
    assert_eq!(told(&hub), ["lamp refused no more", "lamp link true"]);
    publish(&mut hub, "lamp", publication(2, "z/lamp/set"));
    assert_eq!(sent(&hub).len(), 1);
    // And one without it.
    hub.take();
    hub.handle(Input::AllowBridges(Vec::new()));
    hub.handle(Input::Devices(bridging().devices));
    assert_eq!(told(&hub)[0], "lamp link false");
    assert_eq!(unsubscribed(&hub), ["z/blinds", "z/lamp"]);
    hub.handle(arrived("z/lamp", "ON", false));
    assert_eq!(told(&hub).len(), 2, "{:?}", told(&hub));
}

#[test]
fn two_devices_on_one_topic_are_refused_and_no_third() {
    let mut config = bridging();
    policy(&mut config, "blinds").topics = topics(&["z/x"], &["z/lamp/set"]);
    let valve =
        DevicePolicy { topics: topics(&["z/valve"], &[]), ..config.devices["lamp"].clone() };
    config.devices.insert("valve".into(), valve);
    let mut hub = TestHub::new(config, Memory::default());
    ["lamp", "blinds", "valve"].iter().for_each(|device| begin(&mut hub, device));
    hub.connect(connack(Some("alice"), false));
    hub.handle(Input::Disconnected(Disconnection::Requested));
    hub.go_online(true);
    hub.grant();
    assert_eq!(
        told(&hub),
        [
            "blinds refused `lamp` publishes on its topic `z/lamp/set` as well",
            "lamp refused `blinds` publishes on its topic `z/lamp/set` as well",
            "valve link true",
        ]
    );
    assert_eq!(of_devices(&hub).len(), 1);
}

#[test]
fn a_filter_that_the_broker_refuses_costs_its_device_alone() {
    let mut hub = TestHub::new(bridging(), Memory::default());
    ["lamp", "blinds"].iter().for_each(|device| begin(&mut hub, device));
    hub.connect(connack(Some("alice"), false));
    hub.handle(Input::Disconnected(Disconnection::Requested));
    hub.connect(connack(Some("alice"), true));
    hub.grant_but(|filter| if filter == "z/lamp" { 0x87 } else { 1 });
    hub.return_to_session();
    hub.fence();
    hub.settle();
    assert!(hub.online.is_some());
    let refused = "lamp refused the broker refuses its topic `z/lamp` (0x87)";
    assert_eq!(told(&hub), [refused, "blinds link true"]);
    // The right is given, and the filter asked for again.
    hub.advance(Duration::from_secs(10));
    hub.grant();
    assert_eq!(told(&hub)[2..], ["lamp refused no more", "lamp link true"]);
}

#[test]
fn a_broker_that_ends_connections_over_a_filter_is_not_asked_for_it_a_third_time() {
    let mut hub = online();
    let lost = || Disconnection::Lost { error: "reset".into() };
    hub.handle(Input::Disconnected(lost()));
    // All together, then each by itself.
    for turn in 0..4 {
        hub.advance(Duration::from_secs(300));
        hub.connect(connack(Some("alice"), true));
        loop {
            let packet = hub.asked.pop_front().expect("the hub asks");
            let filters: Vec<_> = packet.iter().map(|asked| asked.filter.as_str()).collect();
            if turn < 3 && filters.contains(&"z/lamp") {
                assert!(turn == 0 || filters.len() == 1, "{filters:?}");
                break hub.handle(Input::Disconnected(lost()));
            }
            hub.handle(Input::Subscribed { reason_codes: vec![1; packet.len()] });
            if turn == 3 && hub.asked.is_empty() {
                break;
            }
        }
    }
    let refused = "lamp refused the broker ends the connection over its topic `z/lamp`";
    assert_eq!(told(&hub).iter().filter(|line| *line == refused).count(), 1);
    assert_eq!(told(&hub).last().map(String::as_str), Some("blinds link true"));
    // A reload gives it another chance.
    hub.take();
    hub.handle(Input::Devices(bridging().devices));
    hub.grant();
    assert_eq!(told(&hub), ["lamp refused no more", "lamp link true"]);
}

#[test]
fn a_message_leaves_before_its_request_is_answered_or_not_at_all() {
    let mut hub = online();
    let request = asked(&mut hub);
    let belonging =
        |number, topic| Publication { request: Some(request.id), ..publication(number, topic) };
    publish(&mut hub, "lamp", belonging(1, "z/lamp/set"));
    // The request's deadline is sooner than the message's own.
    assert_eq!(sent(&hub)[0].expiry, Some(5));
    // More than the broker takes at a time: they wait.
    for number in 2..=16 {
        publish(&mut hub, "lamp", belonging(number, "z/lamp/set"));
    }
    for number in 1..=16 {
        publish(&mut hub, "blinds", publication(number, "z/blinds/set"));
    }
    let before = sent(&hub).len();
    assert!(before < 32, "{before}");
    hub.answer(&request, Answer::no_content());
    hub.accept_all();
    publish(&mut hub, "lamp", belonging(17, "z/lamp/set"));
    let of_lamp = sent(&hub).iter().filter(|message| message.topic == "z/lamp/set").count();
    assert_eq!(of_lamp, 16.min(before), "none of the lamp's has left since");
    let late =
        told(&hub).iter().filter(|line| line.starts_with("lamp") && line.ends_with("Late")).count();
    assert_eq!((of_lamp, late), (of_lamp, 17 - of_lamp));
    assert_eq!(sent(&hub).len() - of_lamp, 16, "the others have");
}

#[test]
fn a_reply_goes_to_whoever_asked_and_one_that_does_not_come_is_late() {
    let mut hub = online();
    let reply =
        |number, topic| Publication { expects: Expects::Reply, ..publication(number, topic) };
    publish(&mut hub, "lamp", reply(1, "z/lamp/set"));
    publish(&mut hub, "blinds", reply(1, "z/blinds/set"));
    hub.accept_all();
    assert_eq!(told(&hub), [""; 0], "PUBACK is no reply");
    let sent = sent(&hub);
    let data = |message: &Message| message.correlation_data.clone().unwrap();
    assert_eq!(data(&sent[0]).len(), 16);
    assert_ne!(data(&sent[0]), data(&sent[1]));
    let answer = |data: bytes::Bytes, payload: &'static str| Message {
        topic: "alice/response/hub/reply".into(),
        payload: payload.into(),
        qos: QoS::AtLeastOnce,
        correlation_data: Some(data),
        ..Message::default()
    };
    assert_eq!(sent[0].response_topic.as_deref(), Some("alice/response/hub/reply"));
    let first = hub.receive(answer(data(&sent[1]), "done"));
    hub.receive(answer("a stranger's guess".into(), "no"));
    hub.receive(answer(data(&sent[1]), "again"));
    assert_eq!(told(&hub), ["blinds 1 \"done\""]);
    assert_eq!(hub.acknowledged()[0], first);
    assert_eq!(hub.acknowledged().len(), 3);
    hub.advance(Duration::from_secs(10));
    assert_eq!(told(&hub)[1..], ["lamp 1 Late"]);
    hub.receive(answer(data(&sent[0]), "too late"));
    assert_eq!(told(&hub).len(), 2);
}

#[test]
fn a_lost_connection_ends_what_is_under_way_at_once() {
    let mut hub = online();
    let request = asked(&mut hub);
    publish(&mut hub, "lamp", publication(1, "z/lamp/set"));
    publish(
        &mut hub,
        "lamp",
        Publication { expects: Expects::Reply, ..publication(2, "z/lamp/set") },
    );
    hub.handle(Input::Disconnected(Disconnection::Lost { error: "reset".into() }));
    let mut ended = told(&hub);
    ended.sort();
    assert_eq!(ended, ["blinds link false", "lamp 1 Gone", "lamp 2 Gone", "lamp link false"]);
    hub.take();
    let belonging = Publication { request: Some(request.id), ..publication(3, "z/lamp/set") };
    publish(&mut hub, "lamp", belonging);
    assert_eq!(told(&hub), ["lamp 3 Gone"]);
    hub.advance(Duration::from_secs(300));
    hub.connect(connack(Some("alice"), true));
    hub.grant();
    assert_eq!(told(&hub)[1..], ["blinds link true", "lamp link true"]);
    assert_eq!(sent(&hub), []);
    assert_eq!(of_devices(&hub).len(), 2);
}

#[test]
fn a_device_has_a_bound_of_its_own() {
    let mut hub = online();
    for number in 0..100 {
        publish(&mut hub, "lamp", publication(number, "z/lamp/set"));
    }
    let busy = told(&hub).iter().filter(|line| line.ends_with("Busy")).count();
    assert_eq!(busy, 100 - BRIDGE_MESSAGES);
    let large = Publication { payload: vec![0; 300_000].into(), ..publication(1, "z/blinds/set") };
    publish(&mut hub, "blinds", large);
    assert_eq!(told(&hub).last().map(String::as_str), Some("blinds 1 TooLarge"));
    let half = Publication { payload: vec![0; 130_000].into(), ..publication(1, "z/blinds/set") };
    publish(&mut hub, "blinds", half.clone());
    publish(&mut hub, "blinds", Publication { number: 2, ..half.clone() });
    publish(&mut hub, "blinds", Publication { number: 3, ..half });
    assert_eq!(told(&hub).last().map(String::as_str), Some("blinds 3 Busy"));
    // What waits for nothing but a reply counts until that comes, or is late.
    hub.accept_all();
    hub.take();
    for number in 0..20 {
        publish(
            &mut hub,
            "lamp",
            Publication { expects: Expects::Reply, ..publication(number, "z/lamp/set") },
        );
    }
    hub.accept_all();
    assert_eq!(told(&hub).iter().filter(|line| line.ends_with("Busy")).count(), 4);
}

#[test]
fn messages_of_devices_wait_for_answers_and_no_answer_waits_for_them() {
    let mut hub = online_with(bridging());
    hub.handle(Input::Disconnected(Disconnection::Lost { error: "reset".into() }));
    hub.advance(Duration::from_secs(300));
    // The broker takes two messages at a time: one of the hub's own and one of devices.
    let few = Connack { receive_maximum: 2, ..connack(Some("alice"), true) };
    hub.connect(few);
    hub.grant();
    hub.return_to_session();
    hub.accept_all();
    hub.fence();
    hub.settle();
    hub.accept_all();
    hub.take();
    for number in 0..8 {
        publish(&mut hub, "blinds", publication(number, "z/blinds/set"));
    }
    assert_eq!(sent(&hub).len(), 1, "{:?}", hub.published());
    let request = asked(&mut hub);
    hub.answer(&request, Answer::text("ON"));
    let answers =
        |hub: &TestHub| hub.published().iter().any(|m| m.topic.contains("/response/phone"));
    assert!(answers(&hub), "the answer does not wait for their PUBACK");
    hub.accept_all();
    assert_eq!(sent(&hub).len(), 8);
}

#[test]
fn a_flood_on_a_devices_topic_takes_no_room_from_requests() {
    let mut hub = online();
    // So many that the next one waits until the broker has taken an answer.
    for number in 0..1025_u32 {
        let data = number.to_be_bytes().to_vec().into();
        hub.receive(Message { correlation_data: Some(data), ..request("ON", b"") });
    }
    for _ in 0..20_000 {
        hub.handle(arrived("z/lamp", "ON", false));
    }
    assert_eq!(told(&hub).len(), 20_000, "the device has its own bound for them");
    hub.receive(request("ON", b"one more"));
    let left =
        |output: &Output| matches!(output, Output::Notice(Notice::ReceiveMaximumExceeded { .. }));
    assert!(!hub.outputs.iter().any(left), "the request has found room");
}

#[test]
fn the_filters_of_a_device_that_goes_are_left_also_after_a_restart() {
    let without = || {
        let mut config = bridging();
        config.devices.remove("lamp");
        policy(&mut config, "blinds").topics = topics(&["z/other"], &["z/blinds/set"]);
        config
    };
    let mut hub = online();
    assert_eq!(hub.served["lamp"].filters.len(), 1);
    hub.handle(Input::Devices(without().devices));
    let left = unsubscribed(&hub);
    assert!(left.contains(&"z/lamp".into()) && left.contains(&"z/blinds".into()), "{left:?}");

    // The hub was down meanwhile.
    let hub = online();
    let mut hub = hub.restarted_with(without(), true);
    let left = unsubscribed(&hub);
    assert!(left.contains(&"z/lamp".into()) && left.contains(&"z/blinds".into()), "{left:?}");
    hub.fence();
    hub.settle();
    hub.accept_all();
    assert_eq!(hub.served["lamp"].filters.len(), 0, "the broker has acted on it");
    assert_eq!(Vec::from_iter(hub.served["blinds"].filters.iter().map(|f| &**f)), ["z/other"]);
    let hub = hub.restarted_with(without(), true);
    assert!(!unsubscribed(&hub).iter().any(|filter| filter.starts_with("z/")));
}

fn lose(hub: &mut TestHub) {
    hub.handle(Input::Disconnected(Disconnection::Lost { error: "cut".into() }));
    hub.advance(Duration::from_secs(2));
    hub.take();
}

#[test]
fn a_filter_that_is_left_behind_the_fence_is_left_again_on_the_next_connection() {
    let mut hub = online();
    lose(&mut hub);
    hub.go_online_unfenced(true);
    let mut without = bridging();
    without.devices.remove("lamp");
    hub.handle(Input::Devices(without.devices));
    assert!(unsubscribed(&hub).contains(&"z/lamp".into()));
    // What follows is lost with the connection; the fence was published before it.
    hub.fence();
    lose(&mut hub);
    hub.go_online(true);
    assert!(unsubscribed(&hub).contains(&"z/lamp".into()), "{:?}", unsubscribed(&hub));
    assert!(hub.served.get("lamp").is_none_or(|served| served.filters.is_empty()));
}

#[test]
fn a_filter_that_another_device_listens_to_as_well_stays() {
    let mut config = bridging();
    policy(&mut config, "blinds").topics = topics(&["z/lamp"], &["z/blinds/set"]);
    let mut hub = online_with(config.clone());
    hub.take();
    hub.handle(arrived("z/lamp", "ON", false));
    assert_eq!(told(&hub), ["blinds z/lamp ON false", "lamp z/lamp ON false"]);
    config.devices.remove("lamp");
    hub.handle(Input::Devices(config.devices));
    assert!(!unsubscribed(&hub).contains(&"z/lamp".into()));
}

#[test]
fn a_device_that_is_created_anew_hears_of_the_connection_and_of_what_is_retained_again() {
    let mut hub = online();
    publish(
        &mut hub,
        "lamp",
        Publication { expects: Expects::Reply, ..publication(1, "z/lamp/set") },
    );
    begin(&mut hub, "lamp");
    assert_eq!(of_devices(&hub).len(), 1);
    hub.grant();
    assert_eq!(told(&hub), ["lamp link true"]);
    hub.advance(Duration::from_secs(60));
    assert_eq!(told(&hub).len(), 1, "nothing of the one before");
}

#[test]
fn a_message_of_a_request_that_nobody_knows_is_late() {
    let mut hub = online();
    let belonging = Publication { request: Some(RequestId(99)), ..publication(1, "z/lamp/set") };
    publish(&mut hub, "lamp", belonging);
    assert_eq!((told(&hub), sent(&hub)), (vec!["lamp 1 Late".to_owned()], vec![]));
}

#[test]
fn a_refusal_that_comes_after_the_outcome_is_no_second_one() {
    let mut hub = online();
    publish(
        &mut hub,
        "lamp",
        Publication { expects: Expects::Reply, ..publication(1, "z/lamp/set") },
    );
    let id = hub.outputs.iter().find_map(|output| match output {
        Output::Publish { id, message } if message.topic == "z/lamp/set" => Some(*id),
        _ => None,
    });
    hub.advance(Duration::from_secs(10));
    let reason_code = 0x97;
    hub.handle(Input::Published { id: id.expect("it was sent"), reason_code });
    assert_eq!(told(&hub), ["lamp 1 Late"]);
    publish(&mut hub, "lamp", publication(2, "z/lamp/set"));
    let id = hub.outputs.iter().rev().find_map(|output| match output {
        Output::Publish { id, .. } => Some(*id),
        _ => None,
    });
    hub.handle(Input::Published { id: id.expect("it was sent"), reason_code });
    assert_eq!(told(&hub)[1..], ["lamp 2 Refused"]);
}

/// A lamp that may ask the blinds, and a device of another hub.
fn asking() -> TestHub {
    let mut config = config();
    let ask = ["blinds".to_owned(), "elsewhere".to_owned()].into();
    policy(&mut config, "lamp").topics = DeclaredTopics { ask, ..DeclaredTopics::default() };
    let mut hub = online_with(config);
    assert_eq!(told(&hub), ["lamp link true"]);
    hub.take();
    hub
}

fn question(number: u64, address: &str) -> Publication {
    Publication { expects: Expects::Answer, ..publication(number, address) }
}

/// What the hub has published to devices of the home.
fn questions(hub: &TestHub) -> Vec<Message> {
    let is_one = |message: &Message| message.topic.starts_with("alice/cmnd/");
    hub.published().into_iter().filter(is_one).collect()
}

fn answer_to(asked: &Message, payload: &'static str, properties: &[(&str, &str)]) -> Message {
    let owned = properties.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Message {
        topic: asked.response_topic.clone().unwrap(),
        payload: payload.into(),
        qos: QoS::AtLeastOnce,
        correlation_data: asked.correlation_data.clone(),
        user_properties: owned.collect(),
        ..Message::default()
    }
}

#[test]
fn a_device_asks_another_as_any_requester_does() {
    let mut hub = asking();
    let request = asked(&mut hub);
    publish(
        &mut hub,
        "lamp",
        Publication { request: Some(request.id), ..question(1, "elsewhere/power") },
    );
    publish(&mut hub, "lamp", question(2, "blinds/get"));
    let sent = questions(&hub);
    assert_eq!(sent[0].topic, "alice/cmnd/elsewhere/power");
    assert_eq!(sent[0].response_topic.as_deref(), Some("alice/response/hub/reply"));
    assert_eq!((sent[0].expiry, sent[0].user_property("via")), (Some(5), Some("lamp")));
    assert_eq!((sent[1].expiry, sent[1].user_property("via")), (Some(10), Some("lamp")));
    hub.accept_all();
    assert_eq!(told(&hub), [""; 0], "PUBACK is no answer");
    hub.receive(answer_to(&sent[0], "ON", &[("__stat", "200")]));
    let failed = [("__stat", "503"), ("__stMsg", "no reply"), ("reason", "unreachable")];
    hub.receive(answer_to(&sent[1], "{}", &failed));
    assert_eq!(
        told(&hub),
        [
            r#"lamp 1 "{\"payload\":\"ON\",\"status\":200}""#,
            r#"lamp 2 "{\"message\":\"no reply\",\"reason\":\"unreachable\",\"status\":503}""#,
        ]
    );
    // Somebody else has seen the question.
    publish(&mut hub, "lamp", question(3, "blinds/power"));
    let sent = questions(&hub);
    hub.receive(answer_to(&sent[2], "ON", &[]));
    assert!(told(&hub)[2].contains("no answer"), "{:?}", told(&hub));
}

#[test]
fn a_device_of_the_same_hub_answers_and_the_answer_comes_back() {
    let mut hub = asking();
    publish(&mut hub, "lamp", question(1, "blinds/position"));
    let sent = questions(&hub).pop().unwrap();
    hub.receive(sent.clone());
    let request = hub.executed().pop().expect("the blinds are asked");
    assert_eq!((&*request.device, &*request.property), ("blinds", "position"));
    hub.answer(&request, Answer::text("30"));
    let answer = hub
        .published()
        .into_iter()
        .find(|message| Some(&message.topic) == sent.response_topic.as_ref());
    hub.receive(answer.expect("an answer, which the hub hears itself"));
    assert_eq!(told(&hub), [r#"lamp 1 "{\"payload\":\"30\",\"status\":200}""#]);
}

#[test]
fn a_device_asks_only_those_that_it_has_named() {
    let mut hub = asking();
    for address in
        ["lamp/power", "other/power", "blinds", "blinds/+", "blinds/a/b", "/power", "blinds/"]
    {
        publish(&mut hub, "lamp", question(1, address));
    }
    publish(&mut hub, "blinds", question(1, "lamp/power"));
    publish(&mut hub, "lamp", publication(1, "alice/cmnd/blinds/position"));
    assert_eq!(questions(&hub), []);
    let told = told(&hub);
    assert_eq!(told.len(), 9);
    assert!(told.iter().all(|line| line.ends_with("1 Refused")), "{told:?}");
}

#[test]
fn nobody_serves_a_device_and_the_one_that_asks_is_told_at_once() {
    let mut hub = asking();
    publish(&mut hub, "lamp", question(1, "elsewhere/power"));
    let id = hub.outputs.iter().find_map(|output| match output {
        Output::Publish { id, message } if message.topic.ends_with("elsewhere/power") => Some(*id),
        _ => None,
    });
    hub.handle(Input::Published { id: id.unwrap(), reason_code: 0x10 });
    assert_eq!(
        told(&hub),
        [r#"lamp 1 "{\"message\":\"no hub serves the device\",\"status\":404}""#]
    );
}

#[test]
fn a_request_that_comes_round_to_its_device_is_not_carried_out() {
    let mut hub = asking();
    let via = |via: &str| Message {
        user_properties: vec![("via".into(), via.into())],
        ..request("ON", b"1")
    };
    let status = |hub: &mut TestHub, via: Message| {
        hub.take();
        hub.receive(via);
        let answer = hub.published().pop();
        answer.map(|answer| {
            (
                answer.user_property("__stat").map(str::to_owned),
                answer.user_property("reason").map(str::to_owned),
            )
        })
    };
    let refused = Some((Some("409".to_owned()), Some("loop".to_owned())));
    assert_eq!(status(&mut hub, via("house,lamp,blinds")), refused);
    assert_eq!(status(&mut hub, via("a,b,c,d,e,f,g,h,i")), refused);
    assert_eq!(status(&mut hub, via("house,lamps")), None);
    let request = hub.executed().pop().expect("it is carried out");
    let belonging = Publication { request: Some(request.id), ..question(1, "blinds/position") };
    publish(&mut hub, "lamp", belonging);
    assert_eq!(questions(&hub)[0].user_property("via"), Some("house,lamps,lamp"));
}

#[test]
fn what_a_stranger_calls_those_that_wait_counts_with_what_is_under_way() {
    let mut hub = asking();
    let long = "x".repeat(60_000);
    let strange =
        Message { user_properties: vec![("via".into(), long.clone())], ..request("ON", b"1") };
    hub.receive(strange);
    let request = hub.executed().pop().expect("it names nobody that there is");
    for number in 1..=5 {
        let belonging = Publication { request: Some(request.id), ..question(number, "blinds/get") };
        publish(&mut hub, "lamp", belonging);
    }
    assert_eq!(questions(&hub).len(), 4, "four of 60 kB are under way, and 256 KiB may be");
    assert_eq!(questions(&hub)[0].user_property("via"), Some(&*format!("{long},lamp")));
    assert_eq!(told(&hub), ["lamp 5 Busy"]);
}

#[test]
fn devices_that_ask_each_other_in_a_circle_may_not() {
    let mut config = config();
    let mut ask = |device, other: &str| {
        let ask = [other.to_owned()].into();
        policy(&mut config, device).topics = DeclaredTopics { ask, ..DeclaredTopics::default() };
    };
    ask("lamp", "blinds");
    ask("blinds", "lamp");
    let hub = online_with(config);
    let reason = "it asks itself: lamp, which asks blinds, which asks lamp";
    assert!(told(&hub).contains(&format!("lamp refused {reason}")), "{:?}", told(&hub));
    assert!(!told(&hub).iter().any(|line| line.ends_with("link true")), "{:?}", told(&hub));
}

fn following() -> HubConfig {
    let mut config = config();
    let follow = ["blinds", "elsewhere"].map(|device| (device.to_owned(), "power".to_owned()));
    policy(&mut config, "lamp").topics =
        DeclaredTopics { follow: follow.into(), ..DeclaredTopics::default() };
    config
}

#[test]
fn a_device_follows_states_of_its_hub_and_of_others() {
    let mut hub = online_with(following());
    let wanted = hub.outputs.iter().filter_map(|output| match output {
        Output::Subscribe(filters) => Some(filters),
        _ => None,
    });
    let followed = |device: &str| Subscription {
        filter: format!("alice/state/{device}/power"),
        retained: true,
        no_local: false,
        subscriber: Subscriber::Device,
    };
    assert_eq!(wanted.last(), Some(&vec![followed("blinds"), followed("elsewhere")]));
    assert!(told(&hub).contains(&"lamp link true".to_owned()), "{:?}", told(&hub));
    hub.take();
    let state = |device: &str, payload: &'static str, retain| Message {
        topic: format!("alice/state/{device}/power"),
        payload: payload.into(),
        retain,
        ..Message::default()
    };
    hub.receive(state("blinds", "ON", true));
    hub.receive(state("elsewhere", "OFF", false));
    hub.receive(state("stranger", "OFF", false));
    assert_eq!(told(&hub), ["lamp blinds/power ON true", "lamp elsewhere/power OFF false"]);
}

#[test]
fn what_is_no_longer_followed_is_left() {
    let mut hub = online_with(following());
    hub.take();
    let mut config = following();
    policy(&mut config, "lamp").topics.follow.remove(&("blinds".to_owned(), "power".to_owned()));
    hub.handle(Input::Devices(config.devices));
    let left = hub.outputs.iter().find_map(|output| match output {
        Output::Unsubscribe(filters) => Some(filters.clone()),
        _ => None,
    });
    assert_eq!(left, Some(vec!["alice/state/blinds/power".to_owned()]));
}

#[test]
fn what_can_be_followed_is_a_property_of_a_device() {
    let parse = |text: &str| DeclaredTopics::parse(&[("follow".to_owned(), text.to_owned())]);
    assert!(parse("hall/power").is_ok_and(|topics| !topics.is_empty()));
    for text in ["", "hall", "hall/", "/power", "hall/status", "hall/+", "a/b/power", "+/power"] {
        assert_eq!(parse(text), Err(format!("`{text}` is no DEVICE/PROPERTY")));
    }
    let many: Vec<_> = (0..257).map(|n| ("follow".to_owned(), format!("d{n}/power"))).collect();
    let error = DeclaredTopics::parse(&many).unwrap_err();
    assert_eq!(error, "declares 257 states of others, and 256 are the most");
}

#[test]
fn a_device_can_do_without_the_states_that_it_follows() {
    let mut config = following();
    policy(&mut config, "lamp").topics.ask = ["blinds".to_owned()].into();
    let mut hub = TestHub::new(config, Memory::default());
    begin(&mut hub, "lamp");
    hub.connect(connack(Some("alice"), false));
    hub.handle(Input::Disconnected(Disconnection::Requested));
    hub.go_online(true);
    assert_eq!(told(&hub), ["lamp link true"], "the broker has not answered yet");
    hub.take();
    hub.handle(Input::Subscribed { reason_codes: vec![0x87, 0x87] });
    assert_eq!(told(&hub), [""; 0], "it is not refused");
    publish(&mut hub, "lamp", question(1, "blinds/power"));
    assert_eq!(questions(&hub).len(), 1);
}
