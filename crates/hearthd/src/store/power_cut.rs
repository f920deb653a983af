//! Simulates a power cut at any moment: the store always opens, with everything that was synced.

use hearthd_core::{Answer, JournalRecord, KnownPrefix, Memory, QoS, Reply, RequestKey};
use redb::Database;

use super::{
    contents::read_rows,
    disk::{Disk, Step, open},
    pending::Pending,
    *,
};

/// A change of every table that is like no other.
fn revision(n: u8) -> Pending {
    let mut pending = Pending::default();
    let prefix = hearthd_core::topic::Prefix::parse(&format!("home-{n}")).unwrap();
    let prefix = Some(KnownPrefix { prefix: Some(prefix) });
    pending.change(Change::Memory(Memory { prefix, ..Memory::default() }));
    // Of all sizes, so that pages split and the file grows.
    pending.change(Change::Record(record(n, "x".repeat(usize::from(n) * 400))));
    pending.change(Change::Device { device: "lamp".into(), state: vec![n; 100].into() });
    if n > 6 {
        pending.change(Change::Forget(RequestKey::Packet(u16::from(n) - 6)));
    }
    pending
}

fn record(n: u8, answer: String) -> JournalRecord {
    JournalRecord {
        key: RequestKey::Packet(n.into()),
        content: n.into(),
        device: "lamp".into(),
        property: "power".into(),
        reply: Reply {
            response_topic: Some("alice/response/phone/lamp".into()),
            correlation_data: None,
            qos: QoS::AtLeastOnce,
            expires: None,
        },
        answer: Some(Answer::text(answer)),
        delivered: false,
        answered_at: None,
        names: Vec::new(),
    }
}

/// Does what a power cut may do to the steps that were not synced: each is done, lost, or done in part; with the
/// first seed all are done, with the second none.
fn cut(durable: &[Step], unsynced: &[Step], seed: u64) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut image = Vec::new();
    durable.iter().for_each(|step| step.apply(&mut image, usize::MAX));
    for step in unsynced {
        let most = match (seed, random.u8(..4)) {
            (0, _) | (2.., 0 | 1) => usize::MAX,
            (1, _) | (2.., 2) => continue,
            (2.., _) => SECTOR * random.usize(..8),
        };
        step.apply(&mut image, most);
    }
    image
}

fn contents(database: &Database) -> Contents {
    read(database, None).unwrap().contents
}

#[test]
fn whenever_the_power_goes_the_store_opens_with_what_was_durable() {
    let disk = Disk::default();
    let database = open(disk.clone()).unwrap();
    // What the store holds once so many steps are done.
    let mut committed = vec![(0, contents(&database))];
    let mut rows = read_rows(&database).unwrap();
    for n in 1..=REVISIONS {
        revision(n).write_to(&database, &mut rows, None).unwrap();
        committed.push((disk.steps().len(), contents(&database)));
    }
    drop(database);
    let steps = disk.steps();
    let mut in_flight = 0;
    for end in 0..=steps.len() {
        let synced = steps[..end].iter().rposition(|step| matches!(step, Step::Sync));
        let (durable, unsynced) = steps[..end].split_at(synced.map_or(0, |sync| sync + 1));
        let oldest = committed.iter().rposition(|(after, _)| *after <= end).unwrap();
        for seed in 0..SEEDS {
            let found = match open(Disk::with(cut(durable, unsynced, seed))) {
                Ok(database) => {
                    let found = contents(&database);
                    let mut rows = read_rows(&database).unwrap();
                    revision(u8::MAX).write_to(&database, &mut rows, None).unwrap();
                    found
                }
                Err(error) => {
                    // The file was never whole yet: it is put aside, and nothing is lost with it.
                    let source = Box::new(error.into());
                    assert!(StoreError::Open { path: FILE.into(), source }.is_damage());
                    Contents::default()
                }
            };
            let newer = committed[oldest..].iter().take(2).position(|(_, held)| *held == found);
            let what = format!("cut after step {end} of {}, seed {seed}: {found:?}", steps.len());
            in_flight += newer.expect(&what);
        }
    }
    assert!(in_flight > 0, "some cuts let through what was being written");
}

/// However what is put one after the other falls into transactions.
#[test]
fn whenever_the_power_goes_no_answer_is_there_without_the_state_that_it_tells_of() {
    let disk = Disk::default();
    let opened = Opened {
        database: open(disk.clone()).unwrap(),
        rows: Rows::default(),
        is_of_before: false,
    };
    let opener = || unreachable!("the disk does not fail");
    let (sender, stored) = std::sync::mpsc::channel();
    let store = Store::start(Writer::new(Ok(opened), Box::new(opener), None, &[]), move |event| {
        sender.send(event).unwrap()
    });
    let mut revision = 0;
    let mut put = |change| {
        revision += 1;
        store.put(revision, change);
        revision
    };
    for n in 1..=REVISIONS {
        put(Change::Device { device: "lamp".into(), state: vec![n].into() });
        let record = record(n, n.to_string());
        let last = put(if n % 2 == 0 { Change::Record(record) } else { Change::Answer(record) });
        // Some come while the store writes what was before, and some do not.
        if n % 3 == 0 {
            let next = || stored.recv_timeout(Duration::from_secs(10)).unwrap();
            while next() != (StoreEvent::Stored { revision: last }) {}
        }
    }
    store.close();
    let steps = disk.steps();
    let mut answers = 0;
    for end in 0..=steps.len() {
        let synced = steps[..end].iter().rposition(|step| matches!(step, Step::Sync));
        let (durable, unsynced) = steps[..end].split_at(synced.map_or(0, |sync| sync + 1));
        for seed in 0..SEEDS {
            let Ok(database) = open(Disk::with(cut(durable, unsynced, seed))) else { continue };
            let found = contents(&database);
            let told = found.kept.journal.iter().map(|record| record.content).max().unwrap_or(0);
            let state = found.devices.get("lamp").map_or(0, |state| u64::from(state[0]));
            assert!(
                told <= state,
                "cut after step {end}, seed {seed}: {told}, and {state} is there"
            );
            answers = answers.max(told);
        }
    }
    assert_eq!(answers, u64::from(REVISIONS));
}

const REVISIONS: u8 = 16;
const SEEDS: u64 = 6;
const SECTOR: usize = 512;
