//! Shared subscriptions (MQTT 4.8.2).

use hearthd_broker::{core::Input, packet::QoS};

use crate::harness::*;

#[test]
fn members_take_turns_and_others_get_everything() {
    let mut world = World::new();
    let names = ["one", "two", "all"];
    let [one, two, all] = names.map(|name| world.join(Client::new("old", name)));
    for link in [one, two] {
        assert_eq!(world.subscribe(link, "$share/team/home/+", 0), ["SUBACK [00]"]);
    }
    world.subscribe(all, "home/+", 0);
    let writer = world.join(Client::new("old", "writer"));
    for number in 0..6 {
        world.publish(writer, message("home/x", &number.to_string(), QoS::AtMostOnce, 0));
    }
    assert_eq!(world.payloads(one).len(), 3);
    assert_eq!(world.payloads(two).len(), 3);
    assert_eq!(world.payloads(all).len(), 6);
}

#[test]
fn an_absent_member_is_passed_over_while_another_is_there() {
    let mut world = World::new();
    let one = world.join(Client::new("old", "one").durable());
    let two = world.join(Client::new("old", "two").durable());
    for link in [one, two] {
        world.subscribe(link, "$share/team/home/+", 1);
    }
    world.handle(Input::Closed { link: one });
    let writer = world.join(Client::new("old", "writer"));
    for id in 1..5 {
        world.publish(writer, message("home/x", "v", QoS::AtLeastOnce, id));
    }
    assert_eq!(world.payloads(two).len(), 4);
}

#[test]
fn a_shared_subscription_gets_nothing_retained() {
    let mut world = World::new();
    let writer = world.join(Client::new("old", "writer"));
    world.publish(writer, retained(message("home/x", "v", QoS::AtMostOnce, 0)));
    let one = world.join(Client::new("old", "one"));
    assert_eq!(world.subscribe(one, "$share/team/home/+", 0), ["SUBACK [00]"]);
}

#[test]
fn a_share_without_a_name_or_with_no_local_is_refused() {
    let mut world = World::new();
    let one = world.join(Client::new("old", "one"));
    for bad in ["$share/home", "$share//home/x", "$share/a+/home/x", "$share/a/"] {
        assert_eq!(world.subscribe(one, bad, 0), ["SUBACK [8f]"], "{bad}");
    }
    let mut local = options(0);
    local.no_local = true;
    world.receive(one, subscribe(1, &[("$share/team/home/x", local)]));
    assert_eq!(world.got(one), ["DISCONNECT 82"]);
}
