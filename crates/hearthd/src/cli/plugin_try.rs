//! `hearthd plugin try`: runs one device of a plugin by hand or by a script, without a hub and without a broker.

mod expecting;
mod lines;
mod script;
mod session;
mod subject;

use std::{
    fs,
    io::{self, BufRead as _, IsTerminal as _, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use serde_json::json;
use tracing::Level;
use tracing_subscriber::filter::Targets;

use super::{complain, exit, fail, parse_duration, plugin_check::read_table};
use crate::{
    config::{Config, DeviceConfig, Isolation, Limits},
    device::{Complaint, trial::Trial},
    plugin::{Launcher, PluginError, Plugins},
};
use lines::LogLines;
use script::Step;
use session::{Failed, Place, Session};
use subject::Subject;

/// The arguments of `hearthd plugin try`.
#[derive(Debug, clap::Args)]
pub(super) struct Try {
    /// The plugin file; or a program, for the plugin `program`.
    file: PathBuf,
    /// A TOML file with the device's table, as in `[devices.ID.config]`.
    #[arg(long, value_name = "TABLE.toml")]
    config: Option<PathBuf>,
    /// The kind of the device, if the plugin has several.
    #[arg(long)]
    kind: Option<String>,
    /// A file with commands, one on each line [default: those that are typed, or standard input].
    #[arg(long, value_name = "FILE")]
    script: Option<PathBuf>,
    /// How long an expected thing may take to happen, in real time.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, default_value = "10s")]
    patience: Duration,
    /// What to log, such as `debug`.
    #[arg(long, value_name = "FILTER")]
    log: Option<Targets>,
}

/// An exit code, and what went wrong.
type Refusal = (u8, String);

/// Tries a plugin: by the commands of a script, or by those of a person.
pub(super) fn try_out(arguments: &Try) -> ExitCode {
    let stdin_is_script = arguments.script.is_none() && !io::stdin().is_terminal();
    let script = if arguments.script.is_some() || stdin_is_script {
        match read_script(arguments.script.as_deref()) {
            Ok(script) => Some(script),
            Err((code, error)) => return fail(code, error),
        }
    } else {
        None
    };
    let filter = arguments.log.clone();
    let log = LogLines::install(filter.unwrap_or_else(|| Targets::new().with_default(Level::INFO)));
    let staging = match tempfile::tempdir() {
        Ok(staging) => staging,
        Err(error) => return fail(exit::IO, format!("make a temporary folder: {error}")),
    };
    let session = match begin(arguments, log, staging.path()) {
        Ok(session) => session,
        Err((code, error)) => return fail(code, error),
    };
    match script {
        Some(script) => play(session, script),
        None => converse(session),
    }
}

/// A script with the name that its failures carry.
struct Script {
    name: String,
    steps: Vec<(Place, Step)>,
}

/// Reads a whole script before any of it is done.
fn read_script(file: Option<&Path>) -> Result<Script, Refusal> {
    let (name, text) = match file {
        Some(file) => (file.display().to_string(), fs::read_to_string(file)),
        None => ("standard input".into(), io::read_to_string(io::stdin())),
    };
    let text = text.map_err(|error| (exit::NO_INPUT, format!("{name}: {error}")))?;
    let (mut steps, mut mistakes) = (Vec::new(), Vec::new());
    for (line, text) in (1..).zip(text.lines()) {
        match Step::parse(text) {
            Ok(Some(step)) => steps.push((Place { line, text: text.trim().to_owned() }, step)),
            Ok(None) => {}
            Err(error) => mistakes.push(format!("{name}:{line}: {error}")),
        }
    }
    if mistakes.is_empty() {
        Ok(Script { name, steps })
    } else {
        Err((exit::DATA, mistakes.join("\nhearthd: ")))
    }
}

fn begin(arguments: &Try, log: LogLines, staging: &Path) -> Result<Session, Refusal> {
    let table = arguments.config.as_deref().map(read_table).transpose();
    let table = table.map_err(|error| (exit::CONFIG, error))?.unwrap_or_else(|| json!({}));
    let mut subject = Subject::find(&arguments.file, table)?;
    let launcher = Launcher::new(Limits::default()).for_trial();
    let plugins = Plugins::load_file(&subject.plugin, staging, &launcher);
    let plugins = plugins.map_err(|error| match error {
        PluginError::Load { path, reason } => (exit::DATA, format!("{}: {reason}", path.display())),
        other => (exit::DATA, other.to_string()),
    })?;
    let kind = choose_kind(&plugins, arguments.kind.as_deref())?;
    let mut config = Config::parse(Path::new("hearthd.toml"), "")
        .expect("every key of the configuration has a default");
    let device = DeviceConfig {
        id: ID.into(),
        kind,
        name: None,
        room: None,
        home_assistant: false,
        deadline: config.requests.deadline,
        stale: config.requests.stale,
        isolation: Isolation::Process,
        config: subject.table.take(),
    };
    config.devices.insert(ID.into(), device);
    let trial = Trial::start(&config, &plugins)
        .map_err(|complaints| refuse_table(arguments, &complaints))?;
    Ok(Session::begin(trial, subject, log, arguments.patience))
}

fn choose_kind(plugins: &Plugins, wanted: Option<&str>) -> Result<String, Refusal> {
    let present: Vec<_> = plugins.kinds().collect();
    match (wanted, &present[..]) {
        (Some(wanted), _) if present.contains(&wanted) => Ok(wanted.into()),
        (None, [only]) => Ok((*only).into()),
        (Some(wanted), _) => {
            let text = format!("there is no kind `{wanted}`; there is: {}", present.join(", "));
            Err((exit::USAGE, text))
        }
        (None, _) => {
            let text = format!("give --kind with one of: {}", present.join(", "));
            Err((exit::USAGE, text))
        }
    }
}

fn refuse_table(arguments: &Try, complaints: &[Complaint]) -> Refusal {
    let table = arguments.config.as_deref().map(Path::display);
    let table = table.map_or_else(|| "the table (--config)".into(), |table| table.to_string());
    let line = |(_, path, message): &Complaint| match path.as_str() {
        "" => format!("{table}: {message}"),
        path => format!("{table}: {path}: {message}"),
    };
    let lines: Vec<_> = complaints.iter().map(line).collect();
    (exit::CONFIG, lines.join("\nhearthd: "))
}

/// Does what a script says, until a line of it fails.
fn play(mut session: Session, script: Script) -> ExitCode {
    let Script { name, steps } = script;
    let count = steps.len();
    let mut played = Ok(());
    for (place, step) in steps {
        say!("{}", place.text);
        played = session.execute(place, step);
        if played.is_err() {
            break;
        }
    }
    match played.and_then(|()| session.finish()) {
        Ok(()) => {
            say!("passed: {}", super::counted(count, "line"));
            ExitCode::SUCCESS
        }
        Err(Failed { place, reason }) => {
            complain(format_args!("{name}:{}: {}: {reason}", place.line, place.text));
            ExitCode::FAILURE
        }
    }
}

/// Does what a person types.
fn converse(mut session: Session) -> ExitCode {
    say!("`help` lists the commands.");
    let mut input = io::stdin().lock();
    for line in 1.. {
        // If nobody sees it, nobody types either.
        let _ = write!(io::stdout(), "> ").and_then(|()| io::stdout().flush());
        let mut text = String::new();
        match input.read_line(&mut text) {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) => return fail(exit::IO, format!("read standard input: {error}")),
        }
        let text = text.trim().to_owned();
        match Step::parse(&text) {
            Ok(None) => {}
            Ok(Some(Step::Quit)) => break,
            Ok(Some(step)) => {
                let is_expected = matches!(step, Step::Expect(_));
                if !is_expected {
                    session.forget();
                }
                match session.execute(Place { line, text }, step) {
                    Ok(()) if is_expected => say!("  it is so"),
                    Ok(()) => session.linger(LINGER),
                    Err(failed) => say!("  {}", failed.reason),
                }
            }
            Err(error) => say!("  {error}"),
        }
    }
    session.forget();
    // What is missing at the end is no failure: somebody looks on.
    session.excuse();
    match session.finish() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failed) => fail(1, failed.reason),
    }
}

/// The ID of a device on trial.
const ID: &str = "test";
/// How long an answer is waited for before the next command can be typed.
const LINGER: Duration = Duration::from_millis(500);
