//! Debian's Mosquitto, and its clients.

use std::{collections::BTreeSet, fmt::Write, net::TcpStream, process::Command, time::Duration};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::task::JoinSet;

use crate::{
    Access, Doing, Failure, Process, Result,
    process::{Ran, eventually, free_port, run},
};

/// A running Mosquitto, which lets anybody in unless its configuration says otherwise.
#[derive(Debug)]
pub struct Mosquitto {
    process: Option<Process>,
    folder: TempDir,
    port: u16,
    kind: Kind,
    /// Asks a persistent broker to save; ends with the process.
    saver: Option<JoinSet<()>>,
    persistent: bool,
    dropped_for: BTreeSet<String>,
    receive_maximum: Option<u16>,
    /// A configuration of the caller's.
    given: Option<String>,
}

/// What a client may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Everything.
    Open,
    /// A user may use the topics below the user name.
    UsersApart,
}

impl Mosquitto {
    /// Starts a broker on a free port; nothing is persistent.
    ///
    /// # Errors
    /// Where Mosquitto is missing or does not listen.
    pub async fn start(kind: Kind) -> Result<Self> {
        Self::start_with(kind, false).await
    }

    /// Starts a broker on a free port that keeps on disk what is older than half a second.
    ///
    /// By itself it saves whenever a message is queued, but not those in flight to a client that is slow.
    ///
    /// # Errors
    /// Where Mosquitto is missing or does not listen.
    pub async fn start_persistent(kind: Kind) -> Result<Self> {
        Self::start_with(kind, true).await
    }

    /// Starts a broker with a configuration that has a `listener 1883`, on a free port instead of that.
    ///
    /// # Errors
    /// Where Mosquitto is missing or does not listen.
    pub async fn start_configured(text: &str) -> Result<Self> {
        Self::start_once_free(Self { given: Some(text.into()), ..Self::new(Kind::Open, false)? })
            .await
    }

    async fn start_with(kind: Kind, persistent: bool) -> Result<Self> {
        Self::start_once_free(Self::new(kind, persistent)?).await
    }

