//! The report: what became of the homes, what one costs the cluster, and what ten thousand would need.

use std::{fmt::Write, time::Duration};

use super::{
    Cost,
    tally::{Outcome, Return},
};

impl Outcome {
    /// Returns the report as a document.
    pub fn report(&self) -> String {
        let mut text = String::new();
        let _ = writeln!(text, "{}\n{}\n{}", self.promises(), self.costs(), self.ten_thousand());
        text
    }

    fn promises(&self) -> String {
        let (requests, wills) = (&self.requests, &self.wills);
        let took = &self.took;
        let at = |share: usize| took.get(took.len() * share / 1000).copied().unwrap_or_default();
        let by = |counts: &mut dyn Iterator<Item = String>| counts.collect::<Vec<_>>().join(", ");
        let statuses = by(&mut requests.answered.iter().map(|(k, n)| format!("{n} with {k}")));
        let outcomes = by(&mut wills.told.iter().map(|(k, n)| format!("{n} {k}")));
        let rows = [
            ("homes; of these with a real hub", format!("{}; {}", self.plan.homes, self.plan.hubs)),
            ("attempts to get at another home", format!("{}, all refused", self.intrusions)),
            ("requests", requests.asked.to_string()),
            ("requests that were repeated", requests.repeated.to_string()),
            ("answers", statuses),
            ("requests without an answer", requests.lost.len().to_string()),
            ("requests carried out twice", requests.twice.len().to_string()),
            ("answers 200 without an execution", requests.untrue.len().to_string()),
            ("messages that crossed", requests.crossed.len().to_string()),
            (
                "time to the answer while nothing fails, median and 99 %",
                format!("{:.1?}, {:.1?}", at(500), at(990)),
            ),
            ("wills that phones saw", wills.seen.to_string()),
            ("outcomes of wills", outcomes),
            ("wrong outcomes", wills.wrong.len().to_string()),
            (
                "wills of hubs killed with their node",
                format!("{}, after {:.0?}", self.killed, self.wills_took),
            ),
        ];
        let returns = self.returns.iter().map(Return::line).collect::<Vec<_>>().join("\n- ");
        format!("{}\nHow the hubs came back:\n\n- {returns}\n", table("what", &rows))
    }

    fn costs(&self) -> String {
        let Costs { node, redis, rest, asked, .. } = self.per_home();
        let rows = [
            ("connections", "2: a hub and a phone".to_owned()),
            ("memory of the nodes", format!("{:.0} kB", node / 1e3)),
            ("memory of redis", format!("{:.1} kB", redis / 1e3)),
            ("at rest: messages a second", format!("{:.3}", rest.messages)),
            ("at rest: bytes a second, both directions", format!("{:.1}", rest.bytes)),
            ("at rest: processor time of the nodes, of redis", rest.cpu()),
            ("a request: messages through the nodes", format!("{:.1}", asked.messages)),
            ("a request: bytes, both directions", format!("{:.0}", asked.bytes)),
            ("a request: processor time of the nodes, of redis", asked.cpu()),
        ];
        table("one home costs the cluster", &rows)
    }

    fn ten_thousand(&self) -> String {
        let Costs { node, redis, rest, asked, empty_nodes, empty_redis } = self.per_home();
        let homes = 10_000.0;
        // A home that is asked once a minute.
        let a_second = homes / 60.0;
        let cores = |rest: f64, asked: f64| homes * rest + a_second * asked;
        let rows = [
            ("connections", "20,000".to_owned()),
            ("memory of all nodes", format!("{:.1} GB", (empty_nodes + homes * node) / 1e9)),
            ("memory of redis", format!("{:.2} GB", (empty_redis + homes * redis) / 1e9)),
            (
                "messages and bytes a second",
                format!(
                    "{:.0}, {:.0} kB",
                    homes * rest.messages + a_second * asked.messages,
                    (homes * rest.bytes + a_second * asked.bytes) / 1e3
                ),
            ),
            ("processors for the nodes", format!("{:.2}", cores(rest.nodes, asked.nodes))),
            (
                "processors for redis, which uses one",
                format!("{:.2}", cores(rest.redis, asked.redis)),
            ),
        ];
        table("ten thousand homes, each asked once a minute, would need", &rows)
    }

    #[expect(clippy::cast_precision_loss, reason = "some gigabytes")]
    fn per_home(&self) -> Costs {
        let homes = self.plan.homes as f64;
        let grown = |before: u64, after: u64| after.saturating_sub(before) as f64 / homes;
        let rest = Rate::between(&self.before_rest, &self.after_rest);
        let asked = Rate::between(&self.after_rest, &self.after_requests);
        let requests = self.took.len().max(1) as f64;
        let seconds = Cost::seconds(&self.after_rest, &self.after_requests);
        Costs {
            node: grown(self.empty.nodes.memory, self.before_rest.nodes.memory),
            redis: grown(self.empty.redis_memory, self.before_rest.redis_memory),
            rest: rest.map(rest, |rest, _| rest / homes),
            asked: asked.map(rest, |asked, rest| (asked - rest).max(0.0) * seconds / requests),
            empty_nodes: self.empty.nodes.memory as f64,
            empty_redis: self.empty.redis_memory as f64,
        }
    }
}

struct Costs {
    node: f64,
    redis: f64,
    rest: Rate,
    asked: Rate,
    empty_nodes: f64,
    empty_redis: f64,
}

/// In a second, or for a request.
#[derive(Clone, Copy)]
struct Rate {
    messages: f64,
    bytes: f64,
    /// Processor time in seconds.
    nodes: f64,
    redis: f64,
}

impl Rate {
    #[expect(clippy::cast_precision_loss, reason = "some gigabytes")]
    fn between(before: &Cost, after: &Cost) -> Self {
        let seconds = Cost::seconds(before, after);
        let grown = |before: u64, after: u64| after.saturating_sub(before) as f64 / seconds;
        let used = |before: Duration, after: Duration| (after - before).as_secs_f64() / seconds;
        Self {
            messages: grown(before.nodes.messages, after.nodes.messages),
            bytes: grown(before.nodes.bytes, after.nodes.bytes),
            nodes: used(before.nodes.cpu, after.nodes.cpu),
            redis: used(before.redis_cpu, after.redis_cpu),
        }
    }

    fn map(self, other: Self, each: impl Fn(f64, f64) -> f64) -> Self {
        Self {
            messages: each(self.messages, other.messages),
            bytes: each(self.bytes, other.bytes),
            nodes: each(self.nodes, other.nodes),
            redis: each(self.redis, other.redis),
        }
    }

    fn cpu(self) -> String {
        format!("{:.3} ms, {:.3} ms", self.nodes * 1e3, self.redis * 1e3)
    }
}

impl Cost {
    fn seconds(before: &Self, after: &Self) -> f64 {
        before.at.zip(after.at).map_or(1.0, |(before, after)| (after - before).as_secs_f64())
    }
}

fn table(title: &str, rows: &[(&str, String)]) -> String {
    let mut text = format!("| {title} | |\n|---|---|\n");
    for (name, value) in rows {
        let _ = writeln!(text, "| {name} | {value} |");
    }
    text
}
