//! A program that runs for long, and with which lines are exchanged.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::{ProgramError, Runner, end_group, excerpt};

/// A program that reads lines and prints lines; dropping it ends it and everything that it has started.
#[derive(Debug)]
pub struct Talk {
    child: Child,
    program: String,
    /// Readable once the program has ended.
    ended: OwnedFd,
    stdin: Option<File>,
    /// What the program has not read yet.
    outgoing: VecDeque<u8>,
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
        let stdin = child.stdin.take().map(|pipe| File::from(OwnedFd::from(pipe)));
        let stdout = Lines::new(child.stdout.take().map(OwnedFd::from), LINE_BOUND);
        let stderr = Lines::new(child.stderr.take().map(OwnedFd::from), ERROR_BOUND);
        let watch = || {
            if let Some(stdin) = &stdin {
                fcntl_setfl(stdin, fcntl_getfl(stdin)? | OFlags::NONBLOCK)?;
            }
            pidfd_open(Pid::from_child(&child), PidfdFlags::empty())
        };
        match watch() {
            Ok(ended) => Ok(Talk {
                child,
                program,
                ended,
                stdin,
                outgoing: VecDeque::new(),
                stdout,
                stderr,
                last_error: String::new(),
                is_reaped: false,
            }),
            Err(errno) => {
                end_group(&child, &program);
                Err(ProgramError::Watch { program, source: errno.into() })
            }
        }
    }
}

