//! What a confirmer learns: from the device, its bridge and the connection.

use std::time::Duration;

use super::{Device, IN_FLIGHT, Question, RETRY};
use crate::{
    CommandId, Evidence, Message, Output, PublishError, Readings, Token, Verdict,
    family::{Meaning, Reading, Reply, States},
    goal::{Goal, SLOWEST},
};

/// A bridge reports states from its memory for this long after its start.
const REPLAY: Duration = Duration::from_secs(2);

impl Device {
    pub(super) fn message(&mut self, message: &Message) {
        for meaning in self.dialect.understand(message) {
            match meaning {
                Meaning::Bridge(online) => self.bridge(online, message.retained),
                Meaning::Device(online) => self.device(online, message.retained),
                Meaning::State(readings) => self.state(&readings, message.retained),
                Meaning::Reply(token, reply) => self.reply(token, reply),
                Meaning::Trouble(reason) => {
                    for goal in &mut self.goals {
                        goal.failure = Some(reason.clone());
                    }
                }
            }
        }
    }

    fn bridge(&mut self, online: bool, retained: bool) {
        self.parts.bridge = self.parts.bridge.then(self.now, online);
        if !(online && retained) {
            self.goals.iter_mut().for_each(Goal::interrupt);
        }
        if !online {
            return;
        }
        self.replays_until = self.now + REPLAY;
        // What was read before cannot be told from what the bridge remembers.
        self.look = None;
        self.refresh();
        if retained {
            return;
        }
        // What was sent before the bridge has started is lost.
        self.in_flight = None;
        for goal in self.goals.iter_mut().filter(|goal| goal.sent.is_some()) {
            goal.again = Some(self.replays_until);
        }
    }

    fn device(&mut self, online: bool, retained: bool) {
        let was_offline = self.parts.device.offline_since().is_some();
        self.parts.device = self.parts.device.then(self.now, online);
        if online {
            self.parts.failure = None;
        } else {
            self.goals.iter_mut().for_each(Goal::interrupt);
        }
        if online && was_offline {
            // It may have been switched meanwhile.
            self.refresh();
        }
        if online && was_offline && !retained {
            for goal in self.goals.iter_mut().filter(|goal| goal.sent.is_some()) {
                goal.again = Some(self.now);
            }
        }
    }

    fn state(&mut self, readings: &Readings, retained: bool) {
        let remembered =
            matches!(self.rules.states, States::Bridge { .. }) && self.now < self.replays_until;
        let before = self.last.clone();
        self.last.merge(readings);
        let by_firmware = self.rules.states == States::Firmware;
        let evidence = (by_firmware && !retained).then_some(Evidence::Firmware);
        self.outputs.push_back(Output::Observed { readings: readings.clone(), evidence });
        if retained || remembered {
            return;
        }
        if by_firmware {
            self.parts.failure = None;
            // Somebody else has switched it, and a command that was on its way meanwhile may do so again.
            let commanded = self.commanded_at.is_some_and(|at| self.now <= at + IN_FLIGHT);
            if commanded && self.goals.is_empty() && !readings.are_met_by(&self.confirmed) {
                self.doubt_state();
            }
            self.confirmed.merge(readings);
        }
        if self.rules.in_group
            && let Some(took) = self.goals.iter().filter_map(|goal| goal.read_took(self.now)).max()
        {
            self.note_round_trip(took);
        }
        for goal in &mut self.goals {
            goal.take_state(self.now, readings, &before, self.rules);
        }
        self.reported_at = Some(self.now);
        self.look_at(readings);
        if by_firmware || self.rules.read == Reading::Uncorrelated {
            self.turn_over(readings);
        }
    }

