//! One device, what is wanted of it, and what it says.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use crate::{
    Availability, Backend, Command, CommandId, Doubt, Event, Evidence, Message, Output, Property,
    Publication, PublishError, Queued, Readings, Token, Value, Verdict,
    availability::Parts,
    family::{Dialect, Frame, Meaning, Reading, Reply, Rules, States, Tokens},
    goal::{Goal, SLOWEST},
    target::target,
};

/// What a bridge says this long after its start are states that it remembers.
const REPLAY: Duration = Duration::from_secs(2);
/// A device that is said to be offline may be back: it is told, and has this long.
const MAYBE_BACK: Duration = Duration::from_secs(3);
/// How soon a command that failed is sent again, and one that could not be published.
const RETRY: Duration = Duration::from_secs(1);
/// How long a sleeping device may take before its command is overdue.
const OVERDUE: Duration = Duration::from_secs(30 * 60);
/// How long after the end of a command a device may still say something because of it.
const IN_FLIGHT: Duration = Duration::from_secs(10);
/// How many questions are remembered; older ones go first.
const MAX_QUESTIONS: usize = 64;

/// Decides whether one device did what it was told.
///
/// After each [`handle`](Self::handle) the driver takes all of [`poll_output`](Self::poll_output) and performs it in
/// order, then waits for the next event, but no longer than until [`poll_timeout`](Self::poll_timeout), where it handles
/// [`Event::Elapsed`]. Time is monotonic, and the same clock for all calls. Each [`Command`] is answered by exactly one
/// [`Output::Verdict`], at its deadline at the latest.
#[derive(Debug)]
pub struct Confirmer {
    dialect: Dialect,
    rules: Rules,
    tokens: Tokens,
    now: Duration,
    parts: Parts,
    availability: Availability,
    goals: Vec<Goal>,
    /// The questions and commands that may be answered, by number.
    questions: BTreeMap<Token, Question>,
    /// How many messages were published.
    published: u64,
    /// How long the device takes for one thing, of late.
    round_trip: Duration,
    /// The last values that anybody said.
    last: Readings,
    /// The last values that the device itself said.
    confirmed: Readings,
    /// Until when states are those that a bridge remembers.
    replays_until: Duration,
    /// What commands that are over may yet cause to be said: since when, how many, and when the last of them was over.
    in_flight: Option<(Duration, u32, Duration)>,
    outputs: VecDeque<Output>,
}

#[derive(Clone, Copy, Debug)]
struct Question {
    number: u64,
    /// The command that it belongs to; none for what somebody else wanted to know.
    goal: Option<CommandId>,
    at: Duration,
    sets: bool,
}

impl Confirmer {
    /// Makes a confirmer for the device of a table that has no [problems](Backend::problems).
    ///
    /// The salt tells the questions of this confirmer from those that one before it asked: any number that differs from
    /// start to start.
    pub fn new(backend: Backend, salt: u64) -> Self {
        let dialect = Dialect::new(&backend);
        Self {
            rules: dialect.rules(),
            dialect,
            tokens: Tokens::new(salt),
            now: Duration::ZERO,
            parts: Parts::default(),
            availability: Availability::Unknown,
            goals: Vec::new(),
            questions: BTreeMap::new(),
            published: 0,
            round_trip: Duration::ZERO,
            last: Readings::default(),
            confirmed: Readings::default(),
            replays_until: Duration::ZERO,
            in_flight: None,
            outputs: VecDeque::new(),
        }
    }

    /// Takes in what happens.
    pub fn handle(&mut self, now: Duration, event: Event) {
        self.now = self.now.max(now);
        match event {
            Event::Command(command) => self.command(command),
            Event::Message(message) => self.message(&message),
            Event::Reply { token, payload } => {
                if let Some(reply) = self.dialect.understand_reply(&payload) {
                    self.reply(token, reply);
                }
            }
            Event::NotPublished { token, error } => self.not_published(token, error),
            Event::Link { up } => self.link(up),
            Event::Refresh => self.refresh(),
            Event::Elapsed => {}
        }
        self.advance();
        self.tell_availability();
    }

