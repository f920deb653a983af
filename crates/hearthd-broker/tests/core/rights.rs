//! Who may do what: the table of roles, and how it is kept everywhere.

use hearthd_broker::{
    core::{Input, NoticeKind},
    packet::{QoS, Reason},
    rights::{Action, Extent, Kind, Refused, Role, extent},
};

use crate::harness::*;

/// An account, a client of it, and for each topic what it may do: `w` publish, `r` publish retained, `s` subscribe.
type Line = (&'static str, &'static str, &'static [(&'static str, &'static str)]);

const TABLE: &[Line] = &[
    (
        "hub",
        "hearthd-demo",
        &[
            ("home/cmnd/lamp/power", "w s"),
            ("home/state/lamp/power", "wrs"),
            ("home/state/boiler/power", "  s"),
            ("home/response/phone/x", "w s"),
            ("home/hub/hearthd-demo/presence", "wrs"),
            ("home/hub/attic/presence", "  s"),
            ("home/hub/hearthd-demo/absence", "wrs"),
            ("home/hub/attic/absence", "  s"),
            ("home/event/lamp", "w s"),
            ("home/else", "wrs"),
            ("zigbee2mqtt/lamp", "   "),
            ("$SYS/x", "   "),
        ],
    ),
    (
        "attic",
        "attic",
        &[
            ("home/state/boiler/power", "wrs"),
            ("home/state/lamp/power", "  s"),
            ("home/hub/attic/presence", "wrs"),
        ],
    ),
    (
        "anna",
        "phone",
        &[
            ("home/cmnd/lamp/power", "w s"),
            ("home/state/lamp/power", "  s"),
            ("home/response/phone/x", "w s"),
            ("home/response/other/x", "  s"),
            ("home/hub/phone/presence", "  s"),
            ("home/hub/hearthd-demo/absence", "  s"),
            ("home/event/lamp", "  s"),
            ("home/else", "  s"),
            ("homestead/else", "   "),
        ],
    ),
    (
        "visitor",
        "guest",
        &[
            ("home/cmnd/hall-lamp/power", "w  "),
            ("home/cmnd/lamp/power", "   "),
            ("home/state/hall-lamp/power", "  s"),
            ("home/state/hall-lamp", "  s"),
            ("home/state/lamp/power", "   "),
            ("home/response/guest/x", "w s"),
            ("home/response/other/x", "   "),
            ("home/hub/hearthd-demo/presence", "  s"),
            ("home/hub/hearthd-demo/absence", "   "),
            ("home/event/hall-lamp", "  s"),
            ("home/event/lamp", "   "),
            ("home/else", "   "),
        ],
    ),
    (
        "siren",
        "siren-1",
        &[
            ("home/cmnd/siren/power", "  s"),
            ("home/cmnd/lamp/power", "   "),
            ("home/state/siren/power", "wrs"),
            ("home/state/lamp/power", "   "),
            ("home/response/phone/x", "w  "),
            ("home/response/siren-1/x", "w s"),
            ("home/hub/hearthd-demo/presence", "  s"),
            ("home/hub/siren-1/presence", "  s"),
            ("home/event/siren", "w s"),
            ("home/else", "   "),
        ],
    ),
    (
        "zigbee2mqtt",
        "z2m",
        &[
            ("zigbee2mqtt/lamp/set", "wrs"),
            ("zigbee2mqtt", "wrs"),
            ("homeassistant/x", "wrs"),
            ("tasmota/x", "   "),
            ("home/state/lamp/power", "   "),
            ("home/cmnd/lamp/power", "   "),
        ],
    ),
    (
        "old",
        "anything",
        &[
            ("home/state/lamp/power", "wrs"),
            ("home/hub/hearthd-demo/presence", "wrs"),
            ("home", "wrs"),
            ("elsewhere", "   "),
        ],
    ),
];

#[test]
fn every_role_may_do_what_the_table_says_and_nothing_else() {
    for (account, client, topics) in TABLE {
        let mut world = World::new();
        let link = world.join(Client::new(account, client));
        for (topic, may) in *topics {
            let mut found = String::new();
            world.publish(link, message(topic, "v", QoS::AtLeastOnce, 1));
            world.publish(link, retained(message(topic, "v", QoS::AtLeastOnce, 1)));
            let codes = world.got(link);
            for (code, letter) in codes.iter().zip(["w", "r"]) {
                found += if code == "PUBACK #1 87" { " " } else { letter };
            }
            let suback = &world.subscribe(link, topic, 1)[0];
            found += if suback == "SUBACK [87]" { " " } else { "s" };
            assert_eq!(&found, may, "{account} {topic}: {codes:?} {suback}");
            // A will is a publication: retained or not.
            for (retain, letter) in [(false, 'w'), (true, 'r')] {
                let will = Client::new(account, client).will(topic, "gone", 0).with(|it| {
                    it.will.as_mut().unwrap().retain = retain;
                });
                let other = world.connect(will);
                let connack = world.connack(other);
                let expected =
                    if may.contains(letter) { Reason::Success } else { Reason::NotAuthorized };
                assert_eq!(connack.reason, expected, "{account} {topic} will {retain}");
                world.handle(Input::Closed { link: other });
            }
            world = World::new();
            world.join(Client::new(account, client));
        }
    }
}

#[test]
fn the_table_has_a_line_for_every_role() {
    let roles: Vec<Role> = accounts().accounts.values().map(|account| account.role).collect();
    for role in Role::GIVEN {
        assert!(roles.contains(&role), "{role:?}");
    }
    // Only a hub writes presence and absence, whoever asks.
    for role in [Role::Resident, Role::Guest, Role::Responder, Role::Device] {
        for kind in [Kind::Presence, Kind::Absence] {
            assert_eq!(extent(role, kind, Action::Publish), Extent::Never, "{role:?}");
        }
    }
}

#[test]
fn the_table_of_the_readme_is_what_each_role_may_do() {
    let readme = include_str!("../../README.md");
    let rows = [
        (Kind::State, "`state/DEVICE/...`"),
        (Kind::Presence, "`hub/CLIENT/presence`"),
        (Kind::Absence, "`hub/CLIENT/absence`"),
        (Kind::Request, "`cmnd/DEVICE/...`"),
        (Kind::Response, "`response/CLIENT/...`"),
        (Kind::Event, "`event/DEVICE/...`"),
        (Kind::Other, "any other"),
    ];
    assert!(rows.iter().map(|(kind, _)| *kind).eq(Kind::ALL));
    let roles = Role::GIVEN.map(Role::name).join(" | ");
    let mut table = format!("| below the home | {roles} |\n|---|---|---|---|---|---|\n");
    for (kind, topics) in rows {
        let cells = Role::GIVEN.map(|role| in_words(role, kind)).join(" | ");
        table += &format!("| {topics} | {cells} |\n");
    }
    assert!(readme.contains(&table), "README.md lacks this table:\n{table}");
}

fn in_words(role: Role, kind: Kind) -> String {
    let [publish, retain, read] =
        [Action::Publish, Action::Retain, Action::Read].map(|action| extent(role, kind, action));
    assert!(retain == Extent::Never || retain == publish, "{role:?} {kind:?}");
    let writes = if retain == Extent::Never { "publishes" } else { "retains" };
    let words = [(writes, publish), ("reads", read)].map(|(word, extent)| match extent {
        Extent::Never => String::new(),
        Extent::Own => format!("{word} its own"),
        Extent::Any => format!("{word} all"),
    });
    let words = words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(", ");
    if words.is_empty() { "nothing".to_owned() } else { words }
}

#[test]
fn a_wildcard_is_granted_and_what_may_not_be_read_left_out() {
    let mut world = World::new();
    let guest = world.join(Client::new("visitor", "guest"));
    for filter in ["#", "home/#", "home/state/+/power"] {
        assert_eq!(world.subscribe(guest, filter, 0), ["SUBACK [00]"], "{filter}");
    }
    for filter in ["home/cmnd/#", "zigbee2mqtt/#", "$SYS/#", "home/else/+"] {
        assert_eq!(world.subscribe(guest, filter, 0), ["SUBACK [87]"], "{filter}");
    }
    let hub = world.join(hub());
    for topic in ["home/state/hall-lamp/power", "home/state/lamp/power", "home/else"] {
        world.publish(hub, retained(message(topic, topic, QoS::AtMostOnce, 0)));
    }
    assert_eq!(world.payloads(guest), ["home/state/hall-lamp/power"]);
    // The same for what is retained.
    let again = world.join(Client::new("visitor", "guest-2"));
    let got = world.subscribe(again, "home/#", 0);
    assert_eq!(got[1..], ["home/state/hall-lamp/power=home/state/hall-lamp/power q0 retained"]);
}

#[test]
fn a_refusal_says_why_to_the_client_and_to_the_log() {
    let mut world = World::new();
    let link = world.join(phone());
    world.publish(link, message("home/state/lamp/power", "ON", QoS::AtLeastOnce, 1));
    let notice = world.notices.pop().unwrap();
    assert_eq!(notice.kind, NoticeKind::PublishRefused);
    let why = "account `anna` may not publish on `home/state/lamp/power`: its role is `resident`, \
               and only `hub` and `responder` may publish states";
    assert_eq!(notice.why, why);
    assert_eq!(&*notice.client_id, "phone");
    let link = world.connect(Client::new("anna", "tv").will("tv/lwt", "Offline", 0));
    let connack = world.connack(link);
    assert_eq!(connack.reason, Reason::NotAuthorized);
    let why = "account `anna` may not publish its will on `tv/lwt`: its role is `resident`, and the topic is outside \
               of the home `home`; `rights` can grant it";
    assert_eq!(connack.text.as_deref(), Some(why));
}

#[test]
fn a_refusal_names_the_role_and_the_right_that_is_missing() {
    use Action::{Publish, Read, Retain};
    let accounts = accounts();
    for (account, action, topic, missing) in [
        (
            "hub",
            Retain,
            "home/state/boiler/power",
            "`hub`, and device `boiler` belongs to account `attic`",
        ),
        (
            "attic",
            Publish,
            "home/state/lamp/power",
            "`hub`, and device `lamp` is none of its `devices` (`boiler`)",
        ),
        ("hub", Retain, "home/hub/attic/presence", "`hub`, and the client ID is `me`, not `attic`"),
        ("hub", Retain, "home/cmnd/lamp/power", "`hub`, which may not retain requests"),
        (
            "anna",
            Publish,
            "home/response/other/x",
            "`resident`, and the client ID is `me`, not `other`",
        ),
        (
            "anna",
            Publish,
            "home/else",
            "`resident`, which may not publish other topics of the home",
        ),
        ("anna", Publish, "home/hub/me/absence", "`resident`, and only `hub` may publish absence"),
        ("visitor", Read, "home/hub/me/absence", "`guest`, which may not read absence"),
        (
            "visitor",
            Publish,
            "home/cmnd/lamp/power",
            "`guest`, and device `lamp` is none of its `devices` (`hall-*`)",
        ),
        (
            "zigbee2mqtt",
            Publish,
            "tasmota/x",
            "`device`, and the topic is outside of the `rights` to write (`zigbee2mqtt/#`, `homeassistant/#`)",
        ),
        (
            "zigbee2mqtt",
            Read,
            "home/cmnd/+/+",
            "`device`, and the topic is outside of the `rights` to read (`zigbee2mqtt/#`, `homeassistant/#`)",
        ),
        ("anna", Read, "$SYS/#", "`resident`, and topics that begin with `$` are for nobody"),
    ] {
        let refused = Refused { wanted: "use", action, topic };
        let why = accounts.refusal(account, "me", refused);
        let role = format!("account `{account}` may not use `{topic}`: its role is {missing}");
        assert_eq!(why, role);
    }
    let refused = Refused { wanted: "use", action: Publish, topic: "elsewhere" };
    assert!(
        accounts
            .refusal("old", "me", refused)
            .contains(": it has no role, and the topic is outside")
    );
    let long = "x".repeat(10_000);
    let refused = Refused { wanted: "use", action: Publish, topic: &long };
    let why = accounts.refusal("old", "me", refused);
    assert!(why.len() <= 400 && why.ends_with("`rights` can grant it"), "{why}");
}

#[test]
fn a_hub_learns_who_sent_a_message_and_nobody_can_forge_it() {
    let mut world = World::new();
    let link = world.join(hub());
    world.subscribe(link, "home/cmnd/#", 1);
    let reader = world.join(Client::new("old", "reader"));
    world.subscribe(reader, "home/cmnd/#", 1);
    let phone = world.join(phone());
    world.publish(phone, message("home/cmnd/lamp/power", "ON", QoS::AtMostOnce, 0));
    let delivery = world.deliveries(link).remove(0);
    assert!(delivery.vouched);
    assert_eq!(&*delivery.message.sender.account, "anna");
    assert_eq!(&*delivery.message.sender.client_id, "phone");
    assert!(!world.deliveries(reader).remove(0).vouched);
}

#[test]
fn rights_that_were_taken_away_hold_for_what_waits() {
    let mut world = World::new();
    let link = world.join(phone().durable());
    world.subscribe(link, "home/#", 1);
    world.handle(Input::Closed { link });
    let hub = world.join(hub());
    world.publish(hub, message("home/state/lamp/power", "secret", QoS::AtLeastOnce, 1));
    let mut accounts = accounts();
    accounts.accounts.get_mut("anna").unwrap().role = Role::Guest;
    world.handle(Input::Accounts(accounts));
    world.publish(hub, message("home/state/lamp/power", "secret", QoS::AtLeastOnce, 2));
    let link = world.join(phone().durable());
    assert!(world.payloads(link).is_empty());
}

#[test]
fn no_hub_writes_the_state_of_anothers_devices() {
    let mut accounts = accounts();
    accounts.accounts.get_mut("attic").unwrap().devices.clear();
    let mut world = World::with(hearthd_broker::core::Limits::default(), accounts);
    // Neither names its devices, so none is known to be its own.
    for client in [Client::new("hub", "hearthd-demo"), Client::new("attic", "attic")] {
        let link = world.join(client);
        world.publish(link, message("home/state/lamp/power", "v", QoS::AtLeastOnce, 1));
        assert_eq!(world.got(link), ["PUBACK #1 87"]);
    }
}
