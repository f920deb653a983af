//! `hearthd request`, `devices`, `status`, `describe`, `will` and `metrics`: requests to the running daemon.

use std::{
    fs::Permissions,
    io::{self, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::ExitCode,
    time::Duration,
};

use hearthd_core::{Acknowledgements, Outcome, Published};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Asking, complain,
    declaration::{in_words, title, width},
    exit, fail,
};
use crate::{
    client::connection::ConnectionError,
    client::request::{AskError, Question, Response, ask, check_level, default_timeout},
    config::Config,
};

/// Asks, and prints the answers; exit 0 only where all are 2xx.
pub(super) fn request(
    common: &Asking,
    device: String,
    property: String,
    payload: String,
    all: bool,
) -> ExitCode {
    if let Err(code) = check_levels(&[("device", &device), ("property", &property)]) {
        return code;
    }
    let name = payload.is_empty().then(|| format!("{device}/{property}"));
    let question = |config: &Config| {
        let timeout = common.timeout.unwrap_or_else(|| default_timeout(config, &device));
        Ok(Question { device, property, payload: payload.into(), timeout, all })
    };
    match ask_once(common, question) {
        Err(code) => code,
        Ok(answers) => {
            for answer in &answers {
                print_answer(answer, common.json);
                if let Some(name) = &name
                    && answer.status() == NO_CONTENT
                    && !common.json
                {
                    complain(format_args!("hearthd: 204: `{name}` has no value so far"));
                }
            }
            let done = answers.iter().all(|answer| (200..300).contains(&answer.status()));
            if done { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
    }
}

/// Lists the devices.
pub(super) fn devices(common: &Asking) -> ExitCode {
    ask_hub(common, "devices", |list| {
        let devices = list.as_array().into_iter().flatten();
        let column = |key: &str, usual: usize| {
            width(usual, devices.clone().filter_map(|device| device[key].as_str()))
        };
        let (ids, kinds, states) = (column("id", 24), column("kind", 12), column("state", 11));
        for device in devices.clone() {
            let text = |key: &str| device[key].as_str().unwrap_or_default().to_owned();
            let (id, kind, state) = (text("id"), text("kind"), text("state"));
            say!("{id:<ids$} {kind:<kinds$} {state:<states$} {}", text("name"));
            if device["reason"].is_string() {
                let since = device["since"].as_str().map(|since| format!(", since {since}"));
                say!("    {}{}", text("reason"), since.unwrap_or_default());
            }
            for (property, value) in device["properties"].as_object().into_iter().flatten() {
                say!("    {property} = {}", plain(value));
            }
        }
    })
}

/// Tells how the daemon is.
pub(super) fn status(common: &Asking) -> ExitCode {
    ask_hub(common, "status", |report| {
        say!("{}", plain(&report["status"]));
        // Earlier versions tell no more.
        let (Some(version), Some(seconds)) =
            (report["version"].as_str(), report["uptime_s"].as_u64())
        else {
            return;
        };
        let up = humantime::format_duration(Duration::from_secs(seconds));
        let prefix = report["prefix"].as_str().map(|prefix| format!(", prefix {prefix}"));
        say!("version {version}, up for {up}{}", prefix.unwrap_or_else(|| ", no prefix".into()));
    })
}

/// Prints the hub's metrics; where it does not answer, the one that says so.
pub(super) fn metrics(common: &Asking, output: Option<&Path>) -> ExitCode {
    let question = |config: &Config| {
        let hub = common.hub(config)?;
        check_levels(&[("hub", &hub)])?;
        Ok(read(common, config, &hub, "metrics"))
    };
    let (text, code) = match ask_once(common, question) {
        Err(code) => (AWAY.to_owned(), code),
        Ok(answers) => match answers.first() {
            Some(answer) if answer.status() == 200 => {
                (String::from_utf8_lossy(&answer.message.payload).into_owned(), ExitCode::SUCCESS)
            }
            other => {
                other.into_iter().for_each(|answer| print_answer(answer, common.json));
                (AWAY.to_owned(), ExitCode::FAILURE)
            }
        },
    };
    match output {
        None => say!("{}", text.trim_end()),
        Some(file) => {
            if let Err(error) = replace(file, &text) {
                return fail(exit::CANNOT_CREATE, format!("{}: {error}", file.display()));
            }
        }
    }
    code
}

/// Puts a file into the place of the one before, so that nobody reads half of it.
fn replace(file: &Path, text: &str) -> io::Result<()> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    let mut new = tempfile::NamedTempFile::new_in(folder.unwrap_or(Path::new(".")))?;
    new.write_all(text.as_bytes())?;
    // A collector runs as another user.
    new.as_file().set_permissions(Permissions::from_mode(0o644))?;
    new.persist(file).map(drop).map_err(|error| error.error)
}

/// Describes one device.
pub(super) fn describe(common: &Asking, device: String) -> ExitCode {
    if let Err(code) = check_levels(&[("device", &device)]) {
        return code;
    }
    let question = |config: &Config| Ok(read(common, config, &device, "describe"));
    print_value(common, question, |description| {
        say!("{}", title(description));
        let properties = description["properties"].as_object().into_iter().flatten();
        let width = width(22, properties.clone().map(|(property, _)| property.as_str()));
        for (property, declaration) in properties {
            say!("    {property:<width$} {}", in_words(declaration));
        }
    })
}

/// Prints the last absences, the newest last.
pub(super) fn will(common: &Asking) -> ExitCode {
    ask_hub(common, "absences", |list| {
        let Ok(absences) = serde_json::from_value::<Vec<Told>>(list.clone()) else {
            return say!("{list:#}");
        };
        if absences.is_empty() {
            say!("no absence yet");
        }
        for absence in absences {
            let clean = if absence.clean { ", after an orderly disconnect" } else { "" };
            let published = match (absence.outcome, absence.published) {
                (Outcome::Unknown, Published::Yes) => ", but published",
                _ => "",
            };
            say!("{}  {}{published}{clean}", absence.decided_at, absence.outcome.as_str());
            say!("    the will of the connection of {}", absence.connected_at);
            for answer in absence.acknowledgements.iter() {
                let who = answer.responder.as_deref().unwrap_or("somebody");
                let when = if answer.before_fence { "while away" } else { "after the return" };
                say!("    {who}, {when}: {}", answer.payload);
            }
            if absence.left_out > 0 {
                say!("    and {} more answers that were not kept", absence.left_out);
            }
        }
    })
}

/// What a hub tells of an absence.
#[derive(Deserialize)]
struct Told {
    outcome: Outcome,
    #[serde(default)]
    published: Published,
    #[serde(default)]
    clean: bool,
    connected_at: String,
    decided_at: String,
    acknowledgements: Acknowledgements,
    #[serde(default)]
    left_out: u32,
}

fn ask_hub(common: &Asking, property: &str, print: impl FnOnce(&Value)) -> ExitCode {
    let question = |config: &Config| {
        let hub = common.hub(config)?;
        check_levels(&[("hub", &hub)])?;
        Ok(read(common, config, &hub, property))
    };
    print_value(common, question, print)
}

/// Makes a question with an empty payload.
fn read(common: &Asking, config: &Config, device: &str, property: &str) -> Question {
    Question {
        device: device.to_owned(),
        property: property.to_owned(),
        payload: Default::default(),
        timeout: common.timeout.unwrap_or_else(|| default_timeout(config, device)),
        all: false,
    }
}

/// Refuses what cannot be a level of a topic, before anything is sent.
pub(super) fn check_levels(levels: &[(&str, &str)]) -> Result<(), ExitCode> {
    for (what, level) in levels {
        check_level(level)
            .map_err(|why| fail(exit::USAGE, format!("`{level}` is not a {what}: it {why}")))?;
    }
    Ok(())
}

/// Asks for a JSON value and prints it, for people or as it is.
fn print_value(
    common: &Asking,
    question: impl FnOnce(&Config) -> Result<Question, ExitCode>,
    print: impl FnOnce(&Value),
) -> ExitCode {
    let answers = match ask_once(common, question) {
        Ok(answers) => answers,
        Err(code) => return code,
    };
    for answer in answers.iter().take(1) {
        if !(200..300).contains(&answer.status()) {
            print_answer(answer, common.json);
            return ExitCode::FAILURE;
        }
        match serde_json::from_slice(&answer.message.payload) {
            Ok(value) if common.json => say!("{value:#}"),
            Ok(value) => {
                print(&value);
                return ExitCode::SUCCESS;
            }
            Err(error) => return fail(exit::SOFTWARE, format!("the answer is not JSON: {error}")),
        }
    }
    ExitCode::SUCCESS
}

fn ask_once(
    common: &Asking,
    question: impl FnOnce(&Config) -> Result<Question, ExitCode>,
) -> Result<Vec<Response>, ExitCode> {
    let config = common.configuration()?;
    let question = question(&config)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| fail(exit::SOFTWARE, error))?;
    runtime.block_on(ask(&config, &question)).map_err(|error| failure(&error))
}

