//! One device that a program serves.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use hearthd_sdk::{Property, Secret};
use serde_json::{Map, Value as Json};

use super::{Asked, NOT_ADDED, STARTING};
use crate::config::Config;
use crate::declaration::Declaration;

/// What a program is told of a device at first.
#[derive(Clone, Debug)]
pub(crate) struct Greeting {
    pub(super) settings: Map<String, Json>,
    pub(super) secrets: BTreeMap<String, Secret>,
    /// The declarations as JSON.
    pub(super) declared: Map<String, Json>,
    pub(super) properties: BTreeMap<String, (Declaration, Property)>,
    pub(super) poll: Option<Duration>,
    pub(super) saved: Option<Json>,
    /// Whether the program may add devices to it.
    pub(super) adds: bool,
    /// The names of those that the hub has.
    pub(super) children: BTreeSet<String>,
}

/// The device that a program has added another one to, and the name of that one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Parent {
    pub(super) device: String,
    pub(super) name: String,
}

/// A device and how it stands with the program.
#[derive(Debug)]
pub(super) struct Served {
    pub(super) greeting: Greeting,
    /// Whose child it is, where the program has added it.
    pub(super) parent: Option<Parent>,
    pub(super) absence: Option<Json>,
    pub(super) phase: Phase,
    /// Why the program cannot reach it, as it says.
    pub(super) trouble: Option<String>,
    /// Why it cannot tell the states that it was asked for.
    pub(super) untold: Option<String>,
    /// What the program has not answered in time, and has said nothing of the device since.
    pub(super) overdue: Option<String>,
    /// What the hub was last told of whether the device can be reached.
    pub(super) told: Option<Option<String>>,
    /// Requests until the program has answered `hello`, and when each is over.
    pub(super) waiting: VecDeque<(Asked, Duration)>,
    timers: BTreeMap<String, Duration>,
    pub(super) next_poll: Option<Duration>,
    /// The time until the program is greeted again that has refused.
    wait: Duration,
}

/// How far a device has come with the program that runs.
#[derive(Debug)]
pub(super) enum Phase {
    /// The program has not been told of it.
    Unknown,
    /// It has been told.
    Greeted,
    /// It does not serve the device, and is asked again.
    Refused { reason: String, retry: Duration },
    /// It serves the device.
    Ready,
}

impl Greeting {
    pub(crate) fn new(config: &Config, saved: Option<Json>, children: Vec<String>) -> Self {
        let pair = |(name, declaration): (&String, &Declaration)| {
            let property = declaration.property(name);
            (name.clone(), (declaration.clone(), property))
        };
        let properties: BTreeMap<_, _> = config.properties.iter().map(pair).collect();
        let json = |(_, property): &(Declaration, Property)| {
            serde_json::from_str(&property.declaration()).expect("a declaration is JSON")
        };
        let declared = properties.iter().map(|(name, pair)| (name.clone(), json(pair))).collect();
        let (settings, secrets) = (config.settings.clone(), config.secrets.clone());
        let poll = config.poll();
        let (adds, children) = (config.adds, children.into_iter().collect());
        Self { settings, secrets, declared, properties, poll, saved, adds, children }
    }

    /// Makes what is known of a device that the program has added itself.
    pub(super) fn of_child(
        properties: BTreeMap<String, (Declaration, Property)>,
        poll: Option<Duration>,
    ) -> Self {
        Self {
            settings: Map::new(),
            secrets: BTreeMap::new(),
            declared: Map::new(),
            properties,
            poll,
            saved: None,
            adds: false,
            children: BTreeSet::new(),
        }
    }
}

impl Served {
    pub(super) fn new(greeting: Greeting, parent: Option<Parent>) -> Self {
        Self {
            greeting,
            parent,
            absence: None,
            phase: Phase::Unknown,
            trouble: None,
            untold: None,
            overdue: None,
            told: None,
            waiting: VecDeque::new(),
            timers: BTreeMap::new(),
            next_poll: None,
            wait: SHORTEST_WAIT,
        }
    }

