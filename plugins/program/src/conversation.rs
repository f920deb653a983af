//! What is said to a program, and what its words mean: no I/O, no clock, no threads.
//!
//! Whoever drives it calls one method, then performs everything that [`Conversation::next_output`] returns, then waits for
//! the next event or for [`Conversation::next_deadline`].

mod answers;
mod children;
mod served;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use hearthd_sdk::{ChildDeclaration, Failure, Value};
use serde_json::{Map, Value as Json};

pub(crate) use self::served::Greeting;
use self::served::{Phase, Served};
use crate::protocol::{FromProgram, Level, PROTOCOL, ToProgram};

/// One program, which runs or does not, and the devices that it serves.
#[derive(Debug)]
pub(crate) struct Conversation {
    state: State,
    /// How long the program may take to answer `hello`, and may be silent while it owes an answer.
    patience: Duration,
    devices: BTreeMap<String, Served>,
    /// Devices that it has served, and may still speak of.
    gone: BTreeSet<String>,
    /// What the program has been asked and has not answered.
    open: BTreeMap<u64, Open>,
    /// What it has answered with 202, and not ended.
    under_way: BTreeMap<u64, Open>,
    next_id: u64,
    /// Questions whose time is over, with their devices: the answer may still come.
    late: VecDeque<(u64, String)>,
    /// Since when the program owes an answer and has said nothing.
    silent_since: Option<Duration>,
    /// When it did what no program should, within the last minute.
    faults: VecDeque<Duration>,
    /// The types of message that are not known and are in the log.
    unknown: BTreeSet<String>,
    outputs: VecDeque<Output>,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Output {
    /// A line for the program.
    Write(String),
    /// A request is under way, for this long at most.
    Accept { request: u64, within: Duration },
    /// The answer to a request, which the program was asked or was not, or the end of one that is under way.
    Answer { request: u64, result: Result<(), Failure> },
    /// A state, which the declaration allows.
    Publish { device: String, property: String, value: Value },
    /// An event, which the declaration allows.
    Event { device: String, property: String, kind: String },
    /// Whether the device can be reached, and why not.
    Reach { device: String, unreachable: Option<String> },
    /// The program adds a device to one that it serves.
    Add { parent: String, name: String, device: String, declaration: ChildDeclaration },
    /// It removes one.
    Remove { parent: String, name: String, device: String },
    /// What the device remembers.
    Save { device: String, state: Vec<u8> },
    /// A line for the hub's log.
    Log { device: String, level: Level, message: String },
    /// The program is to be ended, and [`Conversation::ended`] called with this reason.
    End(String),
}

/// A request for a device.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Asked {
    /// The number by which it is answered.
    pub(crate) request: u64,
    /// The values, which the declarations allow.
    pub(crate) values: BTreeMap<String, Value>,
    /// How long the requester still waits.
    pub(crate) within: Duration,
}

#[derive(Debug)]
enum State {
    /// The program has not been started yet.
    Starting,
    Up,
    /// It is to be ended, and is not listened to any more.
    Ending,
    /// It does not run, and why.
    Down(String),
}

/// A question that the program has not answered.
#[derive(Debug)]
struct Open {
    device: String,
    until: Duration,
    within: Duration,
    about: About,
}

#[derive(Debug)]
enum About {
    Hello,
    Get,
    Set {
        request: u64,
        /// What was to be set, of which no state has come yet.
        untold: BTreeMap<String, Value>,
        /// Whether the same may be done twice.
        idempotent: bool,
    },
}

impl Conversation {
    pub(crate) fn new(patience: Duration) -> Self {
        Self {
            state: State::Starting,
            patience,
            devices: BTreeMap::new(),
            gone: BTreeSet::new(),
            open: BTreeMap::new(),
            under_way: BTreeMap::new(),
            next_id: 1,
            late: VecDeque::new(),
            silent_since: None,
            faults: VecDeque::new(),
            unknown: BTreeSet::new(),
            outputs: VecDeque::new(),
        }
    }

    /// Returns what is to be done next.
    pub(crate) fn next_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Returns when [`Conversation::tick`] has something to do.
    pub(crate) fn next_deadline(&self) -> Option<Duration> {
        if matches!(self.state, State::Ending) {
            return None;
        }
        let open = self.open.values().chain(self.under_way.values()).map(|open| open.until);
        let silence = self.silent_since.map(|since| since + self.patience);
        let devices = self.devices.values().flat_map(Served::deadlines);
        open.chain(silence).chain(devices).min()
    }

