//! What survives, and what a store that fails does.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::mpsc,
};

use hearthd_core::{
    Announced, Answer, JournalRecord, KnownPrefix, Memory, QoS, Reply, RequestKey, Served,
};
use redb::{Database, ReadableDatabase as _, ReadableTable as _, TableHandle as _};

use super::{disk::Disk, pending::Pending, *};

fn memory() -> Memory {
    Memory { prefix: Some(KnownPrefix { prefix: None }), ..Memory::default() }
}

#[test]
fn what_was_put_is_there_after_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let (sender, events) = mpsc::channel();
    let (store, contents) =
        Store::open(folder.path(), |_| true, move |event| sender.send(event).unwrap()).unwrap();
    assert_eq!(contents.kept.memory, Memory::default());
    store.put(6, Change::Device { device: "lamp".into(), state: "on".into() });
    store.put(7, Change::Memory(memory()));
    let stored = events.recv_timeout(Duration::from_secs(10)).unwrap();
    assert_eq!(stored, StoreEvent::Stored { revision: 7 });
    store.close();
    let (_store, contents) = Store::open(folder.path(), |_| true, |_| {}).unwrap();
    assert_eq!(contents.kept.memory, memory());
    assert_eq!(contents.devices["lamp"], b"on");
}

#[test]
fn a_file_that_is_no_store_is_put_aside() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join(FILE), b"this is not a database, whatever it says").unwrap();
    let (_store, contents) = Store::open(folder.path(), |_| true, |_| {}).unwrap();
    assert_eq!(contents.kept.memory, Memory::default());
    assert!(folder.path().join("state.corrupt").exists());
}

#[test]
fn a_byte_that_has_changed_on_the_card_is_noticed_wherever_it_is() {
    let card = Disk::default();
    let (store, next) = start(Ok(disk::open(card.clone()).unwrap()), &card);
    for n in 1..40 {
        store.put(n.into(), Change::Record(record(n, None)));
    }
    store.put(40, Change::Device { device: "lamp".into(), state: b"bright"[..].into() });
    while next() != (StoreEvent::Stored { revision: 40 }) {}
    store.close();
    let whole = card.image();
    let contents = |image| -> Result<Contents, redb::Error> {
        let database = disk::open(Disk::with(image))?;
        Ok(read(&database, None).map(|read| read.contents).expect("an intact file can be read"))
    };
    let expected = contents(whole.clone()).unwrap();
    let value = whole.windows(6).rposition(|bytes| bytes == b"bright").unwrap();
    let mut noticed = 0;
    for place in (0..whole.len()).step_by(997).chain([value + 3]) {
        let mut image = whole.clone();
        image[place] ^= 0x10;
        match contents(image) {
            Ok(contents) => assert_eq!(contents, expected, "byte {place} of {}", whole.len()),
            Err(error) => {
                let error = StoreError::Open { path: FILE.into(), source: Box::new(error) };
                assert!(error.is_damage(), "byte {place}: {error}");
                noticed += 1;
            }
        }
    }
    assert!(noticed > 0, "a byte of a value is noticed");
}

/// Makes a store as a newer version may leave it.
fn change_as_a_newer_version(folder: &Path, change: impl FnOnce(&redb::WriteTransaction)) {
    let (store, _) = Store::open(folder, |_| true, |_| {}).unwrap();
    store.put(1, Change::Memory(memory()));
    store.close();
    let database = Database::open(folder.join(FILE)).unwrap();
    let transaction = database.begin_write().unwrap();
    change(&transaction);
    transaction.commit().unwrap();
}

