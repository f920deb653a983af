//! Hub and broker together: both real cores, with the codecs of both sides between them, under faults of either.
//!
//! The other world has a model broker with all kinds of behaviour. This one has hearth-broker, and checks its promises
//! as well as the hub's: nothing that was acknowledged is lost, neither in a crash nor in a power cut at any write,
//! wherever it was on its way.

mod broker;
mod checks;
mod hub;
mod mail;
mod phone;
mod wire;

use std::{collections::BTreeMap, ops::Range, time::Duration};

use fastrand::Rng;
use hearthd_broker::{core::Outgoing, packet::Received};
use hearthd_core::RequestId;
use rumqttc::v5::mqttbytes::v5::Packet;

use broker::BrokerSide;
use checks::Ledger;
use hub::HubSide;
use mail::Mail;
use phone::Phone;

use crate::{Played, on_all_processors};

/// What a run of seeds came to.
#[derive(Debug, Default)]
pub struct PairReport {
    /// Seeds played.
    pub seeds: u64,
    /// The first seed that failed, and how.
    pub failure: Option<(u64, String)>,
    /// How often each thing happened.
    pub counts: BTreeMap<&'static str, u64>,
}

impl Played for PairReport {
    fn merge(&mut self, other: Self) {
        self.seeds += other.seeds;
        if let Some(failure) = other.failure
            && self.failure.as_ref().is_none_or(|known| failure.0 < known.0)
        {
            self.failure = Some(failure);
        }
        for (what, count) in other.counts {
            *self.counts.entry(what).or_default() += count;
        }
    }

    fn has_failed(&self) -> bool {
        self.failure.is_some()
    }

    fn seeds(&self) -> u64 {
        self.seeds
    }
}

/// Plays every seed of a range, on all processors; ends early once one has failed.
pub fn run_pairs(seeds: Range<u64>, steps: usize, progress: impl Fn(u64) + Sync) -> PairReport {
    on_all_processors(seeds, 1, progress, |seed| play_pair(seed, steps, None))
}

/// Plays one seed; `trace` hears what happens.
pub fn play_pair(seed: u64, steps: usize, trace: Option<&mut dyn FnMut(String)>) -> PairReport {
    let mut world = World::new(seed, trace);
    world.play(steps);
    PairReport { seeds: 1, failure: world.violation.map(|what| (seed, what)), counts: world.counts }
}

/// One end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Who {
    Hub(usize),
    Phone(usize),
    Mail(mail::Role),
}

/// A network connection.
#[derive(Debug)]
struct Link {
    who: Who,
    broker_open: bool,
    client_open: bool,
    latency: Duration,
    /// The client does not read until then.
    stalled_until: Duration,
    /// What arrives later than this is lost: the connection is cut.
    cut_at: Option<Duration>,
    /// Nothing overtakes on a connection.
    last_to_broker: Duration,
    last_to_client: Duration,
}

/// What happens at a certain time.
#[derive(Debug)]
enum Event {
    ToBroker(u64, Box<Received>),
    ToClient(u64, Box<Packet>),
    BrokerSeesEnd(u64),
    ClientSeesEnd(u64),
    /// All that was sent has left the broker's machine.
    Drained(u64),
    BatchWritten {
        life: u64,
        batch: u64,
    },
    BrokerStarts,
    HubStarts(usize),
    AttemptOver(usize, u64),
    DeviceAnswers {
        hub: usize,
        life: u64,
        request: RequestId,
        answer: hearthd_core::Answer,
    },
    PhoneConnects(usize),
    PhoneAsks(usize),
    PhoneAcknowledges(usize, u64, u16),
    MailConnects(mail::Role),
    MailSends,
    MailAnswers(mail::Role, u64, Box<Packet>),
}

/// The whole simulated home.
struct World<'t> {
    now: Duration,
    rng: Rng,
    broker: BrokerSide,
    hubs: Vec<HubSide>,
    phones: Vec<Phone>,
    mail: Mail,
    links: BTreeMap<u64, Link>,
    last_link: u64,
    events: BTreeMap<(Duration, u64), Event>,
    last_event: u64,
    /// No faults any more.
    calm: bool,
    ledger: Ledger,
    violation: Option<String>,
    counts: BTreeMap<&'static str, u64>,
    trace: Option<&'t mut dyn FnMut(String)>,
}

impl<'t> World<'t> {
    fn new(seed: u64, trace: Option<&'t mut dyn FnMut(String)>) -> Self {
        let mut rng = Rng::with_seed(seed ^ 0x7061_6972);
        let hubs = (0..1 + usize::from(rng.u8(..3) == 0)).map(HubSide::new).collect::<Vec<_>>();
        let phones = (0..4).map(Phone::new).collect();
        let broker = BrokerSide::new(hubs.len(), &mut rng);
        Self {
            now: Duration::ZERO,
            rng,
            broker,
            hubs,
            phones,
            mail: Mail::default(),
            links: BTreeMap::new(),
            last_link: 0,
            events: BTreeMap::new(),
            last_event: 0,
            calm: false,
            ledger: Ledger::default(),
            violation: None,
            counts: BTreeMap::new(),
            trace,
        }
    }

