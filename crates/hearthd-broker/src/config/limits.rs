//! `[limits]`: how much clients may use.

use std::time::Duration;

use hearthd_config::{Reader, Section, units};

use crate::core::Limits;

/// What the driver keeps to.
#[derive(Clone, Debug)]
pub(crate) struct DriverLimits {
    /// Connections at once.
    pub connections: usize,
    /// Connections that are not logged in.
    pub strangers: usize,
    /// The same from one address.
    pub strangers_of_address: usize,
    /// Largest packet before the login.
    pub packet_before_login: usize,
    /// Bytes of packets that are not whole, of all connections together.
    pub receiving: usize,
    /// Time from the connection to the end of the CONNECT.
    pub login_time: Duration,
}

impl Default for DriverLimits {
    fn default() -> Self {
        Self {
            connections: 1_000,
            strangers: 256,
            strangers_of_address: 128,
            packet_before_login: 64 * 1024,
            receiving: 8 * 1024 * 1024,
            login_time: Duration::from_secs(10),
        }
    }
}

/// Reads `[limits]`.
pub(super) fn limits(reader: &mut Reader, root: &mut Section<'_>) -> (Limits, DriverLimits) {
    let (mut core, mut driver) = (Limits::default(), DriverLimits::default());
    let mut section = reader.section(root, "limits");
    for (key, value) in [
        ("connections", &mut driver.connections),
        ("strangers", &mut driver.strangers),
        ("strangers_of_address", &mut driver.strangers_of_address),
        ("sessions", &mut core.sessions),
        ("sessions_of_account", &mut core.sessions_of_account),
        ("subscriptions", &mut core.subscriptions),
    ] {
        let number = reader.parsed(&mut section, key, |v| units::whole_number(v, 1, MOST));
        *value = number.unwrap_or(*value);
    }
    let mut packet = core.packet as usize;
    for (key, value, most) in [
        ("packet_before_login", &mut driver.packet_before_login, LARGEST_PACKET),
        ("packet", &mut packet, LARGEST_PACKET),
        ("receiving", &mut driver.receiving, MOST),
        ("session_queue", &mut core.session_queue, MOST),
        ("queues", &mut core.queues, MOST),
        ("retained", &mut core.retained, MOST),
    ] {
        let size = reader.parsed(&mut section, key, |v| units::size(v, SMALLEST, most));
        *value = size.unwrap_or(*value);
    }
    core.packet = u32::try_from(packet).unwrap_or(core.packet);
    core.session_expiry = reader
        .parsed(&mut section, "session_expiry", |v| units::whole_seconds(v, 1, u32::MAX))
        .unwrap_or(core.session_expiry);
    reader.finish(section);
    (core, driver)
}

const SMALLEST: usize = 1024;
/// 256 MiB, more than which MQTT has no packet of (MQTT 2.1.4).
const LARGEST_PACKET: usize = 256 * 1024 * 1024;
/// More is a slip of the pen: 2 GiB.
const MOST: usize = 2 * 1024 * 1024 * 1024;
