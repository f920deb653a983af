//! What SIGKILL leaves.

use std::{collections::BTreeSet, process::Command, time::Duration};

use rustix::process::Resource;

use crate::{
    broker::{Broker, eventually},
    raw::{connect, packet, publish},
};

#[test]
fn every_message_that_was_acknowledged_before_a_sigkill_comes_after_it() {
    let mut broker = Broker::start();
    let mut reader = broker.raw();
    reader.send(&connect("reader", "old", "secret", 3_600));
    reader.expect_connack(0);
    reader.subscribe("home/#");
    drop(reader);
    let mut acknowledged = BTreeSet::new();
    for round in 0..5_u16 {
        let mut writer = broker.client("old", "writer");
        let mut sent = BTreeSet::new();
        for number in 0..40_u16 {
            let id = round * 40 + number + 1;
            writer.send(&publish("home/x", id.to_string().as_bytes(), id, false));
            sent.insert(id);
        }
        // Those whose PUBACK came before the kill.
        for _ in 0..=round * 8 {
            let body = writer.expect(0x40);
            acknowledged.insert(u16::from_be_bytes([body[0], body[1]]));
        }
        broker.kill();
        broker.run();
    }
    let mut reader = broker.raw();
    reader.send(&connect("reader", "old", "secret", 3_600));
    let connack = reader.expect_connack(0);
    assert_eq!(connack[0], 1, "the session is there");
    reader.stream.set_read_timeout(Some(std::time::Duration::from_secs(1))).unwrap();
    let mut came = BTreeSet::new();
    while let Ok((first, body)) = reader.receive() {
        assert_eq!(first >> 4, 3);
        reader.send(&packet(0x40, &body[8..10]));
        let payload = String::from_utf8(body[11..].to_vec()).unwrap();
        came.insert(payload.parse::<u16>().unwrap());
    }
    let lost: Vec<_> = acknowledged.difference(&came).collect();
    assert!(lost.is_empty(), "{lost:?} of {acknowledged:?}");
}

#[test]
fn a_retained_message_is_there_a_second_after_its_puback() {
    let mut broker = Broker::start();
    let mut writer = broker.client("old", "writer");
    writer.send(&publish("home/x", b"kept", 1, true));
    writer.expect(0x40);
    std::thread::sleep(std::time::Duration::from_millis(1_500));
    broker.kill();
    broker.run();
    let mut reader = broker.client("old", "reader");
    reader.subscribe("home/#");
    assert_eq!(reader.message(), ("home/x".to_owned(), b"kept".to_vec()));
}

#[test]
fn a_stop_in_order_keeps_everything_and_says_goodbye() {
    let mut broker = Broker::start();
    let mut writer = broker.client("old", "writer");
    writer.send(&publish("home/x", b"kept", 0, true));
    writer.send(&packet(0xC0, &[]));
    writer.expect(0xD0);
    broker.stop();
    assert_eq!(writer.expect(0xE0)[0], 0x8B);
    broker.run();
    let mut reader = broker.client("old", "reader");
    reader.subscribe("home/#");
    assert_eq!(reader.message().1, b"kept");
}

/// Returns the program with a file size limit that fails a write, as a full disk does, instead of killing it.
fn unkillable_by_its_limit() -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_hearth-broker")]);
    command.env("RUST_LOG", "info").env_remove("JOURNAL_STREAM");
    command
}

#[test]
fn a_full_disk_holds_acknowledgements_back_until_there_is_room() {
    const MESSAGES: u16 = 50;
    let mut broker = Broker::start();
    broker.stop();
    broker.run_as(unkillable_by_its_limit());
    let mut reader = broker.raw();
    reader.send(&connect("reader", "old", "secret", 3_600));
    reader.expect_connack(0);
    reader.subscribe("home/#");
    drop(reader);
    let store = std::fs::metadata(broker.folder.path().join("storage/broker.redb")).unwrap();
    let before = broker.limit(Resource::Fsize, Some(store.len()));
    let mut writer = broker.client("old", "writer");
    for id in 1..=MESSAGES {
        writer.send(&publish("home/x", &[b'x'; 60_000], id, false));
    }
    eventually("the log says so", || {
        broker.log().contains("the store cannot be written; acknowledgements wait for it")
    });
    writer.stream.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    let mut came = 0;
    while writer.receive().is_ok() {
        came += 1;
    }
    assert!(came < MESSAGES);
    broker.limit(Resource::Fsize, before);
    writer.stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    for _ in came..MESSAGES {
        writer.expect(0x40);
    }
    assert!(broker.log().contains("the store is written again"), "{}", broker.log());
    broker.kill();
    broker.run();
    let mut reader = broker.raw();
    reader.send(&connect("reader", "old", "secret", 3_600));
    reader.expect_connack(0);
    for _ in 0..MESSAGES {
        assert_eq!(reader.message().1.len(), 60_000);
    }
}

#[test]
fn a_start_on_a_full_disk_leaves_no_damaged_store() {
    let mut broker = Broker::start();
    broker.stop();
    let storage = broker.folder.path().join("storage");
    std::fs::remove_file(storage.join("broker.redb")).unwrap();
    let mut limited = Command::new("sh");
    let script = "trap '' XFSZ; ulimit -f 8; exec \"$0\" \"$@\"";
    limited.args(["-c", script, env!("CARGO_BIN_EXE_hearth-broker"), "--config"]);
    let ran = limited.arg(broker.config()).args(["--listen", "127.0.0.1:0"]).output().unwrap();
    assert_eq!(ran.status.code(), Some(73), "{ran:?}");
    assert!(String::from_utf8_lossy(&ran.stderr).contains("File too large"), "{ran:?}");
    broker.run();
    assert!(!broker.log().contains("damaged"), "{}", broker.log());
}
