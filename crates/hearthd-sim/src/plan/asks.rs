//! Requests: what is asked of which device, where the response goes, and what a requester does wrong.

use std::time::Duration;

use super::pick;
use crate::link::HubId;

/// A request as a requester makes it.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    /// The hub that is asked, where one is asked for itself.
    pub(crate) hub: HubId,
    pub(crate) target: Target,
    pub(crate) response: Response,
    pub(crate) correlated: Correlated,
    pub(crate) at_least_once: bool,
    pub(crate) expiry: Option<u32>,
    pub(crate) retain: bool,
    pub(crate) requester: Requester,
    /// Whether the requester asks again after this time without an answer.
    pub(crate) patience: Option<Duration>,
    /// How many requests go out at once.
    pub(crate) times: usize,
}

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Requester {
    /// One of the phones.
    Phone(usize),
    /// Somebody who asks to use up what others need.
    Hostile,
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Power,
    Toggle,
    Set,
    Temperature,
    Position,
    Step,
    Read,
    Describe,
    /// A property that the device does not have.
    NoProperty,
    /// A device that nobody has.
    NoDevice,
    /// A device of a responder that is no hub.
    Plug,
    TooLarge,
    Absences,
    Devices,
}

/// Where the response shall go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Response {
    Own,
    None,
    /// To another requester.
    Others,
    /// Outside the prefix, but allowed.
    Allowed,
    /// Outside of what is allowed.
    Forbidden(usize),
}

/// The Correlation Data of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Correlated {
    Unique,
    /// The same as that of other requests: of another requester, or of a counter that has begun again.
    Reused,
    /// Unique, and of so many bytes.
    Long(usize),
    None,
}

impl Ask {
    /// Makes a plain request of one phone to set a property.
    pub(crate) fn plain(target: Target) -> Self {
        Self {
            hub: HubId(0),
            target,
            response: Response::Own,
            correlated: Correlated::Unique,
            at_least_once: true,
            expiry: None,
            retain: false,
            requester: Requester::Phone(0),
            patience: None,
            times: 1,
        }
    }
}

/// Draws a request.
pub(super) fn ask(rng: &mut fastrand::Rng) -> Ask {
    let target = match rng.u32(..100) {
        0..18 => Target::Power,
        18..28 => Target::Toggle,
        28..36 => Target::Set,
        36..48 => Target::Temperature,
        48..58 => Target::Position,
        58..78 => Target::Step,
        78..86 => Target::Read,
        86..89 => Target::Describe,
        89..90 => Target::NoProperty,
        90..92 => Target::NoDevice,
        92..93 => Target::Plug,
        93..95 => Target::TooLarge,
        95..97 => Target::Absences,
        _ => Target::Devices,
    };
    let response = match rng.u32(..100) {
        0..80 => Response::Own,
        80..89 => Response::None,
        89..91 => Response::Others,
        91..95 => Response::Allowed,
        _ => Response::Forbidden(rng.usize(..)),
    };
    let correlated = match rng.u32(..100) {
        0..81 => Correlated::Unique,
        81..88 => Correlated::Reused,
        88..90 => Correlated::Long(*pick(rng, &[65, 300, 2_000])),
        _ => Correlated::None,
    };
    Ask {
        hub: HubId(rng.usize(..)),
        target,
        response,
        correlated,
        at_least_once: rng.u8(..6) > 0,
        expiry: *pick(rng, &[None, None, None, Some(1), Some(5), Some(30), Some(600)]),
        retain: rng.u8(..40) == 0,
        requester: Requester::Phone(rng.usize(..3)),
        patience: pick(rng, &[None, None, Some(2), Some(8)]).map(Duration::from_secs),
        times: if rng.u8(..40) == 0 { rng.usize(2..10) } else { 1 },
    }
}
