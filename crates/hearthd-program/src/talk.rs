//! A program that runs for long, and with which lines are exchanged.

use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::input::Input;
use crate::lines::Lines;
use crate::{ProgramError, Runner, end_group, excerpt};

/// A program that reads lines and prints lines; dropping it ends it and everything that it has started.
#[derive(Debug)]
pub struct Talk {
    child: Child,
    program: String,
    /// Readable once the program has ended.
    ended: OwnedFd,
    input: Input,
    stdout: Lines,
    stderr: Lines,
    /// What it last wrote to standard error that was not empty.
    last_error: String,
    is_reaped: bool,
}

/// What a program says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// It has printed a line, without its end.
    Line(String),
    /// It has printed a line that is too long, or not UTF-8; the line is dropped.
    Unreadable(&'static str),
    /// It has written a line to standard error; of a long one, the beginning.
    Error(String),
    /// It has ended, and has printed nothing more. Nothing follows.
    Ended,
}

/// Wakes a thread that waits in [`Talk::wait`] or [`Alarm::wait`]; the thread also wakes when this is dropped.
#[derive(Debug)]
pub struct Waker(PipeWriter);

/// The other end of a [`Waker`].
#[derive(Debug)]
pub struct Alarm(PipeReader);

impl Waker {
    /// Makes both ends.
    ///
    /// # Errors
    /// The system has no pipe left.
    pub fn pair() -> io::Result<(Self, Alarm)> {
        let (reader, writer) = io::pipe()?;
        fcntl_setfl(&reader, fcntl_getfl(&reader)? | OFlags::NONBLOCK)?;
        fcntl_setfl(&writer, fcntl_getfl(&writer)? | OFlags::NONBLOCK)?;
        Ok((Self(writer), Alarm(reader)))
    }

    /// Ends the present wait, or the next one at once; never blocks.
    pub fn wake(&self) {
        // A full pipe wakes as well.
        let _ = (&self.0).write(&[0]);
    }
}

impl Alarm {
    /// Waits until there is a call of the waker, or this time is over.
    pub fn wait(&mut self, timeout: Option<Duration>) {
        let mut watched = [PollFd::new(&self.0, PollFlags::IN)];
        // Whatever ends the wait, the caller looks around.
        let _ = poll(&mut watched, timespec(timeout).as_ref());
        self.clear();
    }

    /// Forgets the calls so far.
    fn clear(&mut self) {
        let mut calls = [0; 64];
        while self.0.read(&mut calls).is_ok_and(|length| length == calls.len()) {}
    }
}

impl Runner {
    /// Starts a program that reads and prints lines for as long as it likes.
    ///
    /// # Errors
    /// It cannot be started or watched.
    pub fn talk(&self, program: &Path, arguments: &[String]) -> Result<Talk, ProgramError> {
        let mut child = self.start(program, arguments, Stdio::piped())?;
        let program = program.display().to_string();
        let stdin = child.stdin.take().map(OwnedFd::from);
        let stdout = Lines::new(child.stdout.take().map(OwnedFd::from), LINE_BOUND);
        let stderr = Lines::new(child.stderr.take().map(OwnedFd::from), ERROR_BOUND);
        let watch = || -> Result<_, Errno> {
            let input = Input::new(stdin)?;
            Ok((input, pidfd_open(Pid::from_child(&child), PidfdFlags::empty())?))
        };
        match watch() {
            Ok((input, ended)) => Ok(Talk {
                child,
                program,
                ended,
                input,
                stdout,
                stderr,
                last_error: String::new(),
                is_reaped: false,
            }),
            Err(errno) => {
                let source = io::Error::from(errno);
                end_group(&child, &program);
                Err(ProgramError::Watch { program, source })
            }
        }
    }
}

impl Talk {
    /// Returns the standard input of the program, for any thread.
    pub fn input(&self) -> Input {
        self.input.clone()
    }

    /// Returns what the program says next, if there is anything; reads, writes and waits for nothing.
    ///
    /// A program that says more than it may waits for its turn: see [`Talk::wait`].
    pub fn next_said(&mut self) -> Option<Said> {
        if let Some(line) = self.stderr.next_line() {
            let line = String::from_utf8_lossy(&line.bytes).into_owned();
            if !line.trim().is_empty() {
                self.last_error = excerpt(&line);
            }
            return Some(Said::Error(line));
        }
        match self.stdout.next_line() {
            Some(line) if line.is_cut => Some(Said::Unreadable(TOO_LONG)),
            Some(line) => Some(match String::from_utf8(line.bytes) {
                Ok(line) => Said::Line(line),
                Err(_) => Said::Unreadable(NOT_TEXT),
            }),
            None if self.stdout.is_closed() => Some(Said::Ended),
            None => None,
        }
    }

