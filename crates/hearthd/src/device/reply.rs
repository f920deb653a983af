//! Reads a request to a device by its declarations, and makes the answer.

use std::collections::BTreeMap;

use hearthd_core::{
    Answer, ContentType, PublishError, Reason, Request, Status,
    property::{self, Access, Declaration, Rejection, Value},
};
use hearthd_sdk::abi;
use serde_json::{Value as Json, json};

use super::{reach::Unreachable, shared::Shared};
use crate::{boundary::call::PANICKED, sync::lock};

/// The result of reading a request.
#[derive(Debug)]
pub(crate) enum ParsedRequest {
    /// It is answered without the plugin.
    Answer(Answer),
    /// The plugin shall set these; the answer says their state.
    Set { changes: BTreeMap<String, Value>, verb: Verb },
}

/// How a write was asked for, and so how it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    /// On the property's own topic.
    Property,
    /// On `set`.
    Set,
}

/// Reads a request.
pub(crate) fn parse(shared: &Shared, request: &Request) -> ParsedRequest {
    match &*request.property {
        "get" => ParsedRequest::Answer(match shared.out_of_reach() {
            None => Answer::json(&all_states(shared)),
            Some(unreachable) => out_of_reach(shared, &unreachable, all_states(shared)),
        }),
        "describe" => ParsedRequest::Answer(Answer::json(&describe(shared))),
        "set" => read_set(shared, request).unwrap_or_else(ParsedRequest::Answer),
        property => match shared.declarations.get(property) {
            None => ParsedRequest::Answer(unknown(shared, property)),
            Some(declaration) if request.payload.is_empty() => {
                ParsedRequest::Answer(read(shared, declaration))
            }
            Some(declaration) => read_write(shared, declaration, request),
        },
    }
}

/// Says the state of what was set.
pub(crate) fn done(shared: &Shared, names: &[String], verb: Verb) -> Answer {
    match (verb, names) {
        (Verb::Property, [name]) => match shared.declarations.get(name) {
            Some(declaration) if declaration.access != Access::Write => {
                read_state(shared, declaration)
            }
            _ => Answer::no_content(),
        },
        _ => {
            let states = lock(&shared.states);
            let states = names
                .iter()
                .filter_map(|name| Some((name.clone(), states.get(name)?.as_json().clone())));
            Answer::json(&Json::Object(states.collect()))
        }
    }
}

/// Says why the plugin did not do it.
pub(crate) fn failed(status: i32, message: &str) -> Answer {
    let (status, otherwise) = match status {
        abi::ERR_INVALID => (Status::Unprocessable, "the device refuses the value"),
        abi::ERR_UNSUPPORTED => (Status::Unprocessable, "the device does not support it"),
        abi::ERR_BUSY => (Status::Busy, "the device is busy"),
        abi::ERR_UNREACHABLE => {
            let otherwise = "the device cannot reach what it stands for";
            return Answer::unreachable(if message.is_empty() { otherwise } else { message });
        }
        abi::ERR_INDETERMINATE => {
            let otherwise = "the device cannot tell whether it was done";
            let message = if message.is_empty() { otherwise } else { message };
            return Answer::conflict(Reason::Indeterminate, message);
        }
        abi::ERR_GONE => (Status::Unavailable, "the device is gone"),
        abi::ERR_PANIC => return Answer::crashed(PANICKED),
        _ => (Status::Failed, "the device failed"),
    };
    Answer::failure(status, if message.is_empty() { otherwise } else { message })
}

/// Returns the status of a message that came to nothing (Q4).
pub(crate) fn unsent(error: PublishError) -> i32 {
    match error {
        PublishError::Gone => abi::ERR_GONE,
        PublishError::Busy => abi::ERR_BUSY,
        PublishError::Refused => abi::ERR_INVALID,
        PublishError::TooLarge => abi::ERR_TOO_LARGE,
        PublishError::Late => abi::ERR_FAILED,
    }
}

fn read_write(shared: &Shared, declaration: &Declaration, request: &Request) -> ParsedRequest {
    let current = shared.state(&declaration.name);
    let current = current.as_ref().map(Value::as_text);
    match declaration.read(&request.payload, request.content_type.as_deref(), current) {
        Ok(value) => {
            let changes = BTreeMap::from([(declaration.name.clone(), value)]);
            ParsedRequest::Set { changes, verb: Verb::Property }
        }
        Err(rejection) => {
            let value = String::from_utf8_lossy(&request.payload);
            ParsedRequest::Answer(rejected(&rejection, &declaration.name, &value))
        }
    }
}

