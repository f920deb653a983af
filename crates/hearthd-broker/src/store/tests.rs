use super::*;

fn change(key: &[u8], value: Option<&[u8]>) -> Change {
    Change { table: Table::Retained, key: key.to_vec(), value: value.map(<[u8]>::to_vec) }
}

#[test]
fn what_was_written_is_there_when_it_is_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let (store, records) = Store::open(folder.path()).unwrap();
    assert!(records.is_empty());
    store.write(&[change(b"a", Some(b"1")), change(b"b", Some(b"2"))]).unwrap();
    store.write(&[change(b"a", None)]).unwrap();
    drop(store);
    let (_, records) = Store::open(folder.path()).unwrap();
    assert_eq!(records, [(Table::Retained, b"b".to_vec(), b"2".to_vec())]);
}

#[test]
fn a_file_that_is_no_store_is_put_aside() {
    let folder = tempfile::tempdir().unwrap();
    for damage in [&b"this is no store"[..], &[0; 5_000], b""] {
        std::fs::write(folder.path().join(FILE), damage).unwrap();
        let (store, records) = Store::open(folder.path()).unwrap();
        assert!(records.is_empty());
        store.write(&[change(b"a", Some(b"1"))]).unwrap();
    }
}

#[test]
fn a_damaged_byte_anywhere_is_survived() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(FILE);
    let (store, _) = Store::open(folder.path()).unwrap();
    for number in 0..100_u32 {
        store.write(&[change(&number.to_be_bytes(), Some(&[7; 100]))]).unwrap();
    }
    drop(store);
    let whole = std::fs::read(&path).unwrap();
    let value = whole.windows(100).position(|bytes| bytes == [7; 100]).unwrap();
    let mut lost = 0;
    for place in (0..whole.len()).step_by(whole.len() / 60).chain([value + 50]) {
        let mut damaged = whole.clone();
        damaged[place] ^= 0xFF;
        std::fs::write(&path, damaged).unwrap();
        let (store, records) = Store::open(folder.path()).unwrap();
        let intact = records.iter().all(|(_, _, value)| *value == [7; 100]);
        assert!(intact && [0, 100].contains(&records.len()), "byte {place}: {}", records.len());
        lost += usize::from(records.is_empty());
        drop(store);
    }
    assert!(lost > 0, "a byte of a record is noticed");
}

#[test]
fn a_batch_is_told_once_it_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(folder.path()).unwrap();
    let (told, batches) = sync_channel(4);
    let writer = store.start(move |batch| told.send(batch).unwrap());
    assert!(writer.write(1, vec![change(b"a", Some(b"1"))]));
    assert_eq!(batches.recv().unwrap(), 1);
    drop(writer);
    assert_eq!(Store::open(folder.path()).unwrap().1.len(), 1);
}

#[test]
fn the_files_of_the_broker_before_are_put_aside_once() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("sessions")).unwrap();
    std::fs::write(folder.path().join("sessions/hub.json"), "{}").unwrap();
    let aside = put_old_storage_aside(folder.path()).unwrap().unwrap();
    assert!(aside.join("sessions/hub.json").exists());
    let (store, _) = Store::open(folder.path()).unwrap();
    drop(store);
    assert_eq!(put_old_storage_aside(folder.path()).unwrap(), None);
    assert!(folder.path().join(FILE).exists());
}

#[test]
fn a_file_that_grew_is_small_again_after_a_start() {
    let folder = tempfile::tempdir().unwrap();
    let size = || std::fs::metadata(folder.path().join(FILE)).unwrap().len();
    let (store, _) = Store::open(folder.path()).unwrap();
    let keys: Vec<[u8; 4]> = (0..20_000_u32).map(u32::to_be_bytes).collect();
    let many: Vec<Change> = keys.iter().map(|key| change(key, Some(&[7; 1_000]))).collect();
    store.write(&many).unwrap();
    drop(store);
    let grown = size();
    let (store, records) = Store::open(folder.path()).unwrap();
    assert_eq!(records.len(), keys.len());
    assert!(size() > grown / 2, "what is in use is left alone");
    let gone: Vec<Change> = keys[10..].iter().map(|key| change(key, None)).collect();
    store.write(&gone).unwrap();
    drop(store);
    assert!(size() > grown / 2);
    let (store, records) = Store::open(folder.path()).unwrap();
    assert_eq!(records.len(), 10);
    assert!(size() < grown / 4, "{} of {grown}", size());
    store.write(&[change(b"a", Some(b"1"))]).unwrap();
    drop(store);
    assert_eq!(Store::open(folder.path()).unwrap().1.len(), 11);
}
