//! Statements of the standard that no other test shows; `conformance.txt` names them all.

use bytes::{Bytes, BytesMut};
use hearthd_broker::{
    core::{Delivery, Input, Limits, LinkId},
    packet::{
        Ack, Forwarded, Publish, QoS, Reason, Received, SubscriptionOptions, Version, WireError,
        decode, next_frame,
    },
};

use crate::harness::*;

fn pair(qos: u8) -> (World, LinkId, LinkId) {
    let mut world = World::new();
    let link = world.join(reader());
    world.subscribe(link, "home/#", qos);
    let writer = world.join(Client::new("old", "writer").durable());
    (world, link, writer)
}

#[test]
fn nothing_comes_before_the_connack() {
    let mut world = World::new();
    world.writes = false;
    let link = world.connect(reader());
    // The client does not wait for it.
    world.receive(link, Received::Pingreq);
    world.receive(link, subscribe(1, &[("home/x", options(0))]));
    assert!(world.got(link).is_empty());
    world.write();
    world.settle();
    world.write();
    assert_eq!(world.got(link), ["CONNACK 00 present=false", "PINGRESP", "SUBACK [00]"]);
}

#[test]
fn a_connection_that_fails_before_its_connack_gets_no_disconnect() {
    let mut world = World::new();
    world.writes = false;
    for end in [
        Input::Malformed {
            link: LinkId(1),
            error: WireError { reason: Reason::MalformedPacket, what: "x" },
        },
        Input::Stop,
    ] {
        let link = world.connect(reader());
        let end = match end {
            Input::Malformed { error, .. } => Input::Malformed { link, error },
            other => other,
        };
        world.handle(end);
        assert!(world.got(link).is_empty());
        assert!(world.closed.contains(&link));
        world.write();
    }
}

#[test]
fn an_assigned_client_id_is_nobody_elses() {
    let mut world = World::new();
    let taken = world.join(Client::new("anna", "auto-00000007-1").durable());
    let link = world.connect(Client::new("anna", ""));
    assert_eq!(world.connack(link).assigned_client_id.as_deref(), Some("auto-00000007-2"));
    assert!(!world.closed.contains(&taken));
}

#[test]
fn client_ids_of_1_to_23_letters_and_digits_are_taken() {
    let mut world = World::new();
    for id in ["a", "0123456789abcdefghijklm", "nopqrstuvwxyzABCDEFGHIJ", "KLMNOPQRSTUVWXYZ"] {
        world.join(Client::new("anna", id));
        world.join(Client::new("anna", id).classic(true));
    }
}

#[test]
fn no_packet_is_larger_than_the_client_takes() {
    for most in 1..200 {
        let mut world = World::new();
        let client = phone().with(|it| it.maximum_packet_size = Some(most));
        for client in [client.clone(), client.will("home/state/x", "not allowed", 0)] {
            let link = world.connect(client);
            world.receive(link, message_packet("home/state/lamp", 1));
            world.receive(link, subscribe(2, &[("elsewhere/#", options(0)); 30]));
            world.receive(link, unsubscribe(3, &["home/x"; 30]));
            world.receive(link, Received::Auth);
            world.settle();
            for size in world.sizes(link, Version::V5) {
                assert!(size <= most as usize, "{size} of {most}");
            }
            assert!(world.closed.contains(&link), "{most}");
        }
    }
}

fn message_packet(topic: &str, id: u16) -> Received {
    Received::Publish(message(topic, "v", QoS::AtLeastOnce, id))
}

#[test]
fn reasons_are_told_only_to_clients_that_want_them() {
    for wants in [true, false] {
        let mut world = World::new();
        let link = world.join(phone().with(|it| it.wants_problem_information = wants));
        world.receive(link, message_packet("home/state/lamp", 1));
        world.receive(link, subscribe(2, &[("elsewhere/#", options(0))]));
        world.settle();
        let sizes = world.sizes(link, Version::V5);
        assert_eq!(sizes.iter().all(|size| *size <= 6), !wants, "{sizes:?}");
    }
}

