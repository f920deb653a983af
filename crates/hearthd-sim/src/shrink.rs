//! Reduces a failing seed to the fewest steps that still fail, and to a trace for people.

use std::fmt;

use crate::{
    invariants::Invariant,
    plan::{Plan, Step},
    world::World,
};

/// What a seed does, step by step.
#[derive(Debug)]
pub struct Replay {
    /// What was broken, if anything.
    pub violation: Option<String>,
    /// How many steps are left of how many.
    pub steps: (usize, usize),
    /// What happened: when, to whom, what.
    pub trace: Vec<String>,
}

/// Plays one seed again; where it fails, with as few steps as still make it fail in the same way.
pub fn replay(seed: u64, steps: usize) -> Replay {
    let mut plan = Plan::new(seed, steps);
    if let Some(invariant) = fails(&plan) {
        shrink(&mut plan, invariant);
    }
    let mut world = World::new(&plan, true);
    world.play(&plan);
    let violation = world.violation.clone();
    Replay {
        violation: violation.map(|v| format!("{}: {}", v.invariant.text(), v.detail)),
        steps: (plan.steps.len(), steps),
        trace: world.into_trace(),
    }
}

/// Removes steps, many at a time and then one by one, as long as the same invariant breaks (delta debugging).
fn shrink(plan: &mut Plan, invariant: Invariant) {
    let mut size = plan.steps.len().div_ceil(2);
    loop {
        let before = plan.steps.len();
        let mut start = 0;
        while start < plan.steps.len() {
            let end = (start + size).min(plan.steps.len());
            let shorter = Plan { steps: without(&plan.steps, start, end), ..plan.clone() };
            if fails(&shorter) == Some(invariant) {
                *plan = shorter;
            } else {
                start = end;
            }
        }
        if size == 1 && plan.steps.len() == before {
            return;
        }
        size = size.div_ceil(2).max(1);
    }
}

/// Leaves steps out; the next one comes when it would have come.
fn without(steps: &[Step], start: usize, end: usize) -> Vec<Step> {
    let mut rest = steps[..start].to_vec();
    let left_out = steps[start..end].iter().map(|step| step.after);
    let mut gap: std::time::Duration = left_out.sum();
    for step in &steps[end..] {
        rest.push(Step { after: step.after + gap, ..step.clone() });
        gap = std::time::Duration::ZERO;
    }
    rest
}

fn fails(plan: &Plan) -> Option<Invariant> {
    let mut world = World::new(plan, false);
    world.play(plan);
    world.violation.map(|violation| violation.invariant)
}

impl fmt::Display for Replay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.trace {
            writeln!(f, "{line}")?;
        }
        let (left, all) = self.steps;
        match &self.violation {
            Some(violation) => writeln!(f, "\n{violation}\n({left} of {all} steps are enough)"),
            None => writeln!(f, "\nall invariants hold over {all} steps"),
        }
    }
}
