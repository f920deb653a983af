//! Topic names, topic filters, the prefix, and the templates that topics are built from (MQTT 4.7).

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

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
            Some(("FRONT", value)) => value,
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

/// Checks a topic name from another client (MQTT 4.7).
///
/// # Errors
/// It is empty, has a wildcard or a control character, or starts with `$`.
pub fn check_name(name: &str) -> Result<(), &'static str> {
    if name.is_empty() {
        return Err("is empty");
    }
    if name.starts_with('$') {
        return Err("starts with `$`");
    }
    if name.contains(['+', '#']) {
        return Err("contains a wildcard");
    }
    if name.chars().any(is_disallowed) {
        return Err("contains a control character");
    }
    if name.len() > usize::from(u16::MAX) {
        return Err("is longer than 65,535 bytes");
    }
    Ok(())
}

/// Returns whether a broker may close the connection over this character in a UTF-8 string (MQTT 1.5.4).
pub(crate) fn is_disallowed(c: char) -> bool {
    let code = u32::from(c);
    c.is_control() || (0xFDD0..=0xFDEF).contains(&code) || code & 0xFFFE == 0xFFFE
}

/// A topic filter (MQTT 4.7.1).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TopicFilter(String);

impl TopicFilter {
    /// Parses a filter.
    ///
    /// # Errors
    /// It is empty, a wildcard is not alone in its level, or `#` is not the last level.
    pub fn parse(filter: &str) -> Result<Self, &'static str> {
        if filter.is_empty() {
            return Err("is empty");
        }
        if filter.chars().any(char::is_control) {
            return Err("contains a control character");
        }
        let mut levels = filter.split('/').peekable();
        while let Some(level) = levels.next() {
            match level {
                "#" if levels.peek().is_some() => return Err("`#` is not its last level"),
                "#" | "+" => {}
                level if level.contains(['+', '#']) => {
                    return Err("a wildcard does not stand alone in its level");
                }
                _ => {}
            }
        }
        Ok(Self(filter.to_owned()))
    }

    /// Returns the filter as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns whether a topic name matches (MQTT 4.7.1, 4.7.2).
    pub fn matches(&self, name: &str) -> bool {
        if name.starts_with('$') && !self.0.starts_with('$') {
            return false;
        }
        let mut levels = name.split('/');
        for wanted in self.0.split('/') {
            match (wanted, levels.next()) {
                ("#", _) => return true,
                ("+", Some(_)) => {}
                (wanted, Some(level)) if wanted == level => {}
                _ => return false,
            }
        }
        levels.next().is_none()
    }

    /// Returns whether the filter has a wildcard.
    pub fn has_wildcard(&self) -> bool {
        self.0.contains(['+', '#'])
    }

    /// Returns whether some topic name matches both filters.
    pub fn overlaps(&self, other: &Self) -> bool {
        if self.0.starts_with('$') != other.0.starts_with('$') {
            return false;
        }
        let (mut own, mut others) = (self.0.split('/'), other.0.split('/'));
        loop {
            match (own.next(), others.next()) {
                // `#` matches its parent level as well.
                (Some("#"), _) | (_, Some("#")) | (None, None) => return true,
                (None, Some(_)) | (Some(_), None) => return false,
                (Some(one), Some(other)) if one == other || one == "+" || other == "+" => {}
                (Some(_), Some(_)) => return false,
            }
        }
    }

    /// Returns whether every topic name that the other filter matches matches this one as well.
    pub fn covers(&self, other: &Self) -> bool {
        if other.0.starts_with('$') && !self.0.starts_with('$') {
            return false;
        }
        let (mut own, mut others) = (self.0.split('/'), other.0.split('/'));
        loop {
            match (own.next(), others.next()) {
                (Some("#"), _) | (None, None) => return true,
                (None, Some(_)) | (Some(_), None | Some("#")) => return false,
                (Some(one), Some(other)) if one == other || one == "+" => {}
                (Some(_), Some(_)) => return false,
            }
        }
    }
}

