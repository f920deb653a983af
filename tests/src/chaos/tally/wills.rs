//! What the hubs told of their wills, and what the one did that guards the other.

use std::time::Duration;

use super::Tally;
use crate::chaos::record::{Record, WillSeen};

impl Tally {
    pub(super) fn judge_will(
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
        let seen = will.watched.is_some() || will.reached_hub || will.reached_guard;
        let acknowledged = acknowledged_in_time(will);
        let (wrong, owed) = match outcome {
            "consumed" => (!will.answered && !will.impostor, None),
            "unconsumed" => (!seen || acknowledged.is_some(), acknowledged),
            "not-published" => (seen, acknowledged.max(will.watched)),
            _ => (false, None),
        };
        let killed = |owed| killed_near(record, owed, write_behind);
        match (wrong, owed.is_some_and(killed)) {
            (false, _) => {}
            (true, true) => self.outcomes_lost_by_broker += 1,
            (true, false) => self.wrong_outcomes.push(format!("{generation}: {outcome}")),
        }
        if will.told_forged && !will.impostor {
            self.forgeries_told.push(generation.to_owned());
        }
        let guardian_is_owed = acknowledged.is_some_and(|at| !killed(at));
        if outcome == "consumed" && guardian_is_owed && !will.told_true {
            self.guardians_left_out.push(generation.to_owned());
        }
        self.consumed_by_impostor += usize::from(outcome == "consumed" && !will.answered);
    }

    /// Compares what the relay was told with what was acknowledged: each `offline` once at most.
    pub(super) fn judge_relay(&mut self, record: &Record) {
        let is_done = |status: &u16| (200..300).contains(status);
        let done = record.guarded.values().filter(|one| one.statuses.iter().any(is_done)).count();
        self.guarded = done;
        // What else was acknowledged may have been done, or not; what a link has lost comes again.
        let most = record.guarded.len();
        if !(done..=most).contains(&record.relayed) {
            let what = format!("{} times, {done} to {most} acknowledged", record.relayed);
            self.guarded_wrongly.push(what);
        }
    }
}

/// Returns when a will was acknowledged; not where that was so late that its hub need not remember it any more.
fn acknowledged_in_time(will: &WillSeen) -> Option<Duration> {
    let late = will.watched.map_or(Duration::MAX, |watched| watched + REMEMBERED);
    will.acknowledged.filter(|acknowledged| *acknowledged <= late)
}

/// Returns whether the broker was killed about when a watcher saw a will or had its acknowledgement taken.
///
/// A watcher may see a will of just before the kill only when the broker is back.
fn killed_near(record: &Record, at: Duration, write_behind: Duration) -> bool {
    let near = at.saturating_sub(2 * write_behind)..=at + write_behind;
    record.broker_kills.iter().any(|kill| near.contains(kill))
}

/// A hub remembers its last eight outcomes: at the rate of a schedule, those of longer than this.
const REMEMBERED: Duration = Duration::from_secs(20);
/// From the strongest to the weakest.
pub(super) const OUTCOMES: [&str; 4] = ["consumed", "unconsumed", "not-published", "unknown"];
