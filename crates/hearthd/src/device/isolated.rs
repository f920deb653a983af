//! An instance in a process of its own: calls go over a wire, and a thread reads what comes back.

use std::{
    io::{self, Read},
    os::fd::AsFd,
    process::ChildStderr,
    sync::{Arc, mpsc},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use hearth_sdk::abi;
use rustix::event::{PollFd, PollFlags, poll};

use super::{
    host::HostCalls,
    instance::{Birth, Call, Fall},
    mailbox::Completion,
    shared::Shared,
};
use crate::plugin::{
    Kind, Launcher,
    launch::Process,
    wire::{Decoder, FromChild, HostCall, ToChild, Wire},
};

/// A living instance in a child process; dropping it kills the process.
#[derive(Debug)]
pub(crate) struct Isolated {
    process: Process,
    returns: mpsc::Receiver<Return>,
    reader: Option<JoinHandle<()>>,
    deadline: Duration,
}

/// What the instance's own thread waits for.
#[derive(Debug)]
enum Return {
    Created(Result<(), Fall>),
    Returned(i32),
    /// What came over the wire cannot be.
    Malformed(String),
}

impl Isolated {
    pub(crate) fn create(
        kind: &Kind,
        launcher: &Launcher,
        shared: &Arc<Shared>,
        birth: Birth<'_>,
    ) -> Result<Self, Fall> {
        let file = kind.file().ok_or_else(|| {
            Fall::Refused("its kind is built into the hub and has no process".to_owned())
        })?;
        let deadline = shared.config.deadline;
        let started = launcher.start().and_then(|(process, errors)| {
            process.wire().limit_sending(deadline)?;
            Ok((Reader::new(&process, errors, Arc::clone(shared))?, process))
        });
        let (reader, process) =
            started.map_err(|error| Fall::Refused(format!("start its process: {error}")))?;
        let (sender, returns) = mpsc::sync_channel(RETURNS_BOUND);
        let thread = std::thread::Builder::new()
            .name(format!("wire {}", shared.config.id))
            .stack_size(STACK_SIZE)
            .spawn(move || reader.run(sender))
            .map_err(|error| Fall::Refused(format!("start a thread: {error}")))?;
        let mut isolated = Self { process, returns, reader: Some(thread), deadline };
        let create = ToChild::Create { file, kind: kind.name(), birth };
        match isolated.ask(&create, deadline.max(LEAST_CREATE))? {
            Return::Created(result) => result.map(|()| isolated),
            other => Err(isolated.misbehaved(&format!("{other:?} is no answer to create"))),
        }
    }

    pub(crate) fn call(&mut self, call: Call<'_>) -> Result<i32, Fall> {
        match self.ask(&ToChild::Call(call), self.deadline)? {
            Return::Returned(status) => Ok(status),
            other => Err(self.misbehaved(&format!("{other:?} is no answer to a call"))),
        }
    }

    /// Has the plugin save; what it saves is kept by the time that this returns.
    pub(crate) fn save(&mut self) -> Result<(), Fall> {
        match self.ask(&ToChild::Save, self.deadline)? {
            Return::Returned(_) => Ok(()),
            other => Err(self.misbehaved(&format!("{other:?} is no answer to save"))),
        }
    }

    /// Has the plugin save and destroy the device; kills the process where that takes too long.
    pub(crate) fn end(self, grace: Duration) {
        if self.process.wire().send(&ToChild::Stop).is_ok() {
            // The process ends without an answer, which disconnects the channel.
            let deadline = Instant::now() + grace;
            let left = || deadline.saturating_duration_since(Instant::now());
            while self.returns.recv_timeout(left()).is_ok() {}
        }
    }

    /// Returns how the process ended, if it has.
    pub(crate) fn gone(&mut self) -> Option<Fall> {
        match self.returns.try_recv() {
            Ok(Return::Malformed(what)) => Some(self.misbehaved(&what)),
            Err(mpsc::TryRecvError::Disconnected) => Some(self.autopsy()),
            Ok(Return::Created(_) | Return::Returned(_)) | Err(mpsc::TryRecvError::Empty) => None,
        }
    }

    fn ask(&mut self, what: &ToChild<'_>, deadline: Duration) -> Result<Return, Fall> {
        if let Ok(early) = self.returns.try_recv() {
            return Err(self.misbehaved(&format!("{early:?} before it was asked")));
        }
        if self.process.wire().send(what).is_err() {
            return Err(self.autopsy());
        }
        match self.returns.recv_timeout(deadline) {
            Ok(Return::Malformed(what)) => Err(self.misbehaved(&what)),
            Ok(returned) => Ok(returned),
            Err(mpsc::RecvTimeoutError::Disconnected) => Err(self.autopsy()),
            Err(mpsc::RecvTimeoutError::Timeout) => {
                self.process.kill();
                let waited = humantime::format_duration(deadline);
                Err(Fall::Crashed(format!(
                    "a call took longer than {waited}; its process is killed"
                )))
            }
        }
    }

    /// Says how the process ended; one that has only cut the wire is killed.
    fn autopsy(&mut self) -> Fall {
        Fall::Crashed(format!("its process has ended: {}", self.process.kill()))
    }

    fn misbehaved(&mut self, what: &str) -> Fall {
        self.process.kill();
        Fall::Crashed(format!("its process does not keep to the protocol and is killed: {what}"))
    }
}

impl Drop for Isolated {
    fn drop(&mut self) {
        self.process.kill();
        if let Some(reader) = self.reader.take() {
            // A panic in it has been told by its own thread's line in the log.
            let _ = reader.join();
        }
    }
}

/// Takes what the process says, until it ends.
#[derive(Debug)]
struct Reader {
    wire: Wire,
    /// Standard error, while it is open.
    errors: Option<ChildStderr>,
    line: Vec<u8>,
    shared: Arc<Shared>,
}

impl Reader {
    fn new(process: &Process, errors: ChildStderr, shared: Arc<Shared>) -> io::Result<Self> {
        Ok(Self {
            wire: process.wire().try_clone()?,
            errors: Some(errors),
            line: Vec::new(),
            shared,
        })
    }

    fn run(mut self, returns: mpsc::SyncSender<Return>) {
        let mut decoder = Decoder::default();
        loop {
            let (said, complained) = match self.wait() {
                Ok(ready) => ready,
                Err(error) => {
                    // The instance may have given up waiting, here and below.
                    let _ = returns.try_send(Return::Malformed(error.to_string()));
                    break;
                }
            };
            if complained {
                self.take_errors();
            }
            if !said {
                continue;
            }
            match decoder.fill(&mut self.wire) {
                Ok(0) | Err(_) => break,
                Ok(_) => {}
            }
            if let Err(what) = self.take_frames(&mut decoder, &returns) {
                let _ = returns.try_send(Return::Malformed(what));
                break;
            }
        }
        self.take_last_errors();
        // First, so that whoever hears of the loss finds out why.
        drop(returns);
        self.shared.mailbox.lost();
    }

    /// Waits for the wire and for standard error; tells which of them has something.
    fn wait(&self) -> io::Result<(bool, bool)> {
        let wire = PollFd::from_borrowed_fd(self.wire.as_fd(), PollFlags::IN);
        let ready = |fd: &PollFd<'_>| !fd.revents().is_empty();
        match &self.errors {
            Some(errors) => {
                let mut both = [wire, PollFd::new(errors, PollFlags::IN)];
                retry(|| poll(&mut both, None))?;
                Ok((ready(&both[0]), ready(&both[1])))
            }
            None => Ok((true, false)),
        }
    }

    fn take_frames(
        &self,
        decoder: &mut Decoder,
        returns: &mpsc::SyncSender<Return>,
    ) -> Result<(), String> {
        while let Some(frame) = decoder.next::<FromChild<'_>>()? {
            let returned = match frame {
                FromChild::Host(call) => {
                    self.host_call(call);
                    continue;
                }
                FromChild::Saved(state) => {
                    self.shared.keep(state.to_vec());
                    continue;
                }
                FromChild::Created(result) => Return::Created(result),
                FromChild::Returned(status) => Return::Returned(status),
                FromChild::Kinds(_) | FromChild::Examined(_) => {
                    return Err("an answer that nobody asked for".into());
                }
            };
            returns.try_send(returned).map_err(|error| format!("too much: {error}"))?;
        }
        Ok(())
    }

    fn host_call(&self, call: HostCall<'_>) {
        let shared = &self.shared;
        // The process has had its status already, and has checked as this one does.
        let _ = match call {
            HostCall::Log { level, target, message } => {
                shared.log(level, target, message);
                abi::OK
            }
            HostCall::Publish { property, payload } => shared.publish(property, payload),
            HostCall::Complete { token, status, payload } => {
                shared.complete(Completion { token, status, payload: payload.to_vec() })
            }
            HostCall::SetTimer { id, delay } => shared.set_timer(id, delay),
            HostCall::Wake => shared.wake(),
        };
    }

    /// Logs what the process writes to standard error, line by line.
    fn take_errors(&mut self) {
        let mut chunk = [0; 1024];
        let Some(errors) = &mut self.errors else { return };
        match errors.read(&mut chunk) {
            Ok(0) => self.errors = None,
            Ok(length) => {
                for piece in chunk[..length].split_inclusive(|byte| *byte == b'\n') {
                    self.line.extend_from_slice(piece);
                    if piece.ends_with(b"\n") || self.line.len() >= LONGEST_LINE {
                        self.write_line();
                    }
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => self.errors = None,
        }
    }

    /// Takes what is left of standard error; a grandchild that keeps it open is not waited for.
    fn take_last_errors(&mut self) {
        for _ in 0..LAST_CHUNKS {
            let Some(errors) = &self.errors else { break };
            let mut fds = [PollFd::new(errors, PollFlags::IN)];
            let soon = rustix::time::Timespec { tv_sec: 0, tv_nsec: 0 };
            match retry(|| poll(&mut fds, Some(&soon))) {
                Ok(ready) if ready > 0 => self.take_errors(),
                Ok(_) | Err(_) => break,
            }
        }
        self.write_line();
    }

    fn write_line(&mut self) {
        let line = String::from_utf8_lossy(&self.line).trim_end().to_owned();
        self.line.clear();
        if !line.is_empty() {
            self.shared.log(abi::LOG_WARN, "standard error", &line);
        }
    }
}

fn retry<T>(mut call: impl FnMut() -> rustix::io::Result<T>) -> io::Result<T> {
    rustix::io::retry_on_intr(&mut call).map_err(io::Error::from)
}

const STACK_SIZE: usize = 128 * 1024;
/// How long a process may take at least to load its plugin and to create its device.
const LEAST_CREATE: Duration = Duration::from_secs(10);
/// Answers that a process may give ahead of the thread that waits for them.
const RETURNS_BOUND: usize = 4;
const LONGEST_LINE: usize = 1024;
/// Pieces of standard error that are read after the end.
const LAST_CHUNKS: usize = 64;
