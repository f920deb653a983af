//! What devices say over MQTT themselves, and what is said to them.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use hearthd_core::{
    BRIDGE_MESSAGES, BridgeInput, BridgeOutput, Expects, Input, Message, Publication, QoS, Request,
    RequestId,
};

use super::{World, network::show_message};
use crate::{
    devices::{BLINDS, HEATER, LAMP},
    invariants::Invariant,
    link::{HubId, Life},
    report::Reached,
};

/// The messages of all devices.
#[derive(Debug, Default)]
pub(crate) struct Bridges {
    last: u64,
    sent: BTreeMap<u64, Sent>,
    /// Those without an outcome, by hub and device.
    under_way: BTreeMap<(HubId, String), BTreeSet<u64>>,
    /// The devices that may not use their topics.
    refused: BTreeSet<(HubId, String)>,
    /// Those that know of a connection, and the messages that they were told.
    linked: BTreeMap<(HubId, String), u64>,
}

/// A message that a device has handed to its hub.
#[derive(Debug)]
struct Sent {
    life: Life,
    device: String,
    request: RequestId,
    /// Until when its request is worked on.
    until: Duration,
    answered: bool,
}

impl Bridges {
    /// A device has answered a request.
    pub(super) fn answered(&mut self, life: Life, request: RequestId) {
        let its = |sent: &&mut Sent| sent.life == life && sent.request == request;
        self.sent.values_mut().filter(its).for_each(|sent| sent.answered = true);
    }

    /// Returns whether the hub has told this device that it may not use MQTT.
    pub(crate) fn is_refused(&self, hub: HubId, device: &str) -> bool {
        self.refused.contains(&(hub, device.to_owned()))
    }
}

impl Bridges {
    /// Numbers one more message of a device, which has no outcome yet.
    pub(super) fn begin(&mut self, hub: HubId, device: &str) -> u64 {
        self.last += 1;
        let key = (hub, device.to_owned());
        self.under_way.entry(key).or_default().insert(self.last);
        self.last
    }
}

impl World {
    /// Instances of a hub's devices are there that know of no connection.
    pub(super) fn begin_bridges(&mut self, hub: HubId, begun: impl Fn(&str) -> bool) {
        for device in self.hub(hub).devices.clone() {
            if begun(device) {
                let key = (hub, device.to_owned());
                self.bridges.under_way.remove(&key);
                self.bridges.linked.remove(&key);
                self.questions.forget(hub, device);
                let device = device.to_owned();
                self.feed(hub, Input::Bridge { device, input: BridgeInput::Begun });
            }
        }
    }

    /// A device that is given a request says something on its own topic, and now and then far too much, or astray.
    pub(super) fn send_for(&mut self, hub: HubId, request: &Request) {
        let device = &*request.device;
        let base = match device {
            LAMP | HEATER => "bulbs",
            BLINDS => "strangers",
            _ => return,
        };
        let times = if self.rng.u8(..12) == 0 { 3 * BRIDGE_MESSAGES } else { 1 };
        for _ in 0..times {
            let number = self.bridges.begin(hub, device);
            let own = self.rng.u8(..8) > 0;
            let topic = if own { format!("{base}/{device}/set") } else { "bulbs/other/set".into() };
            let publication = Publication {
                number,
                topic,
                payload: number.to_string().into(),
                qos: if self.rng.bool() { QoS::AtLeastOnce } else { QoS::AtMostOnce },
                retain: false,
                expiry: Duration::from_secs(10),
                expects: if self.rng.u8(..4) == 0 { Expects::Reply } else { Expects::Nothing },
                request: Some(request.id),
            };
            let sent = Sent {
                life: self.hub(hub).life,
                device: device.to_owned(),
                request: request.id,
                until: self.now + request.remaining,
                answered: false,
            };
            self.bridges.sent.insert(number, sent);
            let input = BridgeInput::Publish(publication);
            self.queue(hub, Input::Bridge { device: device.to_owned(), input });
        }
    }

