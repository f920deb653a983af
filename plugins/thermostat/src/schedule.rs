//! The week: what begins at which local time.

use std::collections::BTreeMap;
use std::fmt;

use hearthd_sdk::Problems;
use jiff::civil::{DateTime, Time};
use jiff::{SignedDuration, ToSpan};
use serde::Deserialize;
use serde::de::{Deserializer, Error, Unexpected, Visitor};

use crate::preset::Preset;

/// A clock that goes back by less than this is the end of summer time, not a correction.
const SUMMER_TIME: SignedDuration = SignedDuration::from_hours(3);

/// The `schedule` table: for each day, times of day and what begins at them.
///
/// A day of its own name comes before `weekdays` and `weekend`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RawSchedule {
    weekdays: Day,
    weekend: Day,
    monday: Option<Day>,
    tuesday: Option<Day>,
    wednesday: Option<Day>,
    thursday: Option<Day>,
    friday: Option<Day>,
    saturday: Option<Day>,
    sunday: Option<Day>,
}

type Day = BTreeMap<String, Entry>;

/// What begins at a point of the schedule.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Entry {
    Preset(Preset),
    /// A temperature in °C.
    Target(f64),
}

/// A schedule whose times can be read.
#[derive(Clone, Debug)]
pub(crate) struct Schedule {
    /// From Monday to Sunday.
    days: [BTreeMap<Time, Entry>; 7],
}

/// One point of the schedule on one day.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Point {
    pub(crate) at: DateTime,
    pub(crate) entry: Entry,
}

impl RawSchedule {
    /// Reads the times; adds a problem for each one that is none.
    pub(crate) fn read(
        &self,
        problems: &mut Problems,
        check_target: impl Fn(f64) -> Option<String>,
    ) -> Schedule {
        let mut times_of = |name: &str, day: &Day| {
            let mut times = BTreeMap::new();
            for (text, entry) in day {
                let path = format!("schedule.{name}.{text}");
                if let Entry::Target(target) = *entry
                    && let Some(problem) = check_target(target)
                {
                    problems.add(path.as_str(), problem);
                }
                match time(text) {
                    Some(time) => _ = times.insert(time, *entry),
                    None => problems.add(path, "not a time of day (00:00 to 23:59)"),
                }
            }
            times
        };
        let weekdays = times_of("weekdays", &self.weekdays);
        let weekend = times_of("weekend", &self.weekend);
        let own = [
            ("monday", &self.monday, &weekdays),
            ("tuesday", &self.tuesday, &weekdays),
            ("wednesday", &self.wednesday, &weekdays),
            ("thursday", &self.thursday, &weekdays),
            ("friday", &self.friday, &weekdays),
            ("saturday", &self.saturday, &weekend),
            ("sunday", &self.sunday, &weekend),
        ];
        let days = own.map(|(name, day, usual)| match day {
            Some(day) => times_of(name, day),
            None => usual.clone(),
        });
        Schedule { days }
    }
}

impl Schedule {
    pub(crate) fn is_empty(&self) -> bool {
        self.days.iter().all(BTreeMap::is_empty)
    }

    /// Returns the point that is in force at a local time.
    ///
    /// Local times that summer time skips are passed by as soon as the clock shows a later one.
    pub(crate) fn point(&self, local: DateTime) -> Option<Point> {
        (0..=7).find_map(|back: i64| {
            let date = local.date().checked_sub(back.days()).ok()?;
            let day =
                &self.days[usize::from(date.weekday().to_monday_zero_offset().unsigned_abs())];
            let latest = if back == 0 { local.time() } else { Time::MAX };
            let (&time, &entry) = day.range(..=latest).next_back()?;
            Some(Point { at: date.to_datetime(time), entry })
        })
    }

    /// Returns the point in force where it is not the one that was applied last, nor one before it.
    pub(crate) fn next(&self, local: DateTime, applied: Option<DateTime>) -> Option<Point> {
        let point = self.point(local)?;
        let back = applied.map_or(SignedDuration::ZERO, |applied| applied.duration_since(local));
        let again = applied.is_some_and(|applied| point.at <= applied);
        (!again || back > SUMMER_TIME).then_some(point)
    }
}