    /// Returns the next thing to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Returns when [`Event::Elapsed`] is due, at the latest.
    pub fn poll_timeout(&self) -> Option<Duration> {
        let due = self.goals.iter().flat_map(|goal| {
            let stands = goal.met().map(|(_, _, stands)| stands);
            let sends = self.can_send();
            let (ask, again) = (goal.ask.filter(|_| sends), goal.again.filter(|_| sends));
            [Some(goal.deadline), stands, ask.map(|ask| ask.max(self.replays_until)), again]
        });
        due.flatten().min().filter(|due| *due < Duration::MAX)
    }

    /// Returns whether the device can be reached, as far as anybody has said.
    pub fn availability(&self) -> &Availability {
        &self.availability
    }

    fn command(&mut self, Command { id, wanted, deadline }: Command) {
        let (target, toggles) = match target(&wanted, &self.dialect, &self.confirmed) {
            Ok(target) => target,
            Err(reason) => return self.answer(id, Verdict::Unsupported { reason }),
        };
        let mut goal = Goal::new(id, target, wanted.transition, deadline);
        goal.toggles = toggles;
        goal.round_trip = self.round_trip;
        self.supersede(&mut goal);
        goal.replaced = self.in_flight();
        if let Some((reason, since)) = self.unreachable() {
            return self.answer(id, Verdict::Unreachable { reason, since });
        }
        if deadline <= self.now {
            let (reason, since) = ("no time is left to ask it".to_owned(), self.now);
            return self.answer(id, Verdict::Unreachable { reason, since });
        }
        if self.parts.device.offline_since().is_some() {
            goal.deadline = deadline.min(self.now + MAYBE_BACK);
        }
        if toggles && self.rules.read == Reading::ByCommand {
            let Some(on) = self.last.power() else {
                let last = Readings::default();
                return self.answer(id, Verdict::Indeterminate { doubt: Doubt::Unknown, last });
            };
            goal.toggles = false;
            goal.target.insert(Value::Power(!on));
        }
        if goal.toggles {
            goal.ask = Some(self.now);
            goal.first = Some(self.published);
        } else {
            self.send(&mut goal);
        }
        if self.rules.group {
            let last = self.last.of_properties(&goal.target);
            return self.answer(id, Verdict::Indeterminate { doubt: Doubt::Group, last });
        }
        self.goals.push(goal);
    }

    /// Returns why nothing is sent, and since when.
    fn unreachable(&self) -> Option<(String, Duration)> {
        if !self.parts.link.is_online() {
            let since = self.parts.link.offline_since().unwrap_or(self.now);
            return Some(("no connection to the broker".to_owned(), since));
        }
        if let Some(since) = self.parts.bridge.offline_since() {
            return Some((format!("{} is offline", self.dialect.bridge()), since));
        }
        let since = self.parts.device.offline_since().filter(|_| self.rules.offline_is_certain)?;
        Some(("the device is offline".to_owned(), since))
    }

    /// Remembers of a command that is over what may yet be said because of it.
    fn forget(&mut self, goal: &Goal) {
        if let Some(took) = goal.heard_after().filter(|_| !self.rules.sleepy) {
            self.note_round_trip(took);
        }
        let Some((first, count)) = goal.in_flight_after() else { return };
        let (earlier, others) = self.in_flight().unwrap_or((first, 0));
        // What the command itself counts was taken from here.
        self.in_flight = Some((earlier.min(first), others.max(count), self.now));
    }

    /// Returns when the first message was sent whose effect may yet be said, and how many there are.
    fn in_flight(&self) -> Option<(Duration, u32)> {
        let (first, count, until) = self.in_flight?;
        (self.now < until + IN_FLIGHT).then_some((first, count))
    }

    /// Ends the commands that a new one replaces.
    fn supersede(&mut self, goal: &mut Goal) {
        for other in std::mem::take(&mut self.goals) {
            if !other.is_superseded_by(&goal.target) {
                self.goals.push(other);
                continue;
            }
            self.forget(&other);
            if !other.queued {
                let last = self.last.of_properties(&other.target);
                self.answer(other.id, Verdict::Indeterminate { doubt: Doubt::Superseded, last });
            }
        }
    }

