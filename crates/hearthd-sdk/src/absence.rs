//! The outcome of the hub's will while the hub was away.

use serde::Deserialize;

/// What the hub knows about one absence of its own (A1).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Absence {
    /// Identifies the will: the first characters of its generation.
    pub generation: String,
    /// The outcome of the will.
    pub outcome: Outcome,
    /// Every answer to the will, in the order of arrival.
    #[serde(default)]
    pub acknowledgements: Vec<Acknowledgement>,
}

impl Absence {
    /// Returns whether somebody acted for the hub; an answer with a failure's status does not count.
    pub fn somebody_acted(&self) -> bool {
        let acted = |status: Option<u16>| status.is_none_or(|status| (200..300).contains(&status));
        self.outcome == Outcome::Consumed
            && self.acknowledgements.iter().any(|answer| acted(answer.status))
    }
}

/// The outcome of a will (MQTT 3.1.2.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The broker did not publish it.
    NotPublished,
    /// The broker published it, and somebody acknowledged: another client has acted for the hub.
    Consumed,
    /// The broker published it, and nobody acknowledged.
    Unconsumed,
    /// The outcome is unknown.
    Unknown,
}

/// One answer to a will.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Acknowledgement {
    /// The responder, if it is known.
    #[serde(default)]
    pub responder: Option<String>,
    /// What the responder did, in its own words.
    pub payload: String,
    /// The responder's status, if it gave one.
    #[serde(default)]
    pub status: Option<u16>,
    /// Whether the answer came while the hub was away.
    pub before_fence: bool,
}
