//! Bytes that nobody should send, before and after the login.

use std::time::{Duration, Instant};

use crate::{
    broker::{Broker, is_closed},
    raw::{connect, packet, publish, text},
};

/// A CONNECT of MQTT 3.1.1 of an account with the password `secret` and a retained will.
pub(crate) fn classic_connect_with_will(account: &str, topic: &str) -> Vec<u8> {
    let body = [
        &text("MQTT")[..],
        &[4, 0b1110_0110, 0, 60],
        &text(&format!("{account}-client")),
        &text(topic),
        &text("Offline"),
        &text(account),
        &text("secret"),
    ];
    packet(0x10, &body.concat())
}

#[test]
fn what_is_no_connect_ends_the_connection() {
    let broker = Broker::start();
    for bytes in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        &packet(0xC0, &[]),
        &packet(0x10, b"\0\x04MQTT"),
        &[0x10, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F],
        &publish("home/x", b"v", 0, false),
    ] {
        let mut raw = broker.raw();
        raw.send(bytes);
        let end = Instant::now() + Duration::from_secs(5);
        while !is_closed(&mut raw.stream) {
            assert!(Instant::now() < end, "{bytes:02x?}");
        }
    }
    broker.client("old", "phone");
}

#[test]
fn an_unknown_version_is_told_which_there_are() {
    let broker = Broker::start();
    let mut raw = broker.raw();
    raw.send(&packet(0x10, &[&text("MQIsdp")[..], &[3, 2, 0, 60], &text("x")].concat()));
    assert_eq!(raw.expect(0x20), [0, 1]);
}

#[test]
fn a_connect_above_the_bound_is_refused_by_its_header() {
    let broker = Broker::start();
    let mut raw = broker.raw();
    raw.send(&[0x10, 0xFF, 0xFF, 0x7F]);
    raw.expect_connack(0x95);
}

#[test]
fn nothing_that_follows_a_refused_connect_is_taken() {
    let broker = Broker::start();
    let mut watch = broker.client("old", "watch");
    watch.subscribe("home/x");
    for refused in [connect("x", "old", "wrong", 0), connect("hearthd-x", "nobody", "secret", 0)] {
        let mut raw = broker.raw();
        let message = publish("home/x", b"refused", 0, false);
        raw.send(&[refused, message.clone(), message].concat());
        raw.expect_connack(0x86);
        assert!(raw.receive().is_err());
    }
    watch.send(&publish("home/x", b"taken", 0, false));
    assert_eq!(watch.message().1, b"taken");
}

#[test]
fn packets_that_nobody_meant_disturb_nobody_else() {
    let broker = Broker::start();
    let mut quiet = broker.client("old", "quiet");
    quiet.subscribe("home/quiet");
    let mut random = fastrand::Rng::with_seed(11);
    let whole = [
        connect("fuzz", "old", "secret", 9),
        publish("home/fuzz", b"v", 3, true),
        packet(0x82, &[&[0, 1, 0][..], &text("home/#"), &[1]].concat()),
        packet(0x62, &[0, 3]),
        packet(0xC0, &[]),
    ];
    for round in 0..300 {
        let logged_in = round % 2 == 0;
        let mut raw = if logged_in { broker.client("old", "fuzz") } else { broker.raw() };
        for _ in 0..10 {
            let mut bytes = whole[random.usize(..whole.len())].clone();
            let place = random.usize(..bytes.len());
            bytes[place] = random.u8(..);
            if raw.try_send(&bytes).is_err() {
                break;
            }
        }
    }
    quiet.send(&publish("home/quiet", b"alive", 0, false));
    assert_eq!(quiet.message().1, b"alive");
    assert!(!broker.log().contains("panicked"), "{}", broker.log());
}