/// A topic with placeholders: `{prefix}/cmnd/{device}/{property}`.
///
/// `{prefix}` may only be the first level, and is left out if no prefix is known. Every other placeholder of the
/// template is alone in its level and occurs exactly once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    has_prefix: bool,
    levels: Vec<Level>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Level {
    Text(String),
    Placeholder(&'static str),
}

/// A level of a template under a prefix.
enum Part<'t> {
    Text(&'t str),
    /// A placeholder, which any text may replace.
    Any(&'static str),
}

impl Template {
    /// Parses a template that must have exactly these placeholders, apart from `{prefix}`.
    ///
    /// # Errors
    /// A placeholder is missing, unknown or used twice, or the text cannot be a topic name.
    ///
    /// # Panics
    /// Panics if there are more placeholders than any topic of the hub has.
    pub fn parse(text: &str, placeholders: &[&'static str]) -> Result<Self, String> {
        assert!(placeholders.len() <= MOST_PLACEHOLDERS, "{placeholders:?}");
        let mut has_prefix = false;
        let mut levels = Vec::new();
        for (index, level) in text.split('/').enumerate() {
            if level == "{prefix}" && index == 0 {
                has_prefix = true;
            } else if level == "{prefix}" {
                return Err("`{prefix}` may only be the first level".into());
            } else if let Some(name) = level.strip_prefix('{').and_then(|l| l.strip_suffix('}')) {
                let Some(known) = placeholders.iter().find(|known| **known == name) else {
                    return Err(format!("`{{{name}}}` is no placeholder of this topic"));
                };
                if levels.contains(&Level::Placeholder(known)) {
                    return Err(format!("`{{{name}}}` is there twice"));
                }
                levels.push(Level::Placeholder(known));
            } else if level.is_empty() {
                return Err("a level is empty".into());
            } else if level.contains(['{', '}']) {
                return Err(format!("`{level}`: a placeholder must stand alone in its level"));
            } else {
                check_name(level).map_err(|error| format!("`{level}` {error}"))?;
                levels.push(Level::Text(level.to_owned()));
            }
        }
        if let Some(missing) =
            placeholders.iter().find(|name| !levels.contains(&Level::Placeholder(name)))
        {
            return Err(format!("`{{{missing}}}` is missing"));
        }
        Ok(Self { has_prefix, levels })
    }

    /// Builds the topic with these values for its placeholders; `+` makes a filter.
    pub fn build(&self, prefix: Option<&Prefix>, values: &[(&str, &str)]) -> String {
        let prefix = prefix.filter(|_| self.has_prefix).map(Prefix::as_str);
        let levels = self.levels.iter().map(|level| match level {
            Level::Text(text) => text.as_str(),
            Level::Placeholder(name) => values
                .iter()
                .find(|(key, _)| key == name)
                .map(|(_, value)| *value)
                .expect("the caller names every placeholder that the template was parsed with"),
        });
        prefix.into_iter().chain(levels).collect::<Vec<_>>().join("/")
    }

    /// Returns a topic name that both templates match under this prefix, if there is any; where any text would do, it
    /// has this template's placeholder.
    pub fn common_name(&self, other: &Self, prefix: Option<&Prefix>) -> Option<String> {
        let (own, others) = (self.expanded(prefix), other.expanded(prefix));
        if own.len() != others.len() {
            return None;
        }
        let levels = own.into_iter().zip(others).map(|pair| match pair {
            (Part::Text(own), Part::Text(other)) => (own == other).then(|| own.to_owned()),
            (Part::Text(text), Part::Any(_)) | (Part::Any(_), Part::Text(text)) => {
                Some(text.to_owned())
            }
            (Part::Any(name), Part::Any(_)) => Some(format!("{{{name}}}")),
        });
        Some(levels.collect::<Option<Vec<_>>>()?.join("/"))
    }

    /// Returns the levels under a prefix, those of the prefix included.
    fn expanded<'t>(&'t self, prefix: Option<&'t Prefix>) -> Vec<Part<'t>> {
        let prefix = prefix.filter(|_| self.has_prefix);
        let prefix = prefix.into_iter().flat_map(|prefix| prefix.as_str().split('/'));
        let levels = self.levels.iter().map(|level| match level {
            Level::Text(text) => Part::Text(text),
            Level::Placeholder(name) => Part::Any(name),
        });
        prefix.map(Part::Text).chain(levels).collect()
    }

    /// Returns whether a topic name has all fixed levels of the template where the template has them, whatever stands
    /// in the other levels, and however many follow or are missing.
    pub fn covers(&self, prefix: Option<&Prefix>, name: &str) -> bool {
        let Some(rest) = self.below(prefix, name) else { return false };
        let mut found = rest.split('/');
        let fixed = self.levels.iter().rposition(|level| matches!(level, Level::Text(_)));
        let fixed = fixed.map_or(0, |last| last + 1);
        self.levels[..fixed].iter().all(|level| match (level, found.next()) {
            (Level::Text(wanted), Some(text)) => wanted == text,
            (Level::Placeholder(_), Some(_)) => true,
            (_, None) => false,
        }) && fixed > 0
    }

    /// Returns whether a topic name begins like the template, up to the first placeholder.
    pub fn covers_group(&self, prefix: Option<&Prefix>, name: &str) -> bool {
        let Some(rest) = self.below(prefix, name) else { return false };
        let mut found = rest.split('/');
        let mut fixed = self.levels.iter().take_while(|level| matches!(level, Level::Text(_)));
        let begins = matches!(self.levels.first(), Some(Level::Text(_)));
        let group = fixed.all(|level| match (level, found.next()) {
            (Level::Text(wanted), Some(text)) => wanted == text,
            _ => false,
        });
        if begins { group } else { self.covers(prefix, name) }
    }

    /// Reads what stands for the placeholders in a topic name that may be longer or shorter than the template.
    pub fn leading_values<'n>(&self, prefix: Option<&Prefix>, name: &'n str) -> Values<'n> {
        let mut values = Values::default();
        let Some(rest) = self.below(prefix, name) else { return values };
        for (level, text) in self.levels.iter().zip(rest.split('/')) {
            if let Level::Placeholder(name) = level {
                values.push(name, text);
            }
        }
        values
    }

    fn below<'n>(&self, prefix: Option<&Prefix>, name: &'n str) -> Option<&'n str> {
        match prefix.filter(|_| self.has_prefix) {
            Some(prefix) => name.strip_prefix(prefix.as_str())?.strip_prefix('/'),
            None => Some(name),
        }
    }

    /// Reads the placeholders' values out of a topic name; none if it does not match.
    pub fn match_name<'n>(&self, prefix: Option<&Prefix>, name: &'n str) -> Option<Values<'n>> {
        let rest = self.below(prefix, name)?;
        let mut values = Values::default();
        let mut found = rest.split('/');
        for level in &self.levels {
            let text = found.next()?;
            match level {
                Level::Text(wanted) if wanted == text => {}
                Level::Text(_) => return None,
                Level::Placeholder(_) if text.is_empty() => return None,
                Level::Placeholder(name) => values.push(name, text),
            }
        }
        found.next().is_none().then_some(values)
    }
}

