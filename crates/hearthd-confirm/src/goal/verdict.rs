//! The verdict on a command at its deadline.

use std::time::Duration;

use super::{BETWEEN_ASKS, Goal, Seen};
use crate::{
    Doubt, Readings, Verdict,
    family::{Reading, Rules},
};

/// How long after the end of a transition a device may still report intermediate values.
const AFTER_TRANSITION: Duration = Duration::from_millis(1_500);

impl Goal {
    /// Returns the verdict on the command at its deadline.
    pub(crate) fn concluded(&self, now: Duration, rules: Rules, last: &Readings) -> Verdict {
        let last = last.of_properties(&self.target);
        let doubt = |doubt| Verdict::Indeterminate { doubt, last: last.clone() };
        if self.met().is_some() {
            return doubt(Doubt::Unsettled);
        }
        if let Some(reason) = self.failure.as_deref().or(self.unpublished) {
            return Verdict::Unreachable {
                reason: reason.to_owned(),
                since: self.sent.unwrap_or(now),
            };
        }
        let still: Readings = self
            .seen
            .values()
            .filter(|seen| !self.is_met(seen.value) && self.is_final(seen, rules))
            .map(|seen| seen.value)
            .collect();
        let moves = self.sent.is_some_and(|sent| {
            self.transition > 0.0 && now < self.ends_at(sent) + AFTER_TRANSITION
        });
        if moves {
            return doubt(Doubt::Transition);
        }
        if !still.is_empty() {
            return Verdict::Refused { still, reason: self.refusal.clone() };
        }
        if rules.sleepy {
            return doubt(Doubt::Queued);
        }
        let silent = self.unanswered > 0 && self.unanswered == self.asks;
        if rules.read == Reading::Correlated && silent {
            let reason = "nothing answers".to_owned();
            return Verdict::Unreachable { reason, since: self.sent.unwrap_or(now) };
        }
        doubt(if self.toggles { Doubt::Unknown } else { Doubt::Silence })
    }

    /// Returns whether a value that is not as wanted is the device's present state, and not an earlier one.
    fn is_final(&self, seen: &Seen, rules: Rules) -> bool {
        let late =
            self.sent.is_some_and(|sent| self.transition <= 0.0 || seen.at >= self.ends_at(sent));
        // After two reads without an answer, the device may have changed.
        let fresh = match rules.read {
            Reading::Correlated => self.unanswered <= 1,
            Reading::Uncorrelated => self
                .asked
                .is_none_or(|asked| asked <= seen.at + BETWEEN_ASKS[BETWEEN_ASKS.len() - 1] * 2),
            Reading::ByCommand => self.unanswered <= 1,
        };
        late && fresh
    }
}
