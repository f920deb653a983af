//! Zigbee2MQTT as it is, with a radio that does what a test says.

use std::{collections::BTreeMap, io::Write, path::PathBuf, process::Command, time::Duration};

use tempfile::TempDir;

use crate::{
    Access, Built, Doing, Failure, Process, Result, built::workspace, peers::Peers,
    process::eventually,
};

/// A running Zigbee2MQTT with a bulb, a spot, a thermometer and a radiator valve, and a group `all` of the two lamps.
#[derive(Debug)]
pub struct Zigbee2Mqtt {
    peers: Peers,
    process: Option<Process>,
    folder: TempDir,
    modes: BTreeMap<u16, Mode>,
}

/// What a device does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// What it is told.
    Obeys,
    /// What it is told, after a second and a half.
    IsSlow,
    /// What it is told, after seven seconds: later than a request is answered.
    IsDelayed,
    /// Nothing until it has another mode: what it was told in the last seven seconds it does then.
    Sleeps,
    /// Nothing, and acknowledges all the same.
    Lies,
    /// Nothing, and says so.
    Refuses,
    /// It cannot be reached.
    IsDead,
}

/// The network address of the bulb `zigbee2mqtt/hall/bulb`.
pub const BULB: u16 = 1001;
/// That of the thermometer `zigbee2mqtt/thermometer`.
pub const THERMOMETER: u16 = 1002;
/// That of the radiator valve `zigbee2mqtt/valve`.
pub const VALVE: u16 = 1003;

/// That of the spot `zigbee2mqtt/hall/spot`.
pub const SPOT: u16 = 1004;

impl Zigbee2Mqtt {
    /// Starts it, and waits until it is connected to the broker.
    ///
    /// # Errors
    /// Where Node.js or a package cannot be had, or it does not start.
    pub async fn start(access: &Access) -> Result<Self> {
        Self::start_below(access, "zigbee2mqtt").await
    }

    /// Starts it with a base topic, and waits until it is connected to the broker.
    ///
    /// # Errors
    /// As [`Zigbee2Mqtt::start`].
    pub async fn start_below(access: &Access, base: &str) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let installed = Built::beside_this_program()?.binary("zigbee2mqtt");
        let peers = Peers::provide(&installed, &workspace().join("tests/zigbee2mqtt"), FILES)?;
        std::fs::create_dir(folder.path().join("data"))?;
        std::fs::write(folder.path().join("reports"), "")?;
        std::fs::write(folder.path().join("states"), "")?;
        let mut home = peers.command("home.cjs");
        home.arg(folder.path().join("data")).arg(base).arg(access.port.to_string());
        if let Some((user, password)) = &access.login {
            home.args([user, password]);
        }
        let written = home.output().doing("node")?;
        if !written.status.success() {
            return Err(Failure(format!("{home:?}: {}", String::from_utf8_lossy(&written.stderr))));
        }
        let mut bridge = Self { peers, process: None, folder, modes: BTreeMap::new() };
        bridge.set_mode(BULB, Mode::Obeys)?;
        bridge.start_again().await?;
        Ok(bridge)
    }

    /// Starts it again after [`Zigbee2Mqtt::stop`], with what it has on disk.
    ///
    /// # Errors
    /// Where it does not start.
    pub async fn start_again(&mut self) -> Result<()> {
        let own = |name: &str| self.folder.path().join(name);
        let folder = self.peers.folder();
        let mut command = Command::new("node");
        command.current_dir(folder).args(["--require", "./radio.cjs"]);
        command.arg("node_modules/zigbee2mqtt/cli.js");
        command.env("ZIGBEE2MQTT_DATA", own("data"));
        // It would take this repository for its own, and want to build itself.
        command.env(
            "GIT_CEILING_DIRECTORIES",
            folder.parent().doing("a folder of packages is in another")?,
        );
        command.env("RADIO_MODES", own("modes")).env("RADIO_REPORTS", own("reports"));
        command.env("RADIO_STATES", own("states"));
        let mut process = Process::start(&mut command, &own("log"))?;
        eventually("Zigbee2MQTT", STARTED, || {
            if let Some(status) = process.ended()? {
                let log = process.stdout();
                if !log.contains("MQTT failed to connect") {
                    return Err(Failure(format!("Zigbee2MQTT: {status}\n{log}")));
                }
                // The broker was away at that moment. At home systemd starts Zigbee2MQTT again.
                process = Process::start(&mut command, &own("log"))?;
            }
            Ok(process.stdout().contains("Zigbee2MQTT started!").then_some(()))
        })
        .await?;
        self.process = Some(process);
        Ok(())
    }

    /// Sends SIGKILL and waits.
    ///
    /// # Errors
    /// Where it had ended by itself.
    pub fn stop(&mut self) -> Result<()> {
        self.process.take().doing("Zigbee2MQTT is not running")?.kill9()
    }

    /// Says what a device does from now on.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn set_mode(&mut self, address: u16, mode: Mode) -> Result<()> {
        self.modes.insert(address, mode);
        let one = |(address, mode): (&u16, &Mode)| format!("\"{address}\": \"{}\"", mode.as_str());
        let modes: Vec<String> = self.modes.iter().map(one).collect();
        let new = self.folder.path().join("modes.new");
        std::fs::write(&new, format!("{{{}}}", modes.join(", "))).doing(new.display())?;
        std::fs::rename(&new, self.folder.path().join("modes")).doing(new.display())
    }

    /// Has a device say an attribute of a cluster by itself.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn report(&self, address: u16, cluster: &str, attribute: &str, value: i32) -> Result<()> {
        let file = self.folder.path().join("reports");
        let mut reports =
            std::fs::OpenOptions::new().append(true).open(&file).doing(file.display())?;
        writeln!(reports, "{address} {cluster} {attribute} {value}").doing(file.display())
    }

    /// Returns the file with a line for each time that a lamp was switched: milliseconds since 1970, the lamp's network
    /// address, and 1 or 0.
    pub fn states(&self) -> PathBuf {
        self.folder.path().join("states")
    }

    /// Returns what it has logged.
    pub fn log(&self) -> String {
        self.process.as_ref().map(Process::stdout).unwrap_or_default()
    }
}

impl Drop for Zigbee2Mqtt {
    fn drop(&mut self) {
        // The test harness shows this only where the test fails.
        eprintln!("--- log of Zigbee2MQTT\n{}", self.log());
    }
}

impl Mode {
    fn as_str(self) -> &'static str {
        match self {
            Self::Obeys => "ok",
            Self::IsSlow => "slow",
            Self::IsDelayed => "delayed",
            Self::Sleeps => "asleep",
            Self::Lies => "lie",
            Self::Refuses => "refuse",
            Self::IsDead => "dead",
        }
    }
}

const FILES: &[&str] = &["package.json", "package-lock.json", "radio.cjs", "home.cjs"];
const STARTED: Duration = Duration::from_secs(180);