    fn new(kind: Kind, persistent: bool) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        Ok(Self {
            process: None,
            folder,
            port: 0,
            kind,
            saver: None,
            persistent,
            dropped_for: BTreeSet::new(),
            receive_maximum: None,
            given: None,
        })
    }

    async fn start_once_free(mut mosquitto: Self) -> Result<Self> {
        let mut last = Failure::new("never tried");
        for _ in 0..ATTEMPTS {
            mosquitto.port = free_port()?;
            match mosquitto.listen().await {
                Ok(()) => return Ok(mosquitto),
                Err(failure) => last = failure,
            }
        }
        Err(last)
    }

    /// Kills the broker; sessions and retained messages are gone unless it is persistent.
    ///
    /// # Errors
    /// Where it had ended by itself.
    pub fn stop(&mut self) -> Result<()> {
        self.saver = None;
        self.note_dropped();
        self.process.take().doing("mosquitto is not running")?.kill9()
    }

    /// Returns the clients whose queue was full at times, so that messages for them were dropped.
    pub fn dropped_for(&mut self) -> &BTreeSet<String> {
        self.note_dropped();
        &self.dropped_for
    }

    fn note_dropped(&mut self) {
        const DROPPED: &str = "Outgoing messages are being dropped for client ";
        let log = self.process.as_ref().map(Process::log).unwrap_or_default();
        let clients = log.lines().filter_map(|line| line.split_once(DROPPED));
        let clients = clients.map(|(_, client)| client.trim_end_matches('.').to_owned());
        self.dropped_for.extend(clients);
    }

    /// Sets what CONNACK says after the next [`Mosquitto::start_again`].
    pub fn set_receive_maximum(&mut self, receive_maximum: u16) {
        self.receive_maximum = Some(receive_maximum);
    }

    /// Listens on the same port again after [`Mosquitto::stop`].
    ///
    /// # Errors
    /// Where it does not listen.
    pub async fn start_again(&mut self) -> Result<()> {
        self.listen().await
    }

    /// Returns the port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns how a user gets in; the password is never checked.
    pub fn access(&self, user: Option<&str>) -> Access {
        Access { port: self.port, login: user.map(|user| (user.into(), "any".into())) }
    }

    /// Writes what Mosquitto shall do.
    fn text(&self) -> Result<String> {
        // As root it would change its user and lose the temporary folder.
        let mut text = "user root\nlog_dest stderr\nlog_type all\n".to_owned();
        if let Some(given) = &self.given {
            text += &given.replace("listener 1883", &format!("listener {}", self.port));
            return Ok(text);
        }
        let _ = writeln!(text, "listener {} 127.0.0.1\nallow_anonymous true", self.port);
        let _ = writeln!(text, "persistence {}", self.persistent);
        if self.persistent {
            let _ = writeln!(text, "persistence_location {}/", self.folder.path().display());
            // The interval is a number of changes then.
            text += "autosave_on_changes true\nautosave_interval 1\n";
        }
        text += "max_queued_messages 1000\n";
        if let Some(receive_maximum) = self.receive_maximum {
            let _ = writeln!(text, "max_inflight_messages {receive_maximum}");
        }
        if self.kind == Kind::UsersApart {
            let rules = self.folder.path().join("acl");
            std::fs::write(&rules, "pattern readwrite %u/#\n")?;
            let _ = writeln!(text, "acl_file {}", rules.display());
        }
        Ok(text)
    }

    async fn listen(&mut self) -> Result<()> {
        let config = self.folder.path().join("mosquitto.conf");
        std::fs::write(&config, self.text()?)?;
        let mut command = Command::new(program());
        command.arg("-c").arg(&config);
        let mut process = Process::start(&mut command, &self.folder.path().join("log"))?;
        let port = self.port;
        eventually("mosquitto's port", STARTED, || {
            if let Some(status) = process.ended()? {
                return Err(Failure(format!("mosquitto: {status}\n{}", process.log())));
            }
            Ok(TcpStream::connect(("127.0.0.1", port)).ok())
        })
        .await?;
        if self.persistent {
            let mut saver = JoinSet::new();
            saver.spawn(save_again_and_again(process.pid()));
            self.saver = Some(saver);
        }
        self.process = Some(process);
        Ok(())
    }
}

/// Asks with `mosquitto_rr -V 5` and returns what it printed.
///
/// # Errors
/// Where the program is missing or does not end.
pub async fn mosquitto_rr(access: &Access, arguments: &[&str]) -> Result<Ran> {
    client("mosquitto_rr", access, arguments).await
}

/// Listens with `mosquitto_sub -V 5`; `-C` and `-W` among the arguments end it.
///
/// # Errors
/// Where the program is missing or does not end.
pub async fn mosquitto_sub(access: &Access, arguments: &[&str]) -> Result<Ran> {
    client("mosquitto_sub", access, arguments).await
}

async fn client(name: &str, access: &Access, arguments: &[&str]) -> Result<Ran> {
    let mut all = vec!["-V".to_owned(), "5".to_owned()];
    all.extend(access.arguments());
    all.extend(arguments.iter().map(|argument| (*argument).to_owned()));
    run(name, all, Duration::from_secs(30)).await
}

/// Sends the signal on which Mosquitto saves (mosquitto(8)).
async fn save_again_and_again(process: Pid) {
    loop {
        tokio::time::sleep(SAVE_EVERY).await;
        // A broker that has ended is found out by whoever uses it.
        let _ = kill_process(process, Signal::USR1);
    }
}

/// Debian puts it where only root's search path leads.
fn program() -> &'static str {
    let usual = "/usr/sbin/mosquitto";
    if std::path::Path::new(usual).exists() { usual } else { "mosquitto" }
}

const SAVE_EVERY: Duration = Duration::from_millis(250);
const ATTEMPTS: u32 = 5;
const STARTED: Duration = Duration::from_secs(60);
