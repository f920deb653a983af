//! What became of the hub's will while it was away.

use serde::Deserialize;

/// What the hub knows about one absence of its own (A1).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Absence {
    /// Names the will: the first characters of its generation.
    pub generation: String,
    /// What became of the will.
    pub outcome: Outcome,
    /// Every answer to the will, in the order of arrival.
    #[serde(default)]
    pub acknowledgements: Vec<Acknowledgement>,
}

impl Absence {
    /// Returns whether somebody acted on the hub's behalf: an answer with a failure's status did nothing.
    pub fn somebody_acted(&self) -> bool {
        let acted = |status: Option<u16>| status.is_none_or(|status| (200..300).contains(&status));
        self.outcome == Outcome::Consumed
            && self.acknowledgements.iter().any(|answer| acted(answer.status))
    }
}

/// What became of a will (MQTT 3.1.2.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The broker did not publish it.
    NotPublished,
    /// The broker published it, and somebody acknowledged: another has acted on the hub's behalf.
    Consumed,
    /// The broker published it, and nobody acknowledged.
    Unconsumed,
    /// It cannot be known.
    Unknown,
}

/// One answer to a will.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Acknowledgement {
    /// Who answered, where it is known.
    #[serde(default)]
    pub responder: Option<String>,
    /// What it did, in its own words.
    pub payload: String,
    /// The status it gave, where it gave one.
    #[serde(default)]
    pub status: Option<u16>,
    /// Whether it came while the hub was away.
    pub before_fence: bool,
}
