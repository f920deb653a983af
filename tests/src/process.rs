//! A child process that never outlives its owner.

use std::{
    ffi::OsStr,
    fs::File,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

pub use rustix::process::Signal;
use rustix::process::{Pid, kill_process};

use crate::{Doing, Failure, Result};

/// A running child whose output goes to files; dropping it kills it.
#[derive(Debug)]
pub struct Process {
    child: Child,
    log: PathBuf,
    stdout: PathBuf,
}

impl Process {
    /// Starts a command; its standard error is appended to `log`, its standard output goes beside it.
    ///
    /// # Errors
    /// Where the program or the log cannot be opened.
    pub fn start(command: &mut Command, log: &Path) -> Result<Self> {
        let stdout = log.with_extension("stdout");
        let errors = File::options().append(true).create(true).open(log).doing(log.display())?;
        let output = File::create(&stdout).doing(stdout.display())?;
        command.stdin(Stdio::null()).stdout(output).stderr(errors);
        let child = command.spawn().doing(format!("start {}", command.get_program().display()))?;
        Ok(Self { child, log: log.to_owned(), stdout })
    }

    /// Returns the process ID.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Returns what the process wrote to standard error so far.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Returns what the process wrote to standard output so far.
    pub fn stdout(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.stdout).unwrap_or_default()).into_owned()
    }

    /// Returns the exit status if the process has ended.
    ///
    /// # Errors
    /// Where the system cannot tell.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Sends SIGKILL and waits.
    ///
    /// # Errors
    /// Where the process has ended before.
    pub fn kill9(&mut self) -> Result<()> {
        if let Some(status) = self.ended()? {
            return Err(Failure::new(format!("it had ended by itself: {status}")));
        }
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Sends SIGTERM and waits for the end.
    ///
    /// # Errors
    /// Where it does not end before the deadline.
    pub async fn terminate(&mut self, deadline: Duration) -> Result<ExitStatus> {
        self.signal(Signal::TERM)?;
        eventually("the end of the process", deadline, || self.ended()).await
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// Where the system refuses.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        kill_process(self.pid(), signal).doing(format!("send {signal:?}"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a command that ran to its end said.
#[derive(Clone, Debug)]
pub struct Ran {
    /// The exit code; none where a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

/// Runs a command to its end.
///
/// # Errors
/// Where it cannot be started or does not end before the deadline.
pub async fn run<A: AsRef<OsStr>>(
    program: impl AsRef<OsStr>,
    arguments: impl IntoIterator<Item = A>,
    deadline: Duration,
) -> Result<Ran> {
    let name = program.as_ref().display().to_string();
    let mut command = tokio::process::Command::new(program);
    command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(deadline, command.output())
        .await
        .doing(format!("{name} did not end within {deadline:?}"))?
        .doing(format!("run {name}"))?;
    Ok(Ran {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

/// Asks again and again until there is an answer.
///
/// # Errors
/// Where there is none before the deadline, or asking fails.
pub async fn eventually<T>(
    what: &str,
    deadline: Duration,
    mut ask: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let end = Instant::now() + deadline;
    loop {
        if let Some(answer) = ask()? {
            return Ok(answer);
        }
        if Instant::now() > end {
            return Err(Failure::new(format!("no sign of {what} within {deadline:?}")));
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Returns a TCP port of 127.0.0.1 that was free a moment ago.
///
/// # Errors
/// Where the system has none.
pub fn free_port() -> Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}
