//! What is told of invented runs.

use super::*;
use crate::chaos::plan::Hub;
use crate::chaos::record::{Asked, Guarded, Reuse, Said, WillSeen};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_request_that_was_executed_and_answered_once_breaks_nothing() {
    let tally = judge(&asked(&[(200, "")]), &["a"], &[]);
    assert_eq!((tally.sent, tally.answered_once, tally.first_answers["2xx"]), (1, 1, 1));
    assert_eq!(tally.broken(), [""; 0]);
}

#[test]
fn the_first_answer_again_is_legal_and_another_one_is_not() {
    let tally = judge(&asked(&[(200, ""), (200, "")]), &["a"], &[]);
    assert_eq!((tally.answered_again, tally.broken()), (1, vec![]));
    let tally = judge(&asked(&[(200, ""), (409, "indeterminate")]), &["a"], &[]);
    assert_eq!(tally.contradicted, ["a: 2xx then 409 indeterminate"]);
    assert_eq!(tally.broken().len(), 1);
}

#[test]
fn an_answer_that_is_not_true_any_more_agrees_with_the_first_one() {
    for answers in [
        &[(200, ""), (409, "superseded")][..],
        &[(409, "superseded"), (200, "")],
        &[(409, "superseded")],
    ] {
        assert_eq!(judge(&asked(answers), &["a"], &[]).broken(), [""; 0], "{answers:?}");
        assert_eq!(judge(&asked(answers), &[], &[]).not_executed, ["a"], "{answers:?}");
    }
    let differ = judge(&asked(&[(503, ""), (409, "superseded")]), &["a"], &[]);
    assert_eq!(differ.contradicted, ["a: 503 then 409 superseded"]);
}

#[test]
fn what_comes_after_somebody_else_has_asked_counts_only_where_that_was_a_repeat() {
    let answers_after_reuse = vec![said(503, "")];
    for (reuse, contradicted) in [(Reuse::Repeat, 1), (Reuse::Other, 0)] {
        let reuse = Some(reuse);
        let answers_after_reuse = answers_after_reuse.clone();
        let asked = Asked { reuse, answers_after_reuse, ..asked(&[(200, "")]) };
        let tally = judge(&asked, &["a"], &[]);
        assert_eq!(
            (tally.contradicted.len(), tally.answered_once),
            (contradicted, 1 - contradicted)
        );
    }
}

#[test]
fn only_the_hub_that_has_the_device_may_answer_and_nobody_else_takes_its_room() {
    let elsewhere = Asked { answered_elsewhere: vec![404], ..asked(&[(200, "")]) };
    assert_eq!(judge(&elsewhere, &["a"], &[]).answered_elsewhere, ["a: 404 by the attic"]);
    assert_eq!(judge(&asked(&[(404, "")]), &[], &[]).answered_elsewhere, ["a: 404"]);
    assert_eq!(judge(&asked(&[(429, "")]), &[], &[]).turned_away, ["a"]);
}

#[test]
fn what_nobody_may_be_answered_about_is_not_executed() {
    let record = Record { lines: vec!["forged-forbidden-1".into()], ..Record::default() };
    assert_eq!(Tally::of(&record, SECOND).forbidden_yet_executed, ["forged-forbidden-1"]);
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
    let tally = judge(&asked(&[(409, "stale")]), &["a"], &[]);
    assert_eq!((tally.stale_yet_executed.len(), tally.broken().len()), (1, 1));
    // Whether an indeterminate request was executed is just what is not known.
    let tally = judge(&asked(&[(409, "indeterminate")]), &["a"], &[]);
    assert_eq!((tally.first_answers["409 indeterminate"], tally.broken()), (1, vec![]));
}

#[test]
fn an_unanswered_request_is_excused_only_by_a_kill_of_the_broker_that_had_just_taken_it_over() {
    let silent = Asked { delivered_to: Some(0), ..asked(&[]) };
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
fn a_request_that_a_full_queue_had_no_room_for_is_excused_for_that_hub_alone() {
    for (full, lost) in [(&[][..], 0), (&[Hub::Cellar, Hub::Attic][..], 1)] {
        let requests = [("a".to_owned(), asked(&[]))].into();
        let queue_was_full = full.iter().copied().collect();
        let tally = Tally::of(&Record { requests, queue_was_full, ..Record::default() }, SECOND);
        assert_eq!((tally.lost_by_full_queue.len(), tally.unanswered.len()), (lost, 1 - lost));
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
    let acknowledged = WillSeen { answered: true, acknowledged: Some(5 * SECOND), ..seen.clone() };
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

#[test]
fn a_forged_acknowledgement_counts_only_where_its_forger_has_seen_the_will() {
    let seen = WillSeen { watched: Some(5 * SECOND), told_forged: true, ..WillSeen::default() };
    let tally = judge_will(&seen, "consumed", &[]);
    assert_eq!((tally.wrong_outcomes.len(), tally.forgeries_told.len()), (1, 1));
    let impostor = WillSeen { impostor: true, ..seen };
    let tally = judge_will(&impostor, "consumed", &[]);
    assert_eq!((tally.consumed_by_impostor, tally.broken()), (1, vec![]));
    let guardian = WillSeen { answered: true, acknowledged: Some(6 * SECOND), ..impostor };
    assert_eq!(judge_will(&guardian, "consumed", &[]).guardians_left_out, ["g"]);
    assert_eq!(judge_will(&guardian, "consumed", &[6]).broken(), [""; 0]);
    let told = WillSeen { told_true: true, ..guardian };
    assert_eq!(judge_will(&told, "consumed", &[]).broken(), [""; 0]);
}

#[test]
fn the_relay_takes_over_as_often_as_is_acknowledged() {
    let one = |statuses: &[u16]| Guarded { statuses: statuses.to_vec() };
    let guarded = [("a", one(&[200, 200])), ("b", one(&[409]))];
    let guarded = guarded.map(|(generation, one)| (generation.to_owned(), one));
    for (relayed, right) in [(0, false), (1, true), (2, true), (3, false)] {
        let record = Record { guarded: guarded.clone().into(), relayed, ..Record::default() };
        assert_eq!(Tally::of(&record, SECOND).guarded_wrongly.is_empty(), right, "{relayed}");
    }
}

/// A request for a line, acknowledged after 5 s.
fn asked(answers: &[(u16, &str)]) -> Asked {
    let answers = answers.iter().map(|&(status, reason)| said(status, reason)).collect();
    Asked { line: true, acknowledged: Some(5 * SECOND), answers, ..Asked::default() }
}

fn said(status: u16, reason: &str) -> Said {
    let first_status = (reason == "superseded").then_some(200);
    let reason = Some(reason.to_owned()).filter(|reason| !reason.is_empty());
    Said { status, message: None, payload: String::new(), reason, first_status }
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