#[test]
fn dup_tells_of_a_repeat_by_the_broker_alone() {
    let (mut world, link, writer) = pair(1);
    let mut sent = message(TOPIC, "v", QoS::AtLeastOnce, 1);
    sent.dup = true;
    world.publish(writer, sent);
    assert_eq!(world.got(link), ["home/x=v q1 #1"]);
}

#[test]
fn a_message_without_retain_leaves_the_retained_one_alone() {
    let (mut world, link, writer) = pair(0);
    world.publish(writer, retained(message(TOPIC, "kept", QoS::AtLeastOnce, 1)));
    world.publish(writer, message(TOPIC, "passing", QoS::AtLeastOnce, 2));
    world.publish(writer, message(TOPIC, "", QoS::AtLeastOnce, 3));
    world.got(link);
    let other = world.join(Client::new("old", "other"));
    assert_eq!(world.subscribe(other, TOPIC, 1)[1..], ["home/x=kept q1 #1 retained"]);
}

#[test]
fn an_empty_retained_message_goes_to_subscribers_as_any_other() {
    let (mut world, link, writer) = pair(1);
    world.publish(writer, retained(message(TOPIC, "", QoS::AtLeastOnce, 1)));
    assert_eq!(world.got(link), ["home/x= q1 #1"]);
    assert!(world.broker.retained_topics().is_empty());
}

#[test]
fn a_retained_message_of_quality_0_that_finds_no_room_removes_the_one_before_it() {
    let limits = Limits { retained: 2_000, ..Limits::default() };
    let mut world = World::with(limits, accounts());
    let link = world.join(reader());
    world.subscribe(link, "home/#", 0);
    let writer = world.join(Client::new("old", "writer"));
    world.publish(writer, retained(message(TOPIC, "old", QoS::AtLeastOnce, 1)));
    let large = "x".repeat(2_000);
    world.publish(writer, retained(message(TOPIC, &large, QoS::AtMostOnce, 0)));
    world.handle(Input::Drained { link });
    assert_eq!(world.payloads(link), ["old".to_owned(), large]);
    assert!(world.broker.retained_topics().is_empty());
}

#[test]
fn a_will_is_retained_where_it_says_so() {
    for retain in [false, true] {
        let (mut world, link, _) = pair(1);
        let will = Client::new("old", "dies").will(TOPIC, "gone", 0);
        let dies = world.join(will.with(|it| it.will.as_mut().unwrap().retain = retain));
        world.handle(Input::Closed { link: dies });
        assert_eq!(world.payloads(link), ["gone"]);
        assert_eq!(world.broker.retained_topics().len(), usize::from(retain));
    }
}

#[test]
fn a_client_without_a_will_leaves_none() {
    let (mut world, link, _) = pair(1);
    let silent = world.join(Client::new("old", "silent"));
    world.handle(Input::Closed { link: silent });
    world.pass(seconds(100));
    assert!(world.got(link).is_empty());
}

#[test]
fn what_publishers_say_of_a_message_stays_as_it_was() {
    let properties = [
        &[0x01, 1][..],
        &[0x26, 0, 1, b'a', 0, 1, b'1'],
        &[0x03, 0, 1, b't'],
        &[0x26, 0, 1, b'b', 0, 1, b'2'],
        &[0x08, 0, 1, b'r'],
        &[0x09, 0, 2, 0, 0xFF],
        &[0x26, 0, 1, b'a', 0, 1, b'3'],
    ]
    .concat();
    let (mut world, link, writer) = pair(1);
    let mut sent = message(TOPIC, "v", QoS::AtLeastOnce, 1);
    sent.properties = Forwarded::from_encoded(&properties);
    world.publish(writer, sent);
    assert_eq!(world.deliveries(link)[0].message.properties.as_bytes(), properties);
}

#[test]
fn topics_are_compared_byte_by_byte() {
    // U+FEFF at the start, an umlaut composed and decomposed, upper case.
    let topics = ["home/\u{FEFF}a", "home/a", "home/\u{E4}", "home/a\u{308}", "home/A", "home/a/"];
    for topic in topics {
        let mut world = World::new();
        let link = world.join(reader());
        world.subscribe(link, topic, 0);
        let writer = world.join(Client::new("old", "writer"));
        for other in topics {
            world.publish(writer, message(other, "v", QoS::AtMostOnce, 0));
        }
        assert_eq!(world.got(link), [format!("{topic}=v q0")]);
        world.receive(link, unsubscribe(2, &topics));
        world.settle();
        let code = |other: &&str| if *other == topic { "00" } else { "11" };
        let codes: Vec<&str> = topics.iter().map(code).collect();
        assert_eq!(world.got(link), [format!("UNSUBACK [{}]", codes.join(", "))]);
    }
}

