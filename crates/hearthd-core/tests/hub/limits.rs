//! Brokers that offer less, and brokers that do not answer.

use std::time::Duration;

use hearthd_core::{
    Connack, Disconnection, Input, Lack, Limits, Memory, Notice, Output, QoS, topic::Prefix,
};

use crate::rig::{Rig, config, connack, refused};

fn notices(rig: &Rig) -> Vec<Notice> {
    let notices = rig.outputs.iter().filter_map(|output| match output {
        Output::Notice(notice) => Some(notice.clone()),
        _ => None,
    });
    notices.collect()
}

/// A hub that is online at a broker which offers this.
fn online_at(offer: &Connack) -> Rig {
    let mut rig = Rig::new(config(), Memory::default());
    rig.connect(offer.clone());
    rig.handle(Input::Disconnected(Disconnection::Requested));
    rig.connect(offer.clone());
    rig.grant_but(|_| offer.limits.qos as u8);
    rig.fence();
    rig.settle();
    rig.accept_all();
    rig
}

#[test]
fn a_broker_without_qos_1_and_retained_messages_gets_neither_and_it_is_told_once() {
    let limits = Limits { qos: QoS::AtMostOnce, retain: false };
    let offer = Connack { limits, session_expiry: Some(0), ..connack(Some("alice"), false) };
    let mut rig = online_at(&offer);
    assert_eq!((rig.will().qos, rig.will().retain), (QoS::AtMostOnce, false));
    for message in rig.published() {
        assert_eq!((message.qos, message.retain), (QoS::AtMostOnce, false), "{message:?}");
    }
    let lacks = vec![Lack::AtLeastOnce, Lack::Retain, Lack::SessionExpiry { seconds: 0 }];
    let told =
        |rig: &Rig| notices(rig).into_iter().filter(|n| matches!(n, Notice::Lacks(_))).count();
    assert!(notices(&rig).contains(&Notice::Lacks(lacks)));
    rig.take();
    rig.handle(Input::Disconnected(Disconnection::Lost { error: "cut".into() }));
    rig.advance(Duration::from_secs(60));
    rig.connect(offer);
    assert_eq!(told(&rig), 0, "nothing is new");
}

#[test]
fn a_will_that_is_refused_for_being_retained_is_not_retained_the_next_time() {
    let mut rig = Rig::new(config(), Rig::online().memory);
    rig.handle(Input::Disconnected(refused(0x9A)));
    rig.advance(Duration::from_secs(60));
    // Without a will it connects, and may learn no more than the prefix.
    rig.connect(Connack {
        limits: Limits { retain: false, ..Limits::default() },
        ..connack(Some("alice"), true)
    });
    rig.handle(Input::Disconnected(Disconnection::Requested));
    assert!(!rig.will().retain);
}

#[test]
fn a_receive_maximum_of_zero_is_a_protocol_error() {
    let mut rig = Rig::new(config(), Rig::online().memory);
    rig.connect(Connack { receive_maximum: 0, ..connack(Some("alice"), true) });
    assert!(notices(&rig).iter().any(|notice| matches!(notice, Notice::ProtocolError { .. })));
    assert!(rig.outputs.contains(&Output::Protest));
    // Its will may be published.
    rig.handle(Input::Disconnected(Disconnection::Lost { error: "protested".into() }));
    assert!(rig.memory.open.iter().all(|will| !will.clean));
}

#[test]
fn a_puback_that_does_not_come_is_given_up_after_three_keep_alives() {
    let mut rig = Rig::new(config(), Rig::online().memory);
    rig.go_online_unfenced(true);
    rig.fence();
    rig.advance(Duration::from_secs(179));
    assert!(!rig.outputs.contains(&Output::Disconnect));
    rig.advance(Duration::from_secs(1));
    assert!(rig.outputs.contains(&Output::Disconnect));
    let told = |notice: &Notice| matches!(notice, Notice::PublishUnanswered { .. });
    assert!(notices(&rig).iter().any(told));
}

#[test]
fn a_fence_that_is_given_up_is_told() {
    let mut rig = Rig::online().restarted(true);
    rig.advance(Duration::from_secs(10));
    assert!(notices(&rig).contains(&Notice::FenceGivenUp));
}

#[test]
fn response_information_that_is_too_long_is_neither_used_nor_kept() {
    assert!(Prefix::parse(&"a".repeat(256)).is_ok());
    let mut rig = Rig::new(config(), Memory::default());
    rig.connect(connack(Some(&"a".repeat(65_535)), false));
    rig.handle(Input::Disconnected(Disconnection::Requested));
    assert_eq!(rig.will().topic, "hub/hub/presence");
}
