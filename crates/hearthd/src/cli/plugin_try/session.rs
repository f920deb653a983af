//! A trial as its commands drive it: what the device says is printed, and kept until a line expects it.

use std::{
    collections::VecDeque,
    path::PathBuf,
    time::{Duration, Instant},
};

use super::{
    lines::LogLines,
    script::{HELP, Step},
    subject::Subject,
};
use crate::{
    cli::declaration::{in_words, width},
    device::{DeviceEvent, trial::Trial},
    plugin::REPORT_BEGINS,
};
use bytes::Bytes;
use hearthd_core::{Answer, BridgeInput, BridgeOutput, Expects, Publication, Reason, RequestId};

/// A trial under way.
pub(super) struct Session {
    pub(super) trial: Trial,
    plugin: PathBuf,
    log: LogLines,
    /// How long an expectation may take to come true, in real time.
    patience: Duration,
    /// The device is a program, which takes its time to start.
    is_program: bool,
    link_up: bool,
    present: Place,
    asked: VecDeque<Asked>,
    pub(super) answers: VecDeque<(Place, Answer)>,
    pub(super) events: Vec<(String, String)>,
    pub(super) sent: Vec<Publication>,
    /// Messages that expect something, oldest first.
    awaiting: VecDeque<Publication>,
    pub(super) crashes: VecDeque<(Place, String)>,
    /// Where something was refused, for each time.
    pub(super) refused: VecDeque<Place>,
    refused_before: usize,
    pub(super) logged: Vec<String>,
    /// How many lines were logged before the present command.
    logged_before: usize,
}

/// A line of the script.
#[derive(Clone, Debug, Default)]
pub(super) struct Place {
    pub(super) line: usize,
    pub(super) text: String,
}

/// Why a script has failed, and at which line.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) place: Place,
    pub(super) reason: String,
}

/// A request without an answer.
#[derive(Debug)]
struct Asked {
    id: RequestId,
    place: Place,
    /// A line says that it has none.
    excused: bool,
}

impl Session {
    /// Begins with a device that is about to be created.
    pub(super) fn begin(trial: Trial, subject: Subject, log: LogLines, patience: Duration) -> Self {
        let Subject { plugin, is_program, .. } = subject;
        let mut session = Self {
            trial,
            plugin,
            log,
            patience,
            is_program,
            link_up: false,
            present: Place { line: 0, text: "the start".into() },
            asked: VecDeque::new(),
            answers: VecDeque::new(),
            events: Vec::new(),
            sent: Vec::new(),
            awaiting: VecDeque::new(),
            crashes: VecDeque::new(),
            refused: VecDeque::new(),
            refused_before: 0,
            logged: Vec::new(),
            logged_before: 0,
        };
        session.await_start();
        session
    }

    /// Does what a line says.
    ///
    /// # Errors
    /// Where it cannot be done, where an expectation does not come true, and where something has gone wrong before that
    /// no line has expected.
    pub(super) fn execute(&mut self, place: Place, step: Step) -> Result<(), Failed> {
        if !matches!(step, Step::Expect(_)) {
            self.require_no_fault()?;
        }
        self.present = place;
        self.logged_before = self.logged.len();
        match step {
            Step::Describe => self.describe(),
            Step::Request(property, payload) => {
                self.require_no_failure()?;
                let id = self.trial.request(&property, &payload);
                let asked = Asked { id, place: self.present.clone(), excused: false };
                self.asked.push_back(asked);
            }
            Step::Advance(by) => {
                let advanced = self.trial.advance(by);
                self.pump();
                advanced.map_err(|reason| self.failed(reason))?;
            }
            Step::Wait(time) => self.wait(time),
            Step::Absence(absence) => self.trial.absence(absence),
            Step::Link(up) => {
                self.link_up = up;
                self.trial.bridge(BridgeOutput::Link { up });
            }
            Step::Message { topic, payload, retained } => {
                self.deliver(topic, payload, retained).map_err(|reason| self.failed(reason))?;
            }
            Step::Outcome(result) => {
                let Some(message) = self.awaiting.pop_front() else {
                    let text = "the device has sent no message that expects a reply";
                    return Err(self.failed(text.into()));
                };
                let result = result.map(Bytes::from);
                self.trial.bridge(BridgeOutput::Outcome { number: message.number, result });
            }
            Step::Save => {
                let saved = self.trial.saved().unwrap_or_default();
                say!("  saved {}", text_of(&saved));
            }
            Step::Restart => {
                self.awaiting.clear();
                self.trial.restart();
                self.pump();
                self.await_start();
            }
            Step::Expect(expectation) => self.expect(&expectation)?,
            Step::Help => say!("{}", HELP.trim_end()),
            Step::Quit => {}
        }
        self.pump();
        Ok(())
    }

