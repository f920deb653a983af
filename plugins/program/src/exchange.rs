//! The conversation with a program and those whom its words reach: shared by the devices and the thread that listens.
//!
//! A device writes what it has for the program itself: a request wakes the program and then the thread that listens, and no
//! other. Lines are written and requests answered without the lock, for which those who are woken would wait at once.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use hearthd_program::{Input, Told};
use hearthd_sdk::{ChildDeclaration, Context, Deferred, Failure};
use serde_json::Value as Json;

use crate::Added;
use crate::conversation::{Asked, Conversation, Greeting, Output};
use crate::protocol::Level;
use crate::service::Service;

/// What a device remembers: shared with the device, which the hub asks for it.
pub(crate) type Saved = Arc<Mutex<Option<Vec<u8>>>>;

/// An exchange of lines, whose lock is held for the time of one step.
#[derive(Clone, Debug)]
pub(crate) struct Shared(Arc<Mutex<Exchange>>);

/// The conversation, and what performs its outputs.
#[derive(Debug)]
pub(crate) struct Exchange {
    begin: Instant,
    conversation: Conversation,
    devices: BTreeMap<String, Member>,
    answers: BTreeMap<u64, Deferred>,
    /// Of the program that runs.
    input: Option<Input>,
    /// Why the program that runs is to be ended.
    doom: Option<String>,
    after: After,
    /// Until when the thread that listens rests, or has last rested.
    rest: Rest,
    /// When a device last had something for the program.
    last_asked: Duration,
    /// Whether there are devices that the thread that listens has not looked at: it starts the program for them.
    has_new_devices: bool,
    is_over: bool,
}

/// A device of the exchange.
#[derive(Debug)]
struct Member {
    context: Context,
    saved: Saved,
    service: Weak<Service>,
}

/// What a step brings, and is done once the lock is free.
#[derive(Debug, Default)]
struct After {
    lines: Vec<String>,
    answers: Vec<(Deferred, Result<(), Failure>)>,
}

/// How long the thread rests by itself.
#[derive(Clone, Copy, Debug)]
enum Rest {
    Until(Duration),
    /// Until it is woken.
    Forever,
}

/// Whether the thread that listens has to look around.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wake {
    Yes,
    No,
}

impl Shared {
    pub(crate) fn new(patience: Duration) -> Self {
        Self(Arc::new(Mutex::new(Exchange {
            begin: Instant::now(),
            conversation: Conversation::new(patience),
            devices: BTreeMap::new(),
            answers: BTreeMap::new(),
            input: None,
            doom: None,
            after: After::default(),
            rest: Rest::Until(Duration::ZERO),
            last_asked: Duration::ZERO,
            has_new_devices: false,
            is_over: false,
        })))
    }

    /// Does a step and what it brings; returns as well whether the thread that listens has to look around: otherwise it does
    /// so in time by itself.
    pub(crate) fn step<R>(&self, step: impl FnOnce(&mut Exchange) -> R) -> (R, Wake) {
        let mut exchange = self.lock();
        let result = step(&mut exchange);
        exchange.perform();
        let mut wake = exchange.wake();
        let After { lines, answers } = std::mem::take(&mut exchange.after);
        let input = exchange.input.clone().filter(|_| !lines.is_empty());
        drop(exchange);
        for told in input.iter().flat_map(|input| lines.iter().map(|line| input.say(line))) {
            match told {
                Told::Written => {}
                Told::Queued => wake = Wake::Yes,
                Told::Refused => {
                    wake = Wake::Yes;
                    let mut exchange = self.lock();
                    exchange.conversation.deaf();
                    exchange.perform();
                    break;
                }
            }
        }
        for (answer, result) in answers {
            match result {
                Ok(()) => answer.done(),
                Err(failure) => answer.fail(&failure),
            }
        }
        (result, wake)
    }

    fn lock(&self) -> MutexGuard<'_, Exchange> {
        // It is whole whatever happened to whoever had it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the devices do.
impl Exchange {
    /// Has a device served from now on.
    pub(crate) fn attach(
        &mut self,
        context: Context,
        greeting: Greeting,
        saved: Saved,
        service: Weak<Service>,
    ) {
        let device = context.device_id().to_owned();
        self.devices.insert(device.clone(), Member { context, saved, service });
        self.has_new_devices = true;
        self.conversation.attach(self.now(), device, greeting);
    }

    /// Has a device served no longer.
    pub(crate) fn detach(&mut self, device: &str) {
        let ended = self.conversation.detach(device);
        self.perform();
        ended.iter().for_each(|device| drop(self.devices.remove(device)));
    }

    /// Has a device set.
    pub(crate) fn set(&mut self, device: &str, asked: Asked, answer: Deferred) {
        self.last_asked = self.now();
        self.answers.insert(asked.request, answer);
        self.conversation.set(self.last_asked, device, asked);
    }

    /// The hub does not have a device that the program has added.
    pub(crate) fn refused(&mut self, parent: &str, name: &str, reason: &str) {
        self.conversation.refused(parent, name, reason);
        self.devices.remove(&format!("{parent}-{name}"));
    }

    /// Tells a device what became of the hub's will.
    pub(crate) fn absence(&mut self, device: &str, absence: Json) {
        self.conversation.absence(device, absence);
    }

