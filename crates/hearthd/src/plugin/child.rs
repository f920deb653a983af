//! `hearthd plugin-host`: a process that runs plugins' code, one thread for each device, and ends with the daemon.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    os::fd::AsFd,
    path::Path,
    process::ExitCode,
    sync::{Arc, Mutex, mpsc},
    thread::{self, JoinHandle},
    time::Duration,
};

use hearthd_core::{DeclaredTopics, property::Declaration};
use hearthd_sdk::abi::{self, children::MOST_CHILDREN};
use rustix::{
    event::{PollFd, PollFlags, poll},
    process::{Signal, getpid, kill_process},
    time::Timespec,
};

use super::{
    Declared, children, crash_report, declared, describe, examine,
    ipc::{Channel, Decoder, Examination, FromChild, HostCall, NOBODY, ToChild, parse},
    system,
    traffic::Traffic,
};
use crate::{
    boundary::{
        call::{Call, ChildRefusal, CreateArguments, InstanceError, NewChild, Publication},
        host::{self, Completion, HostCalls, TIMER_BOUND},
        library::{self, KindTable},
        local::{Local, STACK_SIZE},
        under_way::UnderWay,
    },
    config::Limits,
    sync::lock,
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

/// The process's side: one thread for each device in it.
struct Server {
    incoming: Channel,
    host: Host,
    /// Where each device takes what is said to it, and its thread.
    devices: BTreeMap<u32, (mpsc::Sender<Vec<u8>>, JoinHandle<()>)>,
}

/// What all devices of the process share.
#[derive(Clone)]
struct Host {
    channel: Arc<Channel>,
    log_level: i32,
    /// The files that are loaded, with their kinds.
    loaded: Arc<Mutex<BTreeMap<String, Kinds>>>,
}

/// The kinds of a file, or why it cannot be loaded.
type Kinds = Result<Vec<KindTable>, String>;

impl Server {
    fn start() -> io::Result<Self> {
        system::close_inherited()?;
        system::confine()?;
        system::ignore_termination();
        crash_report::install();
        let channel = Channel::new(system::take_standard_input()?);
        let incoming = channel.try_clone()?;
        let host =
            Host { channel: Arc::new(channel), log_level: abi::LOG_INFO, loaded: Arc::default() };
        Ok(Self { incoming, host, devices: BTreeMap::new() })
    }

    fn serve(mut self) -> io::Result<()> {
        let mut decoder = Decoder::default();
        while decoder.fill(&mut self.incoming)? > 0 {
            while let Some((device, frame)) = decoder.next_frame().map_err(io::Error::other)? {
                if device == NOBODY {
                    self.answer(parse(frame).map_err(io::Error::other)?)?;
                } else {
                    self.hand_on(device, frame.to_vec())?;
                }
            }
        }
        Ok(())
    }

    /// Does what is not about one device.
    fn answer(&mut self, question: ToChild<'_>) -> io::Result<()> {
        let answer = match question {
            ToChild::Settings { limits, log_level } => {
                self.host.log_level = log_level;
                return begin(limits, self.host.channel.try_clone()?);
            }
            ToChild::Time { now_ms } => {
                host::set_time(now_ms);
                return Ok(());
            }
            ToChild::ListKinds { file } => FromChild::Kinds(self.host.list_kinds(file)),
            ToChild::Secrets { file, kind, config } => {
                FromChild::Secrets(self.host.kind(file, kind).and_then(|kind| kind.secrets(config)))
            }
            ToChild::Examine { file, kind, config } => {
                FromChild::Examined(self.host.examine(file, kind, config))
            }
            ToChild::Create { .. }
            | ToChild::Call(_)
            | ToChild::Save
            | ToChild::Stop
            | ToChild::Destroy => return Err(io::Error::other("it names no device")),
        };
        self.host.channel.send(NOBODY, &answer)
    }

    /// Gives a device what is said to it; the first of it starts its thread, and the last ends it.
    fn hand_on(&mut self, device: u32, frame: Vec<u8>) -> io::Result<()> {
        if !self.devices.contains_key(&device) {
            // However often devices are created anew, nothing stays of those before.
            self.devices.retain(|_, (_, thread)| !thread.is_finished());
            self.devices.insert(device, self.start_device(device)?);
        }
        // One that has ended takes nothing more.
        if let Some((frames, _)) = self.devices.get(&device)
            && frames.send(frame).is_err()
        {
            self.devices.remove(&device);
        }
        Ok(())
    }

    fn start_device(&self, number: u32) -> io::Result<(mpsc::Sender<Vec<u8>>, JoinHandle<()>)> {
        let (sender, frames) = mpsc::channel();
        let device = DeviceThread { number, host: self.host.clone(), device: None, saved: None };
        let serve = move || {
            if let Err(error) = device.serve(&frames) {
                eprintln!("hearthd plugin-host: {error}");
                // The daemon does not keep to the protocol, or is gone: nothing is left to be done here.
                let _ = kill_process(getpid(), Signal::KILL);
            }
        };
        let thread = thread::Builder::new().name(format!("device {number}"));
        Ok((sender, thread.stack_size(STACK_SIZE).spawn(serve)?))
    }
}

impl Host {
    fn list_kinds(&self, file: &str) -> Result<Vec<String>, String> {
        let kinds = self.load(file)?;
        Ok(kinds.iter().map(|kind| kind.name().to_owned()).collect())
    }

    fn examine(&self, file: &str, kind: &str, config: &str) -> Examination {
        let kind = self.kind(file, kind).map_err(|message| vec![(String::new(), message)])?;
        examine(kind, config)
    }

    fn kind(&self, file: &str, name: &str) -> Result<KindTable, String> {
        let kinds = self.load(file)?;
        let kind = kinds.iter().find(|kind| kind.name() == name);
        kind.copied().ok_or_else(|| format!("the file holds no kind `{name}`"))
    }

    fn load(&self, file: &str) -> Kinds {
        let mut loaded = lock(&self.loaded);
        if let Some(known) = loaded.get(file) {
            return known.clone();
        }
        let none =
            Declared { properties: Vec::new(), topics: DeclaredTopics::default(), adds: false };
        let calls = Remote::new(NOBODY, "", Arc::clone(&self.channel), self.log_level, none);
        let kinds = library::load(Path::new(file), Arc::new(calls));
        loaded.insert(file.to_owned(), kinds.clone());
        kinds
    }
}

/// One device in this process.
struct DeviceThread {
    number: u32,
    host: Host,
    device: Option<(Local, Arc<Remote>)>,
    saved: Option<Vec<u8>>,
}

impl DeviceThread {
    fn serve(mut self, frames: &mpsc::Receiver<Vec<u8>>) -> io::Result<()> {
        let _stack = crash_report::ReportStack::install();
        while let Ok(frame) = frames.recv() {
            let answer = match parse(&frame).map_err(io::Error::other)? {
                ToChild::Create { file, kind, arguments } => {
                    let created = self.create(file, kind, arguments);
                    FromChild::Created(if created.is_ok() { self.save()? } else { created })
                }
                ToChild::Call(call) => {
                    let status = self.call(call);
                    let has_panicked = status == abi::ERR_PANIC || self.save()?.is_err();
                    FromChild::Returned(if has_panicked { abi::ERR_PANIC } else { status })
                }
                ToChild::Save => {
                    FromChild::Returned(self.save()?.map_or(abi::ERR_PANIC, |()| abi::OK))
                }
                ToChild::Stop => {
                    // Whether or not it can save, it ends.
                    let _ = self.save()?;
                    self.device = None;
                    return self.host.channel.send(self.number, &FromChild::Ended);
                }
                ToChild::Destroy => return Ok(()),
                ToChild::Settings { .. }
                | ToChild::Time { .. }
                | ToChild::ListKinds { .. }
                | ToChild::Secrets { .. }
                | ToChild::Examine { .. } => {
                    return Err(io::Error::other("it names a device"));
                }
            };
            self.host.channel.send(self.number, &answer)?;
        }
        Ok(())
    }

    fn create(
        &mut self,
        file: &str,
        kind: &str,
        arguments: CreateArguments<'_>,
    ) -> Result<(), InstanceError> {
        let kind = self.host.kind(file, kind).map_err(InstanceError::Refused)?;
        let declared = describe(kind, arguments.config).and_then(declared);
        let declared = declared.map_err(InstanceError::Refused)?;
        let (channel, log_level) = (Arc::clone(&self.host.channel), self.host.log_level);
        let remote = Remote::new(self.number, arguments.device, channel, log_level, declared);
        let remote = Arc::new(remote.waiting_for(arguments.children));
        let calls: Arc<dyn HostCalls> = Arc::clone(&remote) as _;
        let local = Local::create(kind, calls, arguments)?;
        self.device = Some((local, remote));
        self.saved = arguments.saved.map(<[u8]>::to_vec);
        Ok(())
    }

    fn call(&mut self, call: Call<'_>) -> i32 {
        let Some((local, remote)) = &mut self.device else { return abi::ERR_GONE };
        remote.begin(call);
        let status = local.call(call);
        remote.end(call, status);
        status
    }

    /// Sends the device's saved state if it has changed; the inner error is that of the plugin.
    fn save(&mut self) -> io::Result<Result<(), InstanceError>> {
        let Some((local, _)) = &mut self.device else { return Ok(Ok(())) };
        match local.save() {
            Err(error) => Ok(Err(error)),
            Ok(Some(state)) if self.saved.as_ref() != Some(&state) => {
                self.host.channel.send(self.number, &FromChild::Saved(&state))?;
                self.saved = Some(state);
                Ok(Ok(()))
            }
            Ok(_) => Ok(Ok(())),
        }
    }
}

/// Sets the limits, and starts the thread that ends this process with the daemon.
fn begin(limits: Limits, channel: Channel) -> io::Result<()> {
    system::limit(limits)?;
    let watch = move || watch(&channel, limits.cpu);
    thread::Builder::new().name("watch".into()).stack_size(WATCH_STACK).spawn(watch)?;
    Ok(())
}

/// Waits for the daemon's end, which ends this process at once, whatever the plugin is doing.
///
/// Meanwhile it moves the limit of CPU time on, so that it counts within a minute and not for ever.
fn watch(channel: &Channel, cpu: Duration) {
    let minute = Timespec { tv_sec: 60, tv_nsec: 0 };
    loop {
        // Without requested events, only the hang-up of the other end is reported.
        let mut fds = [PollFd::from_borrowed_fd(channel.as_fd(), PollFlags::empty())];
        match poll(&mut fds, Some(&minute)) {
            Ok(0) => {
                // If this fails, the existing limit ends the process.
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
    device: u32,
    /// Device ID.
    id: String,
    /// The name by which its parent knows it, where another device has added it.
    child: Option<Box<str>>,
    channel: Arc<Channel>,
    log_level: i32,
    declarations: BTreeMap<String, Declaration>,
    traffic: Traffic,
    open: Mutex<Open>,
    adds: bool,
    /// The devices that it has added, by name; none where one is waited for.
    children: Mutex<BTreeMap<String, Option<Arc<Self>>>>,
}

/// What a device in the process still waits for.
#[derive(Debug, Default)]
struct Open {
    /// The command that has no answer yet.
    tokens: BTreeSet<u64>,
    under_way: UnderWay,
    /// The timers that are armed.
    timers: BTreeSet<u32>,
}

impl Remote {
    fn new(
        device: u32,
        id: &str,
        channel: Arc<Channel>,
        log_level: i32,
        declared: Declared,
    ) -> Self {
        let Declared { properties, topics, adds } = declared;
        Self {
            device,
            id: id.to_owned(),
            child: None,
            channel,
            log_level,
            declarations: properties.into_iter().map(|d| (d.name.clone(), d)).collect(),
            traffic: Traffic::new(topics),
            open: Mutex::default(),
            adds,
            children: Mutex::default(),
        }
    }

    /// Notes the names of the devices that the daemon waits for.
    fn waiting_for(mut self, children: &str) -> Self {
        let names = children.split_whitespace().map(|name| (name.to_owned(), None));
        self.children = Mutex::new(names.collect());
        self
    }

    fn child(&self, name: &str) -> Option<Arc<Self>> {
        lock(&self.children).get(name).cloned().flatten()
    }

    fn begin(&self, call: Call<'_>) {
        if let Call::Child { child, call } = call {
            match (self.child(child), call.as_call()) {
                (Some(remote), Some(call)) => remote.begin(call),
                (Some(_), None) => drop(lock(&self.children).remove(child)),
                (None, _) => {}
            }
            return;
        }
        let mut open = lock(&self.open);
        match call {
            Call::Command { token, .. } => {
                // One command after the other: an older one has been given up.
                open.tokens = BTreeSet::from([token]);
            }
            Call::Timer(id) => drop(open.timers.remove(&id)),
            Call::Link(up) => drop(self.traffic.set_link(up)),
            Call::Outcome { token, .. } => self.traffic.end_token(token),
            Call::Wake | Call::Absence(_) | Call::Message { .. } | Call::Child { .. } => {}
        }
    }

    fn end(&self, call: Call<'_>, status: i32) {
        if let Call::Child { child, call } = call {
            if let (Some(remote), Some(call)) = (self.child(child), call.as_call()) {
                remote.end(call, status);
            }
            return;
        }
        if let Call::Command { token, .. } = call
            && status != abi::PENDING
        {
            let mut open = lock(&self.open);
            open.tokens.remove(&token);
            open.under_way.remove(token);
        }
    }

    fn say(&self, call: HostCall<'_>) -> i32 {
        let call = match &self.child {
            Some(child) => HostCall::OfChild { child, call: Box::new(call) },
            None => call,
        };
        self.channel.send(self.device, &FromChild::Host(call)).map_or(abi::ERR_GONE, |()| abi::OK)
    }
}

impl HostCalls for Remote {
    fn log(&self, level: i32, target: &str, message: &str) {
        if self.is_logged(level) {
            self.say(HostCall::Log { level, target, message });
        }
    }

    fn is_logged(&self, level: i32) -> bool {
        level <= self.log_level
    }

    fn publish(&self, property: &str, payload: &str) -> i32 {
        let fits = self.declarations.get(property).map(|d| d.read_state(payload).is_ok());
        let sent = self.say(HostCall::Publish { property, payload });
        // What does not fit is sent as well: the daemon says why it is refused.
        if fits == Some(true) { sent } else { abi::ERR_INVALID }
    }

    fn complete(&self, completion: Completion) -> i32 {
        let Completion { token, status, payload } = completion;
        let mut open = lock(&self.open);
        if !open.tokens.remove(&token) && !open.under_way.remove(token) {
            return abi::ERR_GONE;
        }
        drop(open);
        self.say(HostCall::Complete { token, status, payload: &payload })
    }

    fn accept(&self, token: u64, within: Duration) -> i32 {
        let mut open = lock(&self.open);
        if !open.tokens.contains(&token) {
            return abi::ERR_GONE;
        }
        if let Err(status) = open.under_way.add(token, within) {
            return status;
        }
        open.tokens.remove(&token);
        // Under the lock, so that its end is not sent ahead of it.
        self.say(HostCall::Accept { token, within })
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
        self.say(HostCall::SetTimer { id, delay })
    }

    fn wake(&self) -> i32 {
        self.say(HostCall::Wake)
    }

    fn send(&self, publication: Publication<'_>) -> i32 {
        if publication.command.is_some_and(|token| !lock(&self.open).tokens.contains(&token)) {
            return abi::ERR_GONE;
        }
        if let Err(status) = self.traffic.begin(&publication) {
            return status;
        }
        self.say(HostCall::Send(publication))
    }

    fn unreachable(&self, reason: &str) -> i32 {
        self.say(HostCall::Unreachable { reason })
    }

    fn reachable(&self) -> i32 {
        self.say(HostCall::Reachable)
    }

    fn event(&self, property: &str, kind: &str) -> i32 {
        let fits = self.declarations.get(property).is_some_and(|d| d.has_event(kind));
        let sent = self.say(HostCall::Event { property, kind });
        // As with a state, the daemon says why it is refused.
        if fits { sent } else { abi::ERR_INVALID }
    }

    fn add_child(&self, child: &NewChild<'_>) -> Result<Arc<dyn HostCalls>, ChildRefusal> {
        if !self.adds {
            return Err(children::not_offered());
        }
        let (id, properties) = children::read(&self.id, child)?;
        let mut known = lock(&self.children);
        if known.len() >= MOST_CHILDREN && !known.contains_key(child.name) {
            return Err(children::too_many());
        }
        let declared = Declared { properties, topics: DeclaredTopics::default(), adds: false };
        let channel = Arc::clone(&self.channel);
        let remote = Arc::new(Self {
            child: Some(child.name.into()),
            ..Self::new(self.device, &id, channel, self.log_level, declared)
        });
        // Under the lock, so that of two threads the daemon hears in this order.
        if self.say(HostCall::AddChild(*child)) != abi::OK {
            let message = "the hub is gone".into();
            return Err(ChildRefusal { status: abi::ERR_GONE, path: "", message });
        }
        known.insert(child.name.to_owned(), Some(Arc::clone(&remote)));
        Ok(remote)
    }

    fn remove_child(&self, name: &str) -> i32 {
        let mut known = lock(&self.children);
        match known.remove(name) {
            Some(_) => self.say(HostCall::RemoveChild { name }),
            None => abi::ERR_INVALID,
        }
    }

    fn list_children(&self) -> Vec<String> {
        lock(&self.children).keys().cloned().collect()
    }
}

const WATCH_STACK: usize = 64 * 1024;
