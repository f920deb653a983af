//! Topic filters: what they match, and where two of them meet.

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
    pub(crate) fn has_wildcard(&self) -> bool {
        self.0.contains(['+', '#'])
    }

    /// Returns the levels before the first wildcard.
    pub(crate) fn head(&self) -> &str {
        let head = self.0.find(['+', '#']).map_or(&*self.0, |at| &self.0[..at]);
        head.strip_suffix('/').filter(|_| self.has_wildcard()).unwrap_or(head)
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
}
