//! Points in time in the form in which bridges write them.

use std::time::Duration;

/// Reads `2026-11-28T22:46:15.123+01:00`, or `Z` at its end (RFC 3339), as the time since the Unix epoch.
pub(crate) fn parse(text: &str) -> Option<Duration> {
    let number = |range: std::ops::Range<usize>| text.get(range)?.parse::<u32>().ok();
    let mark = |place: usize, mark: u8| (*text.as_bytes().get(place)? == mark).then_some(());
    mark(4, b'-').and(mark(7, b'-')).and(mark(10, b'T')).and(mark(13, b':')).and(mark(16, b':'))?;
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
    let in_range = (1970..=9999).contains(&year)
        && (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && hour < 24
        && minute < 60
        && second <= 60;
    if !in_range {
        return None;
    }
    let zone = text.get(19..)?.trim_start_matches(|c: char| c == '.' || c.is_ascii_digit());
    let offset = match zone {
        "Z" | "z" => 0,
        _ => {
            let (sign, rest) = (zone.get(..1)?, zone.get(1..)?);
            let (hours, minutes) = rest.split_once(':')?;
            let minutes = hours.parse::<i64>().ok()? * 60 + minutes.parse::<i64>().ok()?;
            match sign {
                "+" => minutes,
                "-" => -minutes,
                _ => return None,
            }
        }
    };
    let seconds = days(year, month, day) * 86_400 + i64::from(hour * 3_600 + minute * 60 + second)
        - offset * 60;
    Some(Duration::from_secs(u64::try_from(seconds).ok()?))
}

/// Returns the days since the Unix epoch, in the Gregorian calendar; March is the first month of its year here.
fn days(year: u32, month: u32, day: u32) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leap_days = year / 4 - year / 100 + year / 400;
    let of_year = (153 * month + 2) / 5 + day - 1;
    i64::from(year * 365 + leap_days + of_year) - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_forms_of_zigbee2mqtt_are_read() {
        let seconds = |text| parse(text).map(|time| time.as_secs());
        assert_eq!(seconds("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(seconds("2026-11-28T22:46:15.123Z"), Some(1_795_905_975));
        assert_eq!(seconds("2026-11-28T23:46:15+01:00"), Some(1_795_905_975));
        assert_eq!(seconds("2026-11-28T20:16:15-02:30"), Some(1_795_905_975));
        assert_eq!(seconds("2024-02-29T00:00:00Z"), Some(1_709_164_800));
        for wrong in ["", "2026-11-28", "2026-11-28T22:46:15", "2026-13-28T22:46:15Z", "1795905975"]
        {
            assert_eq!(seconds(wrong), None, "{wrong}");
        }
    }
}
