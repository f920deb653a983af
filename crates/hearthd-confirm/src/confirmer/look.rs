//! Reading a device that nobody commands: what a bridge reports by itself is no proof, so it is read back as well.

use std::time::Duration;

use super::{Confirmer, MAYBE_BACK};
use crate::{
    Evidence, Output, Property, Readings,
    family::{Reading, States},
    goal::SLOWEST,
};

/// How long what was read must stand before it counts, at the least.
const STANDS: Duration = Duration::from_millis(300);
/// Reads must not keep a slow radio from commands: so long lies between two looks, and longer where it is slow.
const BETWEEN: Duration = Duration::from_secs(3);
/// How soon a device that does not answer is read again, while nothing is known of it.
const AGAIN: Duration = Duration::from_secs(30);

/// One attempt to read the state.
#[derive(Clone, Debug)]
pub(super) enum Look {
    /// It is read then.
    Due(Duration),
    /// It was read then, and what came since is this.
    Asked { at: Duration, heard: Option<(Readings, Duration)> },
}

impl Confirmer {
    /// Begins to read the state, where a read can be told from what a bridge believes.
    pub(super) fn refresh(&mut self) {
        if self.rules.read == Reading::ByCommand || self.rules.group || self.rules.sleepy {
            return;
        }
        if !matches!(self.look, Some(Look::Asked { .. })) {
            let between = BETWEEN + self.round_trip * 8;
            let soonest = self.looked_at.map_or(self.now, |at| at + between);
            self.look = Some(Look::Due(self.now.max(soonest)));
        }
    }

    /// Takes a state that a bridge reports: it answers a look, or is the reason for one.
    pub(super) fn look_at(&mut self, readings: &Readings) {
        if !matches!(self.rules.states, States::Bridge { .. }) || !self.goals.is_empty() {
            return;
        }
        match &mut self.look {
            Some(Look::Asked { heard, .. }) => {
                let mut all = heard.take().map(|(before, _)| before).unwrap_or_default();
                all.merge(readings);
                *heard = Some((all, self.now));
            }
            // It is there.
            Some(Look::Due(_)) => self.refresh(),
            None if readings.are_met_by(&self.confirmed) => {}
            None => self.refresh(),
        }
    }

    /// The device itself has answered.
    pub(super) fn looked(&mut self) {
        self.look = None;
    }

    /// Does what is due of the look.
    pub(super) fn advance_look(&mut self) {
        if !self.goals.is_empty() || !self.can_send() {
            // A command reads for itself; afterwards, or on the next connection, it is begun anew.
            if let Some(Look::Asked { .. }) = self.look {
                self.look = Some(Look::Due(self.now + STANDS));
            }
            return;
        }
        match self.look.take() {
            Some(Look::Due(at)) if at.max(self.replays_until) <= self.now => self.ask_state(),
            Some(Look::Asked { heard: Some((readings, since)), .. })
                if since + self.settles() <= self.now =>
            {
                self.confirmed.merge(&readings);
                let evidence = Some(Evidence::ReadBack);
                self.outputs.push_back(Output::Observed { readings, evidence });
            }
            Some(Look::Asked { at, heard: None }) if at + MAYBE_BACK <= self.now => {
                if self.confirmed.is_empty() {
                    self.look = Some(Look::Due(self.now + AGAIN));
                }
            }
            other => self.look = other,
        }
    }

    /// Returns when [`advance_look`](Self::advance_look) has something to do.
    pub(super) fn look_due(&self) -> Option<Duration> {
        if !self.goals.is_empty() || !self.can_send() {
            return None;
        }
        Some(match self.look.as_ref()? {
            Look::Due(at) => (*at).max(self.replays_until),
            Look::Asked { heard: Some((_, since)), .. } => *since + self.settles(),
            Look::Asked { at, heard: None } => *at + MAYBE_BACK,
        })
    }

    /// What a bridge still has to say of earlier commands comes within this time.
    fn settles(&self) -> Duration {
        STANDS + self.round_trip.min(SLOWEST) * 3
    }

    fn ask_state(&mut self) {
        let mut properties: Vec<Property> = self.last.properties().collect();
        if properties.is_empty() && self.dialect.has(Property::Power) {
            properties.push(Property::Power);
        }
        let frames = self.dialect.read(&properties, MAYBE_BACK, &mut self.tokens);
        match frames {
            Ok(frames) if !properties.is_empty() => {
                self.publish(frames, None, false, self.now + MAYBE_BACK);
                self.looked_at = Some(self.now);
                self.look = Some(Look::Asked { at: self.now, heard: None });
            }
            // What is missing, such as the bridge's list of devices, may come.
            Ok(_) | Err(_) => self.look = Some(Look::Due(self.now + AGAIN)),
        }
    }
}