    /// Waits for answers that are still missing, and ends the device.
    ///
    /// # Errors
    /// Where a request stays without an answer, and where something has gone wrong that no line has expected.
    pub(super) fn finish(mut self) -> Result<(), Failed> {
        let is_missing = |asked: &Asked| !asked.excused;
        self.until(|session| !session.asked.iter().any(is_missing));
        if let Some(asked) = self.asked.iter().find(|asked| is_missing(asked)) {
            let (place, reason) = (asked.place.clone(), "there is no answer".into());
            return Err(Failed { place, reason });
        }
        self.require_no_failure()?;
        self.require_no_fault()?;
        self.present.text = "the end".into();
        let Self { trial, log, .. } = self;
        trial.end();
        log.take().iter().for_each(|line| say!("  log {line}"));
        Ok(())
    }

    /// Lets what was asked be forgotten, for a person who sees it.
    pub(super) fn forget(&mut self) {
        self.answers.clear();
        self.crashes.clear();
        self.refused.clear();
    }

    /// Lets the requests under way stay without an answer.
    pub(super) fn excuse(&mut self) {
        self.asked.iter_mut().for_each(|asked| asked.excused = true);
    }

    /// Waits in real time for answers, no longer than this; a person sees them under the command then.
    pub(super) fn linger(&mut self, at_most: Duration) {
        let patience = std::mem::replace(&mut self.patience, at_most);
        self.until(|session| session.asked.is_empty());
        self.patience = patience;
    }

    /// Takes what the device says, until it has nothing more to do.
    pub(super) fn pump(&mut self) {
        loop {
            self.trial.run();
            for line in self.log.take() {
                // There is no other device.
                let line = line.replace(" device=\"test\"", "");
                say!("  log {line}");
                self.logged.push(line);
            }
            let refused = self.trial.refused();
            let more = refused - std::mem::replace(&mut self.refused_before, refused);
            self.refused.extend(std::iter::repeat_n(self.present.clone(), more));
            let Some(event) = self.trial.next_event() else { return };
            self.take(event);
        }
    }

    fn take(&mut self, event: DeviceEvent) {
        match event {
            DeviceEvent::Answered { id, answer } => {
                say!("  {}", shown(&answer));
                let at = self.asked.iter().position(|asked| asked.id == id);
                let asked = at.and_then(|at| self.asked.remove(at));
                let place = asked.map_or_else(|| self.present.clone(), |asked| asked.place);
                self.answers.push_back((place, answer));
            }
            DeviceEvent::Ended { answer, .. } => {
                say!("  ended {}", shown(&answer));
                self.answers.push_back((self.present.clone(), answer));
            }
            DeviceEvent::State(state) => {
                let payload = text_of(&state.payload);
                let reason = state.details.iter().find(|(key, _)| key == "reason");
                let reason = reason.map(|(_, reason)| format!(": {reason}")).unwrap_or_default();
                let of = self.of_child(&state.device);
                say!("  state {of}{} {payload}{reason}", state.property);
                if of.is_empty()
                    && let Some(reason) = Trial::crash(&state)
                {
                    self.report_crash(reason);
                }
            }
            DeviceEvent::Happened(happened) => {
                let of = self.of_child(&happened.device);
                say!("  event {of}{} {}", happened.property, happened.event);
                self.events.push((of + &happened.property, happened.event));
            }
            DeviceEvent::Bridge { input: BridgeInput::Begun, .. } => {
                if self.link_up {
                    self.trial.bridge(BridgeOutput::Link { up: true });
                }
            }
            DeviceEvent::Bridge { input: BridgeInput::Publish(message), .. } => {
                say!("  sent {} {}", message.topic, text_of(&message.payload));
                self.sent.push(message.clone());
                if message.expects == Expects::Nothing {
                    let result = Ok(Bytes::new());
                    self.trial.bridge(BridgeOutput::Outcome { number: message.number, result });
                } else {
                    self.awaiting.push_back(message);
                }
            }
            // `save` shows it, and each of its devices tells its status.
            DeviceEvent::Saved { .. } | DeviceEvent::Children { .. } => {}
        }
    }

    /// Names a device that the one on trial has added, before what it says.
    fn of_child(&self, device: &str) -> String {
        self.trial.child(device).map(|child| format!("{child}/")).unwrap_or_default()
    }

    fn report_crash(&mut self, reason: &str) {
        say!("  crashed in `{}`: {reason}", self.present.text);
        if let Some(command) = self.look_up() {
            say!("  {command}");
        }
        self.crashes.push_back((self.present.clone(), reason.to_owned()));
    }