    /// Has the program serve a device.
    pub(crate) fn attach(&mut self, now: Duration, device: String, greeting: Greeting) {
        self.gone.remove(&device);
        self.devices.insert(device.clone(), Served::new(greeting, None));
        if matches!(self.state, State::Up) {
            self.greet(now, &device);
        }
        self.tell_reach();
    }

    /// Has the program serve a device no longer, nor those that it has added to that; their requests are answered. Returns
    /// all of them.
    pub(crate) fn detach(&mut self, device: &str) -> Vec<String> {
        if !self.devices.contains_key(device) {
            return Vec::new();
        }
        let mut ending = self.children_of(device);
        ending.push(device.to_owned());
        ending.iter().for_each(|device| self.give_up_device(device, "the device ends"));
        if matches!(self.state, State::Up) {
            self.write(&ToProgram::Stop { device });
        }
        ending
    }

    /// Has a device set; what the program cannot be asked yet waits.
    pub(crate) fn set(&mut self, now: Duration, device: &str, asked: Asked) {
        let Some(served) = self.devices.get_mut(device) else { return };
        let refusal = match (&self.state, &served.phase) {
            (State::Up, Phase::Ready) => return self.ask_to_set(now, device, asked),
            (State::Down(reason), _) | (_, Phase::Refused { reason, .. }) => {
                Failure::unreachable(reason.clone())
            }
            _ if served.waiting.len() >= WAITING => Failure::busy("too many requests wait"),
            _ => return served.wait_with(now, asked),
        };
        self.answer(asked.request, Err(refusal));
    }

    /// Tells a device what became of the hub's will.
    pub(crate) fn absence(&mut self, device: &str, absence: Json) {
        let Some(served) = self.devices.get_mut(device) else { return };
        let absence = served.absence.insert(absence).clone();
        if matches!((&self.state, &served.phase), (State::Up, Phase::Ready)) {
            self.write(&ToProgram::Absence { device, absence: &absence });
        }
    }

    /// The program runs.
    pub(crate) fn started(&mut self, now: Duration) {
        self.state = State::Up;
        self.faults.clear();
        // Those that it has added before, it adds again.
        for device in self.names() {
            if !self.devices[&device].is_child() {
                self.greet(now, &device);
            }
        }
        self.tell_reach();
    }

    /// The program does not run: it has ended, or cannot be started.
    pub(crate) fn ended(&mut self, reason: &str) {
        let down = format!("its program does not run: {reason}");
        self.state = State::Down(down.clone());
        self.silent_since = None;
        self.late.clear();
        if let Some(first) = self.devices.keys().next() {
            self.log(first.clone(), Level::Warn, format!("the program does not run: {reason}"));
        }
        let mut refused = Vec::new();
        for served in self.devices.values_mut() {
            served.forget_program();
            refused.extend(served.waiting.drain(..).map(|(asked, _)| asked.request));
        }
        // Ahead of the answers, so that whoever gets one finds it.
        self.tell_reach();
        for open in self.take_all(|_| true) {
            self.give_up(open, reason);
        }
        for request in refused {
            self.answer(request, Err(Failure::unreachable(down.clone())));
        }
    }

    /// The program has printed a line.
    pub(crate) fn line(&mut self, now: Duration, line: &str) {
        if !matches!(self.state, State::Up) || line.trim().is_empty() {
            return;
        }
        self.silent_since = (!self.open.is_empty()).then_some(now);
        match FromProgram::read(line) {
            Ok((_, Some(unknown))) => self.note_unknown(&unknown),
            Ok((message, None)) => {
                if let Err(fault) = self.hear(now, message) {
                    self.fault(now, &fault);
                }
            }
            Err(error) => {
                let line = hearthd_program::excerpt(line);
                self.fault(now, &format!("a line is no message: {error}: `{line}`"));
            }
        }
        self.tell_reach();
    }

    /// The program has printed a line that cannot be read.
    pub(crate) fn unreadable(&mut self, now: Duration, reason: &str) {
        if matches!(self.state, State::Up) {
            self.fault(now, reason);
            self.tell_reach();
        }
    }

    /// The program leaves unread what it is told.
    pub(crate) fn deaf(&mut self) {
        self.end("it does not read what it is told");
        self.tell_reach();
    }

