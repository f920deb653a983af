//! Topic names, topic filters, the prefix, and the templates that topics are built from (MQTT 4.7).

mod filter;
mod prefix;
mod template;

pub use filter::TopicFilter;
pub use prefix::{Prefix, PrefixError};
pub use template::{Template, Values};

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
