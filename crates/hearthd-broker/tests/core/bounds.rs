//! What clients may use up.

use hearthd_broker::{
    core::{Input, Limits, LinkId, NoticeKind},
    packet::{QoS, Received},
};

use crate::harness::*;

fn small() -> World {
    let limits = Limits {
        unsent: 2_000,
        session_queue: 10_000,
        queues: 100_000,
        retained: 10_000,
        sessions: 5,
        subscriptions: 3,
        ..Limits::default()
    };
    World::with(limits, accounts())
}

fn reader(world: &mut World, name: &str, qos: u8) -> LinkId {
    let link = world.join(Client::new("old", name).durable());
    world.subscribe(link, "home/#", qos);
    link
}

#[test]
fn a_client_that_does_not_read_costs_itself_alone() {
    let mut world = small();
    let slow = reader(&mut world, "slow", 1);
    let quick = reader(&mut world, "quick", 0);
    let writer = world.join(Client::new("old", "writer"));
    for id in 1..=100 {
        world.publish(writer, message("home/x", &"x".repeat(1_000), QoS::AtLeastOnce, id));
        world.handle(Input::Drained { link: quick });
        world.settle();
    }
    assert_eq!(world.payloads(quick).len(), 100);
    assert_eq!(world.payloads(slow).len(), 2, "no more than may be unsent");
    assert!(world.notices.iter().any(|notice| notice.kind == NoticeKind::Dropped));
    // What is kept is within the bound, and comes once the client reads.
    let mut rest = 0;
    for id in 1..=20 {
        world.ack(slow, Received::Puback, id);
        world.handle(Input::Drained { link: slow });
        rest += world.payloads(slow).len();
    }
    assert!((3..=8).contains(&rest), "{rest}");
}

#[test]
fn messages_of_quality_0_give_way_first() {
    let mut world = small();
    let slow = reader(&mut world, "slow", 1);
    let writer = world.join(Client::new("old", "writer"));
    for _ in 0..20 {
        world.publish(writer, message("home/x", &"0".repeat(1_000), QoS::AtMostOnce, 0));
    }
    world.payloads(slow);
    world.publish(writer, message("home/x", &"1".repeat(1_000), QoS::AtLeastOnce, 1));
    world.handle(Input::Drained { link: slow });
    assert_eq!(world.payloads(slow), ["1".repeat(1_000)]);
}

#[test]
fn sleepers_take_no_room_from_a_hub_or_a_reader() {
    let mut world = small();
    world.limits.queues = 15_000;
    world = World::with(world.limits, accounts());
    for name in ["sleeper 1", "sleeper 2"] {
        let link = reader(&mut world, name, 1);
        world.handle(Input::Closed { link });
    }
    let link = world.join(hub());
    world.subscribe(link, "home/#", 1);
    world.handle(Input::Closed { link });
    let quick = reader(&mut world, "quick", 1);
    let writer = world.join(Client::new("old", "writer"));
    for id in 1..=5 {
        world.publish(writer, message("home/x", &"x".repeat(1_000), QoS::AtLeastOnce, id));
        world.handle(Input::Drained { link: quick });
        world.ack(quick, Received::Puback, id);
    }
    assert!(world.notices.iter().any(|notice| notice.kind == NoticeKind::Dropped));
    assert_eq!(world.payloads(quick).len(), 5);
    let link = world.join(hub());
    world.handle(Input::Drained { link });
    world.handle(Input::Drained { link });
    world.handle(Input::Drained { link });
    assert_eq!(world.payloads(link).len(), 5);
}

#[test]
fn retained_messages_have_a_bound_in_bytes() {
    let mut world = small();
    let writer = world.join(Client::new("old", "writer"));
    let mut codes = Vec::new();
    for id in 1..=20 {
        let topic = format!("home/{id}");
        world.publish(writer, retained(message(&topic, &"x".repeat(1_000), QoS::AtLeastOnce, id)));
        codes.append(&mut world.got(writer));
    }
    assert_eq!(codes[0], "PUBACK #1 10");
    assert_eq!(codes[19], "PUBACK #20 97");
    // One in the place of another needs no more room.
    world.publish(writer, retained(message("home/1", &"y".repeat(900), QoS::AtLeastOnce, 1)));
    assert_eq!(world.got(writer), ["PUBACK #1 10"]);
}

#[test]
fn sessions_and_subscriptions_have_a_bound() {
    let mut world = small();
    let links: Vec<LinkId> = (0..5)
        .map(|number| world.join(Client::new("old", &number.to_string()).durable()))
        .collect();
    let link = world.connect(Client::new("old", "one too many"));
    assert_eq!(world.got(link), ["CONNACK 97 present=false"]);
    for (number, code) in [(1, "00"), (2, "00"), (3, "00"), (4, "97")] {
        let got = world.subscribe(links[0], &format!("home/{number}"), 0);
        assert_eq!(got, [format!("SUBACK [{code}]")]);
    }
}

#[test]
fn the_time_that_nothing_needs_is_not_spent() {
    let mut world = small();
    reader(&mut world, "idle", 1);
    world.pass(seconds(2));
    let next = world.broker.poll_timeout().expect("messages that have ended are looked for");
    assert!(next > world.now.monotonic + seconds(10));
}
