//! Mistakes on the command line, and readers that have enough.

use std::{
    process::{Command, Stdio},
    time::Duration,
};

use hearthd_tests::{Access, Built, Daemon, DaemonConfig, Doing, Result, process::run};

use crate::{
    home::{Home, Setup},
    isolation::rogue_home,
};

#[tokio::test]
async fn a_name_that_is_no_level_of_a_topic_is_a_mistake_of_usage() -> Result<()> {
    // No broker is there, and none is asked.
    let built = Built::for_this_test()?;
    let folder = tempfile::tempdir()?;
    let config = DaemonConfig::new(Access { port: 1, login: None });
    let daemon = Daemon::prepare(&built, folder.path(), &config)?;
    for (arguments, expected) in [
        (&["request", "+", "power"][..], "hearthd: `+` is not a device: it contains a wildcard\n"),
        (&["request", "", "power"], "hearthd: `` is not a device: it is empty\n"),
        (&["request", "lamp", ""], "hearthd: `` is not a property: it is empty\n"),
        (&["request", "a/lamp", "power"], "hearthd: `a/lamp` is not a device: it contains `/`\n"),
        (
            &["request", "lamp", "#", "ON"],
            "hearthd: `#` is not a property: it contains a wildcard\n",
        ),
        (&["describe", "a/b"], "hearthd: `a/b` is not a device: it contains `/`\n"),
    ] {
        let ran = daemon.command(arguments).await?;
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(64), expected), "{arguments:?}");
    }
    let ran = daemon.command(&["request", "lamp", "power"]).await?;
    assert_eq!(ran.code, Some(69), "{ran:?}");
    let expected = "hearthd: no connection to the broker at 127.0.0.1:1: ";
    assert!(ran.stderr.starts_with(expected), "{ran:?}");
    Ok(())
}

#[tokio::test]
async fn a_reader_that_has_enough_ends_a_command_quietly() -> Result<()> {
    let home = Home::start(Setup::Bundled).await?;
    let json = home.daemon.command(&["status", "--json"]).await?;
    let _: serde_json::Value = serde_json::from_str(&json.stdout)?;
    for question in ["devices", "status"] {
        let mut command = Command::new(home.daemon.program());
        command.arg(question).arg("--config").arg(home.daemon.config());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        drop(child.stdout.take());
        let ended = tokio::task::spawn_blocking(move || child.wait_with_output());
        let output = ended.await.doing("wait")??;
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{question}");
        assert_eq!(output.status.code(), Some(0), "{question}");
    }
    Ok(())
}

#[tokio::test]
async fn a_property_that_was_never_published_is_no_empty_value() -> Result<()> {
    let home = rogue_home(Setup::Bundled).await?;
    let ran = home.daemon.command(&["request", "within", "level"]).await?;
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), ""), "{ran:?}");
    assert_eq!(ran.stderr, "hearthd: 204: `within/level` has no value so far\n");
    let ran = home.daemon.command(&["request", "within", "level", "--json"]).await?;
    let answer: serde_json::Value = serde_json::from_str(&ran.stdout)?;
    assert_eq!((&answer["status"], ran.stderr.as_str()), (&204.into(), ""), "{answer}");
    // Of what was done without an answer, there is nothing to say.
    let ran = home.daemon.command(&["request", "within", "job", "reachable"]).await?;
    assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.as_str()), (Some(0), "", ""), "{ran:?}");
    let ran = home.daemon.command(&["request", "within", "count"]).await?;
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("0\n", ""), "{ran:?}");
    Ok(())
}

#[tokio::test]
async fn both_programs_know_their_version_and_call_a_mistake_of_usage_64() -> Result<()> {
    let built = Built::for_this_test()?;
    for name in ["hearthd", "hearth-broker"] {
        let run = |arguments: &[&str]| {
            run(
                built.binary(name),
                arguments.iter().map(|a| (*a).to_owned()).collect::<Vec<_>>(),
                Duration::from_secs(30),
            )
        };
        let ran = run(&["--version"]).await?;
        assert_eq!(ran.code, Some(0), "{ran:?}");
        assert_eq!(ran.stdout.trim_end(), format!("{name} {}", env!("CARGO_PKG_VERSION")));
        let ran = run(&["--no-such-option"]).await?;
        assert_eq!(ran.code, Some(64), "{ran:?}");
    }
    Ok(())
}
