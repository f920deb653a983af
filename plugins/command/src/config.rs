//! The `config` table of a command.

use std::collections::BTreeMap;
use std::time::Duration;

use hearthd_sdk::{Problems, Property, PropertyTable, Secret, Span};
use serde::Deserialize;

use crate::arguments::{Command, VALUE};
use crate::reading::{Read, is_switch};

/// The `config` table of a command.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// How long a program may take.
    #[serde(default = "four_seconds")]
    timeout: Span,
    /// What the programs find in their environment, beside PATH, HOME, LANG and TZ of the hub.
    #[serde(default)]
    pub(crate) environment: BTreeMap<String, String>,
    /// Likewise passwords and such, which no log shows.
    #[serde(default)]
    secrets: BTreeMap<String, Secret>,
    /// Exit codes by which the programs say that the device cannot be reached, beside 69.
    #[serde(default)]
    pub(crate) unreachable: Vec<i32>,
    pub(crate) properties: BTreeMap<String, PropertyConfig>,
}

/// One property, and the programs that read and set it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PropertyConfig {
    #[serde(rename = "type")]
    pub(crate) kind: Kind,
    title: Option<String>,
    unit: Option<String>,
    pub(crate) min: Option<f64>,
    pub(crate) max: Option<f64>,
    step: Option<f64>,
    /// The words of a choice.
    #[serde(default)]
    pub(crate) values: Vec<String>,
    #[serde(default = "yes")]
    retained: bool,
    /// Whether setting a value twice is as good as once.
    #[serde(default)]
    idempotent: bool,
    pub(crate) set: Option<Set>,
    pub(crate) get: Option<Get>,
    pub(crate) listen: Option<Listen>,
    /// How the output of the programs becomes the state.
    #[serde(default)]
    pub(crate) read: Read,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    Switch,
    Integer,
    Number,
    Choice,
    Text,
    /// What happens at once and has no state.
    Event,
}

/// How a property is set.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Set {
    /// The program and its arguments; `{value}` within an argument stands for the value.
    pub(crate) run: Command,
    /// What `{value}` becomes for a value, where it is not the value itself.
    #[serde(default)]
    pub(crate) words: BTreeMap<String, String>,
    state: Option<After>,
}

/// What the state is after a value was set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum After {
    /// The value.
    Value,
    /// What the program printed.
    Output,
    /// What `get` reads.
    Get,
    /// Nothing: the property has no state.
    None,
}

/// How a property is read.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Get {
    /// The program and its arguments.
    pub(crate) run: Command,
    /// The time between two readings; without it, the property is read at the start and after it was set.
    pub(crate) every: Option<Span>,
    /// The exit codes with which the output counts.
    #[serde(default = "zero")]
    pub(crate) exit: Vec<i32>,
}

/// How the events of a property are heard.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Listen {
    /// The program and its arguments: it runs all the time, and prints a line for each event.
    pub(crate) run: Command,
}

impl Config {
    /// Returns the variables of the programs.
    pub(crate) fn whole_environment(&self) -> BTreeMap<String, String> {
        let secrets = self.secrets.iter();
        let secrets = secrets.map(|(name, secret)| (name.clone(), secret.expose().to_owned()));
        self.environment.clone().into_iter().chain(secrets).collect()
    }

    pub(crate) fn timeout(&self) -> Duration {
        self.timeout.0
    }

    pub(crate) fn check(&self, problems: &mut Problems) {
        if !(SHORTEST_TIMEOUT..=LONGEST_TIMEOUT).contains(&self.timeout) {
            let message =
                format!("{} is not from {SHORTEST_TIMEOUT} to {LONGEST_TIMEOUT}", self.timeout);
            problems.add("timeout", message);
        }
        if self.properties.is_empty() {
            problems.add("properties", "there is none, and a device has one at least");
        }
        for code in self.unreachable.iter().filter(|code| !(1..=255).contains(*code)) {
            problems
                .add("unreachable", format!("{code}: an exit code that says so is from 1 to 255"));
        }
        let path = self.environment.get("PATH").map(String::as_str);
        for (name, property) in &self.properties {
            let mut complain = |key: &str, message: String| {
                let dot = if key.is_empty() { "" } else { "." };
                problems.add(format!("properties.{name}{dot}{key}"), message);
            };
            if let Some(mistake) = Property::name_mistake(name) {
                complain("", mistake.into());
            }
            property.check_values(&mut complain);
            if property.kind == Kind::Event {
                property.check_event(path, &mut complain);
            } else {
                property.check_programs(path, &mut complain);
            }
        }
    }
}

impl PropertyConfig {
    /// Returns what the hub is told about the property.
    pub(crate) fn declaration(&self, name: &str) -> Property {
        let words: Vec<_> = self.values.iter().map(String::as_str).collect();
        let property = match self.kind {
            Kind::Switch => Property::switch(name),
            Kind::Integer => Property::integer(name),
            Kind::Number => Property::number(name),
            Kind::Choice => Property::choice(name, &words),
            Kind::Text => Property::text(name),
            Kind::Event => {
                let event = Property::event(name, &words);
                return match &self.title {
                    Some(title) => event.title(title),
                    None => event,
                };
            }
        };
        let mut property = property.with_table(&PropertyTable {
            min: self.min,
            max: self.max,
            step: self.step,
            unit: self.unit.as_deref(),
            title: self.title.as_deref(),
        });
        property = match (&self.set, self.after_set()) {
            (None, _) => property.read_only(),
            (Some(_), After::None) => property.write_only(),
            (Some(_), After::Value | After::Output | After::Get) => property,
        };
        property = if self.retained { property } else { property.not_retained() };
        if self.idempotent { property } else { property.not_idempotent() }
    }

