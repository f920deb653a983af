//! Reads a request to a device by its declarations, and makes the answer.

use std::collections::BTreeMap;

use hearthd_core::{
    Answer, ContentType, PublishError, Reason, Request, Status,
    property::{Access, ChangeRequest, Declaration, Refusal, Value},
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
        "set" => read_changes(shared, request, Verb::Set),
        property => match shared.declarations.get(property) {
            Some(declaration) if request.payload.is_empty() => {
                ParsedRequest::Answer(read(shared, declaration))
            }
            Some(_) | None => read_changes(shared, request, Verb::Property),
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

fn read_changes(shared: &Shared, request: &Request, verb: Verb) -> ParsedRequest {
    let changes = ChangeRequest {
        device: &shared.config.id,
        declarations: &shared.declarations,
        property: &request.property,
        payload: &request.payload,
        content_type: request.content_type.as_deref(),
    };
    let current = |name: &str| shared.state(name).map(|value| value.as_text().to_owned());
    match changes.read(current) {
        Ok(changes) => ParsedRequest::Set { changes, verb },
        Err(refusal) => ParsedRequest::Answer(refused(refusal)),
    }
}

fn refused(Refusal { rejection, property, value }: Refusal) -> Answer {
    let answer = Answer::failure(rejection.fault.into(), rejection.message);
    Answer { property, value, ..answer }
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
            let content_type = ContentType::of(declaration);
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

/// The payload that a plugin gave with a completion, as the answer.
pub(crate) fn given(payload: Vec<u8>) -> Answer {
    Answer { content_type: ContentType::Text, ..Answer::text(payload) }
}
