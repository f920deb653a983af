//! The plan of a seed: a broker, a home, and a list of steps; each step is independent of the others.

mod announcing;
mod asking;
mod asks;
mod strangers;
mod themes;

use std::time::Duration;

pub(crate) use crate::faults::Fault;
use crate::{
    broker::{Habits, Takeover},
    devices,
    faults::{fault, offer},
    link::HubId,
    world::announcing::Announces,
};
pub(crate) use asks::{Ask, Correlated, Requester, Response, Target};
pub(crate) use strangers::{Knowledge, Mischief, Names};

/// All that a simulation is made from.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) setup: Setup,
    pub(crate) steps: Vec<Step>,
}

/// What does not change during one simulation.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    /// How many hubs the home has.
    pub(crate) hubs: usize,
    /// Which hub begins with each of the devices that any may have.
    pub(crate) placement: [HubId; devices::MOVABLE.len()],
    pub(crate) habits: Habits,
    pub(crate) offer: Option<&'static str>,
    pub(crate) fallback: Option<&'static str>,
    pub(crate) required: bool,
    pub(crate) will_delay: Duration,
    /// The session's PUBLISH packets that the hub takes at a time.
    pub(crate) client_receive_maximum: u16,
    /// How long the hub waits for late evidence of its wills.
    pub(crate) settle: Duration,
    /// Requests that one device may have waiting.
    pub(crate) queue: usize,
    pub(crate) guardians: Vec<Guardian>,
    /// Whether somebody is there who means no good.
    pub(crate) hostile: bool,
    pub(crate) executes_stale: bool,
    /// So many requests come at once that the journal has no room for what is refused.
    pub(crate) flooded: bool,
    /// What the hubs announce at first.
    pub(crate) announces: Option<Announces>,
    /// Whether devices ask each other, and which.
    pub(crate) asking: Option<devices::Asking>,
}

/// A client that acts on every will.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Guardian {
    /// How long it takes.
    pub(crate) takes: Duration,
    /// Whether it says everything twice.
    pub(crate) doubled: bool,
}

/// One action, and how long after the one before.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) after: Duration,
    pub(crate) action: Action,
}

/// What somebody does, or what befalls somebody; one that does not apply is without effect.
#[derive(Clone, Debug)]
pub(crate) enum Action {
    Traffic(Traffic),
    /// What befalls one of the hubs, or the broker.
    Fault(HubId, Fault),
}

/// What clients and devices do.
#[derive(Clone, Debug)]
pub(crate) enum Traffic {
    /// A requester asks.
    Ask(Ask),
    /// A requester sends an earlier request once more.
    AskAgain {
        back: usize,
        /// Whether it says so.
        marked: bool,
    },
    /// Somebody means no good, or knows no better.
    Stranger(Mischief),
    /// Whoever stands behind a device's MQTT topic says something there.
    Device {
        device: usize,
        times: usize,
        at_least_once: bool,
    },
    /// A device asks another one, without having been asked itself.
    DeviceAsks {
        times: usize,
    },
    /// A device reports a state on its own.
    Report {
        device: usize,
    },
    /// A device can no longer reach what it stands for, or can again.
    Reach {
        device: usize,
    },
    /// The other hub's will is published.
    NeighbourDies,
    NeighbourReturns,
    /// The program to which devices are announced says that it has started.
    AssistantStarts {
        base: usize,
    },
}

impl Plan {
    /// Makes the plan of a seed: the home, and this many steps.
    pub(crate) fn new(seed: u64, steps: usize) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut setup = setup(&mut rng);
        // From peaceful to stormy: how many of a hundred steps are faults.
        let faults = *pick(&mut rng, &[3, 8, 15, 30]);
        let mut steps: Vec<Step> =
            (0..steps).map(|_| step(&mut rng, faults, setup.hostile)).collect();
        if rng.u8(..FLOODED) == 0 && steps.len() > 2 {
            flood(&mut rng, &mut setup, &mut steps);
        }
        let mut plan = Self { seed, setup, steps };
        plan.take_up_theme(&mut rng);
        plan.take_up_announcements();
        plan.take_up_asking();
        plan
    }

    /// Puts one more step between the others, which come when they came before.
    fn insert(&mut self, rng: &mut fastrand::Rng, action: Action) {
        let at = rng.usize(..=self.steps.len());
        let mut after = Duration::ZERO;
        if let Some(next) = self.steps.get_mut(at) {
            after = next.after.mul_f32(rng.f32());
            next.after -= after;
        }
        self.steps.insert(at, Step { after, action });
    }
}

