//! Situations that chance alone produces once in fifty thousand seeds; some seeds have one of them as their theme.
//!
//! A theme is a home that suits a situation, and a scene of a few steps that is played several times with varying
//! times. Between the scenes the seed is like any other.

use std::time::Duration;

use super::{
    Action, Ask, Fault, Guardian, Mischief, Plan, Requester, Setup, Step, Target, Traffic, pick,
};
use crate::{
    broker::{Matter, Takeover},
    devices::{BLINDS, HEATER, MOVABLE},
    link::HubId,
    store::Damage,
};

/// What a seed brings about again and again.
#[derive(Clone, Copy, Debug)]
enum Theme {
    /// A device leaves a hub and comes back before SUBACK.
    ShortLeave,
    /// What a hub has left is looked at anew while the broker still owes it what the look before has asked for.
    LateLook,
    /// The connection is dead when the outcome of a will is decided, and the session is lost with what it had.
    DeadWhenDecided,
    /// The store fails, and the hub is killed, while an outcome is about to be decided.
    CrashBeforeDecision,
    /// A connection that the store does not know comes to light once an outcome was decided without it.
    LateStranger,
    /// The hub is killed before its store knows a new device, and the device goes while the hub is away.
    ForgottenDevice,
    /// One sender asks for more than is remembered, and another one repeats what it has asked before that.
    Greed,
    /// One sender asks a device for more than may wait for it, and another one asks the same device.
    Crowd,
    /// What is under way ends, and is asked for again, while the broker refuses for now to hear that it is under way.
    EndedUnheard,
    /// More waits for a hub than it can hold, so that the states which it should take back are left to another connection.
    LeftUnseen,
}

impl Plan {
    /// Gives the plan a theme, where its seed has one.
    pub(super) fn take_up_theme(&mut self, rng: &mut fastrand::Rng) {
        if rng.u8(..THEMED) > 0 {
            return;
        }
        let theme = *pick(rng, &Theme::ALL);
        theme.prepare(&mut self.setup);
        let apart = theme.apart();
        let mut at = rng.usize(..apart);
        loop {
            let scene = theme.scene(&self.setup, rng);
            let Some(steps) = self.steps.get_mut(at..at + scene.len()) else { return };
            at += scene.len() + rng.usize(..apart);
            steps.clone_from_slice(&scene);
        }
    }
}

impl Theme {
    const ALL: [Self; 10] = [
        Self::ShortLeave,
        Self::LateLook,
        Self::DeadWhenDecided,
        Self::CrashBeforeDecision,
        Self::LateStranger,
        Self::ForgottenDevice,
        Self::Greed,
        Self::Crowd,
        Self::EndedUnheard,
        Self::LeftUnseen,
    ];

    /// Makes the home one that the situation can come about in.
    fn prepare(self, setup: &mut Setup) {
        let guardian =
            |takes| vec![Guardian { takes: Duration::from_millis(takes), doubled: false }];
        match self {
            Self::ShortLeave | Self::EndedUnheard => {}
            Self::ForgottenDevice => setup.habits.reorders = false,
            Self::Greed | Self::Crowd => {
                setup.hostile = true;
                setup.client_receive_maximum = 1024;
            }
            Self::LateLook => {
                setup.client_receive_maximum = 1;
                setup.habits.overruns = false;
                setup.habits.reorders = false;
            }
            Self::LeftUnseen => {
                setup.client_receive_maximum = 1;
                setup.habits.overruns = true;
                setup.keep_sessions();
            }
            Self::DeadWhenDecided | Self::CrashBeforeDecision => {
                setup.keep_sessions();
                setup.settle = Duration::from_secs(4);
                setup.will_delay = Duration::from_secs(2);
                setup.guardians = guardian(3_000);
            }
            Self::LateStranger => {
                setup.keep_sessions();
                setup.habits.takeover = Takeover::PublishesLate;
                setup.will_delay = Duration::from_secs(2);
                // Nobody acts on a will, so its outcome is what silence proves.
                setup.guardians = Vec::new();
                setup.hubs = 1;
                setup.placement = [HubId(0); MOVABLE.len()];
            }
        }
    }

    /// Returns how many other steps lie between two scenes at most.
    fn apart(self) -> usize {
        match self {
            // Hundreds of requests take the simulation long.
            Self::Greed | Self::Crowd => 200,
            Self::ShortLeave
            | Self::LateLook
            | Self::DeadWhenDecided
            | Self::CrashBeforeDecision
            | Self::LateStranger
            | Self::ForgottenDevice
            | Self::EndedUnheard
            | Self::LeftUnseen => 30,
        }
    }

