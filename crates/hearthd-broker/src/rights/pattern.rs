//! Sets of topics.

/// A set of topics: a topic filter whose levels may also end with `*`, which stands for any rest of that level.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pattern {
    levels: Vec<Level>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Level {
    /// This text.
    Exact(Box<str>),
    /// Any text that starts like this.
    Start(Box<str>),
    /// The client's own ID.
    Client,
    /// `+`.
    Any,
    /// `#`: this level, all below it, and the one above.
    Rest,
}

impl Pattern {
    /// Returns the set that a topic filter matches, in which `*` has no meaning.
    pub(crate) fn of_filter(filter: &str) -> Self {
        Self::of(filter, |level| Level::Exact(level.into()))
    }

    /// Returns the set that a filter with `*` matches.
    pub(crate) fn of_right(filter: &str) -> Self {
        Self::of(filter, |level| match level.strip_suffix('*') {
            Some(start) => Level::Start(start.into()),
            None => Level::Exact(level.into()),
        })
    }

    /// Returns the set that a filter with `*` matches, in which [`CLIENT`] stands for the client's own ID.
    pub(super) fn of_kind(filter: &str) -> Self {
        Self::of(filter, |level| match level.strip_suffix('*') {
            Some(start) => Level::Start(start.into()),
            None if level == CLIENT => Level::Client,
            None => Level::Exact(level.into()),
        })
    }

    fn of(filter: &str, level: impl Fn(&str) -> Level) -> Self {
        let levels = filter.split('/').map(|text| match text {
            "#" => Level::Rest,
            "+" => Level::Any,
            _ => level(text),
        });
        Self { levels: levels.collect() }
    }

    /// Returns whether a topic name is in the set (MQTT 4.7).
    pub(crate) fn matches(&self, topic: &str) -> bool {
        self.matches_for(topic, "")
    }

    /// Returns whether a topic name is in the set of a client.
    pub(super) fn matches_for(&self, topic: &str, client_id: &str) -> bool {
        let wild = !matches!(self.levels.first(), Some(Level::Exact(_)));
        if wild && topic.starts_with('$') {
            return false;
        }
        let mut rest = Some(topic);
        for level in &self.levels {
            if *level == Level::Rest {
                return true;
            }
            let Some(text) = rest else { return false };
            let (first, after) = match text.split_once('/') {
                Some((first, after)) => (first, Some(after)),
                None => (text, None),
            };
            if !level.contains(first, client_id) {
                return false;
            }
            rest = after;
        }
        rest.is_none()
    }

    /// Returns whether a topic can be in both sets of a client.
    pub(super) fn overlaps(&self, other: &Self, client_id: &str) -> bool {
        let (mut ours, mut theirs) = (self.levels.iter(), other.levels.iter());
        loop {
            match (ours.next(), theirs.next()) {
                (None, None) | (Some(Level::Rest), _) | (_, Some(Level::Rest)) => return true,
                (Some(one), Some(two)) if one.overlaps(two, client_id) => {}
                _ => return false,
            }
        }
    }
}

impl Level {
    fn contains(&self, text: &str, client_id: &str) -> bool {
        match self {
            Self::Client => *text == *client_id,
            Self::Exact(level) => **level == *text,
            Self::Start(start) => text.starts_with(&**start),
            Self::Any | Self::Rest => true,
        }
    }

    fn overlaps(&self, other: &Self, client_id: &str) -> bool {
        match (self, other) {
            (Self::Exact(text), level) | (level, Self::Exact(text)) => {
                level.contains(text, client_id)
            }
            (Self::Client, level) | (level, Self::Client) => level.contains(client_id, client_id),
            (Self::Start(one), Self::Start(two)) => {
                one.starts_with(&**two) || two.starts_with(&**one)
            }
            (Self::Any | Self::Rest, _) | (_, Self::Any | Self::Rest) => true,
        }
    }
}

/// Stands for the client's own ID in the pattern of a kind of topic; no filter can have such a level, because of the NUL.
pub(super) const CLIENT: &str = "\0client";
/// Deepest topic and filter, in levels.
pub(crate) const MAX_LEVELS: usize = 64;

/// Returns why a text is no topic filter, if it is none (MQTT 4.7.1).
pub fn filter_fault(filter: &str) -> Option<&'static str> {
    let levels = filter.split('/').count();
    if filter.is_empty() {
        return Some("the filter is empty");
    }
    if levels > MAX_LEVELS {
        return Some("the filter has too many levels");
    }
    for (place, level) in filter.split('/').enumerate() {
        let wild = level.contains(['+', '#']);
        if wild && level.len() > 1 {
            return Some("a wildcard must be a level of its own");
        }
        if level == "#" && place + 1 < levels {
            return Some("`#` must be the last level");
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_matches_level_by_level() {
        for (pattern, inside, outside) in [
            ("a/b", &["a/b"][..], &["a", "a/b/c", "a/bb", "b"][..]),
            ("a/+", &["a/b", "a/"], &["a", "a/b/c"]),
            ("a/#", &["a", "a/b", "a/b/c"], &["ab", "b/a"]),
            ("a/x*/c", &["a/x/c", "a/xyz/c"], &["a/y/c", "a/xyz/d", "a/x"]),
            ("#", &["a", "a/b"], &["$SYS/a"]),
            ("+/a", &["x/a", "/a"], &["$SYS/a"]),
            ("$SYS/#", &["$SYS/a"], &["a"]),
        ] {
            let right = Pattern::of_right(pattern);
            for topic in inside {
                assert!(right.matches(topic), "{pattern} {topic}");
            }
            for topic in outside {
                assert!(!right.matches(topic), "{pattern} {topic}");
            }
        }
        assert!(!Pattern::of_filter("a/x*").matches("a/xyz"));
    }

    #[test]
    fn two_patterns_overlap_where_one_topic_is_in_both() {
        for (one, two, expected) in [
            ("a/#", "a/b/c", true),
            ("a/#", "a", true),
            ("a/+/c", "+/b/c", true),
            ("a/+/c", "a/b/d", false),
            ("#", "a/b", true),
            ("a/x*", "a/+", true),
            ("a/x*", "a/xy*", true),
            ("a/x*", "a/y*", false),
            ("a", "b", false),
            ("a/b", "a", false),
        ] {
            let (left, right) = (Pattern::of_right(one), Pattern::of_right(two));
            assert_eq!(left.overlaps(&right, ""), expected, "{one} {two}");
            assert_eq!(right.overlaps(&left, ""), expected, "{two} {one}");
        }
    }

    #[test]
    fn a_wildcard_inside_a_level_is_no_filter() {
        for good in ["a", "/", "a/+/b", "#", "+", "a/#"] {
            assert_eq!(filter_fault(good), None, "{good}");
        }
        for bad in ["", "a+", "a/b#", "a/#/b", "#/a"] {
            assert!(filter_fault(bad).is_some(), "{bad}");
        }
    }
}