    /// The last device has ended.
    pub(crate) fn close(&mut self) {
        self.is_over = true;
    }
}

/// What the thread does that listens.
impl Exchange {
    /// Returns whether it is over, and whether there are devices.
    pub(crate) fn look_around(&mut self) -> (bool, bool) {
        self.has_new_devices = false;
        (self.is_over, !self.devices.is_empty())
    }

    /// Takes the reason for which the program is to be ended.
    pub(crate) fn take_doom(&mut self) -> Option<String> {
        self.perform();
        self.doom.take()
    }

    /// The thread that listens has ended: nobody answers any more.
    pub(crate) fn abandon(&mut self) {
        self.answers.clear();
    }

    pub(crate) fn started(&mut self, input: Input) {
        self.input = Some(input);
        self.conversation.started(self.now());
    }

    pub(crate) fn ended(&mut self, reason: &str) {
        (self.input, self.doom) = (None, None);
        self.conversation.ended(reason);
    }

    pub(crate) fn line(&mut self, line: &str) {
        self.conversation.line(self.now(), line);
    }

    pub(crate) fn unreadable(&mut self, reason: &str) {
        self.conversation.unreadable(self.now(), reason);
    }

    pub(crate) fn log_error(&self, line: &str) {
        if let Some(member) = self.devices.values().next()
            && !line.trim().is_empty()
        {
            member.context.within(|| tracing::warn!("stderr: {}", line.trim_end()));
        }
    }

    /// Does what is due, and returns how long the thread may rest.
    pub(crate) fn rest(&mut self) -> Option<Duration> {
        let now = self.now();
        if self.conversation.next_deadline().is_some_and(|due| due <= now) {
            self.conversation.tick(now);
            self.perform();
        }
        let due = self.conversation.next_deadline();
        // A request that comes soon need not wake the thread for its deadline.
        let soon = Some(self.last_asked + LATELY).filter(|soon| now < *soon);
        let until = due.into_iter().chain(soon).min();
        self.rest = until.map_or(Rest::Forever, Rest::Until);
        until.map(|until| until.saturating_sub(now))
    }
}

impl Exchange {
    fn now(&self) -> Duration {
        self.begin.elapsed()
    }

    fn wake(&self) -> Wake {
        let due = self.conversation.next_deadline();
        let rests_too_long = match (self.rest, due) {
            (Rest::Until(until), Some(due)) => due < until,
            (Rest::Forever, Some(_)) => true,
            (_, None) => false,
        };
        let has_to = rests_too_long || self.has_new_devices || self.doom.is_some();
        if has_to { Wake::Yes } else { Wake::No }
    }

    /// Does what has to be done, except what is done once the lock is free.
    fn perform(&mut self) {
        while let Some(output) = self.conversation.next_output() {
            match output {
                Output::Write(line) => self.after.lines.push(line),
                // At once: the states that follow are no longer those of the answer.
                Output::Accept { request, within } => {
                    if let Some(answer) = self.answers.get(&request) {
                        answer.accept(within);
                    }
                }
                Output::Answer { request, result } => {
                    let answer = self.answers.remove(&request);
                    self.after.answers.extend(answer.map(|answer| (answer, result)));
                }
                Output::Publish { device, property, value } => {
                    self.with(&device, |context, _| context.publish(&property, value));
                }
                Output::Event { device, property, kind } => {
                    self.with(&device, |context, _| context.event(&property, &kind));
                }
                Output::Reach { device, unreachable } => {
                    self.with(&device, |context, _| match unreachable {
                        Some(reason) => context.unreachable(reason),
                        None => context.reachable(),
                    });
                }
                Output::Save { device, state } => self.with(&device, |context, saved| {
                    *saved.lock().unwrap_or_else(PoisonError::into_inner) = Some(state);
                    // The hub asks for it after each call.
                    context.wake();
                }),
                Output::Log { device, level, message } => {
                    self.with(&device, |_, _| log(level, &message));
                }
                Output::Add { parent, name, device, declaration } => {
                    self.add(&parent, &name, device, declaration);
                }
                Output::Remove { parent, name, device } => {
                    self.with(&parent, |context, _| context.children().remove(&name));
                    self.devices.remove(&device);
                }
                Output::End(reason) => self.doom = Some(reason),
            }
        }
    }

    /// Does something for a device, whose name the log then carries.
    fn with(&self, device: &str, work: impl FnOnce(&Context, &Saved)) {
        if let Some(Member { context, saved, .. }) = self.devices.get(device) {
            context.within(|| work(context, saved));
        }
    }

    /// Has the hub serve a device that the program adds.
    fn add(&mut self, parent: &str, name: &str, device: String, declaration: ChildDeclaration) {
        let Some(member) = self.devices.get(parent) else { return };
        let service = member.service.clone();
        let added = member.context.children().add(name, declaration, |context| {
            let service = service.clone();
            Added { context, service }
        });
        match added {
            Ok(context) => {
                self.devices.insert(device, Member { context, saved: Saved::default(), service });
            }
            Err(failure) => self.refused(parent, name, failure.message()),
        }
    }
}

/// Writes what a program wants to have in the log.
fn log(level: Level, message: &str) {
    match level {
        Level::Error => tracing::error!("{message}"),
        Level::Warn => tracing::warn!("{message}"),
        Level::Info => tracing::info!("{message}"),
        Level::Debug => tracing::debug!("{message}"),
        Level::Trace => tracing::trace!("{message}"),
    }
}

/// After a request, the thread looks around at least this often: the deadlines of most requests are later.
const LATELY: Duration = Duration::from_secs(1);
