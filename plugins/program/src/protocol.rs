//! The messages between the hub and a program, one JSON object on each line.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use hearthd_sdk::{Absence, Acknowledgement, Outcome};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json, json};

/// What the hub says.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(crate) enum ToProgram<'a> {
    /// The program serves this device from now on; it answers.
    Hello {
        id: u64,
        protocol: u32,
        device: &'a str,
        settings: &'a Map<String, Json>,
        /// The texts of the device's secrets, if it has any.
        #[serde(skip_serializing_if = "BTreeMap::is_empty")]
        secrets: BTreeMap<&'a str, &'a str>,
        properties: &'a Map<String, Json>,
        /// What the program last saved of the device.
        #[serde(skip_serializing_if = "Option::is_none")]
        saved: Option<&'a Json>,
        /// What last became of the hub's will, if that is known.
        #[serde(skip_serializing_if = "Option::is_none")]
        absence: Option<&'a Json>,
        /// The names of the devices that the hub has of it, where it may add some.
        #[serde(skip_serializing_if = "Option::is_none")]
        children: Option<&'a BTreeSet<String>>,
    },
    /// These properties shall get these values, all or none; it answers.
    Set { id: u64, device: &'a str, values: &'a Map<String, Json>, within_ms: u64 },
    /// It shall tell all states; it answers.
    Get { id: u64, device: &'a str, within_ms: u64 },
    /// A timer of the device has come to its end.
    Timer { device: &'a str, name: &'a str },
    /// What became of the hub's will while the hub was away.
    Absence { device: &'a str, absence: &'a Json },
    /// The program no longer serves this device.
    Stop { device: &'a str },
    /// The hub does not have a device that the program has added.
    Refused { device: &'a str, name: &'a str, reason: &'a str },
}

/// What a program says. A device may be left out where it serves one.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(crate) enum FromProgram {
    Answer(Answer),
    /// States of properties.
    State {
        device: Option<String>,
        values: Map<String, Json>,
    },
    /// Something has happened now.
    Event {
        device: Option<String>,
        property: String,
        kind: String,
    },
    /// What the device stands for cannot be reached.
    Unreachable {
        device: Option<String>,
        reason: String,
    },
    /// It can again.
    Reachable {
        device: Option<String>,
    },
    /// Starts a timer anew, in seconds; stops it where no time is given.
    Timer {
        device: Option<String>,
        #[serde(default)]
        name: String,
        after: Option<f64>,
    },
    /// A line for the hub's log.
    Log {
        device: Option<String>,
        #[serde(default)]
        level: Level,
        message: String,
    },
    /// What the next `hello` of the device brings.
    Save {
        device: Option<String>,
        state: Json,
    },
    /// There is another device, which belongs to this one.
    Add(Add),
    /// It is no more.
    Remove {
        device: Option<String>,
        name: String,
    },
    /// A message of another version.
    #[serde(other)]
    Unknown,
}

/// A device that a program adds to one that it serves.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(crate) struct Add {
    /// The one that it belongs to.
    pub(crate) device: Option<String>,
    /// Its ID is that of the one that it belongs to, `-` and this.
    pub(crate) name: String,
    /// Declarations, in the words of `describe`.
    pub(crate) properties: Map<String, Json>,
    pub(crate) kind: Option<String>,
    pub(crate) title: Option<String>,
    pub(crate) room: Option<String>,
    /// States, as with [`FromProgram::State`].
    #[serde(default)]
    pub(crate) values: Map<String, Json>,
}

/// The answer to the message with this number.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(crate) struct Answer {
    pub(crate) id: u64,
    /// As in HTTP; 200 where it is left out.
    status: Option<u16>,
    /// With 202: how long it may take until the same question is answered with the end, in seconds.
    pub(crate) within: Option<f64>,
    pub(crate) reason: Option<String>,
    /// States, as with [`FromProgram::State`].
    #[serde(default)]
    pub(crate) values: Map<String, Json>,
    /// To `hello`: what the program takes the properties for.
    pub(crate) properties: Option<Map<String, Json>>,
}

/// What a message is.
#[derive(Deserialize)]
struct Head<'l> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'l, str>,
}

/// How important a line of the log is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Level {
    Error,
    #[serde(alias = "warning")]
    Warn,
    #[default]
    Info,
    Debug,
    Trace,
}

impl ToProgram<'_> {
    /// Returns the line, without its end.
    pub(crate) fn line(&self) -> String {
        serde_json::to_string(self).expect("it holds nothing but text, numbers and JSON")
    }
}

impl FromProgram {
    /// Reads a line; the type of a message that is not known comes beside it.
    pub(crate) fn read(line: &str) -> Result<(Self, Option<String>), String> {
        let read = || -> serde_json::Result<_> {
            let head: Head<'_> = serde_json::from_str(line)?;
            // What is said most is read by itself: of a tagged message, all is kept until the tag is known.
            if head.kind == "answer" {
                return Ok((Self::Answer(serde_json::from_str(line)?), None));
            }
            let message = serde_json::from_str(line)?;
            let unknown = (message == Self::Unknown).then(|| head.kind.into_owned());
            Ok((message, unknown))
        };
        read().map_err(|error| error.to_string())
    }
}

impl Answer {
    /// Returns the status, as in HTTP; 200 where the program gives none.
    pub(crate) fn status(&self) -> u16 {
        self.status.unwrap_or(200)
    }
}

/// The version of the messages; it changes only where a program that knows an older one would not understand.
pub(crate) const PROTOCOL: u32 = 1;

/// Returns what became of the hub's will as messages carry it.
pub(crate) fn absence(absence: &Absence) -> Json {
    let outcome = match absence.outcome {
        Outcome::NotPublished => "not-published",
        Outcome::Consumed => "consumed",
        Outcome::Unconsumed => "unconsumed",
        Outcome::Unknown => "unknown",
    };
    let acknowledgement = |it: &Acknowledgement| {
        json!({
            "responder": it.responder,
            "payload": it.payload,
            "status": it.status,
            "before_fence": it.before_fence,
        })
    };
    let acknowledgements: Vec<_> = absence.acknowledgements.iter().map(acknowledgement).collect();
    json!({
        "generation": absence.generation,
        "outcome": outcome,
        "acknowledgements": acknowledgements,
        "somebody_acted": absence.somebody_acted(),
    })
}
