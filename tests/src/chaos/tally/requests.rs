//! What became of the requests.

use std::{collections::BTreeMap, time::Duration};

use super::Tally;
use crate::chaos::{
    plan::FORBIDDEN,
    record::{Asked, Record, Reuse, Said},
};

impl Tally {
    pub(super) fn judge_answers(&mut self, key: &str, asked: &Asked) {
        let answers = &asked.answers;
        // The first answer itself may come after one that says that it is not true any more.
        let first = answers.iter().find(|said| said.superseded().is_none()).or(answers.first());
        let repeats = match asked.reuse {
            Some(Reuse::Repeat) => &asked.answers_after_reuse[..],
            Some(Reuse::Other) | None => &[],
        };
        let agree = first.is_none_or(|first| {
            let agrees = |said: &Said| said.agrees_with(first) || knows_less(asked, first, said);
            answers.iter().chain(repeats).all(agrees)
        });
        if !agree {
            let said = answers.iter().chain(repeats).map(kind);
            let said: Vec<_> = said.collect();
            self.contradicted.push(format!("{key}: {}", said.join(" then ")));
        } else if answers.len() == 1 {
            self.answered_once += 1;
        } else if answers.len() > 1 {
            self.answered_again += 1;
        }
        if let Some(said) = answers.first() {
            *self.first_answers.entry(kind(said)).or_default() += 1;
        }
        for status in &asked.answered_elsewhere {
            self.answered_elsewhere
                .push(format!("{key}: {status} by the {}", asked.owner.other().name()));
        }
        if answers.iter().any(|said| said.status == 404) {
            self.answered_elsewhere.push(format!("{key}: 404"));
        }
        if answers.iter().any(|said| said.status == 429) {
            self.turned_away.push(key.to_owned());
        }
    }

    /// Decides who lost a request or its answer.
    pub(super) fn judge_silence(
        &mut self,
        record: &Record,
        key: &str,
        asked: &Asked,
        acknowledged: Duration,
        write_behind: Duration,
    ) {
        let delivered = asked.delivered_to.is_some();
        let (owed, within) = match asked {
            Asked { answer_taken: Some(answer), .. } => (*answer, write_behind),
            // The hub said that it was done with the request, and gave the broker no answer.
            Asked { hub_acknowledged: Some(_), .. } => {
                return self.unanswered.push(key.to_owned());
            }
            _ if delivered => (acknowledged, write_behind),
            _ => (acknowledged, LONGEST_STALL),
        };
        match killed_after(record, owed, within) {
            Some(_) if !delivered => self.lost_unsent.push(key.to_owned()),
            Some(gap) => {
                self.lost_by_broker.push(key.to_owned());
                self.longest_write_behind = self.longest_write_behind.max(gap);
            }
            None if !delivered && record.queue_was_full.contains(&asked.owner) => {
                self.lost_by_full_queue.push(key.to_owned());
            }
            None => self.unanswered.push(key.to_owned()),
        }
    }

    pub(super) fn judge_executions(&mut self, key: &str, asked: &Asked, executed: usize) {
        let not_executed = |said: &Said| matches!(kind(said), STALE | QUEUED);
        let done = |said: &Said| kind(said) == DONE || said.superseded().is_some_and(is_success);
        if executed == 0 && asked.answers.iter().any(done) {
            self.not_executed.push(key.to_owned());
        }
        if executed > 0 && !asked.answers.is_empty() && asked.answers.iter().all(not_executed) {
            self.stale_yet_executed.push(key.to_owned());
        }
    }

    /// Judges the ledgers by themselves: every line is asked for by one requester, and once.
    pub(super) fn judge_lines(&mut self, record: &Record, executions: &BTreeMap<&str, usize>) {
        for (line, executed) in executions {
            if *executed > 1 {
                let reuse = record.requests.get(*line).and_then(|asked| asked.reuse);
                let name =
                    reuse.map_or(String::new(), |reuse| format!(", its name used: {reuse:?}"));
                self.executed_twice.push(format!("{line}: {executed} times{name}"));
            }
            if line.starts_with(FORBIDDEN) {
                self.forbidden_yet_executed.push((*line).to_owned());
            }
        }
    }
}

/// Returns whether a later answer only says that the hub does not know any more what the first one said.
///
/// What changes nothing, and may be carried out again, is answered before the store has the answer; a kill in between
/// and a redelivery of a request without an expiry have the hub say that it cannot tell.
fn knows_less(asked: &Asked, first: &Said, said: &Said) -> bool {
    !asked.line && is_success(first.status) && kind(said) == "409 indeterminate"
}

/// Returns how long after it took something over the broker was killed, where that is within some time.
///
/// A PUBACK that was on its way when the broker was killed is noted a little after.
fn killed_after(record: &Record, owed: Duration, within: Duration) -> Option<Duration> {
    const NOTED_LATE: Duration = Duration::from_millis(50);
    let after = |kill: &Duration| (*kill + NOTED_LATE).checked_sub(owed);
    let gaps = record.broker_kills.iter().filter_map(after);
    gaps.min().map(|gap| gap.saturating_sub(NOTED_LATE)).filter(|gap| *gap <= within)
}

/// Returns what an answer says, as the report calls it.
fn kind(said: &Said) -> &'static str {
    match (said.status, said.reason.as_deref()) {
        (200..=299, _) => DONE,
        (408, _) => "408",
        (409, Some("stale")) => STALE,
        (409, Some("queued")) => QUEUED,
        (409, Some("indeterminate")) => "409 indeterminate",
        (409, Some("superseded")) => "409 superseded",
        (429, _) => "429",
        (503, _) => "503",
        _ => "other",
    }
}

fn is_success(status: u16) -> bool {
    (200..300).contains(&status)
}

const DONE: &str = "2xx";
const STALE: &str = "409 stale";
const QUEUED: &str = "409 queued";
pub(super) const FIRST_ANSWERS: [&str; 9] =
    [DONE, "408", STALE, QUEUED, "409 indeterminate", "409 superseded", "429", "503", "other"];
/// A broker has a request that it did not send no longer than this, or the hub does not take it: longer than any fault
/// of a schedule, and than the back-off after it.
const LONGEST_STALL: Duration = Duration::from_secs(20);