#[test]
fn aliases_end_with_their_connection_and_all_up_to_the_maximum_are_taken() {
    let (mut world, link, writer) = pair(0);
    let alias = |topic: &str, alias: u16| {
        let mut sent = message(topic, "v", QoS::AtMostOnce, 0);
        sent.alias = Some(number(alias));
        sent
    };
    for id in 1..=world.limits.topic_aliases {
        world.publish(writer, alias(TOPIC, id));
        world.publish(writer, alias("", id));
    }
    assert_eq!(world.payloads(link).len(), usize::from(2 * world.limits.topic_aliases));
    world.handle(Input::Closed { link: writer });
    let writer = world.join(Client::new("old", "writer").durable());
    world.publish(writer, alias("", 1));
    assert_eq!(world.got(writer), ["DISCONNECT 94"]);
}

#[test]
fn overlapping_subscriptions_give_one_message_of_the_highest_quality() {
    let mut world = World::new();
    let link = world.join(reader());
    for (filter, qos) in [("home/+", 2), ("home/#", 0), ("home/x", 1)] {
        world.subscribe(link, filter, qos);
    }
    let writer = world.join(Client::new("old", "writer").durable());
    world.publish(writer, message(TOPIC, "v", QoS::ExactlyOnce, 1));
    world.settle();
    assert_eq!(world.got(link), ["home/x=v q2 #1"]);
}

#[test]
fn copies_of_a_shared_subscription_have_its_identifier() {
    let mut world = World::new();
    let link = world.join(reader());
    for (id, filter) in [(7, "home/x"), (8, "$share/all/home/x")] {
        let Received::Subscribe(mut packet) = subscribe(1, &[(filter, options(0))]) else {
            unreachable!()
        };
        packet.identifier = Some(id);
        world.receive(link, Received::Subscribe(packet));
    }
    world.settle();
    world.got(link);
    let writer = world.join(Client::new("old", "writer"));
    world.publish(writer, message(TOPIC, "v", QoS::AtMostOnce, 0));
    let copies = world.deliveries(link);
    let identifiers: Vec<&[u32]> = copies.iter().map(|copy| &*copy.identifiers).collect();
    assert_eq!(identifiers, [&[7][..], &[8]]);
}

#[test]
fn a_full_window_holds_up_nothing_but_messages() {
    let mut world = World::new();
    let link = world.join(reader().with(|it| it.receive_maximum = Some(number(1))));
    world.subscribe(link, "home/#", 1);
    let writer = world.join(Client::new("old", "writer"));
    for id in 1..=2 {
        world.publish(writer, message(TOPIC, "v", QoS::AtLeastOnce, id));
    }
    assert_eq!(world.got(link), ["home/x=v q1 #1"]);
    world.receive(link, Received::Pingreq);
    world.receive(link, message_packet("elsewhere", 5));
    world.receive(link, subscribe(6, &[("home/y", options(0))]));
    world.receive(link, unsubscribe(7, &["home/y"]));
    world.ack(link, Received::Pubrel, 8);
    world.settle();
    let expected = ["PINGRESP", "PUBACK #5 87", "SUBACK [00]", "UNSUBACK [00]", "PUBCOMP #8 92"];
    assert_eq!(world.got(link), expected);
}

#[test]
fn a_subscription_takes_the_place_of_the_one_before_and_loses_nothing() {
    let (mut world, link, writer) = pair(0);
    world.publish(writer, retained(message(TOPIC, "kept", QoS::AtLeastOnce, 1)));
    world.got(link);
    let mut wanted = options(1);
    wanted.retain_as_published = true;
    world.receive(link, subscribe(2, &[("home/#", wanted)]));
    world.publish(writer, message(TOPIC, "meanwhile", QoS::AtLeastOnce, 2));
    world.settle();
    let mut got = world.got(link);
    got.sort();
    let expected = ["SUBACK [01]", "home/x=kept q1 #2 retained", "home/x=meanwhile q1 #1"];
    assert_eq!(got, expected);
    world.publish(writer, message(TOPIC, "later", QoS::AtLeastOnce, 3));
    assert_eq!(world.got(link), ["home/x=later q1 #3"], "once, and as the new one says");
}