#[test]
fn a_store_of_a_newer_version_is_put_aside_and_never_misread() {
    let folder = tempfile::tempdir().unwrap();
    change_as_a_newer_version(folder.path(), |transaction| {
        transaction.open_table(HUB).unwrap().insert(FORMAT, &b"2"[..]).unwrap();
    });
    let (store, contents) = Store::open(folder.path(), |_| true, |_| {}).unwrap();
    assert_eq!(contents, Contents::default());
    store.close();
    assert!(folder.path().join("state.newer").exists());
    // The same by a table that nobody knows here, and by one of other types.
    const NEWER: TableDefinition<'_, &str, &str> = TableDefinition::new("journal-9");
    const OTHER: TableDefinition<'_, u64, u64> = TableDefinition::new("served");
    change_as_a_newer_version(folder.path(), |transaction| {
        transaction.open_table(NEWER).unwrap().insert("a", "b").unwrap();
    });
    let database = Database::open(folder.path().join(FILE)).unwrap();
    let error = read(&database, None).err().unwrap().to_string();
    assert_eq!(error, "a newer version of hearthd has written it: it has a table \"journal-9\"");
    drop(database);
    let (store, contents) = Store::open(folder.path(), |_| true, |_| {}).unwrap();
    assert_eq!(contents, Contents::default());
    store.close();
    assert!(folder.path().join("state.newer-2").exists());
    change_as_a_newer_version(folder.path(), |transaction| {
        transaction.delete_table(SERVED).unwrap();
        transaction.open_table(OTHER).unwrap().insert(1, 2).unwrap();
    });
    Store::open(folder.path(), |_| true, |_| {}).unwrap().0.close();
    assert!(folder.path().join("state.newer-3").exists());
}

#[test]
fn what_a_later_version_adds_within_the_format_is_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    change_as_a_newer_version(folder.path(), |transaction| {
        let mut table = transaction.open_table(HUB).unwrap();
        let known = table.get(MEMORY).unwrap().unwrap().value().to_vec();
        let mut known: serde_json::Value = serde_json::from_slice(&known).unwrap();
        known["moods"] = serde_json::json!({"hub": "glad"});
        table.insert(MEMORY, known.to_string().as_bytes()).unwrap();
        table.insert("weather", &b"fine"[..]).unwrap();
    });
    let (_store, contents) = Store::open(folder.path(), |_| true, |_| {}).unwrap();
    assert_eq!(contents.kept.memory, memory());
}

#[test]
fn what_was_announced_is_known_in_the_next_life_until_it_is_withdrawn() {
    let folder = tempfile::tempdir().unwrap();
    let open = || Store::open(folder.path(), |_| true, |_| {}).unwrap();
    let announced = |topic: &str, digest| Announced {
        topic: topic.into(),
        digest,
        parts: BTreeMap::from([("light_light".into(), "light".into())]),
        start: Some("homeassistant/status".into()),
    };
    let (store, _) = open();
    store.put(1, Change::Announced(announced("a", None)));
    store.put(2, Change::Announced(announced("b", None)));
    store.put(3, Change::Announced(announced("a", Some(u64::MAX))));
    store.close();
    let (store, contents) = open();
    let expected = [announced("a", Some(u64::MAX)), announced("b", None)];
    assert_eq!(contents.kept.announced, expected);
    store.put(1, Change::Withdrawn("a".into()));
    store.close();
    let (_store, contents) = open();
    assert_eq!(contents.kept.announced, [announced("b", None)]);
}

#[test]
fn a_devices_state_is_forgotten_once_a_life_without_it_has_taken_all_of_it_back() {
    let folder = tempfile::tempdir().unwrap();
    let open = |configured: &'static [&str]| {
        let is_configured = |id: &str| configured.contains(&id);
        Store::open(folder.path(), is_configured, |_| {}).unwrap()
    };
    let both: &[_] = &["heater", "lamp"];
    let device = |id: &str| Change::Device { device: id.into(), state: "on".into() };
    let served = |id: &str| Served {
        device: id.into(),
        properties: BTreeSet::from(["power".into()]),
        ..Served::default()
    };
    let known = |contents: Contents| contents.devices.into_keys().collect::<Vec<_>>();
    let (store, _) = open(both);
    for id in both {
        store.put(1, device(id));
        store.put(1, Change::Served(served(id)));
    }
    store.close();
    // The life without it, which begins with something left at the broker.
    let (store, contents) = open(&["heater"]);
    assert_eq!(known(contents), both);
    store.put(1, Change::Unserved("lamp".into()));
    store.close();
    // It would still be there for a person who has changed their mind.
    let (store, contents) = open(both);
    assert_eq!(known(contents), both);
    store.close();
    let (store, contents) = open(&["heater"]);
    assert_eq!(known(contents), ["heater"]);
    store.close();
    let (_store, contents) = open(both);
    assert_eq!(known(contents), ["heater"]);
}

