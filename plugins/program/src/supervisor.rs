//! The thread that runs a program, starts it again, and performs what the conversation with it decides.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hearthd_program::{Alarm, Runner, Said, Talk};
use hearthd_sdk::{Context, Deferred};
use serde_json::Value as Json;

use crate::config::Launch;
use crate::conversation::{Asked, Conversation, Greeting, Output};
use crate::protocol::Level;

/// What a device remembers: shared with the device, which the hub asks for it.
pub(crate) type Saved = Arc<Mutex<Option<Vec<u8>>>>;

/// What a device has for the thread.
#[derive(Debug)]
pub(crate) enum Mail {
    /// It wants to be served.
    Attach { context: Context, greeting: Greeting, saved: Saved },
    /// It ends.
    Detach { device: String },
    /// It is to be set.
    Set { device: String, asked: Asked, answer: Deferred },
    /// What became of the hub's will.
    Absence { device: String, absence: Json },
}

/// All that the thread owns.
#[derive(Debug)]
pub(crate) struct Supervisor {
    launch: Launch,
    mail: Receiver<Mail>,
    alarm: Alarm,
    begin: Instant,
    conversation: Conversation,
    devices: BTreeMap<String, (Context, Saved)>,
    answers: BTreeMap<u64, Deferred>,
    talk: Option<Talk>,
    /// When the program that runs was started.
    started: Instant,
    /// When the next one is started, while none runs.
    retry: Instant,
    wait: Duration,
    /// Why the program that runs is to be ended.
    doom: Option<String>,
}

/// Whether there are still devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    Yes,
    No,
}

impl Supervisor {
    pub(crate) fn new(launch: Launch, mail: Receiver<Mail>, alarm: Alarm) -> Self {
        let conversation = Conversation::new(launch.start);
        let now = Instant::now();
        Self {
            launch,
            mail,
            alarm,
            begin: now,
            conversation,
            devices: BTreeMap::new(),
            answers: BTreeMap::new(),
            talk: None,
            started: now,
            retry: now,
            wait: SHORTEST_WAIT,
            doom: None,
        }
    }

    /// Works until the last device has ended.
    pub(crate) fn run(mut self) {
        loop {
            if self.take_mail() == Wanted::No {
                if let Some(talk) = self.talk.take() {
                    talk.end(self.launch.stop);
                }
                return;
            }
            if self.talk.is_none() && self.retry <= Instant::now() && !self.devices.is_empty() {
                self.start();
            }
            self.listen();
            self.conversation.tick(self.now());
            self.perform();
            if let Some(reason) = self.doom.take() {
                self.end(Some(reason));
                continue;
            }
            self.rest();
        }
    }

    fn now(&self) -> Duration {
        self.begin.elapsed()
    }

    fn take_mail(&mut self) -> Wanted {
        loop {
            let mail = match self.mail.try_recv() {
                Ok(mail) => mail,
                Err(TryRecvError::Empty) => return Wanted::Yes,
                Err(TryRecvError::Disconnected) => return Wanted::No,
            };
            let now = self.now();
            match mail {
                Mail::Attach { context, greeting, saved } => {
                    let device = context.device_id().to_owned();
                    self.devices.insert(device.clone(), (context, saved));
                    self.conversation.attach(now, device, greeting);
                }
                Mail::Detach { device } => {
                    self.conversation.detach(&device);
                    self.perform();
                    self.devices.remove(&device);
                }
                Mail::Set { device, asked, answer } => {
                    self.answers.insert(asked.request, answer);
                    self.conversation.set(now, &device, asked);
                }
                Mail::Absence { device, absence } => self.conversation.absence(&device, absence),
            }
            self.perform();
        }
    }

    fn start(&mut self) {
        let runner = Runner::new(Duration::MAX).with_environment(self.launch.environment.clone());
        let (program, arguments) =
            self.launch.command.split_first().expect("the configuration is checked");
        self.started = Instant::now();
        match runner.talk(Path::new(program), arguments) {
            Ok(talk) => {
                self.talk = Some(talk);
                self.conversation.started(self.now());
                self.perform();
            }
            Err(error) => self.note_end(&error.to_string()),
        }
    }

    /// Takes what the program has said.
    fn listen(&mut self) {
        while let Some(said) = self.talk.as_mut().and_then(Talk::next_said) {
            let now = self.now();
            match said {
                Said::Line(line) => self.conversation.line(now, &line),
                Said::Unreadable(reason) => self.conversation.unreadable(now, reason),
                Said::Error(line) => self.log_error(&line),
                Said::Ended => {
                    self.end(None);
                    return;
                }
            }
            self.perform();
            if self.doom.is_some() {
                return;
            }
        }
    }

    /// Ends the program: at once where there is a reason, and else because it has ended, or says no more.
    fn end(&mut self, reason: Option<String>) {
        let Some(talk) = self.talk.take() else { return };
        let ended = talk.end(if reason.is_some() { Duration::ZERO } else { CLOSED });
        self.note_end(&reason.unwrap_or(ended));
    }

    fn note_end(&mut self, reason: &str) {
        if self.started.elapsed() >= LASTING {
            self.wait = SHORTEST_WAIT;
        }
        self.retry = Instant::now() + self.wait;
        self.wait = (self.wait * 2).min(LONGEST_WAIT);
        self.conversation.ended(reason);
        self.perform();
    }

    fn perform(&mut self) {
        while let Some(output) = self.conversation.next_output() {
            match output {
                Output::Write(line) => {
                    if self.talk.as_mut().is_some_and(|talk| !talk.say(&line)) {
                        self.conversation.deaf();
                    }
                }
                Output::Answer { request, result } => {
                    match (self.answers.remove(&request), result) {
                        (Some(answer), Ok(())) => answer.done(),
                        (Some(answer), Err(failure)) => answer.fail(&failure),
                        (None, _) => {}
                    }
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
                Output::End(reason) => self.doom = Some(reason),
            }
        }
    }

    /// Does something for a device, whose name the log then carries.
    fn with(&self, device: &str, work: impl FnOnce(&Context, &Saved)) {
        if let Some((context, saved)) = self.devices.get(device) {
            context.within(|| work(context, saved));
        }
    }

    fn log_error(&self, line: &str) {
        if let Some((context, _)) = self.devices.values().next()
            && !line.trim().is_empty()
        {
            context.within(|| tracing::warn!("stderr: {}", line.trim_end()));
        }
    }

    /// Waits until there is something to do.
    fn rest(&mut self) {
        let due = self.conversation.next_deadline();
        let mut left = due.map(|due| due.saturating_sub(self.now()));
        if self.talk.is_none() && !self.devices.is_empty() {
            let retry = self.retry.saturating_duration_since(Instant::now());
            left = Some(left.map_or(retry, |left| left.min(retry)));
        }
        let Some(talk) = &mut self.talk else { return self.alarm.wait(left) };
        if let Err(error) = talk.wait(&mut self.alarm, left) {
            self.doom = Some(error.to_string());
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

/// The time until a program that has ended is started again; it doubles while programs end soon.
const SHORTEST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// A program that ran for so long did not end at once.
const LASTING: Duration = Duration::from_secs(60);
/// How long a program may still take that has closed its output.
const CLOSED: Duration = Duration::from_millis(200);