#[test]
fn filters_of_one_packet_are_taken_in_their_order() {
    let mut world = World::new();
    let guest = world.join(Client::new("visitor", "guest"));
    let filters = ["home/state/hall-lamp", "zigbee2mqtt/#", "home/state/hall-lamp", "a/#/b", "#"];
    let wanted: Vec<(&str, SubscriptionOptions)> =
        filters.iter().zip([2, 1, 0, 1, 1]).map(|(it, qos)| (*it, options(qos))).collect();
    world.receive(guest, subscribe(9, &wanted));
    world.settle();
    assert_eq!(world.got(guest), ["SUBACK [02, 87, 00, 8f, 01]"]);
    // The third replaced the first.
    world.receive(guest, unsubscribe(10, &["home/state/hall-lamp", "home/state/hall-lamp", "#"]));
    world.settle();
    assert_eq!(world.got(guest), ["UNSUBACK [00, 11, 00]"]);
}

#[test]
fn after_an_unsubscribe_only_what_was_begun_is_completed() {
    let (mut world, link, writer) = pair(2);
    world.publish(writer, message(TOPIC, "begun", QoS::ExactlyOnce, 1));
    world.settle();
    assert_eq!(world.got(link), ["home/x=begun q2 #1"]);
    world.receive(link, unsubscribe(2, &["home/#"]));
    world.settle();
    world.publish(writer, message(TOPIC, "new", QoS::ExactlyOnce, 2));
    world.settle();
    assert_eq!(world.got(link), ["UNSUBACK [00]"]);
    world.ack(link, Received::Pubrec, 1);
    world.settle();
    assert_eq!(world.got(link), ["PUBREL #1 00"]);
    world.handle(Input::Closed { link });
    let link = world.connect(reader());
    assert_eq!(world.got(link), ["CONNACK 00 present=true", "PUBREL #1 00"]);
}

#[test]
fn an_identifier_is_new_again_once_it_was_acknowledged() {
    for (qos, steps) in [(QoS::AtLeastOnce, 1), (QoS::ExactlyOnce, 2)] {
        let (mut world, link, writer) = pair(qos as u8);
        for payload in ["one", "two"] {
            let mut sent = message(TOPIC, payload, qos, 7);
            sent.dup = payload == "two";
            world.publish(writer, sent);
            world.settle();
            if steps == 2 {
                world.ack(writer, Received::Pubrel, 7);
                world.settle();
            }
        }
        assert_eq!(world.payloads(link), ["one", "two"]);
    }
    // After a PUBREC that refuses it as well.
    let mut world = World::new();
    let link = world.join(phone());
    for topic in ["home/state/x", "home/cmnd/x"] {
        world.publish(link, message(topic, "v", QoS::ExactlyOnce, 7));
    }
    assert_eq!(world.got(link), ["PUBREC #7 87", "PUBREC #7 10"]);
}

#[test]
fn an_exactly_once_exchange_goes_on_when_the_message_has_ended() {
    let (mut world, link, writer) = pair(2);
    let mut sent = message(TOPIC, "v", QoS::ExactlyOnce, 1);
    sent.expiry = Some(1);
    world.publish(writer, sent);
    world.settle();
    assert_eq!(world.got(link), ["home/x=v q2 #1"]);
    world.pass(seconds(100));
    world.handle(Input::Closed { link });
    let link = world.connect(reader());
    assert_eq!(world.got(link), ["CONNACK 00 present=true", "home/x=v q2 #1 dup"]);
    world.ack(link, Received::Pubrec, 1);
    world.ack(writer, Received::Pubrel, 1);
    world.settle();
    assert_eq!(world.got(link), ["PUBREL #1 00"]);
    assert_eq!(world.got(writer), ["PUBREC #1 00", "PUBCOMP #1 00"]);
}

