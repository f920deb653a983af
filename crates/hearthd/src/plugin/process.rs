//! A process that runs a plugin's code for the daemon: its devices, and what happens to them when it ends.
//!
//! Each device has a number and a thread in its process, so a slow call delays no other device. When the process ends,
//! the devices with a call in progress or a command without an answer count as crashed. The other devices are created
//! anew without a mark against them. If there is no such device, the cause is unknown, and all count as crashed.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    io::{self, Read},
    os::fd::AsFd,
    process::ChildStderr,
    sync::{Arc, Mutex, mpsc},
    thread::{self, JoinHandle},
    time::Duration,
};

use hearthd_sdk::abi;
use rustix::event::{PollFd, PollFlags, poll};

use super::{
    ipc::{Channel, Decoder, FromChild, HostCall, NOBODY, ToChild, parse},
    launch::{Launcher, Process},
};
use crate::{
    boundary::{call::InstanceError, plugin_log::PluginLog},
    config::Limits,
    sync::lock,
};

/// A running process; dropping it kills it.
#[derive(Debug)]
pub(crate) struct HostProcess {
    inner: Arc<Inner>,
    reader: Option<JoinHandle<()>>,
    limits: Limits,
}

/// The daemon's side of a device that lives in such a process.
pub(crate) trait Tenant: fmt::Debug + Send + Sync {
    /// The plugin calls its host.
    fn host_call(&self, call: HostCall<'_>);
    /// It has something that a successor should know.
    fn saved(&self, state: Vec<u8>);
    /// The process is gone.
    fn lost(&self);
}

/// What a device's own thread waits for.
#[derive(Debug)]
pub(crate) enum Return {
    Created(Result<(), InstanceError>),
    Returned(i32),
    Ended,
}

/// What the process's reader and its devices share.
#[derive(Debug)]
struct Inner {
    process: Mutex<Process>,
    channel: Channel,
    log: Arc<PluginLog>,
    tenants: Mutex<Tenants>,
}

/// The devices in the process, by number, and how it has ended once it has.
#[derive(Debug)]
struct Tenants {
    next: u32,
    entries: BTreeMap<u32, TenantEntry>,
    ended: Option<Ended>,
}

/// One device in the process.
#[derive(Debug)]
struct TenantEntry {
    tenant: Arc<dyn Tenant>,
    returns: mpsc::SyncSender<Return>,
    /// A call is under way.
    called: bool,
    /// The commands that have been taken, and are not answered.
    commands: Commands,
    /// The token of the one that is the call under way.
    in_command: Option<u64>,
}

/// The commands of one instance without an answer: one of the device itself, and one of each that it has added.
#[derive(Debug, Default)]
struct Commands(Vec<(Box<str>, Option<u64>)>);

impl Commands {
    /// Notes a command, in the place of an older one that was given up.
    fn begin(&mut self, child: &str, token: u64) {
        match self.0.iter_mut().find(|(name, _)| **name == *child) {
            Some((_, command)) => *command = Some(token),
            None => self.0.push((child.into(), Some(token))),
        }
    }

    fn end(&mut self, token: u64) {
        for (_, command) in &mut self.0 {
            command.take_if(|command| *command == token);
        }
    }

    fn forget(&mut self, child: &str) {
        self.0.retain(|(name, _)| **name != *child);
    }

    fn are_open(&self) -> bool {
        self.0.iter().any(|(_, command)| command.is_some())
    }
}

/// How a process has ended, and in whose calls.
#[derive(Debug)]
struct Ended {
    reason: String,
    guilty: BTreeSet<u32>,
}

/// Why a process ends.
#[derive(Clone, Copy, Debug)]
enum End<'a> {
    /// It ended by itself, or something else ended it.
    Gone,
    /// What it says cannot be.
    Malformed(&'a str),
    /// A call of this device does not end.
    Hangs(u32, Duration),
}

impl HostProcess {
    /// Starts a process; what it writes outside of any device goes to `log`.
    pub(crate) fn start(
        launcher: &Launcher,
        name: &str,
        log: Arc<PluginLog>,
    ) -> Result<Arc<Self>, String> {
        let started = launcher.start().and_then(|(process, errors)| {
            process.channel().limit_sending(SENDING)?;
            let (channel, incoming) =
                (process.channel().try_clone()?, process.channel().try_clone()?);
            Ok((process, channel, incoming, errors))
        });
        let (process, channel, incoming, errors) =
            started.map_err(|error| format!("start its process: {error}"))?;
        let tenants = Tenants { next: NOBODY + 1, entries: BTreeMap::new(), ended: None };
        let inner = Arc::new(Inner {
            process: Mutex::new(process),
            channel,
            log,
            tenants: Mutex::new(tenants),
        });
        let reader = Reader {
            channel: incoming,
            errors: Some(errors),
            line: Vec::new(),
            inner: Arc::clone(&inner),
        };
        let thread = thread::Builder::new().name(format!("wire {name}")).stack_size(STACK_SIZE);
        let thread = thread.spawn(move || reader.run());
        let reader = Some(thread.map_err(|error| format!("start a thread: {error}"))?);
        Ok(Arc::new(Self { inner, reader, limits: launcher.limits() }))
    }