    fn play(&mut self, steps: usize) {
        self.start_broker();
        for hub in 0..self.hubs.len() {
            self.start_hub(hub);
        }
        for phone in 0..self.phones.len() {
            self.connect_phone(phone);
            if phone != phone::WATCHER {
                self.after(ms(500), Event::PhoneAsks(phone));
            }
        }
        for role in [mail::Role::Sender, mail::Role::Reader] {
            self.connect_mail(role);
        }
        for _ in 0..steps {
            let pause = match self.rng.u8(..4) {
                0 => self.rng.u64(..50),
                1 | 2 => self.rng.u64(..2_000),
                _ => self.rng.u64(..20_000),
            };
            self.run_until(self.now + ms(pause));
            if self.violation.is_some() {
                return;
            }
            self.fault();
        }
        self.calm = true;
        self.note("calm");
        if !self.broker.is_up() {
            self.start_broker();
        }
        for hub in 0..self.hubs.len() {
            self.start_hub(hub);
        }
        self.run_until(self.now + CALM);
        self.check_at_rest();
    }

    /// Breaks something.
    fn fault(&mut self) {
        let hub = self.rng.usize(..self.hubs.len());
        match self.rng.u8(..16) {
            0 => self.kill_broker("power cut of the broker"),
            1 => self.kill_broker("crash of the broker"),
            2 | 3 => self.kill_hub(hub),
            4 => self.stop_hub(hub),
            5..=8 => {
                let open: Vec<u64> = self.links.keys().copied().collect();
                if !open.is_empty() {
                    let link = open[self.rng.usize(..open.len())];
                    self.cut(link, "cut");
                }
            }
            9 | 10 => {
                let until = self.now + ms(self.rng.u64(..15_000));
                let keys: Vec<u64> = self.links.keys().copied().collect();
                if !keys.is_empty() {
                    let key = keys[self.rng.usize(..keys.len())];
                    if let Some(link) = self.links.get_mut(&key) {
                        link.stalled_until = until;
                        self.count("a slow reader");
                    }
                }
            }
            11 => {
                let phone = self.rng.usize(..self.phones.len());
                let asleep = ms(self.rng.u64(..60_000));
                self.phones[phone].asleep_until = self.now + asleep;
                if let Some(link) = self.phones[phone].link {
                    self.cut(link, "a phone sleeps");
                }
            }
            12 => {
                for _ in 0..self.rng.usize(10..80) {
                    let phone = self.rng.usize(1..self.phones.len());
                    self.ask(phone);
                }
                self.count("a flood");
            }
            13 => self.reader_sleeps(),
            14 => self.connect_mail(mail::Role::Thief),
            _ => {}
        }
    }

