//! What a plugin's code may do while it is looked at first, and how long.

use std::{
    fs,
    time::{Duration, Instant},
};

use hearthd::{
    device::{self, Checked, Complaint},
    plugin::Plugins,
};

use crate::{
    built::plugin,
    test_devices::{config, launcher},
};

/// Checks tables of devices; returns the complaints, and how long it took.
fn inspect(tables: &str) -> (Vec<Complaint>, Duration) {
    let folder = tempfile::tempdir().unwrap();
    let (path, staging) = (folder.path().join("plugins"), folder.path().join("staging"));
    fs::create_dir(&path).unwrap();
    fs::copy(plugin("rogue"), path.join("rogue.so")).unwrap();
    fs::copy(plugin("light"), path.join("light.so")).unwrap();
    let begin = Instant::now();
    let launcher = launcher().with_patience(PATIENCE);
    let (plugins, errors) = Plugins::load(&[path], &staging, &launcher);
    assert!(errors.is_empty(), "{errors:?}");
    let complaints = device::check(&config(tables), &plugins, &Checked::default());
    (complaints.unwrap_err(), begin.elapsed())
}

#[test]
fn a_plugin_that_logs_now_and_then_is_not_waited_for_without_end() {
    for describe in ["chatter", "hang"] {
        let table = format!("[devices.a]\nplugin = \"rogue\"\nconfig.describe = \"{describe}\"\n");
        let (complaints, elapsed) = inspect(&table);
        let text = "its code does not return within 500ms";
        assert_eq!(complaints, [("a".into(), String::new(), text.into())]);
        assert!(elapsed < PATIENCE * 3, "{describe}: {elapsed:?}");
    }
}

#[test]
fn however_many_devices_a_file_has_its_code_gets_one_time_and_other_files_have_theirs() {
    let rogue: String = (0..20)
        .map(|n| format!("[devices.a{n}]\nplugin = \"rogue\"\nconfig.describe = \"chatter\"\n"))
        .collect();
    let light = "[devices.light]\nplugin = \"light\"\nconfig.nonsense = 1\n";
    let (complaints, elapsed) = inspect(&(rogue + light));
    assert_eq!(complaints.len(), 21);
    let unknown = complaints.iter().find(|(device, ..)| device == "light").unwrap();
    assert!(unknown.2.contains("unknown field"), "{unknown:?}");
    assert!(elapsed < PATIENCE * 3, "{elapsed:?}");
}

const PATIENCE: Duration = Duration::from_millis(500);