fn setup(rng: &mut fastrand::Rng) -> Setup {
    let habits = Habits {
        counts_packet_ids: rng.bool(),
        reorders: rng.u8(..4) == 0,
        overruns: rng.u8(..4) == 0,
        takeover: *pick(
            rng,
            &[
                Takeover::Cancels,
                Takeover::Cancels,
                Takeover::Cancels,
                Takeover::Publishes,
                Takeover::PublishesLate,
            ],
        ),
        session_expiry: *pick(
            rng,
            &[
                Duration::ZERO,
                Duration::from_secs(20),
                Duration::from_secs(20),
                Duration::from_secs(600),
                Duration::from_secs(600),
                Habits::ASKED_EXPIRY,
                Habits::ASKED_EXPIRY,
                Habits::ASKED_EXPIRY,
                Habits::ASKED_EXPIRY,
            ],
        ),
        wildcards: rng.u8(..10) > 0,
        one_filter_at_a_time: rng.u8(..12) == 0,
        adds_expiry: rng.u8(..8) == 0,
        tells_of_nobody: rng.u8(..3) == 0,
        vouches: rng.u8(..3) == 0,
    };
    let delays = [100, 700, 3_000, 20_000, 90_000];
    let guardians = (0..*pick(rng, &[0, 1, 1, 2, 3])).map(|_| Guardian {
        takes: Duration::from_millis(*pick(rng, &delays)),
        doubled: rng.u8(..4) == 0,
    });
    let guardians = guardians.collect();
    let hubs = *pick(rng, &[1, 1, 1, 1, 1, 1, 2, 2, 2, 3]);
    Setup {
        hubs,
        placement: std::array::from_fn(|_| HubId(rng.usize(..hubs))),
        habits,
        offer: offer(rng),
        fallback: *pick(rng, &[None, None, Some("home")]),
        required: rng.u8(..8) == 0,
        will_delay: Duration::from_secs(*pick(rng, &[0, 2, 10, 10, 30])),
        client_receive_maximum: *pick(rng, &[1, 2, 20, 1024, 1024]),
        settle: Duration::from_millis(300),
        queue: *pick(rng, &[2, 4, 16]),
        guardians,
        hostile: rng.u8(..3) == 0,
        executes_stale: rng.u8(..6) == 0,
        flooded: false,
        announces: None,
        asking: None,
    }
}

/// While the broker takes no answers, one requester asks for more than the hub can remember.
fn flood(rng: &mut fastrand::Rng, setup: &mut Setup, steps: &mut [Step]) {
    setup.client_receive_maximum = *pick(rng, &[64, 1024]);
    setup.habits.overruns = true;
    setup.flooded = true;
    let at = rng.usize(1..steps.len() - 1);
    let lasts = Duration::from_secs(20);
    let hub =
        setup.placement[devices::MOVABLE.iter().position(|id| *id == devices::BLINDS).unwrap_or(0)];
    steps[at - 1].action = Action::Fault(hub, Fault::Withhold { lasts });
    let plain = Ask::plain(Target::Position);
    let long = Ask { correlated: Correlated::Long(60_000), times: 60, ..plain.clone() };
    let (first, second) = match rng.u8(..3) {
        // More than can be answered.
        0 => (Ask { times: 2_600, ..plain.clone() }, plain),
        // More than can be remembered, by two senders, of whom neither may have all.
        1 => (long.clone(), Ask { requester: Requester::Phone(1), ..long }),
        // More answers than may wait behind others where nobody waits for their PUBACK.
        _ => (
            Ask { times: 200, ..plain.clone() },
            Ask { at_least_once: false, times: 1_500, ..plain },
        ),
    };
    // What comes second finds the window full of answers.
    let delays = [5, if second.at_least_once { 5 } else { 6_000 }];
    for ((step, ask), after) in steps[at..].iter_mut().zip([first, second]).zip(delays) {
        let after = Duration::from_millis(after);
        *step = Step { after, action: Action::Traffic(Traffic::Ask(ask)) };
    }
}

fn step(rng: &mut fastrand::Rng, faults: u32, hostile: bool) -> Step {
    let after = match rng.u32(..100) {
        0..60 => rng.u64(..200),
        60..85 => rng.u64(..2_000),
        85..96 => rng.u64(..15_000),
        96..99 => rng.u64(..100_000),
        _ => rng.u64(..1_200_000),
    };
    let action = if rng.u32(..100) < faults {
        Action::Fault(HubId(rng.usize(..)), fault(rng))
    } else {
        Action::Traffic(traffic(rng, hostile))
    };
    Step { after: Duration::from_millis(after), action }
}

fn traffic(rng: &mut fastrand::Rng, hostile: bool) -> Traffic {
    match rng.u32(..100) {
        0..75 => Traffic::Ask(asks::ask(rng)),
        75..84 => Traffic::AskAgain { back: rng.usize(..4), marked: rng.u8(..4) > 0 },
        84..87 => Traffic::Report { device: rng.usize(..) },
        87..89 => Traffic::Reach { device: rng.usize(..) },
        89..92 => Traffic::Device {
            device: rng.usize(..),
            times: *pick(rng, &[1, 1, 1, 100, 400]),
            at_least_once: rng.bool(),
        },
        92..95 if hostile => Traffic::Stranger(strangers::mischief(rng)),
        92..95 => Traffic::Ask(asks::ask(rng)),
        95..98 => Traffic::NeighbourDies,
        _ => Traffic::NeighbourReturns,
    }
}

/// One seed of so many has a flood of requests.
const FLOODED: u8 = 60;

/// Chooses one of the values.
pub(crate) fn pick<'v, T>(rng: &mut fastrand::Rng, values: &'v [T]) -> &'v T {
    &values[rng.usize(..values.len())]
}