    /// Lets time pass.
    fn run_until(&mut self, end: Duration) {
        while self.violation.is_none() {
            let event = self.events.first_key_value().map(|((at, _), _)| *at);
            let broker = self.broker.next_due();
            let hub = self.hubs.iter().filter_map(HubSide::next_due).min();
            let due = [event, broker, hub].into_iter().flatten().min();
            let Some(due) = due.filter(|due| *due <= end) else { break };
            self.now = self.now.max(due);
            if broker == Some(due) {
                self.wake_broker();
            } else if hub == Some(due) {
                for hub in 0..self.hubs.len() {
                    self.wake_hub(hub);
                }
            } else if let Some((_, event)) = self.events.pop_first() {
                self.happen(event);
            }
        }
        self.now = self.now.max(end);
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::ToBroker(link, packet) => {
                let arrives =
                    self.links.get(&link).is_some_and(|it| it.broker_open && !it.lost(self.now));
                if arrives {
                    self.broker_receives(link, *packet);
                }
            }
            Event::ToClient(link, packet) => {
                let Some(it) = self.links.get(&link) else { return };
                if !it.client_open || it.lost(self.now) {
                    return;
                }
                match it.who {
                    Who::Hub(hub) => self.hub_receives(hub, link, *packet),
                    Who::Phone(phone) => self.phone_receives(phone, link, *packet),
                    Who::Mail(role) => self.mail_receives(role, link, *packet),
                }
            }
            Event::BrokerSeesEnd(link) => self.broker_loses(link),
            Event::ClientSeesEnd(link) => self.client_loses(link),
            Event::Drained(link) => self.drained(link),
            Event::BatchWritten { life, batch } => self.batch_written(life, batch),
            Event::BrokerStarts => self.start_broker(),
            Event::HubStarts(hub) => self.start_hub(hub),
            Event::AttemptOver(hub, link) => self.give_attempt_up(hub, link),
            Event::DeviceAnswers { hub, life, request, answer } => {
                self.device_answers(hub, life, request, answer);
            }
            Event::PhoneConnects(phone) => self.connect_phone(phone),
            Event::PhoneAsks(phone) => {
                self.ask(phone);
                if !self.calm {
                    let pause = ms(self.rng.u64(100..6_000));
                    self.after(pause, Event::PhoneAsks(phone));
                }
            }
            Event::MailConnects(role) => self.connect_mail(role),
            Event::MailSends => self.send_letter(),
            Event::MailAnswers(role, link, packet) => self.mail_answers(role, link, &packet),
            Event::PhoneAcknowledges(phone, link, packet_id) => {
                if self.phones[phone].link == Some(link) {
                    self.client_writes(link, &wire::puback(packet_id));
                }
            }
        }
    }

    fn open_link(&mut self, who: Who) -> u64 {
        self.last_link += 1;
        let latency = ms(self.rng.u64(..30));
        let link = Link {
            who,
            broker_open: true,
            client_open: true,
            latency,
            stalled_until: Duration::ZERO,
            cut_at: None,
            last_to_broker: Duration::ZERO,
            last_to_client: Duration::ZERO,
        };
        self.links.insert(self.last_link, link);
        self.last_link
    }

    /// A client writes.
    fn client_writes(&mut self, link: u64, packet: &Packet) {
        let received = match wire::to_broker(packet) {
            Ok(received) => received,
            Err(what) => return self.violate(what),
        };
        let now = self.now;
        let Some(it) = self.links.get_mut(&link) else { return };
        it.last_to_broker = it.last_to_broker.max(now + it.latency);
        let at = it.last_to_broker;
        self.at(at, Event::ToBroker(link, Box::new(received)));
    }

    /// The broker writes.
    fn broker_writes(&mut self, link: u64, packet: &Outgoing) {
        let packet = match wire::to_client(packet) {
            Ok(packet) => packet,
            Err(what) => return self.violate(what),
        };
        let now = self.now;
        let Some(it) = self.links.get_mut(&link) else { return };
        it.last_to_client = it.last_to_client.max(now + it.latency).max(it.stalled_until);
        let at = it.last_to_client;
        self.at(at, Event::ToClient(link, Box::new(packet)));
        self.at(at, Event::Drained(link));
    }

    /// Loses what is on its way, and has both ends find out, one of them late.
    fn cut(&mut self, link: u64, why: &'static str) {
        let now = self.now;
        let late = |rng: &mut Rng| match rng.u8(..3) {
            0 => ms(rng.u64(..20_000)),
            _ => ms(rng.u64(..50)),
        };
        let (some, broker, client) =
            (ms(self.rng.u64(..20)), late(&mut self.rng), late(&mut self.rng));
        let Some(it) = self.links.get_mut(&link) else { return };
        if it.cut_at.is_some() {
            return;
        }
        it.cut_at = Some(now + some);
        let who = it.who;
        self.note(format!("{why}: connection {link} of {who:?}"));
        self.count(why);
        self.after(some + broker, Event::BrokerSeesEnd(link));
        self.after(some + client, Event::ClientSeesEnd(link));
    }

    /// The client closes in order: what it wrote arrives first.
    fn close_client_end(&mut self, link: u64) {
        let now = self.now;
        let Some(it) = self.links.get_mut(&link) else { return };
        it.client_open = false;
        let at = it.last_to_broker.max(now + it.latency);
        self.at(at, Event::BrokerSeesEnd(link));
    }

    fn close_broker_end(&mut self, link: u64) {
        let now = self.now;
        let Some(it) = self.links.get_mut(&link) else { return };
        it.broker_open = false;
        let at = it.last_to_client.max(now + it.latency);
        self.at(at, Event::ClientSeesEnd(link));
    }

    fn client_loses(&mut self, link: u64) {
        let Some(it) = self.links.get_mut(&link) else { return };
        if !std::mem::take(&mut it.client_open) {
            return self.forget_link(link);
        }
        let who = it.who;
        self.forget_link(link);
        match who {
            Who::Hub(hub) => self.hub_loses(hub, link),
            Who::Phone(phone) => self.phone_loses(phone, link),
            Who::Mail(role) => self.mail_loses(role, link),
        }
    }

    /// Forgets a connection that neither end has any more.
    fn forget_link(&mut self, link: u64) {
        if self.links.get(&link).is_some_and(|it| !it.broker_open && !it.client_open) {
            self.links.remove(&link);
        }
    }

    fn at(&mut self, at: Duration, event: Event) {
        self.last_event += 1;
        self.events.insert((at, self.last_event), event);
    }

    fn after(&mut self, time: Duration, event: Event) {
        self.at(self.now + time, event);
    }

    fn violate(&mut self, what: impl Into<String>) {
        let what = what.into();
        self.note(format!("VIOLATION {what}"));
        self.violation.get_or_insert(what);
    }

    fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    fn note(&mut self, what: impl Into<String>) {
        let now = self.now.as_secs_f64();
        if let Some(trace) = &mut self.trace {
            trace(format!("{now:10.3} {}", what.into()));
        }
    }
}

impl Link {
    fn lost(&self, now: Duration) -> bool {
        self.cut_at.is_some_and(|at| at <= now)
    }
}

fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// How long all is given to come to rest.
const CALM: Duration = Duration::from_secs(400);
