//! The standard input of a program that runs for long.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;

/// The standard input of a program, to which any thread may say a line; saying never blocks.
#[derive(Clone, Debug)]
pub struct Input(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    pipe: Mutex<Pipe>,
    /// Whether something waits for room: a thread that only wants to know does not wait for one that writes.
    has_unread: AtomicBool,
}

/// What became of a line for a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// It is in the pipe.
    Written,
    /// There was no room for all of it. A thread in [`Talk::wait`](crate::Talk::wait) must be woken, to write the rest.
    Queued,
    /// The program has left too much unread, and nothing was taken.
    Refused,
}

#[derive(Debug)]
struct Pipe {
    stdin: Option<Arc<File>>,
    /// What the program has not read yet.
    unread: VecDeque<u8>,
}

impl Input {
    pub(crate) fn new(stdin: Option<OwnedFd>) -> Result<Self, Errno> {
        let stdin = stdin.map(File::from);
        if let Some(stdin) = &stdin {
            fcntl_setfl(stdin, fcntl_getfl(stdin)? | OFlags::NONBLOCK)?;
        }
        let pipe = Mutex::new(Pipe { stdin: stdin.map(Arc::new), unread: VecDeque::new() });
        Ok(Self(Arc::new(Shared { pipe, has_unread: AtomicBool::new(false) })))
    }

    /// Writes a line for the program, or queues it.
    pub fn say(&self, line: &str) -> Told {
        let mut pipe = self.lock();
        if pipe.unread.len() + line.len() >= UNREAD_BOUND {
            return Told::Refused;
        }
        pipe.unread.extend(line.as_bytes());
        pipe.unread.push_back(b'\n');
        self.write_to(&mut pipe);
        if pipe.unread.is_empty() { Told::Written } else { Told::Queued }
    }

    /// Writes what the program can take.
    pub(crate) fn write(&self) {
        self.write_to(&mut self.lock());
    }

    /// Writes what the program can take, and closes the pipe once that is all.
    pub(crate) fn close_when_read(&self) {
        let mut pipe = self.lock();
        self.write_to(&mut pipe);
        if pipe.unread.is_empty() {
            pipe.stdin = None;
        }
    }

    /// Returns the pipe if something waits for room in it.
    pub(crate) fn unread_pipe(&self) -> Option<Arc<File>> {
        let has_unread = self.0.has_unread.load(Ordering::SeqCst);
        if has_unread { self.lock().stdin.clone() } else { None }
    }

    fn write_to(&self, pipe: &mut Pipe) {
        pipe.write();
        self.0.has_unread.store(!pipe.unread.is_empty(), Ordering::SeqCst);
    }

    fn lock(&self) -> MutexGuard<'_, Pipe> {
        // It is whole whatever happened to whoever had it.
        self.0.pipe.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pipe {
    fn write(&mut self) {
        while let (Some(stdin), false) = (&self.stdin, self.unread.is_empty()) {
            match (&**stdin).write(self.unread.make_contiguous()) {
                Ok(length) => drop(self.unread.drain(..length)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // It reads no more; it is ended where it says no more either.
                Err(_) => self.stdin = None,
            }
        }
        if self.stdin.is_none() {
            self.unread.clear();
        }
    }
}

/// What a program may leave unread: a few of the longest lines.
const UNREAD_BOUND: usize = 512 * 1024;
