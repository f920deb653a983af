//! How much the broker takes at once.

use crate::{Connack, Limits, Message};

/// How many messages the broker gets before it acknowledges, and how large they may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    pub(super) size: usize,
    /// How many of the devices' own messages, beside those.
    devices: usize,
    maximum_packet_size: Option<u32>,
    limits: Limits,
}

impl Window {
    /// Derives the window from CONNACK: half of what broker and client library can have in flight, and bounded.
    pub(crate) fn new(connack: &Connack) -> Self {
        let receive_maximum = usize::from(connack.receive_maximum);
        let size = (receive_maximum.min(LIBRARY_LIMIT) / 2).clamp(1, LARGEST_WINDOW);
        Self {
            size,
            // Both together are less than the broker takes.
            devices: (size / 4).max(1).min(receive_maximum - size.min(receive_maximum)),
            maximum_packet_size: connack.maximum_packet_size,
            limits: connack.limits,
        }
    }

    /// Allows one message at a time.
    pub(crate) fn of_one(self) -> Self {
        Self { size: 1, ..self }
    }

    /// Returns how many of the devices' own messages the broker gets before it acknowledges; none where it takes so few
    /// that an answer would have to wait for them.
    pub(crate) fn of_devices(self) -> usize {
        self.devices
    }

    /// Makes a message what the broker takes.
    pub(crate) fn limit(self, message: &mut Message) {
        self.limits.apply(message);
    }

    /// Returns how large a packet may be, in bytes.
    pub(crate) fn maximum_packet_size(self) -> usize {
        self.maximum_packet_size.map_or(usize::MAX, |maximum| maximum as usize)
    }
}

/// What the client library keeps in flight at most.
const LIBRARY_LIMIT: usize = 256;
/// More than a round trip to a busy broker holds up; a quarter of the library's packet identifiers, so that none comes
/// round while it is in use.
const LARGEST_WINDOW: usize = 64;
