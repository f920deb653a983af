//! What became of every request, will and return.

use std::{collections::BTreeMap, time::Duration};

use super::{
    Cost, Plan,
    home::{Asked, Facts, Home},
};

/// What a run has shown.
#[derive(Debug, Default)]
pub struct Outcome {
    pub(super) plan: Plan,
    pub(super) started_in: Duration,
    pub(super) empty: Cost,
    pub(super) before_rest: Cost,
    pub(super) after_rest: Cost,
    pub(super) after_requests: Cost,
    /// What the requests took that were measured, in order.
    pub(super) took: Vec<Duration>,
    /// Attempts to get at another home, all refused.
    pub(super) intrusions: usize,
    pub(super) returns: Vec<Return>,
    /// Hubs that were killed together with their node, and how long their wills took.
    pub(super) killed: usize,
    pub(super) wills_took: Duration,
    pub(super) requests: Requests,
    pub(super) wills: Wills,
}

/// What became of the requests.
#[derive(Debug, Default)]
pub(super) struct Requests {
    pub(super) asked: usize,
    pub(super) repeated: usize,
    /// By status.
    pub(super) answered: BTreeMap<u16, usize>,
    pub(super) lost: Vec<String>,
    pub(super) twice: Vec<String>,
    /// Answered 200, and not carried out.
    pub(super) untrue: Vec<String>,
    pub(super) crossed: Vec<String>,
}

/// What became of the wills, as the hubs tell it.
#[derive(Debug, Default)]
pub(super) struct Wills {
    /// By outcome.
    pub(super) told: BTreeMap<String, usize>,
    pub(super) seen: usize,
    /// Outcomes that are not so.
    pub(super) wrong: Vec<String>,
}

/// When hubs came back.
#[derive(Debug, Default)]
pub(super) struct Return {
    pub(super) what: String,
    /// What they were spread over, unless they were started one by one.
    pub(super) spread: Option<Duration>,
    /// When they were online, in order.
    pub(super) after: Vec<Duration>,
    /// When those that are the core alone reached a node: what the hubs decide, whatever the node makes of it.
    pub(super) reached: Vec<Duration>,
}

impl Outcome {
    /// Returns what must not be so.
    pub fn broken(&self) -> Vec<String> {
        let Requests { lost, twice, untrue, crossed, .. } = &self.requests;
        let all = [
            ("requests without an answer", lost),
            ("requests carried out twice", twice),
            ("answers 200 without an execution", untrue),
            ("messages that crossed", crossed),
            ("wrong outcomes of wills", &self.wills.wrong),
        ];
        let broken = all.into_iter().filter(|(_, which)| !which.is_empty());
        let first = |which: &[String]| which.iter().take(5).cloned().collect::<Vec<_>>().join(", ");
        let mut broken: Vec<_> = broken
            .map(|(what, which)| format!("{} {what}: {}", which.len(), first(which)))
            .collect();
        broken.extend(self.returns.iter().filter_map(Return::stampede));
        broken
    }

    /// Counts a home; `lines` is what its device wrote, unless it is the core alone.
    pub(super) fn add(&mut self, home: &Home, lines: Option<Vec<String>>) {
        let facts = home.facts();
        let executed = lines.unwrap_or_else(|| facts.executed.clone());
        let mut times: BTreeMap<&str, usize> = BTreeMap::new();
        for line in &executed {
            *times.entry(line).or_default() += 1;
        }
        let foreign = executed.iter().filter(|line| !facts.asked.contains_key(*line));
        self.requests.crossed.extend(foreign.map(|line| format!("{}: {line}", home.name)));
        self.requests.crossed.extend(facts.foreign.iter().cloned());
        for (id, asked) in &facts.asked {
            self.requests.add(id, asked, times.get(&**id).copied().unwrap_or(0));
        }
        self.wills.add(&home.name, &facts);
    }
}

impl Default for Plan {
    fn default() -> Self {
        let [every, measure] = [Duration::from_secs(20), Duration::from_secs(30)];
        Self { homes: 20, hubs: 8, every, measure }
    }
}

impl Requests {
    fn add(&mut self, id: &str, asked: &Asked, executed: usize) {
        self.asked += 1;
        self.repeated += usize::from(asked.sent > 1);
        if executed > 1 {
            self.twice.push(format!("{id} {executed} times"));
        }
        let Some((_, status)) = asked.answered else { return self.lost.push(id.to_owned()) };
        *self.answered.entry(status).or_default() += 1;
        if status == 200 && executed == 0 {
            self.untrue.push(id.to_owned());
        }
    }
}

impl Wills {
    /// Compares what the hub tells of each will with what the phone saw and did.
    fn add(&mut self, home: &str, facts: &Facts) {
        self.seen += facts.wills.len();
        for (generation, outcome) in &facts.outcomes {
            *self.told.entry(outcome.clone()).or_default() += 1;
            let seen = facts.wills.get(generation);
            let is_so = match (outcome.as_str(), seen) {
                ("not-published", seen) => seen.is_none(),
                ("consumed", seen) => seen.is_some_and(|will| will.acknowledged),
                // A phone that was away for a moment may have missed it.
                ("unconsumed", None) => true,
                ("unconsumed", Some(will)) => !will.confirmed,
                (other, _) => other == "unknown",
            };
            if !is_so {
                self.wrong.push(format!("{home} {generation}: {outcome}, {seen:?}"));
            }
        }
        let untold =
            facts.wills.keys().filter(|generation| !facts.outcomes.contains_key(*generation));
        self.wrong.extend(untold.map(|generation| format!("{home} {generation}: nothing told")));
    }
}

