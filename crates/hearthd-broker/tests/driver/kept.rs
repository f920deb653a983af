//! What SIGKILL leaves.

use std::collections::BTreeSet;

use crate::{
    broker::Broker,
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
