//! Why something did not follow, and whether it can be reached at all.

use std::fmt;

use hearthd_program::ProgramError;
use hearthd_sdk::{Context, Failure};

use crate::OutputError;

/// Why a lamp or a heater did not do what it was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DriveError {
    reason: String,
    unreachable: bool,
}

impl DriveError {
    /// Returns whether it cannot be reached at all: its files or its line are not to be had, its program cannot be
    /// started or says so with its exit code.
    pub fn is_unreachable(&self) -> bool {
        self.unreachable
    }

    /// Returns the answer to a request that it did not carry out.
    pub fn failure(&self) -> Failure {
        if self.unreachable {
            Failure::unreachable(&self.reason)
        } else {
            Failure::failed(&self.reason)
        }
    }

    /// Tells the hub whether it can be reached.
    pub fn tell(&self, context: &Context) {
        if self.unreachable { context.unreachable(&self.reason) } else { context.reachable() }
    }

    /// Puts a name before the reason.
    #[must_use]
    pub fn of(self, what: &str) -> Self {
        Self { reason: format!("{what}: {}", self.reason), ..self }
    }
}

impl fmt::Display for DriveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl std::error::Error for DriveError {}

impl From<OutputError> for DriveError {
    fn from(error: OutputError) -> Self {
        Self { reason: error.to_string(), unreachable: true }
    }
}

impl From<ProgramError> for DriveError {
    fn from(error: ProgramError) -> Self {
        Self { unreachable: error.is_unreachable(), reason: error.to_string() }
    }
}
