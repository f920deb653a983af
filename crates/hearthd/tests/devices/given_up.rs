//! A device that is given up while its call does not come back: nobody hears of it any more, when it does.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::{
    rogue::House,
    test_devices::{PATIENCE, PAUSE, told},
};

/// A file that a call waits for.
struct Gate {
    folder: TempDir,
}

impl Gate {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("gate")
    }

    fn job(&self) -> String {
        format!("wait {}", self.path().display())
    }

    fn open(&self) {
        fs::write(self.path(), "").unwrap();
    }

    #[track_caller]
    fn wait_for_the_call(&self) {
        wait_for(&self.path().with_extension("waiting"));
    }
}

#[track_caller]
fn wait_for(path: &Path) {
    let deadline = Instant::now() + PATIENCE;
    while !path.exists() {
        assert!(Instant::now() < deadline, "{} does not come", path.display());
        std::thread::sleep(PAUSE);
    }
}

/// Begins a call that waits.
#[track_caller]
fn hang(house: &mut House, gate: &Gate) {
    assert_eq!(house.ask("a/count", "1"), "200 1");
    house.wait_for_event("saved a: 1");
    house.send("a/job", &gate.job());
    gate.wait_for_the_call();
}

/// Opens the gate, ends all devices and returns what was said since the last time.
fn last_words(mut house: House, gate: &Gate) -> Vec<String> {
    let mut said = house.take_trace();
    gate.open();
    let (mut running, _folder) = house.into_running();
    said.extend(running.take_trace());
    said.extend(running.devices.stop(PATIENCE).iter().map(told));
    said
}

fn of(said: &[String], start: &str) -> Vec<String> {
    said.iter().filter(|event| event.starts_with(start)).cloned().collect()
}

const TABLE: &str = "[devices.a]\nplugin = \"rogue\"\nisolation = \"none\"\n";
const HASTY: &str = "deadline = \"50ms\"\n";
const NONE: &str = "";

#[test]
fn what_a_call_said_that_came_back_too_late_does_not_overwrite_its_successor() {
    let (mut house, gate) = (House::start(&(TABLE.to_owned() + HASTY)), Gate::new());
    hang(&mut house, &gate);
    house.wait_for("a", &["stalled"], |_| true);
    assert!(house.devices.restart("a").status.is_success());
    house.ask_until("a/count", "1", "200 2");
    assert_eq!(house.ask("a/job", "level 5"), "204");
    house.wait_for_event("state a/level: 5");
    house.wait_for_event("saved a: 2");
    let said = last_words(house, &gate);
    assert_eq!(of(&said, "state a/level"), ["state a/level: 5"], "{said:#?}");
    assert_eq!(of(&said, "saved a").last().map(String::as_str), Some("saved a: 2"));
}

#[test]
fn a_device_that_is_changed_and_then_removed_is_silent_from_then_on() {
    for deadline in [NONE, HASTY] {
        let (mut house, gate) = (House::start(&(TABLE.to_owned() + deadline)), Gate::new());
        hang(&mut house, &gate);
        let changed = format!("{TABLE}{deadline}config.mark = 2\n");
        assert_eq!(house.reload_with(&changed).unwrap().changed, ["a"]);
        if deadline == HASTY {
            wait_for_change_or_stall(&house);
        }
        assert_eq!(house.reload_with(NONE).unwrap().removed, ["a"]);
        house.take_trace();
        let said = last_words(house, &gate);
        assert_eq!(of(&said, "state a/"), [""; 0], "{said:#?}");
    }
}

#[test]
fn a_device_that_is_changed_while_it_hangs_and_then_given_up_is_silent() {
    let (mut house, gate) = (House::start(&(TABLE.to_owned() + HASTY)), Gate::new());
    hang(&mut house, &gate);
    let changed = format!("{TABLE}{HASTY}config.mark = 2\n");
    house.reload_with(&changed).unwrap();
    wait_for_change_or_stall(&house);
    assert!(house.devices.restart("a").status.is_success());
    house.ask_until("a/mark", "", "200 2");
    assert_eq!(house.ask("a/job", "level 5"), "204");
    house.wait_for_event("state a/level: 5");
    let said = last_words(house, &gate);
    assert_eq!(of(&said, "state a/level"), ["state a/level: 5"], "{said:#?}");
    assert_eq!(of(&said, "state a/mark").last().map(String::as_str), Some("state a/mark: 2"));
}

#[test]
fn a_device_that_comes_back_while_the_one_before_still_hangs_keeps_what_it_saves() {
    let (mut house, gate) = (House::start(&(TABLE.to_owned() + HASTY)), Gate::new());
    hang(&mut house, &gate);
    house.reload_with(NONE).unwrap();
    house.reload_with(&(TABLE.to_owned() + HASTY)).unwrap();
    for count in 2..=4 {
        house.ask_until("a/count", "1", &format!("200 {count}"));
    }
    house.wait_for_event("saved a: 4");
    let said = last_words(house, &gate);
    assert_eq!(of(&said, "saved a").last().map(String::as_str), Some("saved a: 4"), "{said:#?}");
    assert_eq!(of(&said, "state a/level"), [""; 0], "{said:#?}");
}

#[test]
fn the_end_of_a_process_takes_no_longer_than_its_grace() {
    let table = "[devices.a]\nplugin = \"rogue\"\nisolation = \"process\"\ndeadline = \"300ms\"\n";
    let mut house = House::start(table);
    assert_eq!(house.ask("a/job", "answer for ever when it ends"), "204");
    let begin = Instant::now();
    house.reload_with(NONE).unwrap();
    let (running, _folder) = house.into_running();
    running.devices.stop(PATIENCE);
    assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
}

/// Waits for the hang of a device that a reload has changed; where that has taken longer than the deadline, it has given
/// the device up already.
fn wait_for_change_or_stall(house: &House) {
    house.wait_for("a", &["stalled", "ready"], |entry| {
        entry["state"] == "stalled" || entry["properties"]["mark"] == 2
    });
}
