//! The world of one simulation: its clock, and everything in it, moved one event at a time.

mod actions;
pub(crate) mod announcing;
mod arrivals;
mod asking;
mod bridging;
mod clients;
pub(crate) mod daemon;
mod guarding;
pub(crate) mod home;
mod hub;
mod moving;
pub(crate) mod network;
pub(crate) mod requesters;
mod storing;
mod strangers;
mod working;

use std::{collections::BTreeMap, time::Duration};

use hearthd_core::{Message, topic::Prefix};

use crate::{
    broker::Broker,
    devices::Devices,
    invariants::{Invariant, Violation},
    ledger::Ledger,
    link::{HubId, Life, Link, LinkId},
    plan::{Plan, Setup},
    report::{Counts, Reached},
};
pub(crate) use daemon::{Connection, Daemon};
pub(crate) use guarding::Guarding;
pub(crate) use hub::HubMachine;
use moving::Tenure;

/// Everything, the hubs included.
pub(crate) struct World {
    pub(crate) now: Duration,
    pub(crate) setup: Setup,
    pub(crate) rng: fastrand::Rng,
    timers: BTreeMap<(Duration, u64), Timer>,
    next_timer: u64,
    pub(crate) links: Vec<Link>,
    next_link: LinkId,
    latency: Duration,
    pub(crate) broker: Broker,
    pub(crate) hubs: Vec<HubMachine>,
    pub(crate) devices: Devices,
    pub(crate) ledger: Ledger,
    pub(crate) bridges: bridging::Bridges,
    questions: asking::Questions,
    /// Who has had which device, and when.
    tenures: Vec<Tenure>,
    pub(crate) occasion: Occasion,
    pub(crate) counts: Counts,
    pub(crate) violation: Option<Violation>,
    trace: Option<Vec<String>>,
}

/// While what a hub publishes something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Occasion {
    /// It is given a request.
    Request(usize),
    /// It is told that it is subscribed, and may publish what waits.
    Subscribed,
    /// It is told what a device is.
    Read,
    Other,
}

/// What happens later.
#[derive(Debug)]
enum Timer {
    StartDaemon(HubId),
    StartBroker,
    NetworkUp(HubId),
    DiskHasRoom(HubId),
    /// The broker gives a hub the PUBACKs that it has held up.
    Acknowledge(HubId),
    /// A client's message reaches the broker.
    Say {
        message: Message,
        asked: Option<usize>,
    },
    /// A requester's patience ends.
    AskAgain(usize),
    /// A device begins to work in this life of its hub.
    DeviceBegins {
        life: Life,
        device: &'static str,
    },
    /// A device that has crashed begins again.
    DeviceBeginsAgain(&'static str),
    /// A device that has gone reports what it was, to the life of the hub that it was in.
    ReportTooLate {
        life: Life,
        device: &'static str,
    },
    /// The driver gives an attempt up.
    ConnectTimeout(HubId, LinkId),
}

impl World {
    /// Makes the home of a plan; `traced` keeps each event as a line.
    pub(crate) fn new(plan: &Plan, traced: bool) -> Self {
        let hubs = plan.setup.hubs;
        let offer = plan.setup.offer.map(str::to_owned);
        let mut world = Self {
            now: Duration::from_secs(100),
            setup: plan.setup.clone(),
            rng: fastrand::Rng::with_seed(plan.seed ^ 0x5EED_5EED),
            timers: BTreeMap::new(),
            next_timer: 0,
            links: Vec::new(),
            next_link: 0,
            latency: Duration::from_millis(1),
            broker: Broker::new(plan.setup.habits, offer, hubs),
            hubs: HubId::all(hubs).map(|hub| HubMachine::new(hub, &plan.setup)).collect(),
            devices: Devices::new(),
            ledger: Ledger::default(),
            bridges: bridging::Bridges::default(),
            questions: asking::Questions::new(plan.seed),
            tenures: Vec::new(),
            occasion: Occasion::Other,
            counts: Counts::default(),
            violation: None,
            trace: traced.then(Vec::new),
        };
        if hubs > 1 {
            world.reach(Reached::Homes);
        }
        world.note_habits();
        world.begin_tenures();
        for hub in world.hub_ids() {
            world.start_daemon(hub);
        }
        world
    }

    /// Notes what is unusual about the broker.
    fn note_habits(&mut self) {
        let habits = self.setup.habits;
        for (has, habit) in [
            (!habits.wildcards, Reached::NoWildcards),
            (habits.one_filter_at_a_time, Reached::OneFilter),
            (habits.adds_expiry, Reached::AddsExpiry),
            (habits.tells_of_nobody, Reached::TellsOfNobody),
            (habits.vouches, Reached::Vouches),
            (habits.session_expiry.is_zero(), Reached::NoSessions),
        ] {
            if has {
                self.reach(habit);
            }
        }
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
        // What a flood has left may take a slow device long, one request after the other.
        let asked = self.ledger.asked.len() as u64;
        let rest = if self.setup.hostile { REST * 4 } else { REST };
        self.run_for(rest + Duration::from_secs(asked));
        if self.violation.is_none() {
            self.check_at_rest();
        }
    }

    /// Returns the lines.
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

    /// Counts that something was reached, so that a long run can tell what it never saw.
    pub(crate) fn reach(&mut self, reached: Reached) {
        self.counts.add(reached);
    }

    /// The prefix that whoever connects now would learn.
    pub(crate) fn prefix(&self) -> Option<Prefix> {
        let offered = self.broker.response_information.as_deref();
        let learned = offered.and_then(|offered| Prefix::parse(offered).ok());
        learned.or_else(|| self.fallback())
    }

    /// Returns the prefix of the hubs' configurations.
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
        let hubs = self.hubs.iter().filter_map(HubMachine::next_due).min();
        [timer, links, hubs, self.broker.next_due(), self.devices.next_due()]
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
        for hub in self.hub_ids() {
            self.store_works(hub);
        }
        self.devices_work();
        self.devices_end();
        for hub in self.hub_ids() {
            self.wake_hub(hub);
        }
    }

    fn on_timer(&mut self, timer: Timer) {
        match timer {
            Timer::StartDaemon(hub) => self.start_daemon(hub),
            Timer::StartBroker => {
                self.note("broker", || "starts".into());
                self.broker.start(self.now);
                self.carry_out_effects();
            }
            Timer::NetworkUp(hub) => self.hub_mut(hub).network_up = true,
            Timer::Acknowledge(hub) => {
                self.broker.stop_withholding(hub);
                self.carry_out_effects();
            }
            Timer::DiskHasRoom(hub) => self.hub_mut(hub).store.is_full = false,
            Timer::Say { message, asked } => self.say(message, asked),
            Timer::AskAgain(index) => self.ask_again_if_unanswered(index),
            Timer::DeviceBegins { life, device } => self.begin_device(life, device),
            Timer::DeviceBeginsAgain(device) => self.begin_again(device),
            Timer::ReportTooLate { life, device } => self.report_too_late(life, device),
            Timer::ConnectTimeout(hub, link) => self.give_attempt_up(hub, link),
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