    fn scene(self, setup: &Setup, rng: &mut fastrand::Rng) -> Vec<Step> {
        match self {
            Self::ShortLeave => short_leave(setup, rng),
            Self::LateLook => late_look(setup, rng),
            Self::DeadWhenDecided => dead_when_decided(setup, rng),
            Self::CrashBeforeDecision => crash_before_decision(setup, rng),
            Self::LateStranger => late_stranger(setup, rng),
            Self::ForgottenDevice => forgotten_device(setup, rng),
            Self::Greed => greed(setup, rng),
            Self::Crowd => crowd(setup, rng),
            Self::EndedUnheard => ended_unheard(setup, rng),
            Self::LeftUnseen => left_unseen(setup, rng),
        }
    }
}

impl Setup {
    /// The broker keeps sessions, and each in its order.
    fn keep_sessions(&mut self) {
        self.habits.session_expiry = crate::broker::Habits::ASKED_EXPIRY;
        self.habits.reorders = false;
    }
}

fn short_leave(setup: &Setup, rng: &mut fastrand::Rng) -> Vec<Step> {
    let hub = HubId(rng.usize(..setup.hubs));
    let device = rng.usize(..MOVABLE.len());
    let mut at_hub = |after, fault| struck(hub, rng.u64(after), fault);
    vec![
        at_hub(5_000..10_000, latency(400)),
        at_hub(0..10, Fault::DeviceRemoved { device }),
        at_hub(2_000..4_000, Fault::DeviceMoves { device }),
        at_hub(0..300, Fault::DeviceRemoved { device }),
        at_hub(0..300, Fault::DeviceMoves { device }),
        at_hub(3_000..6_000, latency(1)),
    ]
}

fn late_look(setup: &Setup, rng: &mut fastrand::Rng) -> Vec<Step> {
    let hub = HubId(rng.usize(..setup.hubs));
    let first = rng.usize(..MOVABLE.len());
    let step = Action::Traffic(Traffic::Ask(Ask { times: 4, ..Ask::plain(Target::Step) }));
    let mut at_hub = |after, fault| struck(hub, rng.u64(after), fault);
    let mut scene: Vec<Step> =
        (0..MOVABLE.len()).map(|device| at_hub(0..10, Fault::DeviceMoves { device })).collect();
    scene.extend([
        at_hub(20_000..30_000, latency(400)),
        at_hub(0..10, Fault::StoreLatency(Duration::from_secs(1))),
        at_hub(0..10, Fault::DeviceRemoved { device: first }),
        Step { after: millis(rng.u64(0..1_000)), action: step },
    ]);
    let mut at_hub = |after, fault| struck(hub, rng.u64(after), fault);
    scene.extend([
        at_hub(300..2_000, Fault::DeviceRemoved { device: first + 1 }),
        at_hub(15_000..20_000, Fault::StoreLatency(millis(2))),
        at_hub(0..10, latency(1)),
    ]);
    scene
}

/// The will is published after 2 s and acted on after 5; the hub is back in between, and its connection soon dead.
fn dead_when_decided(setup: &Setup, rng: &mut fastrand::Rng) -> Vec<Step> {
    let hub = HubId(rng.usize(..setup.hubs));
    let mut at_hub = |after, fault| struck(hub, rng.u64(after), fault);
    vec![
        at_hub(30_000..40_000, latency(1)),
        at_hub(0..10, crash(3_200, usize::MAX)),
        at_hub(3_300..4_700, Fault::HalfOpen),
        at_hub(5_000..10_000, Fault::SessionLost),
    ]
}

/// As before, and what was acted on comes to a hub that cannot store it and is killed.
fn crash_before_decision(setup: &Setup, rng: &mut fastrand::Rng) -> Vec<Step> {
    let hub = HubId(rng.usize(..setup.hubs));
    let mut at_hub = |after, fault| struck(hub, rng.u64(after), fault);
    vec![
        at_hub(30_000..40_000, latency(1)),
        at_hub(0..10, crash(3_200, usize::MAX)),
        at_hub(3_400..4_700, Fault::StoreFails { lasts: millis(2_200) }),
        at_hub(700..1_900, crash(500, usize::MAX)),
    ]
}

/// The hub takes what tells of its will while its store fails, and is killed; its next life does not know that connection.
fn late_stranger(setup: &Setup, rng: &mut fastrand::Rng) -> Vec<Step> {
    let hub = HubId(rng.usize(..setup.hubs));
    let mut at_hub = |after, fault| struck(hub, rng.u64(after), fault);
    vec![
        at_hub(30_000..40_000, latency(1)),
        at_hub(0..10, crash(4_000, usize::MAX)),
        at_hub(3_000..3_500, latency(400)),
        at_hub(0..10, Fault::StoreFails { lasts: millis(2_500) }),
        at_hub(1_300..2_600, crash(800, usize::MAX)),
        at_hub(0..10, latency(1)),
    ]
}