    pub(super) fn reply(&mut self, token: Token, reply: Reply) {
        let Some(Question { number, goal: of, at, .. }) = self.questions.remove(&token) else {
            return;
        };
        self.note_round_trip(self.now.saturating_sub(at));
        match reply {
            Reply::State(readings) => {
                self.parts.failure = None;
                // The answer may have been overtaken by the report of a change.
                let reported = self.reported_at.is_some_and(|reported| at <= reported);
                let is_in_doubt = reported && !readings.are_met_by(&self.last);
                self.last.merge(&readings);
                self.confirmed.merge(&readings);
                self.look_answered(token);
                if is_in_doubt {
                    self.doubt_state();
                }
                self.turn_over(&readings);
                for goal in &mut self.goals {
                    goal.take_reply(self.now, number, &readings, self.rules);
                }
                let evidence = Some(Evidence::Reply);
                self.outputs.push_back(Output::Observed { readings, evidence });
            }
            Reply::Taken => {
                self.parts.failure = None;
                let (now, rules) = (self.now, self.rules);
                self.goals_of(of).for_each(|goal| goal.hint(now, rules));
            }
            Reply::Unreachable(reason) => self.try_again(of, &reason, None),
            Reply::Busy(reason) => self.try_again(of, &reason, Some(&reason)),
            Reply::Refused(reason) => {
                let (now, rules) = (self.now, self.rules);
                self.goals_of(of).for_each(|goal| {
                    goal.refusal = Some(reason.clone());
                    goal.note_answered(now, rules);
                });
            }
            Reply::Unsupported(reason) => {
                self.parts.failure = None;
                self.look_answered(token);
                if let Some(id) = of
                    && let Some(place) = self.goals.iter().position(|goal| goal.id == id)
                {
                    self.goals.remove(place);
                    self.answer(id, Verdict::Unsupported { reason });
                }
            }
        }
    }

    /// Tells the device again in a while: it could not be told or asked, or it said that it could not do it now.
    fn try_again(&mut self, of: Option<CommandId>, failure: &str, refusal: Option<&str>) {
        let (now, rules) = (self.now, self.rules);
        for goal in self.goals_of(of) {
            goal.failure = Some(failure.to_owned());
            goal.refusal = refusal.map(str::to_owned).or(goal.refusal.take());
            goal.note_answered(now, rules);
            let again = goal.sent.map(|sent| (sent + RETRY).max(now));
            goal.again = again.filter(|_| !rules.sleepy);
        }
    }

    /// Notes how long the device took; a longer time is forgotten slowly.
    pub(super) fn note_round_trip(&mut self, took: Duration) {
        // Above this the device was away rather than slow.
        self.round_trip = took.max(self.round_trip / 2).min(SLOWEST);
        for goal in &mut self.goals {
            goal.round_trip = self.round_trip;
        }
    }

    fn goals_of(&mut self, id: Option<CommandId>) -> impl Iterator<Item = &mut Goal> {
        self.goals.iter_mut().filter(move |goal| Some(goal.id) == id)
    }

    /// Decides what a toggle means, once the present state is known.
    fn turn_over(&mut self, readings: &Readings) {
        let Some(on) = readings.power() else { return };
        let mut goals = std::mem::take(&mut self.goals);
        for goal in goals.iter_mut().filter(|goal| goal.toggles && goal.asked.is_some()) {
            goal.turn_over(on);
            self.send(goal);
        }
        self.goals = goals;
    }

    pub(super) fn not_published(&mut self, token: Token, error: PublishError) {
        let Some(Question { goal: Some(id), sets, .. }) = self.questions.remove(&token) else {
            return;
        };
        let (now, reason) = (
            self.now,
            match error {
                PublishError::Gone => "no connection to the broker",
                PublishError::Busy => "too many messages wait for the broker",
                PublishError::Refused => "the hub may not publish on the device's topic",
                PublishError::TooLarge => "the broker takes no message of this size",
            },
        );
        for goal in self.goals_of(Some(id)) {
            match error {
                PublishError::Gone | PublishError::Busy if sets => {
                    goal.unpublished = Some(reason);
                    goal.again = Some(now + RETRY);
                    goal.ask = None;
                }
                PublishError::Gone | PublishError::Busy => {}
                PublishError::Refused | PublishError::TooLarge => {
                    goal.unpublished = Some(reason);
                    goal.deadline = now;
                }
            }
        }
    }

    pub(super) fn link(&mut self, up: bool) {
        self.parts.link = self.parts.link.then(self.now, up);
        if !up {
            self.questions.clear();
            self.goals.iter_mut().for_each(Goal::interrupt);
            return;
        }
        let now = self.now;
        for goal in self.goals.iter_mut().filter(|goal| goal.sent.is_some() && !goal.queued) {
            goal.again = Some(now);
        }
    }
}
