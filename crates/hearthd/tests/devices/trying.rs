//! `hearthd plugin try`: scripts for plugins in C and in Rust, and for programs.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::built::plugin;

/// How a trial ended.
#[derive(Debug)]
struct Tried {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

/// Tries a plugin with a script on standard input.
fn try_out(file: &Path, arguments: &[&str], script: &str) -> Tried {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hearthd"));
    command.args(["plugin", "try"]).arg(file).args(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    // Both together fit into the pipes.
    let end = Instant::now() + Duration::from_secs(120);
    while child.try_wait().unwrap().is_none() {
        if Instant::now() > end {
            child.kill().unwrap();
        }
        thread::sleep(Duration::from_millis(5));
    }
    let output = child.wait_with_output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Tried { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

#[track_caller]
fn passes(file: &Path, arguments: &[&str], script: &str) -> Tried {
    let arguments = [arguments, &["--patience", "60s"]].concat();
    let tried = try_out(file, &arguments, script);
    assert_eq!((tried.code, tried.stderr.as_str()), (Some(0), ""), "{}", tried.stdout);
    tried
}

/// Requires that a script fails at a line, for a reason.
#[track_caller]
fn fails(file: &Path, script: &str, line: usize, reason: &str) -> Tried {
    // What cannot come true is not waited for.
    let tried = try_out(file, &["--patience", "1s"], script);
    assert_eq!(tried.code, Some(1), "{tried:?}");
    let place = format!("standard input:{line}: ");
    assert!(tried.stderr.starts_with(&place) && tried.stderr.contains(reason), "{tried:?}");
    tried
}

fn compile(source: &Path) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let object = folder.path().join("plugin.so");
    let include = concat!(env!("CARGO_MANIFEST_DIR"), "/../hearthd-sdk/include");
    let mut compiler = Command::new("cc");
    compiler.args(["-std=c99", "-shared", "-fPIC", "-g", "-I", include, "-o"]);
    let done = compiler.arg(&object).arg(source).status().expect("a C compiler is there");
    assert!(done.success());
    (folder, object)
}

fn timer_in_c() -> (TempDir, PathBuf) {
    compile(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/devices/timer.c")))
}

#[test]
fn a_plugin_in_c_is_set_read_saved_and_created_anew() {
    let (_folder, object) = timer_in_c();
    let script = "
# A comment.
describe
expect status ready
expect state power OFF
set power ON
expect answer 200 ON
expect state power ON
set power DIM
expect answer 400 takes ON, OFF or TOGGLE
set pwoer ON
expect answer 404 has no `pwoer`
set {\"power\": \"toggle\"}
expect answer 200 {\"power\": \"OFF\"}
set power ON
get
expect answer 200 {\"power\": \"ON\", \"elapsed\": 0}
expect saved ON
save
restart
expect state power ON
";
    let tried = passes(&object, &[], script);
    assert!(tried.stdout.contains("  elapsed                integer, read-only\n"), "{tried:?}");
    assert!(tried.stdout.contains("\n  saved ON\n"), "{tried:?}");
    assert!(tried.stdout.ends_with("passed: 19 lines\n"), "{tried:?}");
}

#[test]
fn the_clock_stands_still_until_it_is_set_forward() {
    let (_folder, object) = timer_in_c();
    let script = "
set power ON
wait 50ms
advance 59999ms
expect state power ON
expect state elapsed 0
advance 1ms
expect state power OFF
expect state elapsed 60000
advance 1h
set power ON
advance 1min
expect state elapsed 60000
";
    passes(&object, &[], script);
}

#[test]
fn an_expectation_that_does_not_come_true_fails_the_script_at_its_line() {
    let (_folder, object) = timer_in_c();
    let set = "set power ON\n";
    fails(&object, &format!("{set}\nexpect state power OFF"), 3, "it is ON");
    fails(&object, &format!("{set}expect answer 204"), 2, "the answer is 200 ON");
    fails(&object, &format!("{set}expect answer 200\nexpect answer 200"), 3, "there is no answer");
    fails(&object, "expect state pwoer ON", 1, "has no property `pwoer`");
    fails(&object, "expect status failed", 1, "it is ready");
    fails(&object, "expect event power press", 1, "no such event");
    fails(&object, "expect crash", 1, "has not crashed");
    fails(&object, "expect log nonsense", 1, "no line of the log");
    fails(&object, "receive a/b ON", 1, "it listens to nothing");
    // An answer that no line expects is a success, or the script fails.
    fails(&object, "set power DIM\nset power ON\n", 1, "the answer is 400");
}

#[test]
fn a_script_with_mistakes_does_nothing_and_names_them_all() {
    let (_folder, object) = timer_in_c();
    let tried = try_out(&object, &[], "set power ON\nsett power ON\n\nexpect power ON\n");
    assert_eq!((tried.code, tried.stdout.as_str()), (Some(65), ""));
    let lines: Vec<_> = tried.stderr.lines().collect();
    assert!(lines[0].contains("standard input:2: `sett` is no command"), "{lines:?}");
    assert!(lines[1].contains("standard input:4: "), "{lines:?}");
}

#[test]
fn messages_of_a_broker_are_played_for_a_device_behind_mqtt() {
    let source = "/../hearthd-sdk/examples/mqtt_plug.c";
    let source = format!("{}{source}", env!("CARGO_MANIFEST_DIR"));
    let (_folder, object) = compile(Path::new(&source));
    let script = "
set power ON
expect answer 503
link up
expect state link up
set power ON
expect sent bulbs/c-plug/set ON
expect no answer
retained bulbs/c-plug ON
expect no answer
receive bulbs/c-plug ON
expect answer 200 ON
expect no sent
link down
expect state link down
set power OFF
expect answer 503
";
    passes(&object, &[], script);
    fails(&object, "link up\nreceive bulbs/other ON", 2, "it listens to bulbs/c-plug");
    fails(&object, "receive bulbs/c-plug ON", 1, "write `link up` before");
    fails(&object, "link up\nset power ON\n", 2, "there is no answer");
}

#[test]
fn a_crash_is_reported_with_the_command_and_the_place() {
    let rogue = plugin("rogue");
    let tried = fails(&rogue, "set job wake\nset job fault\nget\n", 2, "signal: 11 (SIGSEGV)");
    assert!(tried.stdout.contains("  crashed in `set job fault`: "), "{tried:?}");
    let command = tried.stdout.lines().find_map(|line| line.strip_prefix("  addr2line "));
    let command = command.expect("it says where to look");
    // What it says finds the function that has crashed.
    let found = Command::new("addr2line").args(command.split(' ')).output().expect("binutils");
    let found = String::from_utf8_lossy(&found.stdout).into_owned();
    assert!(found.contains("hearthd_rogue::jobs::fault"), "{command}: {found}");
    let tried = fails(&rogue, "set job panic\n", 1, "its plugin has panicked");
    assert!(tried.stdout.contains("called from") && tried.stdout.contains("jobs.rs:"), "{tried:?}");
}

#[test]
fn a_crash_that_is_expected_is_a_step_and_the_device_comes_back() {
    let script = "
set count 7
expect state count 1
set job abort
expect crash SIGABRT
expect status restarting
get
expect answer 503
advance 1s
expect status ready
expect state count 1
";
    passes(&plugin("rogue"), &[], script);
}

#[test]
fn the_end_of_what_is_under_way_is_an_answer_of_its_own() {
    let script = "
set job move
expect answer 202
set job get stuck
expect answer 204
expect answer 500 it is stuck
expect no answer
";
    let tried = passes(&plugin("rogue"), &[], script);
    assert!(tried.stdout.contains("  ended 500"), "{tried:?}");
    fails(&plugin("rogue"), "set job move\nset job get stuck\nget\n", 2, "it is stuck");
}

#[test]
fn what_a_device_adds_is_asked_and_expected_by_its_name() {
    let script = "
set find hall
expect answer 204
expect state hall/power OFF
set hall/power ON
expect answer 200 ON
expect event hall/button press
expect state hall/power ON
set hall/level 40
expect no answer
advance 20ms
expect answer 200 40
set porch/power ON
expect answer 404 the device has not added `porch/power`
restart
expect state known hall
set hall/power ON
expect answer 200 ON
set lose hall
expect answer 204
get hall/power
expect answer 404
";
    let tried = passes(&plugin("radio"), &[], script);
    assert!(tried.stdout.contains("  state hall/status ready"), "{tried:?}");
    fails(&plugin("radio"), "set find hall\nset hall/job panic\n", 2, "its plugin has panicked");
}

#[test]
fn what_is_not_declared_fails_the_script() {
    let rogue = plugin("rogue");
    fails(&rogue, "set job undeclared\nget\n", 1, "what it has not declared");
    fails(&rogue, "set job ring wrongly\n", 1, "what it has not declared");
    let script = "set job ring\nexpect event bell press\nset job undeclared\nexpect refused\n";
    passes(&rogue, &[], script);
}

#[test]
fn a_program_is_tried_as_a_plugin_is() {
    plugin("plugin_program");
    let examples = concat!(env!("CARGO_MANIFEST_DIR"), "/../../plugins/program/examples");
    let lamp = Path::new(examples).join("lamp.py");
    let folder = tempfile::tempdir().unwrap();
    let table = folder.path().join("table.toml");
    let text = format!(
        "command = [\"python3\", {:?}]\n[properties]\npower = {{ type = \"switch\" }}\n\
         level = {{ type = \"integer\", min = 0, max = 100 }}\n",
        lamp.display().to_string()
    );
    fs::write(&table, text).unwrap();
    let script = "
set power ON
expect answer 200 ON
set level 101
expect answer 422
set {\"level\": 40}
expect state level 40
expect saved \"level\":40
restart
expect state power ON
expect state level 40
";
    let arguments = ["--config", &table.display().to_string()];
    passes(&lamp, &arguments, script);
    fs::write(&table, "propertys = {}\n").unwrap();
    let tried = try_out(&lamp, &arguments, script);
    assert_eq!(tried.code, Some(78), "{tried:?}");
    assert!(tried.stderr.contains("table.toml: ") && tried.stderr.contains("properties"));
}

#[test]
fn absences_replies_and_failures_are_played() {
    let script = "
absence consumed
expect state note absence Consumed
absence {\"generation\": \"a\", \"outcome\": \"unknown\"}
expect state note absence Unknown
";
    passes(&plugin("rogue"), &[], script);
    let folder = tempfile::tempdir().unwrap();
    let table = folder.path().join("table.toml");
    fs::write(&table, "topic = \"bulbs/1\"\n").unwrap();
    let script = "
link up
set ask how are you
expect sent bulbs/1/ask how are you
reply fine
expect answer 200 fine
set ask how are you
expect no answer
fail late
expect answer 500
restart
expect state link up
";
    passes(&plugin("bridge"), &["--config", &table.display().to_string()], script);
    let other = fails_with(&plugin("bridge"), &["--kind", "rogue"], 64);
    assert!(other.stderr.contains("there is: bridge"), "{other:?}");
}

#[track_caller]
fn fails_with(file: &Path, arguments: &[&str], code: i32) -> Tried {
    let tried = try_out(file, arguments, "");
    assert_eq!(tried.code, Some(code), "{tried:?}");
    tried
}

#[test]
fn what_cannot_be_tried_is_refused_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let gone = folder.path().join("gone.so");
    assert!(fails_with(&gone, &[], 66).stderr.contains("gone.so: No such file"));
    fs::write(&gone, "no plugin").unwrap();
    assert!(fails_with(&gone, &[], 65).stderr.contains("not an ELF shared object"));
    let program = folder.path().join("lamp.py");
    fs::write(&program, "print()").unwrap();
    assert!(fails_with(&program, &[], 65).stderr.contains("make it executable"));
    let script = folder.path().join("none.txt").display().to_string();
    let (_folder, object) = timer_in_c();
    assert!(fails_with(&object, &["--script", &script], 66).stderr.contains("none.txt"));
}
