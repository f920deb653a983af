//! Runs a program to its end, or ends it and all that it started.

use std::collections::BTreeMap;
use std::io::{self, PipeReader, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use hearth_sdk::Failure;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};

use crate::reading::excerpt;

/// Runs the programs of one device.
#[derive(Debug)]
pub(crate) struct Runner {
    timeout: Duration,
    environment: BTreeMap<String, String>,
    /// Its other end is closed when the device ends.
    stop: PipeReader,
}

/// What a program that came to its end said.
#[derive(Debug)]
pub(crate) struct Finished {
    program: String,
    status: ExitStatus,
    stdout: String,
    stderr: String,
}

impl Runner {
    pub(crate) fn new(
        timeout: Duration,
        environment: BTreeMap<String, String>,
        stop: PipeReader,
    ) -> Self {
        Self { timeout, environment, stop }
    }

    /// Runs a program, given first, with its arguments; never through a shell.
    pub(crate) fn run(&self, run: &[String]) -> Result<Finished, Failure> {
        let (program, arguments) = run.split_first().expect("the configuration is checked");
        let blame = |error: io::Error| Failure::failed(format!("{program}: {error}"));
        let mut child = Command::new(program)
            .args(arguments)
            .current_dir("/")
            .env_clear()
            .envs(INHERITED.iter().filter_map(|key| Some((key, std::env::var_os(key)?))))
            .envs(&self.environment)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .map_err(blame)?;
        let attended = self.attend(&mut child);
        if !matches!(attended, Ok(Attended { cut_short: None, .. })) {
            // The leader is not waited for yet, so no other group can have its number.
            if let Err(error) = kill_process_group(Pid::from_child(&child), Signal::KILL) {
                tracing::warn!(program, %error, "the program cannot be ended");
            }
        }
        let status = child.wait().map_err(blame)?;
        let attended = attended.map_err(|error| blame(error.into()))?;
        match attended.cut_short {
            Some(why) => Err(Failure::failed(format!("{program}: {why}"))),
            None => Ok(Finished {
                program: program.clone(),
                status,
                stdout: attended.stdout.text(),
                stderr: attended.stderr.text(),
            }),
        }
    }

    /// Returns whether the device has ended.
    pub(crate) fn is_stopped(&self) -> bool {
        let mut stop = [PollFd::new(&self.stop, PollFlags::empty())];
        poll(&mut stop, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
    }

    /// Takes what the program prints until it ends, or until there is a reason to end it.
    fn attend(&self, child: &mut Child) -> Result<Attended, Errno> {
        let ended = pidfd_open(Pid::from_child(child), PidfdFlags::empty())?;
        let mut stdout = Capture::new(child.stdout.take().map(OwnedFd::from));
        let mut stderr = Capture::new(child.stderr.take().map(OwnedFd::from));
        let start = Instant::now();
        let cut_short = loop {
            let left = self.timeout.saturating_sub(start.elapsed());
            let mut watched = vec![
                PollFd::new(&ended, PollFlags::IN),
                PollFd::new(&self.stop, PollFlags::empty()),
            ];
            watched.extend(stdout.watched().into_iter().chain(stderr.watched()));
            // Longer than any timeout of a configuration fits as well.
            let left = Timespec::try_from(left).unwrap_or_default();
            match poll(&mut watched, Some(&left)) {
                Ok(0) => break Some(format!("not done after {:?}, ended", self.timeout)),
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error),
            }
            let (has_ended, is_stopped) =
                (!watched[0].revents().is_empty(), !watched[1].revents().is_empty());
            if is_stopped {
                break Some("ended with the device".to_owned());
            }
            stdout.take_ready()?;
            stderr.take_ready()?;
            if has_ended {
                break None;
            }
        };
        // What the program started may hold the pipes open: no end of them is waited for.
        for _ in 0..PIPE_READS {
            if !stdout.take_ready()? & !stderr.take_ready()? {
                break;
            }
        }
        Ok(Attended { cut_short, stdout, stderr })
    }
}

impl Finished {
    /// Returns what the program printed if it ended with one of these codes.
    pub(crate) fn output(self, accepted: &[i32]) -> Result<String, Failure> {
        if self.status.code().is_some_and(|code| accepted.contains(&code)) {
            return Ok(self.stdout);
        }
        let mut message = format!("{}: {}", self.program, self.status);
        let said = excerpt(&self.stderr);
        if !said.is_empty() {
            message = format!("{message}: {said}");
        }
        Err(Failure::failed(message))
    }
}

/// What came of watching a program.
struct Attended {
    /// Why it is to be ended, if it has not ended by itself.
    cut_short: Option<String>,
    stdout: Capture,
    stderr: Capture,
}

/// The beginning of what comes out of a pipe; the rest is read and dropped.
struct Capture {
    pipe: Option<std::fs::File>,
    kept: Vec<u8>,
}

impl Capture {
    fn new(pipe: Option<OwnedFd>) -> Self {
        Self { pipe: pipe.map(std::fs::File::from), kept: Vec::new() }
    }

    fn watched(&self) -> Option<PollFd<'_>> {
        self.pipe.as_ref().map(|pipe| PollFd::from_borrowed_fd(pipe.as_fd(), PollFlags::IN))
    }

    /// Reads once if that does not block; returns whether there was something.
    fn take_ready(&mut self) -> Result<bool, Errno> {
        let Some(pipe) = &mut self.pipe else { return Ok(false) };
        let mut ready = [PollFd::new(pipe, PollFlags::IN)];
        match poll(&mut ready, Some(&Timespec::default())) {
            Ok(0) | Err(Errno::INTR) => return Ok(false),
            Ok(_) => {}
            Err(error) => return Err(error),
        }
        let mut chunk = [0; 4096];
        // A pipe that cannot be read has nothing more to say.
        let length = pipe.read(&mut chunk).unwrap_or(0);
        if length == 0 {
            self.pipe = None;
        }
        let room = OUTPUT_BOUND.saturating_sub(self.kept.len());
        self.kept.extend_from_slice(&chunk[..length.min(room)]);
        Ok(length > 0)
    }

    fn text(self) -> String {
        String::from_utf8_lossy(&self.kept).into_owned()
    }
}

/// What of an output is kept.
const OUTPUT_BOUND: usize = 4096;

/// Reads after which a pipe is empty that nobody writes to: it holds 64 KiB.
const PIPE_READS: usize = 17;

/// What the programs inherit of the hub's environment, which may hold secrets.
const INHERITED: [&str; 4] = ["PATH", "HOME", "LANG", "TZ"];
