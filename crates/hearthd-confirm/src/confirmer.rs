//! The one door to a device, or to a group of them.

use std::{sync::Arc, time::Duration};

use crate::{Availability, Backend, Event, Output, Radio, device::Device, group::Group};

/// Decides whether one device, or each device of a group, did what it was told.
///
/// After each [`handle`](Self::handle) the driver takes all outputs from [`poll_output`](Self::poll_output) and
/// performs them in order. Then it waits for the next event, but at most until [`poll_timeout`](Self::poll_timeout),
/// when it handles [`Event::Elapsed`]. All calls use the same monotonic clock. Each [`Command`](crate::Command) gets
/// exactly one [`Output::Verdict`], at its deadline at the latest.
#[derive(Debug)]
pub struct Confirmer(Kind);

#[derive(Debug)]
enum Kind {
    Device(Box<Device>),
    Group(Box<Group>),
}

impl Confirmer {
    /// Makes a confirmer for the device or group of a table that has no [problems](Backend::problems).
    ///
    /// The salt distinguishes this confirmer's tokens from those of an earlier one: any number that differs from start
    /// to start.
    pub fn new(backend: Backend, salt: u64) -> Self {
        Self(match backend {
            Backend::Zigbee2Mqtt(table) if !table.members.is_empty() => {
                Kind::Group(Box::new(Group::new(&table, salt)))
            }
            backend => Kind::Device(Box::new(Device::new(&backend, salt))),
        })
    }

    /// Lets the device be read in turn with the others behind the same radio.
    #[must_use]
    pub fn sharing(self, radio: Arc<Radio>) -> Self {
        Self(match self.0 {
            Kind::Device(device) => Kind::Device(Box::new(device.sharing(radio))),
            Kind::Group(group) => Kind::Group(Box::new(group.sharing(&radio))),
        })
    }

    /// Handles one event.
    pub fn handle(&mut self, now: Duration, event: Event) {
        match &mut self.0 {
            Kind::Device(device) => device.handle(now, event),
            Kind::Group(group) => group.handle(now, &event),
        }
    }

    /// Returns the next thing to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        match &mut self.0 {
            Kind::Device(device) => device.poll_output(),
            Kind::Group(group) => group.poll_output(),
        }
    }

    /// Returns when [`Event::Elapsed`] is due, at the latest.
    pub fn poll_timeout(&self) -> Option<Duration> {
        match &self.0 {
            Kind::Device(device) => device.poll_timeout(),
            Kind::Group(group) => group.poll_timeout(),
        }
    }

    /// Returns whether the device, or any of the group, can be reached, as far as is known.
    pub fn availability(&self) -> &Availability {
        match &self.0 {
            Kind::Device(device) => device.availability(),
            Kind::Group(group) => group.availability(),
        }
    }
}