#[test]
fn what_was_sent_once_is_sent_again_though_it_has_ended() {
    let (mut world, link, writer) = pair(1);
    let mut sent = message(TOPIC, "v", QoS::AtLeastOnce, 1);
    sent.expiry = Some(1);
    world.publish(writer, sent);
    world.settle();
    assert_eq!(world.got(link), ["home/x=v q1 #1"]);
    world.handle(Input::Closed { link });
    world.pass(seconds(100));
    let link = world.join(reader());
    let again = world.deliveries(link).remove(0);
    assert_eq!((again.dup, again.expiry), (true, Some(0)));
}

#[test]
fn nothing_is_sent_again_while_the_connection_lasts() {
    let (mut world, link, writer) = pair(2);
    world.publish(writer, message(TOPIC, "1", QoS::AtLeastOnce, 1));
    world.publish(writer, message(TOPIC, "2", QoS::ExactlyOnce, 2));
    world.settle();
    assert_eq!(world.payloads(link).len(), 2);
    world.pass(seconds(24 * 3_600));
    assert!(world.got(link).is_empty());
}

#[test]
fn a_refusal_of_the_receiver_ends_a_message() {
    let (mut world, link, writer) = pair(1);
    world.publish(writer, message(TOPIC, "v", QoS::AtLeastOnce, 1));
    world.receive(link, Received::Puback(Ack { packet_id: number(1), reason: 0x80 }));
    world.handle(Input::Closed { link });
    let link = world.connect(reader());
    assert_eq!(world.got(link), ["CONNACK 00 present=true"]);
}

#[test]
fn a_session_lasts_as_long_as_its_connection() {
    let mut world = World::new();
    let short = reader().with(|it| it.session_expiry = 1);
    let link = world.join(short);
    world.subscribe(link, "home/#", 1);
    world.pass(seconds(24 * 3_600));
    let writer = world.join(Client::new("old", "writer"));
    world.publish(writer, message(TOPIC, "v", QoS::AtLeastOnce, 1));
    assert_eq!(world.payloads(link), ["v"]);
}

#[test]
fn retained_messages_outlive_the_session_of_their_publisher() {
    let (mut world, _, writer) = pair(1);
    world.publish(writer, retained(message(TOPIC, "v", QoS::AtLeastOnce, 1)));
    world.handle(Input::Closed { link: writer });
    world.pass(seconds(2 * 3_600));
    let link = world.connect(Client::new("old", "writer").durable());
    assert!(!world.connack(link).session_present);
    assert_eq!(world.broker.retained_topics().len(), 1);
}

#[test]
fn messages_of_each_quality_keep_their_order() {
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
        let (mut world, link, writer) = pair(qos as u8);
        let id = |number: u16| if qos == QoS::AtMostOnce { 0 } else { number };
        for number in 1..=50 {
            world.publish(writer, message(TOPIC, &number.to_string(), qos, id(number)));
        }
        let mut payloads = Vec::new();
        for _ in 0..10 {
            world.settle();
            payloads.extend(world.payloads(link));
            world.handle(Input::Drained { link });
        }
        let expected: Vec<String> = (1..=50).map(|number| number.to_string()).collect();
        assert_eq!(payloads, expected);
    }
}

#[test]
fn a_shared_message_that_was_begun_is_completed_with_its_member_or_never() {
    let mut world = World::new();
    let member = |name| Client::new("old", name).durable();
    let [one, two] = ["one", "two"].map(|name| world.join(member(name)));
    world.subscribe(one, "$share/all/home/#", 2);
    let writer = world.join(Client::new("old", "writer").durable());
    world.publish(writer, message(TOPIC, "v", QoS::ExactlyOnce, 1));
    world.settle();
    assert_eq!(world.got(one), ["home/x=v q2 #1"]);
    world.subscribe(two, "$share/all/home/#", 2);
    world.handle(Input::Closed { link: one });
    let one = world.connect(member("one"));
    assert_eq!(world.got(one), ["CONNACK 00 present=true", "home/x=v q2 #1 dup"]);
    world.handle(Input::Closed { link: one });
    world.pass(seconds(2 * 3_600));
    assert!(world.got(two).is_empty());
}

