//! The judgement of a run: what was counted, and which of the bars is broken.

mod requests;
#[cfg(test)]
mod tests;
mod wills;

use std::{collections::BTreeMap, time::Duration};

use self::{requests::FIRST_ANSWERS, wills::OUTCOMES};
use super::record::Record;

/// The counts of one run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Requests that the broker acknowledged to their requesters.
    pub sent: usize,
    /// Requests with one answer.
    pub answered_once: usize,
    /// Requests with several answers that agree: redeliveries and repeats.
    pub answered_again: usize,
    /// Requests whose answers do not agree.
    pub contradicted: Vec<String>,
    /// Requests that a hub answered which does not have the device.
    pub answered_elsewhere: Vec<String>,
    /// Requests that were turned away because there were too many; honest requesters do not ask for so much.
    pub turned_away: Vec<String>,
    /// Lines that stand in a ledger more than once, whoever asked for them.
    pub executed_twice: Vec<String>,
    /// Requests that were answered 2xx and not executed.
    pub not_executed: Vec<String>,
    /// Requests that were answered as stale, or as queued for too long, which means not executed, and were executed.
    pub stale_yet_executed: Vec<String>,
    /// Requests with a forbidden Response Topic that were executed.
    pub forbidden_yet_executed: Vec<String>,
    /// Repeated 2xx answers that say what is not so any more.
    pub untrue_repeats: Vec<String>,
    /// First answers by what they say; every kind is there.
    pub first_answers: BTreeMap<&'static str, usize>,
    /// Requests without an answer that nothing excuses.
    pub unanswered: Vec<String>,
    /// Requests or answers that a killed broker lost within its write-behind window.
    pub lost_by_broker: Vec<String>,
    /// Requests that a killed broker held for the hub, and never sent.
    pub lost_unsent: Vec<String>,
    /// Requests that the broker had no room for in its queue for the hub.
    pub lost_by_full_queue: Vec<String>,
    /// How often a hub threw its session away, and with it what it would then be excused for.
    pub clean_starts: usize,
    /// Wills that a watcher saw.
    pub wills_seen: usize,
    /// Wills that were acknowledged by a watcher, or by the hub that guards.
    pub wills_acknowledged: usize,
    /// Wills that a watcher saw and the hub told nothing about.
    pub wills_untold: usize,
    /// Outcomes as the hubs told them last; every kind is there.
    pub outcomes: BTreeMap<&'static str, usize>,
    /// Outcomes `consumed` by nobody but the hostile requester, who had seen the will.
    pub consumed_by_impostor: usize,
    /// Outcomes that contradict what was seen.
    pub wrong_outcomes: Vec<String>,
    /// Acknowledgements that were believed although they were forged: nobody can have known the will.
    pub forgeries_told: Vec<String>,
    /// Wills that were told as consumed without the acknowledgement of those who had taken over.
    pub guardians_left_out: Vec<String>,
    /// Outcomes that are wrong because a killed broker lost the will or its acknowledgement.
    pub outcomes_lost_by_broker: usize,
    /// Acknowledgements of the hub that guards which say that the relay has taken over.
    pub guarded: usize,
    /// What the relay did more often than was acknowledged, or less often.
    pub guarded_wrongly: Vec<String>,
    /// Answers 200 for the lamp behind Zigbee2MQTT while the lamp was never so, and 500 while it was so all the time.
    pub false_verdicts: Vec<String>,
    /// Why the verdicts on that lamp prove nothing.
    pub lamp_proves_nothing: Vec<String>,
    /// What is not as it should be once everything has come to rest.
    pub unrest: Vec<String>,
    /// The longest time from the broker's PUBACK to the kill that excuses a loss.
    pub longest_write_behind: Duration,
}

impl Tally {
    /// Judges a record; a broker that is killed may lose what it took over within `write_behind` before.
    pub fn of(record: &Record, write_behind: Duration) -> Self {
        let mut tally = Self {
            first_answers: FIRST_ANSWERS.into_iter().map(|kind| (kind, 0)).collect(),
            outcomes: OUTCOMES.into_iter().map(|outcome| (outcome, 0)).collect(),
            clean_starts: record.clean_starts,
            untrue_repeats: record.untrue_repeats.clone(),
            false_verdicts: record.lamp.false_verdicts.clone(),
            lamp_proves_nothing: record.lamp.proves_nothing().into_iter().collect(),
            unrest: record.unrest.clone(),
            ..Self::default()
        };
        let executions = executions(record);
        for (key, asked) in &record.requests {
            let executed = executions.get(key.as_str()).copied().unwrap_or(0);
            if let Some(acknowledged) = asked.acknowledged {
                tally.sent += 1;
                tally.judge_answers(key, asked);
                if asked.answers.is_empty() {
                    tally.judge_silence(record, key, asked, acknowledged, write_behind);
                }
            }
            if asked.line {
                tally.judge_executions(key, asked, executed);
            }
        }
        tally.judge_lines(record, &executions);
        for (generation, will) in &record.wills {
            tally.judge_will(record, generation, will, write_behind);
        }
        tally.judge_relay(record);
        tally
    }

    /// Returns what must not be, with examples; empty where every bar holds.
    pub fn broken(&self) -> Vec<String> {
        let bars = [
            ("executed twice", &self.executed_twice),
            ("answered 2xx, not executed", &self.not_executed),
            ("answered as not executed, yet executed", &self.stale_yet_executed),
            ("executed although its Response Topic is forbidden", &self.forbidden_yet_executed),
            ("answered with contradicting content", &self.contradicted),
            ("answered by a hub that does not have the device", &self.answered_elsewhere),
            ("honest, and answered 429", &self.turned_away),
            ("a repeated answer that is not true any more", &self.untrue_repeats),
            ("unanswered", &self.unanswered),
            ("wrong outcome of a will", &self.wrong_outcomes),
            ("a forged acknowledgement told", &self.forgeries_told),
            ("a guardian's acknowledgement not told", &self.guardians_left_out),
            ("the relay and its acknowledgements differ", &self.guarded_wrongly),
            ("a lamp of which the answer says what it never was", &self.false_verdicts),
            ("too few requests for the lamp were confirmed", &self.lamp_proves_nothing),
            ("not as it should be at rest", &self.unrest),
        ];
        let clean_starts = (self.clean_starts > 0)
            .then(|| format!("a hub connected with Clean Start: {} times", self.clean_starts));
        let broken = bars.into_iter().filter(|(_, examples)| !examples.is_empty());
        broken
            .map(|(what, all)| {
                let some: Vec<_> = all.iter().take(EXAMPLES).map(String::as_str).collect();
                let more = if all.len() > EXAMPLES { ", ..." } else { "" };
                format!("{what}: {} ({}{more})", all.len(), some.join(", "))
            })
            .chain(clean_starts)
            .collect()
    }
}

/// Counts the lines of the ledgers.
fn executions(record: &Record) -> BTreeMap<&str, usize> {
    let mut executions = BTreeMap::new();
    for line in &record.lines {
        *executions.entry(line.as_str()).or_default() += 1;
    }
    executions
}

/// How many examples of a broken bar are shown.
const EXAMPLES: usize = 5;
