//! What devices do: their effects and answers, and what they save in the store of their hub.

use bytes::Bytes;
use hearthd_core::Input;

use std::time::Duration;

use super::{Occasion, Timer, World, lossy};
use crate::{
    devices::{Devices, MOVABLE},
    invariants::Invariant,
    link::{HubId, Life},
    report::Reached,
    store::Damage,
};

impl World {
    /// Carries out what is due on the devices.
    pub(super) fn devices_work(&mut self) {
        while let Some((device, property, payload)) = self.devices.take_effect(self.now) {
            self.note("device", || format!("{device}/{property} is {}", lossy(&payload)));
            self.report(&device, &property, payload);
        }
        while let Some((life, device, request, answer, reads)) = self.devices.take_answer(self.now)
        {
            if life == self.hub(life.hub).life {
                self.save(life.hub, &device);
                self.bridges.answered(life, request);
                self.questions.answered(life, request);
                let occasion = if reads { Occasion::Read } else { Occasion::Other };
                self.feed_on(occasion, life.hub, Input::Answered { request, answer });
            }
        }
    }

    /// Tells the hubs how that has ended which their devices have accepted.
    pub(super) fn devices_end(&mut self) {
        while let Some((life, request, answer)) = self.devices.take_end(self.now) {
            if life == self.hub(life.hub).life {
                self.reach(Reached::Ended);
                self.ledger.note_ended(life, request);
                self.feed(life.hub, Input::Ended { request, answer });
            }
        }
    }

    /// The devices of a hub begin with its daemon; some take a while until they tell how they are.
    pub(super) fn begin_devices(&mut self, hub: HubId, rng: &mut fastrand::Rng) {
        let life = self.hub(hub).life;
        for device in self.hub(hub).devices.clone() {
            let delay = Duration::from_millis(rng.u64(1..7_000));
            if rng.u8(..6) == 0 {
                self.reach(Reached::SlowStarts);
                self.devices.hold_back(device, self.now + delay);
                self.after(delay, Timer::DeviceBegins { life, device });
            } else {
                self.report_device(hub, device);
            }
        }
    }

    /// A device tells how it is, if its hub is still in this life.
    pub(super) fn begin_device(&mut self, life: Life, device: &'static str) {
        let machine = self.hub(life.hub);
        if machine.life == life && machine.devices.contains(device) {
            self.note("device", || format!("{device} begins"));
            self.report_device(life.hub, device);
        }
    }

    /// A device's plugin crashes.
    pub(super) fn restart_device(&mut self, device: usize, away: Duration) {
        let (device, _) = Devices::property(device);
        let back = self.now + away;
        if self.devices.restart(self.now, device, back) {
            self.reach(Reached::DeviceRestarts);
            let status = self.devices.status(device);
            self.report(device, "status", status);
            self.at(back, Timer::DeviceBeginsAgain(device));
        }
    }

    /// It begins again, and tells what it is.
    pub(super) fn begin_again(&mut self, device: &'static str) {
        self.note("device", || format!("{device} begins again"));
        let properties = self.devices.begin_again(device);
        if properties.is_empty() {
            return;
        }
        for property in properties {
            let key = (device.to_owned(), property.to_owned());
            let state = self.devices.states.get(&key).cloned().unwrap_or_default();
            self.report(device, property, state);
        }
        let status = self.devices.status(device);
        self.report(device, "status", status);
    }

    /// A device has its hub store what it is.
    pub(super) fn save(&mut self, hub: HubId, device: &str) {
        if MOVABLE.contains(&device) {
            let state = self.devices.saved_form(device);
            self.feed(hub, Input::Saved { device: device.to_owned(), state });
        }
    }

    /// The devices that lived in a hub are what its store holds: whatever an answer has told is among that.
    pub(super) fn devices_forget(&mut self, hub: HubId, damage: Damage) {
        let machine = self.hub(hub);
        let lost = damage == Damage::Lost || machine.life.store > 0;
        let alone = |device: &str| {
            self.hubs.iter().filter(|other| other.devices.contains(device)).count() == 1
        };
        let excused: Vec<&str> = machine
            .devices
            .iter()
            .copied()
            .filter(|device| lost || machine.ended_unwritten || !alone(device))
            .collect();
        for device in self.hub(hub).devices.clone() {
            if self.devices.begin_with_hub(device) {
                let status = self.devices.status(device);
                self.report(device, "status", status);
            }
            if !MOVABLE.contains(&device) {
                continue;
            }
            let saved = self.hub(hub).store.saved.get(device).cloned().unwrap_or_default();
            for (property, now, before) in self.devices.changes_to(device, &saved) {
                self.reach(Reached::Forgotten);
                self.note("device", || format!("{device}/{property} is {} again", lossy(&before)));
                let told = self.devices.told_since(hub, device, &property, &before);
                self.require(told.is_none() || excused.contains(&device), Invariant::Durable, || {
                    let (told, now) = (lossy(&told.unwrap_or_default()), lossy(&now));
                    format!(
                        "{device}/{property} was {now}, {told} was answered, and it is {} again",
                        lossy(&before)
                    )
                });
                self.devices.forget_told(device, &property);
                self.report(device, &property, before);
            }
        }
    }

    /// The broker has an answer that tells how a device is.
    pub(crate) fn note_told(&mut self, hub: HubId, index: usize, payload: &Bytes) {
        let asked = &self.ledger.asked[index];
        if asked.sets && self.has_since(hub, asked.device, asked.first_sent) {
            let (device, property, first) = (asked.device, asked.property, asked.first_sent);
            let (property, state) = match property {
                "set" => ("position", crate::devices::position(payload)),
                property => (property, payload.clone()),
            };
            self.devices.note_told(hub, device, property, state, first);
        }
    }
}