fn forgotten_device(setup: &Setup, rng: &mut fastrand::Rng) -> Vec<Step> {
    let hub = HubId(rng.usize(..setup.hubs));
    let device = rng.usize(..MOVABLE.len());
    let mut at_hub = |after, fault| struck(hub, rng.u64(after), fault);
    let killed = Fault::Crash {
        durable: 0,
        up: usize::MAX,
        devices_survive: true,
        away: millis(5_000),
        damage: Damage::None,
    };
    vec![
        at_hub(0..10, latency(1)),
        at_hub(0..10, Fault::DeviceRemoved { device }),
        at_hub(30_000..40_000, Fault::StoreLatency(millis(6_000))),
        at_hub(0..10, Fault::DeviceMoves { device }),
        at_hub(100..3_000, killed),
        at_hub(0..2_000, Fault::DeviceRemoved { device }),
        at_hub(0..10, Fault::StoreLatency(millis(2))),
    ]
}

/// What fills the journal is of one sender; what another one repeats is older.
fn greed(setup: &Setup, rng: &mut fastrand::Rng) -> Vec<Step> {
    let times = rng.usize(1_100..1_300);
    let position = Ask::plain(Target::Position);
    vec![
        struck(hub_of_blinds(setup), rng.u64(10_000..20_000), latency(1)),
        traffic(10, Traffic::Ask(Ask::plain(Target::Step))),
        traffic(rng.u64(500..1_000), flood(times)),
        traffic(rng.u64(2_000..6_000), Traffic::Ask(position)),
        traffic(rng.u64(200..2_000), Traffic::AskAgain { back: times + 1, marked: true }),
    ]
}

/// More comes of one sender than may wait for a device, and before the device has answered much of it another one asks.
fn crowd(setup: &Setup, rng: &mut fastrand::Rng) -> Vec<Step> {
    let other = Ask { requester: Requester::Phone(1), ..Ask::plain(Target::Position) };
    vec![
        struck(hub_of_blinds(setup), rng.u64(10_000..20_000), latency(1)),
        traffic(10, flood(rng.usize(600..800))),
        traffic(rng.u64(5..50), Traffic::Ask(other)),
    ]
}

/// The blinds move for three seconds.
fn ended_unheard(setup: &Setup, rng: &mut fastrand::Rng) -> Vec<Step> {
    let times = rng.u32(2..5);
    let refused = Fault::RefusePublishes { matter: Matter::Answer, reason_code: 0x97, times };
    vec![
        struck(hub_of_blinds(setup), rng.u64(10_000..20_000), latency(1)),
        struck(hub_of_blinds(setup), 0, refused),
        traffic(10, Traffic::Ask(Ask::plain(Target::Position))),
        traffic(rng.u64(3_050..7_000), Traffic::AskAgain { back: 0, marked: true }),
    ]
}

/// The heater is slow: what the hub holds of its requests lasts for a while, and the device goes towards the end of it.
fn left_unseen(setup: &Setup, rng: &mut fastrand::Rng) -> Vec<Step> {
    let hub = HubId(rng.usize(..setup.hubs));
    let moves = |device| Fault::DeviceMoves { device: place_of(device) };
    let asked = Ask { times: 30, expiry: Some(300), ..Ask::plain(Target::Temperature) };
    let removed = rng.u64(10_000..60_000);
    // With QoS 0, what is the hub's own comes past what is left.
    let granted_less = Fault::RefuseSubscriptions { filters: 1, reason_code: 0, times: 1 };
    let mut at_hub = |after, fault| struck(hub, rng.u64(after), fault);
    vec![
        at_hub(20_000..30_000, latency(1)),
        at_hub(0..10, moves(HEATER)),
        at_hub(0..10, moves(BLINDS)),
        at_hub(5_000..8_000, granted_less),
        at_hub(0..10, crash(100, usize::MAX)),
        traffic(15_000, Traffic::Ask(asked)),
        struck(hub, removed, Fault::DeviceRemoved { device: place_of(BLINDS) }),
    ]
}

/// One sender asks so many times at once.
fn flood(times: usize) -> Traffic {
    let ask = Ask { requester: Requester::Hostile, times, ..Ask::plain(Target::Position) };
    Traffic::Stranger(Mischief::Flood(ask))
}

fn hub_of_blinds(setup: &Setup) -> HubId {
    setup.placement[place_of(BLINDS)]
}

/// Returns where a device stands among those that move.
fn place_of(device: &str) -> usize {
    MOVABLE.iter().position(|id| *id == device).unwrap_or(0)
}

fn traffic(after: u64, traffic: Traffic) -> Step {
    Step { after: millis(after), action: Action::Traffic(traffic) }
}

fn struck(hub: HubId, after: u64, fault: Fault) -> Step {
    Step { after: millis(after), action: Action::Fault(hub, fault) }
}

fn latency(ms: u64) -> Fault {
    Fault::NetworkLatency(millis(ms))
}

/// A crash that loses nothing of what the store has.
fn crash(away: u64, up: usize) -> Fault {
    Fault::Crash {
        durable: usize::MAX,
        up,
        devices_survive: true,
        away: millis(away),
        damage: Damage::None,
    }
}

fn millis(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// One seed of so many has a theme.
const THEMED: u8 = 8;
