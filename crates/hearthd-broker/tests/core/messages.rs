//! Messages from publisher to subscriber (MQTT 3.3, 4.3).

use std::num::NonZeroU16;

use hearthd_broker::packet::{Ack, QoS, Received};

use crate::harness::*;

const TOPIC: &str = "home/x/y";

/// Returns a world with a subscriber of `old`, in a lasting session, and a publisher.
fn pair(qos: u8) -> (World, hearthd_broker::core::LinkId, hearthd_broker::core::LinkId) {
    let mut world = World::new();
    let reader = world.join(Client::new("old", "reader").durable());
    let writer = world.join(Client::new("old", "writer"));
    world.subscribe(reader, "home/#", qos);
    (world, reader, writer)
}

#[test]
fn a_message_comes_at_the_lower_of_both_qualities() {
    for (published, granted, expected) in [(0, 2, 0), (1, 0, 0), (1, 1, 1), (2, 1, 1), (2, 2, 2)] {
        let (mut world, reader, writer) = pair(granted);
        let qos = QoS::from_bits(published).unwrap();
        let id = if published > 0 { 9 } else { 0 };
        world.publish(writer, message(TOPIC, "v", qos, id));
        world.settle();
        let packet_id = if expected > 0 { " #1" } else { "" };
        assert_eq!(world.got(reader), [format!("{TOPIC}=v q{expected}{packet_id}")]);
    }
}

#[test]
fn a_puback_goes_out_once_the_lasting_receiver_has_acknowledged() {
    let (mut world, reader, writer) = pair(1);
    world.publish(writer, message(TOPIC, "v", QoS::AtLeastOnce, 9));
    assert!(world.got(writer).is_empty());
    let before = world.batches;
    world.ack(reader, Received::Puback, 1);
    assert_eq!(world.got(writer), ["PUBACK #9 00"]);
    world.settle();
    assert_eq!(world.batches, before, "nothing is left to write");
}

#[test]
fn a_puback_goes_out_once_the_store_has_the_message() {
    let (mut world, _, writer) = pair(1);
    world.writes = false;
    world.publish(writer, message(TOPIC, "v", QoS::AtLeastOnce, 9));
    world.settle();
    assert!(world.got(writer).is_empty());
    world.write();
    assert_eq!(world.got(writer), ["PUBACK #9 00"]);
}

#[test]
fn pubacks_keep_the_order_of_the_messages() {
    let (mut world, _, writer) = pair(1);
    world.writes = false;
    world.publish(writer, message(TOPIC, "v", QoS::AtLeastOnce, 5));
    // This one would have nothing to wait for.
    world.publish(writer, message("home-unread", "v", QoS::AtLeastOnce, 4));
    assert!(world.got(writer).is_empty());
    world.settle();
    world.write();
    assert_eq!(world.got(writer), ["PUBACK #5 00", "PUBACK #4 87"]);
}

#[test]
fn nobody_subscribed_is_told() {
    let mut world = World::new();
    let writer = world.join(Client::new("old", "writer"));
    world.publish(writer, message(TOPIC, "v", QoS::AtLeastOnce, 1));
    world.publish(writer, message(TOPIC, "v", QoS::ExactlyOnce, 2));
    assert_eq!(world.got(writer), ["PUBACK #1 10", "PUBREC #2 10"]);
}

#[test]
fn an_exactly_once_message_goes_through_its_four_steps() {
    let (mut world, reader, writer) = pair(2);
    world.publish(writer, message(TOPIC, "v", QoS::ExactlyOnce, 9));
    // Its identifier is in the store before it goes out.
    assert!(world.got(reader).is_empty());
    world.settle();
    assert_eq!(world.got(reader), [format!("{TOPIC}=v q2 #1")]);
    assert_eq!(world.got(writer), ["PUBREC #9 00"]);
    world.ack(writer, Received::Pubrel, 9);
    world.ack(reader, Received::Pubrec, 1);
    world.settle();
    assert_eq!(world.got(writer), ["PUBCOMP #9 00"]);
    assert_eq!(world.got(reader), ["PUBREL #1 00"]);
    world.ack(reader, Received::Pubcomp, 1);
    world.settle();
    world.settle();
    assert!(world.got(reader).is_empty());
}

#[test]
fn a_repeated_exactly_once_message_is_taken_once() {
    let (mut world, reader, writer) = pair(1);
    for _ in 0..2 {
        world.publish(writer, message(TOPIC, "v", QoS::ExactlyOnce, 9));
    }
    world.settle();
    assert_eq!(world.got(writer), ["PUBREC #9 00", "PUBREC #9 00"]);
    assert_eq!(world.payloads(reader), ["v"]);
    world.ack(writer, Received::Pubrel, 9);
    world.ack(writer, Received::Pubrel, 9);
    assert_eq!(world.got(writer), ["PUBCOMP #9 00", "PUBCOMP #9 92"]);
}

#[test]
fn packet_identifiers_rise_though_lower_ones_are_free() {
    let (mut world, reader, writer) = pair(1);
    for id in 1..4 {
        world.publish(writer, message(TOPIC, "v", QoS::AtLeastOnce, id));
        let delivery = world.deliveries(reader).remove(0);
        assert_eq!(delivery.packet_id, NonZeroU16::new(id));
        world.ack(reader, Received::Puback, id);
    }
}

