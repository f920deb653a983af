//! The judgement of a run: what was counted, and which of the bars is broken.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::record::{Asked, Record, Said, WillSeen};

/// The counts of one run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Requests that the broker acknowledged to their requesters.
    pub sent: usize,
    /// Requests with one answer.
    pub answered_once: usize,
    /// Requests with several answers that say the same: redeliveries.
    pub answered_again: usize,
    /// Requests whose answers differ.
    pub contradicted: Vec<String>,
    /// Lines that stand in the ledger more than once.
    pub executed_twice: Vec<String>,
    /// Requests that were answered 2xx and not executed.
    pub not_executed: Vec<String>,
    /// Requests that were answered as stale, which means not executed, and were executed.
    pub stale_yet_executed: Vec<String>,
    /// First answers by what they say; every kind is there.
    pub first_answers: BTreeMap<&'static str, usize>,
    /// Requests without an answer that nothing excuses.
    pub unanswered: Vec<String>,
    /// Requests or answers that a killed broker lost within its write-behind window.
    pub lost_by_broker: Vec<String>,
    /// Requests that a killed broker held for the hub, and never sent.
    pub lost_unsent: Vec<String>,
    /// How often the hub threw its session away, and with it what it would then be excused for.
    pub clean_starts: usize,
    /// Wills that the watcher saw.
    pub wills_seen: usize,
    /// Of these, acknowledged by the watcher.
    pub wills_acknowledged: usize,
    /// Wills that the watcher saw and the hub told nothing about.
    pub wills_untold: usize,
    /// Outcomes as the hub told them last; every kind is there.
    pub outcomes: BTreeMap<&'static str, usize>,
    /// Outcomes that contradict what was seen.
    pub wrong_outcomes: Vec<String>,
    /// Outcomes that are wrong because a killed broker lost the will or its acknowledgement.
    pub outcomes_lost_by_broker: usize,
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
        for (generation, will) in &record.wills {
            tally.judge_will(record, generation, will, write_behind);
        }
        tally
    }

    /// Returns what must not be, with examples; empty where every bar holds.
    pub fn broken(&self) -> Vec<String> {
        let bars = [
            ("executed twice", &self.executed_twice),
            ("answered 2xx, not executed", &self.not_executed),
            ("answered as stale, yet executed", &self.stale_yet_executed),
            ("answered with contradicting content", &self.contradicted),
            ("unanswered", &self.unanswered),
            ("wrong outcome of a will", &self.wrong_outcomes),
        ];
        let clean_starts = (self.clean_starts > 0)
            .then(|| format!("the hub connected with Clean Start: {} times", self.clean_starts));
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

    fn judge_answers(&mut self, key: &str, asked: &Asked) {
        let different: BTreeSet<_> = asked.answers.iter().collect();
        match (asked.answers.len(), different.len()) {
            (0, _) => {}
            (1, _) => self.answered_once += 1,
            (_, 1) => self.answered_again += 1,
            (_, _) => {
                let said = asked.answers.iter().map(|said| said.status.to_string());
                let said: Vec<_> = said.collect();
                self.contradicted.push(format!("{key}: {}", said.join(" then ")));
            }
        }
        if let Some(said) = asked.answers.first() {
            *self.first_answers.entry(kind(said)).or_default() += 1;
        }
    }

    /// Decides who lost a request or its answer.
    fn judge_silence(
        &mut self,
        record: &Record,
        key: &str,
        asked: &Asked,
        acknowledged: Duration,
        write_behind: Duration,
    ) {
        let (owed, within) = match asked {
            Asked { answer_taken: Some(answer), .. } => (*answer, write_behind),
            // The hub said that it was done with the request, and gave the broker no answer.
            Asked { hub_acknowledged: Some(_), .. } => {
                return self.unanswered.push(key.to_owned());
            }
            Asked { delivered: true, .. } => (acknowledged, write_behind),
            Asked { delivered: false, .. } => (acknowledged, LONGEST_STALL),
        };
        match killed_after(record, owed, within) {
            Some(_) if !asked.delivered => self.lost_unsent.push(key.to_owned()),
            Some(gap) => {
                self.lost_by_broker.push(key.to_owned());
                self.longest_write_behind = self.longest_write_behind.max(gap);
            }
            None => self.unanswered.push(key.to_owned()),
        }
    }

    fn judge_executions(&mut self, key: &str, asked: &Asked, executed: usize) {
        let says = |what| asked.answers.iter().any(|said| kind(said) == what);
        let only_stale = says(STALE) && asked.answers.iter().all(|said| kind(said) == STALE);
        if executed > 1 {
            self.executed_twice.push(format!("{key}: {executed} times"));
        }
        if executed == 0 && says(DONE) {
            self.not_executed.push(key.to_owned());
        }
        if executed > 0 && only_stale {
            self.stale_yet_executed.push(key.to_owned());
        }
    }

    fn judge_will(
        &mut self,
        record: &Record,
        generation: &str,
        will: &WillSeen,
        write_behind: Duration,
    ) {
        self.wills_seen += usize::from(will.watched.is_some());
        self.wills_acknowledged += usize::from(will.acknowledged.is_some());
        let told = |outcome: &str| will.outcomes.iter().any(|told| told == outcome);
        // Late evidence upgrades an outcome, so the strongest one is the last.
        let Some(outcome) = OUTCOMES.into_iter().find(|outcome| told(outcome)) else {
            self.wills_untold += usize::from(will.watched.is_some());
            return;
        };
        *self.outcomes.entry(outcome).or_default() += 1;
        let seen = will.watched.is_some() || will.reached_hub;
        let (wrong, owed) = match outcome {
            "consumed" => (!will.answered, None),
            "unconsumed" => (!seen || will.acknowledged.is_some(), will.acknowledged),
            "not-published" => (seen, will.acknowledged.max(will.watched)),
            _ => (false, None),
        };
        let killed = owed.is_some_and(|owed| killed_near(record, owed, write_behind));
        match (wrong, killed) {
            (false, _) => {}
            (true, true) => self.outcomes_lost_by_broker += 1,
            (true, false) => self.wrong_outcomes.push(format!("{generation}: {outcome}")),
        }
    }
}

