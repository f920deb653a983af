//! A hearthd of its own process in a home.

use std::{
    fmt::Write,
    fs,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use super::{
    cluster::password,
    core_hub::{RECONNECT_SPREAD, WILL_DELAY},
    home::{DEVICE, HUB, Home},
};
use crate::{Built, Daemon, Doing, Result};

/// A hub with a ledger, which keeps its lines in a file.
#[derive(Debug)]
pub(super) struct RealHub {
    pub(super) daemon: Daemon,
    lines: PathBuf,
}

impl RealHub {
    /// Writes the configuration; nothing runs yet. The plugins are in one folder for all.
    pub(super) fn prepare(
        built: &Built,
        folder: &Path,
        plugins: &Path,
        home: &Home,
        ports: [u16; 2],
    ) -> Result<Self> {
        let folder = folder.join(&home.name);
        fs::create_dir_all(folder.join("state")).doing(folder.display())?;
        let secret = folder.join("mqtt-password");
        fs::write(&secret, password(&home.name)).doing(secret.display())?;
        let lines = folder.join("lines");
        let urls = home.nodes_of_hub(ports).map(|port| format!("mqtt://127.0.0.1:{port}"));
        let mut text = format!("[broker]\nurl = {urls:?}\nclient_id = \"{HUB}\"\n");
        let _ = writeln!(text, "username = \"{}\"\npassword_file = {secret:?}", home.name);
        let _ = writeln!(text, "reconnect_spread = \"{}s\"", RECONNECT_SPREAD.as_secs());
        let _ = writeln!(text, "[response_information]\nrequired = true");
        let _ = writeln!(text, "[will]\ndelay = \"{}s\"", WILL_DELAY.as_secs());
        let _ = writeln!(text, "[plugins]\npath = [{plugins:?}]");
        let _ = writeln!(text, "[state]\ndirectory = {:?}", folder.join("state"));
        let _ = writeln!(text, "[devices.{DEVICE}]\nplugin = \"ledger\"");
        let _ = writeln!(text, "[devices.{DEVICE}.config]\nfile = {lines:?}");
        let config = folder.join("hearthd.toml");
        fs::write(&config, text).doing(config.display())?;
        Ok(Self { daemon: Daemon::prepared(built, config, HUB)?, lines })
    }

    /// Returns what the device has written.
    pub(super) fn lines(&self) -> Vec<String> {
        let text = fs::read_to_string(&self.lines).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Returns how long after a moment the hub wrote into its log that it is online, for the first time.
    pub(super) fn online_after(&self, since: SystemTime) -> Option<Duration> {
        let log = self.daemon.log();
        let times = log.lines().filter(|line| line.contains(" INFO online"));
        times.filter_map(|line| time_of_day(line)?.checked_sub(of_day(since)?)).min()
    }
}

/// Reads the time in a log line's date, such as `2026-11-29T17:26:13.656180Z`.
fn time_of_day(line: &str) -> Option<Duration> {
    let (_, time) = line.split_once('Z')?.0.split_once('T')?;
    let mut parts = time.split(':').map(str::parse::<f64>);
    let mut next = || parts.next()?.ok();
    let seconds = next()? * 3600.0 + next()? * 60.0 + next()?;
    Duration::try_from_secs_f64(seconds).ok()
}

/// No run goes on past midnight without a hub that is missed.
fn of_day(time: SystemTime) -> Option<Duration> {
    let since_1970 = time.duration_since(UNIX_EPOCH).ok()?;
    Some(
        Duration::from_secs(since_1970.as_secs() % DAY)
            + Duration::from_nanos(since_1970.subsec_nanos().into()),
    )
}

const DAY: u64 = 24 * 3600;
