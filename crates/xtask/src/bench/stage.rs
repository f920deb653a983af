//! The brokers and the responders, all up at the same time; whoever is not asked sleeps.

use std::{
    fmt::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use hearthd_tests::{
    Access, Built, Client, Daemon, DaemonConfig, Doing, Failure, HearthBroker, Process, Result,
    daemon::under,
    process::{eventually, free_port},
};
use tempfile::TempDir;

use super::{load, peers::Peers};

/// A broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum BrokerKind {
    Bundled,
    Mosquitto,
}

impl BrokerKind {
    pub(crate) const ALL: [Self; 2] = [Self::Bundled, Self::Mosquitto];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Bundled => "bundled broker",
            Self::Mosquitto => "Mosquitto",
        }
    }
}

/// Who answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Responder {
    Hearthd,
    Isolated,
    Rumqttc,
    Socket,
    SocketKept,
    Paho,
    MqttJs,
}

impl Responder {
    pub(crate) const ALL: [Self; 7] = [
        Self::Hearthd,
        Self::Isolated,
        Self::Rumqttc,
        Self::Socket,
        Self::SocketKept,
        Self::Paho,
        Self::MqttJs,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Hearthd => "(a) hearthd",
            Self::Isolated => "(b) hearthd, isolated",
            Self::Rumqttc => "(c) echo, rumqttc",
            Self::Socket => "(d) echo, bare socket",
            Self::SocketKept => "(d') the same, session kept",
            Self::Paho => "(e) echo, paho-mqtt",
            Self::MqttJs => "(f) echo, MQTT.js",
        }
    }

    /// Returns the levels before the property.
    fn levels(self) -> &'static str {
        match self {
            Self::Hearthd => "cmnd/light-{n}",
            Self::Isolated => "cmnd/isolated-{n}",
            Self::Rumqttc => "rumq/light-{n}",
            Self::Socket => "sock/light-{n}",
            Self::SocketKept => "kept/light-{n}",
            Self::Paho => "paho/light-{n}",
            Self::MqttJs => "mqjs/light-{n}",
        }
    }

    /// Returns the topic of its requests.
    pub(crate) fn topic(self, prefix: Option<&str>, property: &str) -> String {
        under(prefix, &format!("{}/{property}", self.levels()))
    }
}

/// One broker with all responders.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) kind: BrokerKind,
    broker: Broker,
    hub: Daemon,
    _echoes: Vec<Process>,
    _folder: TempDir,
}

/// A broker that runs.
#[derive(Debug)]
pub(crate) enum Broker {
    Bundled(HearthBroker),
    Mosquitto { _process: Process, port: u16 },
}

impl Stage {
    /// Starts all, and waits until each is subscribed.
    pub(crate) async fn set(kind: BrokerKind, built: &Built, peers: &Peers) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let broker = Broker::start(kind, built, folder.path()).await?;
        let mut config = DaemonConfig::new(broker.access("hub"));
        config.plugins = &["light"];
        config.devices = lights("light", LIGHTS, "none") + &lights("isolated", LIGHTS, "process");
        let mut hub = Daemon::prepare(built, &folder.path().join("hub"), &config)?;
        let mut observer = Client::connect(&broker.access("phone"), "observer").await?;
        hub.start(&mut observer).await?;
        let mut stage = Self { kind, broker, hub, _echoes: Vec::new(), _folder: folder };
        let load = || Command::new(built.binary("hearthd-load"));
        let access = stage.broker.access("tablet");
        for (responder, mut command) in [
            (Responder::Rumqttc, load()),
            (Responder::Socket, load()),
            (Responder::SocketKept, load()),
            (Responder::Paho, peers.paho()),
            (Responder::MqttJs, peers.mqtt_js()),
        ] {
            let filter = responder.topic(stage.prefix(), "+").replace("light-{n}", "+");
            match responder {
                Responder::Rumqttc => command.arg("echo-rumqttc"),
                Responder::Socket => command.arg("echo"),
                Responder::SocketKept => command.args(["echo", "--keep-session"]),
                _ => command.arg(access.port.to_string()).arg(&filter),
            };
            if matches!(responder, Responder::Paho | Responder::MqttJs) {
                if let Some((user, password)) = &access.login {
                    command.env("MQTT_USER", user).env("MQTT_PASSWORD", password);
                }
            } else {
                command.args(load::login(&access)).args(["--filter", &filter]);
            }
            let log = stage._folder.path().join(format!("{responder:?}.log"));
            stage._echoes.push(start_echo(&mut command, &log).await?);
        }
        Ok(stage)
    }

    /// Returns how the requester gets in.
    pub(crate) fn access(&self) -> Access {
        self.broker.access("phone")
    }

    /// Returns the prefix of all topics.
    pub(crate) fn prefix(&self) -> Option<&'static str> {
        match self.kind {
            BrokerKind::Bundled => Some("alice"),
            BrokerKind::Mosquitto => None,
        }
    }

    /// Ends the hub in order.
    pub(crate) async fn clear(mut self) -> Result<()> {
        self.hub.terminate().await?;
        Ok(())
    }
}

