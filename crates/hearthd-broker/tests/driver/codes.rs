//! Pairing codes of `hearth-broker account code` beside a running broker.

use crate::{
    broker::{Broker, eventually, is_closed, mode},
    raw::{Raw, connect},
};

/// Makes a code, and waits until the broker has read it.
fn code(broker: &Broker, account: &str) -> String {
    let read = |broker: &Broker| broker.log().matches("accounts read again").count();
    let before = read(broker);
    let made = broker.command(&["account", "code", account], "");
    assert!(made.status.success(), "{made:?}");
    eventually("the broker reads the code", || read(broker) > before);
    String::from_utf8(made.stdout).unwrap().trim_end().to_owned()
}

fn attempt(broker: &Broker, account: &str, password: &str) -> Raw {
    let mut raw = broker.raw();
    raw.send(&connect("any", account, password, 0));
    raw
}

fn reason(broker: &Broker, account: &str, password: &str) -> u8 {
    attempt(broker, account, password).expect(0x20)[1]
}

#[test]
fn a_code_is_good_for_one_login_and_disturbs_nobody() {
    let broker = Broker::start();
    let mut anna = broker.client("anna", "anna");
    let code = code(&broker, "anna");
    let file = broker.folder.path().join("hearth-broker-accounts.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    assert_eq!(mode(&file), 0o640);
    assert!(text.contains("$argon2id$") && !text.contains(&code.replace('-', "")), "{text}");

    assert_eq!(reason(&broker, "hub", &code), 0x86, "the code of another account");
    let mut phone = attempt(&broker, "anna", &code.to_lowercase());
    phone.expect_connack(0);
    assert_eq!(reason(&broker, "anna", &code), 0x86, "it was used");
    assert_eq!(reason(&broker, "anna", "secret"), 0, "the password is as it was");
    assert!(!is_closed(&mut phone.stream) && !is_closed(&mut anna.stream));
}

#[test]
fn a_code_ends_with_a_restart_of_the_broker() {
    let mut broker = Broker::start();
    let (used, unused) = (code(&broker, "anna"), code(&broker, "old"));
    assert_eq!(reason(&broker, "anna", &used), 0);
    broker.kill();
    broker.run();
    assert_eq!(reason(&broker, "anna", &used), 0x86);
    assert_eq!(reason(&broker, "old", &unused), 0x86);
    let fresh = code(&broker, "anna");
    assert_eq!(reason(&broker, "anna", &fresh), 0);
}

#[test]
fn another_code_or_password_ends_the_code() {
    let broker = Broker::start();
    let added = broker.command(&["account", "add", "phone", "--role", "resident"], "secret\n");
    assert!(added.status.success(), "{added:?}");
    let (first, second) = (code(&broker, "phone"), code(&broker, "phone"));
    assert_eq!(reason(&broker, "phone", &first), 0x86);
    let changed = broker.command(&["account", "password", "phone"], "another\n");
    assert!(changed.status.success(), "{changed:?}");
    eventually("the new password is good", || reason(&broker, "phone", "another") == 0);
    assert_eq!(reason(&broker, "phone", &second), 0x86);

    let third = code(&broker, "phone");
    assert!(broker.command(&["account", "remove", "phone"], "").status.success());
    eventually("the account is out", || reason(&broker, "phone", "another") == 0x86);
    assert_eq!(reason(&broker, "phone", &third), 0x86);
    let file = broker.folder.path().join("hearth-broker-accounts.toml");
    assert!(!std::fs::read_to_string(file).unwrap().contains("[[code]]"));
}

#[test]
fn ten_wrong_codes_end_the_code_and_wrong_passwords_do_not() {
    let broker = Broker::start();
    let code = code(&broker, "anna");
    let wrong = |letter| format!("{letter}{letter}{letter}{letter}-ABCD");
    let answers = |passwords: Vec<String>| {
        // All at once: each refusal takes longer than the one before.
        let tries: Vec<Raw> = passwords.iter().map(|it| attempt(&broker, "anna", it)).collect();
        tries.into_iter().for_each(|mut it| assert_eq!(it.expect(0x20)[1], 0x86));
    };
    answers((0..10).map(|number| format!("guess {number}")).collect());
    answers("ABCDEFGHJ".chars().map(wrong).collect());
    assert!(!broker.log().contains("tried too often"), "{}", broker.log());
    answers(vec![wrong('K')]);
    assert!(broker.log().contains("tried too often"), "{}", broker.log());
    assert_eq!(reason(&broker, "anna", &code), 0x86);
    assert_eq!(reason(&broker, "anna", "secret"), 0, "the password is as it was");
}

#[test]
fn a_code_hands_out_the_password_of_its_account_once() {
    let broker = Broker::start();
    let added =
        broker.command(&["account", "add", "phone", "--role", "resident"], "lasting secret\n");
    assert!(added.status.success(), "{added:?}");
    let hand_out = ["account", "code", "phone", "--hand-out-password"];
    let wrong = broker.command(&hand_out, "another\n");
    assert_eq!(wrong.status.code(), Some(65), "{wrong:?}");
    let elsewhere = ["account", "code", "anna", "--hand-out-password"];
    assert_eq!(broker.command(&elsewhere, "secret\n").status.code(), Some(65));
    let made = broker.command(&hand_out, "lasting secret\n");
    assert!(made.status.success(), "{made:?}");
    let code = String::from_utf8(made.stdout).unwrap().trim_end().to_owned();
    let file = broker.folder.path().join("hearth-broker-accounts.toml");
    let text = std::fs::read_to_string(file).unwrap();
    assert!(text.contains("sealed") && !text.contains("lasting"), "{text}");

    let handed = |connack: &[u8]| connack.windows(14).any(|it| it == b"lasting secret");
    let mut first = Vec::new();
    eventually("the broker reads the code", || {
        first = attempt(&broker, "phone", &code).expect(0x20);
        first[1] == 0
    });
    assert!(handed(&first), "{first:?}");
    assert!(!handed(&attempt(&broker, "phone", &code).expect(0x20)), "it was used");
    let later = attempt(&broker, "phone", "lasting secret").expect(0x20);
    assert!(later[1] == 0 && !handed(&later), "a password is not told to whoever has it");
    assert!(!broker.log().contains("lasting"), "{}", broker.log());
}
