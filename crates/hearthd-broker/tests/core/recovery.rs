//! What survives: a power cut after any write, and before any acknowledgement.

use std::{collections::BTreeSet, num::NonZeroU16};

use hearthd_broker::{
    core::{Input, LinkId, Table},
    packet::{Connect, QoS, Received},
};

use crate::harness::*;

#[test]
fn whatever_was_acknowledged_is_there_after_a_power_cut_at_any_write() {
    for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
        for cut in 0..40 {
            let (mut world, acknowledged, mut delivered) = live_until(cut, qos);
            world.crash(seconds(1));
            world.writes = true;
            let link = world.connect(reader());
            if !world.connack(link).session_present {
                assert!(acknowledged.is_empty(), "cut {cut}: the session is gone");
                continue;
            }
            world.settle();
            for delivery in world.deliveries(link) {
                delivered.insert(payload(&delivery));
            }
            let missing: Vec<_> = acknowledged.difference(&delivered).collect();
            assert!(missing.is_empty(), "cut {cut} {qos:?}: {missing:?}");
        }
    }
}

/// Plays some messages with the writes of every other step only, until `cut` steps were made; returns what the
/// publisher has an acknowledgement for, and what the reader acknowledged.
fn live_until(cut: usize, qos: QoS) -> (World, BTreeSet<String>, BTreeSet<String>) {
    let mut world = World::new();
    let link = world.join(reader());
    world.subscribe(link, "home/#", qos as u8);
    let writer = world.join(Client::new("old", "writer").durable());
    world.writes = false;
    let (mut acknowledged, mut delivered) = (BTreeSet::new(), BTreeSet::new());
    for step in 0..cut {
        let id = 1 + step as u16;
        world.publish(writer, message(TOPIC, &id.to_string(), qos, id));
        world.settle();
        if step % 3 == 0 {
            world.write();
        }
        for delivery in world.deliveries(link) {
            if step % 4 == 1 {
                delivered.insert(payload(&delivery));
                acknowledge(&mut world, link, qos, delivery.packet_id.map_or(0, |id| id.get()));
            }
        }
        for line in world.got(writer) {
            let id = line.split(['#', ' ']).nth(2).unwrap_or_default();
            acknowledged.insert(id.to_owned());
        }
    }
    (world, acknowledged, delivered)
}

fn acknowledge(world: &mut World, link: LinkId, qos: QoS, id: u16) {
    if qos == QoS::AtLeastOnce {
        return world.ack(link, Received::Puback, id);
    }
    world.ack(link, Received::Pubrec, id);
    world.settle();
    world.ack(link, Received::Pubcomp, id);
}

#[test]
fn an_exactly_once_message_is_not_taken_for_a_new_one_after_a_crash() {
    let mut world = World::new();
    let link = world.join(reader());
    world.subscribe(link, "home/#", 2);
    let writer = world.join(Client::new("old", "writer").durable());
    world.publish(writer, message(TOPIC, "v", QoS::ExactlyOnce, 9));
    world.settle();
    assert_eq!(world.got(writer), ["PUBREC #9 00"]);
    assert_eq!(world.got(link), ["home/x=v q2 #1"]);
    world.crash(seconds(1));
    // The publisher did not get the PUBREC: it sends again, and the broker remembers.
    let writer = world.join(Client::new("old", "writer").durable());
    world.publish(writer, message(TOPIC, "v", QoS::ExactlyOnce, 9));
    assert_eq!(world.got(writer), ["PUBREC #9 00"]);
    // The receiver gets it under the same identifier.
    let link = world.connect(reader());
    assert_eq!(world.got(link), ["CONNACK 00 present=true", "home/x=v q2 #1 dup"]);
    world.ack(link, Received::Pubrec, 1);
    world.settle();
    world.crash(seconds(1));
    let link = world.connect(reader());
    assert_eq!(world.got(link), ["CONNACK 00 present=true", "PUBREL #1 00"]);
}

#[test]
fn a_pubcomp_waits_until_the_store_has_forgotten_the_identifier() {
    let mut world = World::new();
    let writer = world.join(Client::new("old", "writer").durable());
    world.publish(writer, message(TOPIC, "v", QoS::ExactlyOnce, 9));
    world.settle();
    world.got(writer);
    world.writes = false;
    world.ack(writer, Received::Pubrel, 9);
    world.settle();
    assert!(world.got(writer).is_empty());
    world.write();
    assert_eq!(world.got(writer), ["PUBCOMP #9 00"]);
}

