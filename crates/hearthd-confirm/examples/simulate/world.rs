//! One device with a character, the way to it, and what must hold whatever they do.

#[path = "counterpart.rs"]
mod counterpart;

use std::{collections::BTreeMap, fmt, time::Duration};

use fastrand::Rng;
use hearthd_confirm::{
    Command, CommandId, Confirmer, Event, Message, Output, Property, Publication, Readings, Token,
    Value, Verdict, Wanted,
};

use counterpart::{Counterpart, Family};

/// What came of one seed.
pub(crate) struct Played {
    pub(crate) trace: Vec<String>,
    /// What did not hold, if anything.
    pub(crate) violation: Option<String>,
    pub(crate) reached: Reached,
}

/// How often which verdict was given, by family.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reached(BTreeMap<(&'static str, String), u64>);

/// Plays one seed.
pub(crate) fn play(seed: u64) -> Played {
    let mut world = World::new(seed);
    world.run();
    Played { trace: world.trace, violation: world.violation, reached: world.reached }
}

/// How a device behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Temper {
    Honest,
    /// It acknowledges, and does nothing.
    Lies,
    /// It says no, and does nothing.
    Refuses,
    /// It does not answer.
    Dead,
    /// Now and then it is not reached, or its answer is lost.
    Flaky,
    /// It takes commands when it wakes.
    Asleep,
}

/// What a device is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct State {
    pub(crate) on: bool,
    pub(crate) level: f64,
}

/// What happens at a time.
#[derive(Debug)]
enum Step {
    Command,
    /// A publication reaches the other side.
    Arrive(Publication),
    /// The device does something that it was told, or asked.
    Work(counterpart::Work),
    /// A message reaches the hub.
    Hear(Message),
    /// A reply by Correlation Data reaches the hub.
    HearReply(Token, Vec<u8>),
    Temper(Temper),
    /// Somebody presses the button on the device.
    Touch,
    /// The device says something about something else.
    Report,
    BridgeDown,
    BridgeUp,
    LinkDown,
    LinkUp,
    /// From now on all is well.
    Heal,
    /// Everything has come to rest: what is published must be true.
    Rest,
    /// The one command after that; it must succeed where the device has nothing else to do.
    Last,
}

/// A command that was given.
#[derive(Debug)]
struct Given {
    id: CommandId,
    wanted: Goal,
    at: Duration,
    deadline: Duration,
    verdict: Option<u16>,
    must_succeed: bool,
}

/// What a command wants.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Goal {
    on: bool,
    level: Option<u8>,
}

struct World {
    rng: Rng,
    now: Duration,
    queue: BTreeMap<(Duration, u64), Step>,
    steps: u64,
    confirmer: Confirmer,
    declared: Vec<String>,
    counterpart: Counterpart,
    link_up: bool,
    /// What a driver would have published as the device's state.
    published: Readings,
    /// What the device was, and since when.
    history: Vec<(Duration, State)>,
    /// Since when the device could be read.
    readable: Option<Duration>,
    /// When the last message to the hub arrives; what one device says stays in order.
    last_heard: Duration,
    given: Vec<Given>,
    trace: Vec<String>,
    violation: Option<String>,
    reached: Reached,
}

/// The longest way of a message, one way.
const WAY: u64 = 40;
const END: Duration = Duration::from_secs(250);
const HEAL: Duration = Duration::from_secs(35);
const LAST: Duration = Duration::from_secs(210);

