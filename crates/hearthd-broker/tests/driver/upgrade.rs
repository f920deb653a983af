//! What the broker before left behind.

use crate::broker::Broker;

#[test]
fn the_old_storage_is_put_aside_with_a_line_and_the_accounts_go_on() {
    let mut broker = Broker::start();
    broker.stop();
    let storage = broker.folder.path().join("storage");
    std::fs::remove_file(storage.join("broker.redb")).unwrap();
    for (file, text) in [("sessions/hub.json", "{}"), ("retained/a.json", "{}")] {
        let path = storage.join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    broker.run();
    assert!(broker.log().contains("was moved aside"), "{}", broker.log());
    assert!(storage.join("before/sessions/hub.json").exists());
    broker.client("old", "phone");
}

#[test]
fn a_damaged_store_is_put_aside_with_a_line() {
    let mut broker = Broker::start();
    broker.stop();
    let file = broker.folder.path().join("storage/broker.redb");
    std::fs::write(&file, "no store").unwrap();
    broker.run();
    assert!(broker.log().contains("the store is damaged and was moved aside"), "{}", broker.log());
    broker.client("old", "phone");
}