/// The values of a template's placeholders in a topic name.
#[derive(Clone, Copy, Debug, Default)]
pub struct Values<'n> {
    values: [(&'static str, &'n str); MOST_PLACEHOLDERS],
    len: usize,
}

impl<'n> Values<'n> {
    /// Returns the value of a placeholder.
    pub fn get(&self, placeholder: &str) -> Option<&'n str> {
        let mut values = self.values[..self.len].iter();
        values.find(|(name, _)| *name == placeholder).map(|(_, value)| *value)
    }

    fn push(&mut self, placeholder: &'static str, value: &'n str) {
        self.values[self.len] = (placeholder, value);
        self.len += 1;
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let prefix = self.has_prefix.then(|| "{prefix}".to_owned());
        let levels = self.levels.iter().map(|level| match level {
            Level::Text(text) => text.clone(),
            Level::Placeholder(name) => format!("{{{name}}}"),
        });
        f.write_str(&prefix.into_iter().chain(levels).collect::<Vec<_>>().join("/"))
    }
}

/// The templates of all topics that the hub makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Templates {
    /// Requests to devices: `{device}`, `{property}`.
    pub request: Template,
    /// States of devices: `{device}`, `{property}`.
    pub state: Template,
    /// Responses to the hub: `{client_id}`, `{purpose}`.
    pub response: Template,
    /// The hub's presence: `{client_id}`.
    pub presence: Template,
    /// The last will's outcome: `{client_id}`.
    pub absence: Template,
    /// What happened once to a device: `{device}`.
    pub event: Template,
    /// All states of a device as one JSON object: `{device}`.
    pub snapshot: Template,
}

impl Templates {
    /// Placeholders of [`Templates::request`] and [`Templates::state`].
    pub const DEVICE: &[&str] = &["device", "property"];
    /// Placeholders of [`Templates::response`].
    pub const RESPONSE: &[&str] = &["client_id", "purpose"];
    /// Placeholders of [`Templates::presence`] and [`Templates::absence`].
    pub const HUB: &[&str] = &["client_id"];
    /// Placeholders of [`Templates::event`] and [`Templates::snapshot`].
    pub const EVENT: &[&str] = &["device"];
}

