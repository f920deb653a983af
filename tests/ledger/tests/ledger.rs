//! The ledger through the real C tables.

use hearthd_ledger::Ledger;
use hearthd_sdk::harness::TestDevice;

#[test]
fn every_execution_is_a_line_of_the_file_and_a_second_device_goes_on_below() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("lines");
    let config = || serde_json::json!({ "file": file });
    let mut device = TestDevice::<Ledger>::new(config());
    assert!(device.set("line", "a").is_done());
    assert!(device.set("line", "a").is_done());
    drop(device);
    let mut device = TestDevice::<Ledger>::new(config());
    assert!(device.set("line", "b").is_done());
    assert_eq!(device.published("line").as_deref(), Some("b"));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "a\na\nb\n");
}

#[test]
fn a_level_is_a_state_and_no_line() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("lines");
    let mut device = TestDevice::<Ledger>::new(serde_json::json!({ "file": file }));
    assert!(device.set("level", "7").is_done());
    assert_eq!(device.published("level").as_deref(), Some("7"));
    assert!(!device.set("line", "two\nlines").is_done());
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "");
}