    /// Returns whether a device that needs these limits can still be created in it.
    pub(crate) fn serves(&self, limits: Limits) -> bool {
        self.limits == limits && lock(&self.inner.tenants).ended.is_none()
    }

    /// Takes a device in; returns its number, and what its calls return.
    pub(crate) fn admit(&self, tenant: Arc<dyn Tenant>) -> (u32, mpsc::Receiver<Return>) {
        let (sender, returns) = mpsc::sync_channel(RETURNS_BOUND);
        let mut tenants = lock(&self.inner.tenants);
        let number = tenants.next;
        tenants.next += 1;
        // Where the process has ended meanwhile, the sender is dropped, which tells.
        if tenants.ended.is_none() {
            let entry = TenantEntry {
                tenant,
                returns: sender,
                called: false,
                commands: Commands::default(),
                in_command: None,
            };
            tenants.entries.insert(number, entry);
        }
        (number, returns)
    }

    /// Forgets a device: further messages of its instance are dropped.
    pub(crate) fn dismiss(&self, number: u32) {
        lock(&self.inner.tenants).entries.remove(&number);
    }

    /// Says something to a device's instance, which answers.
    ///
    /// # Errors
    /// Where the process is gone.
    pub(crate) fn say(&self, number: u32, what: &ToChild<'_>) -> Result<(), InstanceError> {
        if let Some(entry) = lock(&self.inner.tenants).entries.get_mut(&number) {
            entry.called = true;
            if let ToChild::Call(call) = what
                && let Some((child, token)) = call.command()
            {
                entry.commands.begin(child, token);
                entry.in_command = Some(token);
            }
        }
        self.inner.channel.send(number, what).map_err(|_| {
            self.inner.end(End::Gone);
            self.error_of(number)
        })
    }

    /// Tells the process the time of a clock that is not the system's.
    pub(crate) fn tell_time(&self, now_ms: u64) {
        // Where the process is gone, what is said to it next tells.
        let _ = self.inner.channel.send(NOBODY, &ToChild::Time { now_ms });
    }

    /// Kills the process, because a call does not end.
    pub(crate) fn end_hang(&self, number: u32, waited: Duration) -> InstanceError {
        self.inner.end(End::Hangs(number, waited));
        self.error_of(number)
    }

    /// Kills the process, because what it has returned makes no sense.
    pub(crate) fn end_nonsense(&self, number: u32, what: &str) -> InstanceError {
        self.inner.end(End::Malformed(what));
        self.error_of(number)
    }

    /// Says what the end of the process means for a device in it.
    pub(crate) fn error_of(&self, number: u32) -> InstanceError {
        let tenants = lock(&self.inner.tenants);
        match &tenants.ended {
            Some(ended) if ended.guilty.is_empty() || ended.guilty.contains(&number) => {
                InstanceError::Crashed(ended.reason.clone())
            }
            Some(ended) => InstanceError::ProcessLost(format!(
                "{}, in a call of another device of the same plugin file",
                ended.reason
            )),
            None => InstanceError::Crashed("its process has cut the wire".into()),
        }
    }
}

impl Drop for HostProcess {
    fn drop(&mut self) {
        lock(&self.inner.process).kill();
        if let Some(reader) = self.reader.take() {
            // A panic in it has been told by its own thread's line in the log.
            let _ = reader.join();
        }
    }
}

impl Inner {
    /// Sees that the process has ended, and tells all that live in it.
    fn end(&self, end: End<'_>) {
        let mut tenants = lock(&self.tenants);
        if tenants.ended.is_some() {
            return;
        }
        let killed = lock(&self.process).kill();
        let busy = |(number, entry): (&u32, &TenantEntry)| {
            (entry.called || entry.commands.are_open()).then_some(*number)
        };
        let (guilty, reason) = match end {
            End::Gone => (None, format!("its process has ended: {killed}")),
            End::Malformed(what) => {
                (None, format!("its process does not keep to the protocol and is killed: {what}"))
            }
            End::Hangs(number, waited) => {
                let waited = humantime::format_duration(waited);
                (Some(number), format!("a call took longer than {waited}; its process is killed"))
            }
        };
        let guilty = match guilty {
            Some(number) => BTreeSet::from([number]),
            None => tenants.entries.iter().filter_map(busy).collect(),
        };
        tenants.ended = Some(Ended { reason, guilty });
        // The senders are dropped first, so that every receiver that notices the loss finds the reason.
        let gone: Vec<_> =
            std::mem::take(&mut tenants.entries).into_values().map(|entry| entry.tenant).collect();
        drop(tenants);
        gone.iter().for_each(|tenant| tenant.lost());
    }

