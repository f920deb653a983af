//! A device that cannot reach what it stands for is never told to be ready, and no read of it shows a state as it is.

use hearthd_core::Message;

use super::Invariant;
use crate::{
    devices::READY,
    link::HubId,
    report::Reached,
    world::{World, home::topics, network::show_message},
};

impl World {
    /// A hub tells how a device is: as the device has said last, and since when it is out of reach.
    pub(crate) fn check_status(&mut self, hub: HubId, message: &Message) {
        if !message.retain || message.payload.is_empty() {
            return;
        }
        let prefix = self.connection_prefix(hub);
        let Some(values) = topics().state.match_name(prefix.as_ref(), &message.topic) else {
            return;
        };
        let device = values.get("device").unwrap_or_default();
        if values.get("property") != Some("status") || !self.has_since(hub, device, self.now) {
            return;
        }
        let since = self.devices.out_of_reach(device);
        if since.is_some() {
            self.reach(Reached::Unreachable);
        }
        let is = self.devices.status(device);
        let holds = message.payload == is && message.user_property("since") == since.as_deref();
        self.require(holds, Invariant::Reach, || {
            format!("{device} is out of reach since {since:?}, and told: {}", show_message(message))
        });
    }

    /// The broker has the answer to a read: the device was in reach at some time after it was asked for.
    pub(super) fn check_reach_of_read(&mut self, index: usize, message: &Message) {
        let asked = &self.ledger.asked[index];
        let (device, property) = (asked.device, asked.property);
        let key = (device.to_owned(), property.to_owned());
        let shows = message.user_property("__stat") == Some("200");
        if asked.sets || asked.ambiguous || !shows || !self.devices.states.contains_key(&key) {
            return;
        }
        let holds = self.devices.had_since(device, "status", READY, asked.first_sent);
        self.require(holds, Invariant::Reach, || {
            format!("{device} was out of reach all along, and answers {}", show_message(message))
        });
    }
}
