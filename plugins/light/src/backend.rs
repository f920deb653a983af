//! What makes a lamp shine.

use std::fmt::Debug;

use hearth_sdk::Failure;
use serde::Deserialize;

use crate::state::State;

/// A way to reach a lamp.
pub(crate) trait Backend: Debug + Send {
    /// Makes the lamp show the state, or leaves it as it is.
    fn apply(&mut self, state: &State) -> Result<(), Failure>;
}

/// The backends that a configuration can name.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Choice {
    /// A lamp that exists in the log alone.
    #[default]
    Simulated,
}

impl Choice {
    pub(crate) fn open(self) -> Box<dyn Backend> {
        match self {
            Self::Simulated => Box::new(Simulated),
        }
    }
}

#[derive(Debug)]
struct Simulated;

impl Backend for Simulated {
    fn apply(&mut self, state: &State) -> Result<(), Failure> {
        let State { on, brightness, color_temperature, .. } = state;
        tracing::debug!(on, brightness, color_temperature, "lamp");
        Ok(())
    }
}
