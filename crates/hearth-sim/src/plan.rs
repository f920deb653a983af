//! What a seed stands for: a broker, a home, and a list of steps; each step stands on its own.

use std::time::Duration;

pub(crate) use crate::faults::Fault;
use crate::{
    broker::{Habits, Takeover},
    faults::{fault, offer},
};

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
    pub(crate) habits: Habits,
    pub(crate) offer: Option<&'static str>,
    pub(crate) fallback: Option<&'static str>,
    pub(crate) required: bool,
    pub(crate) will_delay: Duration,
    /// The session's PUBLISH packets that the hub takes at a time.
    pub(crate) client_receive_maximum: u16,
    /// Requests that one device may have waiting.
    pub(crate) queue: usize,
    /// How long each guardian takes to acknowledge a will.
    pub(crate) guardians: Vec<Duration>,
    pub(crate) executes_stale: bool,
    /// So many requests come at once that the journal has no room for what is refused.
    pub(crate) flooded: bool,
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
    Fault(Fault),
}

/// What clients and devices do.
#[derive(Clone, Debug)]
pub(crate) enum Traffic {
    /// A requester asks.
    Ask(Ask),
    /// A requester sends an earlier request once more.
    AskAgain {
        back: usize,
    },
    /// Somebody sends what looks like an acknowledgement of a will.
    Forge {
        named: bool,
    },
    /// A device reports a state on its own.
    Report {
        device: usize,
    },
    /// The other hub's will is published.
    NeighbourDies,
    NeighbourReturns,
}

/// A request as a requester makes it.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    pub(crate) target: Target,
    pub(crate) response: Response,
    pub(crate) correlated: Correlated,
    pub(crate) at_least_once: bool,
    pub(crate) expiry: Option<u32>,
    pub(crate) retain: bool,
    pub(crate) requester: usize,
    /// Whether the requester asks again after this time without an answer.
    pub(crate) patience: Option<Duration>,
    /// How many requests go out at once.
    pub(crate) times: usize,
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Power,
    Toggle,
    Set,
    Temperature,
    Position,
    Step,
    Read,
    Describe,
    Unknown,
    TooLarge,
    Absences,
    Devices,
}

/// Where the response shall go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Response {
    Own,
    None,
    /// Outside the prefix, but allowed.
    Allowed,
    /// Outside of what is allowed.
    Forbidden(usize),
}

/// The Correlation Data of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Correlated {
    Unique,
    /// The same as that of other requests.
    Reused,
    None,
}

impl Plan {
    pub(crate) fn new(seed: u64, steps: usize) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut setup = setup(&mut rng);
        // From peaceful to stormy: how many of a hundred steps are faults.
        let faults = *pick(&mut rng, &[3, 8, 15, 30]);
        let mut steps: Vec<Step> = (0..steps).map(|_| step(&mut rng, faults)).collect();
        if rng.u8(..FLOODED) == 0 && steps.len() > 1 {
            flood(&mut rng, &mut setup, &mut steps);
        }
        Self { seed, setup, steps }
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
        session_expiry: Duration::from_secs(*pick(rng, &[20, 600, 7 * 86_400, 7 * 86_400])),
    };
    let delays = [100, 700, 3_000, 20_000, 90_000];
    let guardians = (0..*pick(rng, &[0, 1, 1, 2, 3]))
        .map(|_| Duration::from_millis(*pick(rng, &delays)))
        .collect();
    Setup {
        habits,
        offer: offer(rng),
        fallback: *pick(rng, &[None, None, Some("home")]),
        required: rng.u8(..8) == 0,
        will_delay: Duration::from_secs(*pick(rng, &[0, 2, 10, 10, 30])),
        client_receive_maximum: *pick(rng, &[1, 2, 20, 1024, 1024]),
        queue: *pick(rng, &[2, 4, 16]),
        guardians,
        executes_stale: rng.u8(..6) == 0,
        flooded: false,
    }
}

/// While the broker takes no answers, one requester asks for more than the hub can remember.
fn flood(rng: &mut fastrand::Rng, setup: &mut Setup, steps: &mut [Step]) {
    setup.client_receive_maximum = *pick(rng, &[64, 1024]);
    setup.habits.overruns = true;
    setup.flooded = true;
    let at = rng.usize(1..steps.len());
    let lasts = Duration::from_secs(20);
    steps[at - 1].action = Action::Fault(Fault::Withhold { lasts });
    let asks = Ask {
        target: Target::Position,
        response: Response::Own,
        correlated: Correlated::Unique,
        at_least_once: true,
        expiry: None,
        retain: false,
        requester: 0,
        patience: None,
        times: 2_600,
    };
    steps[at] =
        Step { after: Duration::from_millis(5), action: Action::Traffic(Traffic::Ask(asks)) };
}

fn step(rng: &mut fastrand::Rng, faults: u32) -> Step {
    let after = match rng.u32(..100) {
        0..60 => rng.u64(..200),
        60..85 => rng.u64(..2_000),
        85..96 => rng.u64(..15_000),
        96..99 => rng.u64(..100_000),
        _ => rng.u64(..1_200_000),
    };
    let action = if rng.u32(..100) < faults {
        Action::Fault(fault(rng))
    } else {
        Action::Traffic(traffic(rng))
    };
    Step { after: Duration::from_millis(after), action }
}

fn traffic(rng: &mut fastrand::Rng) -> Traffic {
    match rng.u32(..100) {
        0..75 => Traffic::Ask(ask(rng)),
        75..85 => Traffic::AskAgain { back: rng.usize(..4) },
        85..93 => Traffic::Report { device: rng.usize(..) },
        93..95 => Traffic::Forge { named: rng.bool() },
        95..98 => Traffic::NeighbourDies,
        _ => Traffic::NeighbourReturns,
    }
}

fn ask(rng: &mut fastrand::Rng) -> Ask {
    let target = match rng.u32(..100) {
        0..18 => Target::Power,
        18..28 => Target::Toggle,
        28..36 => Target::Set,
        36..48 => Target::Temperature,
        48..58 => Target::Position,
        58..80 => Target::Step,
        80..88 => Target::Read,
        88..91 => Target::Describe,
        91..93 => Target::Unknown,
        93..95 => Target::TooLarge,
        95..97 => Target::Absences,
        _ => Target::Devices,
    };
    let response = match rng.u32(..100) {
        0..82 => Response::Own,
        82..91 => Response::None,
        91..95 => Response::Allowed,
        _ => Response::Forbidden(rng.usize(..)),
    };
    let correlated = match rng.u32(..100) {
        0..83 => Correlated::Unique,
        83..90 => Correlated::Reused,
        _ => Correlated::None,
    };
    Ask {
        target,
        response,
        correlated,
        at_least_once: rng.u8(..6) > 0,
        expiry: *pick(rng, &[None, None, None, Some(1), Some(5), Some(30), Some(600)]),
        retain: rng.u8(..40) == 0,
        requester: rng.usize(..3),
        patience: pick(rng, &[None, None, Some(2), Some(8)]).map(Duration::from_secs),
        times: if rng.u8(..40) == 0 { rng.usize(2..10) } else { 1 },
    }
}

/// One seed of so many has a flood of requests.
const FLOODED: u8 = 100;

pub(crate) fn pick<'v, T>(rng: &mut fastrand::Rng, values: &'v [T]) -> &'v T {
    &values[rng.usize(..values.len())]
}
