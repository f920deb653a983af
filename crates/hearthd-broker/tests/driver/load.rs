//! What strangers, sleepers and floods cost: figures, each with its bound.

use std::{
    net::TcpStream,
    time::{Duration, Instant},
};

use crate::{
    broker::Broker,
    raw::{Raw, connect, packet, publish, text},
};

/// The bound on the resident memory, in KiB.
const MOST: u64 = 64 * 1024;

#[test]
fn whatever_clients_do_the_broker_stays_small_and_serves_the_others() {
    let files = rustix::process::Resource::Nofile;
    let mut limit = rustix::process::getrlimit(files);
    limit.current = limit.maximum;
    let _ = rustix::process::setrlimit(files, limit);
    let broker = Broker::start_with("[limits]\nsessions = 20000\nsessions_of_account = 20000");
    let mut table = vec![("idle".to_owned(), broker.resident(), broker.peak(), Duration::ZERO)];
    let mut play = |name: &str, harm: &mut dyn FnMut(&Broker) -> Vec<Raw>| {
        let begin = broker.processor_time();
        let held = harm(&broker);
        let answer = answer_time(&broker);
        let spent = broker.processor_time() - begin;
        println!(
            "{name:<44} {:>8} KiB {:>8} KiB {answer:>10.1?} {spent:>8.1?}",
            broker.resident(),
            broker.peak()
        );
        table.push((name.to_owned(), broker.resident(), broker.peak(), answer));
        drop(held);
    };
    println!("{:<44} {:>12} {:>12} {:>10} {:>8}", "", "resident", "peak", "answer", "CPU");
    play("40 CONNECTs of 4 MiB of properties", &mut large_connects);
    play("2,000 idle sockets", &mut idle_sockets);
    play("100 kB messages to one that does not read", &mut sleeping_reader);
    play("floods of QoS 2 without PUBREL", &mut floods);
    play("10,000 sessions", &mut many_sessions);
    play("100,000 retained topics", &mut many_retained);
    for (name, resident, peak, answer) in table {
        assert!(peak < MOST, "{name}: {resident} KiB, peak {peak} KiB");
        assert!(answer < Duration::from_secs(2), "{name}: answer after {answer:?}");
    }
    let log = broker.log().len();
    assert!(log < 64 * 1024, "{log} bytes of log");
    let disk: u64 = std::fs::read_dir(broker.folder.path().join("storage"))
        .unwrap()
        .map(|file| file.unwrap().metadata().unwrap().len())
        .sum();
    println!("log {log} bytes, disk {} KiB", disk / 1024);
    assert!(disk < 128 * 1024 * 1024, "{disk} bytes on disk");
}

/// Returns how long a message takes to come back.
fn answer_time(broker: &Broker) -> Duration {
    let begin = Instant::now();
    let mut client = loop {
        let mut raw = broker.raw();
        let sent = raw.try_send(&connect("asks", "old", "secret", 0));
        if let (Ok(()), Ok((0x20, body))) = (sent, raw.receive()) {
            assert_eq!(body[1], 0);
            break raw;
        }
        assert!(begin.elapsed() < Duration::from_secs(10));
        std::thread::sleep(Duration::from_millis(20));
    };
    client.subscribe("home/answer");
    client.send(&publish("home/answer", b"here", 1, false));
    loop {
        let (first, _) = client.receive().unwrap();
        if first >> 4 == 3 {
            return begin.elapsed();
        }
    }
}

fn large_connects(broker: &Broker) -> Vec<Raw> {
    let user = [&[0x26][..], &text(&"n".repeat(1_000)), &text(&"v".repeat(1_000))].concat();
    let properties = user.repeat(2_000);
    let mut body = [&text("MQTT")[..], &[5, 2, 0, 0]].concat();
    let mut length = properties.len();
    while length > 0x7F {
        body.push(length as u8 | 0x80);
        length >>= 7;
    }
    body.push(length as u8);
    body.extend(&properties);
    let large = packet(0x10, &body);
    let send = |_| {
        let mut raw = broker.raw();
        // It is refused long before its end.
        let _ = raw.try_send(&large);
        raw
    };
    let mut held: Vec<Raw> = (0..40).map(send).collect();
    // As large as may be, and never whole.
    for _ in 0..200 {
        let mut raw = broker.raw();
        let _ = raw.try_send(&[&[0x10, 0xF0, 0xFF, 0x03][..], &body[..60_000]].concat());
        held.push(raw);
    }
    held
}

fn idle_sockets(broker: &Broker) -> Vec<Raw> {
    let open = |_| TcpStream::connect(("127.0.0.1", broker.port)).ok();
    let held = (0..2_000).filter_map(open).map(|stream| Raw { stream }).collect();
    std::thread::sleep(Duration::from_secs(1));
    held
}

fn sleeping_reader(broker: &Broker) -> Vec<Raw> {
    let mut held = Vec::new();
    for number in 0..10 {
        let mut reader = broker.raw();
        reader.send(&connect(&format!("sleeper-{number}"), "old", "secret", 3_600));
        reader.expect_connack(0);
        reader.subscribe("home/large/#");
        held.push(reader);
    }
    let mut writer = broker.client("old", "writer");
    let payload = vec![b'x'; 100_000];
    for number in 1..=400 {
        writer.send(&publish("home/large/x", &payload, number, false));
        writer.expect(0x40);
    }
    held
}

fn floods(broker: &Broker) -> Vec<Raw> {
    let mut held = Vec::new();
    for number in 0..50 {
        let mut raw = broker.raw();
        raw.send(&connect(&format!("flood-{number}"), "old", "secret", 600));
        raw.expect_connack(0);
        for id in 1..=1_000_u16 {
            let mut message = publish("home/flood", &[b'x'; 1_000], id, false);
            message[0] = 0x34;
            if raw.try_send(&message).is_err() {
                break;
            }
        }
        held.push(raw);
    }
    held
}

fn many_sessions(broker: &Broker) -> Vec<Raw> {
    for group in 0..100 {
        let opened: Vec<Raw> = (0..100)
            .map(|number| {
                let mut raw = broker.raw();
                raw.send(&connect(&format!("session-{group}-{number}"), "old", "secret", 3_600));
                raw
            })
            .collect();
        for mut raw in opened {
            raw.expect_connack(0);
        }
    }
    Vec::new()
}

fn many_retained(broker: &Broker) -> Vec<Raw> {
    let mut writer = broker.client("old", "keeper");
    let mut bytes = Vec::new();
    for number in 0..100_000 {
        bytes.extend(publish(&format!("home/retained/{number}"), b"state", 0, true));
        if bytes.len() > 60_000 {
            writer.send(&bytes);
            bytes.clear();
        }
    }
    writer.send(&bytes);
    writer.send(&packet(0xC0, &[]));
    writer.expect(0xD0);
    vec![writer]
}
