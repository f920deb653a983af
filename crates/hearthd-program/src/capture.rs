//! The beginning of what comes out of a pipe, or each of its lines.

use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

/// Is told each line.
type Tell<'t> = Box<dyn FnMut(&str) + 't>;

/// The beginning of what comes out of a pipe; the rest is read and dropped.
pub(crate) struct Capture<'t> {
    pipe: Option<std::fs::File>,
    /// The beginning; where lines are told, of the present one.
    kept: Vec<u8>,
    tell: Option<Tell<'t>>,
}

impl<'t> Capture<'t> {
    pub(crate) fn new(pipe: Option<OwnedFd>) -> Self {
        Self { pipe: pipe.map(std::fs::File::from), kept: Vec::new(), tell: None }
    }

    /// Tells each line, and what is left at the end of the pipe. Of a long line the beginning counts.
    pub(crate) fn lines(pipe: Option<OwnedFd>, tell: impl FnMut(&str) + 't) -> Self {
        Self { tell: Some(Box::new(tell)), ..Self::new(pipe) }
    }

    pub(crate) fn watched(&self) -> Option<PollFd<'_>> {
        self.pipe.as_ref().map(|pipe| PollFd::from_borrowed_fd(pipe.as_fd(), PollFlags::IN))
    }

    /// Reads once if that does not block; returns whether there was something.
    pub(crate) fn take_ready(&mut self) -> Result<bool, Errno> {
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
        if self.tell.is_some() {
            self.take_lines(&chunk[..length]);
        } else {
            self.keep(&chunk[..length]);
        }
        Ok(length > 0)
    }

    fn keep(&mut self, bytes: &[u8]) {
        let room = OUTPUT_BOUND.saturating_sub(self.kept.len());
        self.kept.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    fn take_lines(&mut self, chunk: &[u8]) {
        let mut rest = chunk;
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            self.keep(&rest[..end]);
            rest = &rest[end + 1..];
            self.tell_line();
        }
        self.keep(rest);
        if self.pipe.is_none() && !self.kept.is_empty() {
            self.tell_line();
        }
    }

    fn tell_line(&mut self) {
        let line = std::mem::take(&mut self.kept);
        if let Some(tell) = &mut self.tell {
            tell(String::from_utf8_lossy(&line).trim_end_matches('\r'));
        }
    }

    pub(crate) fn text(self) -> String {
        String::from_utf8_lossy(&self.kept).into_owned()
    }
}

/// What of an output is kept.
const OUTPUT_BOUND: usize = 4096;
