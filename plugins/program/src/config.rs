//! The `config` table of a device that a program serves.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use hearthd_program::find;
use hearthd_sdk::{Problems, Property, Secret, Span};
use serde::Deserialize;
use serde_json::{Map, Value as Json};

use crate::declaration::Declaration;

/// The `config` table of a device that a program serves.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The program and its arguments.
    pub(crate) command: Vec<String>,
    /// What the program finds in its environment, beside PATH, HOME, LANG and TZ of the hub.
    #[serde(default)]
    pub(crate) environment: BTreeMap<String, String>,
    /// Whether the program may add devices of its own to this one.
    #[serde(default)]
    pub(crate) adds: bool,
    /// Whether one program serves all devices with the same command.
    #[serde(default)]
    pub(crate) shared: bool,
    /// How long the program may take to answer `hello`, and may be silent while it owes an answer.
    #[serde(default = "ten_seconds")]
    start: Span,
    /// How long it may take to end by itself.
    #[serde(default = "two_seconds")]
    stop: Span,
    /// The time between two questions for all states.
    poll: Option<Span>,
    pub(crate) properties: BTreeMap<String, Declaration>,
    /// What the program gets to know of the device, in the author's own words.
    #[serde(default)]
    pub(crate) settings: Map<String, Json>,
    /// What it gets to know as well, and no log shows.
    #[serde(default)]
    pub(crate) secrets: BTreeMap<String, Secret>,
}

/// What decides whether two devices can have one program.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Launch {
    pub(crate) command: Vec<String>,
    pub(crate) environment: BTreeMap<String, String>,
    pub(crate) start: Duration,
    pub(crate) stop: Duration,
}

impl Config {
    pub(crate) fn launch(&self) -> Launch {
        Launch {
            command: self.command.clone(),
            environment: self.environment.clone(),
            start: self.start.0,
            stop: self.stop.0,
        }
    }

    pub(crate) fn poll(&self) -> Option<Duration> {
        self.poll.map(|poll| poll.0)
    }

    pub(crate) fn properties(&self) -> impl Iterator<Item = Property> {
        self.properties.iter().map(|(name, declaration)| declaration.property(name))
    }

    pub(crate) fn check(&self, problems: &mut Problems) {
        self.check_command(problems);
        let mut check_span = |key: &str, span: Span, (shortest, longest): (Span, Span)| {
            if !(shortest..=longest).contains(&span) {
                problems.add(key, format!("{span} is not from {shortest} to {longest}"));
            }
        };
        check_span("start", self.start, START);
        check_span("stop", self.stop, STOP);
        if let Some(poll) = self.poll {
            check_span("poll", poll, POLL);
        }
        if self.properties.is_empty() && !self.adds {
            problems.add("properties", "there is none, and a device has one at least");
        }
        for (name, declaration) in &self.properties {
            if let Some(mistake) = declaration.mistake(name) {
                problems.add(format!("properties.{name}"), mistake);
            }
        }
    }

    fn check_command(&self, problems: &mut Problems) {
        let Some(program) = self.command.first() else {
            return problems.add("command", "is empty; the first is the program");
        };
        if self.command.iter().any(|argument| argument.contains('\0')) {
            return problems.add("command", "an argument contains a NUL");
        }
        if let Err(problem) = find(program, self.environment.get("PATH").map(String::as_str)) {
            return problems.add("command[0]", problem);
        }
        // What an interpreter runs: without it, the interpreter starts only to complain.
        if let Some(script) = self.command.get(1).map(Path::new)
            && script.is_absolute()
            && is_script(script)
            && !script.exists()
        {
            problems.add("command[1]", format!("{} does not exist", script.display()));
        }
    }
}

fn is_script(file: &Path) -> bool {
    let extension = file.extension().and_then(|extension| extension.to_str());
    extension.is_some_and(|extension| SCRIPTS.contains(&extension))
}

fn ten_seconds() -> Span {
    Span::seconds(10)
}

fn two_seconds() -> Span {
    Span::seconds(2)
}

const SCRIPTS: [&str; 9] = ["py", "js", "mjs", "cjs", "sh", "rb", "pl", "lua", "php"];

const START: (Span, Span) = (Span(Duration::from_millis(100)), Span::minutes(5));
const STOP: (Span, Span) = (Span(Duration::ZERO), Span::seconds(10));
const POLL: (Span, Span) = (Span(Duration::from_millis(100)), Span::hours(24));
