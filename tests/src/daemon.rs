//! `hearthd`, started with a generated configuration.

use std::{
    ffi::OsString,
    fmt::Write,
    path::{Path, PathBuf},
    process::{Command, ExitStatus},
    time::Duration,
};

use crate::{
    Access, Built, Client, Doing, Failure, Message, Process, Result,
    process::{Ran, eventually, run},
};

/// What `hearthd.toml` shall say.
#[derive(Clone, Debug)]
pub struct DaemonConfig {
    /// How the hub gets into the broker.
    pub access: Access,
    /// The hub's ID.
    pub client_id: String,
    /// `[broker] keep_alive`.
    pub keep_alive: &'static str,
    /// `[will] delay`.
    pub will_delay: &'static str,
    /// `[response_information]`, `[requests]` and the like, as TOML tables.
    pub tables: String,
    /// The plugins in `[plugins] path`.
    pub plugins: &'static [&'static str],
    /// `[devices.*]`, as TOML tables.
    pub devices: String,
}

impl DaemonConfig {
    /// Makes the configuration of the hub `hearthd-demo` with a light and a thermostat.
    pub fn new(access: Access) -> Self {
        Self {
            access,
            client_id: "hearthd-demo".into(),
            keep_alive: "20s",
            will_delay: "1s",
            tables: String::new(),
            plugins: &["light", "thermostat"],
            devices: DEVICES.into(),
        }
    }

    /// Writes the configuration, the password and the plugins into a folder; returns the file.
    ///
    /// # Errors
    /// Where something cannot be written.
    pub fn write(&self, built: &Built, folder: &Path) -> Result<PathBuf> {
        built.copy_plugins(self.plugins, &folder.join("plugins"))?;
        let mut text = format!("[broker]\nurl = \"mqtt://127.0.0.1:{}\"\n", self.access.port);
        let _ = writeln!(text, "client_id = \"{}\"", self.client_id);
        let _ = writeln!(text, "keep_alive = \"{}\"", self.keep_alive);
        if let Some((name, password)) = &self.access.login {
            let file = folder.join("mqtt-password");
            std::fs::write(&file, password).doing(file.display())?;
            let _ = writeln!(text, "username = \"{name}\"\npassword_file = {file:?}");
        }
        let _ = writeln!(text, "\n[will]\ndelay = \"{}\"", self.will_delay);
        let _ = writeln!(text, "\n[plugins]\npath = [{:?}]", folder.join("plugins"));
        let _ = writeln!(text, "\n[state]\ndirectory = {:?}", folder.join("state"));
        let _ = writeln!(text, "\n{}\n{}", self.tables, self.devices);
        std::fs::create_dir_all(folder.join("state"))?;
        let file = folder.join("hearthd.toml");
        std::fs::write(&file, text).doing(file.display())?;
        Ok(file)
    }
}

/// A hub: its folder with the configuration and the state, and its process while it runs.
#[derive(Debug)]
pub struct Daemon {
    program: PathBuf,
    config: PathBuf,
    log: PathBuf,
    client_id: String,
    environment: Vec<(&'static str, OsString)>,
    process: Option<Process>,
}

impl Daemon {
    /// Writes the configuration; nothing runs yet.
    ///
    /// # Errors
    /// Where something cannot be written.
    pub fn prepare(built: &Built, folder: &Path, config: &DaemonConfig) -> Result<Self> {
        std::fs::create_dir_all(folder).doing(folder.display())?;
        let file = config.write(built, folder)?;
        Self::prepared(built, file, &config.client_id)
    }

    /// Takes a configuration file that is there, of the hub `client_id`; the log goes beside it.
    ///
    /// # Errors
    /// Where something cannot be written.
    pub fn prepared(built: &Built, config: PathBuf, client_id: &str) -> Result<Self> {
        let log = config.with_file_name("hearthd.log");
        std::fs::write(&log, "").doing(log.display())?;
        Ok(Self {
            program: built.binary("hearthd"),
            config,
            log,
            client_id: client_id.into(),
            environment: Vec::new(),
            process: None,
        })
    }

    /// Sets a variable for the processes that are started from now on.
    pub fn set_environment(&mut self, name: &'static str, value: impl Into<OsString>) {
        self.environment.push((name, value.into()));
    }

    /// Has another program start hearthd, with the same arguments.
    pub fn set_program(&mut self, program: PathBuf) {
        self.program = program;
    }

    /// Returns the program.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// Starts the process and waits for nothing.
    ///
    /// # Errors
    /// Where it cannot be started.
    pub fn spawn(&mut self) -> Result<()> {
        let mut command = Command::new(&self.program);
        command.arg("run").arg("--config").arg(&self.config);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        self.process = Some(Process::start(&mut command, &self.log)?);
        Ok(())
    }

