//! Reading a device that nobody commands: what a bridge reports by itself is no proof, and a command without
//! confirmation leaves the state in doubt.

use std::{collections::BTreeSet, time::Duration};

use super::{Device, IN_FLIGHT, MAYBE_BACK};
use crate::{
    Evidence, Output, Property, Readings, Token,
    family::{Reading, States},
    goal::SLOWEST,
    radio::Turn,
};

/// How long what was read must stand before it counts, at the least.
const STANDS: Duration = Duration::from_millis(300);
/// Reads must not keep a slow radio from commands: so long lies between two looks, and longer where it is slow.
const BETWEEN: Duration = Duration::from_secs(3);
/// How soon a device that does not answer is read again, at first.
const AGAIN: Duration = Duration::from_secs(30);
/// This wait doubles with each look that is not answered, so many times.
const DOUBLINGS: u32 = 4;

/// One attempt to read the state.
#[derive(Debug)]
pub(super) enum Look {
    /// It is read then.
    Due(Duration),
    /// It was read.
    Asked(Asked),
}

/// A look that is to be answered.
#[derive(Debug)]
pub(super) struct Asked {
    at: Duration,
    /// The reads whose own answers have not come.
    awaited: BTreeSet<Token>,
    /// The properties that were read.
    properties: Vec<Property>,
    /// What was reported since, and when last.
    heard: Option<(Readings, Duration)>,
    /// The others behind the radio wait while it is there.
    turn: Option<Turn>,
}

impl Device {
    /// Begins to read the state, where a read can be told from what a bridge believes.
    pub(super) fn refresh(&mut self) {
        self.refresh_after(Duration::ZERO);
    }

    /// The device may be in a state that nobody has reported: a command ended without confirmation, or two reports
    /// contradict each other.
    pub(super) fn doubt_state(&mut self) {
        self.look = None;
        self.doubted_until = Some(self.now + IN_FLIGHT);
        // The command itself may still be on its way.
        self.refresh_after(STANDS);
    }

    fn refresh_after(&mut self, wait: Duration) {
        if self.rules.read == Reading::ByCommand || self.rules.sleepy {
            return;
        }
        if !matches!(self.look, Some(Look::Asked(_))) {
            self.unanswered_looks = 0;
            let between = BETWEEN + self.round_trip * 8;
            let soonest = self.looked_at.map_or(self.now, |at| at + between);
            self.look = Some(Look::Due((self.now + wait).max(soonest)));
        }
    }

    /// Takes a state that was reported: it answers a look, or is the reason for one.
    pub(super) fn look_at(&mut self, readings: &Readings) {
        if !self.goals.is_empty() {
            return;
        }
        let by_bridge = matches!(self.rules.states, States::Bridge { .. });
        let mut took = None;
        match &mut self.look {
            // Only its own answer proves anything.
            Some(Look::Asked(_)) if self.rules.read == Reading::Correlated => {}
            Some(Look::Asked(asked)) => {
                if self.rules.in_group && asked.heard.is_none() {
                    took = Some(self.now.saturating_sub(asked.at));
                }
                let mut all = asked.heard.take().map(|(before, _)| before).unwrap_or_default();
                all.merge(readings);
                if let Some(turn) = asked.turn.take() {
                    turn.answered(self.now);
                }
                asked.heard = Some((all, self.now));
            }
            // It is there.
            Some(Look::Due(_)) if by_bridge => self.refresh(),
            None if by_bridge && !readings.are_met_by(&self.confirmed) => self.refresh(),
            Some(Look::Due(_)) | None => {}
        }
        if let Some(took) = took {
            self.note_round_trip(took);
        }
    }

    /// A read was answered by name.
    pub(super) fn look_answered(&mut self, token: Token) {
        if let Some(Look::Asked(asked)) = &mut self.look
            && asked.awaited.remove(&token)
            && asked.awaited.is_empty()
        {
            if let Some(turn) = asked.turn.take() {
                turn.answered(self.now);
            }
            let changed = self.reported_at.is_some_and(|reported| asked.at <= reported);
            self.end_look();
            if changed && !self.last.are_met_by(&self.confirmed) {
                self.doubt_state();
            }
        }
    }

