//! Retained messages (MQTT 3.3.1.3).

use hearthd_broker::{
    core::Input,
    packet::{QoS, Received},
};

use crate::harness::*;

fn world() -> World {
    let mut world = World::new();
    let writer = world.join(Client::new("old", "writer"));
    for (topic, payload) in
        [("home/a", "1"), ("home/a/b", "2"), ("home/ab", "3"), ("home/c/b", "4")]
    {
        world.publish(writer, retained(message(topic, payload, QoS::AtLeastOnce, 1)));
    }
    world
}

#[test]
fn a_subscriber_gets_what_its_filter_matches() {
    for (filter, expected) in [
        ("home/#", &["1", "2", "3", "4"][..]),
        ("home/a", &["1"]),
        ("home/a/#", &["1", "2"]),
        ("home/+/b", &["2", "4"]),
        ("home/+", &["1", "3"]),
        ("home/none", &[]),
    ] {
        let mut world = world();
        let reader = world.join(Client::new("old", "reader"));
        let got = world.subscribe(reader, filter, 0);
        assert_eq!(got[0], "SUBACK [00]");
        let payloads: Vec<&str> =
            got[1..].iter().map(|line| line.split(['=', ' ']).nth(1).unwrap()).collect();
        assert_eq!(payloads, expected, "{filter}");
        assert!(got[1..].iter().all(|line| line.ends_with("retained")), "{got:?}");
    }
}

#[test]
fn an_empty_message_removes_what_is_retained() {
    let mut world = world();
    let writer = world.join(Client::new("old", "other"));
    world.publish(writer, retained(message("home/a", "", QoS::AtMostOnce, 0)));
    let reader = world.join(Client::new("old", "reader"));
    assert_eq!(world.subscribe(reader, "home/a", 0), ["SUBACK [00]"]);
}

#[test]
fn retain_handling_says_when_they_come() {
    for (handling, first, again) in [(0, true, true), (1, true, false), (2, false, false)] {
        let mut world = world();
        let reader = world.join(Client::new("old", "reader"));
        for expected in [first, again] {
            let mut wanted = options(0);
            wanted.retain_handling = handling;
            world.receive(reader, subscribe(1, &[("home/a", wanted)]));
            assert_eq!(world.got(reader).len() == 2, expected, "{handling}");
        }
    }
}

#[test]
fn retain_as_published_keeps_the_flag_of_what_comes_later() {
    for as_published in [false, true] {
        let mut world = World::new();
        let reader = world.join(Client::new("old", "reader"));
        let mut wanted = options(0);
        wanted.retain_as_published = as_published;
        world.receive(reader, subscribe(1, &[("home/#", wanted)]));
        let writer = world.join(Client::new("old", "writer"));
        world.publish(writer, retained(message("home/a", "1", QoS::AtMostOnce, 0)));
        assert_eq!(world.deliveries(reader)[0].retain, as_published);
    }
}

#[test]
fn a_retained_message_ends_with_its_expiry() {
    let mut world = World::new();
    let writer = world.join(Client::new("old", "writer"));
    let mut sent = retained(message("home/a", "1", QoS::AtMostOnce, 0));
    sent.expiry = Some(100);
    world.publish(writer, sent);
    world.pass(seconds(40));
    let reader = world.join(Client::new("old", "reader"));
    world.receive(reader, subscribe(1, &[("home/#", options(0))]));
    assert_eq!(world.deliveries(reader)[0].expiry, Some(60));
    world.pass(seconds(120));
    world.receive(reader, subscribe(1, &[("home/#", options(0))]));
    assert_eq!(world.got(reader), ["SUBACK [00]"]);
    assert!(world.broker.retained_topics().is_empty());
    assert!(world.store.is_empty());
}

#[test]
fn a_retained_copy_alone_costs_a_publisher_no_write() {
    let mut world = World::new();
    let writer = world.join(Client::new("old", "writer"));
    let before = world.batches;
    for id in 1..50 {
        world.publish(writer, retained(message("home/a", "1", QoS::AtLeastOnce, id)));
        assert_eq!(world.got(writer), [format!("PUBACK #{id} 10")]);
        world.settle();
    }
    assert_eq!(world.batches, before);
    world.pass(seconds(1));
    assert_eq!(world.batches, before + 1);
}

#[test]
fn a_hand_out_that_a_restart_interrupts_goes_on_after_it() {
    for quality in [0, 1] {
        for cut in 0..12 {
            let mut world = World::new();
            let writer = world.join(Client::new("old", "writer"));
            for number in 100..200 {
                let topic = format!("home/many/{number}");
                let payload = number.to_string();
                world.publish(writer, retained(message(&topic, &payload, QoS::AtLeastOnce, 1)));
            }
            world.pass(seconds(2));
            let link = world.join(reader());
            // Only some are sent: the client acknowledges nothing more, or does not read.
            world.receive(link, subscribe(1, &[("home/many/+", options(quality))]));
            world.settle();
            let got = world.got(link);
            assert_eq!(got[0], "SUBACK [0".to_owned() + &quality.to_string() + "]");
            let mut received: Vec<String> = got[1..].iter().map(|line| number_of(line)).collect();
            for id in 0..cut {
                world.ack(link, Received::Puback, id + 1);
                world.handle(Input::Drained { link });
                received.extend(world.payloads(link));
            }
            if cut % 2 == 0 {
                world.handle(Input::Closed { link });
            }
            world.pass(seconds(u64::from(cut % 3)));
            world.crash(seconds(1));
            let link = world.connect(reader());
            world.settle();
            assert!(world.connack(link).session_present);
            for id in 1..=1_000 {
                received.extend(world.payloads(link));
                world.ack(link, Received::Puback, id);
                world.handle(Input::Drained { link });
            }
            received.sort();
            received.dedup();
            let lost = if quality == 0 { RETAINED_AHEAD } else { 0 };
            assert!(received.len() >= 100 - lost, "{quality} {cut}: {} came", received.len());
        }
    }
}

/// Messages of QoS 0 that a restart may cost: those that were taken from the store to be sent.
const RETAINED_AHEAD: usize = 32;

fn number_of(line: &str) -> String {
    line.split(['=', ' ']).nth(1).unwrap_or_default().to_owned()
}

#[test]
fn a_hand_out_begins_after_a_restart_where_the_suback_did_not_go_out() {
    let mut world = World::new();
    let writer = world.join(Client::new("old", "writer"));
    world.publish(writer, retained(message("home/a", "1", QoS::AtLeastOnce, 1)));
    world.pass(seconds(2));
    let link = world.join(reader());
    world.writes = false;
    world.receive(link, subscribe(1, &[("home/a", options(1))]));
    world.settle();
    assert!(world.got(link).is_empty());
    // The disk has it, and nobody was told.
    let (_, changes) = world.unwritten.remove(0);
    apply(&mut world.store, changes);
    world.crash(seconds(1));
    world.writes = true;
    let link = world.join(reader());
    assert_eq!(world.payloads(link), ["1"]);
}

#[test]
fn many_retained_messages_all_come_however_small_the_queue() {
    let mut world = World::new();
    let writer = world.join(Client::new("old", "writer"));
    for number in 0..1_000 {
        let topic = format!("home/many/{number}");
        world.publish(writer, retained(message(&topic, "1", QoS::AtMostOnce, 0)));
    }
    let reader = world.join(Client::new("old", "reader"));
    assert_eq!(world.subscribe(reader, "home/many/+", 0).len(), 1_001);
}
