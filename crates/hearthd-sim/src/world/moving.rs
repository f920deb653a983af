//! Devices that come, go and move from one hub to another.

use std::time::Duration;

use hearthd_core::Input;

use super::{Timer, World};
use crate::{
    devices::{self, MOVABLE},
    link::{HubId, Life},
    report::Reached,
};

/// One hub has a device, from a time on, until another.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tenure {
    hub: HubId,
    device: &'static str,
    from: Duration,
    until: Option<Duration>,
}

impl World {
    /// The hub gets a device; whoever had it has it no more.
    pub(super) fn move_device(&mut self, hub: HubId, device: usize) {
        let device = MOVABLE[device % MOVABLE.len()];
        let moves = !self.hub(hub).devices.contains(device);
        self.reach(if moves { Reached::Moved } else { Reached::Removed });
        for other in self.hub_ids().filter(|other| *other != hub) {
            self.take_device(other, device);
        }
        if moves {
            self.give_device(hub, device);
        }
    }

    /// Nobody has a device any more.
    pub(super) fn remove_device(&mut self, device: usize) {
        self.reach(Reached::Removed);
        for hub in self.hub_ids() {
            self.take_device(hub, MOVABLE[device % MOVABLE.len()]);
        }
    }

    /// The hub gets a device that another one has as well, by mistake.
    pub(super) fn share_device(&mut self, hub: HubId, device: usize) {
        let device = MOVABLE[device % MOVABLE.len()];
        let had = self.hub(hub).devices.contains(device);
        let mut others = self.hubs.iter().filter(|other| other.devices.contains(device));
        if !had && others.next().is_some() {
            self.reach(Reached::Shared);
            self.give_device(hub, device);
        }
    }

    /// Notes who begins with what.
    pub(super) fn begin_tenures(&mut self) {
        for hub in self.hub_ids() {
            for device in self.hub(hub).devices.clone() {
                self.tenures.push(Tenure { hub, device, from: Duration::ZERO, until: None });
            }
        }
    }

    /// Whether a hub has had a device at any time from this one on.
    pub(crate) fn had_since(&self, hub: HubId, device: &str, since: Duration) -> bool {
        let mut tenures = self.tenures.iter();
        device == hub.client_id()
            || tenures.any(|tenure| {
                tenure.hub == hub
                    && tenure.device == device
                    && tenure.until.is_none_or(|until| until > since)
            })
    }

    /// Whether a hub has a device now, and has had it all along from this time on.
    pub(crate) fn has_since(&self, hub: HubId, device: &str, since: Duration) -> bool {
        let mut tenures = self.tenures.iter();
        device == hub.client_id()
            || tenures.any(|tenure| {
                tenure.hub == hub
                    && tenure.device == device
                    && tenure.from <= since
                    && tenure.until.is_none()
            })
    }

    fn give_device(&mut self, hub: HubId, device: &'static str) {
        self.note("home", || format!("{device} comes to {}", hub.client_id()));
        self.tenures.push(Tenure { hub, device, from: self.now, until: None });
        self.hub_mut(hub).devices.insert(device);
        self.change_devices(hub);
        self.save(hub, device);
        self.begin_bridges(hub, |other| other == device);
        self.report_device(hub, device);
    }

    fn take_device(&mut self, hub: HubId, device: &'static str) {
        if !self.hub_mut(hub).devices.remove(device) {
            return;
        }
        self.note("home", || format!("{device} leaves {}", hub.client_id()));
        let now = self.now;
        let ended = |tenure: &&mut Tenure| {
            tenure.hub == hub && tenure.device == device && tenure.until.is_none()
        };
        if let Some(tenure) = self.tenures.iter_mut().find(ended) {
            tenure.until = Some(now);
        }
        self.change_devices(hub);
        if self.rng.u8(..3) == 0 {
            let life = self.hub(hub).life;
            let delay = Duration::from_millis(self.rng.u64(..LATEST_REPORT));
            self.after(delay, Timer::ReportTooLate { life, device });
        }
    }

    /// What a device says last may wait while the hub lets it go.
    pub(super) fn report_too_late(&mut self, life: Life, device: &'static str) {
        let hub = life.hub;
        if self.hub(hub).life == life && !self.hub(hub).devices.contains(device) {
            self.reach(Reached::ToldTooLate);
            self.report_device(hub, device);
        }
    }

    /// The devices of a hub are others: by its configuration, or because a device has added or removed one of its own.
    fn change_devices(&mut self, hub: HubId) {
        if self.tenures.len().is_multiple_of(2) {
            return self.reload(hub);
        }
        let devices = devices::policies(&self.hub(hub).devices, &self.setup);
        self.reach(Reached::Added);
        self.note_announcements(hub);
        let (device, children) = ("bridge".to_owned(), "known".into());
        let discovery = self.discovery(hub);
        self.feed(hub, Input::Children { device, children, devices, discovery });
    }

    /// The configuration of a hub has changed; one that is not there reads it when it starts.
    pub(super) fn reload(&mut self, hub: HubId) {
        let machine = self.hub(hub);
        let away = machine.daemon.as_ref().is_none_or(|daemon| daemon.away.is_some());
        let devices = devices::policies(&machine.devices, &self.setup);
        self.reach(if away { Reached::ChangedAway } else { Reached::Reloaded });
        self.note_announcements(hub);
        let discovery = self.discovery(hub);
        self.feed(hub, Input::Discovery(discovery));
        self.feed(hub, Input::Devices(devices));
    }
}

/// How many milliseconds after a device has gone its last report may come.
const LATEST_REPORT: u64 = 1_500;
