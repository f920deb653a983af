//! Strangers: clients that see everything that is published, and publish anything.

use bytes::Bytes;
use hearthd_core::{Message, QoS, SENDER_ACCOUNT};

use super::{
    World,
    home::topics,
    network::{is_own_response, is_presence},
    requesters::{HOSTILE, padded},
};
use crate::{
    broker::Source,
    devices::Devices,
    ledger::{Asked, RETRY},
    link::HubId,
    plan::{Knowledge, Mischief, Names},
    report::Reached,
};

/// What a stranger remembers of one hub: the Correlation Data of what it, or its will, has published, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Overheard(Vec<Bytes>);

impl Overheard {
    fn hear(&mut self, data: &Bytes) {
        if self.0.len() == LONGEST {
            self.0.remove(0);
        }
        self.0.push(data.clone());
    }

    fn recall(&self, back: usize) -> Option<Bytes> {
        self.0.iter().rev().nth(back).cloned()
    }
}

impl World {
    /// A stranger hears what is published about a hub.
    pub(super) fn overhear(&mut self, message: &Message, source: Source) {
        let (Source::Hub(hub, _) | Source::Will(hub) | Source::StrayWill(hub)) = source else {
            return;
        };
        if !self.setup.hostile {
            return;
        }
        if let Some(generation) = generation_told(message) {
            self.hub_mut(hub).overheard.hear(&generation);
        }
        let Some(data) = &message.correlation_data else { return };
        let own = is_presence(&message.topic, hub.client_id())
            || ["fence", "session", "retained"]
                .iter()
                .any(|purpose| is_own_response(&message.topic, hub, purpose));
        if own {
            self.hub_mut(hub).overheard.hear(data);
        }
    }

    /// Has the stranger do something.
    pub(super) fn misbehave(&mut self, mischief: &Mischief) {
        match mischief {
            Mischief::Presence { hub, says, knows, retain } => {
                let hub = self.some_hub(*hub);
                let correlation_data = self.correlation_data(hub, *knows);
                let presence = Message {
                    correlation_data,
                    retain: *retain,
                    ..self.presence_of(hub.client_id(), says)
                };
                self.reach(match *says {
                    "offline" => Reached::ForgedOffline,
                    "online" => Reached::ForgedOnline,
                    _ => Reached::ForgedPresence,
                });
                self.say_soon(presence, None);
            }
            Mischief::Acknowledge { hub, knows, names, times, length } => {
                let hub = self.some_hub(*hub);
                self.reach(match times {
                    1 => Reached::ForgedAcknowledgement,
                    _ => Reached::AcknowledgementFlood,
                });
                let correlation_data = self.correlation_data(hub, *knows);
                for number in 0..*times {
                    let forged = Message {
                        payload: padded(format!("I was not there {number}"), *length),
                        user_properties: names.of(number),
                        ..self.to_hub(hub, "will", correlation_data.clone())
                    };
                    self.say_soon(forged, None);
                }
            }
            Mischief::Junk { hub, purpose, knows } => {
                let hub = self.some_hub(*hub);
                self.reach(Reached::Junk);
                let correlation_data = self.correlation_data(hub, *knows);
                let junk = self.to_hub(hub, purpose, correlation_data);
                self.say_soon(junk, None);
            }
            Mischief::Status { device, hub, retain } => {
                let (device, _) = Devices::property(*device);
                self.reach(Reached::ForgedStatus);
                let prefix = self.prefix();
                let values = [("device", device), ("property", "status")];
                let has_it = |name: &str| {
                    let mut hubs = self.hubs.iter();
                    hubs.any(|hub| hub.name() == name && hub.devices.contains(device))
                };
                if *retain && hub.is_some_and(|name| !has_it(name)) {
                    self.ledger.forged_status.insert(device);
                }
                let status = Message {
                    topic: topics().state.build(prefix.as_ref(), &values),
                    payload: "ready".into(),
                    qos: QoS::AtLeastOnce,
                    retain: *retain,
                    user_properties: hub
                        .map(|hub| ("hub".into(), hub.into()))
                        .into_iter()
                        .collect(),
                    ..Message::default()
                };
                self.say_soon(status, None);
            }
            Mischief::Flood(ask) => {
                self.reach(Reached::RequestFlood);
                self.ask(ask);
            }
            Mischief::Copy { back } => {
                let mut copies = self.ledger.asked.iter().rev().filter_map(|a| self.copy_of(a));
                if let Some(copy) = copies.nth(*back) {
                    self.reach(Reached::Copied);
                    let message = copy.message.clone();
                    let index = self.ledger.add(copy);
                    self.say_soon(message, Some(index));
                }
            }
        }
    }

    /// Makes a request that is the same as somebody's, and says that it is repeated.
    fn copy_of(&self, asked: &Asked) -> Option<Asked> {
        let named =
            asked.message.correlation_data.is_some() && asked.message.response_topic.is_some();
        if !named || !asked.allowed || asked.hostile {
            return None;
        }
        let mut message = asked.message.clone();
        message.user_properties.push((RETRY.into(), "1".into()));
        Some(Asked {
            prefix: asked.prefix.clone(),
            device: asked.device,
            property: asked.property,
            sender: HOSTILE,
            hostile: true,
            sets: asked.sets,
            idempotent: asked.idempotent,
            first_sent: self.now,
            has_arrived: true,
            ..Asked::new(message)
        })
    }

    fn some_hub(&self, hub: HubId) -> HubId {
        HubId(hub.0 % self.hubs.len())
    }

    fn correlation_data(&mut self, hub: HubId, knows: Knowledge) -> Option<Bytes> {
        match knows {
            Knowledge::None => None,
            Knowledge::MadeUp => Some(self.rng.u128(..).to_be_bytes().to_vec().into()),
            Knowledge::Seen(back) => self.hub(hub).overheard.recall(back),
        }
    }

    fn to_hub(&self, hub: HubId, purpose: &str, correlation_data: Option<Bytes>) -> Message {
        let prefix = self.prefix();
        let values = [("client_id", hub.client_id()), ("purpose", purpose)];
        Message {
            topic: topics().response.build(prefix.as_ref(), &values),
            payload: "junk".into(),
            qos: QoS::AtLeastOnce,
            correlation_data,
            ..Message::default()
        }
    }
}

/// Returns what an absence tells of the will that it is about.
fn generation_told(message: &Message) -> Option<Bytes> {
    let json = message.content_type.as_deref() == Some("application/json");
    let facts: serde_json::Value =
        json.then(|| serde_json::from_slice(&message.payload).ok()).flatten()?;
    let generation = facts.get("generation")?.as_str()?;
    Some(generation.as_bytes().to_vec().into())
}

impl Names {
    fn of(self, number: usize) -> Vec<(String, String)> {
        let name = match self {
            Self::None => return Vec::new(),
            Self::One => "mallory".into(),
            Self::Many => format!("mallory-{number}"),
            Self::Stamped => return vec![(SENDER_ACCOUNT.into(), "home".into())],
        };
        vec![("client_id".into(), name)]
    }
}

/// How much of a hub a stranger remembers.
const LONGEST: usize = 12;
