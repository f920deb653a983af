//! Whether a device can be reached.

use std::time::Duration;

/// Whether a device can be reached, as far as is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Availability {
    /// Nothing is known yet.
    #[default]
    Unknown,
    /// There is no sign against it.
    Online,
    /// It cannot be reached.
    Offline {
        /// What is away.
        part: Part,
        /// Why, for people.
        reason: String,
        /// Since when that is known, on the confirmer's clock.
        since: Duration,
    },
}

/// A part of the way from the requester to the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// The connection to the broker.
    Link,
    /// The bridge that speaks to the device.
    Bridge,
    /// The device.
    Device,
}

/// What is known of each part.
#[derive(Clone, Debug, Default)]
pub(crate) struct Parts {
    /// Whether there is a connection, and since when.
    pub(crate) link: Said,
    /// The bridge's own report.
    pub(crate) bridge: Said,
    /// The device's own report.
    pub(crate) device: Said,
    /// Why the last command or read failed, until the device reports something again.
    pub(crate) failure: Option<(String, Duration)>,
}

/// What a topic reports, and since when.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Said {
    #[default]
    Nothing,
    Online(Duration),
    Offline(Duration),
}

impl Said {
    /// Returns the present report, with the time at which it began.
    pub(crate) fn then(self, now: Duration, online: bool) -> Self {
        match (self, online) {
            (Self::Online(_), true) | (Self::Offline(_), false) => self,
            (Self::Nothing | Self::Offline(_), true) => Self::Online(now),
            (Self::Nothing | Self::Online(_), false) => Self::Offline(now),
        }
    }

    pub(crate) fn is_online(self) -> bool {
        matches!(self, Self::Online(_))
    }

    pub(crate) fn offline_since(self) -> Option<Duration> {
        match self {
            Self::Offline(since) => Some(since),
            Self::Nothing | Self::Online(_) => None,
        }
    }
}

impl Parts {
    /// Returns whether the device can be reached.
    pub(crate) fn availability(&self, bridge: &str) -> Availability {
        let offline = |part, reason: &str, since| Availability::Offline {
            part,
            reason: reason.to_owned(),
            since,
        };
        if let Some(since) = self.link.offline_since() {
            return offline(Part::Link, "no connection to the broker", since);
        }
        if let Some(since) = self.bridge.offline_since() {
            return offline(Part::Bridge, &format!("{bridge} is offline"), since);
        }
        if let Some(since) = self.device.offline_since() {
            return offline(Part::Device, "the device is offline", since);
        }
        if let Some((reason, since)) = &self.failure {
            return offline(Part::Device, reason, *since);
        }
        if self.bridge.is_online() || self.device.is_online() {
            Availability::Online
        } else {
            Availability::Unknown
        }
    }
}
