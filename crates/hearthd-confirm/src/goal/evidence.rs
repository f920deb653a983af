//! What a command learns from the device's states and answers.

use std::time::Duration;

use super::{AFTER_ECHO, Echo, Goal, SLOWEST, Seen};
use crate::{
    Evidence, Readings, Value,
    family::{Reading, Rules, States},
};

/// How long a state that nothing ties to the command must stay uncontradicted.
const FIRMWARE_STANDS: Duration = Duration::from_millis(100);
/// The same if a bridge passes states on: its reports about other things may come between.
const BRIDGE_STANDS: Duration = Duration::from_millis(300);
/// No bridge reads a member of a group in less.
const SOONEST_ANSWER: Duration = Duration::from_millis(2);

impl Goal {
    /// Takes in a state that is not tied to a read.
    pub(crate) fn take_state(
        &mut self,
        now: Duration,
        said: &Readings,
        before: &Readings,
        rules: Rules,
    ) {
        let relevant = said.of_properties(&self.target);
        if self.sent.is_none() || relevant.is_empty() {
            return;
        }
        // What comes at once was on its way before the member was asked, such as a message that came twice.
        let is_too_soon = rules.in_group
            && self.asked.is_some_and(|asked| now.saturating_sub(asked) < SOONEST_ANSWER);
        let may_be_answer = self.unanswered > 0 && !is_too_soon;
        match rules.read {
            Reading::Correlated => {}
            Reading::Uncorrelated if !may_be_answer => {}
            Reading::Uncorrelated => {
                self.answered += 1;
                // What did not reach the device before does by now.
                self.failure = None;
                self.note_answered(now, rules);
            }
            Reading::ByCommand => self.unanswered = 0,
        }
        match (rules.states, rules.read) {
            (_, Reading::Correlated) => {
                for value in relevant.values() {
                    self.doubt(value);
                }
                if relevant.values().any(|value| self.is_met(value)) {
                    self.hint(now, rules);
                }
            }
            (States::Firmware, _) => {
                let earlier = self.in_flight() > 0;
                for value in relevant.values() {
                    let replied = self.seen.get(&value.property());
                    if replied.is_some_and(|seen| seen.evidence == Evidence::Reply) {
                        self.doubt(value);
                        self.hint(now, rules);
                    } else {
                        let stands = if earlier { Duration::MAX } else { now + FIRMWARE_STANDS };
                        self.see(now, value, Evidence::Firmware, stands);
                    }
                }
                if earlier {
                    // The device works on one thing after the other: what it still has to report of earlier commands
                    // follows within the time that it takes for one. Then it is asked anew.
                    let rests = now + FIRMWARE_STANDS + self.took(now).min(SLOWEST);
                    self.rest_until(now, rests);
                }
            }
            (States::Bridge { changes_are_true }, _) => {
                self.claimed.merge(&relevant);
                let met = self.target.are_met_by(&self.claimed);
                if changes_are_true && met && !self.target.are_met_by(before) && !before.is_empty()
                {
                    for value in relevant.values() {
                        self.see(now, value, Evidence::Firmware, now + FIRMWARE_STANDS);
                    }
                    return;
                }
                if self.in_flight() > 0 && !rules.sleepy && (met || self.echo.is_some()) {
                    // The bridge may still report what it makes of earlier commands.
                    self.heard |= met;
                    self.echo = self.echo.or(Some(Echo { at: now, took: self.took(now) }));
                    let rests = now + BRIDGE_STANDS + self.took(now).min(SLOWEST);
                    self.rest_until(now, rests);
                    return;
                }
                match self.echo {
                    None if met => {
                        self.heard = true;
                        self.echo = Some(Echo { at: now, took: self.took(now) });
                        self.hint(now + AFTER_ECHO, rules);
                    }
                    None => {}
                    Some(Echo { at, took }) => {
                        let answers = self.asked.filter(|asked| *asked >= at);
                        if rules.in_group && answers.is_some() && self.answered < 2 && met {
                            // Nothing says how long the member takes: a report of something else may come before the
                            // first answer, and repeat what the group was told.
                            self.hint(now, rules);
                        } else if let Some(asked) = answers {
                            let stands = (now + BRIDGE_STANDS).max(
                                asked
                                    + took.max(self.round_trip).min(SLOWEST)
                                        * (3 + self.in_flight()),
                            );
                            for value in relevant.values() {
                                self.see(now, value, Evidence::ReadBack, stands);
                            }
                        } else if rules.sleepy {
                            self.hint(now, rules);
                        }
                    }
                }
            }
        }
    }

    /// Waits for what earlier messages may bring, and then reads the device.
    fn rest_until(&mut self, now: Duration, rests: Duration) {
        self.reported = Some(now);
        self.rests = Some(rests);
        let end = self.sent.map_or(rests, |sent| self.ends_at(sent));
        self.ask = Some(rests.max(end));
    }

    /// Takes in the answer to the read with this number.
    pub(crate) fn take_reply(&mut self, now: Duration, number: u64, said: &Readings, rules: Rules) {
        if self.first.is_none_or(|first| number < first) {
            return;
        }
        for value in said.of_properties(&self.target).values() {
            self.see(now, value, Evidence::Reply, now);
        }
        self.note_answered(now, rules);
    }

    /// Notes that a read was answered in some way, so that the next can follow.
    pub(crate) fn note_answered(&mut self, now: Duration, rules: Rules) {
        self.unanswered = 0;
        let next = self.asked.map_or(now, |asked| asked + self.interval(now, rules)).max(now);
        let next = if std::mem::take(&mut self.hinted) { now } else { next };
        self.ask = self.ask.map(|ask| ask.min(next));
    }

    /// Drops a reply as outdated if the device has reported another value since.
    fn doubt(&mut self, said: Value) {
        let outdated = |seen: &Seen| self.is_met(seen.value) != self.is_met(said);
        if self.seen.get(&said.property()).is_some_and(outdated) {
            self.seen.remove(&said.property());
        }
    }

    fn see(&mut self, now: Duration, value: Value, evidence: Evidence, stands: Duration) {
        self.failure = None;
        let property = value.property();
        let stands = match self.seen.get(&property) {
            // The value is repeated, and keeps its time.
            Some(seen) if self.is_met(seen.value) && seen.evidence == evidence => seen.stands,
            Some(_) | None => stands,
        };
        self.seen.insert(property, Seen { value, evidence, at: now, stands });
        if self.met_at.is_none() && self.met().is_some() {
            self.met_at = Some(now);
            self.heard = true;
        }
    }
}
