//! What the members of a group tell, and what the group tells of it.

use std::collections::BTreeMap;

use hearthd_sdk::mqtt::Response;
use hearthd_sdk::{Changes, Context, Property, Value};
use serde_json::Value as Json;

/// The states of a group's members.
#[derive(Debug)]
pub(crate) struct Members {
    context: Context,
    names: Vec<String>,
    /// The properties that they have in common.
    properties: Vec<Property>,
    /// The last state of each, by property and member.
    states: BTreeMap<(String, String), Value>,
    /// What the group has told last.
    told: BTreeMap<String, Value>,
}

/// How the states of the members are to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Agreement {
    Same,
    Mixed,
    /// Of one member at least, a state is not known.
    Unknown,
}

impl Members {
    pub(crate) fn new(context: Context, names: Vec<String>, properties: Vec<Property>) -> Self {
        let mut members =
            Self { context, names, properties, states: BTreeMap::new(), told: BTreeMap::new() };
        members.tell();
        members
    }

    pub(crate) fn names(&self) -> &[String] {
        &self.names
    }

    /// Takes a state that a member tells, on the topic `DEVICE/PROPERTY`; one that the group could not have is not known.
    pub(crate) fn hear(&mut self, topic: &str, payload: &[u8]) {
        let Some((member, name)) = topic.split_once('/') else { return };
        let property = self.properties.iter().find(|property| property.name() == name);
        let text = std::str::from_utf8(payload).ok();
        let value = property
            .zip(text)
            .and_then(|(property, text)| property.read_value(&Json::String(text.to_owned())));
        self.note(member, name, value);
        self.tell();
    }

    /// Takes what members have answered that were set: the state that each tells, or else what was set, unless it is
    /// under way still.
    pub(crate) fn take_answers(&mut self, changes: &Changes, told: &[(String, Response)]) {
        for (member, response) in told.iter().filter(|(_, response)| response.is_success()) {
            let several: Option<Json> = serde_json::from_str(&response.payload).ok();
            for (name, value) in changes.iter() {
                let property = self.properties.iter().find(|property| property.name() == name);
                let state = match several.as_ref().and_then(|states| states.get(name)) {
                    Some(state) => property.and_then(|property| property.read_value(state)),
                    None => property.and_then(|property| {
                        property.read_value(&Json::String(response.payload.clone()))
                    }),
                };
                let is_done = response.status != ACCEPTED;
                if let Some(state) = state.or_else(|| is_done.then(|| value.clone())) {
                    self.note(member, name, Some(state));
                }
            }
        }
        self.tell();
    }

    fn note(&mut self, member: &str, name: &str, value: Option<Value>) {
        let key = (name.to_owned(), member.to_owned());
        match value {
            Some(value) => drop(self.states.insert(key, value)),
            None => drop(self.states.remove(&key)),
        }
    }

    /// Tells what has changed of the group.
    fn tell(&mut self) {
        let mut all = Agreement::Same;
        let mut states = Vec::new();
        for property in &self.properties {
            let name = property.name();
            let of_member = |member: &String| self.states.get(&(name.to_owned(), member.clone()));
            let known: Vec<&Value> = self.names.iter().filter_map(of_member).collect();
            let agreement = if known.len() < self.names.len() {
                Agreement::Unknown
            } else if known.windows(2).all(|pair| pair[0] == pair[1]) {
                Agreement::Same
            } else {
                Agreement::Mixed
            };
            all = all.and(agreement);
            states.extend(common(&known).map(|value| (name.to_owned(), value)));
        }
        states.push((AGREEMENT.to_owned(), Value::Text(all.word().to_owned())));
        for (name, value) in states {
            if self.told.get(&name) != Some(&value) {
                self.context.publish(&name, value.clone());
                self.told.insert(name, value);
            }
        }
    }
}

impl Agreement {
    fn word(self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::Mixed => "mixed",
            Self::Unknown => "unknown",
        }
    }

    /// Returns how it is with two properties.
    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Unknown, _) | (_, Self::Unknown) => Self::Unknown,
            (Self::Mixed, _) | (_, Self::Mixed) => Self::Mixed,
            (Self::Same, Self::Same) => Self::Same,
        }
    }
}

/// Returns what a group is whose members are so, in their order: ON where one is, and else as the first.
fn common(known: &[&Value]) -> Option<Value> {
    let on = known.iter().find(|value| ***value == Value::Switch(true));
    on.or(known.first()).map(|value| (*value).clone())
}

/// Declares the property that says how the members are to each other.
pub(crate) fn agreement() -> Property {
    let words = [Agreement::Same, Agreement::Mixed, Agreement::Unknown].map(Agreement::word);
    Property::choice(AGREEMENT, &words).title("Members").read_only()
}

/// The status of an answer that comes before the end.
const ACCEPTED: u16 = 202;
/// The name of that property.
pub(crate) const AGREEMENT: &str = "members";
