//! One command on its way: what is known of it, and what that comes to.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    CommandId, Doubt, Evidence, Property, Readings, Value, Verdict,
    family::{Reading, Rules, States},
};

/// How long a state that nothing ties to the command has to stand.
const FIRMWARE_STANDS: Duration = Duration::from_millis(100);
/// The same where a bridge passes states on: what it says of other things may come between.
const BRIDGE_STANDS: Duration = Duration::from_millis(300);
/// The slowest that a device is taken for.
pub(crate) const SLOWEST: Duration = Duration::from_millis(1_500);
/// How long after the end of a transition a device may still say that it is on its way.
const AFTER_TRANSITION: Duration = Duration::from_millis(1_500);
/// A bridge says the old state and what it was told as two messages: what comes so soon is no answer to a read.
const AFTER_ECHO: Duration = Duration::from_millis(50);
/// How far apart the answers may be that confirm one command.
const TOGETHER: Duration = Duration::from_millis(1_500);
/// A device that says much is not asked about each word.
const BETWEEN_HINTS: Duration = Duration::from_millis(100);
/// How often a device is asked that answers, at the least: first soon, then once a second.
const BETWEEN_ASKS: [Duration; 3] =
    [Duration::from_millis(300), Duration::from_millis(600), Duration::from_secs(1)];
/// How long an answer may take before the question is taken for lost.
const ANSWERS_WITHIN: Duration = Duration::from_millis(2_500);
/// The longest time between two questions to a device that says nothing.
const LONGEST_BETWEEN_ASKS: Duration = Duration::from_secs(4);

/// A command on its way.
#[derive(Clone, Debug)]
pub(crate) struct Goal {
    pub(crate) id: CommandId,
    pub(crate) target: Readings,
    pub(crate) transition: f64,
    pub(crate) deadline: Duration,
    /// Whether the target's power is yet to be turned over, once it is known.
    pub(crate) toggles: bool,
    /// Whether the verdict was given, and the device has yet to wake.
    pub(crate) queued: bool,
    /// The number of the first message of the command; what was asked before it says nothing.
    pub(crate) first: Option<u64>,
    /// When the command was last sent.
    pub(crate) sent: Option<Duration>,
    /// When the command is sent again.
    pub(crate) again: Option<Duration>,
    /// When the device is asked next.
    pub(crate) ask: Option<Duration>,
    pub(crate) asked: Option<Duration>,
    pub(crate) asks: usize,
    /// Questions since the last answer.
    pub(crate) unanswered: usize,
    /// Whether there was a reason to ask while an answer was awaited.
    hinted: bool,
    /// How long the device takes for one thing, as far as it has shown.
    pub(crate) round_trip: Duration,
    /// When it was first as wanted.
    met_at: Option<Duration>,
    /// Why the device could not be asked or told the last time.
    pub(crate) failure: Option<String>,
    /// Why the command could not be published.
    pub(crate) unpublished: Option<&'static str>,
    /// Whether the device or its bridge has said what was wanted since it was sent.
    heard: bool,
    /// When the first of the earlier messages was sent whose effect may yet be said, and how many there are.
    pub(crate) replaced: Option<(Duration, u32)>,
    /// What the device said to the command.
    pub(crate) refusal: Option<String>,
    /// When the bridge said first, after the command, what it was told; no earlier state comes from the device.
    echo: Option<Echo>,
    /// What a bridge has said since the command.
    claimed: Readings,
    seen: BTreeMap<Property, Seen>,
}

/// When a bridge repeated what it was told, and how long that took.
#[derive(Clone, Copy, Debug)]
struct Echo {
    at: Duration,
    took: Duration,
}

/// What is known of a property since the command.
#[derive(Clone, Copy, Debug)]
struct Seen {
    value: Value,
    evidence: Evidence,
    at: Duration,
    /// From when on it stands, where nothing contradicts it until then.
    stands: Duration,
}

impl Goal {
    pub(crate) fn new(
        id: CommandId,
        target: Readings,
        transition: f64,
        deadline: Duration,
    ) -> Self {
        Self {
            id,
            target,
            transition,
            deadline,
            toggles: false,
            queued: false,
            first: None,
            sent: None,
            again: None,
            ask: None,
            asked: None,
            asks: 0,
            unanswered: 0,
            hinted: false,
            round_trip: Duration::ZERO,
            met_at: None,
            failure: None,
            unpublished: None,
            heard: false,
            replaced: None,
            refusal: None,
            echo: None,
            claimed: Readings::default(),
            seen: BTreeMap::new(),
        }
    }

