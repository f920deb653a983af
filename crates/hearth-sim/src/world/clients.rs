//! Other clients: requesters, guardians of the hub's will, and the hub next door.

use std::{collections::BTreeSet, time::Duration};

use bytes::Bytes;
use hearth_core::{Message, QoS, topic::Templates};

use super::{
    Timer, World,
    home::{ALLOWED, CLIENT_ID, MAX_PAYLOAD},
};
use crate::{
    broker::Source,
    devices,
    ledger::Asked,
    plan::{Ask, Correlated, Response, Target},
    report::Reached,
};

/// The hub next door, whose will this hub guards.
#[derive(Debug, Default)]
pub(crate) struct Neighbour {
    /// The Correlation Data of its wills.
    wills: Vec<Bytes>,
    /// Those that the hub was given.
    pub(crate) handed: BTreeSet<Bytes>,
    pub(crate) answered: BTreeSet<Bytes>,
    /// How often the valve was told to shut.
    pub(crate) shut: usize,
}

impl Neighbour {
    /// Notes the hub's answer to a will; false if there was no such will.
    pub(crate) fn note_answer(&mut self, message: &Message) -> bool {
        let Some(correlation_data) = &message.correlation_data else { return false };
        self.answered.insert(correlation_data.clone());
        self.wills.contains(correlation_data)
    }
}

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
    pub(super) fn ask_again(&mut self, index: usize) {
        let Some(asked) = self.ledger.asked.get_mut(index) else { return };
        let message = &asked.message;
        let named = message.correlation_data.is_some() && message.response_topic.is_some();
        if !named || self.now > asked.first_sent + PATIENCE {
            return;
        }
        asked.times_sent += 1;
        let message = message.clone();
        self.reach(Reached::Repeated);
        self.say_soon(message, Some(index));
    }

    pub(super) fn ask_again_if_unanswered(&mut self, index: usize) {
        if self.ledger.asked[index].answers.is_empty() {
            self.ask_again(index);
        }
    }

    fn say_soon(&mut self, message: Message, asked: Option<usize>) {
        let transit = self.transit();
        self.after(transit, Timer::Say { message, asked });
    }

    /// A client's message reaches the broker.
    pub(super) fn say(&mut self, message: Message, asked: Option<usize>) {
        if !self.broker.up {
            return self.after(Duration::from_secs(1), Timer::Say { message, asked });
        }
        self.broker.publish(self.now, message, asked, Source::Other);
        self.broker.flush(self.now, &mut self.rng);
        self.carry_out_effects();
    }

    /// Every guardian acknowledges a will, each in its own time.
    pub(super) fn guardians_see(&mut self, will: &Message) {
        for (index, delay) in self.setup.guardians.clone().into_iter().enumerate() {
            let acknowledgement = Message {
                topic: will.response_topic.clone().unwrap_or_default(),
                payload: format!("watched by {index}").into(),
                qos: QoS::AtLeastOnce,
                correlation_data: will.correlation_data.clone(),
                user_properties: vec![("client_id".into(), format!("guardian-{index}"))],
                ..Message::default()
            };
            self.after(delay, Timer::Say { message: acknowledgement, asked: None });
        }
    }

    /// Somebody sends what is no acknowledgement of any will.
    pub(super) fn forge(&mut self, named: bool) {
        let prefix = self.prefix();
        let values = [("client_id", CLIENT_ID), ("purpose", "will")];
        let correlation_data = named.then(|| self.rng.u128(..).to_be_bytes().to_vec().into());
        let message = Message {
            topic: Templates::default().response.build(prefix.as_ref(), &values),
            payload: "I was not there".into(),
            qos: QoS::AtLeastOnce,
            correlation_data,
            ..Message::default()
        };
        self.say_soon(message, None);
    }

    pub(super) fn neighbour_dies(&mut self) {
        let correlation_data = Bytes::from(self.rng.u128(..).to_be_bytes().to_vec());
        self.neighbour.wills.push(correlation_data.clone());
        let prefix = self.prefix();
        let values = [("client_id", "attic"), ("purpose", "will")];
        let response_topic = Templates::default().response.build(prefix.as_ref(), &values);
        let will = Message {
            response_topic: Some(response_topic),
            correlation_data: Some(correlation_data),
            ..self.neighbours_presence("offline")
        };
        self.say_soon(will, None);
    }

    pub(super) fn neighbour_returns(&mut self) {
        let online = self.neighbours_presence("online");
        self.say_soon(online, None);
    }

    fn neighbours_presence(&self, payload: &'static str) -> Message {
        let prefix = self.prefix();
        Message {
            topic: Templates::default().presence.build(prefix.as_ref(), &[("client_id", "attic")]),
            payload: payload.into(),
            qos: QoS::AtLeastOnce,
            retain: true,
            ..Message::default()
        }
    }

    fn make_request(&mut self, ask: &Ask) -> Asked {
        let index = self.ledger.asked.len();
        let (device, property, payload) = content(ask.target, index);
        let prefix = self.prefix();
        let values = [("device", device), ("property", property)];
        let response_topic = self.response_topic(ask, index);
        let correlation_data = match ask.correlated {
            Correlated::Unique => Some(Bytes::from(format!("c{index}"))),
            Correlated::Reused => Some(Bytes::from_static(b"same")),
            Correlated::None => None,
        };
        let qos = if ask.at_least_once { QoS::AtLeastOnce } else { QoS::AtMostOnce };
        let message = Message {
            topic: Templates::default().request.build(prefix.as_ref(), &values),
            payload: payload.into(),
            qos,
            retain: ask.retain,
            expiry: ask.expiry,
            response_topic,
            correlation_data,
            ..Message::default()
        };
        Asked {
            prefix: prefix.map(|prefix| prefix.as_str().to_owned()),
            sets: !message.payload.is_empty(),
            idempotent: !matches!(ask.target, Target::Step | Target::Toggle | Target::Set),
            allowed: !matches!(ask.response, Response::Forbidden(_)),
            ambiguous: false,
            patience: ask.patience,
            first_sent: self.now,
            times_sent: 1,
            executions: Vec::new(),
            answers: Vec::new(),
            settled: None,
            undeliverable: false,
            answer_durable: false,
            first_handed: None,
            message,
        }
    }

    fn response_topic(&self, ask: &Ask, index: usize) -> Option<String> {
        let prefix = self.prefix();
        let requester = format!("phone-{}", ask.requester);
        let purpose = match ask.correlated {
            Correlated::Unique | Correlated::Reused => "home".to_owned(),
            Correlated::None => index.to_string(),
        };
        let build = |client_id: &str, purpose: &str| {
            let values = [("client_id", client_id), ("purpose", purpose)];
            Templates::default().response.build(prefix.as_ref(), &values)
        };
        match ask.response {
            Response::Own => Some(build(&requester, &purpose)),
            Response::None => None,
            Response::Allowed if prefix.is_some() => {
                Some(ALLOWED.replace('+', &format!("{requester}-{purpose}")))
            }
            Response::Allowed => Some(build(&requester, &purpose)),
            Response::Forbidden(which) => {
                let forbidden = [
                    build(CLIENT_ID, "will"),
                    build(CLIENT_ID, "fence"),
                    Templates::default().request.build(
                        prefix.as_ref(),
                        &[("device", devices::LAMP), ("property", "power")],
                    ),
                    Templates::default()
                        .presence
                        .build(prefix.as_ref(), &[("client_id", CLIENT_ID)]),
                    "$SYS/broker".to_owned(),
                    build("+", "home"),
                ];
                Some(forbidden[which % forbidden.len()].clone())
            }
        }
    }
}

/// Returns device, property and payload; a payload that sets something carries the request's identity.
fn content(target: Target, index: usize) -> (&'static str, &'static str, String) {
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
        Target::Unknown => ("toaster", "power", identity),
        Target::TooLarge => {
            (devices::BLINDS, "step", format!("{identity} {}", "x".repeat(MAX_PAYLOAD)))
        }
        Target::Absences => (CLIENT_ID, "absences", String::new()),
        Target::Devices => (CLIENT_ID, "devices", String::new()),
    }
}

/// How long after the first a requester may send a request again.
const PATIENCE: Duration = Duration::from_secs(10);