fn read_set(shared: &Shared, request: &Request) -> Result<ParsedRequest, Answer> {
    let bad = |error: &str| {
        let text = format!("`set` takes a JSON object of properties{error}");
        Answer::failure(Status::BadRequest, text)
    };
    property::is_json(request.content_type.as_deref())
        .map_err(|rejection| Answer::failure(rejection.status, rejection.message))?;
    let read = property::parse_json(&request.payload);
    let Json::Object(object) = read.map_err(|error| bad(&format!(": {error}")))? else {
        return Err(bad(""));
    };
    if object.is_empty() {
        return Err(bad(", at least one"));
    }
    let mut changes = BTreeMap::new();
    for (name, value) in object {
        let declaration = shared.declarations.get(&name).ok_or_else(|| unknown(shared, &name))?;
        let current = shared.state(&name);
        let read = declaration.read_json(&value, current.as_ref().map(Value::as_text));
        let read = read.map_err(|rejection| rejected(&rejection, &name, &value.to_string()))?;
        changes.insert(name, read);
    }
    Ok(ParsedRequest::Set { changes, verb: Verb::Set })
}

/// Answers a read: with the state, or with what it last was.
fn read(shared: &Shared, declaration: &Declaration) -> Answer {
    let unreachable = shared.out_of_reach().filter(|_| declaration.not_readable().is_none());
    let Some(unreachable) = unreachable else { return read_state(shared, declaration) };
    let last = shared.state(&declaration.name).map_or(Json::Null, |value| value.as_json().clone());
    out_of_reach(shared, &unreachable, last).about(&declaration.name, None)
}

fn out_of_reach(shared: &Shared, unreachable: &Unreachable, last: Json) -> Answer {
    let text = format!("`{}` is {}", shared.config.id, unreachable.text());
    Answer::unreachable(text).with_last_known(unreachable.last_known(last))
}

fn read_state(shared: &Shared, declaration: &Declaration) -> Answer {
    if let Some(text) = declaration.not_readable() {
        return Answer::failure(Status::Unprocessable, text).about(&declaration.name, None);
    }
    match shared.state(&declaration.name) {
        None => Answer::no_content(),
        Some(value) => {
            let content_type = declaration.content_type();
            Answer { content_type, ..Answer::text(value.as_text().to_owned()) }
        }
    }
}

fn all_states(shared: &Shared) -> Json {
    let states = lock(&shared.states);
    Json::Object(
        states.iter().map(|(name, value)| (name.clone(), value.as_json().clone())).collect(),
    )
}

fn describe(shared: &Shared) -> Json {
    let properties: serde_json::Map<_, _> =
        shared.declarations.iter().map(|(name, d)| (name.clone(), d.describe())).collect();
    let mut description = json!({
        "id": shared.config.id,
        "name": shared.config.name.as_deref().unwrap_or(&shared.config.id),
        "kind": shared.config.kind,
        "properties": properties,
    });
    if let Some(room) = &shared.config.room {
        description["room"] = room.as_str().into();
    }
    description
}

fn unknown(shared: &Shared, property: &str) -> Answer {
    let present: Vec<_> = shared.declarations.keys().map(String::as_str).collect();
    let text = format!(
        "`{}` has no `{property}`; it has {}, set, get, describe and status",
        shared.config.id,
        present.join(", ")
    );
    Answer::failure(Status::NotFound, text).about(property, None)
}

fn rejected(rejection: &Rejection, property: &str, value: &str) -> Answer {
    const LONGEST: usize = 256;
    let value: String = value.chars().take(LONGEST).collect();
    Answer::failure(rejection.status, &rejection.message).about(property, Some(&value))
}

/// Writes the changes of a `set` of several properties as the plugin gets them (C0).
pub(crate) fn object(changes: &BTreeMap<String, Value>) -> String {
    let object = changes.iter().map(|(name, value)| (name.clone(), value.as_json().clone()));
    Json::Object(object.collect()).to_string()
}

/// The payload that a plugin gave with a completion, as the answer.
pub(crate) fn given(payload: Vec<u8>) -> Answer {
    Answer { content_type: ContentType::Text, ..Answer::text(payload) }
}
