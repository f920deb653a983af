//! What hostile or careless clients do.

use super::{Ask, Correlated, Requester, Target, pick};
use crate::link::HubId;

/// What a stranger does to a hub.
#[derive(Clone, Debug)]
pub(crate) enum Mischief {
    /// Says something in the place of a hub's presence.
    Presence { hub: HubId, says: &'static str, knows: Knowledge, retain: bool },
    /// Says that it has acted on a hub's will, so many times.
    Acknowledge { hub: HubId, knows: Knowledge, names: Names, times: usize, length: usize },
    /// Sends junk to what a hub publishes to itself.
    Junk { hub: HubId, purpose: &'static str, knows: Knowledge },
    /// Says how a device is, in the name of a hub that is made up, or of nobody.
    Status { device: usize, hub: Option<&'static str>, retain: bool },
    /// Asks for much more than its share.
    Flood(Ask),
    /// Sends what somebody else has asked, so many requests ago, as if it were a repeat of its own.
    Copy { back: usize },
}

/// What a stranger has in the Correlation Data: it sees all that is published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Knowledge {
    None,
    /// Something that looks right.
    MadeUp,
    /// What the hub, or its will, has published, so many messages back.
    Seen(usize),
}

/// What name a stranger gives for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Names {
    None,
    One,
    /// Another one each time.
    Many,
    /// What only a broker that vouches for senders may say.
    Stamped,
}

/// Draws what a stranger does.
pub(super) fn mischief(rng: &mut fastrand::Rng) -> Mischief {
    let hub = HubId(rng.usize(..));
    match rng.u32(..100) {
        0..30 => Mischief::Presence {
            hub,
            says: SAYINGS[rng.usize(..SAYINGS.len())],
            knows: knowledge(rng),
            retain: rng.bool(),
        },
        30..65 => Mischief::Acknowledge {
            hub,
            knows: knowledge(rng),
            names: *pick(rng, &[Names::None, Names::One, Names::Many, Names::Stamped]),
            times: *pick(rng, &[1, 1, 1, 20, 60]),
            length: *pick(rng, &[0, 10, 10, 300, 5_000]),
        },
        65..80 => Mischief::Junk {
            hub,
            purpose: PURPOSES[rng.usize(..PURPOSES.len())],
            knows: knowledge(rng),
        },
        80..90 => Mischief::Status {
            device: rng.usize(..),
            hub: *pick(rng, &[Some("cellar"), Some("cellar"), Some("hub"), None]),
            retain: rng.bool(),
        },
        90..95 => Mischief::Flood(greed(rng)),
        _ => Mischief::Copy { back: rng.usize(..6) },
    }
}

fn knowledge(rng: &mut fastrand::Rng) -> Knowledge {
    match rng.u8(..6) {
        0 => Knowledge::None,
        1 => Knowledge::MadeUp,
        _ => Knowledge::Seen(*pick(rng, &[0, 0, 0, 1, 2, 5])),
    }
}

/// Draws a request that is sent too often, or is too large.
fn greed(rng: &mut fastrand::Rng) -> Ask {
    let target = *pick(rng, &[Target::Temperature, Target::Step, Target::Read]);
    let large = rng.bool();
    Ask {
        correlated: if large { Correlated::Long(60_000) } else { Correlated::Unique },
        at_least_once: rng.bool(),
        requester: Requester::Hostile,
        times: if large { *pick(rng, &[12, 17, 40]) } else { *pick(rng, &[30, 100, 300]) },
        ..Ask::plain(target)
    }
}

/// What is said in the place of a hub's presence.
const SAYINGS: [&str; 6] = ["offline", "offline", "online", "online", "gone fishing", ""];
/// What a hub listens to below its own response topic.
const PURPOSES: [&str; 5] = ["fence", "session", "will", "request", "retained"];