    /// Does what is due.
    pub(crate) fn tick(&mut self, now: Duration) {
        for device in self.names() {
            self.tick_device(now, &device);
        }
        for (id, open) in take_from(&mut self.under_way, |open| open.until <= now) {
            let reason =
                format!("its program has not told within {:?} how it has ended", open.within);
            self.log(open.device.clone(), Level::Warn, reason.clone());
            self.note_late(id, &open);
            self.give_up((id, open), &reason);
        }
        for open in take_from(&mut self.open, |open| open.until <= now) {
            self.overdue(now, open);
        }
        if self.silent_since.is_some_and(|since| since + self.patience <= now) {
            let patience = self.patience;
            self.end(&format!("it said nothing for {patience:?}, and owes an answer"));
        }
        self.tell_reach();
    }

    fn tick_device(&mut self, now: Duration, device: &str) {
        let Some(served) = self.devices.get_mut(device) else { return };
        let awaited = served.is_awaited();
        let expired = served.take_expired(now);
        let timers = served.take_timers(now);
        let is_ready = matches!((&self.state, &served.phase), (State::Up, Phase::Ready));
        let polls = served.next_poll.is_some_and(|due| due <= now);
        let retries = matches!(&served.phase, Phase::Refused { retry, .. } if *retry <= now);
        for request in expired {
            let hello = "its program has not answered `hello` in time";
            let reason = if awaited { NOT_ADDED } else { hello };
            self.answer(request, Err(Failure::unreachable(reason)));
        }
        if is_ready {
            for name in timers {
                self.write(&ToProgram::Timer { device, name: &name });
            }
        }
        if polls && is_ready {
            self.poll(now, device);
        }
        if retries && matches!(self.state, State::Up) {
            self.greet(now, device);
        }
    }

    fn greet(&mut self, now: Duration, device: &str) {
        let (id, within) = (self.next_id(), self.patience);
        let Some(served) = self.devices.get_mut(device) else { return };
        served.phase = Phase::Greeted;
        let greeting = &served.greeting;
        let line = ToProgram::Hello {
            id,
            protocol: PROTOCOL,
            device,
            settings: &greeting.settings,
            secrets: greeting.secrets.iter().map(|(name, it)| (&**name, it.expose())).collect(),
            properties: &greeting.declared,
            saved: greeting.saved.as_ref(),
            absence: served.absence.as_ref(),
            children: greeting.adds.then_some(&greeting.children),
        }
        .line();
        self.ask(
            now,
            id,
            Open { device: device.to_owned(), until: now + within, within, about: About::Hello },
        );
        self.outputs.push_back(Output::Write(line));
    }

    fn poll(&mut self, now: Duration, device: &str) {
        let (id, within) = (self.next_id(), self.patience);
        if let Some(served) = self.devices.get_mut(device) {
            served.next_poll = served.greeting.poll.map(|poll| now + poll);
        }
        // One question at a time: a slow program is not asked ever more.
        let is_asked = |open: &Open| open.device == device && matches!(open.about, About::Get);
        if self.open.values().any(is_asked) {
            return;
        }
        self.ask(
            now,
            id,
            Open { device: device.to_owned(), until: now + within, within, about: About::Get },
        );
        self.write(&ToProgram::Get { id, device, within_ms: millis(within) });
    }

    fn ask_to_set(&mut self, now: Duration, device: &str, asked: Asked) {
        let Asked { request, values, within } = asked;
        let outstanding = self.open.values().filter(|open| open.device == device).count();
        if outstanding >= WAITING {
            let failure = Failure::busy("the program has too many unanswered requests");
            return self.answer(request, Err(failure));
        }
        let id = self.next_id();
        let json: Map<_, _> =
            values.iter().map(|(name, value)| (name.clone(), value.to_json())).collect();
        let idempotent =
            self.devices.get(device).is_some_and(|served| served.are_idempotent(values.keys()));
        let about = About::Set { request, untold: values, idempotent };
        // The hub's own clock decides when it is too late, so this one is a little behind.
        let until = now + within + LATER;
        self.ask(now, id, Open { device: device.to_owned(), until, within, about });
        self.write(&ToProgram::Set { id, device, values: &json, within_ms: millis(within) });
    }

    fn ask(&mut self, now: Duration, id: u64, open: Open) {
        self.silent_since.get_or_insert(now);
        self.open.insert(id, open);
    }

    /// Gives up waiting for an answer.
    fn overdue(&mut self, now: Duration, (id, open): (u64, Open)) {
        let what = match open.about {
            About::Hello => "hello",
            About::Get => "get",
            About::Set { .. } => "set",
        };
        let reason = format!("its program has not answered `{what}` within {:?}", open.within);
        self.note_late(id, &open);
        if let Some(served) = self.devices.get_mut(&open.device) {
            match open.about {
                About::Hello => served.refuse(now, reason.clone()),
                About::Get | About::Set { .. } => served.overdue = Some(reason.clone()),
            }
            self.log(open.device.clone(), Level::Warn, reason.clone());
        }
        self.give_up((id, open), &reason);
    }