impl Return {
    pub(super) fn new(
        what: &str,
        spread: Option<Duration>,
        mut after: Vec<Duration>,
        reached: Vec<Duration>,
    ) -> Self {
        after.sort();
        Self { what: what.to_owned(), spread, after, reached }
    }

    /// Returns what is wrong where more hubs reached a node in one second than a uniform spread explains.
    #[expect(clippy::cast_precision_loss, reason = "some thousands")]
    fn stampede(&self) -> Option<String> {
        let second = 1.0 / self.spread?.as_secs_f64();
        let deviation = (second / self.reached.len().max(1) as f64).sqrt();
        let bar = second + BEYOND * deviation;
        let text = || format!("{} (at most {:.1} %)", self.line(), bar * 100.0);
        // So few hubs are spread by chance.
        let few = self.reached.len() < FEW;
        (!few && peak(&self.reached) > bar).then(text)
    }

    pub(super) fn line(&self) -> String {
        let at = |index: usize| self.after.get(index).copied().unwrap_or_default();
        format!(
            "{}: {} hubs online after {:.1?} to {:.1?}, half of them after {:.1?}; most in one second: {:.1} % reached a \
             node, {:.1} % were online",
            self.what,
            self.after.len(),
            at(0),
            at(self.after.len().saturating_sub(1)),
            at(self.after.len() / 2),
            peak(&self.reached) * 100.0,
            peak(&self.after) * 100.0,
        )
    }
}

/// Returns the largest share of all that is within one second.
#[expect(clippy::cast_precision_loss, reason = "some thousands")]
fn peak(after: &[Duration]) -> f64 {
    let mut seconds: BTreeMap<u64, usize> = BTreeMap::new();
    for after in after {
        *seconds.entry(after.as_secs()).or_default() += 1;
    }
    let most = seconds.values().copied().max().unwrap_or(0);
    most as f64 / after.len().max(1) as f64
}

/// How many standard deviations may be between the fullest second and the mean: chance exceeds them once in hundreds of runs.
const BEYOND: f64 = 4.5;
const FEW: usize = 200;

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;
    use crate::fleet::home::SeenWill;

    fn asked(home: &Home, id: &str, answered: Option<u16>) {
        let answered = answered.map(|status| (Duration::from_millis(5), status));
        let asked = Asked { at: Instant::now(), sent: 1, answered };
        home.facts().asked.insert(id.to_owned(), asked);
    }

    fn broken(home: &Home, lines: &[&str]) -> Vec<String> {
        let mut outcome = Outcome::default();
        outcome.add(home, Some(lines.iter().map(|line| (*line).to_owned()).collect()));
        outcome.broken()
    }

    #[test]
    fn each_way_to_break_a_request_is_told() {
        let home = Home::new(1);
        asked(&home, "a", Some(200));
        assert_eq!(broken(&home, &["a"]), Vec::<String>::new());
        assert_eq!(broken(&home, &["a", "a"]), ["1 requests carried out twice: a 2 times"]);
        assert_eq!(broken(&home, &[]), ["1 answers 200 without an execution: a"]);
        assert_eq!(broken(&home, &["a", "b"]), ["1 messages that crossed: home-0001: b"]);
        asked(&home, "c", None);
        assert_eq!(broken(&home, &["a"]), ["1 requests without an answer: c"]);
    }

    #[test]
    fn an_outcome_that_is_not_so_is_told() {
        let wrong = |outcome: &str, seen: Option<SeenWill>| {
            let home = Home::new(1);
            home.facts().outcomes.insert("g".into(), outcome.into());
            home.facts().wills.extend(seen.map(|will| ("g".to_owned(), will)));
            !broken(&home, &[]).is_empty()
        };
        let seen = SeenWill::default();
        let acknowledged = SeenWill { acknowledged: true, confirmed: true };
        assert!(!wrong("not-published", None) && wrong("not-published", Some(seen)));
        assert!(!wrong("consumed", Some(acknowledged)) && wrong("consumed", Some(seen)));
        assert!(!wrong("unconsumed", Some(seen)) && wrong("unconsumed", Some(acknowledged)));
        assert!(wrong("consumed", None));
        let silent = Home::new(1);
        silent.facts().wills.insert("g".into(), seen);
        assert_eq!(broken(&silent, &[]), ["1 wrong outcomes of wills: home-0001 g: nothing told"]);
    }

    #[test]
    fn hubs_that_come_back_in_one_second_are_a_stampede() {
        let spread = Some(Duration::from_secs(20));
        let evenly = (0..400).map(|hub| Duration::from_millis(50 * hub)).collect();
        assert_eq!(Return::new("node killed", spread, Vec::new(), evenly).stampede(), None);
        let at_once = (0..400).map(Duration::from_millis).collect();
        assert!(Return::new("node killed", spread, Vec::new(), at_once).stampede().is_some());
    }
}