#[test]
fn what_is_remembered_of_added_devices_is_known_in_the_next_life_until_there_are_none() {
    let folder = tempfile::tempdir().unwrap();
    let open = || Store::open(folder.path(), |_| true, |_| {}).unwrap();
    let children = |children: &'static str| Change::Children {
        device: "bridge".into(),
        children: children.into(),
    };
    let (store, _) = open();
    store.put(1, children("hall"));
    store.put(2, children("hall porch"));
    store.close();
    let (store, contents) = open();
    assert_eq!(contents.children["bridge"], b"hall porch");
    store.put(1, children(""));
    store.close();
    let (store, contents) = open();
    assert!(contents.children.is_empty(), "{contents:?}");
    store.close();
}

#[test]
fn a_read_that_fails_says_nothing_about_the_store() {
    use rustix::io::Errno;
    let card = Disk::default();
    let (store, next) = start(Ok(disk::open(card.clone()).unwrap()), &card);
    // More than is cached.
    for n in 1..200 {
        let answer = Some(Answer::text("x".repeat(4000)));
        store.put(n.into(), Change::Record(JournalRecord { answer, ..record(n, None) }));
    }
    while next() != (StoreEvent::Stored { revision: 199 }) {}
    store.close();
    for errno in [Errno::IO, Errno::AGAIN, Errno::MFILE, Errno::NOMEM] {
        let copy = Disk::with(card.image());
        let database = disk::open(copy.clone()).unwrap();
        copy.fail_reads(Some(errno));
        let source = match read(&database, None) {
            Err(Unreadable::OutOfReach(source)) => source,
            Err(other) => panic!("{errno}: {other:?}"),
            Ok(_) => panic!("{errno}: it was read"),
        };
        let error = StoreError::Open { path: FILE.into(), source: Box::new(source) };
        assert!(error.may_pass() && error.is_shortage() && !error.is_damage(), "{error}");
        drop(database);
        copy.fail_reads(None);
        assert_eq!(journal_on(copy).len(), 199, "{errno}");
    }
}

#[test]
fn a_store_in_use_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (_store, _) = Store::open(folder.path(), |_| true, |_| {}).unwrap();
    let error = Store::open(folder.path(), |_| true, |_| {}).unwrap_err();
    assert!(matches!(error, StoreError::InUse(_)), "{error}");
}

pub(super) fn record(n: u32, expires: Option<Duration>) -> JournalRecord {
    let key = RequestKey::Correlated {
        account: None,
        content: n.into(),
        response_topic: "alice/response/phone/lamp".into(),
        correlation_data: n.to_be_bytes().to_vec().into(),
    };
    JournalRecord {
        key,
        content: n.into(),
        device: "lamp".into(),
        property: "power".into(),
        reply: Reply {
            response_topic: Some("alice/response/phone/lamp".into()),
            correlation_data: Some(n.to_be_bytes().to_vec().into()),
            qos: QoS::AtLeastOnce,
            expires,
        },
        answer: Some(Answer::text("ON")),
        delivered: false,
        answered_at: None,
        names: Vec::new(),
    }
}

fn journal_after(changes: impl IntoIterator<Item = Change>) -> Vec<JournalRecord> {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(folder.path(), |_| true, |_| {}).unwrap();
    for (revision, change) in (1..).zip(changes) {
        store.put(revision, change);
    }
    store.close();
    Store::open(folder.path(), |_| true, |_| {}).unwrap().1.kept.journal
}

#[test]
fn the_journal_keeps_what_was_put_and_not_what_was_forgotten() {
    let (one, two) = (record(1, Some(Duration::from_secs(9))), record(2, None));
    let changed = JournalRecord { delivered: true, ..one.clone() };
    let journal = journal_after([
        Change::Memory(memory()),
        Change::Record(one),
        Change::Record(two.clone()),
        Change::Record(changed.clone()),
        Change::Forget(two.key),
    ]);
    assert_eq!(journal, [changed]);
}

#[test]
fn requesters_of_an_earlier_boot_have_gone() {
    // No memory was written, so the file does not know the boot.
    let journal = journal_after([Change::Record(record(1, Some(Duration::from_secs(9))))]);
    assert_eq!(journal, [record(1, Some(Duration::ZERO))]);
}

