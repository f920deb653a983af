//! Whether a device can reach its hardware, as it reports itself, and how the hub reports that.

use std::time::SystemTime;

use hearthd_core::LastKnown;
use serde_json::Value as Json;

/// Why a device cannot reach its hardware or service, and since when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unreachable {
    pub(crate) reason: String,
    /// RFC 3339, UTC.
    pub(crate) since: String,
}

impl Unreachable {
    /// Takes a plugin's word; where the device was out of reach before, it has been so since then.
    pub(crate) fn new(reason: &str, before: Option<&Self>) -> Self {
        let since = || humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
        let reason = shortened(reason.trim());
        Self {
            reason: if reason.is_empty() { "it does not say why".into() } else { reason.into() },
            since: before.map_or_else(since, |before| before.since.clone()),
        }
    }

    /// Says it for people.
    pub(crate) fn text(&self) -> String {
        format!("unreachable since {}: {}", self.since, self.reason)
    }

    /// Returns what an answer says of the value that was known before.
    pub(crate) fn last_known(&self, value: Json) -> LastKnown {
        LastKnown { value, since: self.since.clone() }
    }

    /// Returns what the status on the broker carries.
    pub(super) fn details(&self) -> Vec<(String, String)> {
        vec![("reason".into(), self.reason.clone()), ("since".into(), self.since.clone())]
    }
}

/// Keeps the beginning of a reason.
pub(super) fn shortened(reason: &str) -> &str {
    let most = reason.len().min(LONGEST_REASON);
    let end = (0..=most).rev().find(|end| reason.is_char_boundary(*end));
    &reason[..end.unwrap_or_default()]
}

/// The status of a device that cannot reach its hardware or service.
pub(crate) const UNREACHABLE: &str = "unreachable";
/// The longest reason, in bytes.
const LONGEST_REASON: usize = 256;
