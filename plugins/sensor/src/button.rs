//! A button or a remote control: what it says is an event, and is over at once.

use std::collections::{BTreeMap, BTreeSet};

use hearthd_confirm::Message;
use hearthd_sdk::{Problems, Property};
use serde_json::Value as Json;

use crate::config::ButtonTable;
use crate::source::shown;

/// Where the events of a button come from by MQTT.
#[derive(Clone, Debug)]
pub(crate) struct ButtonSource {
    pub(crate) topic: String,
    pub(crate) pointer: String,
    /// The kind of event that each word is.
    events: BTreeMap<String, String>,
    /// What other places of the message must say for it to be of this button.
    only: BTreeMap<String, String>,
}

/// What a message came to.
#[derive(Debug, PartialEq)]
pub(crate) enum Pressed {
    /// It is not about the button.
    Nothing,
    /// An event of this kind has happened.
    Event(String),
    /// It is not what such a button says: why, for people.
    Wrong(String),
}

impl ButtonSource {
    pub(crate) fn new(topic: String, table: &ButtonTable) -> Self {
        let ButtonTable { pointer, events, only, .. } = table.clone();
        let events = if events.is_empty() { usual_events() } else { events };
        Self { topic, pointer, events, only }
    }

    pub(crate) fn property(&self) -> Property {
        let kinds: BTreeSet<&str> = self.events.values().map(String::as_str).collect();
        event(&kinds.into_iter().collect::<Vec<_>>())
    }

    /// Takes in a message. One that the broker has kept is over long since.
    pub(crate) fn handle(&self, message: &Message) -> Pressed {
        if message.topic != self.topic || message.retained {
            return Pressed::Nothing;
        }
        let json: Option<Json> = serde_json::from_slice(&message.payload).ok();
        let says = |(pointer, wanted): (&String, &String)| {
            let said = json.as_ref().and_then(|json| json.pointer(pointer));
            said.map(text).as_deref() == Some(wanted)
        };
        if !self.only.iter().all(says) {
            return Pressed::Nothing;
        }
        let word = match json.as_ref().map(|json| json.pointer(&self.pointer)) {
            None if self.pointer.is_empty() => {
                String::from_utf8_lossy(&message.payload).trim().to_owned()
            }
            None => return Pressed::Wrong("a message is not JSON".to_owned()),
            Some(None | Some(Json::Null)) => return Pressed::Nothing,
            Some(Some(said)) => text(said),
        };
        match self.events.get(&word) {
            Some(kind) => Pressed::Event(kind.clone()),
            // Zigbee2MQTT could follow each action by an empty one.
            None if word.is_empty() => Pressed::Nothing,
            None => Pressed::Wrong(format!("\"{}\" is not one of its events", shown(&word))),
        }
    }
}

impl ButtonTable {
    /// Checks what is said of the events of a button behind MQTT.
    pub(crate) fn check_events(&self, problems: &mut Problems) {
        for (word, kind) in &self.events {
            let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
            let place = format!("button.events.{word}");
            if kind.is_empty() || !kind.chars().all(fits) {
                problems.add(place, format!("\"{kind}\": a kind of event is of a-z, 0-9 and _"));
            } else if kind == "failed" {
                problems.add(place, "the hub itself says `failed`");
            }
        }
        for pointer in self.only.keys().filter(|pointer| !pointer.starts_with('/')) {
            let message = format!("\"{pointer}\" is not a JSON Pointer, such as /component");
            problems.add("button.only", message);
        }
    }
}

/// Returns the property of a button on a line of this machine.
pub(crate) fn on_a_line() -> Property {
    event(&[PRESS, RELEASE])
}

fn event(kinds: &[&str]) -> Property {
    Property::event("button", kinds).title("Button")
}

fn text(said: &Json) -> String {
    said.as_str().map_or_else(|| said.to_string(), str::to_owned)
}

/// Returns the words of the usual buttons: of Zigbee2MQTT, Tasmota, and both generations of Shelly.
fn usual_events() -> BTreeMap<String, String> {
    let words: [(&str, &[&str]); 5] = [
        (PRESS, &["single", "press", "on_press", "SINGLE", "single_push", "S"]),
        ("double", &["double", "DOUBLE", "double_push", "SS"]),
        ("triple", &["triple", "TRIPLE", "triple_push", "SSS"]),
        ("hold", &["hold", "long", "long_press", "HOLD", "long_push", "L"]),
        (RELEASE, &["release", "hold_release", "long_release", "CLEAR"]),
    ];
    let each = |(kind, words): (&str, &[&str])| {
        let kind = kind.to_owned();
        words.iter().map(move |word| ((*word).to_owned(), kind.clone())).collect::<Vec<_>>()
    };
    words.into_iter().flat_map(each).collect()
}

pub(crate) const PRESS: &str = "press";
pub(crate) const RELEASE: &str = "release";
