//! The one answer to a command.

use std::{fmt, time::Duration};

use crate::{Property, Readings, Value};

/// The one answer to a command.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// 200: the device itself reports the wanted values.
    Confirmed {
        /// The values read.
        readings: Readings,
        /// The weakest evidence among them.
        evidence: Evidence,
    },
    /// 503: the device cannot be reached.
    Unreachable {
        /// Why, for people.
        reason: String,
        /// Since when that is known, on the confirmer's clock.
        since: Duration,
    },
    /// 500: the device was reached, and is not as wanted.
    Refused {
        /// The values that are still not as wanted.
        still: Readings,
        /// The device's reason, if it gave one.
        reason: Option<String>,
    },
    /// 409: the outcome is unknown; the command may still take effect.
    Indeterminate {
        /// Why it is not known.
        doubt: Doubt,
        /// The last known values of the wanted properties.
        last: Readings,
    },
    /// 422: the device cannot do it; nothing was changed.
    Unsupported {
        /// What the device cannot do, for people.
        reason: String,
    },
    /// A group of which not all members have confirmed: what became of the command at each, by name. The status is
    /// that of the [worst](Verdict::worst).
    Members(Vec<(String, Verdict)>),
}

/// Where a value comes from; a later variant is better evidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Evidence {
    /// A state that was read back through a bridge, and not contradicted while an answer to the read could arrive.
    ReadBack,
    /// A state from the firmware that switches the device, not contradicted at once.
    Firmware,
    /// A reply that can only belong to this command or read.
    Reply,
}

/// Why the outcome of a command is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// Nothing arrived that proves the outcome.
    Silence,
    /// The state is as wanted, but there was no time to distinguish it from a report about an earlier state.
    Unsettled,
    /// The change takes longer than the deadline.
    Transition,
    /// The device sleeps, and takes the command when it wakes.
    Queued,
    /// A newer command for the same property replaced this one.
    Superseded,
    /// The connection to the broker was lost after the command was sent.
    LinkLost,
    /// The command is a toggle, and the present state is unknown.
    Unknown,
}

impl Verdict {
    /// Returns the verdict of the member that decides: one that was read and is not as wanted goes first, then one
    /// that cannot be reached, then one of which nothing is known. Of a single device it is the verdict itself.
    pub fn worst(&self) -> &Self {
        let Self::Members(members) = self else { return self };
        members
            .iter()
            .map(|(_, verdict)| verdict)
            .max_by_key(|verdict| verdict.weight())
            .unwrap_or(self)
    }

    fn weight(&self) -> u8 {
        match self {
            Self::Confirmed { .. } => 0,
            Self::Unsupported { .. } => 1,
            Self::Indeterminate { .. } => 2,
            Self::Unreachable { .. } => 3,
            Self::Refused { .. } => 4,
            Self::Members(_) => 5,
        }
    }

    /// Returns the status of the answer, as the hub's requests have it.
    pub fn status(&self) -> u16 {
        match self.worst() {
            Self::Confirmed { .. } => 200,
            Self::Unreachable { .. } => 503,
            Self::Refused { .. } => 500,
            Self::Indeterminate { .. } => 409,
            Self::Unsupported { .. } => 422,
            // A group has members.
            Self::Members(_) => 409,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Confirmed { readings, .. } => write!(f, "confirmed: {readings}"),
            Self::Unreachable { reason, .. } => write!(f, "unreachable: {reason}"),
            Self::Refused { still, reason } => {
                write!(f, "refused: still ")?;
                match (still.len(), still.get(Property::Power)) {
                    (1, Some(Value::Power(on))) => f.write_str(if on { "ON" } else { "OFF" })?,
                    _ => write!(f, "{still}")?,
                }
                reason.as_ref().map_or(Ok(()), |reason| write!(f, " ({reason})"))
            }
            Self::Indeterminate { doubt, last } => {
                write!(f, "indeterminate: {doubt}")?;
                if last.is_empty() { Ok(()) } else { write!(f, "; last known {last}") }
            }
            Self::Unsupported { reason } => f.write_str(reason),
            Self::Members(members) => {
                let mut sorted: Vec<&(String, Self)> = members.iter().collect();
                sorted.sort_by_key(|(_, verdict)| std::cmp::Reverse(verdict.weight()));
                for (place, (name, verdict)) in sorted.into_iter().enumerate() {
                    write!(f, "{}{name}: {verdict}", if place > 0 { "; " } else { "" })?;
                }
                Ok(())
            }
        }
    }
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Silence => "the device has not confirmed it",
            Self::Unsettled => "the confirmation came too late to be sure of it",
            Self::Transition => "the transition takes longer than the deadline",
            Self::Queued => "queued, the device takes it when it wakes",
            Self::Superseded => "a newer command replaced it",
            Self::LinkLost => "the connection to the broker was lost",
            Self::Unknown => "the present state is not known",
        })
    }
}
