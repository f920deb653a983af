//! One device: the commands to it, and what is known of it.

mod due;
mod learning;
mod look;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use look::Look;

use crate::{
    Availability, Backend, Command, CommandId, Doubt, Event, Output, Radio, Readings, Token, Value,
    Verdict, Wanted,
    availability::Parts,
    family::{Dialect, Reading, Rules, States, Tokens},
    goal::Goal,
    radio::Place,
    target::target,
};

/// A device that is reported offline may be back: the command is sent, and the device has this long.
const MAYBE_BACK: Duration = Duration::from_secs(3);
/// When to send a command again that failed or could not be published.
pub(crate) const RETRY: Duration = Duration::from_secs(1);
/// How long after the end of a command the device may still report something because of it.
const IN_FLIGHT: Duration = Duration::from_secs(10);

/// Decides whether one device did what it was told.
#[derive(Debug)]
pub(crate) struct Device {
    dialect: Dialect,
    rules: Rules,
    tokens: Tokens,
    now: Duration,
    parts: Parts,
    availability: Availability,
    goals: Vec<Goal>,
    /// The reads and commands that may still be answered, by token.
    questions: BTreeMap<Token, Question>,
    /// How many messages were published.
    published: u64,
    /// When a command was last sent.
    commanded_at: Option<Duration>,
    /// How long the device has lately taken for one command or read.
    round_trip: Duration,
    /// The last values that the device or its bridge reported.
    last: Readings,
    /// When one of them was reported, and not read.
    reported_at: Option<Duration>,
    /// The last values that the device itself reported.
    confirmed: Readings,
    /// States before this time come from the bridge's memory.
    replays_until: Duration,
    /// Messages of finished commands whose effect may still be reported: when the first was sent, how many, and when
    /// the last command ended.
    in_flight: Option<(Duration, u32, Duration)>,
    /// The attempt to read what nobody has commanded.
    look: Option<Look>,
    /// The turns at a radio that other devices use as well.
    radio: Option<Place>,
    /// When the last one asked.
    looked_at: Option<Duration>,
    /// Until then the effect of a command without confirmation may come; one look follows.
    doubted_until: Option<Duration>,
    /// How many in a row were not answered, for one reason to look.
    unanswered_looks: u32,
    outputs: VecDeque<Output>,
}

#[derive(Clone, Copy, Debug)]
struct Question {
    number: u64,
    /// The command that it belongs to; `None` for [`Event::Refresh`].
    goal: Option<CommandId>,
    at: Duration,
    sets: bool,
}

impl Device {
    pub(crate) fn new(backend: &Backend, salt: u64) -> Self {
        Self::with_dialect(Dialect::new(backend), salt)
    }

    pub(crate) fn with_dialect(dialect: Dialect, salt: u64) -> Self {
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
            commanded_at: None,
            round_trip: Duration::ZERO,
            last: Readings::default(),
            reported_at: None,
            confirmed: Readings::default(),
            replays_until: Duration::ZERO,
            in_flight: None,
            look: None,
            radio: None,
            looked_at: None,
            doubted_until: None,
            unanswered_looks: 0,
            outputs: VecDeque::new(),
        }
    }

    /// Lets the device be read in turn with the others behind the same radio.
    pub(crate) fn sharing(mut self, radio: Arc<Radio>) -> Self {
        self.radio = Some(Place::new(radio));
        self
    }

    /// Handles one event.
    pub(crate) fn handle(&mut self, now: Duration, event: Event) {
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
        self.advance_look();
        self.tell_availability();
    }

    /// Returns the next thing to do.
    pub(crate) fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Returns when [`Event::Elapsed`] is due, at the latest.
    pub(crate) fn poll_timeout(&self) -> Option<Duration> {
        let due = self.goals.iter().flat_map(|goal| {
            let stands = goal.met().map(|(_, _, stands)| stands);
            let sends = self.can_send();
            let (ask, again) = (goal.ask.filter(|_| sends), goal.again.filter(|_| sends));
            [Some(goal.deadline), stands, ask.map(|ask| ask.max(self.readable_from())), again]
        });
        due.flatten().chain(self.look_due()).min().filter(|due| *due < Duration::MAX)
    }

    /// Returns whether the device can be reached, as far as is known.
    pub(crate) fn availability(&self) -> &Availability {
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
        } else if self.is_replaying() {
            // What the bridge says of it could not be told from what it remembers.
            goal.again = Some(self.replays_until);
        } else {
            self.send(&mut goal);
        }
        self.goals.push(goal);
    }

    /// Reads the device for a command that it was told before; what makes sense of it is known from then.
    pub(crate) fn follow(&mut self, now: Duration, Command { id, wanted, deadline }: Command) {
        self.now = self.now.max(now);
        let target = match target(&wanted, &self.dialect, &self.confirmed) {
            Ok((target, _)) => target,
            Err(reason) => return self.answer(id, Verdict::Unsupported { reason }),
        };
        let mut goal = Goal::new(id, target, wanted.transition, deadline);
        goal.round_trip = self.round_trip;
        goal.note_sent(self.now, self.published, self.rules);
        self.goals.push(goal);
    }

    /// Notes that a command was sent again for another device that has it as well.
    pub(crate) fn note_told_again(&mut self, now: Duration, command: CommandId) {
        self.now = self.now.max(now);
        let mut is_open = false;
        for goal in self.goals.iter_mut().filter(|goal| goal.id == command) {
            is_open = true;
            if goal.sent.is_some_and(|sent| sent < now) {
                goal.interrupt();
                goal.note_sent(now, self.published, self.rules);
            }
        }
        if !is_open {
            // What the bridge reports of it now may hide what the device has reported by itself.
            self.doubt_state();
        }
    }

    /// Returns whether states that cannot be told apart may be those that a bridge remembers.
    fn is_replaying(&self) -> bool {
        self.rules.read == Reading::Uncorrelated
            && matches!(self.rules.states, States::Bridge { .. })
            && self.now < self.replays_until
    }

    /// Returns what the device is called, for people.
    pub(crate) fn name(&self) -> &str {
        self.dialect.name()
    }

    /// Returns why the device cannot do something, where that is known before.
    pub(crate) fn objection(&self, wanted: &Wanted) -> Option<String> {
        target(wanted, &self.dialect, &self.confirmed).err()
    }

    /// Returns from when on a command can read the device: an answer that names its question is never from a bridge's memory.
    fn readable_from(&self) -> Duration {
        match self.rules.read {
            Reading::Correlated => Duration::ZERO,
            Reading::Uncorrelated | Reading::ByCommand => self.replays_until,
        }
    }

    /// Returns why nothing is sent, and since when.
    pub(crate) fn unreachable(&self) -> Option<(String, Duration)> {
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

    /// Remembers which effects of a finished command may still be reported.
    fn forget(&mut self, goal: &Goal) {
        if let Some(took) = goal.heard_after().filter(|_| !self.rules.sleepy) {
            self.note_round_trip(took);
        }
        let Some((first, count)) = goal.in_flight_after() else { return };
        let (earlier, others) = self.in_flight().unwrap_or((first, 0));
        // The command's own count was taken from here.
        self.in_flight = Some((earlier.min(first), others.max(count), self.now));
    }

    /// Returns when the first message was sent whose effect may still be reported, and how many there are.
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
            self.doubt_state();
            if !other.queued {
                let last = self.last.of_properties(&other.target);
                self.answer(other.id, Verdict::Indeterminate { doubt: Doubt::Superseded, last });
            }
        }
    }

    fn can_send(&self) -> bool {
        self.parts.link.is_online() && self.parts.bridge.offline_since().is_none()
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
