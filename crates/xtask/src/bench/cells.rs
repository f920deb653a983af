//! The comparison: every responder under the same questions, in rounds that take turns.

use std::collections::BTreeMap;

use hearthd_tests::{Built, Result};

use super::{
    Effort,
    load::{self, Figures, Question, Until},
    peers::Peers,
    stage::{BrokerKind, LIGHTS, Responder, Stage},
};

/// One way of asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Cell {
    pub(crate) qos: u8,
    /// Bytes of the requests' payload.
    pub(crate) payload: usize,
    pub(crate) requesters: usize,
    /// In all.
    pub(crate) in_flight: usize,
}

impl Cell {
    /// The question that most goals are about.
    pub(crate) const FULL: Self = Self { qos: 1, payload: 2, requesters: 1, in_flight: 256 };
    pub(crate) const ALONE: Self = Self { in_flight: 1, ..Self::FULL };

    /// Lists the cells.
    fn all() -> Vec<Self> {
        let mut cells = vec![Self::ALONE, Self { in_flight: 16, ..Self::FULL }, Self::FULL];
        for qos in [1, 0] {
            for payload in [2, 1024] {
                for (requesters, in_flight) in LOADS {
                    let cell = Self { qos, payload, requesters, in_flight };
                    if !cells.contains(&cell) {
                        cells.push(cell);
                    }
                }
            }
        }
        cells
    }

    /// Whether a goal depends on it.
    fn is_central(self) -> bool {
        (self.qos, self.payload, self.requesters) == (1, 2, 1)
    }

    fn question(self, stage: &Stage, responder: Responder, effort: Effort) -> Question {
        let (property, payload) = if self.payload == 2 {
            ("power", "ON".to_owned())
        } else {
            // Spaces after the object: the light reads it all, and does what it does for two bytes.
            ("set", format!("{:<1$}", r#"{"power":"ON"}"#, self.payload))
        };
        Question {
            topic: responder.topic(stage.prefix(), property),
            targets: LIGHTS,
            payloads: vec![payload],
            prefix: stage.prefix().map(str::to_owned),
            qos: self.qos,
            requesters: self.requesters,
            in_flight: self.in_flight / self.requesters,
            expiry: None,
            until: Until::Time { warm_up: effort.warm_up, measure: effort.measure },
        }
    }
}

/// What was measured: for each broker, cell and responder the figures of every round.
#[derive(Debug, Default)]
pub(crate) struct Compared {
    pub(crate) figures: BTreeMap<(BrokerKind, Cell, Responder), Vec<Figures>>,
}

impl Compared {
    /// Returns one figure of every round.
    pub(crate) fn each(
        &self,
        broker: BrokerKind,
        cell: Cell,
        responder: Responder,
        figure: impl Fn(&Figures) -> f64,
    ) -> Vec<f64> {
        let rounds = self.figures.get(&(broker, cell, responder));
        rounds.into_iter().flatten().map(figure).collect()
    }

    /// Lists the cells.
    pub(crate) fn cells(&self) -> Vec<Cell> {
        let mut cells: Vec<_> = self.figures.keys().map(|(_, cell, _)| *cell).collect();
        cells.sort_unstable_by_key(|c| (1 - c.qos, c.payload, c.requesters, c.in_flight));
        cells.dedup();
        cells
    }
}

/// Asks everybody everything, round by round.
pub(crate) async fn compare(built: &Built, peers: &Peers, effort: Effort) -> Result<Compared> {
    let mut stages = Vec::new();
    for kind in BrokerKind::ALL {
        stages.push(Stage::set(kind, built, peers).await?);
    }
    let mut compared = Compared::default();
    let cells = Cell::all();
    for round in 0..effort.rounds {
        println!("round {} of {}", round + 1, effort.rounds);
        for &cell in cells.iter().filter(|cell| cell.is_central() || round < effort.other_rounds) {
            for stage in &stages {
                // Another one begins each time, so that nobody always follows the same neighbour.
                for turn in 0..Responder::ALL.len() {
                    let responder = Responder::ALL[(turn + round) % Responder::ALL.len()];
                    let question = cell.question(stage, responder, effort);
                    let figures = load::ask(built, &stage.access(), &question).await?;
                    let key = (stage.kind, cell, responder);
                    compared.figures.entry(key).or_default().push(figures);
                }
            }
        }
    }
    for stage in stages {
        stage.clear().await?;
    }
    Ok(compared)
}

/// Requesters, and requests in flight in all, the same number for each requester.
///
/// The requesters share one account. A hub takes 256 requests of one sender at a time, and refuses more with 429.
const LOADS: [(usize, usize); 8] =
    [(1, 1), (1, 16), (1, 256), (10, 10), (10, 20), (10, 250), (100, 100), (100, 200)];
