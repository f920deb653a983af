//! Devices whose plugin runs in a process of its own, in a whole daemon.

use std::{path::Path, time::Duration};

use hearthd_tests::{Built, Daemon, Doing, Result, process::eventually};

use crate::home::{Home, Setup};

/// A home with a rogue device of each isolation, beside the light.
pub(crate) async fn rogue_home(setup: Setup) -> Result<Home> {
    rogue_home_with(setup, |_| {}).await
}

/// As [`rogue_home`], with a change of how the hub is started.
pub(crate) async fn rogue_home_with(
    setup: Setup,
    change: impl FnOnce(&mut Daemon),
) -> Result<Home> {
    let mut home = Home::prepare(setup, |config| {
        config.tables += "[plugins.limits]\nmemory = \"32MiB\"\n";
        config.devices += WILD;
    })
    .await?;
    let rogue = Built::for_this_test()?.plugin("rogue");
    let folder = home.daemon.config().parent().doing("the configuration is in a folder")?;
    std::fs::copy(&rogue, folder.join("plugins/rogue.so")).doing(rogue.display())?;
    let text = std::fs::read_to_string(home.daemon.config())?;
    let text = text.replace("[plugins]\n", "[plugins]\nmax_failures = 2\n");
    std::fs::write(home.daemon.config(), text)?;
    change(&mut home.daemon);
    home.daemon.start(&mut home.phone).await?;
    Ok(home)
}

#[tokio::test]
async fn a_crash_of_a_plugin_costs_its_device_alone_and_shows_on_its_status_topic() -> Result<()> {
    let mut home = rogue_home(Setup::Bundled).await?;
    let status = home.topic("state/apart/status");
    home.phone.subscribe(&status).await?;
    home.phone.expect(&status, PATIENCE, |m| m.topic == status && m.text() == "ready").await?;
    assert_eq!(home.answer("apart/count", "1").await?.text(), "1");
    let answer = home.answer("apart/job", "fault").await?;
    assert_eq!(answer.status(), Some(503));
    let reason = "its process has ended: signal: 11 (SIGSEGV)";
    assert_eq!(answer.property("__stMsg"), Some(reason));
    let restarting = |m: &hearthd_tests::Message| m.topic == status && m.text() == "restarting";
    let told = home.phone.expect(&status, PATIENCE, restarting).await?;
    assert_eq!(told.property("reason"), Some(reason));
    assert_eq!(answer.property("reason"), Some("crashed"));
    let devices = home.daemon.command(&["devices"]).await?;
    let line = devices.stdout.lines().find(|line| line.starts_with("apart"));
    assert!(line.is_some_and(|line| line.contains("restarting")), "{devices:?}");
    assert!(devices.stdout.contains(reason), "{devices:?}");
    home.light_is_off().await?;
    home.phone.expect(&status, PATIENCE, |m| m.topic == status && m.text() == "ready").await?;
    assert_eq!(home.answer("apart/count", "1").await?.text(), "2", "what it saved is there");
    Ok(())
}

#[tokio::test]
async fn a_hang_of_a_plugin_ends_with_the_deadline() -> Result<()> {
    let mut home = rogue_home(Setup::Bundled).await?;
    let answer = home.answer("apart/job", "hang").await?;
    assert!(matches!(answer.status(), Some(408 | 503)), "{answer:?}");
    home.light_is_off().await?;
    home.daemon.logged("a call took longer than 500ms; its process is killed").await?;
    home.daemon.logged("the device is back").await?;
    assert_eq!(home.answer("apart/count", "1").await?.text(), "1");
    Ok(())
}

#[tokio::test]
async fn no_process_of_a_plugin_outlives_a_daemon_that_is_killed() -> Result<()> {
    let mut home = rogue_home(Setup::Mosquitto).await?;
    let id = home.daemon.process()?.id();
    let processes = children_of(id)?;
    assert_eq!(processes.len(), 1, "the plugin of `apart`, and no inspection: {processes:?}");
    // It hangs, and so does not read that the daemon is gone.
    let request = home.ask("apart/job", "hang");
    home.phone.publish(request).await?;
    home.daemon.kill9()?;
    eventually("the end of the plugin's process", PATIENCE, || {
        let alive = processes.iter().any(|id| Path::new(&format!("/proc/{id}")).exists());
        Ok((!alive).then_some(()))
    })
    .await
}

#[tokio::test]
async fn a_daemon_that_ends_in_order_has_its_devices_save_first() -> Result<()> {
    let mut home = rogue_home(Setup::Bundled).await?;
    let id = home.daemon.process()?.id();
    let processes = children_of(id)?;
    assert_eq!(home.answer("apart/count", "1").await?.text(), "1");
    assert_eq!(home.answer("within/count", "1").await?.text(), "1");
    assert!(home.daemon.terminate().await?.success());
    assert!(processes.iter().all(|id| !Path::new(&format!("/proc/{id}")).exists()));
    home.daemon.start(&mut home.phone).await?;
    assert_eq!(home.answer("apart/count", "1").await?.text(), "2");
    assert_eq!(home.answer("within/count", "1").await?.text(), "2");
    Ok(())
}