    fn message(&mut self, message: &Message) {
        for meaning in self.dialect.understand(message) {
            match meaning {
                Meaning::Bridge(online) => self.bridge(online, message.retained),
                Meaning::Device(online) => self.device(online, message.retained),
                Meaning::State(readings) => self.state(&readings, message.retained),
                Meaning::Reply(token, reply) => self.reply(token, reply),
                Meaning::Trouble(reason) => {
                    for goal in &mut self.goals {
                        goal.failure = Some(reason.clone());
                    }
                }
            }
        }
    }

    fn bridge(&mut self, online: bool, retained: bool) {
        self.parts.bridge = self.parts.bridge.then(self.now, online);
        if !(online && retained) {
            self.goals.iter_mut().for_each(Goal::interrupt);
        }
        if !online {
            return;
        }
        self.replays_until = self.now + REPLAY;
        if retained {
            return;
        }
        // A command that was sent while it was away is lost.
        for goal in self.goals.iter_mut().filter(|goal| goal.sent.is_some()) {
            goal.again = Some(self.replays_until);
        }
    }

    fn device(&mut self, online: bool, retained: bool) {
        let was_offline = self.parts.device.offline_since().is_some();
        self.parts.device = self.parts.device.then(self.now, online);
        if online {
            self.parts.failure = None;
        } else {
            self.goals.iter_mut().for_each(Goal::interrupt);
        }
        if online && was_offline && !retained {
            for goal in self.goals.iter_mut().filter(|goal| goal.sent.is_some()) {
                goal.again = Some(self.now);
            }
        }
    }

    fn state(&mut self, readings: &Readings, retained: bool) {
        let remembered =
            matches!(self.rules.states, States::Bridge { .. }) && self.now < self.replays_until;
        let before = self.last.clone();
        self.last.merge(readings);
        let by_firmware = self.rules.states == States::Firmware;
        let evidence = (by_firmware && !retained).then_some(Evidence::Firmware);
        self.outputs.push_back(Output::Observed { readings: readings.clone(), evidence });
        if retained || remembered {
            return;
        }
        if by_firmware {
            self.parts.failure = None;
            self.confirmed.merge(readings);
        }
        for goal in &mut self.goals {
            goal.take_state(self.now, readings, &before, self.rules);
        }
        if by_firmware || self.rules.read == Reading::Uncorrelated {
            self.turn_over(readings);
        }
    }

    fn reply(&mut self, token: Token, reply: Reply) {
        let Some(Question { number, goal: of, at, .. }) = self.questions.remove(&token) else {
            return;
        };
        self.note_round_trip(self.now.saturating_sub(at));
        match reply {
            Reply::State(readings) => {
                self.parts.failure = None;
                self.last.merge(&readings);
                self.confirmed.merge(&readings);
                self.turn_over(&readings);
                for goal in &mut self.goals {
                    goal.take_reply(self.now, number, &readings, self.rules);
                }
                let evidence = Some(Evidence::Reply);
                self.outputs.push_back(Output::Observed { readings, evidence });
            }
            Reply::Taken => {
                self.parts.failure = None;
                let (now, rules) = (self.now, self.rules);
                self.goals_of(of).for_each(|goal| goal.hint(now, rules));
            }
            Reply::Unreachable(reason) => {
                let (now, rules) = (self.now, self.rules);
                self.goals_of(of).for_each(|goal| {
                    goal.failure = Some(reason.clone());
                    goal.note_answered(now, rules);
                    // What could not be delivered may get through now.
                    let again = goal.sent.map(|sent| (sent + RETRY).max(now));
                    goal.again = again.filter(|_| !rules.sleepy);
                });
            }
            Reply::Refused(reason) => {
                let (now, rules) = (self.now, self.rules);
                self.goals_of(of).for_each(|goal| {
                    goal.refusal = Some(reason.clone());
                    goal.note_answered(now, rules);
                });
            }
            Reply::Unsupported(reason) => {
                self.parts.failure = None;
                if let Some(id) = of
                    && let Some(place) = self.goals.iter().position(|goal| goal.id == id)
                {
                    self.goals.remove(place);
                    self.answer(id, Verdict::Unsupported { reason });
                }
            }
        }
    }