    /// A device is told something.
    pub(super) fn on_bridge(&mut self, hub: HubId, device: &str, output: BridgeOutput) {
        let key = (hub, device.to_owned());
        match output {
            BridgeOutput::Link { up } => {
                self.reach(Reached::DeviceLinks);
                if up {
                    self.bridges.linked.insert(key, 0);
                } else {
                    self.bridges.linked.remove(&key);
                }
            }
            BridgeOutput::Message { .. } => {
                self.reach(Reached::DeviceHears);
                if let Some(heard) = self.bridges.linked.get_mut(&key) {
                    *heard += 1;
                }
            }
            BridgeOutput::Refused { reason: Some(_) } => drop(self.bridges.refused.insert(key)),
            BridgeOutput::Refused { reason: None } => drop(self.bridges.refused.remove(&key)),
            BridgeOutput::Outcome { number, result } => {
                self.check_told_in_time(number, &result);
                let waiting = self.bridges.under_way.get_mut(&key);
                let is_first = waiting.is_some_and(|waiting| waiting.remove(&number));
                self.require(is_first, Invariant::OneOutcome, || {
                    format!("{device}: message {number} has an outcome that nobody waits for")
                });
            }
        }
    }

    /// Returns the device that is to hear at once what a hub is given, and how much it has heard before.
    ///
    /// With QoS 1, the hub may leave it to another connection.
    pub(super) fn listener(&self, hub: HubId, input: &Input) -> Option<(String, u64)> {
        let Input::Received { message, delivery: None } = input else { return None };
        let (_, device) = message.topic.split_once('/').filter(|(base, _)| *base == "bulbs")?;
        let is_there = self.hub(hub).devices.iter().any(|its| *its == device);
        let heard = self.bridges.linked.get(&(hub, device.to_owned())).filter(|_| is_there)?;
        Some((device.to_owned(), *heard))
    }

    /// What a device listens to waits for nothing: a reply behind the request that waits for it would come too late.
    pub(super) fn check_heard(&mut self, hub: HubId, (device, before): (String, u64)) {
        let heard = self.bridges.linked.get(&(hub, device.clone()));
        let holds = heard.is_none_or(|heard| *heard > before);
        self.require(holds, Invariant::HeardAtOnce, || format!("{device} was not told"));
    }

    /// A message of a device leaves its hub.
    pub(super) fn check_bridged(&mut self, hub: HubId, message: &Message) {
        let Some((base @ ("bulbs" | "strangers"), _)) = message.topic.split_once('/') else {
            return;
        };
        self.reach(Reached::DeviceSends);
        let number = std::str::from_utf8(&message.payload).ok().and_then(|text| text.parse().ok());
        let sent = number.and_then(|number: u64| self.bridges.sent.get(&number));
        let (life, now) = (self.hub(hub).life, self.now);
        let declared = sent.is_some_and(|sent| {
            base == "bulbs" && message.topic == format!("bulbs/{}/set", sent.device)
        });
        let in_time = sent.is_some_and(|sent| {
            let left = sent.until.saturating_sub(now).as_secs() + 1;
            let within = message.expiry.is_some_and(|expiry| u64::from(expiry) <= left);
            sent.life == life && !sent.answered && sent.until >= now && within
        });
        self.require(declared, Invariant::DeclaredTopic, || show_message(message));
        self.require(in_time, Invariant::BeforeAnswer, || show_message(message));
    }

    /// No device has more under way than it may.
    pub(super) fn check_bridges(&mut self, hub: HubId) {
        let of_hub = self.bridges.under_way.iter().filter(|((owner, _), _)| *owner == hub);
        let most = of_hub.map(|(_, numbers)| numbers.len()).max().unwrap_or_default();
        self.require(most <= BRIDGE_MESSAGES, Invariant::Bounded, || {
            format!("{most} messages of one device under way")
        });
    }

    /// Whoever stands behind a device's topic says something there, once or without end.
    pub(super) fn say_for_device(&mut self, device: usize, times: usize, at_least_once: bool) {
        if times > 1 {
            self.reach(Reached::DeviceFlood);
        }
        let device = [LAMP, HEATER, BLINDS][device % 3];
        let base = if device == BLINDS { "strangers" } else { "bulbs" };
        let qos = if at_least_once { QoS::AtLeastOnce } else { QoS::AtMostOnce };
        for _ in 0..times {
            let message = Message {
                topic: format!("{base}/{device}"),
                payload: "ON".into(),
                qos,
                ..Message::default()
            };
            self.say_soon(message, None);
        }
    }
}