    fn end_look(&mut self) {
        let early = |until: &Duration| self.looked_at.is_some_and(|looked| looked < *until);
        self.doubted_until = self.doubted_until.filter(early);
        self.look = self.doubted_until.map(|until| Look::Due(until.max(self.now)));
    }

    /// Does what is due of the look.
    pub(super) fn advance_look(&mut self) {
        if !self.may_look() {
            // A command reads for itself; afterwards, or on the next connection, it is begun anew.
            if let Some(Look::Asked(_)) = self.look {
                self.look = Some(Look::Due(self.now + STANDS));
            }
            return;
        }
        if self.look_due().is_none_or(|due| self.now < due) {
            return;
        }
        match self.look.take() {
            Some(Look::Due(_)) => {
                match self.radio.as_ref().map(|radio| radio.take_turn(self.now)) {
                    Some(Err(later)) => self.look = Some(Look::Due(later)),
                    Some(Ok(turn)) => self.ask_state(Some(turn)),
                    None => self.ask_state(None),
                }
            }
            Some(Look::Asked(asked)) => match asked.heard {
                Some((readings, _)) => {
                    // What the firmware reported counted when it came.
                    if self.rules.states != States::Firmware {
                        self.parts.failure = None;
                        self.confirmed.merge(&readings);
                        let evidence = Some(Evidence::ReadBack);
                        self.outputs.push_back(Output::Observed { readings, evidence });
                    }
                    self.end_look();
                }
                None => {
                    let wait = AGAIN * (1 << self.unanswered_looks.min(DOUBLINGS));
                    self.unanswered_looks += 1;
                    self.look = Some(Look::Due(self.now + wait));
                }
            },
            None => {}
        }
    }

    /// Returns when [`advance_look`](Self::advance_look) has something to do.
    pub(super) fn look_due(&self) -> Option<Duration> {
        if !self.may_look() {
            return None;
        }
        Some(match self.look.as_ref()? {
            Look::Due(at) => (*at).max(self.replays_until),
            Look::Asked(Asked { at, properties, heard, .. }) => {
                let all = |heard: &Readings| properties.iter().all(|one| heard.get(*one).is_some());
                match heard {
                    Some((heard, since)) if self.rules.states != States::Firmware || all(heard) => {
                        *since + self.settles()
                    }
                    Some(_) | None => *at + MAYBE_BACK,
                }
            }
        })
    }

    /// Returns whether a look makes sense now: a command reads for itself.
    fn may_look(&self) -> bool {
        let is_away = self.rules.offline_is_certain && self.parts.device.offline_since().is_some();
        self.goals.is_empty() && self.can_send() && !is_away
    }

    /// What a bridge still has to say of earlier commands comes within this time.
    fn settles(&self) -> Duration {
        STANDS + self.round_trip.min(SLOWEST) * 3
    }

    fn ask_state(&mut self, turn: Option<Turn>) {
        let mut properties: Vec<Property> = self.last.properties().collect();
        if properties.is_empty() && self.dialect.has(Property::Power) {
            properties.push(Property::Power);
        }
        let frames = self.dialect.read(&properties, MAYBE_BACK, &mut self.tokens);
        match frames {
            Ok(frames) if !properties.is_empty() => {
                let awaited = frames.iter().map(|frame| frame.token).collect();
                self.publish(frames, None, false, self.now + MAYBE_BACK);
                self.looked_at = Some(self.now);
                let asked = Asked { at: self.now, awaited, properties, heard: None, turn };
                self.look = Some(Look::Asked(asked));
            }
            // What is missing, such as the bridge's list of devices, may come.
            Ok(_) | Err(_) => self.look = Some(Look::Due(self.now + AGAIN)),
        }
    }
}