/// Says why there is no answer, and returns the exit code for it.
pub(super) fn failure(error: &AskError) -> ExitCode {
    let code = match error {
        AskError::Connection(ConnectionError::NotAuthorized(_)) => exit::NOT_AUTHORIZED,
        AskError::Connection(ConnectionError::Unavailable(_) | ConnectionError::Indistinct(_))
        | AskError::NoResponder { .. }
        | AskError::Away(_) => exit::UNAVAILABLE,
        AskError::ResponseInformation(_) | AskError::NoResponseInformation => exit::CONFIG,
        AskError::NoAnswer { .. } => exit::NO_ANSWER,
    };
    fail(code, error)
}

fn print_answer(answer: &Response, as_json: bool) {
    let message = &answer.message;
    let payload = String::from_utf8_lossy(&message.payload);
    if as_json {
        let properties: Vec<_> =
            message.user_properties.iter().map(|(key, value)| json!([key, value])).collect();
        let line = json!({
            "status": answer.status(),
            "payload": payload,
            "content_type": message.content_type,
            "response_topic": message.topic,
            "user_properties": properties,
        });
        say!("{line}");
        return;
    }
    if let Some(first) = message.user_property("repeated") {
        complain(format_args!("hearthd: repeated; first answered at {first}"));
    }
    if answer.status() == ACCEPTED {
        complain(format_args!("hearthd: 202: under way; an event of the device tells the end"));
    }
    if matches!(answer.status(), NO_CONTENT | ACCEPTED) && payload.is_empty() {
        return;
    }
    if (200..300).contains(&answer.status()) {
        say!("{payload}");
    } else {
        let text = message.user_property("__stMsg").unwrap_or(&payload);
        // The hub's own texts begin with the reason.
        let reason = message.user_property("reason").filter(|reason| !text.starts_with(reason));
        let reason = reason.map(|reason| format!(" {reason}")).unwrap_or_default();
        complain(format_args!("hearthd: {}{reason}: {text}", answer.status()));
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Accepted, and under way; the value is the state as it is.
const ACCEPTED: u16 = 202;
/// Done, without a value; the answer to a read where the device has published none so far.
const NO_CONTENT: u16 = 204;
/// The metrics of a hub that does not answer.
const AWAY: &str =
    "# HELP hearthd_up Whether the hub answers.\n# TYPE hearthd_up gauge\nhearthd_up 0\n";
