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
    /// A device does something that it was told, or asked.
    Work(usize, counterpart::Work),
    /// A message reaches the hub.
    Hear(Message),
    /// A reply by Correlation Data reaches the hub.
    HearReply(Token, Vec<u8>),
    Temper(usize, Temper),
    /// Somebody presses the button on a device.
    Touch(usize),
    /// A device says something about something else.
    Report(usize),
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
    family: Family,
    /// One device, or each of a group.
    counterparts: Vec<Counterpart>,
    link_up: bool,
    /// What a driver would have published as the device's state.
    published: Readings,
    /// What each device was, and since when.
    history: Vec<Vec<(Duration, State)>>,
    /// Since when each device could be read.
    readable: Vec<Option<Duration>>,
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
        let counterparts: Vec<Counterpart> = (0..family.devices().len())
            .map(|place| Counterpart::new(family, place, &mut rng))
            .collect();
        let backend = family.backend();
        let topics = backend.declared_topics();
        let mut world = Self {
            now: Duration::from_secs(1),
            queue: BTreeMap::new(),
            steps: 0,
            confirmer: Confirmer::new(backend, seed),
            declared: topics.publish,
            history: counterparts.iter().map(|one| vec![(Duration::ZERO, one.state)]).collect(),
            readable: vec![Some(Duration::ZERO); counterparts.len()],
            family,
            counterparts,
            link_up: true,
            published: Readings::default(),
            last_heard: Duration::ZERO,
            given: Vec::new(),
            trace: Vec::new(),
            violation: None,
            reached: Reached::default(),
            rng,
        };
        let latencies: Vec<Duration> = world.counterparts.iter().map(|one| one.latency).collect();
        world.note(format!("seed {seed}: {family:?}, {latencies:?}"));
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
        let family = self.family;
        for place in 0..self.counterparts.len() {
            let first = self.a_temper();
            self.schedule(Duration::from_millis(2_000), Step::Temper(place, first));
            // Without correlation nothing can tell what a device that lies says last before it dies.
            if family.is_correlated() || first != Temper::Lies {
                for _ in 0..self.rng.u8(..5) {
                    let temper = self.a_temper();
                    if family.is_correlated() || temper != Temper::Lies {
                        let at = self.rng.u64(3_000..33_000);
                        self.schedule(Duration::from_millis(at), Step::Temper(place, temper));
                    }
                }
            }
        }
        let mut often = |most: u8, make: fn(usize) -> Step| {
            for _ in 0..self.rng.u8(..=most) {
                let at = Duration::from_millis(self.rng.u64(3_000..33_000));
                let place = self.rng.usize(..self.counterparts.len());
                self.steps += 1;
                self.queue.insert((at, self.steps), make(place));
            }
        };
        often(3, Step::Touch);
        often(12, Step::Report);
        if family.has_bridge() {
            often(1, |_| Step::BridgeDown);
        }
        often(1, |_| Step::LinkDown);
        self.schedule(HEAL, Step::Heal);
        self.schedule(LAST - Duration::from_millis(1), Step::Rest);
        self.schedule(LAST, Step::Last);
        self.schedule(END, Step::Rest);
    }

    fn a_temper(&mut self) -> Temper {
        let tempers = self.family.tempers();
        tempers[self.rng.usize(..tempers.len())]
    }

    fn schedule(&mut self, at: Duration, step: Step) {
        self.steps += 1;
        self.queue.insert((at, self.steps), step);
    }

    fn run(&mut self) {
        self.confirm(Event::Link { up: true });
        let retained = self.counterparts[0].retained();
        self.say(
            retained
                .into_iter()
                .map(|(topic, payload)| counterpart::Said::Message(topic, payload))
                .collect(),
        );
        let greetings = self.counterparts.iter().flat_map(Counterpart::greeting).collect();
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
                let on = !self.counterparts[0].state.on;
                let patience = Duration::from_secs(8) + self.slowest() * 4;
                // What a device still has to do for earlier commands comes first.
                let idle = self.counterparts.iter().all(|one| one.is_idle(self.now));
                self.give(Goal { on, level: None }, patience, idle);
            }
            Step::Arrive(publication) => {
                self.note(format!("arrives {} {}", publication.topic, text(&publication.payload)));
                for place in 0..self.counterparts.len() {
                    let works = self.counterparts[place].arrive(&publication);
                    self.begin(place, works);
                }
            }
            Step::Work(place, work) => {
                let said = self.counterparts[place].work(work, &mut self.rng);
                self.note_state(place);
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
            Step::Temper(place, temper) => {
                self.note(format!("{place}: {temper:?} from now on"));
                let woken = self.counterparts[place].become_like(temper);
                self.begin(place, woken);
                self.note_readable();
            }
            Step::Touch(place) => {
                let said = self.counterparts[place].touch();
                self.note_state(place);
                self.say(said);
            }
            Step::Report(place) => {
                let said = self.counterparts[place].report();
                self.say(said);
            }
            Step::BridgeDown => {
                self.counterparts.iter_mut().for_each(Counterpart::stop);
                self.note("bridge down".to_owned());
                self.note_readable();
                self.say(self.counterparts[0].bridge_state("offline"));
                let back = self.now + Duration::from_millis(self.rng.u64(200..3_000));
                self.schedule(back, Step::BridgeUp);
            }
            Step::BridgeUp => {
                self.say(self.counterparts[0].bridge_state("online"));
                let said = self.counterparts.iter_mut().flat_map(Counterpart::start).collect();
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
                    for (topic, payload) in self.counterparts[0].retained() {
                        let message = Message::retained(&topic, payload.as_bytes());
                        self.confirm(Event::Message(message));
                    }
                }
            }
            Step::Heal => {
                self.note("all is well from now on".to_owned());
                self.step(Step::LinkUp);
                if !self.counterparts[0].is_up() {
                    self.step(Step::BridgeUp);
                }
                for place in 0..self.counterparts.len() {
                    self.step(Step::Temper(place, Temper::Honest));
                }
            }
        }
    }

    /// Lets a device do something, one after the other.
    fn begin(&mut self, place: usize, works: Vec<counterpart::Work>) {
        for work in works {
            let at = self.counterparts[place].occupy(self.now, &work, &mut self.rng);
            self.schedule(at, Step::Work(place, work));
        }
    }

    /// Returns how long the slowest device takes for one thing.
    fn slowest(&self) -> Duration {
        self.counterparts.iter().map(|one| one.latency).max().unwrap_or_default()
    }

    fn give(&mut self, wanted: Goal, patience: Duration, must_succeed: bool) {
        let id = CommandId(self.given.len() as u64);
        let deadline = self.now + patience;
        self.note(format!("command {id:?}: {wanted:?} within {patience:?}"));
        let command = Command {
            id,
            wanted: Wanted {
                power: Some(wanted.on.into()),
                brightness: wanted.level.filter(|_| self.family.dims()),
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
            let ordered = !self.family.is_correlated() || said.is_state();
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
        let family = self.family.name();
        let kind = match verdict {
            Verdict::Indeterminate { doubt, .. } => format!("409 {doubt:?}"),
            Verdict::Members(_) => format!("{} of a member", verdict.status()),
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
        match verdict {
            Verdict::Members(members) => {
                for (place, (_, verdict)) in members.iter().enumerate() {
                    self.judge_device(id, place, verdict, wanted, at);
                }
            }
            _ => {
                for place in 0..self.counterparts.len() {
                    self.judge_device(id, place, verdict, wanted, at);
                }
            }
        }
    }

    /// Checks a verdict against what one device was.
    fn judge_device(
        &mut self,
        id: CommandId,
        place: usize,
        verdict: &Verdict,
        wanted: Goal,
        at: Duration,
    ) {
        let slack = Duration::from_millis(4 * WAY) + self.slowest() * 8;
        let history = &self.history[place];
        match verdict {
            Verdict::Confirmed { .. } => {
                let lately = self.now.saturating_sub(Duration::from_millis(800) + slack);
                // The members of a group confirm one after the other.
                let since = if self.counterparts.len() > 1 { at } else { at.max(lately) };
                if !self.ever(history, since, wanted) {
                    self.fail(format!("{id:?} is confirmed, and device {place} was never so"));
                }
            }
            Verdict::Refused { .. } | Verdict::Unreachable { .. } => {
                let seconds = self.family.asked_within();
                let since = self.now.saturating_sub(Duration::from_secs(seconds) + slack);
                let readable = self.readable[place].is_some_and(|readable| readable <= since);
                if readable && at <= since && self.always(history, since, wanted) {
                    self.fail(format!("{id:?} has failed, and device {place} was as wanted"));
                }
            }
            Verdict::Indeterminate { .. } => {}
            Verdict::Unsupported { .. } | Verdict::Members(_) => {
                self.fail(format!("{id:?} is not unsupported"));
            }
        }
    }

    /// Checks that the published state is the device's, now that nothing has happened for a long time.
    fn check_published(&mut self) {
        if !self.family.can_be_read() {
            return;
        }
        // A group is on where any of it is, and as bright as those are that are on.
        let on = self.counterparts.iter().any(|one| one.state.on);
        let levels: Vec<f64> = self
            .counterparts
            .iter()
            .filter(|one| one.state.on || !on)
            .map(|one| one.state.level)
            .collect();
        let level = levels.iter().sum::<f64>() / levels.len() as f64;
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
        let level = wanted.level.filter(|_| self.family.dims());
        state.on == wanted.on
            && level.is_none_or(|level| (state.level - f64::from(level)).abs() < 2.0)
    }

    /// Returns whether a device was as wanted at any time since.
    fn ever(&self, history: &[(Duration, State)], since: Duration, wanted: Goal) -> bool {
        let ends = history.iter().skip(1).map(|(at, _)| *at).chain([Duration::MAX]);
        history.iter().zip(ends).any(|((_, state), end)| end >= since && self.meets(*state, wanted))
    }

    /// Returns whether a device was as wanted all the time since.
    fn always(&self, history: &[(Duration, State)], since: Duration, wanted: Goal) -> bool {
        let ends = history.iter().skip(1).map(|(at, _)| *at).chain([Duration::MAX]);
        history.iter().zip(ends).all(|((_, state), end)| end < since || self.meets(*state, wanted))
    }

    fn note_state(&mut self, place: usize) {
        let state = self.counterparts[place].state;
        if self.history[place].last().is_none_or(|(_, last)| *last != state) {
            self.note(format!("device {place} is {state:?}"));
            self.history[place].push((self.now, state));
        }
    }

    fn note_readable(&mut self) {
        for (readable, one) in self.readable.iter_mut().zip(&self.counterparts) {
            let is_readable = self.link_up && one.is_readable();
            *readable = readable.or(Some(self.now)).filter(|_| is_readable);
        }
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
            writeln!(f, "{family:<22} {verdict:<20} {count:>10}")?;
        }
        Ok(())
    }
}

fn text(payload: &[u8]) -> String {
    let text = String::from_utf8_lossy(payload);
    text.chars().take(160).collect()
}