#[tokio::test]
async fn the_hub_hides_its_memory_and_its_plugins_processes_cannot_reach_it() -> Result<()> {
    let mut home = rogue_home(Setup::Bundled).await?;
    for (job, note) in
        [("within/dumpable", "0"), ("apart/dumpable", "0"), ("apart/reach for the hub", "open: ")]
    {
        let (device, job) = job.split_once('/').doing("device/job")?;
        assert_eq!(home.answer(&format!("{device}/job"), job).await?.status(), Some(204));
        assert_eq!(home.answer(&format!("{device}/note"), "").await?.text(), note, "{device}");
    }
    Ok(())
}

#[tokio::test]
async fn a_device_in_quarantine_comes_back_when_a_person_asks() -> Result<()> {
    let mut home = rogue_home(Setup::Bundled).await?;
    for crash in 1..=2 {
        let answer = home.answer("apart/job", "abort").await?;
        assert_eq!(answer.status(), Some(503), "{answer:?}");
        if crash == 1 {
            home.daemon.logged("the device is back").await?;
        }
    }
    home.daemon.logged("device in quarantine").await?;
    let answer = home.answer("apart/status", "").await?;
    assert_eq!((answer.status(), answer.text().as_str()), (Some(200), "quarantined"));
    assert_eq!(home.answer("hearthd-demo/restart", "apart").await?.status(), Some(204));
    assert_eq!(home.answer("apart/count", "1").await?.text(), "1");
    assert_eq!(home.answer("hearthd-demo/restart", "attic").await?.status(), Some(404));
    Ok(())
}

#[tokio::test]
async fn a_device_that_was_given_up_says_nothing_after_its_successor() -> Result<()> {
    let hasty = |daemon: &mut Daemon| {
        let text = std::fs::read_to_string(daemon.config()).expect("it was just written");
        let text = text.replace("[devices.within]\n", "[devices.within]\ndeadline = \"300ms\"\n");
        std::fs::write(daemon.config(), text).expect("it can be written");
    };
    let mut home = rogue_home_with(Setup::Bundled, hasty).await?;
    let folder = tempfile::tempdir()?;
    let gate = folder.path().join("gate");
    let level = home.topic("state/within/level");
    let answer = home.answer("within/job", format!("wait {}", gate.display())).await?;
    assert_eq!(answer.status(), Some(408), "{answer:?}");
    home.daemon.logged("a call into the plugin does not return").await?;
    assert_eq!(home.answer("hearthd-demo/restart", "within").await?.status(), Some(204));
    assert_eq!(home.answer("within/job", "level 5").await?.status(), Some(204));
    std::fs::write(&gate, "")?;
    // The call comes back, and then its device ends: this is the last that is done for it.
    let ended = gate.with_extension("ended");
    eventually("its end", PATIENCE, || Ok(ended.exists().then_some(()))).await?;
    let later = home.answer("within/level", "").await?;
    assert_eq!(later.text(), "5");
    home.phone.subscribe(&level).await?;
    let retained = home.phone.expect_on(&level).await?;
    assert_eq!((retained.retain, retained.text().as_str()), (true, "5"), "{retained:?}");
    Ok(())
}

#[tokio::test]
async fn a_call_that_hangs_wakes_no_thread_again_and_again() -> Result<()> {
    let mut home = rogue_home(Setup::Bundled).await?;
    let request = home.ask("within/job", "hang");
    home.phone.publish(request).await?;
    home.daemon.logged("a call into the plugin does not return").await?;
    home.light_is_off().await?;
    let id = home.daemon.process()?.id();
    let before = switches_of(id, "devices")?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let switches = switches_of(id, "devices")? - before;
    // The thermostat looks at its sensor now and then.
    assert!(switches < 20, "{switches} in a second");
    Ok(())
}

/// Counts how often the threads of a name have gone to sleep.
fn switches_of(process: u32, name: &str) -> Result<u64> {
    let mut switches = 0;
    for task in std::fs::read_dir(format!("/proc/{process}/task"))? {
        // A thread may have ended meanwhile.
        let status = std::fs::read_to_string(task?.path().join("status")).unwrap_or_default();
        let value = |key: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(key));
            line.map(|line| line.trim_start_matches(':').trim().to_owned())
        };
        if value("Name").as_deref() == Some(name) {
            let count = value("voluntary_ctxt_switches").doing("the kernel counts")?;
            switches += count.parse::<u64>().doing(count)?;
        }
    }
    Ok(switches)
}

/// Lists the processes that a process has started.
pub(crate) fn children_of(parent: u32) -> Result<Vec<u32>> {
    let mut children = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(id) = name.to_str().and_then(|name| name.parse().ok()) else { continue };
        // One that has ended meanwhile is nobody's child.
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        // After the name in parentheses: the state, and the parent.
        let after = stat.rsplit_once(") ").map(|(_, after)| after).unwrap_or_default();
        if after.split(' ').nth(1).and_then(|id| id.parse().ok()) == Some(parent) {
            children.push(id);
        }
    }
    Ok(children)
}

const WILD: &str = r#"
[devices.apart]
plugin = "rogue"
isolation = "process"
deadline = "500ms"

[devices.within]
plugin = "rogue"
"#;

const PATIENCE: Duration = Duration::from_secs(60);
