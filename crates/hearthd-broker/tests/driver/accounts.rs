//! `hearth-broker account` beside a running broker.

use crate::{
    broker::{Broker, eventually, is_closed, mode},
    raw::connect,
};

fn reason(broker: &Broker, account: &str, password: &str) -> u8 {
    let mut raw = broker.raw();
    raw.send(&connect("any", account, password, 0));
    raw.expect(0x20)[1]
}

#[test]
fn an_account_gets_in_as_soon_as_it_is_added_and_is_out_once_removed() {
    let broker = Broker::start();
    assert_eq!(reason(&broker, "phone", "secret"), 0x86);
    let added = broker.command(&["account", "add", "phone", "--role", "resident"], "secret\n");
    assert!(added.status.success(), "{added:?}");
    let file = broker.folder.path().join("hearth-broker-accounts.toml");
    assert_eq!(mode(&file), 0o640);
    assert!(!std::fs::read_to_string(&file).unwrap().contains("secret"));
    eventually("the account gets in", || reason(&broker, "phone", "secret") == 0);
    let mut phone = broker.client("phone", "phone");

    let listed = broker.command(&["account", "list"], "");
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert!(listed.contains("phone                resident"), "{listed}");

    let changed = broker.command(&["account", "password", "phone"], "another\n");
    assert!(changed.status.success(), "{changed:?}");
    eventually("its connection ends", || is_closed(&mut phone.stream));
    assert_eq!(reason(&broker, "phone", "secret"), 0x86);
    assert_eq!(reason(&broker, "phone", "another"), 0);

    assert!(broker.command(&["account", "remove", "phone"], "").status.success());
    eventually("the account is out", || reason(&broker, "phone", "another") == 0x86);
    // The others were never disturbed.
    assert_eq!(reason(&broker, "anna", "secret"), 0);
}

#[test]
fn what_cannot_be_done_is_told() {
    let broker = Broker::start();
    for (arguments, code, expected) in [
        (&["account", "add", "anna", "--role", "guest"][..], 65, "there is an account `anna`"),
        (&["account", "add", "x"], 64, "--role"),
        (&["account", "add", "x", "--role", "king"], 64, "king"),
        (&["account", "remove", "nobody"], 65, "there is no account `nobody`"),
        (&["account", "code", "nobody"], 65, "there is no account `nobody`"),
        (&["account", "code", "hub"], 65, "`hub` is the account of a hub, which gets no code"),
        (&["account", "remove", "anna"], 65, "is in"),
        (&["account", "add", "x", "--role", "device", "--topics", "a/#/b"], 78, "last level"),
        (&["account", "add", "x", "--role", "hub"], 78, "hub `hub` names no devices either"),
    ] {
        let ran = broker.command(arguments, "secret\n");
        assert_eq!(ran.status.code(), Some(code), "{arguments:?} {ran:?}");
        let said = String::from_utf8_lossy(&ran.stderr);
        assert!(said.contains(expected), "{arguments:?}: {said}");
    }
    let empty = broker.command(&["account", "add", "x", "--role", "guest"], "\n");
    assert_eq!(empty.status.code(), Some(65), "{empty:?}");
}

#[test]
fn a_stock_program_gets_in_with_its_will() {
    let broker = Broker::start();
    for (program, will) in [
        ("home-assistant", "homeassistant/status"),
        ("zigbee2mqtt", "zigbee2mqtt/bridge/state"),
        ("tasmota", "tele/tasmota_ABCDEF/LWT"),
        ("shelly", "shellyplus1-a8032ab/online"),
        ("esphome", "esphome/status"),
    ] {
        let connack = |broker: &Broker| {
            let mut raw = broker.raw();
            raw.send(&crate::wire::classic_connect_with_will(program, will));
            raw.expect(0x20)[1]
        };
        let name = if program == "esphome" { "esphome" } else { program };
        let added = broker.command(&["account", "add", name, "--for", program], "secret\n");
        assert!(added.status.success(), "{added:?}");
        eventually(program, || connack(&broker) == 0);
    }
    // Nobody else may have such a will, and the code is not that of a wrong password.
    let mut raw = broker.raw();
    raw.send(&crate::wire::classic_connect_with_will("anna", "tele/tasmota_ABCDEF/LWT"));
    assert_eq!(raw.expect(0x20)[1], 5);
    eventually("the log says why", || {
        broker.log().contains("may not publish its will retained on `tele/tasmota_ABCDEF/LWT`")
    });
}

#[test]
fn a_wrong_accounts_file_leaves_the_accounts_as_they_were() {
    let broker = Broker::start();
    let file = broker.folder.path().join("hearth-broker-accounts.toml");
    std::fs::write(&file, "[[account]]\nname = 1\n").unwrap();
    eventually("the log says so", || {
        broker.log().contains("cannot read the accounts: the old ones stay in use")
    });
    assert_eq!(reason(&broker, "anna", "secret"), 0);
}
