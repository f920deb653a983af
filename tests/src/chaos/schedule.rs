//! What is broken when: derived from a seed, and the same for the same seed.

use std::time::Duration;

use fastrand::Rng;

use crate::Fault;

/// Lanes that run side by side, so that a kill may come in the middle of a fault.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Schedule {
    /// What happens to the hub in the cellar, and to the broker.
    pub cellar: Trouble,
    /// What happens to the hub in the attic.
    pub attic: Trouble,
    /// When the ledger moves that does.
    pub moves: Vec<Move>,
}

/// What happens to a hub and its link.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trouble {
    /// What is killed.
    pub kills: Vec<Kill>,
    /// What happens to the link between hub and broker.
    pub breaks: Vec<Break>,
}

/// One move of the ledger that moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Move {
    /// How long after the one before.
    pub after: Duration,
    /// How the hubs learn of it.
    pub reading: Reading,
}

/// How a hub comes to read a changed configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// By SIGHUP.
    Reload,
    /// By an end in order and a start.
    Restart,
}

/// One SIGKILL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kill {
    /// How long after the one before is back.
    pub after: Duration,
    /// Who is killed.
    pub victim: Victim,
    /// How long until it is started again.
    pub down: Duration,
}

/// Who can be killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Victim {
    /// The hub.
    Hub,
    /// The broker.
    Broker,
}

/// One thing that happens to the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Break {
    /// How long after the one before has ended.
    pub after: Duration,
    /// What happens.
    pub kind: BreakKind,
    /// How long it lasts.
    pub lasting: Duration,
}

/// What can happen to the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakKind {
    /// It is cut.
    Cut,
    /// It is cut in the middle of a packet.
    CutWithinAPacket,
    /// It is slow or half-open for a while.
    Fault(Fault),
}

impl BreakKind {
    /// The names of all kinds in the report.
    pub const NAMES: [&str; 5] = ["cut", "cut within a packet", "delay", "throttle", "half-open"];

    /// Returns the name of the kind in the report.
    pub fn name(self) -> &'static str {
        let [cut, within, delay, throttle, half_open] = Self::NAMES;
        match self {
            Self::Cut => cut,
            Self::CutWithinAPacket => within,
            Self::Fault(Fault::Delay(_)) => delay,
            Self::Fault(Fault::Throttle(_)) => throttle,
            Self::Fault(Fault::HalfOpen) => half_open,
            Self::Fault(Fault::None) => "none",
        }
    }
}

impl Schedule {
    /// Derives what happens within a run of this length.
    pub fn derive(seed: u64, length: Duration) -> Self {
        let rng = &mut Rng::with_seed(seed);
        let all = [Victim::Hub, Victim::Hub, Victim::Broker];
        Self {
            cellar: Trouble::derive(rng, &all, length),
            attic: Trouble::derive(rng, &[Victim::Hub], length),
            moves: moves(rng, length),
        }
    }
}

impl Schedule {
    /// Leaves out most of what happens in the attic, so that a hub with a lamp there has time to be asked for it.
    #[must_use]
    pub fn with_a_calm_attic(self) -> Self {
        Self { attic: self.attic.calmer(), ..self }
    }
}

impl Trouble {
    /// Keeps one kill and one break of several, each at the time that it had.
    fn calmer(self) -> Self {
        let mut waited = Duration::ZERO;
        let mut kills = Vec::new();
        for (place, kill) in self.kills.into_iter().enumerate() {
            waited += kill.after;
            if place % KEPT_IN_THE_ATTIC == 0 {
                kills.push(Kill { after: std::mem::take(&mut waited), ..kill });
            } else {
                waited += kill.down;
            }
        }
        let mut waited = Duration::ZERO;
        let mut breaks = Vec::new();
        for (place, one) in self.breaks.into_iter().enumerate() {
            waited += one.after;
            if place % KEPT_IN_THE_ATTIC == 0 {
                breaks.push(Break { after: std::mem::take(&mut waited), ..one });
            } else {
                waited += one.lasting;
            }
        }
        Self { kills, breaks }
    }

    fn derive(rng: &mut Rng, victims: &[Victim], length: Duration) -> Self {
        Self { kills: kills(rng, victims, length), breaks: breaks(rng, length) }
    }
}

fn moves(rng: &mut Rng, length: Duration) -> Vec<Move> {
    let mut bag = Bag::new(&[Reading::Reload, Reading::Reload, Reading::Restart]);
    let mut moves = Vec::new();
    let mut at = Duration::ZERO;
    loop {
        let next = Move { after: millis(rng, 2000, 8000), reading: bag.draw(rng) };
        at += next.after + MOVING;
        if at > length {
            return moves;
        }
        moves.push(next);
    }
}

fn kills(rng: &mut Rng, victims: &[Victim], length: Duration) -> Vec<Kill> {
    let mut bag = Bag::new(victims);
    let mut kills = Vec::new();
    let mut at = Duration::ZERO;
    loop {
        let victim = bag.draw(rng);
        let down = match victim {
            // On either side of the will delay, so that some wills are published and some are not.
            Victim::Hub if rng.bool() => millis(rng, 0, 400),
            Victim::Hub => millis(rng, 1500, 3000),
            Victim::Broker => millis(rng, 100, 800),
        };
        let kill = Kill { after: millis(rng, 800, 3500), victim, down };
        at += kill.after + kill.down;
        if at > length {
            return kills;
        }
        kills.push(kill);
    }
}