    /// Returns whether a newer command replaces this one.
    pub(crate) fn is_superseded_by(&self, target: &Readings) -> bool {
        let group = |property| match property {
            // A brightness switches on, and off is no brightness.
            Property::Power | Property::Brightness => 0,
            Property::ColorTemperature | Property::Color => 1,
            Property::Setpoint => 2,
        };
        self.target
            .properties()
            .any(|mine| target.properties().any(|its| group(mine) == group(its)))
    }

    /// Returns when the first message was sent whose effect may yet be said, and how many there are.
    pub(crate) fn in_flight_after(&self) -> Option<(Duration, u32)> {
        // What could not be delivered is not on its way.
        let sent = self.sent.filter(|_| !self.queued && self.failure.is_none())?;
        // A question that was not answered can be ahead of the next command as well.
        let own = u32::from(!self.heard) + u32::from(self.unanswered > 0);
        let (first, count) = self.replaced.unwrap_or((sent, 0));
        (count + own > 0).then_some((first, count + own))
    }

    /// Turns over what was to be toggled, now that it is known.
    pub(crate) fn turn_over(&mut self, on: bool) {
        self.toggles = false;
        self.first = None;
        (self.asks, self.unanswered) = (0, 0);
        self.target.insert(Value::Power(!on));
    }

    /// Notes that the command was sent as messages from this number on.
    pub(crate) fn note_sent(&mut self, now: Duration, number: u64, rules: Rules) {
        self.first.get_or_insert(number);
        if self.unpublished.is_none() {
            self.replaced = self.in_flight_after().or(self.replaced);
        }
        self.heard = false;
        self.sent = Some(now);
        self.again = None;
        self.unpublished = None;
        self.echo = None;
        self.claimed = Readings::default();
        let until_answer = match (rules.states, rules.read) {
            (_, Reading::Correlated) => Duration::from_millis(150),
            (States::Firmware, Reading::Uncorrelated) => Duration::from_millis(500),
            (States::Bridge { .. }, Reading::Uncorrelated) => Duration::from_millis(1_500),
            (_, Reading::ByCommand) => Duration::from_secs(1),
        };
        self.ask = Some(if self.transition > 0.0 {
            self.ends_at(now) + Duration::from_millis(100)
        } else {
            now + until_answer
        });
    }

    /// Notes that the device was asked.
    pub(crate) fn note_asked(&mut self, now: Duration, rules: Rules) {
        self.asked = Some(now);
        self.asks += 1;
        self.unanswered += 1;
        self.hinted = false;
        // One question at a time: a slow device would never catch up with more.
        let patience = match rules.read {
            Reading::Correlated | Reading::Uncorrelated => {
                ANSWERS_WITHIN.max(self.interval(now, rules))
            }
            // Each is a command that the device carries out.
            Reading::ByCommand => Duration::from_secs(self.asks.min(4) as u64),
        };
        // A sleeping device is asked when it says something, and once at the beginning.
        self.ask = (!rules.sleepy).then(|| now + patience.min(LONGEST_BETWEEN_ASKS));
        let asks_blindly = matches!(rules.states, States::Bridge { .. }) && self.echo.is_none();
        if asks_blindly {
            self.ask = self.ask.map(|ask| ask.min(now + BETWEEN_ASKS[2]));
        }
        if asks_blindly && self.asks >= 2 {
            // The bridge does not repeat what it is told, or the device is slow: what comes now is an answer.
            self.echo = Some(Echo { at: now, took: self.took(now) });
        }
    }

    /// Takes in a state that nothing ties to a question.
    pub(crate) fn take_state(
        &mut self,
        now: Duration,
        said: &Readings,
        before: &Readings,
        rules: Rules,
    ) {
        let relevant = said.of_properties(&self.target);
        if self.sent.is_none() || relevant.is_empty() {
            return;
        }
        match rules.read {
            Reading::Correlated => {}
            Reading::Uncorrelated if self.unanswered == 0 => {}
            Reading::Uncorrelated => self.note_answered(now, rules),
            Reading::ByCommand => self.unanswered = 0,
        }
        match (rules.states, rules.read) {
            (_, Reading::Correlated) => {
                for value in relevant.values() {
                    self.doubt(value);
                }
                if relevant.values().any(|value| self.is_met(value)) {
                    self.hint(now, rules);
                }
            }
            (States::Firmware, _) => {
                for value in relevant.values() {
                    let replied = self.seen.get(&value.property());
                    if replied.is_some_and(|seen| seen.evidence == Evidence::Reply) {
                        self.doubt(value);
                        self.hint(now, rules);
                    } else {
                        let stands =
                            now + FIRMWARE_STANDS + self.took(now).min(SLOWEST) * self.in_flight();
                        self.see(now, value, Evidence::Firmware, stands);
                    }
                }
            }
            (States::Bridge { changes_are_true }, _) => {
                self.claimed.merge(&relevant);
                let met = self.target.are_met_by(&self.claimed);
                if changes_are_true && met && !self.target.are_met_by(before) && !before.is_empty()
                {
                    for value in relevant.values() {
                        self.see(now, value, Evidence::Firmware, now + FIRMWARE_STANDS);
                    }
                    return;
                }
                match self.echo {
                    None if met => {
                        self.heard = true;
                        self.echo = Some(Echo { at: now, took: self.took(now) });
                        self.hint(now + AFTER_ECHO, rules);
                    }
                    None => {}
                    Some(Echo { at, took }) => {
                        if let Some(asked) = self.asked.filter(|asked| *asked >= at) {
                            let stands = (now + BRIDGE_STANDS).max(
                                asked
                                    + took.max(self.round_trip).min(SLOWEST)
                                        * (3 + self.in_flight()),
                            );
                            for value in relevant.values() {
                                self.see(now, value, Evidence::ReadBack, stands);
                            }
                        } else if rules.sleepy {
                            self.hint(now, rules);
                        }
                    }
                }
            }
        }
    }

