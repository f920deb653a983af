//! Reports failures that have no answer: an event on the device's topic, and a notice for people.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use serde_json::json;

use super::{Hub, telling::Telling};
use crate::property::FAILED;
use crate::{Answer, Notice, Now, RequestFailure, requests::Origin};

/// How much of what strangers cause was told.
#[derive(Debug, Default)]
pub(super) struct Told {
    pub(super) dropped: Telling,
    pub(super) failed: Telling,
    answered: Telling,
    pub(super) ignored: Telling,
    pub(super) unreadable: Telling,
    pub(super) restored: Telling,
    /// When the next event may be published, and how many were left out.
    next_event: Duration,
    events_left_out: u64,
}

/// A request that nobody is answered about, or was answered about before its end.
pub(super) struct Untold<'r> {
    pub(super) device: Arc<str>,
    pub(super) property: Arc<str>,
    pub(super) payload: &'r [u8],
    /// Whether it was answered 202.
    pub(super) was_accepted: bool,
    /// Of such a request, unless it is long.
    pub(super) correlation_data: Option<Bytes>,
}

impl<'r> Untold<'r> {
    /// Describes a request that nobody is answered about.
    pub(super) fn new(device: Arc<str>, property: Arc<str>, payload: &'r [u8]) -> Self {
        Self { device, property, payload, was_accepted: false, correlation_data: None }
    }
}

impl Hub {
    /// A request without a Response Topic came to nothing.
    pub(super) fn tell_failed(&mut self, now: Now, failed: &Untold<'_>, answer: &Answer) {
        let message = answer.message.clone().unwrap_or_default();
        let status = answer.status.code();
        let reason = answer.reason.map(crate::Reason::as_str);
        self.publish_event(now, failed, status, reason, &message);
        if let Some(more) = self.told.failed.tell(now.monotonic) {
            let (device, property) = (failed.device.clone(), failed.property.clone());
            let was_accepted = failed.was_accepted;
            self.notice(Notice::RequestFailed {
                device,
                property,
                status,
                message,
                was_accepted,
                more,
            });
        }
    }

    /// Says why a request failed whose requester is answered; none where it did not, or enough were told.
    pub(super) fn failure(
        &mut self,
        now: Now,
        origin: &Origin,
        answer: &Answer,
    ) -> Option<RequestFailure> {
        if answer.status.is_success() || origin.reply.response_topic.is_none() {
            return None;
        }
        let requester = origin.sender.clone().or_else(|| origin.reply.response_topic.clone())?;
        let more = self.told.answered.tell(now.monotonic)?;
        let message = answer.message.clone().unwrap_or_default();
        Some(RequestFailure { requester, message, more })
    }

    /// A request is dropped: its requester may not be answered, or has stopped waiting.
    pub(super) fn tell_dropped(
        &mut self,
        now: Now,
        topic: &str,
        reason: String,
        remedy: Option<String>,
        failed: Option<(&Untold<'_>, u16)>,
    ) {
        if let Some((failed, status)) = failed {
            self.publish_event(now, failed, status, None, &reason);
        }
        if let Some(more) = self.told.dropped.tell(now.monotonic) {
            let topic = topic.to_owned();
            self.notice(Notice::RequestDropped { topic, reason, remedy, more });
        }
    }

    /// Publishes what happened, a few times a second at most: whoever causes it must not keep answers from going out.
    fn publish_event(
        &mut self,
        now: Now,
        failed: &Untold<'_>,
        status: u16,
        reason: Option<&str>,
        message: &str,
    ) {
        if self.connection().is_none() {
            return;
        }
        if !self.config.devices.contains_key(&*failed.device) {
            return;
        }
        let is_left_out = self.is_event_left_out(now);
        if is_left_out && self.has_problem(&failed.device) {
            self.told.events_left_out += 1;
            return;
        }
        let mut event = json!({
            "property": &*failed.property,
            "payload": excerpt(failed.payload, LONGEST_PAYLOAD),
            "status": status,
            "message": message,
        });
        if let Some(reason) = reason {
            event["reason"] = reason.into();
        }
        // What only reads is no command.
        if failed.was_accepted || !failed.payload.is_empty() {
            self.tell_problem(&failed.device, &event);
        }
        if is_left_out {
            self.told.events_left_out += 1;
            return;
        }
        event["event"] = FAILED.into();
        self.send_event_in_turn(now, &failed.device, event, failed.correlation_data.clone());
    }

    /// A request that was under way has come to its end: tells whoever listens.
    pub(super) fn tell_done(&mut self, now: Now, done: &Untold<'_>, answer: &Answer) {
        if self.connection().is_none() || !self.config.devices.contains_key(&*done.device) {
            return;
        }
        if self.is_event_left_out(now) {
            self.told.events_left_out += 1;
            return;
        }
        let event = json!({
            "event": DONE,
            "property": &*done.property,
            "payload": excerpt(done.payload, LONGEST_PAYLOAD),
            "status": answer.status.code(),
        });
        self.send_event_in_turn(now, &done.device, event, done.correlation_data.clone());
    }

    fn is_event_left_out(&self, now: Now) -> bool {
        self.told.next_event > now.monotonic + EVENT_BURST
    }

    /// Publishes an event, with how many were left out before it.
    fn send_event_in_turn(
        &mut self,
        now: Now,
        device: &str,
        mut event: serde_json::Value,
        correlation_data: Option<Bytes>,
    ) {
        self.told.next_event = now.monotonic.max(self.told.next_event) + EVENT_INTERVAL;
        if self.told.events_left_out > 0 {
            event["left_out"] = std::mem::take(&mut self.told.events_left_out).into();
        }
        self.send_event(now, device, &event, correlation_data);
    }

    /// Says which hub has published a message.
    pub(super) fn introduction_of_hub(&self) -> (String, String) {
        ("hub".into(), self.config.client_id.clone())
    }
}

/// Returns as much of a payload as an event tells.
pub(super) fn beginning(payload: &[u8]) -> &[u8] {
    &payload[..payload.len().min(LONGEST_PAYLOAD)]
}

/// Keeps the beginning of foreign bytes, as text.
pub(super) fn excerpt(bytes: &[u8], most: usize) -> String {
    let mut text = String::from_utf8_lossy(&bytes[..bytes.len().min(most)]).into_owned();
    while text.len() > most {
        text.pop();
    }
    text
}

/// The event of a request that was under way and is done.
const DONE: &str = "done";
/// One event in this time, on average.
const EVENT_INTERVAL: Duration = Duration::from_millis(200);
/// How much of that time may be used up in advance.
const EVENT_BURST: Duration = Duration::from_secs(2);
/// How long an event is of interest.
pub(super) const EVENT_EXPIRY: Duration = Duration::from_secs(60);
const LONGEST_PAYLOAD: usize = 128;
