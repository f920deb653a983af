//! How the output of a program becomes a value.

use std::collections::BTreeMap;

use hearthd_program::excerpt;
use hearthd_sdk::{Failure, Value};
use serde::Deserialize;

use crate::config::{Kind, PropertyConfig};

/// Which part of an output counts, and what it stands for.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Read {
    /// The value begins after the first occurrence of this text.
    after: Option<String>,
    /// The value ends before the next occurrence of this text.
    before: Option<String>,
    /// What an output stands for, such as `active = "ON"`.
    #[serde(default)]
    pub(crate) words: BTreeMap<String, String>,
}

impl PropertyConfig {
    /// Reads the value that a program printed.
    pub(crate) fn read_output(&self, output: &str) -> Result<Value, Failure> {
        let part = self.read.part(output).ok_or_else(|| unreadable(output))?.trim();
        self.value(self.read.words.get(part).map_or(part, String::as_str))
    }

    /// Reads a value from its text.
    pub(crate) fn value(&self, text: &str) -> Result<Value, Failure> {
        let value = match self.kind {
            Kind::Switch => match text.to_ascii_uppercase().as_str() {
                "ON" | "TRUE" | "1" => Some(Value::Switch(true)),
                "OFF" | "FALSE" | "0" => Some(Value::Switch(false)),
                _ => None,
            },
            #[expect(clippy::cast_precision_loss, reason = "limits are far below 2^53")]
            Kind::Integer => {
                let number: Option<i64> = text.parse().ok();
                number.filter(|n| self.within(*n as f64)).map(Value::Integer)
            }
            Kind::Number => {
                let number: Option<f64> = text.parse().ok().filter(|n: &f64| n.is_finite());
                number.filter(|n| self.within(*n)).map(Value::Number)
            }
            Kind::Choice | Kind::Event => {
                let known = self.values.iter().find(|known| known.eq_ignore_ascii_case(text));
                known.cloned().map(Value::Text)
            }
            Kind::Text => Some(Value::Text(text.to_owned())),
        };
        value.ok_or_else(|| unreadable(text))
    }

    fn within(&self, number: f64) -> bool {
        self.min.is_none_or(|min| min <= number) && self.max.is_none_or(|max| number <= max)
    }
}

impl Read {
    fn part<'o>(&self, output: &'o str) -> Option<&'o str> {
        let rest = match &self.after {
            Some(after) => output.split_once(after.as_str())?.1,
            None => output,
        };
        match &self.before {
            Some(before) => Some(rest.split_once(before.as_str())?.0),
            None => Some(rest),
        }
    }
}

/// Returns whether a text is the canonical form of a switch.
pub(crate) fn is_switch(text: &str) -> bool {
    matches!(text, "ON" | "OFF")
}

fn unreadable(text: &str) -> Failure {
    Failure::failed(format!("`{}` is no value of this property", excerpt(text)))
}