impl World {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let family = Family::ALL[rng.usize(..Family::ALL.len())];
        let counterpart = Counterpart::new(family, &mut rng);
        let backend = family.backend();
        let topics = backend.declared_topics();
        let mut world = Self {
            now: Duration::from_secs(1),
            queue: BTreeMap::new(),
            steps: 0,
            confirmer: Confirmer::new(backend, seed),
            declared: topics.publish,
            history: vec![(Duration::ZERO, counterpart.state)],
            readable: Some(Duration::ZERO),
            counterpart,
            link_up: true,
            published: Readings::default(),
            last_heard: Duration::ZERO,
            given: Vec::new(),
            trace: Vec::new(),
            violation: None,
            reached: Reached::default(),
            rng,
        };
        world.note(format!("seed {seed}: {family:?}, {:?}", world.counterpart.latency));
        world.plan();
        world
    }

    /// Fixes what happens, apart from what follows from it.
    fn plan(&mut self) {
        let mut at = Duration::from_millis(3_500);
        while at < HEAL - Duration::from_secs(9) {
            self.schedule(at, Step::Command);
            let quick = self.rng.u8(..5) == 0;
            at += Duration::from_millis(if quick {
                self.rng.u64(10..400)
            } else {
                self.rng.u64(500..9_000)
            });
        }
        let (family, first) = (self.counterpart.family, self.a_temper());
        self.schedule(Duration::from_millis(2_000), Step::Temper(first));
        // Without correlation nothing can tell what a device that lies says last before it dies.
        if family.is_correlated() || first != Temper::Lies {
            for _ in 0..self.rng.u8(..5) {
                let temper = self.a_temper();
                if family.is_correlated() || temper != Temper::Lies {
                    let at = self.rng.u64(3_000..33_000);
                    self.schedule(Duration::from_millis(at), Step::Temper(temper));
                }
            }
        }
        let mut often = |most: u8, make: fn() -> Step| {
            for _ in 0..self.rng.u8(..=most) {
                let at = Duration::from_millis(self.rng.u64(3_000..33_000));
                self.steps += 1;
                self.queue.insert((at, self.steps), make());
            }
        };
        often(3, || Step::Touch);
        often(12, || Step::Report);
        if family.has_bridge() {
            often(1, || Step::BridgeDown);
        }
        often(1, || Step::LinkDown);
        self.schedule(HEAL, Step::Heal);
        self.schedule(LAST - Duration::from_millis(1), Step::Rest);
        self.schedule(LAST, Step::Last);
        self.schedule(END, Step::Rest);
    }

    fn a_temper(&mut self) -> Temper {
        let tempers = self.counterpart.family.tempers();
        tempers[self.rng.usize(..tempers.len())]
    }

    fn schedule(&mut self, at: Duration, step: Step) {
        self.steps += 1;
        self.queue.insert((at, self.steps), step);
    }

    fn run(&mut self) {
        self.confirm(Event::Link { up: true });
        let greetings = self.counterpart.greetings();
        self.say(greetings);
        while self.violation.is_none() {
            let step = self.queue.keys().next().copied();
            let due = self.confirmer.poll_timeout();
            let next = step.map(|(at, _)| at).into_iter().chain(due).min();
            let Some(next) = next.filter(|next| *next <= END) else { break };
            self.now = self.now.max(next);
            match step.filter(|(at, _)| *at <= next) {
                Some(key) => {
                    if let Some(step) = self.queue.remove(&key) {
                        self.step(step);
                    }
                }
                None => self.confirm(Event::Elapsed),
            }
            if self.steps > 100_000 {
                self.fail("it never comes to rest".to_owned());
            }
        }
        self.now = END;
        for given in &self.given {
            if given.verdict.is_none() && self.violation.is_none() {
                self.violation = Some(format!("{:?} has no verdict", given.id));
            }
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Command => {
                let on = self.rng.bool();
                let level = on.then(|| self.rng.bool().then(|| self.rng.u8(1..=10) * 10)).flatten();
                let patience = self.rng.u64(300..8_000);
                self.give(Goal { on, level }, Duration::from_millis(patience), false);
            }
            Step::Rest => self.check_published(),
            Step::Last => {
                let on = !self.counterpart.state.on;
                let patience = Duration::from_secs(8) + self.counterpart.latency * 4;
                // What a device still has to do for earlier commands comes first.
                let idle = self.counterpart.is_idle(self.now);
                self.give(Goal { on, level: None }, patience, idle);
            }
            Step::Arrive(publication) => {
                self.note(format!("arrives {} {}", publication.topic, text(&publication.payload)));
                let works = self.counterpart.arrive(&publication);
                for work in works {
                    let at = self.counterpart.occupy(self.now, &mut self.rng);
                    self.schedule(at, Step::Work(work));
                }
            }
            Step::Work(work) => {
                let said = self.counterpart.work(work, &mut self.rng);
                self.note_state();
                self.say(said);
            }
            Step::Hear(message) => {
                if self.link_up {
                    self.note(format!("hears {} {}", message.topic, text(&message.payload)));
                    self.confirm(Event::Message(message));
                }
            }
            Step::HearReply(token, payload) => {
                if self.link_up {
                    self.note(format!("is replied {}", text(&payload)));
                    self.confirm(Event::Reply { token, payload });
                }
            }
            Step::Temper(temper) => {
                self.note(format!("{temper:?} from now on"));
                let woken = self.counterpart.become_like(temper);
                for work in woken {
                    let at = self.counterpart.occupy(self.now, &mut self.rng);
                    self.schedule(at, Step::Work(work));
                }
                self.note_readable();
            }
            Step::Touch => {
                let said = self.counterpart.touch();
                self.note_state();
                self.say(said);
            }
            Step::Report => {
                let said = self.counterpart.report();
                self.say(said);
            }
            Step::BridgeDown => {
                let said = self.counterpart.stop();
                self.note("bridge down".to_owned());
                self.note_readable();
                self.say(said);
                let back = self.now + Duration::from_millis(self.rng.u64(200..3_000));
                self.schedule(back, Step::BridgeUp);
            }
            Step::BridgeUp => {
                let said = self.counterpart.start();
                self.note("bridge up".to_owned());
                self.note_readable();
                self.say(said);
            }
            Step::LinkDown => {
                self.link_up = false;
                self.note_readable();
                self.confirm(Event::Link { up: false });
                let back = self.now + Duration::from_millis(self.rng.u64(100..2_000));
                self.schedule(back, Step::LinkUp);
            }
            Step::LinkUp => {
                if !self.link_up {
                    self.link_up = true;
                    self.note_readable();
                    self.confirm(Event::Link { up: true });
                    self.confirm(Event::Refresh);
                    for (topic, payload) in self.counterpart.retained() {
                        let message = Message::retained(&topic, payload.as_bytes());
                        self.confirm(Event::Message(message));
                    }
                }
            }
            Step::Heal => {
                self.note("all is well from now on".to_owned());
                self.step(Step::LinkUp);
                if !self.counterpart.is_up() {
                    self.step(Step::BridgeUp);
                }
                self.step(Step::Temper(Temper::Honest));
            }
        }
    }

    fn give(&mut self, wanted: Goal, patience: Duration, must_succeed: bool) {
        let id = CommandId(self.given.len() as u64);
        let deadline = self.now + patience;
        self.note(format!("command {id:?}: {wanted:?} within {patience:?}"));
        let command = Command {
            id,
            wanted: Wanted {
                power: Some(wanted.on.into()),
                brightness: wanted.level.filter(|_| self.counterpart.family.dims()),
                ..Wanted::default()
            },
            deadline,
        };
        let at = self.now;
        self.given.push(Given { id, wanted, at, deadline, verdict: None, must_succeed });
        self.confirm(Event::Command(command));
        let open: Vec<CommandId> = self
            .given
            .iter()
            .filter(|given| given.verdict.is_none() && given.id != id)
            .map(|given| given.id)
            .collect();
        if !open.is_empty() {
            self.fail(format!("{open:?} are open after a newer command"));
        }
    }

    /// Hands an event to the confirmer, and does what it wants.
    fn confirm(&mut self, event: Event) {
        self.confirmer.handle(self.now, event);
        while let Some(output) = self.confirmer.poll_output() {
            match output {
                Output::Publish(publication) => self.publish(publication),
                Output::Verdict { command, verdict } => {
                    if let Verdict::Confirmed { readings, .. } = &verdict {
                        self.published.merge(readings);
                    }
                    self.judge(command, &verdict);
                }
                Output::Observed { readings, evidence } => {
                    if evidence.is_some() {
                        self.published.merge(&readings);
                    }
                }
                Output::Availability(_) | Output::Queued { .. } => {}
            }
        }
        if self.confirmer.poll_timeout().is_some_and(|due| due < self.now) {
            self.fail("the next timeout has passed already".to_owned());
        }
    }

    fn publish(&mut self, publication: Publication) {
        if !self.declared.contains(&publication.topic) {
            self.fail(format!("{} was not declared", publication.topic));
        }
        if !self.link_up {
            self.fail(format!("{} is published without a connection", publication.topic));
        }
        let at = self.now + Duration::from_millis(self.rng.u64(1..=WAY));
        self.schedule(at, Step::Arrive(publication));
    }

    /// Sends what the other side says on its way to the hub.
    fn say(&mut self, said: Vec<counterpart::Said>) {
        for said in said {
            let way = Duration::from_millis(self.rng.u64(1..=WAY));
            let mut at = self.now + way;
            // A reply can overtake a state; the states of one device stay in order.
            let ordered = !self.counterpart.family.is_correlated() || said.is_state();
            if ordered {
                at = at.max(self.last_heard);
                self.last_heard = at;
            }
            for _ in 0..if self.rng.u8(..10) == 0 { 2 } else { 1 } {
                let step = match said.clone() {
                    counterpart::Said::Message(topic, payload)
                    | counterpart::Said::Answer(topic, payload) => {
                        Step::Hear(Message::live(&topic, payload.as_bytes()))
                    }
                    counterpart::Said::Reply(token, payload) => {
                        Step::HearReply(token, payload.into_bytes())
                    }
                };
                self.schedule(at, step);
            }
        }
    }

    /// Checks a verdict against what the device was.
    fn judge(&mut self, id: CommandId, verdict: &Verdict) {
        self.note(format!("verdict {id:?}: {} {verdict}", verdict.status()));
        let family = self.counterpart.family.name();
        let kind = match verdict {
            Verdict::Indeterminate { doubt, .. } => format!("409 {doubt:?}"),
            other => other.status().to_string(),
        };
        *self.reached.0.entry((family, kind)).or_default() += 1;
        let Some(given) = self.given.get_mut(id.0 as usize) else {
            return self.fail(format!("{id:?} was never given"));
        };
        let (wanted, at, deadline, must) =
            (given.wanted, given.at, given.deadline, given.must_succeed);
        if given.verdict.replace(verdict.status()).is_some() {
            return self.fail(format!("{id:?} has a second verdict"));
        }
        if self.now > deadline {
            return self.fail(format!("{id:?} is answered {:?} late", self.now - deadline));
        }
        if must && verdict.status() != 200 {
            return self.fail(format!("{id:?} fails though all is well"));
        }
        let slack = Duration::from_millis(4 * WAY) + self.counterpart.latency * 8;
        match verdict {
            Verdict::Confirmed { .. } => {
                let since = at.max(self.now.saturating_sub(Duration::from_millis(800) + slack));
                if !self.ever(since, wanted) {
                    self.fail(format!("{id:?} is confirmed, and the device was never so"));
                }
            }
            Verdict::Refused { .. } | Verdict::Unreachable { .. } => {
                let seconds = self.counterpart.family.asked_within();
                let since = self.now.saturating_sub(Duration::from_secs(seconds) + slack);
                let readable = self.readable.is_some_and(|readable| readable <= since);
                if readable && at <= since && self.always(since, wanted) {
                    self.fail(format!("{id:?} has failed, and the device was as wanted"));
                }
            }
            Verdict::Indeterminate { .. } => {}
            Verdict::Unsupported { .. } => self.fail(format!("{id:?} is not unsupported")),
        }
    }

    /// Checks that the published state is the device's, now that nothing has happened for a long time.
    fn check_published(&mut self) {
        if !self.counterpart.family.can_be_read() {
            return;
        }
        let State { on, level } = self.counterpart.state;
        let published = self.published.clone();
        let is_level =
            |value| matches!(value, Value::Brightness(percent) if (percent - level).abs() < 2.0);
        let power_is_wrong = published.power().is_some_and(|published| published != on);
        let level_is_wrong =
            published.get(Property::Brightness).is_some_and(|value| !is_level(value));
        if power_is_wrong || level_is_wrong {
            self.fail(format!("{published} is published, and the device is {on} at {level}"));
        }
    }

    fn meets(&self, state: State, wanted: Goal) -> bool {
        let level = wanted.level.filter(|_| self.counterpart.family.dims());
        state.on == wanted.on
            && level.is_none_or(|level| (state.level - f64::from(level)).abs() < 2.0)
    }

    /// Returns whether the device was as wanted at any time since.
    fn ever(&self, since: Duration, wanted: Goal) -> bool {
        let ends = self.history.iter().skip(1).map(|(at, _)| *at).chain([Duration::MAX]);
        self.history
            .iter()
            .zip(ends)
            .any(|((_, state), end)| end >= since && self.meets(*state, wanted))
    }

    /// Returns whether the device was as wanted all the time since.
    fn always(&self, since: Duration, wanted: Goal) -> bool {
        let ends = self.history.iter().skip(1).map(|(at, _)| *at).chain([Duration::MAX]);
        self.history
            .iter()
            .zip(ends)
            .all(|((_, state), end)| end < since || self.meets(*state, wanted))
    }

    fn note_state(&mut self) {
        let state = self.counterpart.state;
        if self.history.last().is_none_or(|(_, last)| *last != state) {
            self.note(format!("the device is {state:?}"));
            self.history.push((self.now, state));
        }
    }

    fn note_readable(&mut self) {
        let readable = self.link_up && self.counterpart.is_readable();
        self.readable = if readable { self.readable.or(Some(self.now)) } else { None };
    }

    fn note(&mut self, line: String) {
        self.trace.push(format!("{:>9.3} {line}", self.now.as_secs_f64()));
    }

    fn fail(&mut self, violation: String) {
        self.note(format!("VIOLATED: {violation}"));
        self.violation.get_or_insert(violation);
    }
}

impl Reached {
    pub(crate) fn merge(&mut self, other: &Self) {
        for (key, count) in &other.0 {
            *self.0.entry(key.clone()).or_default() += count;
        }
    }

    /// Returns which verdicts no device of a family came to, of those that one of it can.
    pub(crate) fn unreached(&self) -> Vec<String> {
        let mut unreached = Vec::new();
        for family in Family::ALL {
            for status in family.reachable() {
                let key = (family.name(), (*status).to_owned());
                if !self.0.contains_key(&key) {
                    unreached.push(format!("{} {status}", family.name()));
                }
            }
        }
        unreached
    }
}

impl fmt::Display for Reached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for ((family, verdict), count) in &self.0 {
            writeln!(f, "{family:<16} {verdict:<20} {count:>10}")?;
        }
        Ok(())
    }
}

fn text(payload: &[u8]) -> String {
    let text = String::from_utf8_lossy(payload);
    text.chars().take(160).collect()
}
