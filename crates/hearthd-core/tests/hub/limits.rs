//! Brokers that offer less, and brokers that do not answer.

use std::time::Duration;

use hearthd_core::{
    Connack, Disconnection, Input, Lack, Limits, Memory, Notice, Output, QoS, topic::Prefix,
};

use crate::test_hub::{TestHub, config, connack, refused};

fn notices(hub: &TestHub) -> Vec<Notice> {
    let notices = hub.outputs.iter().filter_map(|output| match output {
        Output::Notice(notice) => Some(notice.clone()),
        _ => None,
    });
    notices.collect()
}

/// A hub that is online at a broker which offers this.
fn online_at(offer: &Connack) -> TestHub {
    let mut hub = TestHub::new(config(), Memory::default());
    hub.connect(offer.clone());
    hub.handle(Input::Disconnected(Disconnection::Requested));
    hub.connect(offer.clone());
    hub.grant_but(|_| offer.limits.qos as u8);
    hub.fence();
    hub.settle();
    hub.accept_all();
    hub
}

#[test]
fn a_broker_without_qos_1_and_retained_messages_gets_neither_and_it_is_told_once() {
    let limits = Limits { qos: QoS::AtMostOnce, retain: false };
    let offer = Connack { limits, session_expiry: Some(0), ..connack(Some("alice"), false) };
    let mut hub = online_at(&offer);
    assert_eq!((hub.will().qos, hub.will().retain), (QoS::AtMostOnce, false));
    for message in hub.published() {
        assert_eq!((message.qos, message.retain), (QoS::AtMostOnce, false), "{message:?}");
    }
    let lacks = vec![Lack::AtLeastOnce, Lack::Retain, Lack::SessionExpiry { seconds: 0 }];
    let told =
        |hub: &TestHub| notices(hub).into_iter().filter(|n| matches!(n, Notice::Lacks(_))).count();
    assert!(notices(&hub).contains(&Notice::Lacks(lacks)));
    hub.take();
    hub.handle(Input::Disconnected(Disconnection::Lost { error: "cut".into() }));
    hub.advance(Duration::from_secs(60));
    hub.connect(offer);
    assert_eq!(told(&hub), 0, "nothing is new");
}

#[test]
fn a_will_that_is_refused_for_being_retained_is_not_retained_the_next_time() {
    let mut hub = TestHub::new(config(), TestHub::online().memory);
    hub.handle(Input::Disconnected(refused(0x9A)));
    hub.advance(Duration::from_secs(60));
    // Without a will it connects, and may learn no more than the prefix.
    hub.connect(Connack {
        limits: Limits { retain: false, ..Limits::default() },
        ..connack(Some("alice"), true)
    });
    hub.handle(Input::Disconnected(Disconnection::Requested));
    assert!(!hub.will().retain);
}

#[test]
fn a_receive_maximum_of_zero_is_a_protocol_error() {
    let mut hub = TestHub::new(config(), TestHub::online().memory);
    hub.connect(Connack { receive_maximum: 0, ..connack(Some("alice"), true) });
    assert!(notices(&hub).iter().any(|notice| matches!(notice, Notice::ProtocolError { .. })));
    assert!(hub.outputs.contains(&Output::Protest));
    // Its will may be published.
    hub.handle(Input::Disconnected(Disconnection::Lost { error: "protested".into() }));
    assert!(hub.memory.open.iter().all(|will| !will.clean));
}

#[test]
fn a_puback_that_does_not_come_is_given_up_after_three_keep_alives() {
    let mut hub = TestHub::new(config(), TestHub::online().memory);
    hub.go_online_unfenced(true);
    hub.fence();
    hub.advance(Duration::from_secs(179));
    assert!(!hub.outputs.contains(&Output::Disconnect));
    hub.advance(Duration::from_secs(1));
    assert!(hub.outputs.contains(&Output::Disconnect));
    let told = |notice: &Notice| matches!(notice, Notice::PublishUnanswered { .. });
    assert!(notices(&hub).iter().any(told));
}

#[test]
fn a_fence_that_is_given_up_is_told() {
    let mut hub = TestHub::online().restarted(true);
    hub.advance(Duration::from_secs(10));
    assert!(notices(&hub).contains(&Notice::FenceGivenUp));
}

#[test]
fn response_information_that_is_too_long_is_neither_used_nor_kept() {
    assert!(Prefix::parse(&"a".repeat(256)).is_ok());
    let mut hub = TestHub::new(config(), Memory::default());
    hub.connect(connack(Some(&"a".repeat(65_535)), false));
    hub.handle(Input::Disconnected(Disconnection::Requested));
    assert_eq!(hub.will().topic, "hub/hub/presence");
}