    /// Returns why the device cannot be reached while the program runs; `None` where it can.
    pub(super) fn unreachable(&self) -> Option<String> {
        match &self.phase {
            Phase::Unknown if self.is_child() => Some(NOT_ADDED.to_owned()),
            Phase::Unknown | Phase::Greeted => Some(STARTING.to_owned()),
            Phase::Refused { reason, .. } => Some(reason.clone()),
            Phase::Ready => {
                self.overdue.as_ref().or(self.trouble.as_ref()).or(self.untold.as_ref()).cloned()
            }
        }
    }

    pub(super) fn deadlines(&self) -> impl Iterator<Item = Duration> {
        let retry = match &self.phase {
            Phase::Refused { retry, .. } => Some(*retry),
            Phase::Unknown | Phase::Greeted | Phase::Ready => None,
        };
        let timers = self.timers.values().copied();
        timers
            .chain(self.waiting.iter().map(|(_, until)| *until))
            .chain(retry)
            .chain(self.next_poll)
    }

    pub(super) fn wait_with(&mut self, now: Duration, asked: Asked) {
        let until = now + asked.within;
        self.waiting.push_back((asked, until));
    }

    /// Takes the requests that have waited, each with the time that is left.
    pub(super) fn take_waiting(&mut self, now: Duration) -> Vec<Asked> {
        let left = |(asked, until): (Asked, Duration)| Asked {
            within: until.saturating_sub(now),
            ..asked
        };
        self.waiting.drain(..).map(left).collect()
    }

    /// Takes the requests that have waited for too long.
    pub(super) fn take_expired(&mut self, now: Duration) -> Vec<u64> {
        let (over, left) = self.waiting.drain(..).partition(|(_, until)| *until <= now);
        self.waiting = left;
        let over: VecDeque<(Asked, Duration)> = over;
        over.into_iter().map(|(asked, _)| asked.request).collect()
    }

    /// Takes the names of the timers that are due.
    pub(super) fn take_timers(&mut self, now: Duration) -> Vec<String> {
        let is_due = |(_, due): &(&String, &Duration)| **due <= now;
        let due: Vec<_> = self.timers.iter().filter(is_due).map(|(name, _)| name.clone()).collect();
        self.timers.retain(|_, due| *due > now);
        due
    }

    /// Starts or stops a timer.
    pub(super) fn set_timer(&mut self, name: String, due: Option<Duration>) -> Result<(), String> {
        let Some(due) = due else {
            self.timers.remove(&name);
            return Ok(());
        };
        if self.timers.len() >= TIMERS && !self.timers.contains_key(&name) {
            return Err(format!("it has {TIMERS} timers, and may have no more"));
        }
        self.timers.insert(name, due);
        Ok(())
    }

    /// The program does not serve the device now, and is asked again after a while.
    pub(super) fn refuse(&mut self, now: Duration, reason: String) {
        self.phase = Phase::Refused { reason, retry: now + self.wait };
        self.wait = (self.wait * 2).min(LONGEST_WAIT);
    }

    /// The program serves the device.
    pub(super) fn accept(&mut self, now: Duration) {
        self.phase = Phase::Ready;
        self.wait = SHORTEST_WAIT;
        self.next_poll = self.greeting.poll.map(|poll| now + poll);
    }

    /// The program does not run any more.
    pub(super) fn forget_program(&mut self) {
        self.phase = Phase::Unknown;
        (self.trouble, self.untold, self.overdue) = (None, None, None);
        self.timers.clear();
        self.next_poll = None;
        self.wait = SHORTEST_WAIT;
    }

    pub(super) fn are_idempotent<'n>(&self, mut names: impl Iterator<Item = &'n String>) -> bool {
        let properties = &self.greeting.properties;
        names
            .all(|name| properties.get(name).is_some_and(|(declaration, _)| declaration.idempotent))
    }
}

/// Timers that a device may have.
const TIMERS: usize = 16;
/// The time until a program is greeted again that does not serve a device; it doubles.
const SHORTEST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(60);
