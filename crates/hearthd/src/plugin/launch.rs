//! Starts the processes that run plugins.

use std::{
    ffi::OsString,
    io,
    os::{fd::OwnedFd, unix::net::UnixStream, unix::process::CommandExt},
    path::PathBuf,
    process::{Child, ChildStderr, Command, ExitStatus, Stdio},
    time::Duration,
};

use hearthd_sdk::abi;

use super::ipc::{Channel, NOBODY, ToChild};
use crate::{boundary::plugin_log::is_logged, config::Limits};

/// How processes that run plugins are started.
#[derive(Clone, Debug)]
pub struct Launcher {
    program: PathBuf,
    limits: Limits,
    patience: Duration,
    /// Variables of a process that runs devices.
    environment: Vec<(&'static str, OsString)>,
}

impl Launcher {
    /// Starts this program itself, with its `plugin-host` command.
    pub fn new(limits: Limits) -> Self {
        // Not its path, which may lead to another version by now.
        Self {
            program: "/proc/self/exe".into(),
            limits,
            patience: PATIENCE,
            environment: Vec::new(),
        }
    }

    /// Starts another build of `hearthd`.
    #[must_use]
    pub fn with_program(self, program: PathBuf) -> Self {
        Self { program, ..self }
    }

    /// Sets other limits.
    #[must_use]
    pub fn with_limits(&self, limits: Limits) -> Self {
        Self { limits, ..self.clone() }
    }

    /// Tells the plugins to log where they panic, and where the programs are that they may start.
    #[must_use]
    pub(crate) fn for_trial(self) -> Self {
        let path = std::env::var_os("PATH").map(|path| ("PATH", path));
        let backtraces = ("RUST_BACKTRACE", "1".into());
        Self { environment: path.into_iter().chain([backtraces]).collect(), ..self }
    }

    /// Waits so long for a plugin's code when a plugin file is inspected.
    #[must_use]
    pub fn with_patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// Returns how long the code of one file may take in an inspection, in all.
    pub(crate) fn patience(&self) -> Duration {
        self.patience
    }

    /// Returns the limits of the processes.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Starts a process that waits for what it shall do; its standard error can be read.
    pub(crate) fn start(&self) -> io::Result<(Process, ChildStderr)> {
        let mut process = self.spawn(Stdio::piped(), self.environment.clone())?;
        let errors = process.child.stderr.take().expect("it is piped");
        Ok((process, errors))
    }

    /// Starts such a process; what it writes to standard error goes where this one's goes.
    ///
    /// It knows where programs are, so that a table can be checked that names some.
    pub(crate) fn start_inspection(&self) -> io::Result<Process> {
        let path = std::env::var_os("PATH").map(|path| ("PATH", path));
        self.spawn(Stdio::inherit(), path)
    }

    fn spawn(
        &self,
        errors: Stdio,
        environment: impl IntoIterator<Item = (&'static str, OsString)>,
    ) -> io::Result<Process> {
        let (near, far) = UnixStream::pair()?;
        let mut command = Command::new(&self.program);
        command.arg(COMMAND).env_clear().envs(environment);
        command.stdin(OwnedFd::from(far)).stdout(Stdio::null()).stderr(errors);
        // A signal from the terminal is for the daemon, which ends its processes in order.
        command.process_group(0);
        let process = Process { child: command.spawn()?, channel: Channel::new(near) };
        let settings = ToChild::Settings { limits: self.limits, log_level: log_level() };
        process.channel.send(NOBODY, &settings)?;
        Ok(process)
    }
}

/// A process that runs a plugin; dropping it kills it.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    channel: Channel,
}

impl Process {
    /// Returns the daemon's end of the socket.
    pub(crate) fn channel(&self) -> &Channel {
        &self.channel
    }

    /// Kills the process where it still runs, and tells how it ended.
    pub(crate) fn kill(&mut self) -> String {
        // It fails where the process has ended, and then there is nothing to kill.
        let _ = self.child.kill();
        match self.child.wait() {
            Ok(status) => describe(status),
            Err(error) => error.to_string(),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

fn describe(status: ExitStatus) -> String {
    match status.code() {
        Some(code) => format!("exit status {code}"),
        None => status.to_string(),
    }
}

fn log_level() -> i32 {
    (abi::LOG_ERROR..=abi::LOG_TRACE).rev().find(|level| is_logged(*level)).unwrap_or_default()
}

/// The command of the program that runs a plugin.
pub(crate) const COMMAND: &str = "plugin-host";
/// How long a plugin's code may take to begin, and to check the tables of its devices.
const PATIENCE: Duration = Duration::from_secs(10);