    /// Notes how long something took; what took longer is forgotten slowly.
    fn note_round_trip(&mut self, took: Duration) {
        // What took longer was rather away than slow.
        self.round_trip = took.max(self.round_trip / 2).min(SLOWEST);
        for goal in &mut self.goals {
            goal.round_trip = self.round_trip;
        }
    }

    fn goals_of(&mut self, id: Option<CommandId>) -> impl Iterator<Item = &mut Goal> {
        self.goals.iter_mut().filter(move |goal| Some(goal.id) == id)
    }

    /// Turns over what was to be toggled, once it is known.
    fn turn_over(&mut self, readings: &Readings) {
        let Some(on) = readings.power() else { return };
        let mut goals = std::mem::take(&mut self.goals);
        for goal in goals.iter_mut().filter(|goal| goal.toggles && goal.asked.is_some()) {
            goal.turn_over(on);
            self.send(goal);
        }
        self.goals = goals;
    }

    fn not_published(&mut self, token: Token, error: PublishError) {
        let Some(Question { goal: Some(id), sets, .. }) = self.questions.remove(&token) else {
            return;
        };
        let (now, reason) = (
            self.now,
            match error {
                PublishError::Gone => "no connection to the broker",
                PublishError::Busy => "too many messages wait for the broker",
                PublishError::Refused => "the hub may not publish on the device's topic",
                PublishError::TooLarge => "the broker takes no message of this size",
            },
        );
        for goal in self.goals_of(Some(id)) {
            match error {
                PublishError::Gone | PublishError::Busy if sets => {
                    goal.unpublished = Some(reason);
                    goal.again = Some(now + RETRY);
                    goal.ask = None;
                }
                PublishError::Gone | PublishError::Busy => {}
                PublishError::Refused | PublishError::TooLarge => {
                    goal.unpublished = Some(reason);
                    goal.deadline = now;
                }
            }
        }
    }

    fn link(&mut self, up: bool) {
        self.parts.link = self.parts.link.then(self.now, up);
        if !up {
            self.questions.clear();
            self.goals.iter_mut().for_each(Goal::interrupt);
            return;
        }
        let now = self.now;
        for goal in self.goals.iter_mut().filter(|goal| goal.sent.is_some() && !goal.queued) {
            goal.again = Some(now);
        }
    }

    fn refresh(&mut self) {
        let mut properties: Vec<Property> = self.last.properties().collect();
        if properties.is_empty() && self.dialect.has(Property::Power) {
            properties.push(Property::Power);
        }
        if self.can_send()
            && !properties.is_empty()
            && let Ok(frames) = self.dialect.read(&properties, MAYBE_BACK, &mut self.tokens)
        {
            self.publish(frames, None, false, self.now + MAYBE_BACK);
        }
    }

    fn can_send(&self) -> bool {
        self.parts.link.is_online() && self.parts.bridge.offline_since().is_none()
    }

    /// Does what is due of each command.
    fn advance(&mut self) {
        let mut kept = Vec::new();
        for mut goal in std::mem::take(&mut self.goals) {
            if self.is_over(&mut goal) {
                continue;
            }
            if self.can_send() {
                if goal.again.is_some_and(|again| again <= self.now) {
                    self.send(&mut goal);
                }
                let due = goal.ask.is_some_and(|ask| ask <= self.now);
                if due && self.replays_until <= self.now {
                    self.ask(&mut goal);
                }
            }
            kept.push(goal);
        }
        // Nothing above adds a goal.
        self.goals = kept;
    }

    /// Answers a command where it is decided, and returns whether it is done with.
    fn is_over(&mut self, goal: &mut Goal) -> bool {
        if let Some((readings, evidence, stands)) = goal.met()
            && stands <= self.now
        {
            self.parts.failure = None;
            self.forget(goal);
            self.in_flight = None;
            self.confirmed.merge(&readings);
            if goal.queued {
                let queued = Queued::Confirmed;
                self.outputs.push_back(Output::Queued { command: goal.id, queued });
                self.outputs.push_back(Output::Observed { readings, evidence: Some(evidence) });
            } else {
                self.answer(goal.id, Verdict::Confirmed { readings, evidence });
            }
            return true;
        }
        if self.now < goal.deadline {
            return false;
        }
        if goal.queued {
            goal.deadline = Duration::MAX;
            let queued = Queued::Overdue;
            self.outputs.push_back(Output::Queued { command: goal.id, queued });
            return false;
        }
        let verdict = self.conclude(goal);
        self.forget(goal);
        let sleeps = matches!(verdict, Verdict::Indeterminate { doubt: Doubt::Queued, .. });
        self.answer(goal.id, verdict);
        if sleeps {
            goal.queued = true;
            goal.deadline = self.now + OVERDUE;
            let queued = Queued::Pending;
            self.outputs.push_back(Output::Queued { command: goal.id, queued });
        }
        !sleeps
    }

