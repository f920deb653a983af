//! One command in progress, and what is known of it.

mod evidence;
mod verdict;

use std::{collections::BTreeMap, time::Duration};

use crate::{
    CommandId, Evidence, Property, Readings, Value,
    family::{Reading, Rules, States},
};

/// A device that takes longer counts as taking this long.
pub(crate) const SLOWEST: Duration = Duration::from_millis(1_500);
/// A bridge reports the old state and the command as two messages: a message this soon is not an answer to a read.
const AFTER_ECHO: Duration = Duration::from_millis(50);
/// The answers that confirm one command may be at most this far apart.
const TOGETHER: Duration = Duration::from_millis(1_500);
/// A device that reports often is not read after each report.
const BETWEEN_HINTS: Duration = Duration::from_millis(100);
/// How often a device that answers is read: soon at first, then once a second.
const BETWEEN_ASKS: [Duration; 3] =
    [Duration::from_millis(300), Duration::from_millis(600), Duration::from_secs(1)];
/// How long an answer may take before the read counts as lost.
const ANSWERS_WITHIN: Duration = Duration::from_millis(2_500);
/// The longest time between two reads of a device that does not answer.
const LONGEST_BETWEEN_ASKS: Duration = Duration::from_secs(4);

/// A command in progress.
#[derive(Clone, Debug)]
pub(crate) struct Goal {
    pub(crate) id: CommandId,
    pub(crate) target: Readings,
    pub(crate) transition: f64,
    pub(crate) deadline: Duration,
    /// Whether the target's power must still be inverted, once the present state is known.
    pub(crate) toggles: bool,
    /// Whether the verdict was given, and the device still sleeps.
    pub(crate) queued: bool,
    /// The number of the command's first message; answers to earlier reads prove nothing.
    pub(crate) first: Option<u64>,
    /// When the command was last sent.
    pub(crate) sent: Option<Duration>,
    /// When to send the command again.
    pub(crate) again: Option<Duration>,
    /// When to read the device next.
    pub(crate) ask: Option<Duration>,
    pub(crate) asked: Option<Duration>,
    pub(crate) asks: usize,
    /// Reads since the command was last sent.
    reads: usize,
    /// How many of them a state has followed that may be the answer.
    answered: usize,
    /// Reads since the last answer.
    pub(crate) unanswered: usize,
    /// Whether a reason to read came up while an answer was awaited.
    hinted: bool,
    /// How long the device takes for one command or read, as far as is known.
    pub(crate) round_trip: Duration,
    /// When the device was first as wanted.
    met_at: Option<Duration>,
    /// Why the last read or command did not reach the device.
    pub(crate) failure: Option<String>,
    /// Why the command could not be published.
    pub(crate) unpublished: Option<&'static str>,
    /// Whether the device or its bridge has reported the wanted values since the command was sent.
    heard: bool,
    /// Earlier messages whose effect may still be reported: when the first was sent, and how many there are.
    pub(crate) replaced: Option<(Duration, u32)>,
    /// When all is reported that may come of earlier messages, unless more comes before.
    rests: Option<Duration>,
    /// When the last of it was reported.
    reported: Option<Duration>,
    /// The device's reason for refusing the command.
    pub(crate) refusal: Option<String>,
    /// When the bridge first repeated the command; no earlier state comes from the device.
    echo: Option<Echo>,
    /// The values that a bridge has reported since the command.
    claimed: Readings,
    seen: BTreeMap<Property, Seen>,
}

/// When a bridge repeated the command, and how long that took.
#[derive(Clone, Copy, Debug)]
struct Echo {
    at: Duration,
    took: Duration,
}