    /// Takes in the answer to a question of this number.
    pub(crate) fn take_reply(&mut self, now: Duration, number: u64, said: &Readings, rules: Rules) {
        if self.first.is_none_or(|first| number < first) {
            return;
        }
        for value in said.of_properties(&self.target).values() {
            self.see(now, value, Evidence::Reply, now);
        }
        self.note_answered(now, rules);
    }

    /// Notes that a question was answered in some way, so that the next can follow.
    pub(crate) fn note_answered(&mut self, now: Duration, rules: Rules) {
        self.unanswered = 0;
        let next = self.asked.map_or(now, |asked| asked + self.interval(now, rules)).max(now);
        let next = if std::mem::take(&mut self.hinted) { now } else { next };
        self.ask = self.ask.map(|ask| ask.min(next));
    }

    /// Notes that what would contradict a state may have been lost.
    pub(crate) fn interrupt(&mut self) {
        self.seen.retain(|_, seen| seen.evidence == Evidence::Reply);
    }

    /// Has the device asked now, or once its transition is over.
    pub(crate) fn hint(&mut self, now: Duration, rules: Rules) {
        let awaits =
            self.unanswered > 0 && self.asked.is_some_and(|asked| now < asked + ANSWERS_WITHIN);
        if rules.read == Reading::Correlated && awaits {
            self.hinted = true;
            return;
        }
        let end = self.sent.map_or(now, |sent| self.ends_at(sent));
        let again = self.asked.map_or(now, |asked| asked + BETWEEN_HINTS);
        let due = end.max(again).max(now);
        self.ask = Some(self.ask.map_or(due, |ask| ask.min(due)));
    }

    /// Returns what was read, with the weakest evidence, where all of it is as wanted.
    pub(crate) fn met(&self) -> Option<(Readings, Evidence, Duration)> {
        self.sent?;
        let seen = || self.target.properties().map(|property| self.seen.get(&property));
        let newest = seen().flatten().map(|seen| seen.at).max()?;
        // What was read by questions far apart was perhaps never so at one time.
        let together =
            |seen: &Seen| seen.evidence != Evidence::Reply || newest <= seen.at + TOGETHER;
        let all_met =
            seen().all(|seen| seen.is_some_and(|seen| self.is_met(seen.value) && together(seen)));
        if !all_met {
            return None;
        }
        let readings = seen().flatten().map(|seen| seen.value).collect();
        let evidence = seen().flatten().map(|seen| seen.evidence).min()?;
        let stands = seen().flatten().map(|seen| seen.stands).max()?;
        Some((readings, evidence, stands))
    }

    /// Returns what is yet to be learned.
    pub(crate) fn open_properties(&self, rules: Rules) -> Vec<Property> {
        if rules.read == Reading::Correlated {
            return self.target.properties().collect();
        }
        let is_open = |property: &Property| {
            self.seen.get(property).is_none_or(|seen| !self.is_met(seen.value))
        };
        let open: Vec<Property> = self.target.properties().filter(is_open).collect();
        if open.is_empty() { self.target.properties().collect() } else { open }
    }

    /// Returns how long it took until the device, or its bridge, said what was wanted.
    pub(crate) fn heard_after(&self) -> Option<Duration> {
        let echo = self.echo.filter(|_| self.heard).map(|echo| echo.at);
        Some(echo.or(self.met_at)?.saturating_sub(self.sent?))
    }