#[test]
fn the_file_stays_bounded_however_many_requests_come_and_go() {
    let folder = tempfile::tempdir().unwrap();
    let (sender, revisions) = mpsc::channel();
    let report = move |event| match event {
        StoreEvent::Stored { revision } => sender.send(revision).unwrap(),
        StoreEvent::Failed { error, .. } => panic!("{error}"),
    };
    let (store, _) = Store::open(folder.path(), |_| true, report).unwrap();
    let mut revision = 0;
    for round in 0..60 {
        for n in 0..1000 {
            revision += 1;
            store.put(revision, Change::Record(record(round * 1000 + n, None)));
        }
        while revisions.recv_timeout(Duration::from_secs(30)).unwrap() < revision {}
        for n in 0..1000 {
            revision += 1;
            store.put(revision, Change::Forget(record(round * 1000 + n, None).key));
        }
    }
    store.close();
    let size = fs::metadata(folder.path().join(FILE)).unwrap().len();
    assert!(size <= 4 * 1024 * 1024, "{size} bytes");
}

/// Starts a store on a card, which tries again soon.
fn start(
    database: Result<Database, String>,
    card: &Disk,
) -> (Store, impl Fn() -> StoreEvent + use<>) {
    let card = card.clone();
    let opener = move || {
        disk::open(card.clone())
            .map_err(|error| StoreError::Open { path: FILE.into(), source: Box::new(error.into()) })
    };
    let opened =
        database.map(|database| Opened { database, rows: Rows::default(), is_of_before: false });
    let mut writer = Writer::new(opened, Box::new(opener), None, &[]);
    writer.retry_interval = Duration::from_millis(20);
    let (sender, events) = mpsc::channel();
    let store = Store::start(writer, move |event| sender.send(event).unwrap());
    (store, move || events.recv_timeout(Duration::from_secs(10)).unwrap())
}

fn journal_on(card: Disk) -> Vec<JournalRecord> {
    read(&disk::open(card).unwrap(), None).unwrap().contents.kept.journal
}

#[test]
fn a_full_card_is_reported_and_nothing_is_lost_once_there_is_room_again() {
    let card = Disk::default();
    let (store, next) = start(Ok(disk::open(card.clone()).unwrap()), &card);
    store.put(1, Change::Record(record(1, None)));
    assert_eq!(next(), StoreEvent::Stored { revision: 1 });
    card.set_full(true);
    for n in 2..5 {
        store.put(n.into(), Change::Record(record(n, None)));
        let StoreEvent::Failed { revision, error } = next() else { panic!("no room") };
        assert_eq!(revision, u64::from(n));
        assert!(error.contains("no storage space"), "{error}");
    }
    card.set_full(false);
    assert_eq!(next(), StoreEvent::Stored { revision: 4 }, "by itself");
    store.close();
    assert_eq!(journal_on(card), (1..5).map(|n| record(n, None)).collect::<Vec<_>>());
}

#[test]
fn a_card_that_is_full_at_the_start_is_waited_for_and_its_journal_is_of_no_use_then() {
    let card = Disk::default();
    let (store, next) = start(Ok(disk::open(card.clone()).unwrap()), &card);
    store.put(1, Change::Record(record(1, None)));
    assert_eq!(next(), StoreEvent::Stored { revision: 1 });
    store.close();
    card.set_full(true);
    let (store, next) = start(Err("no room".into()), &card);
    let failed = |revision| StoreEvent::Failed { revision, error: "no room".into() };
    assert_eq!(next(), failed(0));
    store.put(1, Change::Record(record(2, None)));
    let StoreEvent::Failed { revision: 1, .. } = next() else { panic!("still no room") };
    card.set_full(false);
    assert_eq!(next(), StoreEvent::Stored { revision: 1 });
    store.close();
    assert_eq!(journal_on(card), [record(2, None)]);
}

#[test]
fn what_a_full_card_has_left_of_a_new_file_is_put_aside() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(FILE);
    let mut writer = Writer::new(Err("no room".into()), opener(folder.path(), &file), None, &[]);
    writer.retry_interval = Duration::from_millis(20);
    fs::write(&file, "half a").unwrap();
    let (sender, events) = mpsc::channel();
    let store = Store::start(writer, move |event| sender.send(event).unwrap());
    let next = || events.recv_timeout(Duration::from_secs(10)).unwrap();
    assert_eq!(next(), StoreEvent::Failed { revision: 0, error: "no room".into() });
    assert_eq!(next(), StoreEvent::Stored { revision: 0 });
    store.close();
    assert!(folder.path().join("state.corrupt").exists());
}

