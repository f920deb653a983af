//! What a confirmer does when it is due: it sends, asks, and answers each command.

use std::time::Duration;

use super::{Device, MAYBE_BACK, Question, RETRY};
use crate::{
    CommandId, Doubt, Output, Publication, Queued, Verdict,
    family::{Frame, Reading, States},
    goal::Goal,
};

/// How long a sleeping device may take before its command is overdue.
const OVERDUE: Duration = Duration::from_secs(30 * 60);
/// How many questions are remembered; the oldest is forgotten first.
const MAX_QUESTIONS: usize = 64;

impl Device {
    /// Does what is due for each command.
    pub(super) fn advance(&mut self) {
        let mut kept = Vec::new();
        for mut goal in std::mem::take(&mut self.goals) {
            if self.is_over(&mut goal) {
                continue;
            }
            if self.can_send() {
                if goal.again.is_some_and(|again| again <= self.now) {
                    self.send(&mut goal);
                }
                let due = goal.ask.is_some_and(|ask| ask <= self.now);
                if due && self.readable_from() <= self.now {
                    self.ask(&mut goal);
                }
            }
            kept.push(goal);
        }
        // Nothing above adds a command.
        self.goals = kept;
    }

    /// Answers a command if it is decided, and returns whether it is finished.
    fn is_over(&mut self, goal: &mut Goal) -> bool {
        if let Some((readings, evidence, stands)) = goal.met()
            && stands <= self.now
        {
            self.parts.failure = None;
            self.forget(goal);
            self.in_flight = None;
            self.confirmed.merge(&readings);
            if goal.queued {
                let queued = Queued::Confirmed;
                self.outputs.push_back(Output::Queued { command: goal.id, queued });
                self.outputs.push_back(Output::Observed { readings, evidence: Some(evidence) });
            } else {
                self.answer(goal.id, Verdict::Confirmed { readings, evidence });
            }
            return true;
        }
        if self.now < goal.deadline {
            return false;
        }
        if goal.queued {
            goal.deadline = Duration::MAX;
            let queued = Queued::Overdue;
            self.outputs.push_back(Output::Queued { command: goal.id, queued });
            return false;
        }
        let verdict = self.conclude(goal);
        self.forget(goal);
        self.doubt_state();
        let sleeps = matches!(verdict, Verdict::Indeterminate { doubt: Doubt::Queued, .. });
        self.answer(goal.id, verdict);
        if sleeps {
            goal.queued = true;
            goal.deadline = self.now + OVERDUE;
            let queued = Queued::Pending;
            self.outputs.push_back(Output::Queued { command: goal.id, queued });
        }
        !sleeps
    }

    /// Returns the verdict on a command at its deadline.
    fn conclude(&mut self, goal: &mut Goal) -> Verdict {
        if !self.parts.link.is_online() && goal.met().is_none() {
            let last = self.last.of_properties(&goal.target);
            return Verdict::Indeterminate { doubt: Doubt::LinkLost, last };
        }
        if goal.met().is_none()
            && let Some((reason, since)) = self.unreachable()
        {
            return Verdict::Unreachable { reason, since };
        }
        let mut verdict = goal.concluded(self.now, self.rules, &self.last);
        // A bridge does not log again what it has logged last.
        if let Verdict::Indeterminate { doubt: Doubt::Silence, .. } = verdict
            && matches!(self.rules.states, States::Bridge { .. })
            && goal.is_unheard()
            && let Some((reason, since)) = &self.parts.failure
        {
            goal.failure = Some(reason.clone());
            verdict = Verdict::Unreachable { reason: reason.clone(), since: *since };
        }
        if let Verdict::Indeterminate { doubt: Doubt::Silence, .. } = verdict
            && let Some(since) = self.parts.device.offline_since()
        {
            let reason = "the device is offline".to_owned();
            verdict = Verdict::Unreachable { reason, since };
        }
        if let Verdict::Unreachable { reason, since } = &verdict {
            self.parts.failure.get_or_insert_with(|| (reason.clone(), *since));
        }
        verdict
    }

    /// Sends a command.
    pub(super) fn send(&mut self, goal: &mut Goal) {
        let frames = self.dialect.set(&goal.target, goal.transition, &mut self.tokens);
        self.commanded_at = Some(self.now);
        goal.note_sent(self.now, self.published, self.rules);
        self.publish(frames, Some(goal.id), true, goal.deadline);
    }

    /// Reads the device's state.
    fn ask(&mut self, goal: &mut Goal) {
        let failed = goal.failure.is_some()
            && self.rules.read == Reading::Uncorrelated
            && !self.rules.sleepy;
        let stale = goal.sent.is_some_and(|sent| sent + RETRY <= self.now);
        if self.rules.read == Reading::ByCommand {
            goal.note_asked(self.now, self.rules);
            if goal.met().is_none() && stale {
                let ask = goal.ask;
                self.send(goal);
                goal.ask = ask;
            }
            return;
        }
        let long_ago = goal.sent.is_some_and(|sent| sent + MAYBE_BACK <= self.now);
        if failed && long_ago {
            // A command that could not be delivered may be delivered now; the read below checks whether it was.
            self.send(goal);
        }
        let properties = goal.open_properties(self.rules);
        let left = goal.deadline.saturating_sub(self.now).min(OVERDUE);
        match self.dialect.read(&properties, left, &mut self.tokens) {
            Ok(frames) => self.publish(frames, Some(goal.id), false, goal.deadline),
            Err(reason) => goal.failure = Some(reason),
        }
        goal.note_asked(self.now, self.rules);
    }

    pub(super) fn publish(
        &mut self,
        frames: Vec<Frame>,
        goal: Option<CommandId>,
        sets: bool,
        deadline: Duration,
    ) {
        for Frame { token, topic, payload, qos, reply } in frames {
            self.questions
                .insert(token, Question { number: self.published, goal, at: self.now, sets });
            self.published += 1;
            let expiry = deadline.saturating_sub(self.now).min(OVERDUE);
            let publication =
                Publication { token, command: goal, topic, payload, qos, expiry, reply };
            self.outputs.push_back(Output::Publish(publication));
        }
        while self.questions.len() > MAX_QUESTIONS {
            let oldest = self.questions.iter().min_by_key(|(_, question)| question.number);
            let Some(token) = oldest.map(|(token, _)| *token) else { break };
            self.questions.remove(&token);
        }
    }
}