#[test]
fn a_shared_message_that_was_refused_goes_to_no_other_member() {
    for (qos, packet) in [
        (QoS::AtLeastOnce, Received::Puback as fn(Ack) -> Received),
        (QoS::ExactlyOnce, Received::Pubrec),
    ] {
        let mut world = World::new();
        let one = world.join(reader());
        world.subscribe(one, "$share/all/home/#", 2);
        let writer = world.join(Client::new("old", "writer").durable());
        world.publish(writer, message(TOPIC, "v", qos, 1));
        world.settle();
        world.got(one);
        let two = world.join(Client::new("old", "two"));
        world.subscribe(two, "$share/all/home/#", 2);
        world.receive(one, packet(Ack { packet_id: number(1), reason: 0x97 }));
        world.handle(Input::Closed { link: one });
        world.pass(seconds(2 * 3_600));
        assert!(world.got(two).is_empty());
    }
}

#[test]
fn a_shared_subscription_keeps_the_quality_that_was_granted() {
    let mut world = World::new();
    let link = world.join(reader());
    world.subscribe(link, "$share/all/home/#", 1);
    let writer = world.join(Client::new("old", "writer").durable());
    world.publish(writer, message(TOPIC, "v", QoS::ExactlyOnce, 1));
    assert_eq!(world.got(link), ["home/x=v q1 #1"]);
}

#[test]
fn what_goes_to_a_client_of_either_version_is_read_as_it_was_meant() {
    let (mut world, link, writer) = pair(1);
    world.publish(writer, message(TOPIC, "v", QoS::AtLeastOnce, 1));
    let delivery: Delivery = world.deliveries(link).remove(0);
    for version in [Version::V3, Version::V5] {
        let mut bytes = BytesMut::new();
        delivery.encode(version, &mut bytes);
        let frame = next_frame(&mut bytes, 1_000, true).unwrap().unwrap();
        let read = decode(&frame, version).unwrap();
        let Received::Publish(Publish { topic, payload, .. }) = read else { panic!("{read:?}") };
        assert_eq!((topic.as_str(), payload), (TOPIC, Bytes::from_static(b"v")));
    }
}

#[test]
fn a_client_of_mqtt_3_1_1_is_told_of_no_refusal() {
    let mut world = World::new();
    let link = world.join(Client::new("anna", "classic").classic(true));
    world.receive(link, message_packet("home/state/lamp", 1));
    assert_eq!(world.sizes(link, Version::V3), [4]);
    assert!(!world.closed.contains(&link));
    // It has no packet of the broker's that ends a connection.
    let again = world.connect(Client::new("anna", "classic").classic(true));
    assert!(world.sizes(link, Version::V3).iter().all(|size| *size == 0));
    assert!(world.closed.contains(&link));
    assert_eq!(world.got(again), ["CONNACK 00 present=false"]);
}

#[test]
fn user_properties_of_a_will_keep_their_order() {
    let properties = [[0x26, 0, 1, b'b', 0, 1, b'1'], [0x26, 0, 1, b'a', 0, 1, b'2']].concat();
    let (mut world, link, _) = pair(1);
    let will = Client::new("old", "dies").will(TOPIC, "gone", 0).with(|it| {
        it.will.as_mut().unwrap().properties = Forwarded::from_encoded(&properties);
    });
    let dies = world.join(will);
    world.handle(Input::Closed { link: dies });
    assert_eq!(world.deliveries(link)[0].message.properties.as_bytes(), properties);
}

#[test]
fn a_refused_connect_has_no_session_and_ends() {
    for classic in [true, false] {
        let mut world = World::new();
        let link = world.join(hub());
        let other = Client::new("anna", "hearthd-demo");
        let refused = world.connect(if classic { other.classic(false) } else { other.durable() });
        assert_eq!(world.got(refused), ["CONNACK 87 present=false"]);
        assert!(world.closed.contains(&refused));
        assert!(!world.closed.contains(&link));
        world.receive(refused, message_packet(TOPIC, 1));
        assert!(world.got(refused).is_empty());
    }
}

#[test]
fn nothing_follows_a_disconnect() {
    let (mut world, link, writer) = pair(1);
    world.receive(link, Received::Auth);
    world.receive(link, Received::Pingreq);
    world.publish(writer, message(TOPIC, "v", QoS::AtLeastOnce, 1));
    world.pass(seconds(10));
    assert_eq!(world.got(link), ["DISCONNECT 82"]);
    assert!(world.closed.contains(&link));
}

