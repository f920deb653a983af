//! `[limits]`: what clients may use up.

use std::time::Duration;

use serde::Deserialize;
use toml::Spanned;

use super::Check;
use crate::core::Limits;

/// What the driver keeps to.
#[derive(Clone, Debug)]
pub struct DriverLimits {
    /// Connections at once.
    pub connections: usize,
    /// Connections that are not logged in.
    pub strangers: usize,
    /// The same from one address.
    pub strangers_of_address: usize,
    /// Largest packet before the login.
    pub packet_before_login: usize,
    /// Bytes of packets that are not whole, of all connections together.
    pub receiving: usize,
    /// Time from the connection to the end of the CONNECT.
    pub login_time: Duration,
}

impl Default for DriverLimits {
    fn default() -> Self {
        Self {
            connections: 1_000,
            strangers: 256,
            strangers_of_address: 128,
            packet_before_login: 64 * 1024,
            receiving: 8 * 1024 * 1024,
            login_time: Duration::from_secs(10),
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawLimits {
    connections: Option<Spanned<usize>>,
    strangers: Option<Spanned<usize>>,
    strangers_of_address: Option<Spanned<usize>>,
    packet_before_login: Option<Spanned<String>>,
    packet: Option<Spanned<String>>,
    receiving: Option<Spanned<String>>,
    session_queue: Option<Spanned<String>>,
    queues: Option<Spanned<String>>,
    retained: Option<Spanned<String>>,
    sessions: Option<Spanned<usize>>,
    sessions_of_account: Option<Spanned<usize>>,
    subscriptions: Option<Spanned<usize>>,
    session_expiry: Option<Spanned<String>>,
}

impl Check<'_> {
    pub(super) fn limits(&mut self, raw: &RawLimits) -> (Limits, DriverLimits) {
        let (mut core, mut driver) = (Limits::default(), DriverLimits::default());
        for (key, raw, value) in [
            ("connections", &raw.connections, &mut driver.connections),
            ("strangers", &raw.strangers, &mut driver.strangers),
            ("strangers_of_address", &raw.strangers_of_address, &mut driver.strangers_of_address),
            ("sessions", &raw.sessions, &mut core.sessions),
            ("sessions_of_account", &raw.sessions_of_account, &mut core.sessions_of_account),
            ("subscriptions", &raw.subscriptions, &mut core.subscriptions),
        ] {
            let Some(raw) = raw else { continue };
            *value = *raw.get_ref();
            if *value == 0 {
                self.problem(raw.span().start, &format!("limits.{key}: must be at least 1"));
            }
        }
        let mut packet = core.packet as usize;
        for (key, raw, value) in [
            ("packet_before_login", &raw.packet_before_login, &mut driver.packet_before_login),
            ("packet", &raw.packet, &mut packet),
            ("receiving", &raw.receiving, &mut driver.receiving),
            ("session_queue", &raw.session_queue, &mut core.session_queue),
            ("queues", &raw.queues, &mut core.queues),
            ("retained", &raw.retained, &mut core.retained),
        ] {
            let Some(raw) = raw else { continue };
            match parse_size(raw.get_ref()) {
                Some(size) if size >= SMALLEST => *value = size,
                _ => {
                    let what = format!("limits.{key}: must be a size of 1KiB or more, like 4MiB");
                    self.problem(raw.span().start, &what);
                }
            }
        }
        core.packet = u32::try_from(packet).unwrap_or(LARGEST_PACKET).min(LARGEST_PACKET);
        if let Some(raw) = &raw.session_expiry {
            match parse_duration(raw.get_ref()) {
                Some(duration) => core.session_expiry = duration,
                None => self.problem(
                    raw.span().start,
                    "limits.session_expiry: must be a time, like 90d, 12h, 30m or 60s",
                ),
            }
        }
        (core, driver)
    }
}

fn parse_size(text: &str) -> Option<usize> {
    let (number, unit) = split_unit(text)?;
    let factor = match unit {
        "B" => 1,
        "KiB" => 1024,
        "MiB" => 1024 * 1024,
        _ => return None,
    };
    usize::try_from(number).ok()?.checked_mul(factor)
}

fn parse_duration(text: &str) -> Option<Duration> {
    let (number, unit) = split_unit(text)?;
    let factor = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 24 * 3_600,
        _ => return None,
    };
    number.checked_mul(factor).map(Duration::from_secs)
}

fn split_unit(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit())?;
    Some((text[..end].parse().ok()?, &text[end..]))
}

const SMALLEST: usize = 1024;
/// MQTT has none larger (MQTT 2.1.4).
const LARGEST_PACKET: u32 = 268_435_455 + 5;
