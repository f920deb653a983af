//! Templates: topics with placeholders, built and read.

use std::fmt;

use super::{Prefix, check_name};

/// A topic with placeholders: `{prefix}/cmnd/{device}/{property}`.
///
/// `{prefix}` may only be the first level, and is left out if no prefix is known. Every other placeholder of the
/// template is alone in its level and occurs exactly once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    has_prefix: bool,
    levels: Vec<Level>,
}

/// One level of a template.
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
    pub(crate) fn covers_group(&self, prefix: Option<&Prefix>, name: &str) -> bool {
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
    pub(crate) fn leading_values<'n>(&self, prefix: Option<&Prefix>, name: &'n str) -> Values<'n> {
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

/// How many placeholders a template has at most, apart from the prefix.
const MOST_PLACEHOLDERS: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;

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
