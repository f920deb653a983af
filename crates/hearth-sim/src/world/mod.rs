//! The world of one simulation: its clock, and everything in it, moved one event at a time.

mod actions;
mod clients;
pub(crate) mod daemon;
pub(crate) mod home;
pub(crate) mod network;
mod storing;

use std::{collections::BTreeMap, time::Duration};

use hearth_core::{Message, topic::Prefix};

use crate::{
    broker::Broker,
    devices::Devices,
    fates::Fates,
    invariants::{Invariant, Violation},
    ledger::Ledger,
    link::{Life, Link, LinkId},
    plan::{Plan, Setup},
    report::{Counts, Reached},
    store::Store,
};
pub(crate) use clients::Neighbour;
pub(crate) use daemon::Daemon;

/// Everything, the hub included.
pub(crate) struct World {
    pub(crate) now: Duration,
    pub(crate) setup: Setup,
    pub(crate) rng: fastrand::Rng,
    timers: BTreeMap<(Duration, u64), Timer>,
    next_timer: u64,
    pub(crate) links: Vec<Link>,
    next_link: LinkId,
    network_up: bool,
    latency: Duration,
    client_receive_maximum: u16,
    pub(crate) broker: Broker,
    pub(crate) daemon: Option<Daemon>,
    pub(crate) life: Life,
    booted_at: Duration,
    /// The records' deadlines are of an earlier boot.
    rebooted: bool,
    unix: Duration,
    pub(crate) store: Store,
    pub(crate) devices: Devices,
    pub(crate) ledger: Ledger,
    pub(crate) fates: Fates,
    pub(crate) neighbour: Neighbour,
    /// What the hub has said of refusals since the last was checked.
    pub(crate) refusals_noticed: usize,
    pub(crate) counts: Counts,
    pub(crate) violation: Option<Violation>,
    trace: Option<Vec<String>>,
}

/// What happens later.
#[derive(Debug)]
enum Timer {
    StartDaemon,
    StartBroker,
    NetworkUp,
    DiskHasRoom,
    /// The broker gives the PUBACKs that it has held up.
    Acknowledge,
    /// A client's message reaches the broker.
    Say {
        message: Message,
        asked: Option<usize>,
    },
    /// A requester's patience ends.
    AskAgain(usize),
    /// The driver gives an attempt up.
    ConnectTimeout(LinkId),
}

impl World {
    pub(crate) fn new(plan: &Plan, traced: bool) -> Self {
        let mut world = Self {
            now: Duration::from_secs(100),
            setup: plan.setup.clone(),
            rng: fastrand::Rng::with_seed(plan.seed ^ 0x5EED_5EED),
            timers: BTreeMap::new(),
            next_timer: 0,
            links: Vec::new(),
            next_link: 0,
            network_up: true,
            latency: Duration::from_millis(1),
            client_receive_maximum: plan.setup.client_receive_maximum,
            broker: Broker::new(plan.setup.habits, plan.setup.offer.map(str::to_owned)),
            daemon: None,
            life: Life { daemon: 0, store: 0 },
            booted_at: Duration::ZERO,
            rebooted: false,
            unix: Duration::from_secs(1_700_000_000),
            store: Store::default(),
            devices: Devices::new(),
            ledger: Ledger::default(),
            fates: Fates::default(),
            neighbour: Neighbour::default(),
            refusals_noticed: 0,
            counts: Counts::default(),
            violation: None,
            trace: traced.then(Vec::new),
        };
        world.start_daemon();
        world
    }

    /// Plays all steps, then lets the faults stop and everything come to rest.
    pub(crate) fn play(&mut self, plan: &Plan) {
        self.run_for(Duration::from_secs(5));
        for step in &plan.steps {
            self.run_for(step.after);
            if self.violation.is_some() {
                return;
            }
            self.act(&step.action);
        }
        self.heal();
        self.run_for(REST);
        if self.violation.is_none() {
            self.check_at_rest();
        }
    }

    pub(crate) fn into_trace(self) -> Vec<String> {
        self.trace.unwrap_or_default()
    }