    /// Returns what the state is after the property was set.
    pub(crate) fn after_set(&self) -> After {
        let given = self.set.as_ref().and_then(|set| set.state);
        given.unwrap_or(if self.get.is_some() { After::Get } else { After::Value })
    }

    /// Returns whether the state is known from what was set alone.
    pub(crate) fn keeps_state(&self) -> bool {
        self.set.is_some() && self.get.is_none() && self.after_set() != After::None
    }

    fn check_values(&self, complain: &mut impl FnMut(&str, String)) {
        let numeric = matches!(self.kind, Kind::Integer | Kind::Number);
        match (self.min, self.max) {
            (Some(_), Some(_)) | (None, None) if numeric => {}
            (None, None) => {}
            _ if !numeric => complain("min", "only a number or an integer has limits".into()),
            _ => complain("min", "give both min and max, or neither".into()),
        }
        if self.min > self.max && self.max.is_some() {
            complain("min", "is above max".into());
        }
        if self.step.is_some_and(|step| !numeric || step <= 0.0) {
            complain("step", "a step is above 0, and of a number or an integer".into());
        }
        if matches!(self.kind, Kind::Choice | Kind::Event) == self.values.is_empty() {
            let message = "a choice and an event have their words here, and no other type has any";
            complain("values", message.into());
        }
        for (word, value) in &self.read.words {
            if !self.has_word(value) {
                complain(&format!("read.words.{word}"), self.no_word(value));
            }
        }
    }

    fn check_event(&self, path: Option<&str>, complain: &mut impl FnMut(&str, String)) {
        match &self.listen {
            Some(listen) => listen.run.check("listen.run", path, complain),
            None => complain("listen", "an event has a program that prints it".into()),
        }
        if self.listen.as_ref().is_some_and(|listen| listen.run.has_value()) {
            complain("listen.run", format!("there is no {VALUE} to listen with"));
        }
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        for kind in &self.values {
            if kind.is_empty() || !kind.chars().all(fits) || kind == "failed" {
                let message =
                    format!("`{kind}`: a kind of event is of a-z, 0-9 and _, and not `failed`");
                complain("values", message);
            }
        }
        for (key, given) in [("set", self.set.is_some()), ("get", self.get.is_some())] {
            if given {
                complain(key, "an event has no state: it is neither set nor read".into());
            }
        }
        if self.unit.is_some() {
            complain("unit", "an event has no state, and no unit".into());
        }
    }

    fn check_programs(&self, path: Option<&str>, complain: &mut impl FnMut(&str, String)) {
        if self.listen.is_some() {
            complain("listen", "only an event is listened for".into());
        }
        if self.set.is_none() && self.get.is_none() {
            complain("", "has neither set nor get, so no program belongs to it".into());
        }
        if let Some(set) = &self.set {
            set.run.check("set.run", path, complain);
            for word in set.words.keys().filter(|word| !self.has_word(word)) {
                complain(&format!("set.words.{word}"), self.no_word(word));
            }
            if self.min.is_some_and(|min| min < 0.0)
                && let Err(mistake) = set.run.with_requested("-1")
            {
                complain("set.run", mistake);
            }
            if self.kind == Kind::Switch && set.words.len() == 1 {
                complain("set.words", "give a word for ON and one for OFF".into());
            }
            if self.after_set() == After::Get && self.get.is_none() {
                complain("set.state", "there is no get to read it with".into());
            }
            if self.after_set() == After::None && self.get.is_some() {
                complain("set.state", "a property with a get has a state".into());
            }
        }
        if let Some(get) = &self.get {
            get.run.check("get.run", path, complain);
            if get.run.has_value() {
                complain("get.run", format!("there is no {VALUE} to read with"));
            }
            if let Some(every) = get.every
                && !(SHORTEST_INTERVAL..=LONGEST_INTERVAL).contains(&every)
            {
                let message =
                    format!("{every} is not from {SHORTEST_INTERVAL} to {LONGEST_INTERVAL}");
                complain("get.every", message);
            }
        }
    }

    /// Returns whether the table names every value, so that none is of the requester's making.
    pub(crate) fn names_values(&self) -> bool {
        match self.kind {
            Kind::Switch | Kind::Choice | Kind::Event => true,
            Kind::Integer | Kind::Number | Kind::Text => false,
        }
    }

    /// Returns whether a value can be named in a table of words.
    fn has_word(&self, value: &str) -> bool {
        match self.kind {
            Kind::Switch => is_switch(value),
            Kind::Choice | Kind::Event => self.values.iter().any(|known| known == value),
            Kind::Integer | Kind::Number | Kind::Text => false,
        }
    }

    fn no_word(&self, value: &str) -> String {
        match self.kind {
            Kind::Switch => format!("`{value}` is neither ON nor OFF"),
            Kind::Choice | Kind::Event => {
                format!("`{value}` is none of {}", self.values.join(", "))
            }
            Kind::Integer | Kind::Number | Kind::Text => {
                "only a switch or a choice has words".to_owned()
            }
        }
    }
}

fn four_seconds() -> Span {
    Span::seconds(4)
}

const SHORTEST_TIMEOUT: Span = Span(Duration::from_millis(10));
const LONGEST_TIMEOUT: Span = Span::hours(1);
const SHORTEST_INTERVAL: Span = Span(Duration::from_millis(100));
const LONGEST_INTERVAL: Span = Span::hours(24);

fn yes() -> bool {
    true
}

fn zero() -> Vec<i32> {
    vec![0]
}
