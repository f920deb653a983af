//! What only a process of its own survives, and what that process may not have.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use hearthd_core::Reason;

use crate::{
    rogue::House,
    test_devices::{PATIENCE, said},
};

/// Does a job that ends the process, and returns the reason that its requester gets.
#[track_caller]
fn ends_by(job: &str) -> String {
    let mut house = House::two("process");
    assert_eq!(house.ask("a/count", "1"), "200 1");
    let id = house.send("a/job", job);
    let answer = house.answer(id);
    assert_eq!(answer.reason, Some(Reason::Crashed), "{job}");
    let answer = said(&answer);
    let reason = answer.strip_prefix("503 ").unwrap_or_else(|| panic!("{job}: {answer}"));
    house.wait_for_event(&format!("state a/status: restarting ({reason})"));
    assert_eq!(house.ask("b/count", "1"), "200 1");
    house.ask_until("a/count", "", "200 1");
    assert_eq!(house.ask("a/count", "1"), "200 2");
    reason.to_owned()
}

#[test]
#[cfg_attr(
    sanitized,
    ignore = "AddressSanitizer ends a process in its own way, and has no memory limit"
)]
fn every_way_to_end_a_process_costs_its_device_alone() {
    for (job, how) in [
        ("fault", "signal: 11 (SIGSEGV)"),
        ("abort", "signal: 6 (SIGABRT)"),
        ("overflow", "signal: 6 (SIGABRT)"),
        ("exit", "exit status 3"),
        ("memory", "signal: 6 (SIGABRT)"),
    ] {
        assert_eq!(ends_by(job), format!("its process has ended: {how}"), "{job}");
    }
}

#[test]
fn a_process_that_ends_between_requests_is_noticed_at_once() {
    let mut house = House::two("process");
    assert_eq!(house.ask("a/job", "abort later"), "204");
    house.wait_for("a", &["restarting"], |entry| {
        entry["reason"] == "its process has ended: signal: 6 (SIGABRT)"
    });
    let how = "its process has ended: signal: 6 (SIGABRT)";
    house.wait_for_event(&format!("state a/status: restarting ({how})"));
    house.ask_until("a/count", "", "200 0");
}

#[test]
fn a_process_that_sends_garbage_is_killed() {
    let reason = ends_by("garbage");
    let start = "its process does not keep to the protocol and is killed: a frame of ";
    assert!(reason.starts_with(start), "{reason}");
}

#[test]
fn a_process_that_is_killed_from_outside_comes_back() {
    let mut house = House::two("process");
    let process = process_of(&mut house, "a");
    let process = rustix::process::Pid::from_raw(process).expect("a process ID");
    rustix::process::kill_process(process, rustix::process::Signal::KILL).expect("it runs");
    house.wait_for("a", &["restarting"], |entry| {
        entry["reason"] == "its process has ended: signal: 9 (SIGKILL)"
    });
    house.ask_until("a/count", "", "200 0");
}

#[test]
fn a_hang_ends_with_the_deadline() {
    let table = "[devices.a]\nplugin = \"rogue\"\nisolation = \"process\"\ndeadline = \"200ms\"\n\
                 [devices.b]\nplugin = \"rogue\"\nisolation = \"process\"\n";
    let mut house = House::start(table);
    let process = process_of(&mut house, "a");
    let begin = Instant::now();
    let hanging = house.send("a/job", "hang");
    assert_eq!(house.ask("b/count", "1"), "200 1");
    let killed = "503 a call took longer than 200ms; its process is killed";
    assert_eq!(said(&house.answer(hanging)), killed);
    assert!(begin.elapsed() >= Duration::from_millis(200));
    wait_until_gone(process);
    house.ask_until("a/count", "", "200 0");
}

#[test]
fn a_process_that_burns_its_time_is_ended() {
    let table = "limits.cpu = \"1s\"\n[devices.a]\nplugin = \"rogue\"\nisolation = \"process\"\n";
    let mut house = House::start(table);
    assert_eq!(house.ask("a/job", "cpu"), "204");
    house.wait_for("a", &["restarting"], |entry| {
        entry["reason"] == "its process has ended: signal: 24 (SIGXCPU)"
    });
}

#[test]
fn a_process_has_only_what_it_needs() {
    let mut house = House::two("process");
    assert_eq!(house.ask("a/job", "environment"), "204");
    house.wait_for_event("state a/note: [] (not retained)");
    house.take_trace();
    assert_eq!(house.ask("a/job", "descriptors"), "204");
    let note = house.wait_for_start("state a/note: ");
    let targets: Vec<_> = note.trim_start_matches("state a/note: ").split(' ').collect();
    for target in &targets {
        let known = ["/dev/null", "socket:", "pipe:", "/proc/", "(not", "retained)"];
        assert!(known.iter().any(|start| target.starts_with(start)), "{note}");
    }
    let sockets = targets.iter().filter(|target| target.starts_with("socket:")).count();
    assert_eq!(sockets, 3, "one wire, for the calls, for the watch and for the answers: {note}");
    house.take_trace();
    assert_eq!(house.ask("a/job", "count files"), "204");
    let note = house.wait_for_start("state a/note: ");
    let files: u32 = note["state a/note: ".len()..].split(' ').next().unwrap().parse().unwrap();
    assert!((1..64).contains(&files), "{note}");
}

