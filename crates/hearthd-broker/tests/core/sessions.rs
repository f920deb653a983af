//! Sessions across connections (MQTT 4.1, 4.4).

use hearthd_broker::{
    core::Input,
    packet::{QoS, Received},
};

use crate::harness::*;

#[test]
fn an_absent_session_gets_what_came_in_the_meantime_in_order() {
    let mut world = World::new();
    let link = world.join(reader());
    world.subscribe(link, "home/#", 1);
    world.handle(Input::Closed { link });
    let writer = world.join(Client::new("old", "writer"));
    for id in 1..4 {
        world.publish(writer, message(TOPIC, &id.to_string(), QoS::AtLeastOnce, id));
    }
    world.publish(writer, message(TOPIC, "not kept", QoS::AtMostOnce, 0));
    world.settle();
    assert_eq!(world.got(writer), ["PUBACK #1 00", "PUBACK #2 00", "PUBACK #3 00"]);
    let link = world.connect(reader());
    assert!(world.connack(link).session_present);
    assert_eq!(world.payloads(link), ["1", "2", "3"]);
}

#[test]
fn what_was_not_acknowledged_comes_again_first_with_its_identifier_and_dup() {
    let mut world = World::new();
    let link = world.join(reader());
    world.subscribe(link, "home/#", 1);
    let writer = world.join(Client::new("old", "writer"));
    for id in 1..4 {
        world.publish(writer, message(TOPIC, &id.to_string(), QoS::AtLeastOnce, id));
    }
    world.got(link);
    world.ack(link, Received::Puback, 2);
    world.handle(Input::Closed { link });
    world.publish(writer, message(TOPIC, "4", QoS::AtLeastOnce, 4));
    let link = world.connect(reader());
    let expected =
        ["CONNACK 00 present=true", "home/x=1 q1 #1 dup", "home/x=3 q1 #3 dup", "home/x=4 q1 #4"];
    assert_eq!(world.got(link), expected);
}

#[test]
fn a_released_message_is_released_again() {
    let mut world = World::new();
    let link = world.join(reader());
    world.subscribe(link, "home/#", 2);
    let writer = world.join(Client::new("old", "writer"));
    world.publish(writer, message(TOPIC, "v", QoS::ExactlyOnce, 1));
    world.settle();
    world.ack(link, Received::Pubrec, 1);
    world.settle();
    world.handle(Input::Closed { link });
    let link = world.connect(reader());
    assert_eq!(world.got(link), ["CONNACK 00 present=true", "PUBREL #1 00"]);
}

#[test]
fn a_session_ends_exactly_when_its_expiry_has_passed() {
    let mut world = World::new();
    for (away, present) in [(3_599, true), (3_600, false)] {
        let link = world.join(reader());
        world.handle(Input::Closed { link });
        world.pass(seconds(away));
        let link = world.connect(reader());
        assert_eq!(world.connack(link).session_present, present, "{away}");
        world.receive(link, goodbye(0));
    }
}

#[test]
fn a_disconnect_may_shorten_the_session() {
    let mut world = World::new();
    let link = world.join(reader());
    let shorter = hearthd_broker::packet::Disconnect { reason: 0, session_expiry: Some(0) };
    world.receive(link, Received::Disconnect(shorter));
    let link = world.connect(reader());
    assert!(!world.connack(link).session_present);
}

#[test]
fn a_subscription_that_is_acknowledged_is_in_the_store() {
    let mut world = World::new();
    let link = world.join(reader());
    world.writes = false;
    world.receive(link, subscribe(1, &[("home/#", options(1))]));
    world.settle();
    assert!(world.got(link).is_empty());
    world.write();
    assert_eq!(world.got(link), ["SUBACK [01]"]);
    world.receive(link, unsubscribe(2, &["home/#", "home/none"]));
    world.settle();
    assert!(world.got(link).is_empty());
    world.write();
    assert_eq!(world.got(link), ["UNSUBACK [00, 11]"]);
}

#[test]
fn a_session_of_mqtt_3_1_1_lasts_unless_it_is_clean() {
    let mut world = World::new();
    for (clean, present) in [(true, false), (false, true)] {
        let client = Client::new("old", "classic").classic(clean);
        let link = world.join(client.clone());
        world.handle(Input::Closed { link });
        world.pass(seconds(24 * 3_600));
        let link = world.connect(client);
        assert_eq!(world.connack(link).session_present, present);
        world.handle(Input::Closed { link });
    }
}
