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
    let got = world.got(slow);
    assert_eq!(got.len(), 3, "no more than may be unsent");
    // The client learns that messages are missing: by this, and by the CONNACK of its next connection.
    assert_eq!(got[2], "DISCONNECT 97");
    assert!(world.notices.iter().any(|notice| notice.kind == NoticeKind::SessionFull));
    let link = world.connect(Client::new("old", "slow").durable());
    assert_eq!(world.got(link), ["CONNACK 00 present=false"]);
}

#[test]
fn a_publisher_is_refused_what_a_hub_has_no_room_for_and_may_try_again() {
    let mut world = small();
    let link = world.join(hub());
    world.subscribe(link, "home/#", 1);
    world.handle(Input::Closed { link });
    let quick = reader(&mut world, "quick", 1);
    let writer = world.join(Client::new("old", "writer"));
    let classic = world.join(Client::new("old", "classic").classic(false));
    let text = "x".repeat(1_000);
    let mut kept = 0;
    loop {
        world.publish(writer, retained(message("home/x", &text, QoS::AtLeastOnce, 1)));
        world.settle();
        match world.got(writer)[0].as_str() {
            "PUBACK #1 00" => kept += 1,
            "PUBACK #1 97" => break,
            other => panic!("{other}"),
        }
        world.handle(Input::Drained { link: quick });
    }
    assert!((4..=8).contains(&kept), "{kept}");
    world.publish(writer, message("home/x", &text, QoS::ExactlyOnce, 2));
    assert_eq!(world.got(writer), ["PUBREC #2 97"]);
    // Refused means that nobody got it.
    world.handle(Input::Drained { link: quick });
    world.handle(Input::Drained { link: quick });
    assert_eq!(world.payloads(quick).len(), kept);
    // MQTT 3.1.1 has no way to refuse a message: the connection ends, and the client sends it again.
    world.publish(classic, message("home/x", &text, QoS::AtLeastOnce, 1));
    assert!(world.got(classic).is_empty());
    assert!(world.closed.contains(&classic));
    let link = world.connect(hub());
    let mut received = 0;
    for id in 1..=10 {
        received += world.payloads(link).len();
        world.ack(link, Received::Puback, id);
        world.handle(Input::Drained { link });
    }
    assert_eq!(received, kept);
    world.publish(writer, message("home/x", &text, QoS::AtLeastOnce, 3));
    world.settle();
    assert_eq!(world.got(writer), ["PUBACK #3 00"]);
}

#[test]
fn a_will_that_a_hub_has_no_room_for_ends_its_session() {
    let mut world = small();
    let link = world.join(hub());
    world.subscribe(link, "home/#", 1);
    world.handle(Input::Closed { link });
    let dying = world.join(Client::new("old", "dying").will("home/will", &"x".repeat(12_000), 0));
    world.handle(Input::Closed { link: dying });
    let link = world.connect(hub());
    assert_eq!(world.got(link), ["CONNACK 00 present=false"]);
}

#[test]
fn a_power_cut_brings_no_session_back_that_lacks_what_was_acknowledged() {
    for written in [false, true] {
        let mut world = small();
        let link = reader(&mut world, "sleeper", 1);
        world.handle(Input::Closed { link });
        let writer = world.join(Client::new("old", "writer"));
        let text = "x".repeat(1_000);
        let mut acknowledged = 0;
        world.writes = false;
        for id in 1..=20 {
            world.publish(writer, message("home/x", &text, QoS::AtLeastOnce, id));
            world.settle();
            if written || id <= 5 {
                world.write();
            }
            acknowledged += world.got(writer).len();
        }
        world.crash(seconds(1));
        world.writes = true;
        let link = world.connect(Client::new("old", "sleeper").durable());
        if world.connack(link).session_present {
            let mut received = 0;
            for id in 1..=20 {
                received += world.payloads(link).len();
                world.ack(link, Received::Puback, id);
                world.handle(Input::Drained { link });
            }
            assert!(received >= acknowledged, "{received} of {acknowledged}");
            assert!(!written);
        } else {
            assert!(written);
            assert_eq!(acknowledged, 20);
        }
    }
}

#[test]
fn a_shared_subscription_passes_over_the_member_that_is_full() {
    let mut world = small();
    let sleeper = world.join(Client::new("old", "a").durable());
    world.subscribe(sleeper, "$share/all/home/#", 1);
    world.handle(Input::Closed { link: sleeper });
    let writer = world.join(Client::new("old", "writer"));
    let text = "x".repeat(1_000);
    for id in 1..=5 {
        world.publish(writer, message("home/x", &text, QoS::AtLeastOnce, id));
    }
    let other = world.join(Client::new("old", "b").durable());
    world.subscribe(other, "$share/all/home/#", 1);
    world.handle(Input::Closed { link: other });
    for id in 6..=11 {
        world.publish(writer, message("home/x", &text, QoS::AtLeastOnce, id));
    }
    world.settle();
    assert!(world.notices.is_empty(), "{:?}", world.notices);
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
    let full = world.notices.iter().filter(|notice| notice.kind == NoticeKind::SessionFull);
    let full: Vec<_> = full.map(|notice| &*notice.client_id).collect();
    assert_eq!(full, ["sleeper 1"], "the one that most waits for goes, and no more than have to");
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