    /// Keeps a question whose time is over: the answer may still come.
    fn note_late(&mut self, id: u64, open: &Open) {
        if self.late.len() >= REMEMBERED {
            self.late.pop_front();
        }
        self.late.push_back((id, open.device.clone()));
    }

    /// Answers a request that the program does not answer.
    fn give_up(&mut self, (_, open): (u64, Open), reason: &str) {
        let About::Set { request, idempotent, .. } = open.about else { return };
        let reason = format!("the program has not answered: {reason}");
        let failure =
            if idempotent { Failure::unreachable(reason) } else { Failure::indeterminate(reason) };
        self.answer(request, Err(failure));
    }

    fn note_unknown(&mut self, unknown: &str) {
        // The beginning alone is kept: a program may say 64 KiB.
        let unknown = hearthd_program::excerpt(unknown);
        let is_new = self.unknown.len() < REMEMBERED && self.unknown.insert(unknown.clone());
        if let (true, Some(first)) = (is_new, self.devices.keys().next()) {
            let message = format!("the program says `{unknown}`, which this hub does not know");
            self.log(first.clone(), Level::Warn, message);
        }
    }

    /// Counts what no program should do; a program that does it too often is ended.
    fn fault(&mut self, now: Duration, what: &str) {
        if let Some(first) = self.devices.keys().next() {
            self.log(first.clone(), Level::Warn, format!("the program misbehaves: {what}"));
        }
        self.faults.retain(|at| now.saturating_sub(*at) < FAULT_WINDOW);
        self.faults.push_back(now);
        if self.faults.len() >= FAULTS {
            let count = self.faults.len();
            self.end(&format!("it misbehaved {count} times within a minute, at last: {what}"));
        }
    }

    fn end(&mut self, reason: &str) {
        if matches!(self.state, State::Up) {
            self.state = State::Ending;
            self.silent_since = None;
            self.outputs.push_back(Output::End(reason.to_owned()));
        }
    }

    /// Says of each device whether it can be reached, where that has changed.
    fn tell_reach(&mut self) {
        for (device, served) in &mut self.devices {
            let unreachable = match &self.state {
                State::Starting => Some(STARTING.to_owned()),
                State::Up | State::Ending => served.unreachable(),
                State::Down(reason) => Some(reason.clone()),
            };
            if served.told.as_ref() != Some(&unreachable) {
                served.told = Some(unreachable.clone());
                self.outputs.push_back(Output::Reach { device: device.clone(), unreachable });
            }
        }
    }

    fn names(&self) -> Vec<String> {
        self.devices.keys().cloned().collect()
    }

    fn next_id(&mut self) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        id
    }

    /// Takes what is open or under way.
    fn take_all(&mut self, picks: impl Fn(&Open) -> bool) -> Vec<(u64, Open)> {
        let mut taken = take_from(&mut self.open, &picks);
        taken.extend(take_from(&mut self.under_way, &picks));
        taken
    }

    fn write(&mut self, message: &ToProgram<'_>) {
        self.outputs.push_back(Output::Write(message.line()));
    }

    fn answer(&mut self, request: u64, result: Result<(), Failure>) {
        self.outputs.push_back(Output::Answer { request, result });
    }

    fn log(&mut self, device: String, level: Level, message: String) {
        self.outputs.push_back(Output::Log { device, level, message });
    }
}

fn take_from(
    questions: &mut BTreeMap<u64, Open>,
    picks: impl Fn(&Open) -> bool,
) -> Vec<(u64, Open)> {
    let ids: Vec<_> = questions.iter().filter(|(_, open)| picks(open)).map(|(id, _)| *id).collect();
    ids.into_iter().filter_map(|id| questions.remove_entry(&id)).collect()
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Why a device cannot be reached at first.
pub(crate) const STARTING: &str = "its program starts";
/// Why a device cannot be reached that a program has added in an earlier life.
const NOT_ADDED: &str = "its program has not added it again";
/// Requests of one device that may wait for the program, or for its answers.
const WAITING: usize = 16;
/// How many devices, late answers and unknown types are remembered.
const REMEMBERED: usize = 64;
/// What the hub's deadline is ahead of the one here.
const LATER: Duration = Duration::from_millis(100);
/// So many faults within this time are the end of a program.
const FAULTS: usize = 20;
const FAULT_WINDOW: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests;
