//! The table at the end of the runs.

use std::fmt::Write;

use super::{BreakKind, BrokerKind, Outcome};

/// Writes the counts of each run in a column of its own; `!` marks a broken bar.
pub fn table(runs: &[(BrokerKind, Outcome)]) -> String {
    let mut text = format!("{:<WIDTH$}", "");
    for (broker, _) in runs {
        let _ = write!(text, "{:>15} ", broker.name());
    }
    let columns: Vec<Vec<Row>> = runs.iter().map(|(_, outcome)| rows(outcome)).collect();
    for line in 0..columns.first().map_or(0, Vec::len) {
        let _ = write!(text, "\n{:<WIDTH$}", columns[0][line].label);
        for column in &columns {
            let Row { value, bar, .. } = column[line];
            let _ = write!(text, "{value:>15}{}", if bar && value > 0 { '!' } else { ' ' });
        }
    }
    text.lines().map(|line| line.trim_end().to_owned() + "\n").collect()
}

struct Row {
    label: String,
    value: usize,
    /// Whether the value must be 0.
    bar: bool,
}

fn rows(outcome: &Outcome) -> Vec<Row> {
    let Outcome { record, tally } = outcome;
    let mut rows = Vec::new();
    let mut row = |label: &str, value, bar| {
        rows.push(Row { label: label.to_owned(), value, bar });
    };
    row("SIGKILLs of hearthd", record.hub_kills, false);
    row("SIGKILLs of the broker", record.broker_kills.len(), false);
    for name in BreakKind::NAMES {
        row(&format!("link: {name}"), record.faults.get(name).copied().unwrap_or(0), false);
    }
    row("Clean Starts of hearthd", tally.clean_starts, true);
    row("requests sent (PUBACK)", tally.sent, false);
    row("  answered once", tally.answered_once, false);
    row("  answered again with the same content", tally.answered_again, false);
    row("  answered with contradicting content", tally.contradicted.len(), true);
    row("  unanswered", tally.unanswered.len(), true);
    row("  lost by the killed broker, never sent to hub", tally.lost_unsent.len(), false);
    row("  lost by the killed broker, write-behind", tally.lost_by_broker.len(), false);
    let gap = usize::try_from(tally.longest_write_behind.as_millis()).unwrap_or(usize::MAX);
    row("    longest from PUBACK to kill, ms", gap, false);
    for (kind, count) in &tally.first_answers {
        row(&format!("    first answer {kind}"), *count, false);
    }
    row("lines executed", record.lines.len(), false);
    row("  executed twice", tally.executed_twice.len(), true);
    row("  answered 2xx, not executed", tally.not_executed.len(), true);
    row("  answered as stale, yet executed", tally.stale_yet_executed.len(), true);
    row("wills fired (seen by the watcher)", tally.wills_seen, false);
    row("  acknowledged by the watcher", tally.wills_acknowledged, false);
    for (told, count) in &tally.outcomes {
        row(&format!("  outcome {told}"), *count, false);
    }
    row("  wrong outcome", tally.wrong_outcomes.len(), true);
    row("  wrong since the killed broker lost a part", tally.outcomes_lost_by_broker, false);
    row("  seen, and no outcome heard of", tally.wills_untold, false);
    rows
}

const WIDTH: usize = 46;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chaos::{Record, Tally};

    #[test]
    fn every_run_has_its_column_and_a_broken_bar_its_mark() {
        let good = Outcome { record: Record::default(), tally: Tally::default() };
        let mut bad = good.clone();
        bad.tally.unanswered.push("chaos-0-1".into());
        let text = table(&[(BrokerKind::Hearth, good), (BrokerKind::Mosquitto, bad)]);
        let line = text.lines().find(|line| line.contains("unanswered")).unwrap();
        assert_eq!(line.split_whitespace().collect::<Vec<_>>(), ["unanswered", "0", "1!"]);
    }
}