impl Talk {
    /// Writes a line for the program, or queues it; returns false, and takes nothing, where the program has left too much unread.
    #[must_use]
    pub fn say(&mut self, line: &str) -> bool {
        if self.outgoing.len() + line.len() >= OUTGOING_BOUND {
            return false;
        }
        self.outgoing.extend(line.as_bytes());
        self.outgoing.push_back(b'\n');
        // At once, where there is room in the pipe.
        self.write();
        true
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
            None if self.stdout.pipe.is_none() => Some(Said::Ended),
            None => None,
        }
    }

    /// Waits until the program says or reads something, ends, the waker is called, or this time is over.
    ///
    /// # Errors
    /// The program can no longer be watched.
    pub fn wait(
        &mut self,
        alarm: &mut Alarm,
        timeout: Option<Duration>,
    ) -> Result<(), ProgramError> {
        let now = Instant::now();
        let rest = [self.stdout.rest(now), self.stderr.rest(now)];
        let timeout = rest.into_iter().flatten().chain(timeout).min();
        let mut watched =
            vec![PollFd::new(&self.ended, PollFlags::IN), PollFd::new(&alarm.0, PollFlags::IN)];
        watched.extend(self.stdout.watched(now));
        watched.extend(self.stderr.watched(now));
        let unread = self.stdin.as_ref().filter(|_| !self.outgoing.is_empty());
        watched.extend(unread.map(|stdin| PollFd::new(stdin, PollFlags::OUT)));
        match poll(&mut watched, timespec(timeout).as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(self.unwatchable(errno)),
        }
        let [has_ended, is_called] = [0, 1].map(|at: usize| !watched[at].revents().is_empty());
        let says = watched[2..].iter().any(|pipe| !pipe.revents().is_empty());
        if is_called {
            alarm.clear();
        }
        if !says && !has_ended {
            return Ok(());
        }
        self.write();
        let now = Instant::now();
        for lines in [&mut self.stdout, &mut self.stderr] {
            lines.read(now).map_err(|errno| ProgramError::Watch {
                program: self.program.clone(),
                source: errno.into(),
            })?;
        }
        if has_ended {
            self.drain();
        }
        Ok(())
    }

    /// Ends the program: closes its standard input, waits this long at most, and kills what is left of it and of
    /// everything that it has started. Returns how it ended, for people.
    pub fn end(mut self, grace: Duration) -> String {
        let until = Instant::now() + grace;
        let is_over = loop {
            self.write();
            if self.outgoing.is_empty() {
                self.stdin = None;
            }
            let left = until.saturating_duration_since(Instant::now());
            let mut watched = vec![PollFd::new(&self.ended, PollFlags::IN)];
            watched.extend(self.stdin.as_ref().map(|stdin| PollFd::new(stdin, PollFlags::OUT)));
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

    /// Writes what the program can take.
    fn write(&mut self) {
        while let (Some(stdin), false) = (&mut self.stdin, self.outgoing.is_empty()) {
            let (first, _) = self.outgoing.as_slices();
            match stdin.write(first) {
                Ok(length) => drop(self.outgoing.drain(..length)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // It reads no more; it is ended where it says no more either.
                Err(_) => self.stdin = None,
            }
        }
        if self.stdin.is_none() {
            self.outgoing.clear();
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

/// The lines that come out of a pipe, no faster than a program may say them.
#[derive(Debug)]
struct Lines {
    pipe: Option<File>,
    bytes: Vec<u8>,
    /// Up to where there is no end of a line.
    searched: usize,
    /// Whether more of the line at hand has come than is kept.
    is_cut: bool,
    longest: usize,
    allowance: Allowance,
}

/// A line, or the beginning of one that is too long.
struct Line {
    bytes: Vec<u8>,
    is_cut: bool,
}

impl Lines {
    fn new(pipe: Option<OwnedFd>, longest: usize) -> Self {
        Self {
            pipe: pipe.map(File::from),
            bytes: Vec::new(),
            searched: 0,
            is_cut: false,
            longest,
            allowance: Allowance::new(Instant::now()),
        }
    }

    /// Returns how long the pipe is left alone, because too much has come out of it.
    fn rest(&self, now: Instant) -> Option<Duration> {
        self.pipe.as_ref().and_then(|_| self.allowance.rest(now))
    }

    fn watched(&self, now: Instant) -> Option<PollFd<'_>> {
        if self.rest(now).is_some() { None } else { self.watched_always() }
    }

    fn watched_always(&self) -> Option<PollFd<'_>> {
        self.pipe.as_ref().map(|pipe| PollFd::new(pipe, PollFlags::IN))
    }

    /// Reads once if that does not block and it is the program's turn.
    fn read(&mut self, now: Instant) -> Result<bool, Errno> {
        if self.rest(now).is_some() || !self.is_ready()? {
            return Ok(false);
        }
        let mut chunk = [0; CHUNK];
        // A pipe that cannot be read has nothing more to say.
        let length = self.pipe.as_mut().map_or(0, |pipe| pipe.read(&mut chunk).unwrap_or(0));
        if length == 0 {
            self.pipe = None;
        }
        self.allowance.spend(now, length);
        self.bytes.extend_from_slice(&chunk[..length]);
        Ok(length > 0)
    }

    fn is_ready(&self) -> Result<bool, Errno> {
        let Some(pipe) = &self.pipe else { return Ok(false) };
        let mut ready = [PollFd::new(pipe, PollFlags::IN)];
        match poll(&mut ready, Some(&Timespec::default())) {
            Ok(ready) => Ok(ready > 0),
            Err(Errno::INTR) => Ok(false),
            Err(errno) => Err(errno),
        }
    }

    /// Reads what is there now, without end of the pipe to wait for, and closes it.
    fn drain(&mut self) {
        self.allowance = Allowance::new(Instant::now());
        for _ in 0..PIPE_READS {
            let now = Instant::now();
            if !self.read(now).unwrap_or(false) {
                break;
            }
        }
        self.pipe = None;
    }

    /// Reads and drops.
    fn discard(&mut self) {
        if self.is_ready().unwrap_or(false) {
            let mut chunk = [0; CHUNK];
            let length = self.pipe.as_mut().map_or(0, |pipe| pipe.read(&mut chunk).unwrap_or(0));
            if length == 0 {
                self.pipe = None;
            }
        }
    }

    /// Takes the next whole line, or what is left at the end of the pipe.
    fn next_line(&mut self) -> Option<Line> {
        let end = self.bytes[self.searched..].iter().position(|byte| *byte == b'\n');
        let (length, taken) = match end {
            Some(at) => (self.searched + at, self.searched + at + 1),
            None if self.pipe.is_none() && !self.bytes.is_empty() => {
                (self.bytes.len(), self.bytes.len())
            }
            None => {
                // Of a line without end, no more than the longest is kept.
                self.is_cut |= self.bytes.len() > self.longest;
                self.bytes.truncate(self.longest);
                self.searched = self.bytes.len();
                return None;
            }
        };
        let mut bytes: Vec<_> = self.bytes.drain(..taken).collect();
        bytes.truncate(length.min(self.longest));
        if bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
        self.searched = 0;
        self.allowance.spend(Instant::now(), SHORT_LINE.saturating_sub(length));
        let is_cut = std::mem::take(&mut self.is_cut) || length > self.longest;
        Some(Line { bytes, is_cut })
    }
}

/// How much may still come, in bytes; it grows with time.
#[derive(Debug)]
struct Allowance {
    left: i64,
    at: Instant,
}

impl Allowance {
    fn new(now: Instant) -> Self {
        Self { left: BURST, at: now }
    }

    fn spend(&mut self, now: Instant, bytes: usize) {
        let grown = now.saturating_duration_since(self.at).as_micros();
        let grown = i64::try_from(grown).unwrap_or(i64::MAX).saturating_mul(RATE) / 1_000_000;
        // What is less than a byte counts another time.
        if grown > 0 {
            (self.left, self.at) = (self.left.saturating_add(grown).min(BURST), now);
        }
        self.left -= i64::try_from(bytes).unwrap_or(i64::MAX);
    }

    /// Returns how long it takes until something may come; none where it may now.
    fn rest(&self, now: Instant) -> Option<Duration> {
        let missing = u64::try_from(-self.left).ok()?;
        let needed = Duration::from_micros((missing + 1) * 1_000_000 / RATE.unsigned_abs());
        let left = needed.saturating_sub(now.saturating_duration_since(self.at));
        Some(left).filter(|left| !left.is_zero())
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
/// What a program may leave unread: a few of the longest lines.
const OUTGOING_BOUND: usize = 512 * 1024;
/// What a program may say per second on each of its outputs, and at once, in bytes.
const RATE: i64 = 256 * 1024;
const BURST: i64 = 1024 * 1024;
/// A line costs as much as this at least: so there are at most about 1000 a second.
const SHORT_LINE: usize = 256;
/// What is read at once.
const CHUNK: usize = 16 * 1024;
/// Reads after which a pipe is empty that nobody writes to: it holds 64 KiB.
const PIPE_READS: usize = 5;

const TOO_LONG: &str = "the line is longer than 64 KiB";
const NOT_TEXT: &str = "the line is not UTF-8";