    /// Returns the command that finds the lines of the source in which the plugin has crashed.
    fn look_up(&self) -> Option<String> {
        let stem = self.plugin.file_stem()?.to_str()?;
        let offset = |line: &String| {
            let (file, rest) = line.split_once("+0x")?;
            let is_plugin = file.rsplit(' ').next()?.starts_with(stem);
            is_plugin.then(|| format!(" 0x{}", rest.split(' ').next().unwrap_or_default()))
        };
        let lines = &self.logged[self.logged_before..];
        let report = lines.iter().position(|line| line.contains(REPORT_BEGINS))?;
        let mut offsets: Vec<_> = lines[report..].iter().filter_map(offset).collect();
        offsets.dedup();
        let offsets = offsets.concat();
        let plugin = self.plugin.display();
        (!offsets.is_empty()).then(|| format!("addr2line -Cfpe {plugin}{offsets}"))
    }

    /// Waits in real time until a condition holds; returns whether it does.
    pub(super) fn until(&mut self, mut holds: impl FnMut(&mut Self) -> bool) -> bool {
        let end = Instant::now() + self.patience;
        loop {
            self.pump();
            if holds(self) {
                return true;
            }
            if Instant::now() >= end {
                return false;
            }
            self.trial.wait(LOOK);
        }
    }

    fn wait(&mut self, time: Duration) {
        let end = Instant::now() + time;
        while Instant::now() < end {
            self.trial.wait(LOOK.min(end.saturating_duration_since(Instant::now())));
            self.pump();
        }
    }

    /// Waits for a program, which greets when it has started.
    fn await_start(&mut self) {
        if self.is_program {
            self.until(|session| session.trial.status().word != "unreachable");
        }
        self.pump();
    }

    fn deliver(&self, topic: String, payload: String, retained: bool) -> Result<(), String> {
        let filters: Vec<_> =
            self.trial.topics().all().filter(|(use_, _)| *use_ == "subscribe").collect();
        if !filters.iter().any(|(_, filter)| filter.matches(&topic)) {
            let filters: Vec<_> = filters.iter().map(|(_, filter)| filter.as_str()).collect();
            let listens = if filters.is_empty() { "nothing".into() } else { filters.join(", ") };
            return Err(format!(
                "the device does not listen to `{topic}`; it listens to {listens}"
            ));
        }
        if !self.link_up {
            return Err("there is no connection to the broker; write `link up` before".into());
        }
        self.trial.bridge(BridgeOutput::Message { topic, payload: payload.into(), retained });
        Ok(())
    }

    fn describe(&self) {
        let names = self.trial.declarations().keys().map(String::as_str);
        let width = width(22, names);
        for (name, declaration) in self.trial.declarations() {
            say!("  {name:<width$} {}", in_words(&declaration.describe()));
        }
        for (purpose, filter) in self.trial.topics().all() {
            say!("  MQTT: {purpose:<16} {}", filter.as_str());
        }
    }

    /// Requires that each answer that no line has expected was a success.
    fn require_no_failure(&mut self) -> Result<(), Failed> {
        for (place, answer) in std::mem::take(&mut self.answers) {
            // What crashes is a fault of its own.
            if !answer.status.is_success() && answer.reason != Some(Reason::Crashed) {
                return Err(Failed { place, reason: format!("the answer is {}", shown(&answer)) });
            }
        }
        Ok(())
    }

    /// Requires that the plugin did nothing wrong that no line has expected.
    fn require_no_fault(&mut self) -> Result<(), Failed> {
        if let Some((place, reason)) = self.crashes.pop_front() {
            return Err(Failed { place, reason: format!("the plugin has crashed: {reason}") });
        }
        if let Some(place) = self.refused.pop_front() {
            let reason = "the plugin has published what it has not declared; the log says what";
            return Err(Failed { place, reason: reason.into() });
        }
        Ok(())
    }

    pub(super) fn failed(&self, reason: String) -> Failed {
        Failed { place: self.present.clone(), reason }
    }
}

/// Writes an answer as `STATUS PAYLOAD`, or `STATUS REASON`.
pub(super) fn shown(answer: &Answer) -> String {
    let status = answer.status.code();
    let text = answer.message.clone().unwrap_or_else(|| text_of(&answer.payload));
    format!("{status} {text}").trim_end().to_owned()
}

/// Returns bytes as text; what is none is written in hexadecimal.
pub(super) fn text_of(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
    }
}

/// How long it takes at most until something is seen that does not wake the device.
const LOOK: Duration = Duration::from_millis(10);