    /// Waits until the program says or reads something, ends, the waker is called, or this time is over; returns whether
    /// the waker was called or dropped.
    ///
    /// # Errors
    /// The program can no longer be watched.
    pub fn wait(
        &mut self,
        alarm: &mut Alarm,
        timeout: Option<Duration>,
    ) -> Result<bool, ProgramError> {
        let rest = [self.stdout.rest(), self.stderr.rest()];
        let timeout = rest.into_iter().flatten().chain(timeout).min();
        let unread = self.input.unread_pipe();
        let mut watched = Vec::with_capacity(5);
        watched.push(PollFd::new(&self.ended, PollFlags::IN));
        watched.push(PollFd::new(&alarm.0, PollFlags::IN));
        let [stdout, stderr] = [self.stdout.watched(), self.stderr.watched()];
        let at_stderr = watched.len() + stdout.iter().len();
        let at_unread = at_stderr + stderr.iter().len();
        watched.extend(stdout.into_iter().chain(stderr));
        watched.extend(unread.as_ref().map(|pipe| PollFd::new(pipe, PollFlags::OUT)));
        match poll(&mut watched, timespec(timeout).as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(self.unwatchable(errno)),
        }
        let is_ready = |at: std::ops::Range<usize>| {
            watched[at].iter().any(|watched| !watched.revents().is_empty())
        };
        let [has_ended, is_called] = [is_ready(0..1), is_ready(1..2)];
        let [stdout, stderr] = [is_ready(2..at_stderr), is_ready(at_stderr..at_unread)];
        let takes = is_ready(at_unread..watched.len());
        if is_called {
            alarm.clear();
        }
        if takes {
            self.input.write();
        }
        let now = Instant::now();
        if stdout {
            self.stdout.read(now);
        }
        if stderr {
            self.stderr.read(now);
        }
        if has_ended {
            self.drain();
        }
        Ok(is_called)
    }

    /// Ends the program: closes its standard input, waits this long at most, and kills what is left of it and of
    /// everything that it has started. Returns how it ended, for people.
    pub fn end(mut self, grace: Duration) -> String {
        let until = Instant::now() + grace;
        let is_over = loop {
            self.input.close_when_read();
            let unread = self.input.unread_pipe();
            let left = until.saturating_duration_since(Instant::now());
            let mut watched = vec![PollFd::new(&self.ended, PollFlags::IN)];
            watched.extend(unread.as_ref().map(|pipe| PollFd::new(pipe, PollFlags::OUT)));
            watched.extend(self.stdout.watched_always());
            watched.extend(self.stderr.watched_always());
            let ready = poll(&mut watched, timespec(Some(left)).as_ref());
            if ready.is_ok_and(|ready| ready > 0) && !watched[0].revents().is_empty() {
                break true;
            }
            if left.is_zero() || ready.is_err_and(|errno| errno != Errno::INTR) {
                break false;
            }
            for lines in [&mut self.stdout, &mut self.stderr] {
                lines.discard();
            }
        };
        if is_over {
            self.drain();
            while self.next_said().is_some_and(|said| said != Said::Ended) {}
        }
        let status = self.reap();
        let status = status.map_or_else(|error| error.to_string(), |status| status.to_string());
        let (program, said) = (&self.program, &self.last_error);
        match (is_over, said.is_empty()) {
            (true, true) => format!("{program}: {status}"),
            (true, false) => format!("{program}: {status}: {said}"),
            (false, _) => format!("{program}: killed"),
        }
    }

    /// Takes what is left in the pipes of a program that has ended: what it has started may hold them open.
    fn drain(&mut self) {
        for lines in [&mut self.stdout, &mut self.stderr] {
            lines.drain();
        }
    }

    fn unwatchable(&self, errno: Errno) -> ProgramError {
        ProgramError::Watch { program: self.program.clone(), source: errno.into() }
    }

    fn reap(&mut self) -> io::Result<ExitStatus> {
        self.is_reaped = true;
        // Also where the program has ended: what it has started ends with it.
        end_group(&self.child, &self.program);
        self.child.wait()
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        if !self.is_reaped {
            // Nobody is there to be told.
            let _ = self.reap();
        }
    }
}

fn timespec(time: Option<Duration>) -> Option<Timespec> {
    // Longer than anybody waits fits as well. Rounded up, so that nothing is looked for too early.
    let up = |time: Duration| time + Duration::from_micros(1);
    time.map(|time| Timespec::try_from(up(time)).unwrap_or_default())
}

/// The longest line that a program may print.
pub const LINE_BOUND: usize = 64 * 1024;
/// Of a line on standard error, so much counts.
const ERROR_BOUND: usize = 1024;

const TOO_LONG: &str = "the line is longer than 64 KiB";
const NOT_TEXT: &str = "the line is not UTF-8";
