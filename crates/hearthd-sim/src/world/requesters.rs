//! Requesters: what they ask, and when they ask again.

use std::time::Duration;

use bytes::Bytes;
use hearthd_core::{Message, QoS};

use super::{
    Timer, World,
    clients::PLUG,
    guarding::NEXT_DOOR,
    home::{ALLOWED, MAX_PAYLOAD, topics},
};
use crate::{
    devices,
    ledger::{Asked, RETRY},
    link::HubId,
    plan::{Ask, Correlated, Requester, Response, Target},
    report::Reached,
};

impl World {
    /// A requester asks, at once or, while there is no broker, as soon as it can.
    pub(super) fn ask(&mut self, ask: &Ask) {
        for _ in 0..ask.times {
            let asked = self.make_request(ask);
            let message = asked.message.clone();
            let patience = asked.patience;
            let index = self.ledger.add(asked);
            self.say_soon(message, Some(index));
            if let Some(patience) = patience {
                self.after(patience, Timer::AskAgain(index));
            }
        }
    }

    /// A requester sends an earlier request once more, as long as it may be taken for the same.
    ///
    /// Without a mark it is another request, where it can be carried out again.
    pub(super) fn ask_again(&mut self, index: usize, marked: bool) {
        let Some(asked) = self.ledger.asked.get_mut(index) else { return };
        let message = &asked.message;
        let named = message.correlation_data.is_some() && message.response_topic.is_some();
        // A device asks once: its hub makes another request of what it says again.
        if !named || asked.by_device || self.now > asked.first_sent + PATIENCE {
            return;
        }
        asked.times_sent += 1;
        asked.unmarked |= !marked;
        asked.ambiguous |= !marked && asked.idempotent;
        let mut message = message.clone();
        if marked {
            message.user_properties.push((RETRY.into(), "1".into()));
        }
        self.reach(if marked { Reached::Repeated } else { Reached::Unmarked });
        self.say_soon(message, Some(index));
    }

    /// Sends a request again, marked as a repeat, if it has no answer so far.
    pub(super) fn ask_again_if_unanswered(&mut self, index: usize) {
        if self.ledger.asked[index].answers.is_empty() {
            self.ask_again(index, true);
        }
    }

    fn make_request(&mut self, ask: &Ask) -> Asked {
        let index = self.ledger.asked.len();
        let hub = HubId(ask.hub.0 % self.hubs.len());
        let (device, property, payload) = content(ask.target, hub, index);
        let prefix = self.prefix();
        let values = [("device", device), ("property", property)];
        let correlation_data = match ask.correlated {
            Correlated::Unique => Some(Bytes::from(format!("c{index}"))),
            Correlated::Reused => Some(Bytes::from_static(b"same")),
            Correlated::Long(length) => Some(padded(index.to_string(), length)),
            Correlated::None => None,
        };
        let message = Message {
            topic: topics().request.build(prefix.as_ref(), &values),
            payload: payload.into(),
            qos: if ask.at_least_once { QoS::AtLeastOnce } else { QoS::AtMostOnce },
            retain: ask.retain,
            expiry: ask.expiry,
            response_topic: self.response_topic(ask, index),
            correlation_data,
            ..Message::default()
        };
        Asked {
            prefix: prefix.map(|prefix| prefix.as_str().to_owned()),
            device,
            property,
            sender: match ask.requester {
                Requester::Phone(phone) => PHONES[phone],
                Requester::Hostile => HOSTILE,
            },
            hostile: ask.requester == Requester::Hostile,
            sets: !message.payload.is_empty(),
            // A `set` counts as what is strictest of its device's properties.
            idempotent: !matches!(ask.target, Target::Step | Target::Toggle | Target::Set),
            allowed: !matches!(ask.response, Response::Forbidden(_)),
            ambiguous: false,
            patience: ask.patience,
            first_sent: self.now,
            ..Asked::new(message)
        }
    }