#[test]
fn only_what_may_pass_by_itself_is_waited_for() {
    let folder =
        |kind: io::ErrorKind| StoreError::Folder { path: FILE.into(), source: kind.into() };
    assert!(folder(io::ErrorKind::StorageFull).may_pass());
    assert!(folder(io::ErrorKind::ReadOnlyFilesystem).may_pass());
    assert!(!folder(io::ErrorKind::PermissionDenied).may_pass(), "a person has to act");
    assert!(!StoreError::InUse(FILE.into()).may_pass());
    let damaged = redb::Error::Io(io::ErrorKind::InvalidData.into());
    let damaged = StoreError::Open { path: FILE.into(), source: Box::new(damaged) };
    assert!(damaged.is_damage() && !damaged.may_pass());
    assert!(!folder(io::ErrorKind::StorageFull).is_damage(), "what is whole is not put aside");
}

#[test]
fn a_write_touches_few_pages_however_scattered_its_keys_are() {
    let card = Disk::default();
    let database = disk::open(card.clone()).unwrap();
    let (mut rows, mut keys) = (Rows::default(), VecDeque::new());
    let mut random = fastrand::Rng::with_seed(1);
    let mut write = |requests| {
        let mut pending = Pending::default();
        for _ in 0..requests {
            let record = record(random.u32(..), None);
            keys.push_back(record.key.clone());
            pending.change(Change::Record(record));
            if keys.len() > 2048 {
                pending.change(Change::Forget(keys.pop_front().unwrap()));
            }
        }
        pending.write_to(&database, &mut rows, None).unwrap();
    };
    (0..40).for_each(|_| write(64));
    let before = written(&card);
    (0..40).for_each(|_| write(64));
    let each = (written(&card) - before) / (40 * 64);
    assert!(each <= 1000, "{each} bytes for a request of some 130 bytes");
}

fn written(card: &Disk) -> usize {
    let size = |step: &disk::Step| match step {
        disk::Step::Write { data, .. } => data.len(),
        disk::Step::Resize(_) | disk::Step::Sync => 0,
    };
    card.steps().iter().map(size).sum()
}

#[test]
fn the_filters_of_a_device_are_kept_until_it_has_none() {
    let folder = tempfile::tempdir().unwrap();
    let open = || Store::open(folder.path(), |_| true, |_| {}).unwrap();
    let served = |filters: &[&str]| Served {
        device: "lamp".into(),
        properties: BTreeSet::from(["power".into()]),
        filters: filters.iter().map(|filter| (*filter).into()).collect(),
    };
    for filters in [&["z/lamp", "z/+/set"][..], &["z/lamp"], &[]] {
        let (store, _) = open();
        store.put(1, Change::Served(served(filters)));
        store.close();
        let (store, contents) = open();
        assert_eq!(contents.kept.served, [served(filters)]);
        store.close();
    }
    let (store, _) = open();
    store.put(1, Change::Served(served(&["z/lamp"])));
    store.put(2, Change::Unserved("lamp".into()));
    store.close();
    assert_eq!(open().1.kept.served, []);
}

#[test]
fn a_table_that_not_every_version_knows_is_gone_once_it_is_empty() {
    let folder = tempfile::tempdir().unwrap();
    let tables = |changes: Vec<Change>| -> Vec<String> {
        let (store, _) = Store::open(folder.path(), |_| true, |_| {}).unwrap();
        for (revision, change) in (1..).zip(changes) {
            store.put(revision, change);
        }
        store.close();
        let database = Database::open(folder.path().join(FILE)).unwrap();
        let transaction = database.begin_read().unwrap();
        let tables = transaction.list_tables().unwrap();
        let newer = [FILTERS.name(), ANNOUNCED.name(), CHILDREN.name()];
        tables
            .map(|table| table.name().to_owned())
            .filter(|name| newer.contains(&&**name))
            .collect()
    };
    let (topic, parts) = ("found/lamp".to_owned(), BTreeMap::new());
    let announced = Announced { topic: topic.clone(), digest: None, parts, start: None };
    let served = |filters: &[&str]| {
        let filters = filters.iter().map(|filter| (*filter).into()).collect();
        Change::Served(Served { device: "lamp".into(), filters, ..Served::default() })
    };
    let added = |children: &'static str| Change::Children {
        device: "bridge".into(),
        children: children.into(),
    };
    let there = tables(vec![Change::Announced(announced), served(&["z/lamp"]), added("hall")]);
    assert_eq!(there, ["announced", "children", "filters"]);
    assert_eq!(tables(vec![Change::Withdrawn(topic), served(&[]), added("")]), [""; 0]);
}