impl Broker {
    /// Starts one with its files in a folder.
    pub(crate) async fn start(kind: BrokerKind, built: &Built, folder: &Path) -> Result<Self> {
        match kind {
            BrokerKind::Bundled => {
                Ok(Self::Bundled(HearthBroker::start(built, &folder.join("broker")).await?))
            }
            BrokerKind::Mosquitto => {
                let (process, port) = start_mosquitto(folder).await?;
                Ok(Self::Mosquitto { _process: process, port })
            }
        }
    }

    /// Returns how an account gets in.
    pub(crate) fn access(&self, account: &str) -> Access {
        match self {
            Self::Bundled(broker) => broker.access(account),
            Self::Mosquitto { port, .. } => Access { port: *port, login: None },
        }
    }
}

/// Starts Mosquitto with nothing on disk, no log, and queues that hold what is measured.
///
/// Without `set_tcp_nodelay` each answer waits 40 ms for a delayed acknowledgement of TCP.
pub(crate) async fn start_mosquitto(folder: &Path) -> Result<(Process, u16)> {
    let port = free_port()?;
    let config = folder.join("mosquitto.conf");
    let mut text = format!("listener {port} 127.0.0.1\nallow_anonymous true\nuser root\n");
    text += "persistence false\nlog_dest stderr\nlog_type error\nset_tcp_nodelay true\n";
    text += "max_inflight_messages 1024\nmax_queued_messages 20000\n";
    std::fs::write(&config, text).doing(config.display())?;
    let mut command = Command::new(mosquitto_program());
    command.arg("-c").arg(&config);
    let mut process = Process::start(&mut command, &folder.join("mosquitto.log"))?;
    eventually("mosquitto's port", STARTED, || {
        if let Some(status) = process.ended()? {
            return Err(Failure(format!("mosquitto: {status}\n{}", process.log())));
        }
        Ok(std::net::TcpStream::connect(("127.0.0.1", port)).ok())
    })
    .await?;
    Ok((process, port))
}

/// Returns where Mosquitto is: Debian puts it where only root's search path leads.
pub(crate) fn mosquitto_program() -> PathBuf {
    let usual = Path::new("/usr/sbin/mosquitto");
    if usual.exists() { usual.to_owned() } else { "mosquitto".into() }
}

/// Starts an echo, and waits until it is subscribed.
pub(crate) async fn start_echo(command: &mut Command, log: &Path) -> Result<Process> {
    let mut process = Process::start(command.stdin(Stdio::null()), log)?;
    eventually("`ready` from an echo", STARTED, || {
        if let Some(status) = process.ended()? {
            return Err(Failure(format!("{}: {status}\n{}", log.display(), process.log())));
        }
        Ok(process.stdout().contains("ready").then_some(()))
    })
    .await?;
    Ok(process)
}

/// Returns the tables of simulated lights.
pub(crate) fn lights(name: &str, count: usize, isolation: &str) -> String {
    let mut text = String::new();
    for n in 0..count {
        let table =
            format!("[devices.{name}-{n}]\nplugin = \"light\"\nisolation = \"{isolation}\"");
        let _ = writeln!(text, "{table}\nconfig.backend = \"simulated\"");
    }
    text
}

/// As many as a home has, so that 256 requests in flight fit the queue of 64 that each device has by default.
pub(crate) const LIGHTS: usize = 16;
const STARTED: Duration = Duration::from_secs(15);
