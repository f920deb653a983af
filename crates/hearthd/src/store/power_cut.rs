//! What a power cut at any moment leaves: always a store that opens, with what was durable.

use hearth_core::{Answer, KnownPrefix, Memory, QoS, Reply, RequestKey};

use super::{
    disk::{Disk, Step, open},
    writer::Pending,
    *,
};

/// A change of every table that is like no other.
fn revision(n: u8) -> Pending {
    let mut pending = Pending::default();
    let prefix = hearth_core::topic::Prefix::parse(&format!("home-{n}")).unwrap();
    let prefix = Some(KnownPrefix { prefix: Some(prefix) });
    pending.change(Change::Memory(Memory { prefix, ..Memory::default() }));
    let key = |n| RequestKey::Packet(n);
    pending.change(Change::Record(Record {
        key: key(n.into()),
        content: n.into(),
        device: "lamp".into(),
        property: "power".into(),
        reply: Reply {
            response_topic: Some("alice/response/phone/lamp".into()),
            correlation_data: None,
            qos: QoS::AtLeastOnce,
            expires: None,
        },
        // Of all sizes, so that pages split and the file grows.
        answer: Some(Answer::text("x".repeat(usize::from(n) * 400))),
        delivered: false,
        answered_at: None,
        names: Vec::new(),
    }));
    if n > 6 {
        pending.change(Change::Forget(key(u16::from(n) - 6)));
    }
    pending
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
    read(database, None).unwrap().0
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
                    assert!(is_damaged(&StoreError::Open { path: FILE.into(), source }));
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

const REVISIONS: u8 = 16;
const SEEDS: u64 = 6;
const SECTOR: usize = 512;
