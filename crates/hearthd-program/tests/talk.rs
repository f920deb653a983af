//! Lines with real programs.

use std::path::Path;
use std::time::{Duration, Instant};

use hearthd_program::{Alarm, LINE_BOUND, ProgramError, Runner, Said, Talk, Told, Waker};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};

/// Far more than any of these programs takes.
const PATIENCE: Duration = Duration::from_secs(20);

fn start(script: &str) -> (Talk, Waker, Alarm) {
    let arguments = ["-c".to_owned(), script.to_owned()];
    let talk = Runner::new(PATIENCE).talk(Path::new("sh"), &arguments).unwrap();
    let (waker, alarm) = Waker::pair().unwrap();
    (talk, waker, alarm)
}

/// Returns what the program says next; waits for it.
#[track_caller]
fn next(talk: &mut Talk, alarm: &mut Alarm) -> Said {
    let start = Instant::now();
    loop {
        if let Some(said) = talk.next_said() {
            return said;
        }
        assert!(start.elapsed() < PATIENCE, "the program says nothing");
        talk.wait(alarm, Some(PATIENCE)).unwrap();
    }
}

fn line(text: &str) -> Said {
    Said::Line(text.to_owned())
}

#[track_caller]
fn pid(said: Said) -> Pid {
    let Said::Line(line) = said else { panic!("{said:?}") };
    Pid::from_raw(line.parse().unwrap()).unwrap()
}

/// Waits until a process is no more: whoever is its parent has to take note of its end first.
fn is_gone(pid: Pid) -> bool {
    let start = Instant::now();
    let state = || std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()));
    while test_kill_process(pid).is_ok() && !state().is_ok_and(|stat| stat.contains(") Z ")) {
        if start.elapsed() > PATIENCE {
            return false;
        }
        std::thread::yield_now();
    }
    true
}

#[test]
fn lines_go_to_and_fro_and_both_ends_see_the_end() {
    let (mut talk, _waker, mut alarm) =
        start("while read -r l; do echo \"$l!\"; echo \"e $l\" >&2; done; exit 3");
    for word in ["one", "two", "drei, größer"] {
        assert_eq!(talk.input().say(word), Told::Written);
        let mut said = vec![next(&mut talk, &mut alarm), next(&mut talk, &mut alarm)];
        said.sort_by_key(|said| matches!(said, Said::Error(_)));
        assert_eq!(said, [line(&format!("{word}!")), Said::Error(format!("e {word}"))]);
    }
    assert_eq!(talk.end(PATIENCE), "sh: exit status: 3: e drei, größer");
}

#[test]
fn what_is_printed_last_is_not_lost_with_or_without_an_end_of_the_line() {
    let (mut talk, _waker, mut alarm) = start("printf 'a\\r\\n\\nb'; exit 1");
    assert_eq!(next(&mut talk, &mut alarm), line("a"));
    assert_eq!(next(&mut talk, &mut alarm), line(""));
    assert_eq!(next(&mut talk, &mut alarm), line("b"));
    assert_eq!(next(&mut talk, &mut alarm), Said::Ended);
    assert_eq!(talk.end(PATIENCE), "sh: exit status: 1");
}

#[test]
fn a_line_that_is_too_long_or_no_text_is_dropped_and_the_next_one_is_not() {
    let script = format!(
        "head -c {} /dev/zero | tr '\\0' x; echo; head -c {LINE_BOUND} /dev/zero | tr '\\0' y; echo; \
         printf 'caf\\351\\nfine\\n'",
        3 * LINE_BOUND
    );
    let (mut talk, _waker, mut alarm) = start(&script);
    assert_eq!(next(&mut talk, &mut alarm), Said::Unreadable("the line is longer than 64 KiB"));
    assert_eq!(next(&mut talk, &mut alarm), line(&"y".repeat(LINE_BOUND)));
    assert_eq!(next(&mut talk, &mut alarm), Said::Unreadable("the line is not UTF-8"));
    assert_eq!(next(&mut talk, &mut alarm), line("fine"));
}

