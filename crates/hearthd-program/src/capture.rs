//! The beginning of what comes out of a pipe.

use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

/// The beginning of what comes out of a pipe; the rest is read and dropped.
pub(crate) struct Capture {
    pipe: Option<std::fs::File>,
    kept: Vec<u8>,
}

impl Capture {
    pub(crate) fn new(pipe: Option<OwnedFd>) -> Self {
        Self { pipe: pipe.map(std::fs::File::from), kept: Vec::new() }
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
        let room = OUTPUT_BOUND.saturating_sub(self.kept.len());
        self.kept.extend_from_slice(&chunk[..length.min(room)]);
        Ok(length > 0)
    }

    pub(crate) fn text(self) -> String {
        String::from_utf8_lossy(&self.kept).into_owned()
    }
}

/// What of an output is kept.
const OUTPUT_BOUND: usize = 4096;
