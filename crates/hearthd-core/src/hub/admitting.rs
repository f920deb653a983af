//! Decides whether a request is carried out: by its content, its time of arrival, and the room for it.

use std::{sync::Arc, time::Duration};

use super::{
    Hub,
    bridging::LONGEST_VIA,
    events::{Untold, beginning},
};
use crate::{
    Answer, Message, Now, QoS, Reason, RequestKey, Status,
    journal::Durability,
    record::Reply,
    requests::{Origin, Shares},
    topic::Prefix,
};

/// Why a request does not reach its device.
pub(super) enum Refusal {
    /// It is answered so.
    Answer(Answer),
    /// It came before the fence, and an earlier life of the daemon may have carried it out.
    Indeterminate(RequestKey),
}

impl Hub {
    /// Returns whether a request is considered at all; whatever keeps it from that is told.
    pub(super) fn is_answerable(
        &mut self,
        now: Now,
        prefix: Option<&Prefix>,
        device: &Arc<str>,
        property: &Arc<str>,
        message: &Message,
        reply: &Reply,
    ) -> bool {
        let (mut status, mut remedy) = (Status::Timeout, None);
        let mut reason = reply.is_over(now.monotonic).then(|| "it had expired".to_owned());
        if let Some(topic) = &reply.response_topic
            && let Err(denied) = self.check_response_topic(prefix, topic, Some((device, property)))
        {
            status = Status::BadRequest;
            reason = Some(format!("its Response Topic {}", denied.reason));
            remedy = denied.may_be_allowed.then(|| format!("[responses] allow = [{topic:?}]"));
        }
        let Some(reason) = reason else { return true };
        let (device, property) = (device.clone(), property.clone());
        let failed = Untold::new(device, property, &message.payload);
        let failed = Some((&failed, status.code()));
        self.tell_dropped(now, &message.topic, reason, remedy, failed);
        false
    }

    /// Returns how much of a request must survive a crash; one that does no harm may be carried out `again`.
    pub(super) fn durability(
        &self,
        device: &str,
        message: &Message,
        reads: bool,
        again: bool,
    ) -> Durability {
        if message.qos == QoS::AtMostOnce || reads || device == self.config.client_id {
            Durability::Nothing
        } else if again {
            Durability::Answer
        } else {
            Durability::Intent
        }
    }

    /// Returns whether carrying a request out again does no harm.
    pub(super) fn is_idempotent(&self, device: &str, property: &str, message: &Message) -> bool {
        let policy = self.config.devices.get(device);
        policy.is_none_or(|policy| policy.is_idempotent(property)) && !turns_over(&message.payload)
    }

    /// Decides whether a request may reach its device, and how long that may take.
    pub(super) fn admit(
        &mut self,
        device: &str,
        message: &Message,
        origin: &Origin,
    ) -> Result<Duration, Refusal> {
        let refuse = |status, text: String| Err(Refusal::Answer(Answer::failure(status, text)));
        let (deadline, execute_stale) = if device == self.config.client_id {
            (self.config.deadline, true)
        } else if let Some(policy) = self.config.devices.get(device) {
            (policy.deadline, policy.execute_stale)
        } else {
            return Err(Refusal::Answer(no_device(device)));
        };
        if message.retain {
            return refuse(Status::BadRequest, "a retained request is not executed".into());
        }
        if let Some(via) = &origin.via {
            let asked: Vec<_> = via.split(',').take(LONGEST_VIA + 1).collect();
            if asked.len() > LONGEST_VIA || asked.contains(&device) {
                let asked = String::from_utf8_lossy(beginning(via.as_bytes()));
                let text = format!("devices that ask devices wait for its answer already: {asked}");
                return Err(Refusal::Answer(Answer::conflict(Reason::Loop, &text)));
            }
        }
        if message.payload.len() > self.config.max_payload {
            let (is, max) = (message.payload.len(), self.config.max_payload);
            let text = format!("the payload of {is} bytes is larger than the {max} allowed");
            return refuse(Status::BadRequest, text);
        }
        let stale = !self.is_dated(message) && !execute_stale && self.may_be_stale();
        if self.may_be_repeated(message, origin, stale)
            && let Some(key) = origin.key.clone()
            && self.make_room(&key)
        {
            return Err(Refusal::Indeterminate(key));
        }
        if stale {
            let text = "the request waited while the hub was away; send it again, or with a \
                        Message Expiry Interval";
            return Err(Refusal::Answer(Answer::conflict(Reason::Stale, text)));
        }
        if let (Some(error), Durability::Intent) = (&self.store_failure, origin.durability) {
            return Err(Refusal::Answer(not_stored(error)));
        }
        self.find_room(device, origin).map_err(Refusal::Answer)?;
        Ok(deadline)
    }

    /// Returns whether a request says itself how long it is wanted. Where the broker adds a Message Expiry Interval to
    /// whatever has none, that is only so if the requester has marked its own.
    fn is_dated(&self, message: &Message) -> bool {
        message.expiry.is_some()
            && (!self.wills.memory().adds_expiry || message.user_property("expiry").is_some())
    }

    /// Finds room for one more request, with its device and in the journal; the error is its answer.
    ///
    /// After an outage all that waited comes at once, and waits its turn; later, nobody may take what others need.
    pub(super) fn find_room(&mut self, device: &str, origin: &Origin) -> Result<(), Answer> {
        let window = usize::from(self.config.receive_maximum);
        let shares =
            self.has_passed_fence().then_some(Shares { device: window / 2, sender: window / 4 });
        let sender = origin.sender.as_ref();
        if let Some(text) = self.requests.refuse(device, sender, origin.size, shares) {
            return Err(Answer::failure(Status::Busy, text));
        }
        if origin.durability != Durability::Nothing
            && !origin.key.as_ref().is_none_or(|key| self.make_room(key))
        {
            let text = "too many answers wait for the broker already";
            return Err(Answer::failure(Status::Busy, text));
        }
        Ok(())
    }

    /// Returns whether an earlier life of the daemon may have carried a request out that the journal does not know.
    fn may_be_repeated(&self, message: &Message, origin: &Origin, stale: bool) -> bool {
        message.dup
            && match origin.durability {
                Durability::Nothing => false,
                // Its answer was not stored in time; it could be carried out again, but not that late.
                Durability::Answer => stale,
                // The journal would know it, unless the store was lost.
                Durability::Intent => !self.journal_is_complete && !self.fence_is_back(),
            }
    }
}

/// Answers 404 for a device that this hub does not have.
pub(super) fn no_device(device: &str) -> Answer {
    Answer::failure(Status::NotFound, format!("there is no device `{device}`"))
}

/// Says that a request was not carried out, because nobody would know of it after a crash.
pub(super) fn not_stored(error: &str) -> Answer {
    let text = format!(
        "not carried out: the hub's state cannot be written ({error}), and without that the request \
         could be carried out twice"
    );
    Answer::failure(Status::Unavailable, text)
}

/// Returns whether a request sets nothing.
pub(super) fn reads(property: &str, message: &Message) -> bool {
    message.payload.is_empty() || matches!(property, "get" | "describe")
}

/// Returns whether a payload may hold TOGGLE, the one value whose effect depends on the state.
fn turns_over(payload: &[u8]) -> bool {
    const TOGGLE: &[u8] = b"TOGGLE";
    // An escape in JSON may hide it.
    payload.contains(&b'\\')
        || payload.windows(TOGGLE.len()).any(|window| window.eq_ignore_ascii_case(TOGGLE))
}
