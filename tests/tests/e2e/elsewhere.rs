//! Asking a hub from another account or machine, and looking on.

use std::{
    io::{BufRead as _, BufReader},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use hearthd_tests::{
    Access, Doing, Message, Result,
    process::{Ran, run},
};

use crate::home::{Home, Setup};

#[tokio::test]
async fn another_account_asks_with_no_configuration_at_all() -> Result<()> {
    let home = Home::start(Setup::Bundled).await?;
    let access = home.broker.access("phone");
    let folder = tempfile::tempdir()?;
    let whom = account(&access, folder.path())?;
    let ran = hearthd(&home, &["request", "light-in-bedroom", "power", "ON"], &whom).await?;
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), "ON\n"), "{ran:?}");
    let ran = hearthd(&home, &["describe", "living-room"], &whom).await?;
    assert!(ran.stdout.contains("target_temperature"), "{ran:?}");
    let hub = [&whom[..], &["--hub".to_owned(), "hearthd-demo".to_owned()]].concat();
    for question in ["devices", "status", "will"] {
        let ran = hearthd(&home, &[question], &hub).await?;
        assert_eq!(ran.code, Some(0), "{question} {ran:?}");
        let ran = hearthd(&home, &[question], &whom).await?;
        let said = "hearthd: --broker: name the hub as well: --hub CLIENT_ID\n";
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(64), said), "{question}");
    }
    let status = hearthd(&home, &["status", "--json"], &hub).await?;
    let report: serde_json::Value = serde_json::from_str(&status.stdout)?;
    assert_eq!((&report["online"], &report["prefix"]), (&true.into(), &"alice".into()));
    // A hub that nobody knows, and a password that is wrong.
    let nobody = [&whom[..], &["--hub".to_owned(), "cellar".to_owned()]].concat();
    let nobody = hearthd(&home, &["status"], &nobody).await?;
    assert!(nobody.stderr.contains("no hub tells of"), "{nobody:?}");
    std::fs::write(folder.path().join("password"), "wrong").doing("write")?;
    assert_eq!(hearthd(&home, &["devices"], &hub).await?.code, Some(77));
    Ok(())
}

#[tokio::test]
async fn a_variable_names_the_configuration_of_all_commands() -> Result<()> {
    let home = Home::start(Setup::Bundled).await?;
    for command in [&["check"][..], &["status"], &["doctor", "--timeout", "2s"]] {
        let mut program = Command::new(home.daemon.program());
        program.args(command).env("HEARTHD_CONFIG", home.daemon.config());
        let output = tokio::task::spawn_blocking(move || program.output());
        let output = output.await.doing("wait")??;
        assert!(output.status.success(), "{command:?} {output:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_failed_request_is_a_line_of_the_log_and_a_good_one_is_not() -> Result<()> {
    let mut home = Home::start(Setup::Bundled).await?;
    home.answer("light-in-bedroom/power", "ON").await?;
    home.answer("light-in-bedroom/power", "banana").await?;
    home.daemon.logged("request failed").await?;
    let log = home.daemon.log();
    let line = log.lines().find(|line| line.contains("request failed")).unwrap_or_default();
    for fact in ["INFO", "requester=\"phone\"", "device=light-in-bedroom", "status=400"] {
        assert!(line.contains(fact), "{fact} in {line}");
    }
    assert!(!log.contains("request answered"), "{log}");
    Ok(())
}

#[tokio::test]
async fn the_log_of_a_device_is_what_journald_has_about_it_and_a_name_that_is_none_is_refused()
-> Result<()> {
    let home = Home::start(Setup::Bundled).await?;
    let folder = tempfile::tempdir()?;
    let fake = folder.path().join("journalctl");
    std::fs::write(&fake, "#!/bin/sh\necho \"$@\"\n")?;
    std::fs::set_permissions(&fake, std::fs::Permissions::from_mode(0o755))?;
    let path = format!("{}:{}", folder.path().display(), std::env::var("PATH").doing("PATH")?);
    let log = |arguments: &[&str]| {
        let mut command = Command::new(home.daemon.program());
        command.arg("log").args(arguments).env("PATH", &path).output()
    };
    let told = log(&["light-in-bedroom", "-n", "3"])?;
    let asked =
        "--unit hearthd --output short-iso --quiet --no-pager --lines 3 DEVICE=light-in-bedroom\n";
    assert_eq!(String::from_utf8_lossy(&told.stdout), asked, "{told:?}");
    for device in ["light/bedroom", "+", "", "Lamp", "a b", "lamp PRIORITY=3"] {
        let refused = log(&[device])?;
        assert_eq!(refused.status.code(), Some(64), "{refused:?}");
        let complaint = format!("hearthd: `{device}` is not a device: ");
        assert!(String::from_utf8_lossy(&refused.stderr).starts_with(&complaint), "{refused:?}");
    }
    // journalctl finds nothing, and says so by nothing.
    std::fs::write(&fake, "#!/bin/sh\n")?;
    let nothing = log(&["lamp"])?;
    assert!(nothing.status.success() && nothing.stdout.is_empty(), "{nothing:?}");
    let complaint = String::from_utf8_lossy(&nothing.stderr);
    assert!(complaint.contains("has no line about `lamp`"), "{complaint}");
    Ok(())
}

#[tokio::test]
async fn events_of_a_device_are_followed() -> Result<()> {
    let mut home = Home::start(Setup::Bundled).await?;
    let mut command = Command::new(home.daemon.program());
    command.args(["log", "light-in-bedroom", "--follow", "--lines", "0"]);
    command.arg("--config").arg(home.daemon.config());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    let stdout = BufReader::new(child.stdout.take().doing("its output")?);
    let line = tokio::task::spawn_blocking(move || {
        stdout.lines().map_while(std::io::Result::ok).find(|line| line.contains("event: "))
    });
    // It may not be subscribed yet: each request that fails is an event of its own.
    let mut line = std::pin::pin!(line);
    let seen = loop {
        let request = Message::new(home.topic("cmnd/light-in-bedroom/power"), "banana");
        home.phone.publish(request).await?;
        tokio::select! {
            line = &mut line => break line.doing("read")?,
            () = tokio::time::sleep(Duration::from_millis(200)) => {}
        }
    };
    child.kill()?;
    child.wait()?;
    let seen = seen.doing("an event")?;
    assert!(seen.contains(r#"event: power "banana" failed: 400"#), "{seen}");
    Ok(())
}

/// Returns the options that name a broker and an account.
fn account(access: &Access, folder: &Path) -> Result<Vec<String>> {
    let (name, password) = access.login.as_ref().doing("the broker wants an account")?;
    let file = folder.join("password");
    std::fs::write(&file, password).doing(file.display())?;
    let broker = format!("mqtt://127.0.0.1:{}", access.port);
    let file = file.display().to_string();
    Ok(["--broker", &broker, "--user", name, "--password-file", &file].map(str::to_owned).to_vec())
}

async fn hearthd(home: &Home, command: &[&str], options: &[String]) -> Result<Ran> {
    let command = command.iter().map(|argument| (*argument).to_owned());
    let all: Vec<_> = command.chain(options.iter().cloned()).collect();
    run(home.daemon.program(), all, Duration::from_secs(30)).await
}
