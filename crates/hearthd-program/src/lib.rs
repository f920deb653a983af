//! Runs a program to its end, or ends it and all that it started; or follows what it prints, line by line; or exchanges
//! lines with it.
//!
//! No shell is involved, nothing of the daemon's environment is inherited but [`INHERITED`], and what is kept of the
//! output is bounded.

mod capture;
mod find;
mod input;
mod lines;
#[cfg(feature = "log")]
pub mod log;
mod talk;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{self, PipeReader};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};

use crate::capture::Capture;
use crate::find::USUAL_PATH;
pub use crate::find::find;
pub use crate::input::{Input, Told};
pub use crate::talk::{Alarm, LINE_BOUND, Said, Talk, Waker};

/// Runs programs, each within the same time and with the same environment.
#[derive(Clone, Debug)]
pub struct Runner {
    timeout: Duration,
    environment: BTreeMap<String, String>,
    stop: Option<Arc<PipeReader>>,
}

/// What a program that is followed does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard<'l> {
    /// It has run for two seconds: it did not fail at its start.
    Runs,
    /// It has printed a line, without its end and of 4096 bytes at most.
    Line(&'l str),
}

/// What a program that came to its end said.
#[derive(Debug)]
pub struct Finished {
    program: String,
    status: ExitStatus,
    stdout: String,
    stderr: String,
}

/// Why a program did not do it.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// It cannot be started.
    #[error("start {program}: {source}")]
    Start {
        /// The program.
        program: String,
        /// What the system says.
        source: io::Error,
    },
    /// It cannot be watched, and was ended.
    #[error("watch {program}: {source}")]
    Watch {
        /// The program.
        program: String,
        /// What the system says.
        source: io::Error,
    },
    /// It said no.
    #[error("{program}: {status}{}", if said.is_empty() { String::new() } else { format!(": {said}") })]
    Failed {
        /// The program.
        program: String,
        /// Its exit status.
        status: ExitStatus,
        /// The beginning of what it said on standard error, in one line.
        said: String,
    },
    /// It took too long, and was ended with all that it had started.
    #[error("{program}: not done after {timeout:?}, ended")]
    TimedOut {
        /// The program.
        program: String,
        /// How long it had.
        timeout: Duration,
    },
    /// It was ended with all that it had started, because whoever wanted it has ended.
    #[error("{program}: ended with the device")]
    Stopped {
        /// The program.
        program: String,
    },
}

impl ProgramError {
    /// Returns whether what the program stands for cannot be reached: it cannot be started, or ended with
    /// [`UNREACHABLE_EXIT`].
    pub fn is_unreachable(&self) -> bool {
        match self {
            Self::Start { .. } => true,
            Self::Failed { .. } => self.code() == Some(UNREACHABLE_EXIT),
            Self::Watch { .. } | Self::TimedOut { .. } | Self::Stopped { .. } => false,
        }
    }

    /// Returns the exit code with which it said no; none where it came to another end.
    pub fn code(&self) -> Option<i32> {
        match self {
            Self::Failed { status, .. } => status.code(),
            Self::Start { .. }
            | Self::Watch { .. }
            | Self::TimedOut { .. }
            | Self::Stopped { .. } => None,
        }
    }
}

impl Runner {
    /// Makes a runner whose programs may take this long.
    pub fn new(timeout: Duration) -> Self {
        Self { timeout, environment: BTreeMap::new(), stop: None }
    }

    /// Gives the programs variables beside those that they inherit.
    #[must_use]
    pub fn with_environment(self, environment: BTreeMap<String, String>) -> Self {
        Self { environment, ..self }
    }

    /// Has the program that runs ended when the other end of a pipe is closed.
    #[must_use]
    pub fn stopped_by(self, stop: PipeReader) -> Self {
        Self { stop: Some(Arc::new(stop)), ..self }
    }