    /// Whether lines are kept for people.
    pub(crate) fn note(&mut self, who: &str, what: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{:>12.3} {who:<8} {}", self.now.as_secs_f64(), what()));
        }
    }

    /// Checks an invariant; the first that is broken ends the simulation.
    pub(crate) fn require(
        &mut self,
        holds: bool,
        invariant: Invariant,
        detail: impl FnOnce() -> String,
    ) {
        if holds || self.violation.is_some() {
            return;
        }
        let violation = Violation { invariant, detail: detail() };
        self.note("CHECK", || format!("{}: {}", invariant.text(), violation.detail));
        self.violation = Some(violation);
    }

    pub(crate) fn reach(&mut self, reached: Reached) {
        self.counts.add(reached);
    }

    /// The prefix that whoever connects now would learn.
    pub(crate) fn prefix(&self) -> Option<Prefix> {
        let offered = self.broker.response_information.as_deref();
        let learned = offered.and_then(|offered| Prefix::parse(offered).ok());
        learned.or_else(|| self.fallback())
    }

    pub(crate) fn fallback(&self) -> Option<Prefix> {
        self.setup.fallback.and_then(|prefix| Prefix::parse(prefix).ok())
    }

    fn at(&mut self, time: Duration, timer: Timer) {
        self.next_timer += 1;
        self.timers.insert((time, self.next_timer), timer);
    }

    fn after(&mut self, delay: Duration, timer: Timer) {
        self.at(self.now + delay, timer);
    }

    /// Lets time pass, event by event.
    fn run_for(&mut self, duration: Duration) {
        let until = self.now + duration;
        let mut at_once = 0;
        while self.violation.is_none() {
            let Some(next) = self.next_event().filter(|next| *next <= until) else { break };
            at_once = if next > self.now { 0 } else { at_once + 1 };
            self.require(at_once < SPIN, Invariant::Alive, || "time stands still".into());
            self.now = self.now.max(next);
            self.happen();
        }
        self.now = self.now.max(until);
    }

    fn next_event(&self) -> Option<Duration> {
        let timer = self.timers.first_key_value().map(|((at, _), _)| *at);
        let links = self.links.iter().filter_map(Link::next_arrival).min();
        let daemon = self.daemon.as_ref().and_then(Daemon::next_due).map(|at| at + self.booted_at);
        let store = self.store.next_due();
        [timer, links, daemon, self.broker.next_due(), store, self.devices.next_due()]
            .into_iter()
            .flatten()
            .min()
    }

    /// Does whatever is due.
    fn happen(&mut self) {
        while let Some(entry) = self.timers.first_entry()
            && entry.key().0 <= self.now
        {
            let timer = entry.remove();
            self.on_timer(timer);
        }
        self.move_packets();
        if self.broker.next_due().is_some_and(|due| due <= self.now) {
            self.broker.on_time(self.now, &mut self.rng);
            self.carry_out_effects();
        }
        self.store_works();
        self.devices_work();
        self.wake_hub();
    }

    fn on_timer(&mut self, timer: Timer) {
        match timer {
            Timer::StartDaemon => self.start_daemon(),
            Timer::StartBroker => {
                self.note("broker", || "starts".into());
                self.broker.start(self.now);
                self.carry_out_effects();
            }
            Timer::NetworkUp => self.network_up = true,
            Timer::Acknowledge => {
                self.broker.stop_withholding();
                self.carry_out_effects();
            }
            Timer::DiskHasRoom => self.store.is_full = false,
            Timer::Say { message, asked } => self.say(message, asked),
            Timer::AskAgain(index) => self.ask_again_if_unanswered(index),
            Timer::ConnectTimeout(link) => self.give_attempt_up(link),
        }
    }

    fn devices_work(&mut self) {
        while let Some((device, property, payload)) = self.devices.take_effect(self.now) {
            self.note("device", || format!("{device}/{property} is {}", lossy(&payload)));
            self.report(&device, &property, payload);
        }
        while let Some((life, request, answer)) = self.devices.take_answer(self.now) {
            if life == self.life.daemon {
                self.feed(hearth_core::Input::Answered { request, answer });
            }
        }
    }
}

/// Shows a payload, or Correlation Data, to people.
pub(crate) fn lossy(bytes: &[u8]) -> String {
    const LONGEST: usize = 60;
    if bytes.iter().any(|byte| !(b' '..=b'~').contains(byte)) {
        return bytes.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    }
    String::from_utf8_lossy(&bytes[..bytes.len().min(LONGEST)]).into_owned()
}

/// How long after the last fault everything must have come to rest.
const REST: Duration = Duration::from_secs(400);
/// How much may happen at one moment.
const SPIN: usize = 20_000;