#[test]
fn a_program_that_floods_waits_for_its_turn_and_costs_little_memory() {
    let (mut talk, _waker, mut alarm) = start("exec yes '{}'");
    let start = Instant::now();
    let mut lines = 0_u32;
    while lines < 1000 || start.elapsed() < Duration::from_millis(500) {
        assert!(start.elapsed() < PATIENCE, "{lines} lines");
        while talk.next_said().is_some() {
            lines += 1;
        }
        talk.wait(&mut alarm, Some(Duration::from_millis(50))).unwrap();
    }
    // 4096 at once and 1024 a second; a chunk of 16 KiB has up to 5462 of them.
    let most = 12_000.0 + 1024.0 * start.elapsed().as_secs_f64();
    assert!(f64::from(lines) < most, "{lines} of {most}");
    assert_eq!(talk.end(Duration::ZERO), "sh: killed");
}

#[test]
fn nothing_that_it_has_started_is_left() {
    let (mut talk, _waker, mut alarm) = start("sleep 1000 & echo $!; sleep 1000 & echo $!; wait");
    let started = [next(&mut talk, &mut alarm), next(&mut talk, &mut alarm)].map(pid);
    assert_eq!(talk.end(Duration::ZERO), "sh: killed");
    assert!(started.into_iter().all(is_gone));
    // Also where it ends by itself, and what it has started holds the pipe.
    let (mut talk, _waker, mut alarm) = start("sleep 1000 & echo $!");
    let left = pid(next(&mut talk, &mut alarm));
    assert_eq!(next(&mut talk, &mut alarm), Said::Ended);
    assert_eq!(talk.end(PATIENCE), "sh: exit status: 0");
    assert!(is_gone(left));
    // And where it is dropped.
    let (mut talk, _waker, mut alarm) = start("echo $$; sleep 1000");
    let program = pid(next(&mut talk, &mut alarm));
    drop(talk);
    assert!(is_gone(program));
}

#[test]
fn a_program_that_reads_nothing_blocks_nobody_and_is_killed_after_its_grace() {
    let (mut talk, _waker, mut alarm) = start("echo up; exec sleep 1000");
    assert_eq!(next(&mut talk, &mut alarm), line("up"));
    let long = "x".repeat(LINE_BOUND);
    let input = talk.input();
    let told: Vec<_> = (0..100).map(|_| input.say(&long)).collect();
    let taken = told.iter().filter(|told| **told == Told::Queued).count();
    assert!((4..16).contains(&taken), "{told:?}");
    assert_eq!(told.last(), Some(&Told::Refused));
    talk.wait(&mut alarm, Some(Duration::ZERO)).unwrap();
    assert_eq!(talk.end(Duration::from_millis(50)), "sh: killed");
}

#[test]
fn what_was_queued_is_written_once_the_program_reads() {
    let (mut talk, waker, mut alarm) =
        start("echo $$; kill -STOP $$; while read -r l; do echo ${#l}; done");
    let program = pid(next(&mut talk, &mut alarm));
    let stat = || std::fs::read_to_string(format!("/proc/{}/stat", program.as_raw_nonzero()));
    let begin = Instant::now();
    while !stat().unwrap().contains(") T ") {
        assert!(begin.elapsed() < PATIENCE, "it does not stop");
        std::thread::yield_now();
    }
    let input = talk.input();
    let long = "x".repeat(LINE_BOUND);
    // From another thread, which wakes this one.
    let thread = std::thread::spawn(move || {
        let told = ["go", &long, &long].map(|line| input.say(line));
        kill_process(program, Signal::CONT).unwrap();
        waker.wake();
        told
    });
    assert_eq!(next(&mut talk, &mut alarm), line("2"));
    for _ in 0..2 {
        assert_eq!(next(&mut talk, &mut alarm), line(&LINE_BOUND.to_string()));
    }
    assert_eq!(thread.join().unwrap(), [Told::Written, Told::Queued, Told::Queued]);
    assert_eq!(talk.end(PATIENCE), "sh: exit status: 0");
}

#[test]
fn a_wait_ends_with_a_call_and_with_the_end_of_the_waker() {
    let (waker, mut alarm) = Waker::pair().unwrap();
    for _ in 0..100_000 {
        waker.wake();
    }
    alarm.wait(None);
    let thread = std::thread::spawn(move || {
        alarm.wait(None);
        alarm.wait(None);
    });
    waker.wake();
    drop(waker);
    thread.join().unwrap();
}

#[test]
fn a_program_that_is_not_there_says_so() {
    let error = Runner::new(PATIENCE).talk(Path::new("/nowhere/lamp"), &[]).unwrap_err();
    assert!(matches!(&error, ProgramError::Start { .. }), "{error}");
    assert_eq!(error.to_string(), "start /nowhere/lamp: No such file or directory (os error 2)");
}
