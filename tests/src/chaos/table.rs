//! The table at the end of the runs.

use std::fmt::Write;

use super::{BreakKind, BrokerKind, Hub, Outcome, Record, Tally, hostile::Act};

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
    let mut rows = what_was_done(record);
    rows.extend(requests(record, tally));
    rows.extend(lines(record, tally));
    rows.extend(wills(tally));
    rows.extend([
        count("SIGKILLs of Zigbee2MQTT", record.lamp.bridge_kills),
        count("requests for its lamp answered 200", record.lamp.confirmed),
        count("  answered otherwise", record.lamp.otherwise),
        count("  not answered in time", record.lamp.silent),
        bar("  false verdicts", tally.false_verdicts.len()),
        bar("  so few confirmed that it proves nothing", tally.lamp_proves_nothing.len()),
    ]);
    rows.push(bar("not as it should be at rest", tally.unrest.len()));
    rows
}

fn what_was_done(record: &Record) -> Vec<Row> {
    let kills = |hub: Hub| record.hub_kills.get(&hub).copied().unwrap_or(0);
    let mut rows = vec![
        count("SIGKILLs of the hub in the cellar", kills(Hub::Cellar)),
        count("SIGKILLs of the hub in the attic", kills(Hub::Attic)),
        count("SIGKILLs of the broker", record.broker_kills.len()),
    ];
    for name in BreakKind::NAMES {
        let times = record.faults.get(name).copied().unwrap_or(0);
        rows.push(count(&format!("links: {name}"), times));
    }
    rows.push(count("moves of a ledger from hub to hub", record.moves));
    for (name, times) in hostile(record) {
        rows.push(count(&format!("hostile: {name}"), times));
    }
    rows.push(bar("Clean Starts of a hub", record.clean_starts));
    rows
}

/// Counts by kind, so that every column has the same rows.
fn hostile(record: &Record) -> impl Iterator<Item = (&'static str, usize)> {
    Act::ALL.into_iter().map(|act| act.name()).map(|name| {
        let times = record.hostile.get(name).copied().unwrap_or(0);
        (name, times)
    })
}

fn requests(record: &Record, tally: &Tally) -> Vec<Row> {
    let gap = usize::try_from(tally.longest_write_behind.as_millis()).unwrap_or(usize::MAX);
    let mut rows = vec![
        count("requests sent (PUBACK)", tally.sent),
        count("  answered once", tally.answered_once),
        count("  answered again with the same content", tally.answered_again),
        bar("  answered with contradicting content", tally.contradicted.len()),
        bar("  answered by a hub without the device", tally.answered_elsewhere.len()),
        bar("  answered 429", tally.turned_away.len()),
        bar("  unanswered", tally.unanswered.len()),
        count("  lost by the killed broker, never sent to hub", tally.lost_unsent.len()),
        count("  lost by the killed broker, write-behind", tally.lost_by_broker.len()),
        count("  dropped by the broker, whose queue was full", tally.lost_by_full_queue.len()),
        count("    longest from PUBACK to kill, ms", gap),
    ];
    for (kind, times) in &tally.first_answers {
        rows.push(count(&format!("    first answer {kind}"), *times));
    }
    rows.push(count("repeated answers 2xx", record.repeats));
    rows.push(bar("  not true any more", tally.untrue_repeats.len()));
    rows
}

fn lines(record: &Record, tally: &Tally) -> Vec<Row> {
    vec![
        count("lines executed", record.lines.len()),
        bar("  executed twice", tally.executed_twice.len()),
        bar("  answered 2xx, not executed", tally.not_executed.len()),
        bar("  answered as not executed, yet executed", tally.stale_yet_executed.len()),
        bar("  executed for a forbidden Response Topic", tally.forbidden_yet_executed.len()),
    ]
}

fn wills(tally: &Tally) -> Vec<Row> {
    let mut rows = vec![
        count("wills fired (seen by a watcher)", tally.wills_seen),
        count("  acknowledged by watcher or guard", tally.wills_acknowledged),
    ];
    for (told, times) in &tally.outcomes {
        rows.push(count(&format!("  outcome {told}"), *times));
    }
    rows.extend([
        count("  consumed by one who had seen it, hostile", tally.consumed_by_impostor),
        bar("  wrong outcome", tally.wrong_outcomes.len()),
        bar("  forged acknowledgement told", tally.forgeries_told.len()),
        bar("  guardian's acknowledgement not told", tally.guardians_left_out.len()),
        count("  wrong since the killed broker lost a part", tally.outcomes_lost_by_broker),
        count("  seen, and no outcome heard of", tally.wills_untold),
        count("taken over by the hub that guards", tally.guarded),
        bar("  otherwise than acknowledged", tally.guarded_wrongly.len()),
    ]);
    rows
}

fn count(label: &str, value: usize) -> Row {
    Row { label: label.to_owned(), value, bar: false }
}

fn bar(label: &str, value: usize) -> Row {
    Row { label: label.to_owned(), value, bar: true }
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
