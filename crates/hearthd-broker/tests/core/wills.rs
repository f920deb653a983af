//! Wills (MQTT 3.1.2.5).

use hearthd_broker::core::{Input, Limits, LinkId};

use crate::harness::*;

const WILL: &str = "home/cmnd/lamp/power";

fn watched() -> (World, LinkId) {
    let mut world = World::new();
    let watcher = world.join(Client::new("old", "watcher").durable());
    world.subscribe(watcher, "home/#", 1);
    (world, watcher)
}

#[test]
fn a_will_is_published_after_its_delay() {
    let (mut world, watcher) = watched();
    let link = world.join(phone().durable().will(WILL, "gone", 10));
    world.handle(Input::Closed { link });
    world.pass(seconds(9));
    assert!(world.payloads(watcher).is_empty());
    world.pass(seconds(1));
    assert_eq!(world.payloads(watcher), ["gone"]);
}

#[test]
fn a_client_that_is_back_in_time_takes_its_will_back() {
    let (mut world, watcher) = watched();
    let link = world.join(phone().durable().will(WILL, "gone", 10));
    world.handle(Input::Closed { link });
    world.pass(seconds(9));
    world.join(phone().durable());
    world.pass(seconds(60));
    assert!(world.payloads(watcher).is_empty());
}

#[test]
fn a_normal_goodbye_deletes_the_will_and_any_other_does_not() {
    for (reason, expected) in [(0, 0), (4, 1), (0x80, 1)] {
        let (mut world, watcher) = watched();
        let link = world.join(phone().durable().will(WILL, "gone", 0));
        world.receive(link, goodbye(reason));
        world.pass(seconds(1));
        assert_eq!(world.payloads(watcher).len(), expected, "{reason}");
    }
}

#[test]
fn the_end_of_the_session_comes_before_a_longer_delay() {
    let (mut world, watcher) = watched();
    let short = |it: &mut hearthd_broker::packet::Connect| it.session_expiry = 5;
    let link = world.join(phone().with(short).will(WILL, "gone", 10));
    world.handle(Input::Closed { link });
    world.pass(seconds(5));
    assert_eq!(world.payloads(watcher), ["gone"]);
    // Without a session there is nothing to wait for.
    let link = world.join(phone().will(WILL, "gone", 10));
    world.handle(Input::Closed { link });
    assert_eq!(world.payloads(watcher), ["gone"]);
}

#[test]
fn a_takeover_publishes_a_will_without_delay_and_no_other() {
    for (delay, expected) in [(0, 1), (10, 0)] {
        let (mut world, watcher) = watched();
        world.join(phone().durable().will(WILL, "gone", delay));
        world.join(phone().durable().will(WILL, "gone", delay));
        world.pass(seconds(60));
        assert_eq!(world.payloads(watcher).len(), expected, "{delay}");
    }
    // A clean start ends the session, and its will is due.
    let (mut world, watcher) = watched();
    world.join(phone().durable().will(WILL, "gone", 10));
    world.join(phone().with(|it| it.clean_start = true));
    assert_eq!(world.payloads(watcher), ["gone"]);
}

#[test]
fn a_delayed_will_survives_a_restart_and_comes_on_time() {
    let (mut world, watcher) = watched();
    let link = world.join(phone().durable().will(WILL, "gone", 60));
    world.handle(Input::Closed { link });
    world.settle();
    world.receive(watcher, goodbye(0));
    world.pass(seconds(20));
    world.crash(seconds(30));
    let watcher = world.join(Client::new("old", "watcher").durable());
    world.pass(seconds(9));
    assert!(world.payloads(watcher).is_empty());
    world.pass(seconds(1));
    assert_eq!(world.payloads(watcher), ["gone"]);
    // It was published, so the next start has none.
    world.settle();
    world.crash(seconds(1));
    world.pass(seconds(100));
    let link = world.connect(phone().durable());
    assert!(world.connack(link).session_present);
}

#[test]
fn a_will_that_is_taken_back_does_not_come_after_a_crash() {
    for client in [phone(), phone().durable()] {
        let (mut world, _) = watched();
        let link = world.join(client.will(WILL, "gone", 0));
        world.receive(link, goodbye(0));
        world.pass(Limits::default().write_delay);
        world.crash(seconds(1));
        let watcher = world.join(Client::new("old", "watcher").durable());
        world.pass(seconds(100));
        assert!(world.payloads(watcher).is_empty());
    }
}

#[test]
fn a_crash_of_the_broker_cuts_every_connection() {
    let (mut world, _) = watched();
    world.join(phone().will(WILL, "gone at once", 60));
    world.join(Client::new("old", "other").durable().will(WILL, "gone later", 60));
    world.settle();
    world.crash(seconds(5));
    let watcher = world.join(Client::new("old", "watcher").durable());
    assert_eq!(world.payloads(watcher), ["gone at once"]);
    world.pass(seconds(60));
    assert_eq!(world.payloads(watcher), ["gone later"]);
}

#[test]
fn a_connack_waits_until_the_will_is_in_the_store() {
    let mut world = World::new();
    world.writes = false;
    let link = world.connect(phone().will(WILL, "gone", 60));
    assert!(world.got(link).is_empty());
    world.write();
    assert_eq!(world.got(link), ["CONNACK 00 present=false"]);
}

#[test]
fn a_stop_is_no_goodbye_of_the_clients() {
    let (mut world, watcher) = watched();
    let link = world.join(phone().will(WILL, "gone", 0));
    world.receive(watcher, goodbye(0));
    world.handle(Input::Stop);
    assert_eq!(world.got(link), ["DISCONNECT 8b"]);
    assert!(world.broker.is_settled());
    world.crash(seconds(1));
    let watcher = world.join(Client::new("old", "watcher").durable());
    assert_eq!(world.payloads(watcher), ["gone"]);
}

#[test]
fn restarts_do_not_put_off_a_will() {
    let mut world = World::new();
    let watcher = world.join(reader());
    world.subscribe(watcher, "home/#", 1);
    world.join(hub().will("home/hub/hearthd-demo/presence", "offline", 10));
    world.settle();
    world.crash(seconds(1));
    world.pass(seconds(6));
    world.crash(seconds(1));
    let watcher = world.join(reader());
    world.pass(seconds(5));
    assert_eq!(world.payloads(watcher), ["offline"], "ten seconds after the first end");
}