    fn take(&self, number: u32, frame: FromChild<'_>) -> Result<(), String> {
        let mut tenants = lock(&self.tenants);
        if number >= tenants.next {
            return Err(format!("a frame of device {number}, which was never created"));
        }
        let Some(entry) = tenants.entries.get_mut(&number) else {
            // Of a device that has ended, or of the plugin as a whole.
            drop(tenants);
            if let (NOBODY, FromChild::Host(HostCall::Log { level, target, message })) =
                (number, frame)
            {
                self.log.write(level, target, message);
            }
            return Ok(());
        };
        let returned = match frame {
            FromChild::Host(call) => {
                if let Some(token) = call.token() {
                    entry.commands.end(token);
                } else if let HostCall::RemoveChild { name } = call {
                    entry.commands.forget(name);
                }
                let tenant = Arc::clone(&entry.tenant);
                drop(tenants);
                tenant.host_call(call);
                return Ok(());
            }
            FromChild::Saved(state) => {
                let tenant = Arc::clone(&entry.tenant);
                drop(tenants);
                tenant.saved(state.to_vec());
                return Ok(());
            }
            FromChild::Created(result) => Return::Created(result),
            FromChild::Returned(status) => {
                let command = entry.in_command.take().filter(|_| status != abi::PENDING);
                command.into_iter().for_each(|token| entry.commands.end(token));
                Return::Returned(status)
            }
            FromChild::Ended => Return::Ended,
            FromChild::Kinds(_) | FromChild::Secrets(_) | FromChild::Examined(_) => {
                return Err("an answer that nobody asked for".into());
            }
        };
        entry.called = false;
        // The receiver may have given up; then the message is dropped.
        match entry.returns.try_send(returned) {
            Err(mpsc::TrySendError::Full(_)) => Err("more answers than questions".into()),
            Err(mpsc::TrySendError::Disconnected(_)) | Ok(()) => Ok(()),
        }
    }
}

/// Takes what the process says, until it ends.
#[derive(Debug)]
struct Reader {
    channel: Channel,
    /// Standard error, while it is open.
    errors: Option<ChildStderr>,
    line: Vec<u8>,
    inner: Arc<Inner>,
}

impl Reader {
    fn run(mut self) {
        let mut decoder = Decoder::default();
        let malformed = loop {
            let (said, complained) = match self.wait() {
                Ok(ready) => ready,
                Err(error) => break Some(error.to_string()),
            };
            if complained {
                self.take_errors();
            }
            if !said {
                continue;
            }
            match decoder.fill(&mut self.channel) {
                Ok(0) | Err(_) => break None,
                Ok(_) => {}
            }
            if let Err(what) = self.take_frames(&mut decoder) {
                break Some(what);
            }
        };
        self.take_last_errors();
        self.inner.end(malformed.as_deref().map_or(End::Gone, End::Malformed));
    }

    /// Waits for the channel and for standard error; tells which of them has something.
    fn wait(&self) -> io::Result<(bool, bool)> {
        let channel = PollFd::from_borrowed_fd(self.channel.as_fd(), PollFlags::IN);
        let ready = |fd: &PollFd<'_>| !fd.revents().is_empty();
        match &self.errors {
            Some(errors) => {
                let mut both = [channel, PollFd::new(errors, PollFlags::IN)];
                retry(|| poll(&mut both, None))?;
                Ok((ready(&both[0]), ready(&both[1])))
            }
            None => Ok((true, false)),
        }
    }

    fn take_frames(&self, decoder: &mut Decoder) -> Result<(), String> {
        while let Some((number, frame)) = decoder.next_frame()? {
            self.inner.take(number, parse(frame)?)?;
        }
        Ok(())
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
            self.inner.log.write(abi::LOG_WARN, "standard error", &line);
        }
    }
}

fn retry<T>(mut call: impl FnMut() -> rustix::io::Result<T>) -> io::Result<T> {
    rustix::io::retry_on_intr(&mut call).map_err(io::Error::from)
}

const STACK_SIZE: usize = 128 * 1024;
/// Answers that a process may give ahead of the thread that waits for them.
const RETURNS_BOUND: usize = 4;
/// How long a process may leave unread what is said to it.
const SENDING: Duration = Duration::from_secs(5);
const LONGEST_LINE: usize = 1024;
/// Pieces of standard error that are read after the end.
const LAST_CHUNKS: usize = 64;
