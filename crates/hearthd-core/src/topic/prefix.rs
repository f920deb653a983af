//! The user-ID prefix that CONNACK returns.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

use super::is_disallowed;

/// The user-ID prefix of Response Information (MQTT 3.2.2.3.15): the first levels of every invented topic.
///
/// Never empty, no wildcard, no NUL, no leading `$`, no slash at either end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Prefix(Arc<str>);

impl Prefix {
    /// Parses Response Information: bare (`alice`) or with its placement (`FRONT,alice`).
    ///
    /// # Errors
    /// The placement is unknown, or the value cannot start a topic name.
    pub fn parse(response_information: &str) -> Result<Self, PrefixError> {
        let value = match response_information.split_once(',') {
            // A blank behind the comma belongs to the notation.
            Some(("FRONT", value)) => value.trim_start_matches(' '),
            Some((placement, _)) => return Err(PrefixError::Placement(placement.to_owned())),
            None => response_information,
        };
        let value = value.strip_suffix('/').unwrap_or(value);
        if value.is_empty() {
            return Err(PrefixError::Empty);
        }
        if value.starts_with('$') {
            return Err(PrefixError::Dollar);
        }
        if let Some(bad) = value.chars().find(|c| matches!(c, '+' | '#') || is_disallowed(*c)) {
            return Err(PrefixError::Character(bad));
        }
        if value.split('/').any(str::is_empty) {
            return Err(PrefixError::EmptyLevel);
        }
        if value.len() > LONGEST_PREFIX {
            return Err(PrefixError::TooLong(value.len()));
        }
        Ok(Self(value.into()))
    }

    /// Returns the prefix without a slash at its end.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns whether a topic name is below the prefix.
    pub fn contains(&self, topic: &str) -> bool {
        topic.strip_prefix(&*self.0).is_some_and(|rest| rest.starts_with('/'))
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Prefix {
    type Error = PrefixError;

    fn try_from(value: String) -> Result<Self, Self::Error> {
        Self::parse(&value)
    }
}

impl From<Prefix> for String {
    fn from(prefix: Prefix) -> Self {
        prefix.as_str().to_owned()
    }
}

/// Why Response Information cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PrefixError {
    /// It is empty.
    Empty,
    /// The text before the comma is not a known placement.
    Placement(String),
    /// Topics that start with `$` belong to the broker (MQTT 4.7.2).
    Dollar,
    /// The character is not allowed in a topic name (MQTT 4.7.1, 4.7.3).
    Character(char),
    /// A level between two slashes is empty.
    EmptyLevel,
    /// It has this many bytes: topics that begin with it would be too long for most brokers.
    TooLong(usize),
}

impl fmt::Display for PrefixError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the prefix is empty"),
            Self::Placement(placement) => {
                write!(f, "`{placement}` is no known placement; only `FRONT` is")
            }
            Self::Dollar => f.write_str("the prefix starts with `$`"),
            Self::Character(bad) => write!(f, "the prefix contains {bad:?}"),
            Self::EmptyLevel => f.write_str("the prefix has an empty level"),
            Self::TooLong(bytes) => {
                write!(f, "the prefix has {bytes} bytes; {LONGEST_PREFIX} are allowed")
            }
        }
    }
}

impl std::error::Error for PrefixError {}

/// How many bytes a prefix may have.
const LONGEST_PREFIX: usize = 256;
