//! What a machine in a home is like: no broker, a full disk, a plug that is pulled again and again.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use hearthd_tests::{
    Access, Built, Daemon, DaemonConfig, Doing, Failure, Result, Systemd,
    client::PATIENCE,
    process::{eventually, free_port},
};

use crate::{
    home::{Home, Setup},
    isolation::children_of,
};

#[tokio::test]
async fn without_a_broker_the_hub_tries_again_more_and_more_rarely_and_its_devices_work()
-> Result<()> {
    let built = Built::for_this_test()?;
    let folder = tempfile::tempdir()?;
    let beats = folder.path().join("beats");
    let mut config = DaemonConfig::new(Access { port: free_port()?, login: None });
    config.plugins = &["light", "thermostat", "command"];
    let script = "echo beat >>\"$0\"; wc -l <\"$0\"";
    config.devices += &format!(
        "[devices.heart]\nplugin = \"command\"\n[devices.heart.config.properties.beats]\n\
         type = \"integer\"\nget = {{ run = [\"sh\", \"-c\", {script:?}, {beats:?}], every = 0.1 }}\n"
    );
    let mut daemon = Daemon::prepare(&built, folder.path(), &config)?;
    daemon.spawn()?;
    let pauses = || -> Vec<u64> {
        let log = daemon.log();
        let pauses = log.lines().filter(|line| line.contains("no connection to the broker"));
        pauses.filter_map(|line| line.rsplit_once("retry_in_ms=")?.1.parse().ok()).collect()
    };
    let pauses = eventually("four attempts", PATIENCE, || {
        Ok(Some(pauses()).filter(|pauses| pauses.len() >= 4))
    })
    .await?;
    assert!(pauses[3] > pauses[0], "{pauses:?}");
    let beats = || fs::read_to_string(&beats).map_or(0, |text| text.lines().count());
    let before = beats();
    eventually("the device's work", PATIENCE, || Ok((beats() > before + 3).then_some(()))).await?;
    assert!(daemon.terminate().await?.success());
    Ok(())
}

#[tokio::test]
async fn on_a_full_disk_the_hub_refuses_what_must_not_be_repeated_and_recovers_by_itself()
-> Result<()> {
    let folder = tempfile::tempdir()?;
    let systemd = Systemd::listen(folder.path())?;
    let mut home = Home::prepare(Setup::Mosquitto, |_| {}).await?;
    home.daemon.set_environment("NOTIFY_SOCKET", systemd.path());
    let program = without_the_signal(folder.path(), home.daemon.program())?;
    home.daemon.set_program(program);
    home.daemon.start(&mut home.phone).await?;
    systemd.expect("READY=1", PATIENCE).await?;
    let process = home.daemon.process()?.id();

    limit_files(process, "4096:unlimited")?;
    let refused = home.answer("light-in-bedroom/power", "TOGGLE").await?;
    assert_eq!(refused.status(), Some(503), "{refused:?}");
    let why = refused.property("__stMsg").unwrap_or_default();
    assert!(why.starts_with("not carried out: the hub's state cannot be written ("), "{why}");
    systemd.expect("; the state cannot be written: ", PATIENCE).await?;
    home.daemon.logged("the store cannot be written; going on without it").await?;
    let report = home.answer("hearthd-demo/status", "").await?.json()?;
    assert!(report["store_failure"].is_string(), "{report}");
    home.light_is_off().await?;
    assert_eq!(home.answer("light-in-bedroom/power", "ON").await?.text(), "ON");

    limit_files(process, "unlimited")?;
    home.daemon.logged("the store is written again").await?;
    systemd.expect("; devices: 2 ready\n", PATIENCE).await?;
    assert_eq!(home.answer("light-in-bedroom/power", "TOGGLE").await?.text(), "OFF");
    home.daemon.kill9()?;
    home.daemon.start(&mut home.phone).await?;
    let log = home.daemon.log();
    assert!(!log.contains("starting without it"), "the state was whole all the time: {log}");
    Ok(())
}

#[tokio::test]
async fn a_hundred_restarts_in_a_row_come_online_and_leave_nothing_behind() -> Result<()> {
    let mut home = Home::prepare(Setup::Mosquitto, |config| config.devices += APART).await?;
    let folder = home.daemon.config().parent().doing("a folder")?.to_owned();
    let config = fs::read_to_string(home.daemon.config())?;
    let state = folder.join("state");
    let (mut children, mut settled) = (Vec::new(), BTreeMap::new());
    let begin = Instant::now();
    for restart in 0..100 {
        let online = home.daemon.start(&mut home.phone).await;
        online.map_err(|failure| Failure(format!("restart {restart}: {failure}")))?;
        children.extend(children_of(home.daemon.process()?.id())?);
        if restart % 2 == 0 {
            home.daemon.kill9()?;
        } else {
            assert!(home.daemon.terminate().await?.success(), "restart {restart}");
        }
        if restart == 21 {
            settled = sizes(&state)?;
        }
    }
    eprintln!("100 restarts in {:?}", begin.elapsed());
    let now = sizes(&state)?;
    assert!(now.keys().eq(settled.keys()), "{settled:?} has become {now:?}");
    let total = |sizes: &BTreeMap<PathBuf, u64>| sizes.values().sum::<u64>();
    assert!(total(&now) <= total(&settled) + 64 * 1024, "{settled:?} has become {now:?}");
    assert_eq!(fs::read_to_string(home.daemon.config())?, config);
    let beside: Vec<_> =
        sizes(&folder)?.into_keys().filter(|file| !file.starts_with(&state)).collect();
    assert_eq!(beside.len(), 5, "two plugins, the configuration and two logs: {beside:?}");
    eventually("the end of the devices' processes", PATIENCE, || {
        let alive = |id: &u32| Path::new(&format!("/proc/{id}")).exists();
        Ok((!children.iter().any(alive)).then_some(()))
    })
    .await
}

/// Makes a program that starts hearthd so that writing too much is an error and not the end.
fn without_the_signal(folder: &Path, hearthd: &Path) -> Result<PathBuf> {
    let file = folder.join("hearthd");
    let script = format!("#!/bin/sh\ntrap '' XFSZ\nexec {hearthd:?} \"$@\"\n");
    fs::write(&file, script)?;
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755))?;
    Ok(file)
}

/// Sets how far into a file a process may write, which fails as on a full disk.
fn limit_files(process: u32, bytes: &str) -> Result<()> {
    let mut prlimit = Command::new("prlimit");
    prlimit.args(["--pid", &process.to_string(), &format!("--fsize={bytes}")]);
    let status = prlimit.status().doing("prlimit")?;
    if status.success() { Ok(()) } else { Err(Failure::new("prlimit")) }
}

/// Returns every file below a folder with its size.
fn sizes(folder: &Path) -> Result<BTreeMap<PathBuf, u64>> {
    let mut sizes = BTreeMap::new();
    for entry in fs::read_dir(folder).doing(folder.display())? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sizes.extend(self::sizes(&entry.path())?);
        } else {
            sizes.insert(entry.path(), entry.metadata()?.len());
        }
    }
    Ok(sizes)
}

const APART: &str = "[devices.apart]\nplugin = \"light\"\nisolation = \"process\"\n\
                     [devices.apart.config]\nbackend = \"simulated\"\n";