fn time(text: &str) -> Option<Time> {
    let (hour, minute) = text.split_once(':')?;
    let digits = |part: &str| {
        let two = part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_digit());
        two.then(|| part.parse::<i8>().ok()).flatten()
    };
    Time::new(digits(hour)?, digits(minute)?, 0, 0).ok()
}

impl<'de> Deserialize<'de> for Entry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(EntryVisitor)
    }
}

struct EntryVisitor;

impl Visitor<'_> for EntryVisitor {
    type Value = Entry;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"comfort\", \"eco\", \"away\", or a temperature in °C")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Entry, E> {
        Preset::parse(text)
            .filter(|preset| preset.is_lasting())
            .map(Entry::Preset)
            .ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
    }

    fn visit_f64<E: Error>(self, target: f64) -> Result<Entry, E> {
        Ok(Entry::Target(target))
    }

    fn visit_u64<E: Error>(self, target: u64) -> Result<Entry, E> {
        u32::try_from(target)
            .map(|target| Entry::Target(target.into()))
            .map_err(|_| E::invalid_value(Unexpected::Unsigned(target), &self))
    }

    fn visit_i64<E: Error>(self, target: i64) -> Result<Entry, E> {
        i32::try_from(target)
            .map(|target| Entry::Target(target.into()))
            .map_err(|_| E::invalid_value(Unexpected::Signed(target), &self))
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;
    use serde_json::json;

    use super::*;

    fn schedule(json: serde_json::Value) -> Schedule {
        let raw: RawSchedule = serde_json::from_value(json).expect("a schedule");
        let mut problems = Problems::default();
        raw.read(&mut problems, |_| None)
    }

    fn daily() -> Schedule {
        let day = json!({"01:00": "eco", "02:30": "comfort", "22:00": 17});
        schedule(json!({"weekdays": day, "weekend": day}))
    }

    #[test]
    fn the_latest_point_is_in_force_also_from_days_before() {
        let schedule = schedule(json!({"monday": {"06:00": "comfort"}}));
        let wednesday = date(2026, 1, 7).at(12, 0, 0, 0);
        let point = schedule.point(wednesday).expect("a point");
        assert_eq!(point.at, date(2026, 1, 5).at(6, 0, 0, 0));
        let just_before = schedule.point(date(2026, 1, 5).at(5, 59, 0, 0)).expect("a point");
        assert_eq!(just_before.at, date(2025, 12, 29).at(6, 0, 0, 0));
        assert_eq!(self::schedule(json!({})).point(wednesday), None);
    }

    #[test]
    fn a_day_of_its_own_replaces_the_weekday() {
        let schedule =
            schedule(json!({"weekdays": {"06:00": "comfort"}, "tuesday": {"09:00": 19.5}}));
        let entry =
            |day, hour| schedule.point(date(2026, 1, day).at(hour, 0, 0, 0)).map(|p| p.entry);
        assert_eq!(entry(5, 7), Some(Entry::Preset(Preset::Comfort)));
        assert_eq!(entry(6, 10), Some(Entry::Target(19.5)));
    }

    #[test]
    fn a_point_in_the_skipped_hour_comes_right_after_it() {
        let before = date(2026, 3, 29).at(1, 0, 0, 0);
        let next = daily().next(date(2026, 3, 29).at(3, 0, 0, 0), Some(before));
        assert_eq!(next.map(|point| point.at), Some(date(2026, 3, 29).at(2, 30, 0, 0)));
    }

    #[test]
    fn the_repeated_hour_does_not_repeat_its_points() {
        let applied = Some(date(2026, 10, 25).at(2, 30, 0, 0));
        for minute in 0..60 {
            assert_eq!(daily().next(date(2026, 10, 25).at(2, minute, 0, 0), applied), None);
        }
    }

    #[test]
    fn a_clock_set_back_by_a_day_is_followed() {
        let applied = Some(date(2026, 6, 2).at(22, 0, 0, 0));
        let next = daily().next(date(2026, 6, 1).at(12, 0, 0, 0), applied).expect("a point");
        assert_eq!(next.at, date(2026, 6, 1).at(2, 30, 0, 0));
    }
}
