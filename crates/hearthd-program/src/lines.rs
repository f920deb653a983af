//! The lines that a program says, and how many it may say.

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

/// The lines that come out of a pipe, no faster than a program may say them.
#[derive(Debug)]
pub(crate) struct Lines {
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
pub(crate) struct Line {
    pub(crate) bytes: Vec<u8>,
    pub(crate) is_cut: bool,
}

impl Lines {
    pub(crate) fn new(pipe: Option<OwnedFd>, longest: usize) -> Self {
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
    pub(crate) fn rest(&self) -> Option<Duration> {
        self.pipe.as_ref().and_then(|_| self.allowance.rest())
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.pipe.is_none()
    }

    pub(crate) fn watched(&self) -> Option<PollFd<'_>> {
        if self.rest().is_some() { None } else { self.watched_always() }
    }

    pub(crate) fn watched_always(&self) -> Option<PollFd<'_>> {
        self.pipe.as_ref().map(|pipe| PollFd::new(pipe, PollFlags::IN))
    }

    /// Reads once from a pipe that is ready; returns whether something came.
    pub(crate) fn read(&mut self, now: Instant) -> bool {
        let Some(pipe) = &self.pipe else { return false };
        self.bytes.reserve(CHUNK);
        // A pipe that cannot be read has nothing more to say.
        let length = rustix::io::read(pipe, spare_capacity(&mut self.bytes)).unwrap_or(0);
        if length == 0 {
            self.pipe = None;
        }
        self.allowance.spend(now, length);
        length > 0
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
    pub(crate) fn drain(&mut self) {
        self.allowance = Allowance::new(Instant::now());
        for _ in 0..PIPE_READS {
            if !self.is_ready().unwrap_or(false) || !self.read(Instant::now()) {
                break;
            }
        }
        self.pipe = None;
    }

    /// Reads and drops.
    pub(crate) fn discard(&mut self) {
        if self.is_ready().unwrap_or(false) {
            let mut chunk = [0; CHUNK];
            let length = self.pipe.as_mut().map_or(0, |pipe| pipe.read(&mut chunk).unwrap_or(0));
            if length == 0 {
                self.pipe = None;
            }
        }
    }

    /// Takes the next whole line, or what is left at the end of the pipe.
    pub(crate) fn next_line(&mut self) -> Option<Line> {
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
        self.allowance.take(SHORT_LINE.saturating_sub(length));
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
        self.take(bytes);
    }

    /// Spends without a look at the clock: what has grown counts the next time.
    fn take(&mut self, bytes: usize) {
        self.left -= i64::try_from(bytes).unwrap_or(i64::MAX);
    }

    /// Returns how long it takes until something may come; none where it may now.
    fn rest(&self) -> Option<Duration> {
        let missing = u64::try_from(-self.left).ok()?;
        let needed = Duration::from_micros((missing + 1) * 1_000_000 / RATE.unsigned_abs());
        let left = needed.saturating_sub(self.at.elapsed());
        Some(left).filter(|left| !left.is_zero())
    }
}

/// What a program may say per second on each of its outputs, and at once, in bytes.
const RATE: i64 = 256 * 1024;
const BURST: i64 = 1024 * 1024;
/// A line costs as much as this at least: so there are at most about 1000 a second.
const SHORT_LINE: usize = 256;
/// What is read at once.
const CHUNK: usize = 16 * 1024;
/// Reads after which a pipe is empty that nobody writes to: it holds 64 KiB.
const PIPE_READS: usize = 5;