impl Default for Templates {
    fn default() -> Self {
        let parse = |text, placeholders: &[&'static str]| {
            Template::parse(text, placeholders).expect("the default templates are valid")
        };
        Self {
            request: parse("{prefix}/cmnd/{device}/{property}", Self::DEVICE),
            state: parse("{prefix}/state/{device}/{property}", Self::DEVICE),
            response: parse("{prefix}/response/{client_id}/{purpose}", Self::RESPONSE),
            presence: parse("{prefix}/hub/{client_id}/presence", Self::HUB),
            absence: parse("{prefix}/hub/{client_id}/absence", Self::HUB),
            event: parse("{prefix}/event/{device}", Self::EVENT),
            snapshot: parse("{prefix}/state/{device}", Self::EVENT),
        }
    }
}

/// How many bytes a prefix may have.
const LONGEST_PREFIX: usize = 256;
/// How many placeholders a template has at most, apart from the prefix.
const MOST_PLACEHOLDERS: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_overlap_where_one_name_matches_both_and_cover_where_all_do() {
        let filter = |text: &str| TopicFilter::parse(text).unwrap();
        // One filter, another, whether they overlap, whether the first covers the second, and the other way round.
        for (one, other, overlap, covers, covered) in [
            ("a/b", "a/b", true, true, true),
            ("a/b", "a/c", false, false, false),
            ("a/b", "a/b/c", false, false, false),
            ("a/+", "a/b", true, true, false),
            ("a/+", "+/b", true, false, false),
            ("a/#", "a/b/c", true, true, false),
            ("a/#", "a", true, true, false),
            ("a/#", "a/+", true, true, false),
            ("a/#", "b/#", false, false, false),
            ("a/+/c", "a/#", true, false, true),
            ("a/+", "a/#", true, false, true),
            ("#", "a/b", true, true, false),
            ("+/b", "a/#", true, false, false),
            ("#", "$SYS/a", false, false, false),
            ("$SYS/#", "$SYS/a", true, true, false),
        ] {
            let (one, other) = (filter(one), filter(other));
            assert_eq!((one.overlaps(&other), other.overlaps(&one)), (overlap, overlap), "{one:?}");
            assert_eq!(
                (one.covers(&other), other.covers(&one)),
                (covers, covered),
                "{one:?} {other:?}"
            );
        }
    }

    #[track_caller]
    fn check_common(one: &str, other: &str, prefix: Option<&str>, expected: Option<&str>) {
        let parse = |text: &str| {
            let has = |name: &&&str| text.contains(&format!("{{{name}}}"));
            let placeholders = ["device", "property", "client_id", "purpose"];
            Template::parse(text, &placeholders.iter().filter(has).copied().collect::<Vec<_>>())
        };
        let (one, other) = (parse(one).unwrap(), parse(other).unwrap());
        let prefix = prefix.map(|prefix| Prefix::parse(prefix).unwrap());
        let common = one.common_name(&other, prefix.as_ref());
        assert_eq!(common.as_deref(), expected, "{one} {other}");
        assert_eq!(other.common_name(&one, prefix.as_ref()).is_some(), expected.is_some());
        if let Some(name) = common {
            for template in [one, other] {
                assert!(template.match_name(prefix.as_ref(), &name).is_some(), "{template} {name}");
            }
        }
    }

    #[test]
    fn templates_that_one_topic_name_matches_are_told_by_such_a_name() {
        let state = "{prefix}/state/{device}/{property}";
        check_common(state, state, None, Some("state/{device}/{property}"));
        let wide = "{prefix}/{device}/{property}";
        check_common(wide, "{prefix}/event/{device}", Some("a/b"), Some("a/b/event/{property}"));
        check_common(wide, "{prefix}/hub/{client_id}/presence", Some("a"), None);
        let all = "{prefix}/hub/{device}/{property}";
        let presence = "{prefix}/hub/{client_id}/presence";
        check_common(all, presence, None, Some("hub/{device}/presence"));
        // The prefix is at one of them alone.
        let without = "{device}/{property}/set";
        check_common(without, "{prefix}/{device}/{property}", None, None);
        let with = "{prefix}/{device}/{property}";
        check_common(without, with, Some("a"), Some("a/{property}/set"));
        check_common(without, with, Some("a/b"), None);
        check_common("a/set", "{prefix}/set", Some("a"), Some("a/set"));
        check_common("a/set", "{prefix}/set", Some("b"), None);
    }
}
