//! A radiator valve: it heats by itself to a target of its own, which it takes when it wakes.

use std::time::Duration;

use hearthd_confirm::{Availability, Backend, Doubt, Property, Value, Wanted};
use hearthd_remote::{News, Remote};
use hearthd_sdk::{Context, Failure, FailureKind, Span, mqtt};

use crate::remote::{TIMER, Trouble};

/// How long a valve may take that does not sleep.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two tries: each wakes the radio of a battery.
const RETRY: Duration = Duration::from_secs(60);

/// A radiator valve.
#[derive(Debug)]
pub(crate) struct RemoteValve {
    remote: Remote,
    context: Context,
    /// In °C.
    wanted: Option<f64>,
    progress: Progress,
    /// Since when it has not confirmed what is wanted, while it has not.
    open_since: Duration,
    /// When it is told again.
    next: Duration,
    /// How long it may take until a person should know.
    timeout: Span,
}

/// How far a valve is with what is wanted.
#[derive(Clone, Debug, PartialEq)]
enum Progress {
    /// It has yet to be told.
    Open,
    UnderWay,
    /// It takes it when it wakes.
    Queued,
    Confirmed,
    Failed(Failure),
}

/// What a valve is known to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ValveState {
    Confirmed,
    Pending,
    Unreachable,
}

impl ValveState {
    pub(crate) const ALL: [Self; 3] = [Self::Confirmed, Self::Pending, Self::Unreachable];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Confirmed => "confirmed",
            Self::Pending => "pending",
            Self::Unreachable => "unreachable",
        }
    }
}

impl RemoteValve {
    pub(crate) fn new(backend: Backend, context: Context, timeout: Span) -> Self {
        let remote = Remote::part(backend, context.clone(), TIMER);
        let (open_since, next) = (context.now(), Duration::ZERO);
        let (wanted, progress) = (None, Progress::Open);
        Self { remote, context, wanted, progress, open_since, next, timeout }
    }

    /// Has the valve heat to a target in °C; returns why it cannot, where that is known at once.
    pub(crate) fn want(&mut self, target: f64) -> Result<(), Failure> {
        let same = self.wanted.is_some_and(|wanted| is_met(wanted, target));
        if !same {
            self.wanted = Some(target);
            self.reopen();
        }
        let due = match self.progress {
            Progress::Open => true,
            Progress::Queued | Progress::Failed(_) => self.context.now() >= self.next,
            Progress::UnderWay | Progress::Confirmed => false,
        };
        if due {
            self.send(target);
        }
        match &self.progress {
            Progress::Failed(failure) if failure.kind() == FailureKind::Invalid => {
                Err(failure.clone())
            }
            _ => Ok(()),
        }
    }

    /// Has the valve told again, whatever is known of it.
    pub(crate) fn doubt(&mut self) {
        self.reopen();
    }

    pub(crate) fn state(&self) -> ValveState {
        let offline = matches!(self.remote.availability(), Availability::Offline { .. });
        match &self.progress {
            _ if offline => ValveState::Unreachable,
            Progress::Failed(failure) if failure.kind() == FailureKind::Unreachable => {
                ValveState::Unreachable
            }
            Progress::Confirmed => ValveState::Confirmed,
            Progress::Open | Progress::UnderWay | Progress::Queued | Progress::Failed(_) => {
                ValveState::Pending
            }
        }
    }

    /// Returns what a person should know: the valve says no, or nothing for too long.
    pub(crate) fn trouble(&self) -> Option<Trouble> {
        let failure = match &self.progress {
            Progress::Failed(failure) => Some(failure),
            Progress::Open | Progress::UnderWay | Progress::Queued | Progress::Confirmed => None,
        };
        let says_no = failure
            .filter(|failure| matches!(failure.kind(), FailureKind::Failed | FailureKind::Invalid));
        if let Some(failure) = says_no {
            return Some(Trouble { reason: format!("actuator: {failure}"), unreachable: false });
        }
        let lasts = self.context.now().saturating_sub(self.open_since);
        if self.progress == Progress::Confirmed || lasts < self.timeout.0 {
            return None;
        }
        let (target, timeout) = (self.wanted?, self.timeout);
        let because = match (self.remote.availability(), failure) {
            (Availability::Offline { reason, .. }, _) => format!(": {reason}"),
            (_, Some(failure)) => format!(": {failure}"),
            (Availability::Unknown | Availability::Online, None) => String::new(),
        };
        let reason = format!(
            "actuator: the valve has not confirmed {target:.1} °C within {timeout}{because}"
        );
        Some(Trouble { reason, unreachable: false })
    }

    pub(crate) fn link(&mut self, up: bool) {
        self.take(|remote| remote.link(up));
        if up {
            self.next = Duration::ZERO;
        }
    }

    pub(crate) fn message(&mut self, message: &mqtt::Message) {
        self.take(|remote| remote.message(message));
    }

    pub(crate) fn outcome(&mut self, token: u64, result: Result<&[u8], mqtt::PublishError>) {
        self.take(|remote| remote.outcome(token, result));
    }

    pub(crate) fn timer(&mut self) {
        self.take(Remote::timer);
    }

    fn reopen(&mut self) {
        if self.progress == Progress::Confirmed {
            self.open_since = self.context.now();
        }
        self.progress = Progress::Open;
    }

    fn send(&mut self, target: f64) {
        self.progress = Progress::UnderWay;
        let due = Some(self.context.now() + PATIENCE);
        let wanted = Wanted { setpoint: Some(target), ..Wanted::default() };
        self.take(|remote| remote.command(wanted, due, None));
    }

    fn take(&mut self, event: impl FnOnce(&mut Remote) -> Vec<News>) {
        let now = self.context.now();
        for news in event(&mut self.remote) {
            match news {
                News::State(readings) => {
                    let Some(Value::Setpoint(read)) = readings.get(Property::Setpoint) else {
                        continue;
                    };
                    let met = self.wanted.is_some_and(|wanted| is_met(wanted, read));
                    match &self.progress {
                        // What it is told is decided by more than one message.
                        Progress::UnderWay => {}
                        Progress::Confirmed if !met => self.reopen(),
                        Progress::Open | Progress::Queued | Progress::Failed(_) if met => {
                            self.progress = Progress::Confirmed;
                        }
                        _ => {}
                    }
                }
                News::Decided(decided) if decided.doubt == Some(Doubt::Superseded) => {}
                News::Decided(decided) => {
                    (self.progress, self.next) = match (decided.failure(), decided.doubt) {
                        (None, _) => (Progress::Confirmed, now),
                        (_, Some(Doubt::Queued)) => (Progress::Queued, now + self.timeout.0),
                        (Some(failure), _) => (Progress::Failed(failure.clone()), now + RETRY),
                    };
                }
            }
        }
    }
}

/// Returns whether a valve's target is the one that is wanted.
fn is_met(wanted: f64, read: f64) -> bool {
    Value::Setpoint(wanted).is_met_by(Value::Setpoint(read))
}
