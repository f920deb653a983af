//! The `config` table of a device that a program serves.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hearthd_sdk::{Problems, Property, Span};
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
            environment: self.whole_environment(),
            start: self.start.0,
            stop: self.stop.0,
        }
    }

    /// Returns the variables of the program; a process without PATH gives it the usual one.
    fn whole_environment(&self) -> BTreeMap<String, String> {
        let mut environment = self.environment.clone();
        if own_path().is_none() {
            environment.entry("PATH".into()).or_insert_with(|| USUAL_PATH.into());
        }
        environment
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
        if self.properties.is_empty() {
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

/// Looks for a program as it is done when it is started.
fn find(program: &str, path: Option<&str>) -> Result<(), String> {
    if program.is_empty() {
        return Err("is empty; it is the program".to_owned());
    }
    if program.contains('/') {
        let file = Path::new(program);
        return if file.is_relative() {
            Err(format!("{program}: give the whole path, or a name that PATH knows"))
        } else if !file.exists() {
            Err(format!("{program} does not exist"))
        } else if !is_executable(file) {
            Err(format!("{program} is no program; run `chmod +x {program}`"))
        } else {
            Ok(())
        };
    }
    let path = path.map_or_else(|| own_path().unwrap_or_else(|| USUAL_PATH.into()), str::to_owned);
    let there = |folder: PathBuf| is_executable(&folder.join(program));
    if std::env::split_paths(&path).any(there) {
        Ok(())
    } else {
        Err(format!("no program `{program}` in {path}"))
    }
}

fn own_path() -> Option<String> {
    std::env::var("PATH").ok()
}

fn is_executable(file: &Path) -> bool {
    file.metadata().is_ok_and(|it| it.is_file() && it.permissions().mode() & 0o111 != 0)
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

/// Where programs are, for a device in a process of its own, which has no PATH.
const USUAL_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const SCRIPTS: [&str; 9] = ["py", "js", "mjs", "cjs", "sh", "rb", "pl", "lua", "php"];

const START: (Span, Span) = (Span(Duration::from_millis(100)), Span::minutes(5));
const STOP: (Span, Span) = (Span(Duration::ZERO), Span::seconds(10));
const POLL: (Span, Span) = (Span(Duration::from_millis(100)), Span::hours(24));
