//! `hearthd plugin-host`: the process that runs one plugin's code, and ends with the daemon.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    os::fd::AsFd,
    path::Path,
    process::ExitCode,
    sync::{Arc, Mutex},
    time::Duration,
};

use hearth_core::property::Declaration;
use hearth_sdk::abi;
use rustix::{
    event::{PollFd, PollFlags, poll},
    process::{Signal, getpid, kill_process},
    time::Timespec,
};

use super::{
    declarations, examine,
    library::{self, KindTable},
    system,
    wire::{Decoder, Examination, FromChild, HostCall, ToChild, Wire},
};
use crate::{
    config::Limits,
    device::{
        host::HostCalls,
        instance::{Birth, Call, Fall},
        local::Local,
        lock,
        mailbox::{Completion, TIMER_BOUND},
    },
};

/// Serves the daemon until it says stop or is gone.
pub(crate) fn serve() -> ExitCode {
    match Server::start().and_then(Server::serve) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hearthd plugin-host: {error}");
            ExitCode::FAILURE
        }
    }
}

struct Server {
    wire: Arc<Wire>,
    incoming: Wire,
    log_level: i32,
    /// The files that are loaded, with their kinds.
    loaded: BTreeMap<String, Result<Vec<KindTable>, String>>,
    device: Option<(Local, Arc<Remote>)>,
    saved: Option<Vec<u8>>,
}

impl Server {
    fn start() -> io::Result<Self> {
        system::close_inherited()?;
        system::confine()?;
        system::ignore_termination();
        let wire = Wire::new(system::take_standard_input()?);
        Ok(Self {
            incoming: wire.try_clone()?,
            wire: Arc::new(wire),
            log_level: abi::LOG_INFO,
            loaded: BTreeMap::new(),
            device: None,
            saved: None,
        })
    }

    fn serve(mut self) -> io::Result<()> {
        let mut decoder = Decoder::default();
        while decoder.fill(&mut self.incoming)? > 0 {
            while let Some(frame) = decoder.next::<ToChild<'_>>().map_err(io::Error::other)? {
                let answer = match frame {
                    ToChild::Settings { limits, log_level } => {
                        self.log_level = log_level;
                        begin(limits, self.wire.try_clone()?)?;
                        continue;
                    }
                    ToChild::Stop => {
                        return self.stop();
                    }
                    ToChild::ListKinds { file } => FromChild::Kinds(self.list_kinds(file)),
                    ToChild::Examine { file, kind, config } => {
                        FromChild::Examined(self.examine(file, kind, config))
                    }
                    ToChild::Create { file, kind, birth } => {
                        let created = self.create(file, kind, birth);
                        self.save()?;
                        FromChild::Created(created)
                    }
                    ToChild::Call(call) => {
                        let status = self.call(call);
                        if status != abi::ERR_PANIC {
                            self.save()?;
                        }
                        FromChild::Returned(status)
                    }
                    ToChild::Save => {
                        self.save()?;
                        FromChild::Returned(abi::OK)
                    }
                };
                self.wire.send(&answer)?;
            }
        }
        Ok(())
    }

    fn list_kinds(&mut self, file: &str) -> Result<Vec<String>, String> {
        let kinds = self.load(file)?;
        Ok(kinds.iter().map(|kind| kind.name().to_owned()).collect())
    }

    fn examine(&mut self, file: &str, kind: &str, config: &str) -> Examination {
        let kind = self.kind(file, kind).map_err(|message| vec![(String::new(), message)])?;
        examine(kind, config)
    }

    fn create(&mut self, file: &str, kind: &str, birth: Birth<'_>) -> Result<(), Fall> {
        let kind = self.kind(file, kind).map_err(Fall::Refused)?;
        let declarations = kind.describe(birth.config).and_then(declarations);
        let declarations = declarations.map_err(Fall::Refused)?;
        let remote = Arc::new(Remote::new(Arc::clone(&self.wire), self.log_level, declarations));
        let calls: Arc<dyn HostCalls> = Arc::clone(&remote) as _;
        let local = Local::create(kind, calls, birth)?;
        self.device = Some((local, remote));
        self.saved = birth.saved.map(<[u8]>::to_vec);
        Ok(())
    }

    fn call(&mut self, call: Call<'_>) -> i32 {
        let Some((local, remote)) = &mut self.device else { return abi::ERR_GONE };
        remote.begin(call);
        let status = local.call(call);
        remote.end(call, status);
        status
    }

    /// Sends what a successor should know, where it has changed.
    fn save(&mut self) -> io::Result<()> {
        let Some((local, _)) = &mut self.device else { return Ok(()) };
        // A panic ends the process, as one in a call would.
        let state = local.save().map_err(|fall| io::Error::other(fall.reason().to_owned()))?;
        if let Some(state) = state
            && self.saved.as_ref() != Some(&state)
        {
            self.wire.send(&FromChild::Saved(&state))?;
            self.saved = Some(state);
        }
        Ok(())
    }

    fn stop(&mut self) -> io::Result<()> {
        let saved = self.save();
        self.device = None;
        saved
    }

    fn kind(&mut self, file: &str, name: &str) -> Result<KindTable, String> {
        let kinds = self.load(file)?;
        let kind = kinds.iter().find(|kind| kind.name() == name);
        kind.copied().ok_or_else(|| format!("the file holds no kind `{name}`"))
    }

    fn load(&mut self, file: &str) -> Result<&[KindTable], String> {
        if !self.loaded.contains_key(file) {
            let calls = Remote::new(Arc::clone(&self.wire), self.log_level, Vec::new());
            let kinds = library::load(Path::new(file), Arc::new(calls));
            self.loaded.insert(file.to_owned(), kinds);
        }
        match &self.loaded[file] {
            Ok(kinds) => Ok(kinds),
            Err(error) => Err(error.clone()),
        }
    }
}