/// The last report of a property since the command.
#[derive(Clone, Copy, Debug)]
struct Seen {
    value: Value,
    evidence: Evidence,
    at: Duration,
    /// The value is settled from this time on, if nothing contradicts it before.
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
            reads: 0,
            answered: 0,
            unanswered: 0,
            hinted: false,
            round_trip: Duration::ZERO,
            met_at: None,
            failure: None,
            unpublished: None,
            heard: false,
            replaced: None,
            rests: None,
            reported: None,
            refusal: None,
            echo: None,
            claimed: Readings::default(),
            seen: BTreeMap::new(),
        }
    }

    /// Returns whether a newer command replaces this one.
    pub(crate) fn is_superseded_by(&self, target: &Readings) -> bool {
        let group = |property| match property {
            // Setting a brightness switches on, and switching off makes the brightness irrelevant.
            Property::Power | Property::Brightness => 0,
            Property::ColorTemperature | Property::Color => 1,
            Property::Setpoint => 2,
        };
        self.target
            .properties()
            .any(|mine| target.properties().any(|its| group(mine) == group(its)))
    }

    /// Returns when the first message was sent whose effect may still be reported, and how many there are.
    pub(crate) fn in_flight_after(&self) -> Option<(Duration, u32)> {
        // A message that could not be delivered has no effect.
        let sent = self.sent.filter(|_| !self.queued && self.failure.is_none())?;
        // An answer to an unanswered read may also arrive during the next command.
        let own = u32::from(!self.heard) + u32::from(self.unanswered > 0);
        let (first, count) = self.replaced.unwrap_or((sent, 0));
        (count + own > 0).then_some((first, count + own))
    }

    /// Inverts the power of a toggle, now that the present state is known.
    pub(crate) fn turn_over(&mut self, on: bool) {
        self.toggles = false;
        self.first = None;
        (self.asks, self.unanswered) = (0, 0);
        self.target.insert(Value::Power(!on));
    }

    /// Notes that the command was sent, in messages from this number on.
    pub(crate) fn note_sent(&mut self, now: Duration, number: u64, rules: Rules) {
        self.first.get_or_insert(number);
        // What a firmware does for the same command twice is the same.
        if self.unpublished.is_none() && matches!(rules.states, States::Bridge { .. }) {
            self.replaced = self.in_flight_after().or(self.replaced);
        }
        self.heard = false;
        (self.reads, self.answered) = (0, 0);
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

    /// Notes that the device was read.
    pub(crate) fn note_asked(&mut self, now: Duration, rules: Rules) {
        self.asked = Some(now);
        self.asks += 1;
        self.reads += 1;
        self.unanswered += 1;
        self.hinted = false;
        if self.rests.take_if(|rests| *rests <= now).is_some() {
            self.replaced = None;
            // What was reported before may be of an earlier message.
            let wanted = &self.target;
            self.seen.retain(|property, seen| {
                !wanted.get(*property).is_some_and(|wanted| wanted.is_met_by(seen.value))
            });
            if self.echo.is_some() {
                // The last report came of this command, or of something that came later.
                let since = |sent| self.reported.map(|last| last.saturating_sub(sent));
                let took = self.sent.and_then(since).unwrap_or_default().max(self.round_trip);
                self.echo = Some(Echo { at: now, took });
            }
        }
        // Only one read at a time: a slow device would never catch up with more.
        let patience = match rules.read {
            Reading::Correlated | Reading::Uncorrelated => {
                ANSWERS_WITHIN.max(self.interval(now, rules))
            }
            // Each read is a command that the device carries out.
            Reading::ByCommand => Duration::from_secs(self.asks.min(4) as u64),
        };
        // A sleeping device is read when it reports something, and once at the beginning.
        self.ask = (!rules.sleepy).then(|| now + patience.min(LONGEST_BETWEEN_ASKS));
        let asks_blindly = matches!(rules.states, States::Bridge { .. }) && self.echo.is_none();
        if asks_blindly {
            self.ask = self.ask.map(|ask| ask.min(now + BETWEEN_ASKS[2]));
        }
        if asks_blindly && self.reads >= 2 {
            // The bridge does not repeat commands, or the device is slow: what arrives now is an answer.
            self.echo = Some(Echo { at: now, took: self.took(now) });
        }
    }

    /// Notes that a contradiction of a state may have been lost.
    pub(crate) fn interrupt(&mut self) {
        self.seen.retain(|_, seen| seen.evidence == Evidence::Reply);
    }

    /// Makes the device be read now, or once its transition is over.
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

    /// Returns the values read, with the weakest evidence, if all are as wanted.
    pub(crate) fn met(&self) -> Option<(Readings, Evidence, Duration)> {
        self.sent?;
        let seen = || self.target.properties().map(|property| self.seen.get(&property));
        let newest = seen().flatten().map(|seen| seen.at).max()?;
        // Values from reads far apart were perhaps never true at the same time.
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

    /// Returns the properties that are still to be read.
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

    /// Returns how long it took until the device, or its bridge, reported the wanted values.
    pub(crate) fn heard_after(&self) -> Option<Duration> {
        let echo = self.echo.filter(|_| self.heard).map(|echo| echo.at);
        Some(echo.or(self.met_at)?.saturating_sub(self.sent?))
    }

    /// Returns whether the bridge has reported nothing of the device since the command.
    pub(crate) fn is_unheard(&self) -> bool {
        self.claimed.is_empty()
    }

    /// Returns how long the read takes that a state which comes now may answer.
    pub(crate) fn read_took(&self, now: Duration) -> Option<Duration> {
        self.asked.filter(|_| self.unanswered > 0).map(|asked| now.saturating_sub(asked))
    }

    fn is_met(&self, read: Value) -> bool {
        self.target.get(read.property()).is_some_and(|wanted| wanted.is_met_by(read))
    }

    /// Returns how long to wait between two reads.
    fn interval(&self, now: Duration, rules: Rules) -> Duration {
        if rules.read == Reading::Uncorrelated && matches!(rules.states, States::Bridge { .. }) {
            // A bridge that has not repeated the command has a slow radio, or waits for a dead device.
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

    /// Returns how long this device takes to carry out a command, as far as is known now.
    fn took(&self, now: Duration) -> Duration {
        let since = self.replaced.map(|(first, _)| first).or(self.sent);
        since.map_or(Duration::ZERO, |since| now.saturating_sub(since))
    }

    /// Returns how many replaced commands may still be answered; such an answer could be mistaken for this command's.
    fn in_flight(&self) -> u32 {
        self.replaced.map_or(0, |(_, count)| count)
    }

    fn ends_at(&self, sent: Duration) -> Duration {
        sent + Duration::from_secs_f64(self.transition)
    }
}