    /// Starts the process and waits until `observer` sees it say `online`.
    ///
    /// # Errors
    /// Where it does not, with the daemon's log.
    pub async fn start(&mut self, observer: &mut Client) -> Result<Message> {
        observer.subscribe(&self.presence(observer.response_information())).await?;
        self.spawn()?;
        self.online(observer).await
    }

    /// Waits for an `online` that is being said now, not one that was retained.
    ///
    /// # Errors
    /// Where it does not come, with the daemon's log.
    pub async fn online(&mut self, observer: &mut Client) -> Result<Message> {
        let topic = self.presence(observer.response_information());
        let online = |m: &Message| m.topic == topic && m.text() == "online" && !m.retain;
        let process = self.process()?;
        let seen = tokio::select! {
            seen = observer.expect("`online`", ONLINE, online) => seen,
            ended = eventually("the end", FOREVER, || process.ended()) => {
                ended.and_then(|status| Err(Failure(format!("hearthd ended: {status}"))))
            }
        };
        seen.map_err(|failure| Failure(format!("{failure}\n{}", self.log())))
    }

    /// Returns the presence topic under a prefix.
    pub fn presence(&self, prefix: Option<&str>) -> String {
        under(prefix, &format!("hub/{}/presence", self.client_id))
    }

    /// Returns the absence topic under a prefix.
    pub fn absence(&self, prefix: Option<&str>) -> String {
        under(prefix, &format!("hub/{}/absence", self.client_id))
    }

    /// Sends SIGKILL and waits.
    ///
    /// # Errors
    /// Where the daemon had ended by itself, with its log.
    pub fn kill9(&mut self) -> Result<()> {
        let mut process = self.process.take().doing("hearthd is not running")?;
        process.kill9().map_err(|failure| Failure(format!("{failure}\n{}", self.log())))
    }

    /// Sends SIGTERM and waits for the end.
    ///
    /// # Errors
    /// Where it does not end, with its log.
    pub async fn terminate(&mut self) -> Result<ExitStatus> {
        let mut process = self.process.take().doing("hearthd is not running")?;
        let ended = process.terminate(Duration::from_secs(10)).await;
        ended.map_err(|failure| Failure(format!("{failure}\n{}", self.log())))
    }

    /// Returns the process while it runs.
    ///
    /// # Errors
    /// Where it was never started or was ended.
    pub fn process(&mut self) -> Result<&mut Process> {
        self.process.as_mut().doing("hearthd is not running")
    }

    /// Waits until the log contains a text.
    ///
    /// # Errors
    /// Where it never does, with the log.
    pub async fn logged(&self, text: &str) -> Result<()> {
        let what = format!("`{text}` in the log");
        let seen = || Ok(self.log().contains(text).then_some(()));
        let seen = eventually(&what, ONLINE, seen).await;
        seen.map_err(|failure| Failure(format!("{failure}\n{}", self.log())))
    }

    /// Runs another command of `hearthd` with the same configuration.
    ///
    /// # Errors
    /// Where it does not end.
    pub async fn command(&self, arguments: &[&str]) -> Result<Ran> {
        let mut all: Vec<_> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        all.extend(["--config".to_owned(), self.config.display().to_string()]);
        run(&self.program, all, Duration::from_secs(120)).await
    }

    /// Returns the configuration file.
    pub fn config(&self) -> &Path {
        &self.config
    }

    /// Returns the log of all its lives, without colours.
    pub fn log(&self) -> String {
        let text = std::fs::read(&self.log).unwrap_or_default();
        without_colours(&String::from_utf8_lossy(&text))
    }
}

/// Puts a topic under the prefix, where there is one.
pub fn under(prefix: Option<&str>, topic: &str) -> String {
    prefix.map_or_else(|| topic.to_owned(), |prefix| format!("{prefix}/{topic}"))
}

/// The devices of the demonstration: a warm-up takes seconds, not an evening.
pub const DEVICES: &str = r#"
[devices.light-in-bedroom]
plugin = "light"
name = "Bedroom light"
[devices.light-in-bedroom.config]
backend = "simulated"
brightness = true

[devices.living-room]
plugin = "thermostat"
name = "Living room"
[devices.living-room.config]
backend = "simulated"
period = 1
simulated = { start = 18.0, outside = 5.0, heating_rate = 0.5, loss = 0.001 }
"#;

const FOREVER: Duration = Duration::from_secs(3600);
const ONLINE: Duration = Duration::from_secs(60);

fn without_colours(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        if character == '\u{1b}' {
            let _ = characters.by_ref().find(|c| c.is_ascii_alphabetic());
        } else {
            plain.push(character);
        }
    }
    plain
}
