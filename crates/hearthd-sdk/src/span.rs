//! Durations in the form in which people write them in a device's table.

use std::fmt;
use std::time::Duration;

use serde::de::{Deserialize, Deserializer, Error, Unexpected, Visitor};

/// A duration in a device's table, written as text, such as `"90s"` or `"1h 30m"`, or as a number of seconds.
///
/// A field of a device's configuration that has this type is written as durations are everywhere in the hub's file.
/// [`Span::0`] is the duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

impl Span {
    /// Makes a span of whole seconds.
    pub const fn seconds(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// Makes a span of whole minutes.
    pub const fn minutes(minutes: u64) -> Self {
        Self::seconds(minutes * 60)
    }

    /// Makes a span of whole hours.
    pub const fn hours(hours: u64) -> Self {
        Self::minutes(hours * 60)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_duration(self.0).fmt(f)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SpanVisitor)
    }
}

struct SpanVisitor;

impl Visitor<'_> for SpanVisitor {
    type Value = Span;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a duration such as \"90s\" or \"15m\", or a number of seconds")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Span, E> {
        humantime::parse_duration(text)
            .map(Span)
            .map_err(|_| E::invalid_value(Unexpected::Str(text), &self))
    }

    fn visit_u64<E: Error>(self, seconds: u64) -> Result<Span, E> {
        Ok(Span::seconds(seconds))
    }

    fn visit_i64<E: Error>(self, seconds: i64) -> Result<Span, E> {
        u64::try_from(seconds)
            .map(Span::seconds)
            .map_err(|_| E::invalid_value(Unexpected::Signed(seconds), &self))
    }

    fn visit_f64<E: Error>(self, seconds: f64) -> Result<Span, E> {
        Duration::try_from_secs_f64(seconds)
            .map(Span)
            .map_err(|_| E::invalid_value(Unexpected::Float(seconds), &self))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(json: serde_json::Value) -> Result<Span, String> {
        serde_json::from_value(json).map_err(|error| error.to_string())
    }

    #[test]
    fn text_and_numbers_are_durations() {
        assert_eq!(read(json!("1h 30m")), Ok(Span::minutes(90)));
        assert_eq!(read(json!("90s")).map(|span| span.to_string()), Ok("1m 30s".into()));
        assert_eq!(read(json!(2)), Ok(Span::seconds(2)));
        assert_eq!(read(json!(0.25)), Ok(Span(Duration::from_millis(250))));
    }

    #[test]
    fn anything_else_says_what_is_expected() {
        for wrong in [json!("soon"), json!(-1), json!(-0.5), json!(true)] {
            let message = read(wrong).unwrap_err();
            assert!(message.contains("such as \"90s\""), "{message}");
        }
    }
}