/// Sets the limits, and starts the thread that ends this process with the daemon.
fn begin(limits: Limits, wire: Wire) -> io::Result<()> {
    system::limit(limits)?;
    let watch = move || watch(&wire, limits.cpu);
    std::thread::Builder::new().name("watch".into()).stack_size(WATCH_STACK).spawn(watch)?;
    Ok(())
}

/// Waits for the daemon's end, which ends this process at once, whatever the plugin is doing.
///
/// Meanwhile it moves the limit of CPU time on, so that it counts within a minute and not for ever.
fn watch(wire: &Wire, cpu: Duration) {
    let minute = Timespec { tv_sec: 60, tv_nsec: 0 };
    loop {
        // Without a wish only the hang-up of the other end is told.
        let mut fds = [PollFd::from_borrowed_fd(wire.as_fd(), PollFlags::empty())];
        match poll(&mut fds, Some(&minute)) {
            Ok(0) => {
                // Where it fails, the limit that is there ends the process.
                let _ = system::allow_cpu(cpu);
            }
            Err(rustix::io::Errno::INTR) => {}
            Ok(_) | Err(_) => {
                // Not `exit`, which would run the plugin's code once more.
                let _ = kill_process(getpid(), Signal::KILL);
            }
        }
    }
}

/// Sends a plugin's calls of its host to the daemon, and answers them as the daemon would.
#[derive(Debug)]
struct Remote {
    wire: Arc<Wire>,
    log_level: i32,
    declarations: BTreeMap<String, Declaration>,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    /// The commands that may still be completed.
    tokens: BTreeSet<u64>,
    /// The timers that are armed.
    timers: BTreeSet<u32>,
}

impl Remote {
    fn new(wire: Arc<Wire>, log_level: i32, declarations: Vec<Declaration>) -> Self {
        let declarations = declarations.into_iter().map(|d| (d.name.clone(), d)).collect();
        Self { wire, log_level, declarations, open: Mutex::default() }
    }

    fn begin(&self, call: Call<'_>) {
        let mut open = lock(&self.open);
        match call {
            Call::Command { token, .. } => {
                // One command after the other: an older one has been given up.
                open.tokens = BTreeSet::from([token]);
            }
            Call::Timer(id) => drop(open.timers.remove(&id)),
            Call::Wake | Call::Absence(_) => {}
        }
    }

    fn end(&self, call: Call<'_>, status: i32) {
        if let Call::Command { token, .. } = call
            && status != abi::PENDING
        {
            lock(&self.open).tokens.remove(&token);
        }
    }

    fn send(&self, call: HostCall<'_>) -> i32 {
        self.wire.send(&FromChild::Host(call)).map_or(abi::ERR_GONE, |()| abi::OK)
    }
}

impl HostCalls for Remote {
    fn log(&self, level: i32, target: &str, message: &str) {
        if self.is_logged(level) {
            self.send(HostCall::Log { level, target, message });
        }
    }

    fn is_logged(&self, level: i32) -> bool {
        level <= self.log_level
    }

    fn publish(&self, property: &str, payload: &str) -> i32 {
        let fits = self.declarations.get(property).map(|d| d.read_state(payload).is_ok());
        let sent = self.send(HostCall::Publish { property, payload });
        // What does not fit is sent as well: the daemon says why it is refused.
        if fits == Some(true) { sent } else { abi::ERR_INVALID }
    }

    fn complete(&self, completion: Completion) -> i32 {
        let Completion { token, status, payload } = completion;
        if !lock(&self.open).tokens.remove(&token) {
            return abi::ERR_GONE;
        }
        self.send(HostCall::Complete { token, status, payload: &payload })
    }

    fn set_timer(&self, id: u32, delay: Option<Duration>) -> i32 {
        let mut open = lock(&self.open);
        if delay.is_none() {
            open.timers.remove(&id);
        } else if open.timers.len() < TIMER_BOUND || open.timers.contains(&id) {
            open.timers.insert(id);
        } else {
            return abi::ERR_TOO_LARGE;
        }
        self.send(HostCall::SetTimer { id, delay })
    }

    fn wake(&self) -> i32 {
        self.send(HostCall::Wake)
    }
}

const WATCH_STACK: usize = 64 * 1024;
