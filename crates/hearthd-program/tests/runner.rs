//! Programs that end, fail, hang, and leave others behind.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use hearthd_program::{INHERITED, ProgramError, Runner};

const PATIENCE: Duration = Duration::from_secs(60);

fn shell(runner: &Runner, script: &str) -> Result<String, ProgramError> {
    runner.run(Path::new("/bin/sh"), &["-c".into(), script.into()])?.output(&[0])
}

#[test]
fn a_program_inherits_nothing_that_may_be_secret() {
    assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some(), "cargo sets it for this test");
    let own = BTreeMap::from([("MPD_HOST".to_owned(), "127.0.0.1".to_owned())]);
    let runner = Runner::new(PATIENCE).with_environment(own);
    let output = runner.run(Path::new("/usr/bin/env"), &[]).and_then(|f| f.output(&[0]));
    let output = output.expect("its environment");
    let mut names = output.lines().filter_map(|line| line.split_once('=')).map(|(name, _)| name);
    assert!(output.contains("MPD_HOST=127.0.0.1\n"), "{output}");
    assert!(names.all(|name| name == "MPD_HOST" || INHERITED.contains(&name)), "{output}");
}

#[test]
fn a_failure_says_what_the_program_said() {
    let failure = shell(&Runner::new(PATIENCE), "echo no such; echo '  relay' >&2; exit 3");
    assert_eq!(failure.unwrap_err().to_string(), "/bin/sh: exit status: 3: relay");
}

#[test]
fn a_program_ends_with_whoever_wanted_it() {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    let runner = Runner::new(PATIENCE).stopped_by(reader);
    let folder = tempfile::tempdir().expect("a folder");
    let started = folder.path().join("started");
    let script = format!(": >{}; sleep 600", started.display());
    std::thread::scope(|scope| {
        let result = scope.spawn(|| shell(&runner, &script));
        let deadline = std::time::Instant::now() + PATIENCE;
        while !started.exists() {
            assert!(std::time::Instant::now() < deadline, "it does not start");
            std::thread::sleep(Duration::from_millis(1));
        }
        assert!(!runner.is_stopped());
        drop(writer);
        let result = result.join().expect("no panic");
        assert!(matches!(result, Err(ProgramError::Stopped { .. })), "{result:?}");
        assert!(runner.is_stopped());
    });
}