#[test]
fn subscriptions_retained_messages_and_expiries_survive() {
    let mut world = World::new();
    let link = world.join(reader());
    world.subscribe(link, "home/#", 1);
    world.handle(Input::Closed { link });
    let writer = world.join(Client::new("old", "writer"));
    let mut sent = retained(message(TOPIC, "v", QoS::AtLeastOnce, 1));
    sent.expiry = Some(100);
    world.publish(writer, sent);
    world.pass(seconds(10));
    world.crash(seconds(20));
    let link = world.join(reader());
    let delivery = world.deliveries(link).remove(0);
    assert_eq!((payload(&delivery).as_str(), delivery.expiry), ("v", Some(70)));
    let other = world.join(Client::new("old", "other"));
    world.receive(other, subscribe(1, &[("home/#", options(0))]));
    assert_eq!(world.deliveries(other)[0].expiry, Some(70));
    let writer = world.join(Client::new("old", "writer"));
    world.publish(writer, message(TOPIC, "new", QoS::AtLeastOnce, 1));
    assert_eq!(world.payloads(link), ["new"]);
}

#[test]
fn the_session_expiry_goes_on_while_the_broker_is_down() {
    for (down, present) in [(3_500, true), (3_700, false)] {
        let mut world = World::new();
        let link = world.join(reader());
        world.handle(Input::Closed { link });
        world.pass(seconds(2));
        world.crash(seconds(down));
        world.pass(seconds(1));
        let link = world.connect(reader());
        assert_eq!(world.connack(link).session_present, present, "{down}");
    }
}

#[test]
fn a_wall_clock_that_is_set_months_ahead_ends_no_session() {
    let mut world = World::new();
    let link = world.join(reader());
    world.handle(Input::Closed { link });
    world.pass(seconds(2));
    world.now.unix += seconds(200 * 24 * 3_600);
    world.pass(seconds(100));
    world.crash(seconds(100));
    let link = world.connect(reader());
    assert!(world.connack(link).session_present);
}

#[test]
fn nothing_is_left_in_the_store_of_what_is_gone() {
    let mut world = World::new();
    let link = world.join(reader());
    world.subscribe(link, "home/#", 2);
    let writer = world.join(Client::new("old", "writer").durable());
    for id in 1..20 {
        world.publish(writer, message(TOPIC, "v", QoS::ExactlyOnce, id));
        world.publish(writer, message(TOPIC, "v", QoS::AtLeastOnce, 100 + id));
    }
    world.settle();
    let tables: BTreeSet<Table> = world.store.keys().map(|(table, _)| *table).collect();
    assert_eq!(tables.len(), 5, "{tables:?}");
    for link in [link, writer] {
        world.handle(Input::Closed { link });
    }
    world.pass(seconds(3_700));
    assert!(world.store.is_empty(), "{:?}", world.store.keys());
}

#[test]
fn damaged_records_are_left_out_told_and_removed() {
    let mut world = World::new();
    let link = world.join(reader());
    world.subscribe(link, "home/#", 1);
    world.handle(Input::Closed { link });
    let writer = world.join(Client::new("old", "writer"));
    for id in 1..4 {
        world.publish(writer, retained(message(TOPIC, "v", QoS::AtLeastOnce, id)));
    }
    world.pass(seconds(2));
    let whole = world.store.clone();
    for key in whole.keys() {
        for damage in 0..4 {
            let mut world = World::new();
            world.store = whole.clone();
            let value = world.store.get_mut(key).unwrap();
            match damage {
                0 => value.clear(),
                1 => value.truncate(value.len() / 2),
                2 => value.iter_mut().for_each(|byte| *byte = 0xFF),
                _ => drop(world.store.remove(key)),
            }
            world.crash(seconds(1));
            world.pass(seconds(2));
            // It serves, whatever is left.
            let link = world.join(reader());
            world.subscribe(link, "home/else", 1);
            let writer = world.join(Client::new("old", "writer"));
            world.publish(writer, message("home/else", "alive", QoS::AtMostOnce, 0));
            assert!(world.payloads(link).contains(&"alive".to_owned()), "{key:?} {damage}");
        }
    }
}

#[test]
fn what_may_have_been_sent_before_a_power_cut_is_marked_as_a_repeat_and_what_cannot_have_been_is_not()
 {
    for stays_connected in [true, false] {
        let mut world = World::new();
        let one_at_a_time = |it: &mut Connect| it.receive_maximum = NonZeroU16::new(1);
        let link = world.join(reader().with(one_at_a_time));
        world.subscribe(link, "home/#", 1);
        let writer = world.join(Client::new("old", "writer"));
        for id in [1, 2] {
            world.publish(writer, message(TOPIC, &id.to_string(), QoS::AtLeastOnce, id));
        }
        world.settle();
        assert_eq!(world.payloads(link), ["1"], "the other waits, and is on the disk like that");
        if stays_connected {
            // That it is sent is written in a while, because nobody waits for that.
            world.ack(link, Received::Puback, 1);
            assert_eq!(world.payloads(link), ["2"]);
        } else {
            world.handle(Input::Closed { link });
            world.pass(seconds(3));
        }
        world.crash(seconds(1));
        let link = world.join(reader());
        world.settle();
        let again: Vec<_> = world.deliveries(link).iter().map(|it| (payload(it), it.dup)).collect();
        let second = ("2".to_owned(), stays_connected);
        assert_eq!(again.last(), Some(&second), "{again:?}");
    }
}