/// Counts the lines of the ledger.
fn executions(record: &Record) -> BTreeMap<&str, usize> {
    let mut executions = BTreeMap::new();
    for line in &record.lines {
        *executions.entry(line.as_str()).or_default() += 1;
    }
    executions
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

/// Returns whether the broker was killed about when the watcher saw a will or had its acknowledgement taken.
///
/// The watcher may see a will of just before the kill only when the broker is back.
fn killed_near(record: &Record, at: Duration, write_behind: Duration) -> bool {
    let near = at.saturating_sub(2 * write_behind)..=at + write_behind;
    record.broker_kills.iter().any(|kill| near.contains(kill))
}

/// Returns what an answer says, as the report calls it.
fn kind(said: &Said) -> &'static str {
    let indeterminate = said.message.as_ref().is_some_and(|text| text.contains("indeterminate"));
    match said.status {
        200..=299 => DONE,
        408 => "408",
        409 if indeterminate => "409 indeterminate",
        409 => STALE,
        429 => "429",
        503 => "503",
        _ => "other",
    }
}

const DONE: &str = "2xx";
const STALE: &str = "409 stale";
const FIRST_ANSWERS: [&str; 7] = [DONE, "408", STALE, "409 indeterminate", "429", "503", "other"];
/// From the strongest to the weakest.
const OUTCOMES: [&str; 4] = ["consumed", "unconsumed", "not-published", "unknown"];
/// A broker has a request that it did not send no longer than this, or the hub does not take it: longer than any fault
/// of a schedule, and than the back-off after it.
const LONGEST_STALL: Duration = Duration::from_secs(20);
/// How many examples of a broken bar are shown.
const EXAMPLES: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_request_that_was_executed_and_answered_once_breaks_nothing() {
        let tally = judge(&asked(&[(200, "")]), &["a"], &[]);
        assert_eq!((tally.sent, tally.answered_once, tally.first_answers[DONE]), (1, 1, 1));
        assert_eq!(tally.broken(), [""; 0]);
    }

    #[test]
    fn the_first_answer_again_is_legal_and_another_one_is_not() {
        let tally = judge(&asked(&[(200, ""), (200, "")]), &["a"], &[]);
        assert_eq!((tally.answered_again, tally.broken()), (1, vec![]));
        let tally = judge(&asked(&[(200, ""), (409, "indeterminate")]), &["a"], &[]);
        assert_eq!(tally.contradicted, ["a: 200 then 409"]);
        assert_eq!(tally.broken().len(), 1);
    }

    #[test]
    fn a_line_that_stands_there_twice_was_executed_twice() {
        let tally = judge(&asked(&[(200, "")]), &["a", "a"], &[]);
        assert_eq!(tally.executed_twice, ["a: 2 times"]);
        assert_eq!(tally.broken().len(), 1);
    }

    #[test]
    fn an_answer_that_the_ledger_contradicts_is_false() {
        let tally = judge(&asked(&[(200, "")]), &[], &[]);
        assert_eq!((&tally.not_executed[..], tally.broken().len()), (&["a".to_owned()][..], 1));
        let tally = judge(&asked(&[(409, "it waited")]), &["a"], &[]);
        assert_eq!((tally.stale_yet_executed.len(), tally.broken().len()), (1, 1));
        // Whether an indeterminate request was executed is just what is not known.
        let tally = judge(&asked(&[(409, "indeterminate")]), &["a"], &[]);
        assert_eq!((tally.first_answers["409 indeterminate"], tally.broken()), (1, vec![]));
    }

    #[test]
    fn an_unanswered_request_is_excused_only_by_a_kill_of_the_broker_that_had_just_taken_it_over() {
        let silent = Asked { delivered: true, ..asked(&[]) };
        for (kills, lost) in [(&[][..], 0), (&[4], 0), (&[6], 1), (&[8], 0), (&[4, 6], 1)] {
            let tally = judge(&silent, &[], kills);
            assert_eq!(tally.lost_by_broker.len(), lost, "{kills:?}");
            assert_eq!(tally.unanswered.len(), 1 - lost, "{kills:?}");
        }
        let done_with = Asked { hub_acknowledged: Some(5 * SECOND), ..silent.clone() };
        assert_eq!(judge(&done_with, &[], &[6]).unanswered, ["a"], "the hub owed the answer");
        let taken = Asked { answer_taken: Some(9 * SECOND), ..done_with };
        assert_eq!(judge(&taken, &[], &[6]).unanswered, ["a"], "the broker had it long after");
        assert_eq!(judge(&taken, &[], &[10]).lost_by_broker, ["a"]);
    }

    #[test]
    fn a_request_that_was_never_sent_to_the_hub_is_excused_by_a_kill_of_the_broker_that_held_it() {
        for (kills, lost) in [(&[][..], 0), (&[4], 0), (&[6], 1), (&[24], 1), (&[26], 0)] {
            let tally = judge(&asked(&[]), &[], kills);
            assert_eq!(tally.lost_unsent.len(), lost, "{kills:?}");
            assert_eq!(tally.unanswered.len(), 1 - lost, "{kills:?}");
        }
    }

    #[test]
    fn a_request_whose_requester_never_had_a_puback_is_not_counted_and_may_not_run_twice() {
        let asked = Asked { acknowledged: None, ..asked(&[]) };
        assert_eq!(
            judge(&asked, &["a"], &[]),
            Tally { sent: 0, ..Tally::of(&Record::default(), SECOND) }
        );
        assert_eq!(judge(&asked, &["a", "a"], &[]).executed_twice.len(), 1);
    }

    #[test]
    fn an_outcome_is_right_only_where_it_says_what_was_seen() {
        let nothing = WillSeen::default();
        let seen = WillSeen { watched: Some(5 * SECOND), ..nothing.clone() };
        let acknowledged =
            WillSeen { answered: true, acknowledged: Some(5 * SECOND), ..seen.clone() };
        let tried = WillSeen { answered: true, ..seen.clone() };
        let reached = WillSeen { reached_hub: true, ..nothing.clone() };
        for (will, outcomes, right) in [
            (&nothing, "not-published", true),
            (&nothing, "unconsumed", false),
            (&nothing, "consumed", false),
            (&seen, "not-published", false),
            (&seen, "unconsumed", true),
            (&seen, "consumed", false),
            (&reached, "not-published", false),
            (&reached, "unconsumed", true),
            (&tried, "unconsumed", true),
            (&tried, "consumed", true),
            (&acknowledged, "unconsumed", false),
            (&acknowledged, "not-published", false),
            (&acknowledged, "consumed", true),
            (&acknowledged, "unknown", true),
            (&acknowledged, "not-published unconsumed consumed", true),
        ] {
            let tally = judge_will(will, outcomes, &[]);
            assert_eq!(tally.wrong_outcomes.is_empty(), right, "{will:?} {outcomes}");
        }
    }

    #[test]
    fn a_wrong_outcome_is_excused_by_a_kill_of_the_broker_about_then() {
        let seen = WillSeen { watched: Some(5 * SECOND), ..WillSeen::default() };
        for (kill, excused) in [(2, 0), (4, 1), (6, 1), (7, 0)] {
            let tally = judge_will(&seen, "not-published", &[kill]);
            assert_eq!(tally.outcomes_lost_by_broker, excused, "{kill}");
            assert_eq!(tally.wrong_outcomes.len(), 1 - excused, "{kill}");
        }
        assert_eq!(judge_will(&seen, "consumed", &[5]).wrong_outcomes.len(), 1, "never excused");
    }

    /// A request for a line, acknowledged after 5 s.
    fn asked(answers: &[(u16, &str)]) -> Asked {
        let said = |&(status, message): &(u16, &str)| Said {
            status,
            message: Some(message.to_owned()),
            payload: String::new(),
        };
        let answers = answers.iter().map(said).collect();
        Asked { line: true, acknowledged: Some(5 * SECOND), answers, ..Asked::default() }
    }

    fn judge(asked: &Asked, lines: &[&str], kills: &[u32]) -> Tally {
        let record = Record {
            requests: [("a".to_owned(), asked.clone())].into(),
            lines: lines.iter().map(|line| (*line).to_owned()).collect(),
            broker_kills: kills.iter().map(|at| *at * SECOND).collect(),
            ..Record::default()
        };
        Tally::of(&record, SECOND)
    }

    fn judge_will(will: &WillSeen, outcomes: &str, kills: &[u32]) -> Tally {
        let outcomes = outcomes.split(' ').map(str::to_owned).collect();
        let record = Record {
            wills: [("g".to_owned(), WillSeen { outcomes, ..will.clone() })].into(),
            broker_kills: kills.iter().map(|at| *at * SECOND).collect(),
            ..Record::default()
        };
        Tally::of(&record, SECOND)
    }
}
