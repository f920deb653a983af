//! How connections begin and end (MQTT 3.1, 3.2, 3.14).

use hearthd_broker::{
    core::Input,
    packet::{Disconnect, Reason, Received},
};

use crate::harness::*;

#[test]
fn response_information_comes_where_it_is_asked_for_and_never_elsewhere() {
    let mut world = World::new();
    let asks = world.connect(phone().with(|it| it.wants_response_information = true));
    assert_eq!(world.connack(asks).response_information.as_deref(), Some("home"));
    let silent = world.connect(phone());
    world.got(asks);
    assert_eq!(world.connack(silent).response_information, None);
}

#[test]
fn a_hub_alone_is_told_that_the_broker_vouches_for_senders() {
    let mut world = World::new();
    let link = world.connect(hub());
    assert_eq!(world.connack(link).user_properties, [("vouches-for-senders", "1".into())]);
    let link = world.connect(phone());
    assert!(world.connack(link).user_properties.is_empty());
}

#[test]
fn a_client_without_a_client_id_is_given_one() {
    let mut world = World::new();
    let link = world.connect(Client::new("anna", ""));
    assert_eq!(world.connack(link).assigned_client_id.as_deref(), Some("auto-00000007-1"));
    let link = world.connect(Client::new("anna", "").classic(true));
    assert_eq!(world.connack(link).reason, Reason::Success);
    let link = world.connect(Client::new("anna", "").classic(false));
    assert_eq!(world.connack(link).reason, Reason::ClientIdentifierNotValid);
}

#[test]
fn a_client_id_belongs_to_its_account() {
    let mut world = World::new();
    let refused = |world: &mut World, client: Client| {
        let link = world.connect(client);
        let connack = world.connack(link);
        (connack.reason, connack.text.unwrap_or_default())
    };
    let (reason, why) = refused(&mut world, Client::new("anna", "hearthd-demo"));
    assert_eq!(reason, Reason::NotAuthorized);
    assert_eq!(why, "client ID `hearthd-demo` belongs to another account");
    let (reason, _) = refused(&mut world, Client::new("hub", "else"));
    assert_eq!(reason, Reason::ClientIdentifierNotValid);
    world.join(phone().durable());
    let (reason, why) = refused(&mut world, Client::new("visitor", "phone"));
    assert_eq!(reason, Reason::NotAuthorized);
    assert_eq!(why, "the client ID has a session of another account");
}

#[test]
fn a_second_connection_of_a_client_takes_the_place_of_the_first() {
    let mut world = World::new();
    let first = world.join(phone().durable());
    let second = world.connect(phone().durable());
    assert_eq!(world.got(first), ["DISCONNECT 8e"]);
    assert!(world.closed.contains(&first));
    assert_eq!(world.got(second), ["CONNACK 00 present=true"]);
}

#[test]
fn a_clean_start_ends_the_session_before_it() {
    let mut world = World::new();
    let first = world.join(phone().durable());
    world.subscribe(first, "home/#", 1);
    let second = world.connect(phone().with(|it| it.clean_start = true));
    assert_eq!(world.got(second), ["CONNACK 00 present=false"]);
    let writer = world.join(Client::new("old", "writer"));
    world.publish(writer, message("home/x", "v", hearthd_broker::packet::QoS::AtLeastOnce, 1));
    assert_eq!(world.got(writer), ["PUBACK #1 10"]);
}

#[test]
fn silence_of_one_and_a_half_keep_alives_ends_the_connection() {
    let mut world = World::new();
    let link = world.join(phone().with(|it| it.keep_alive = 10));
    world.pass(seconds(14));
    world.receive(link, Received::Pingreq);
    world.pass(seconds(14));
    assert_eq!(world.got(link), ["PINGRESP"]);
    world.pass(seconds(2));
    assert_eq!(world.got(link), ["DISCONNECT 8d"]);
}

#[test]
fn a_session_that_ends_with_its_connection_cannot_be_prolonged() {
    let mut world = World::new();
    let link = world.join(phone());
    let longer = Disconnect { reason: 0, session_expiry: Some(60) };
    world.receive(link, Received::Disconnect(longer));
    assert_eq!(world.got(link), ["DISCONNECT 82"]);
}

#[test]
fn an_expiry_longer_than_the_brokers_is_cut_and_told() {
    let mut world = World::new();
    let link = world.connect(phone().with(|it| it.session_expiry = u32::MAX));
    let longest = world.limits.session_expiry.as_secs() as u32;
    assert_eq!(world.connack(link).session_expiry, Some(longest));
}

#[test]
fn enhanced_authentication_is_refused() {
    let mut world = World::new();
    let method = |it: &mut hearthd_broker::packet::Connect| {
        it.authentication_method = Some("SCRAM".into());
    };
    let link = world.connect(phone().with(method));
    assert_eq!(world.connack(link).reason, Reason::BadAuthenticationMethod);
    let link = world.join(phone());
    world.receive(link, Received::Auth);
    assert_eq!(world.got(link), ["DISCONNECT 82"]);
}

#[test]
fn a_removed_account_is_gone_at_once() {
    let mut world = World::new();
    let link = world.join(phone().durable());
    let mut fewer = accounts();
    fewer.accounts.remove("anna");
    world.handle(Input::Accounts(fewer));
    assert_eq!(world.got(link), ["DISCONNECT 87"]);
    world.settle();
    world.pass(seconds(2));
    assert!(world.store.is_empty(), "{:?}", world.store.keys());
    world.handle(Input::Accounts(accounts()));
    let link = world.connect(phone().durable());
    assert_eq!(world.got(link), ["CONNACK 00 present=false"]);
}

#[test]
fn a_changed_password_ends_the_connections_and_keeps_the_session() {
    let mut world = World::new();
    let link = world.join(phone().durable());
    world.handle(Input::LoggedOut { account: "anna".into() });
    assert_eq!(world.got(link), ["DISCONNECT 87"]);
    let link = world.connect(phone().durable());
    assert_eq!(world.got(link), ["CONNACK 00 present=true"]);
}