    /// Returns what a command comes to at its deadline.
    fn conclude(&mut self, goal: &Goal) -> Verdict {
        if !self.parts.link.is_online() && goal.met().is_none() {
            let last = self.last.of_properties(&goal.target);
            return Verdict::Indeterminate { doubt: Doubt::LinkLost, last };
        }
        if goal.met().is_none()
            && let Some((reason, since)) = self.unreachable()
        {
            return Verdict::Unreachable { reason, since };
        }
        let mut verdict = goal.concluded(self.now, self.rules, &self.last);
        if let Verdict::Indeterminate { doubt: Doubt::Silence, .. } = verdict
            && let Some(since) = self.parts.device.offline_since()
        {
            let reason = "the device is offline".to_owned();
            verdict = Verdict::Unreachable { reason, since };
        }
        if let Verdict::Unreachable { reason, since } = &verdict {
            self.parts.failure.get_or_insert_with(|| (reason.clone(), *since));
        }
        verdict
    }

    /// Sends a command.
    fn send(&mut self, goal: &mut Goal) {
        let frames = self.dialect.set(&goal.target, goal.transition, &mut self.tokens);
        goal.note_sent(self.now, self.published, self.rules);
        self.publish(frames, Some(goal.id), true, goal.deadline);
    }

    /// Asks the device how it is.
    fn ask(&mut self, goal: &mut Goal) {
        let failed = goal.failure.is_some()
            && self.rules.read == Reading::Uncorrelated
            && !self.rules.sleepy;
        let stale = goal.sent.is_some_and(|sent| sent + RETRY <= self.now);
        if self.rules.read == Reading::ByCommand {
            goal.note_asked(self.now, self.rules);
            if goal.met().is_none() && stale {
                let ask = goal.ask;
                self.send(goal);
                goal.ask = ask;
            }
            return;
        }
        let long_ago = goal.sent.is_some_and(|sent| sent + MAYBE_BACK <= self.now);
        if failed && long_ago {
            // What could not be delivered may get through now; and whether it did is asked as well.
            self.send(goal);
        }
        let properties = goal.open_properties(self.rules);
        let left = goal.deadline.saturating_sub(self.now).min(OVERDUE);
        match self.dialect.read(&properties, left, &mut self.tokens) {
            Ok(frames) => self.publish(frames, Some(goal.id), false, goal.deadline),
            Err(reason) => goal.failure = Some(reason),
        }
        goal.note_asked(self.now, self.rules);
    }

    fn publish(
        &mut self,
        frames: Vec<Frame>,
        goal: Option<CommandId>,
        sets: bool,
        deadline: Duration,
    ) {
        for Frame { token, topic, payload, qos, reply } in frames {
            self.questions
                .insert(token, Question { number: self.published, goal, at: self.now, sets });
            self.published += 1;
            let expiry = deadline.saturating_sub(self.now).min(OVERDUE);
            let publication = Publication { token, topic, payload, qos, expiry, reply };
            self.outputs.push_back(Output::Publish(publication));
        }
        while self.questions.len() > MAX_QUESTIONS {
            let oldest = self.questions.iter().min_by_key(|(_, question)| question.number);
            let Some(token) = oldest.map(|(token, _)| *token) else { break };
            self.questions.remove(&token);
        }
    }

    fn answer(&mut self, command: CommandId, verdict: Verdict) {
        self.outputs.push_back(Output::Verdict { command, verdict });
    }

    fn tell_availability(&mut self) {
        let availability = self.parts.availability(self.dialect.bridge());
        if availability != self.availability {
            self.availability = availability.clone();
            self.outputs.push_back(Output::Availability(availability));
        }
    }
}