    /// Returns what the command comes to at its deadline.
    pub(crate) fn concluded(&self, now: Duration, rules: Rules, last: &Readings) -> Verdict {
        let last = last.of_properties(&self.target);
        let doubt = |doubt| Verdict::Indeterminate { doubt, last: last.clone() };
        if self.met().is_some() {
            return doubt(Doubt::Unsettled);
        }
        if let Some(reason) = self.failure.as_deref().or(self.unpublished) {
            return Verdict::Unreachable {
                reason: reason.to_owned(),
                since: self.sent.unwrap_or(now),
            };
        }
        let still: Readings = self
            .seen
            .values()
            .filter(|seen| !self.is_met(seen.value) && self.is_final(seen, rules))
            .map(|seen| seen.value)
            .collect();
        let moves = self.sent.is_some_and(|sent| {
            self.transition > 0.0 && now < self.ends_at(sent) + AFTER_TRANSITION
        });
        if moves {
            return doubt(Doubt::Transition);
        }
        if !still.is_empty() {
            return Verdict::Refused { still, reason: self.refusal.clone() };
        }
        if rules.sleepy {
            return doubt(Doubt::Queued);
        }
        let silent = self.unanswered > 0 && self.unanswered == self.asks;
        if rules.read == Reading::Correlated && silent {
            let reason = "nothing answers".to_owned();
            return Verdict::Unreachable { reason, since: self.sent.unwrap_or(now) };
        }
        doubt(if self.toggles { Doubt::Unknown } else { Doubt::Silence })
    }

    /// Returns whether a value that is not as wanted is what the device is, and not what it was.
    fn is_final(&self, seen: &Seen, rules: Rules) -> bool {
        let late =
            self.sent.is_some_and(|sent| self.transition <= 0.0 || seen.at >= self.ends_at(sent));
        // Two questions without an answer since: the device may have followed meanwhile.
        let fresh = match rules.read {
            Reading::Correlated => self.unanswered <= 1,
            Reading::Uncorrelated => self
                .asked
                .is_none_or(|asked| asked <= seen.at + BETWEEN_ASKS[BETWEEN_ASKS.len() - 1] * 2),
            Reading::ByCommand => self.unanswered <= 1,
        };
        late && fresh
    }

    fn is_met(&self, read: Value) -> bool {
        self.target.get(read.property()).is_some_and(|wanted| wanted.is_met_by(read))
    }

    /// Takes a reply for outdated where the device says otherwise since.
    fn doubt(&mut self, said: Value) {
        let outdated = |seen: &Seen| self.is_met(seen.value) && !self.is_met(said);
        if self.seen.get(&said.property()).is_some_and(outdated) {
            self.seen.remove(&said.property());
        }
    }

    fn see(&mut self, now: Duration, value: Value, evidence: Evidence, stands: Duration) {
        self.failure = None;
        let property = value.property();
        let stands = match self.seen.get(&property) {
            // It stands already, and is said once more.
            Some(seen) if self.is_met(seen.value) && seen.evidence == evidence => seen.stands,
            Some(_) | None => stands,
        };
        self.seen.insert(property, Seen { value, evidence, at: now, stands });
        if self.met_at.is_none() && self.met().is_some() {
            self.met_at = Some(now);
            self.heard = true;
        }
    }

    /// Returns how long to wait between two questions.
    fn interval(&self, now: Duration, rules: Rules) -> Duration {
        if rules.read == Reading::Uncorrelated && matches!(rules.states, States::Bridge { .. }) {
            // A bridge that has not repeated the command has a slow radio, or a dead device to wait for.
            let waited = if self.heard { Duration::ZERO } else { self.took(now) };
            let round_trip = if self.failure.is_some() {
                ANSWERS_WITHIN
            } else {
                self.round_trip.max(waited) * 3 / 2
            };
            return round_trip.clamp(BETWEEN_ASKS[2], ANSWERS_WITHIN);
        }
        let asks = self.asks.saturating_sub(1).min(BETWEEN_ASKS.len() - 1);
        let each = self.round_trip * self.target.len() as u32;
        BETWEEN_ASKS[asks].max(each * 3 / 2).min(LONGEST_BETWEEN_ASKS)
    }

    /// Returns how long this device takes to do what it is told, as far as can be told now.
    fn took(&self, now: Duration) -> Duration {
        let since = self.replaced.map(|(first, _)| first).or(self.sent);
        since.map_or(Duration::ZERO, |since| now.saturating_sub(since))
    }

    /// Returns how many replaced commands may be on their way, whose answers could be taken for this one's.
    fn in_flight(&self) -> u32 {
        self.replaced.map_or(0, |(_, count)| count)
    }

    fn ends_at(&self, sent: Duration) -> Duration {
        sent + Duration::from_secs_f64(self.transition)
    }
}
