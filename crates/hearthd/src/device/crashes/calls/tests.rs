//! One life of the daemon after the other, with the file between them.

use super::*;

/// Lets a life leave what it leaves, and reads it in the next.
fn next_life(life: impl FnOnce(&Calls)) -> Left {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("calls");
    let (calls, left) = Calls::open(&path).unwrap();
    assert_eq!(left, Left::default());
    life(&calls);
    let (_, left) = Calls::open(&path).unwrap();
    let (_, again) = Calls::open(&path).unwrap();
    assert_eq!(again, Left::default(), "it is read once");
    left
}

fn found(device: &str, ending: Ending) -> Found {
    let request = request("power", b"ON");
    Found { device: device.into(), work: Work::Command, property: "power".into(), request, ending }
}

/// Leaves a call under way, as a crash would.
fn begin(calls: &Calls, device: &str) -> &'static RawSlot {
    let slot = Box::leak(Box::new(calls.slot(device)));
    slot.begin_request("power", request("power", b"ON"));
    std::mem::forget(slot.enter(Work::Command));
    slot.place.as_ref().unwrap().0
}

#[test]
fn the_call_that_ended_the_process_is_found_and_others_are_not_suspected() {
    let left = next_life(|calls| {
        begin(calls, "hanging");
        let crashed = begin(calls, "lamp");
        crashed.ended_by.store(libc::SIGSEGV, Ordering::Relaxed);
    });
    assert_eq!(left.calls, [found("lamp", Ending::Signal(libc::SIGSEGV))]);
}

#[test]
fn an_end_without_a_word_leaves_every_call_that_was_under_way() {
    let left = next_life(|calls| {
        begin(calls, "a");
        let slot = calls.slot("b");
        drop(slot.enter(Work::Timer));
        begin(calls, "c");
    });
    assert_eq!(left.calls, [found("a", Ending::Silent), found("c", Ending::Silent)]);
}

#[test]
fn an_end_in_order_and_a_crash_elsewhere_leave_no_call() {
    let left = next_life(|calls| {
        begin(calls, "hanging");
        calls.end_in_order();
    });
    assert_eq!(left, Left::default());
    let left = next_life(|calls| {
        begin(calls, "hanging");
        let header = calls.file.as_ref().unwrap().header;
        header.ended_by.store(libc::SIGABRT, Ordering::Relaxed);
    });
    assert_eq!(left, Left { calls: Vec::new(), outside: Some(Ending::Signal(libc::SIGABRT)) });
}

#[test]
fn a_file_that_is_something_else_is_no_obstacle() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("calls");
    std::fs::write(&path, [0xff; 100_000]).unwrap();
    assert_eq!(Calls::open(&path).unwrap().1, Left::default());
}

#[test]
fn places_are_given_back_and_a_house_that_is_too_large_is_not_noted() {
    let folder = tempfile::tempdir().unwrap();
    let (calls, _) = Calls::open(&folder.path().join("calls")).unwrap();
    for _ in 0..3 {
        let slots: Vec<_> = (0..SLOTS + 5).map(|n| calls.slot(&n.to_string())).collect();
        assert_eq!(slots.iter().filter(|slot| slot.place.is_none()).count(), 6);
    }
}

#[test]
fn requests_are_told_apart() {
    let one = request("power", b"ON");
    assert_eq!(one, request("power", b"ON"));
    for (property, payload) in [("power", &b"OFF"[..]), ("powerO", b"N"), ("power", b"")] {
        assert_ne!(one, request(property, payload));
    }
}