    fn response_topic(&self, ask: &Ask, index: usize) -> Option<String> {
        let prefix = self.prefix();
        let requester = match (ask.requester, ask.response) {
            (Requester::Hostile, _) => HOSTILE,
            (Requester::Phone(phone), Response::Others) => PHONES[(phone + 1) % PHONES.len()],
            (Requester::Phone(phone), _) => PHONES[phone],
        };
        let purpose = match ask.correlated {
            Correlated::Unique | Correlated::Reused | Correlated::Long(_) => "home".to_owned(),
            Correlated::None => index.to_string(),
        };
        let build = |client_id: &str, purpose: &str| {
            let values = [("client_id", client_id), ("purpose", purpose)];
            topics().response.build(prefix.as_ref(), &values)
        };
        match ask.response {
            Response::Own | Response::Others => Some(build(requester, &purpose)),
            Response::None => None,
            Response::Allowed if prefix.is_some() => {
                Some(ALLOWED.replace('+', &format!("{requester}-{purpose}")))
            }
            Response::Allowed => Some(build(requester, &purpose)),
            Response::Forbidden(which) => Some(self.forbidden(which)),
        }
    }

    /// Returns a topic that no response may go to.
    fn forbidden(&self, which: usize) -> String {
        let prefix = self.prefix();
        let topics = topics();
        let response = |client_id: &str, purpose: &str| {
            let values = [("client_id", client_id), ("purpose", purpose)];
            topics.response.build(prefix.as_ref(), &values)
        };
        let power = [("device", devices::LAMP), ("property", "power")];
        let hub = HubId(which % self.hubs.len()).client_id();
        let forbidden = [
            response(hub, "will"),
            response(hub, "fence"),
            response(hub, "session"),
            response(NEXT_DOOR, "will"),
            response("phone-1", "session"),
            topics.request.build(prefix.as_ref(), &power),
            topics.state.build(prefix.as_ref(), &[("device", PLUG), ("property", "power")]),
            topics.presence.build(prefix.as_ref(), &[("client_id", hub)]),
            "$SYS/broker".to_owned(),
            response("+", "home"),
        ];
        forbidden[which % forbidden.len()].clone()
    }
}

/// Returns device, property and payload; a payload that sets something carries the request's identity.
fn content(target: Target, hub: HubId, index: usize) -> (&'static str, &'static str, String) {
    let identity = format!("v#{index}");
    match target {
        Target::Power => (devices::LAMP, "power", identity),
        Target::Toggle => (devices::LAMP, "power", format!("TOGGLE #{index}")),
        Target::Set => (devices::BLINDS, "set", format!("{{\"position\":\"{identity}\"}}")),
        Target::Temperature => (devices::HEATER, "target", identity),
        Target::Position => (devices::BLINDS, "position", identity),
        Target::Step => (devices::BLINDS, "step", identity),
        Target::Read => (devices::BLINDS, "position", String::new()),
        Target::Describe => (devices::LAMP, "describe", String::new()),
        Target::NoProperty => (devices::LAMP, UNDECLARED, identity),
        Target::NoDevice => ("toaster", "power", identity),
        Target::Plug => (PLUG, "power", identity),
        Target::TooLarge => {
            (devices::BLINDS, "step", format!("{identity} {}", "x".repeat(MAX_PAYLOAD)))
        }
        Target::Absences => (hub.client_id(), "absences", String::new()),
        Target::Devices => (hub.client_id(), "devices", String::new()),
    }
}

/// Makes a text longer, and no less itself.
pub(super) fn padded(text: String, length: usize) -> Bytes {
    let rest = length.saturating_sub(text.len());
    (text + "-" + &"x".repeat(rest)).into()
}

/// A property that no device has.
pub(crate) const UNDECLARED: &str = "colour";
/// The requesters, by client identifier.
const PHONES: [&str; 3] = ["phone-0", "phone-1", "phone-2"];
pub(super) const HOSTILE: &str = "mallory";
/// How long after the first a requester may send a request again.
const PATIENCE: Duration = Duration::from_secs(10);