    /// Returns whether the other end of the pipe is closed.
    pub fn is_stopped(&self) -> bool {
        self.stop.as_ref().is_some_and(|stop| {
            let mut stop = [PollFd::new(&**stop, PollFlags::empty())];
            poll(&mut stop, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
        })
    }

    /// Waits; returns false as soon as the other end of the pipe is closed.
    pub fn pause(&self, time: Duration) -> bool {
        let end = Instant::now() + time;
        while !self.is_stopped() {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            let mut stop: Vec<_> =
                self.stop.iter().map(|stop| PollFd::new(&**stop, PollFlags::empty())).collect();
            // Whatever has ended the wait is looked at above.
            let _ = poll(&mut stop, Timespec::try_from(left).ok().as_ref());
        }
        false
    }

    /// Runs a program, which reads nothing, and waits until it ends.
    ///
    /// # Errors
    /// Where it cannot be started or watched, takes too long, or is no longer wanted. How it ended is not looked at:
    /// [`Finished::output`] does that.
    pub fn run(&self, program: &Path, arguments: &[String]) -> Result<Finished, ProgramError> {
        let mut child = self.start(program, arguments, Stdio::null())?;
        let mut stdout = Capture::new(child.stdout.take().map(OwnedFd::from));
        let mut stderr = Capture::new(child.stderr.take().map(OwnedFd::from));
        let end = self.attend(&child, &mut stdout, &mut stderr, Some(self.timeout));
        self.finish(child, program, end, stdout, stderr)
    }

    /// Runs a program for as long as it likes, and tells what it does. It reads nothing.
    ///
    /// # Errors
    /// As [`Runner::run`], without a timeout.
    pub fn follow(
        &self,
        program: &Path,
        arguments: &[String],
        mut tell: impl FnMut(Heard<'_>),
    ) -> Result<Finished, ProgramError> {
        let mut child = self.start(program, arguments, Stdio::null())?;
        let stdout = child.stdout.take().map(OwnedFd::from);
        let mut stderr = Capture::new(child.stderr.take().map(OwnedFd::from));
        // Told one after the other, by one thread.
        let tell = RefCell::new(&mut tell);
        let mut stdout = Capture::lines(stdout, |line| tell.borrow_mut()(Heard::Line(line)));
        let mut end = self.attend(&child, &mut stdout, &mut stderr, Some(SETTLED));
        if matches!(end, Ok(End::TimedOut)) {
            tell.borrow_mut()(Heard::Runs);
            end = self.attend(&child, &mut stdout, &mut stderr, None);
        }
        self.finish(child, program, end, stdout, stderr)
    }

    fn start(
        &self,
        program: &Path,
        arguments: &[String],
        stdin: Stdio,
    ) -> Result<Child, ProgramError> {
        Command::new(program)
            .args(arguments)
            .current_dir("/")
            .env_clear()
            .env("PATH", USUAL_PATH)
            .envs(INHERITED.iter().filter_map(|key| Some((key, std::env::var_os(key)?))))
            .envs(&self.environment)
            .stdin(stdin)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .map_err(|source| ProgramError::Start {
                program: program.display().to_string(),
                source,
            })
    }

    /// Waits for a program that has ended, or ends it.
    fn finish(
        &self,
        mut child: Child,
        program: &Path,
        end: Result<End, Errno>,
        stdout: Capture<'_>,
        stderr: Capture<'_>,
    ) -> Result<Finished, ProgramError> {
        let program = program.display().to_string();
        if !matches!(end, Ok(End::ByItself)) {
            end_group(&child, &program);
        }
        let status = match child.wait() {
            Ok(status) => status,
            Err(source) => return Err(ProgramError::Watch { program, source }),
        };
        match end {
            Ok(End::ByItself) => {
                Ok(Finished { program, status, stdout: stdout.text(), stderr: stderr.text() })
            }
            Ok(End::TimedOut) => Err(ProgramError::TimedOut { program, timeout: self.timeout }),
            Ok(End::Stopped) => Err(ProgramError::Stopped { program }),
            Err(errno) => Err(ProgramError::Watch { program, source: errno.into() }),
        }
    }

    /// Takes what the program prints until it ends, or until there is a reason to end it.
    fn attend(
        &self,
        child: &Child,
        stdout: &mut Capture<'_>,
        stderr: &mut Capture<'_>,
        timeout: Option<Duration>,
    ) -> Result<End, Errno> {
        let ended = pidfd_open(Pid::from_child(child), PidfdFlags::empty())?;
        let start = Instant::now();
        loop {
            let left = timeout.map(|timeout| timeout.saturating_sub(start.elapsed()));
            let mut watched = vec![PollFd::new(&ended, PollFlags::IN)];
            watched.extend(stdout.watched().into_iter().chain(stderr.watched()));
            watched.extend(self.stop.iter().map(|stop| PollFd::new(&**stop, PollFlags::empty())));
            // Longer than any timeout of a configuration fits as well.
            let left = left.map(|left| Timespec::try_from(left).unwrap_or_default());
            match poll(&mut watched, left.as_ref()) {
                Ok(0) => return Ok(End::TimedOut),
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error),
            }
            let has_ended = !watched[0].revents().is_empty();
            if self.is_stopped() {
                return Ok(End::Stopped);
            }
            stdout.take_ready()?;
            stderr.take_ready()?;
            if has_ended {
                break;
            }
        }
        // What the program started may hold the pipes open: no end of them is waited for.
        for _ in 0..PIPE_READS {
            if !stdout.take_ready()? & !stderr.take_ready()? {
                break;
            }
        }
        Ok(End::ByItself)
    }
}

impl Finished {
    /// Returns what the program printed if it ended with one of these codes.
    ///
    /// # Errors
    /// [`ProgramError::Failed`] where it ended otherwise.
    pub fn output(self, accepted: &[i32]) -> Result<String, ProgramError> {
        let Self { program, status, stdout, stderr } = self;
        if status.code().is_some_and(|code| accepted.contains(&code)) {
            return Ok(stdout);
        }
        Err(ProgramError::Failed { program, status, said: excerpt(&stderr) })
    }
}

/// Shortens what a program printed to one line for people.
pub fn excerpt(text: &str) -> String {
    const MOST: usize = 200;
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}...", &line[..end]),
        None => line,
    }
}

/// Kills a program and its group; the program is not waited for yet, so no other group can have its number.
fn end_group(child: &Child, program: &str) {
    match kill_process_group(Pid::from_child(child), Signal::KILL) {
        // Nothing is left of the group.
        Ok(()) | Err(Errno::SRCH) => {}
        Err(error) => tracing::warn!(program, %error, "the program cannot be ended"),
    }
}

/// How it came to the end of a program.
enum End {
    ByItself,
    TimedOut,
    Stopped,
}

/// What the programs inherit of the daemon's environment, which may hold secrets. Without a `PATH` they get the usual one.
pub const INHERITED: [&str; 4] = ["PATH", "HOME", "LANG", "TZ"];

/// The exit code by which a program says that it cannot reach what it stands for: `EX_UNAVAILABLE` of `sysexits.h`.
pub const UNREACHABLE_EXIT: i32 = 69;

/// A program that has run for so long did not fail at its start.
const SETTLED: Duration = Duration::from_secs(2);

/// Reads after which a pipe is empty that nobody writes to: it holds 64 KiB.
const PIPE_READS: usize = 17;