#[test]
fn a_process_cannot_reach_the_hub() {
    let mut house = House::two("process");
    assert_eq!(house.ask("a/job", "reach for the hub"), "204");
    assert_eq!(house.wait_for_start("state a/note: "), "state a/note: open:  (not retained)");
    house.take_trace();
    assert_eq!(house.ask("a/job", "dumpable"), "204");
    assert_eq!(house.wait_for_start("state a/note: "), "state a/note: 0 (not retained)");
}

#[test]
fn processes_end_with_their_devices() {
    let mut house = House::two("process");
    let process = process_of(&mut house, "a");
    let (running, _folder) = house.into_running();
    running.devices.stop(PATIENCE);
    wait_until_gone(process);
}

#[test]
fn standard_error_goes_to_the_log_and_blocks_nobody() {
    let mut house = House::two("process");
    for _ in 0..2000 {
        assert_eq!(house.ask("a/job", "complain"), "204");
    }
    assert_eq!(house.ask("a/status", ""), "200 ready");
}

#[test]
fn devices_of_a_strangers_file_share_a_process_and_those_of_the_hubs_build_have_none() {
    let mut house = House::two("auto");
    let process = process_of(&mut house, "a");
    assert_eq!(process_of(&mut house, "b"), process);
    assert_ne!(process, std::process::id() as i32);
    assert_eq!(house.entry("a")["isolation"], "file");
    let mut house = House::start("[devices.a]\nplugin = \"rogue\"\n");
    assert_eq!(process_of(&mut house, "a"), std::process::id() as i32);
}

#[test]
#[cfg_attr(sanitized, ignore = "AddressSanitizer ends a process in its own way")]
fn a_crash_of_a_shared_process_is_held_against_the_device_whose_call_it_was() {
    let mut house = House::two("auto");
    assert_eq!(house.ask("a/count", "1"), "200 1");
    assert_eq!(house.ask("b/count", "1"), "200 1");
    let shared = process_of(&mut house, "b");
    // In quarantine after three; after two it has a process of its own, and `b` keeps the shared one.
    for (job, crashes) in [("abort", 1), ("fault", 2)] {
        let answer = house.ask("a/job", job);
        assert!(answer.starts_with("503 its process has ended: signal"), "{answer}");
        house.ask_until("b/count", "", "200 1");
        house.ask_until("a/count", "", "200 1");
        assert_ne!(process_of(&mut house, "b"), shared, "after {crashes}");
    }
    let shared = process_of(&mut house, "b");
    assert_ne!(process_of(&mut house, "a"), shared);
    assert!(house.ask("a/job", "abort").starts_with("503 "));
    house.wait_for("a", &["quarantined"], |_| true);
    assert_eq!(process_of(&mut house, "b"), shared);
    assert_eq!(house.ask("b/count", ""), "200 1");
}

#[test]
fn a_hang_in_a_shared_process_holds_up_no_other_device_and_costs_one_of_them_at_most_an_instance() {
    let table = |id: &str, deadline: &str| {
        format!(
            "[devices.{id}]\nplugin = \"rogue\"\nisolation = \"auto\"\ndeadline = \"{deadline}\"\n"
        )
    };
    let mut house = House::start(&(table("a", "1s") + &table("b", "5s")));
    let hanging = house.send("a/job", "hang");
    assert_eq!(house.ask("b/count", "1"), "200 1");
    let killed = "503 a call took longer than 1s; its process is killed";
    assert_eq!(said(&house.answer(hanging)), killed);
    house.wait_for("b", &["ready"], |_| true);
    house.ask_until("b/count", "", "200 1");
    house.ask_until("a/count", "", "200 0");
    assert_eq!(process_of(&mut house, "a"), process_of(&mut house, "b"));
}

#[test]
fn a_shared_process_that_is_killed_from_outside_comes_back_with_all_its_devices() {
    let mut house = House::two("auto");
    let process = rustix::process::Pid::from_raw(process_of(&mut house, "a")).expect("an ID");
    rustix::process::kill_process(process, rustix::process::Signal::KILL).expect("it runs");
    for id in ["a", "b"] {
        house.wait_for(id, &["restarting", "ready"], |_| true);
        house.ask_until(&format!("{id}/count"), "", "200 0");
    }
}

#[test]
fn a_shared_process_ends_with_the_last_of_its_devices() {
    let mut house = House::two("auto");
    let process = process_of(&mut house, "a");
    let table = "[devices.b]\nplugin = \"rogue\"\nisolation = \"auto\"\n";
    assert_eq!(house.reload_with(table).unwrap().removed, ["a"]);
    assert_eq!(process_of(&mut house, "b"), process);
    house.reload_with("").unwrap();
    wait_until_gone(process);
}

/// Returns the ID of the process that a device is in.
fn process_of(house: &mut House, id: &str) -> i32 {
    let note = format!("state {id}/note: ");
    // A state that is there already is not told again: another one comes between.
    house.take_trace();
    assert_eq!(house.ask(&format!("{id}/job"), "environment"), "204");
    house.wait_for_start(&note);
    house.take_trace();
    assert_eq!(house.ask(&format!("{id}/job"), "process"), "204");
    let told = house.wait_for_start(&note);
    told[note.len()..].split(' ').next().unwrap().parse().unwrap()
}

#[track_caller]
fn wait_until_gone(process: i32) {
    let deadline = Instant::now() + PATIENCE;
    while Path::new(&format!("/proc/{process}")).exists() {
        assert!(Instant::now() < deadline, "process {process} lives on");
        std::thread::sleep(Duration::from_millis(5));
    }
}