fn breaks(rng: &mut Rng, length: Duration) -> Vec<Break> {
    let mut bag = Bag::new(&Kind::ALL);
    let mut breaks = Vec::new();
    let mut at = Duration::ZERO;
    loop {
        let (kind, lasting) = match bag.draw(rng) {
            Kind::Cut => (BreakKind::Cut, Duration::ZERO),
            Kind::CutWithinAPacket => (BreakKind::CutWithinAPacket, Duration::ZERO),
            Kind::Delay => {
                let fault = Fault::Delay(millis(rng, 20, 300));
                (BreakKind::Fault(fault), millis(rng, 1500, 5000))
            }
            Kind::Throttle => {
                let fault = Fault::Throttle(rng.u32(2_000..20_000));
                (BreakKind::Fault(fault), millis(rng, 1500, 4000))
            }
            // Some end before either side can notice, some after both have given up.
            Kind::HalfOpen => (BreakKind::Fault(Fault::HalfOpen), millis(rng, 1000, 12_000)),
        };
        let next = Break { after: millis(rng, 500, 2500), kind, lasting };
        at += next.after + next.lasting;
        if at > length {
            return breaks;
        }
        breaks.push(next);
    }
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Cut,
    CutWithinAPacket,
    Delay,
    Throttle,
    HalfOpen,
}

impl Kind {
    const ALL: [Self; 7] = [
        Self::Cut,
        Self::Cut,
        Self::CutWithinAPacket,
        Self::Delay,
        Self::Delay,
        Self::Throttle,
        Self::HalfOpen,
    ];
}

/// Draws everything that is in it once before it draws anything again, so that a short run has some of each.
#[derive(Debug)]
struct Bag<T> {
    all: Vec<T>,
    left: Vec<T>,
}

impl<T: Copy> Bag<T> {
    fn new(all: &[T]) -> Self {
        Self { all: all.to_vec(), left: Vec::new() }
    }

    fn draw(&mut self, rng: &mut Rng) -> T {
        if self.left.is_empty() {
            self.left.clone_from(&self.all);
            rng.shuffle(&mut self.left);
        }
        self.left.pop().expect("a bag is made of something")
    }
}

/// One of so many kills and breaks stays in a calm attic.
const KEPT_IN_THE_ATTIC: usize = 5;

/// How long a move usually takes while things break.
const MOVING: Duration = Duration::from_secs(5);

fn millis(rng: &mut Rng, from: u64, to: u64) -> Duration {
    Duration::from_millis(rng.u64(from..to))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn a_seed_gives_the_same_schedule_again_and_another_one_another() {
        let schedule = Schedule::derive(7, MINUTE);
        assert_eq!(schedule, Schedule::derive(7, MINUTE));
        assert_ne!(schedule, Schedule::derive(8, MINUTE));
    }

    #[test]
    fn a_minute_holds_ten_kills_of_each_and_some_of_every_fault_within_three() {
        for seed in 0..100 {
            let Schedule { cellar, attic, moves } = Schedule::derive(seed, 3 * MINUTE);
            for (name, trouble) in [("cellar", cellar), ("attic", attic)] {
                let kills = trouble.kills.len();
                assert!(kills >= 30, "seed {seed}: {kills} kills in the {name}");
                for kind in BreakKind::NAMES {
                    let some = trouble.breaks.iter().any(|one| one.kind.name() == kind);
                    assert!(some, "seed {seed}: no {kind} in the {name}");
                }
            }
            assert!(moves.len() >= 10, "seed {seed}: {} moves", moves.len());
        }
    }

    #[test]
    fn a_calm_attic_has_a_fifth_of_the_trouble_and_the_cellar_all() {
        let full = Schedule::derive(7, 3 * MINUTE);
        let calm = full.clone().with_a_calm_attic();
        assert_eq!(calm.cellar, full.cellar);
        assert_eq!(calm.moves, full.moves);
        assert_eq!(calm.attic.kills.len(), full.attic.kills.len().div_ceil(5));
        assert_eq!(calm.attic.breaks.len(), full.attic.breaks.len().div_ceil(5));
        // The sixth kill comes when it would have come anyway.
        let until = |kills: &[Kill], last: usize| -> Duration {
            let before: Duration = kills[..last].iter().map(|kill| kill.after + kill.down).sum();
            before + kills[last].after
        };
        assert_eq!(until(&calm.attic.kills, 1), until(&full.attic.kills, 5));
    }

    #[test]
    fn everything_is_over_when_the_run_is() {
        for seed in 0..100 {
            let Schedule { cellar, attic, moves } = Schedule::derive(seed, MINUTE);
            for Trouble { kills, breaks } in [cellar, attic] {
                let kills: Duration = kills.iter().map(|kill| kill.after + kill.down).sum();
                let breaks: Duration = breaks.iter().map(|one| one.after + one.lasting).sum();
                assert!(kills <= MINUTE && breaks <= MINUTE, "seed {seed}");
            }
            assert!(moves.iter().map(|one| one.after).sum::<Duration>() <= MINUTE);
        }
    }
}
