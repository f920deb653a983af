//! What survives, and what a store that fails does.

use std::{collections::VecDeque, sync::mpsc};

use hearth_core::{Answer, KnownPrefix, Memory, QoS, Reply, RequestKey};

use super::{disk::Disk, writer::Pending, *};

fn memory() -> Memory {
    Memory { prefix: Some(KnownPrefix { prefix: None }), ..Memory::default() }
}

#[test]
fn what_was_put_is_there_after_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let (sender, events) = mpsc::channel();
    let (store, contents) =
        Store::open(folder.path(), move |event| sender.send(event).unwrap()).unwrap();
    assert_eq!(contents.kept.memory, Memory::default());
    store.put(6, Change::Device { device: "lamp".into(), state: "on".into() });
    store.put(7, Change::Memory(memory()));
    let stored = events.recv_timeout(Duration::from_secs(10)).unwrap();
    assert_eq!(stored, StoreEvent::Stored { revision: 7 });
    store.close();
    let (_store, contents) = Store::open(folder.path(), |_| {}).unwrap();
    assert_eq!(contents.kept.memory, memory());
    assert_eq!(contents.devices["lamp"], b"on");
}

#[test]
fn a_file_that_is_no_store_is_put_aside() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join(FILE), b"this is not a database, whatever it says").unwrap();
    let (_store, contents) = Store::open(folder.path(), |_| {}).unwrap();
    assert_eq!(contents.kept.memory, Memory::default());
    assert!(folder.path().join("state.corrupt").exists());
}

#[test]
fn a_store_in_use_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (_store, _) = Store::open(folder.path(), |_| {}).unwrap();
    let error = Store::open(folder.path(), |_| {}).unwrap_err();
    assert!(matches!(error, StoreError::InUse(_)), "{error}");
}

pub(super) fn record(n: u32, expires: Option<Duration>) -> Record {
    let key = RequestKey::Correlated {
        account: None,
        response_topic: "alice/response/phone/lamp".into(),
        correlation_data: n.to_be_bytes().to_vec().into(),
    };
    Record {
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

fn journal_after(changes: impl IntoIterator<Item = Change>) -> Vec<Record> {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(folder.path(), |_| {}).unwrap();
    for (revision, change) in (1..).zip(changes) {
        store.put(revision, change);
    }
    store.close();
    Store::open(folder.path(), |_| {}).unwrap().1.kept.journal
}

#[test]
fn the_journal_keeps_what_was_put_and_not_what_was_forgotten() {
    let (one, two) = (record(1, Some(Duration::from_secs(9))), record(2, None));
    let changed = Record { delivered: true, ..one.clone() };
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
    let (store, _) = Store::open(folder.path(), report).unwrap();
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

fn journal_on(card: Disk) -> Vec<Record> {
    read(&disk::open(card).unwrap(), None).unwrap().0.kept.journal
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
    assert!(is_damaged(&damaged) && !damaged.may_pass());
    assert!(!is_damaged(&folder(io::ErrorKind::StorageFull)), "what is whole is not put aside");
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