#[test]
fn filters_that_are_none_are_refused() {
    let mut world = World::new();
    let link = world.join(reader());
    for bad in ["", "home/#/x", "home/x#", "#x", "home/x+", "+x/y", "home/+x/#", "home/##"] {
        assert_eq!(world.subscribe(link, bad, 0), ["SUBACK [8f]"], "{bad}");
    }
    for good in ["#", "+", "home/+/+", "+/x/#", "/", "home//x"] {
        let suback = world.subscribe(link, good, 0);
        assert!(suback[0] != "SUBACK [8f]", "{good}");
    }
}

/// The harness checks the code of every reply; here comes what brings all of them about.
#[test]
fn reason_codes_are_those_that_their_packet_may_have() {
    let mut random = fastrand::Rng::with_seed(5);
    let limits = Limits {
        session_queue: 20_000,
        queues: 40_000,
        retained: 3_000,
        sessions: 12,
        subscriptions: 4,
        receive_maximum: 8,
        replies: 12,
        ..Limits::default()
    };
    let topics = ["home/x", "home/cmnd/hall-lamp", "home/state/hall-lamp", "elsewhere", "home/#"];
    let names = ["hub", "anna", "visitor", "siren", "old"];
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..300 {
        let mut world = World::with(limits.clone(), accounts());
        let mut links = Vec::new();
        for _ in 0..60 {
            let topic = topics[random.usize(..topics.len())];
            let id = random.u16(1..12);
            let link = links.get(random.usize(..links.len().max(1))).copied();
            let Some(link) = link.filter(|_| random.u8(..6) > 0) else {
                let name = names[random.usize(..names.len())];
                let client_id = if name == "hub" { "hearthd-demo" } else { name };
                let mut client = Client::new(name, client_id).with(|it| {
                    it.session_expiry = random.u32(..2) * 100;
                    it.clean_start = random.bool();
                    it.keep_alive = random.u16(..2);
                });
                if random.u8(..4) == 0 {
                    client = client.classic(random.bool());
                }
                if random.u8(..4) == 0 {
                    client = client.will(topic, "gone", random.u32(..3));
                }
                links.push(world.connect(client));
                continue;
            };
            let payload = "x".repeat(random.usize(..4_000));
            let qos = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce][random.usize(..3)];
            let ack = Ack { packet_id: number(id), reason: 0x80 * random.u8(..2) };
            match random.u8(..12) {
                0..=3 => {
                    let id = if qos == QoS::AtMostOnce { 0 } else { id };
                    let mut sent = message(topic, &payload, qos, id);
                    sent.retain = random.u8(..4) == 0;
                    sent.alias = std::num::NonZeroU16::new(random.u16(..12));
                    world.publish(link, sent);
                }
                4 => world.receive(link, Received::Puback(ack)),
                5 => world.receive(link, Received::Pubrec(ack)),
                6 => world.receive(link, Received::Pubrel(ack)),
                7 => world.receive(link, Received::Pubcomp(ack)),
                8 => world.receive(link, subscribe(id, &[(topic, options(random.u8(..3)))])),
                9 => world.receive(link, unsubscribe(id, &[topic])),
                10 => world.pass(seconds(random.u64(..3))),
                _ if random.u8(..4) == 0 => world.receive(link, Received::Auth),
                _ => world.receive(link, Received::Pingreq),
            }
            if random.bool() {
                world.handle(Input::Drained { link });
            }
            for line in world.got(link) {
                let mut words = line.split(' ').filter(|word| !word.starts_with('#'));
                let kind = words.next().unwrap_or_default().to_owned();
                if kind.chars().all(|letter| letter.is_ascii_uppercase()) {
                    seen.insert(kind + " " + words.next().unwrap_or_default());
                }
            }
        }
        world.handle(Input::Stop);
    }
    for code in ["CONNACK 87", "PUBACK 87", "PUBACK 97", "PUBREC 97", "PUBREL 92", "PUBCOMP 92"] {
        assert!(seen.contains(code), "{code}: {seen:?}");
    }
}
