//! What the hubs announce of their devices to another program, which is sometimes there.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bytes::Bytes;
use hearthd_core::{Announcement, Announcer, Discovery, Known, Message, QoS, topic::Prefix};

use super::World;
use crate::{devices::MOVABLE, link::HubId, report::Reached};

/// What the configuration of a hub says of announcements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Announces {
    /// What the topics begin with.
    pub(crate) base: &'static str,
    /// One of [`MOVABLE`] that is left out.
    pub(crate) without: Option<usize>,
}

impl Announces {
    /// Where announcements may be.
    pub(crate) const BASES: [&str; 2] = ["found", "elsewhere"];

    fn start(self) -> String {
        format!("{}/status", self.base)
    }

    fn leaves_out(self, device: &str) -> bool {
        self.without.is_some_and(|index| MOVABLE[index % MOVABLE.len()] == device)
    }
}

/// Announces each device in one message, and those that are not ready in another.
#[derive(Debug)]
struct Words {
    hub: HubId,
    base: &'static str,
    devices: BTreeSet<String>,
}

impl Announcer for Words {
    fn announcements(&self, known: &Known<'_>) -> Vec<Announcement> {
        let all = announcements(self.hub, self.base, &self.devices, known.prefix, |device| {
            known.statuses.get(device).map(|status| status.word.to_owned())
        });
        all.into_iter()
            .map(|(topic, payload)| Announcement { topic, payload, parts: BTreeMap::new() })
            .collect()
    }

    fn snapshot(&self, device: &str, states: &BTreeMap<&str, &[u8]>) -> Option<Bytes> {
        let has = MOVABLE.first().is_some_and(|first| *first == device);
        has.then(|| format!("{} states", states.len()).into())
    }
}

impl World {
    /// The configuration of a hub says otherwise what it announces.
    pub(super) fn announce_otherwise(&mut self, hub: HubId, announces: Option<Announces>) {
        self.reach(match (announces, self.hub(hub).daemon.is_some()) {
            (_, false) => Reached::AnnouncesChangedAway,
            (Some(_), true) => Reached::Announces,
            (None, true) => Reached::AnnouncesNothing,
        });
        self.hub_mut(hub).announces = announces;
        self.reload(hub);
    }

    /// One of the announcements that a hub's store speaks of was made at another broker only.
    pub(super) fn announced_elsewhere(&mut self, hub: HubId) {
        let mut topics = self.broker.retained.keys().filter(|topic| is_announcement(hub, topic));
        if let Some(topic) = topics.next().cloned() {
            self.broker.retained.remove(&topic);
        }
    }

    /// Returns what a hub is configured to announce.
    pub(super) fn discovery(&self, hub: HubId) -> Option<Discovery> {
        let announces = self.hub(hub).announces?;
        let devices = self.announced_devices(hub);
        Some(Discovery {
            announcer: Arc::new(Words { hub, base: announces.base, devices: devices.clone() }),
            devices,
            prefix: announces.base.into(),
            start: (announces.start(), STARTED),
        })
    }

    /// Notes which announcements differ from those of the configuration before.
    pub(super) fn note_announcements(&mut self, hub: HubId) {
        let now = self.now;
        let wanted = self.announced(hub, None);
        let machine = self.hub_mut(hub);
        let topics = wanted.keys().chain(machine.announcements.keys());
        let changed =
            topics.filter(|topic| wanted.get(*topic) != machine.announcements.get(*topic));
        let changed: Vec<_> = changed.map(|topic| (topic.clone(), now)).collect();
        machine.announcements_changed.extend(changed);
        machine.announcements = wanted;
    }

    /// Returns the devices that a hub announces now.
    pub(crate) fn announced_devices(&self, hub: HubId) -> BTreeSet<String> {
        let machine = self.hub(hub);
        let Some(announces) = machine.announces else { return BTreeSet::new() };
        let devices = machine.devices.iter().filter(|device| !announces.leaves_out(device));
        devices.map(|&device| device.to_owned()).collect()
    }

    /// Returns what must be retained of a hub's announcements, by topic.
    pub(crate) fn announced(&self, hub: HubId, prefix: Option<&Prefix>) -> BTreeMap<String, Bytes> {
        let Some(announces) = self.hub(hub).announces else { return BTreeMap::new() };
        let status = |device: &str| {
            let state = self.devices.states.get(&(device.to_owned(), "status".to_owned()))?;
            Some(String::from_utf8_lossy(state).into_owned())
        };
        announcements(hub, announces.base, &self.announced_devices(hub), prefix, status)
    }

    /// The topics of start messages that a hub may not be subscribed to now, and the one that it shall be.
    pub(crate) fn start_topics(&self, hub: HubId) -> (Vec<String>, Option<String>) {
        let wanted = self.hub(hub).announces.map(Announces::start);
        let all = Announces::BASES.map(|base| Announces { base, without: None }.start());
        (all.into_iter().filter(|start| Some(start) != wanted.as_ref()).collect(), wanted)
    }

    /// A hub is given a message, which may say that the other program has started.
    pub(super) fn note_start(&mut self, hub: HubId, message: &Message) {
        if Announces::BASES.iter().any(|base| message.topic == format!("{base}/status")) {
            let now = self.now;
            self.hub_mut(hub).told_of_starts.push(now);
        }
    }

    /// The other program says that it has started.
    pub(super) fn assistant_starts(&mut self, base: usize) {
        self.reach(Reached::AssistantStarts);
        let base = Announces::BASES[base % Announces::BASES.len()];
        let message = Message {
            topic: Announces { base, without: None }.start(),
            payload: STARTED.into(),
            qos: QoS::AtLeastOnce,
            ..Message::default()
        };
        self.say_soon(message, None);
    }
}

/// Whether a topic is one of a hub's announcements.
pub(crate) fn is_announcement(hub: HubId, topic: &str) -> bool {
    Announces::BASES.iter().any(|base| {
        let rest = topic.strip_prefix(base).and_then(|rest| rest.strip_prefix('/'));
        let rest = rest.and_then(|rest| rest.strip_prefix(hub.client_id()));
        rest.is_some_and(|rest| rest.starts_with('/'))
    })
}

fn announcements(
    hub: HubId,
    base: &str,
    devices: &BTreeSet<String>,
    prefix: Option<&Prefix>,
    status: impl Fn(&str) -> Option<String>,
) -> BTreeMap<String, Bytes> {
    let prefix = prefix.map(Prefix::as_str).unwrap_or_default();
    let topic = |last: &str| format!("{base}/{}/{last}", hub.client_id());
    let each = devices.iter().map(|device| (topic(device), format!("{device} below /{prefix}")));
    let statuses =
        devices.iter().filter_map(|device| Some(format!("{device} {}", status(device)?)));
    let statuses = statuses.collect::<Vec<_>>().join(", ");
    let all = each.chain([(topic(STATUSES), format!("{statuses} below /{prefix}"))]);
    all.map(|(topic, payload)| (topic, payload.into())).collect()
}

const STARTED: &str = "online";
/// The last level of the topic where the status of all devices is announced.
pub(crate) const STATUSES: &str = "statuses";