#[test]
fn the_receive_maximum_of_the_client_is_kept() {
    let mut world = World::new();
    let reader = Client::new("old", "reader").durable();
    let reader = world.join(reader.with(|it| it.receive_maximum = NonZeroU16::new(2)));
    let writer = world.join(Client::new("old", "writer"));
    world.subscribe(reader, "home/#", 1);
    for id in 1..6 {
        world.publish(writer, message(TOPIC, &id.to_string(), QoS::AtLeastOnce, id));
    }
    assert_eq!(world.payloads(reader), ["1", "2"]);
    world.ack(reader, Received::Puback, 2);
    assert_eq!(world.payloads(reader), ["3"]);
    world.ack(reader, Received::Puback, 1);
    world.ack(reader, Received::Puback, 3);
    assert_eq!(world.payloads(reader), ["4", "5"]);
}

#[test]
fn more_than_the_brokers_receive_maximum_ends_the_connection() {
    let (mut world, _, writer) = pair(1);
    world.writes = false;
    for id in 1..=world.limits.receive_maximum + 1 {
        world.publish(writer, message(TOPIC, "v", QoS::AtLeastOnce, id));
    }
    assert_eq!(world.got(writer), ["DISCONNECT 93"]);
    assert!(world.closed.contains(&writer));
}

#[test]
fn what_remains_of_an_expiry_is_exact_to_the_second() {
    let (mut world, reader, writer) = pair(1);
    world.handle(hearthd_broker::core::Input::Closed { link: reader });
    let mut sent = message(TOPIC, "v", QoS::AtLeastOnce, 1);
    sent.expiry = Some(10);
    world.publish(writer, sent.clone());
    world.pass(seconds(4));
    let reader = world.join(Client::new("old", "reader").durable());
    assert_eq!(world.deliveries(reader)[0].expiry, Some(6));
    world.ack(reader, Received::Puback, 1);
    world.handle(hearthd_broker::core::Input::Closed { link: reader });
    world.publish(writer, sent);
    world.pass(seconds(11));
    let reader = world.join(Client::new("old", "reader").durable());
    assert!(world.deliveries(reader).is_empty());
}

#[test]
fn a_topic_alias_stands_for_the_topic_that_set_it() {
    let (mut world, reader, writer) = pair(0);
    let alias = |topic: &str, payload: &str, alias| {
        let mut sent = message(topic, payload, QoS::AtMostOnce, 0);
        sent.alias = NonZeroU16::new(alias);
        sent
    };
    world.publish(writer, alias(TOPIC, "1", 3));
    world.publish(writer, alias("", "2", 3));
    assert_eq!(world.got(reader), [format!("{TOPIC}=1 q0"), format!("{TOPIC}=2 q0")]);
    world.publish(writer, alias("", "3", 4));
    assert_eq!(world.got(writer), ["DISCONNECT 94"]);
}

#[test]
fn no_local_keeps_ones_own_messages_away() {
    let mut world = World::new();
    let both = world.join(Client::new("old", "both"));
    let mut own = options(0);
    own.no_local = true;
    world.receive(both, subscribe(1, &[("home/#", own)]));
    world.publish(both, message(TOPIC, "v", QoS::AtMostOnce, 0));
    assert_eq!(world.got(both), ["SUBACK [00]"]);
}

#[test]
fn a_session_gets_a_message_once_with_all_its_subscription_identifiers() {
    let mut world = World::new();
    let reader = world.join(Client::new("old", "reader"));
    for (id, filter) in [(7, "home/#"), (8, "home/x/+"), (9, "home/other")] {
        let Received::Subscribe(mut packet) = subscribe(1, &[(filter, options(0))]) else {
            unreachable!()
        };
        packet.identifier = Some(id);
        world.receive(reader, Received::Subscribe(packet));
    }
    world.got(reader);
    let writer = world.join(Client::new("old", "writer"));
    world.publish(writer, message(TOPIC, "v", QoS::AtMostOnce, 0));
    let deliveries = world.deliveries(reader);
    assert_eq!(deliveries.len(), 1);
    let mut identifiers = deliveries[0].identifiers.to_vec();
    identifiers.sort_unstable();
    assert_eq!(identifiers, [7, 8]);
}

#[test]
fn a_message_larger_than_the_client_takes_is_left_out() {
    let mut world = World::new();
    let reader = Client::new("old", "reader").with(|it| it.maximum_packet_size = Some(100));
    let reader = world.join(reader);
    world.subscribe(reader, "home/#", 1);
    let writer = world.join(Client::new("old", "writer"));
    world.publish(writer, message(TOPIC, &"x".repeat(200), QoS::AtLeastOnce, 1));
    world.publish(writer, message(TOPIC, "short", QoS::AtLeastOnce, 2));
    assert_eq!(world.payloads(reader), ["short"]);
}

#[test]
fn a_refusal_of_the_receiver_ends_an_exactly_once_message() {
    let (mut world, reader, writer) = pair(2);
    world.publish(writer, message(TOPIC, "v", QoS::ExactlyOnce, 9));
    world.settle();
    world.got(reader);
    world.receive(reader, Received::Pubrec(Ack { packet_id: number(1), reason: 0x97 }));
    world.settle();
    assert!(world.got(reader).is_empty());
}

#[test]
fn a_puback_waits_for_the_store_where_another_receiver_takes_no_message_of_that_size() {
    let mut world = World::new();
    let small = reader().with(|connect| {
        connect.client_id = "a small one".to_owned();
        connect.maximum_packet_size = Some(20);
    });
    for client in [small, reader()] {
        let link = world.join(client);
        world.subscribe(link, "home/#", 1);
    }
    let writer = world.join(Client::new("old", "writer"));
    world.writes = false;
    world.publish(writer, message(TOPIC, &"x".repeat(100), QoS::AtLeastOnce, 1));
    assert!(world.got(writer).is_empty());
    world.settle();
    world.write();
    assert_eq!(world.got(writer), ["PUBACK #1 00"]);
}
