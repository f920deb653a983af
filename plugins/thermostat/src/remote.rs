//! A heater that is switched by MQTT: it does what it has confirmed, and nothing else is believed.

use std::time::Duration;

use hearthd_confirm::{Availability, Backend, Doubt, Wanted};
use hearthd_remote::{News, Remote};
use hearthd_sdk::{Context, Failure, FailureKind, mqtt};

/// The timer of what is waited for.
pub(crate) const TIMER: u32 = 1;

/// How long a command may take that nobody waits for.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often the heater is told what it does already: others can switch it too, and not every bridge says so.
const AGAIN: Duration = Duration::from_secs(300);

/// A heater that is switched by MQTT.
#[derive(Debug)]
pub(crate) struct RemoteSwitch {
    remote: Remote,
    context: Context,
    /// What the device itself last said; none where it may be either.
    known: Option<bool>,
    under_way: Option<UnderWay>,
    /// What it was told last in vain, and why.
    failed: Option<(bool, Failure)>,
    /// When it is told again.
    next: Duration,
    /// Between two tries.
    period: Duration,
    /// Whether it says its state when it is asked, and not only when that changes.
    answers: bool,
}

/// What a heater is being told.
#[derive(Clone, Copy, Debug)]
struct UnderWay {
    on: bool,
    /// When that is decided at the latest.
    until: Duration,
    /// Whether it was so already, as far as was known.
    again: bool,
}

/// Who wants a heater to be on or off.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Asker {
    /// The control, as it does every period.
    Control,
    /// A request, with the time at which its answer is due.
    Request(Option<Duration>),
}

/// What came of telling a heater.
#[derive(Debug)]
pub(crate) enum Followed {
    /// It is as wanted.
    Yes,
    /// It is being told.
    Later,
    /// It did not follow.
    No(Failure),
}

/// What is wrong with a heater.
#[derive(Debug)]
pub(crate) struct Trouble {
    pub(crate) reason: String,
    /// Whether it cannot be reached at all.
    pub(crate) unreachable: bool,
}

impl RemoteSwitch {
    pub(crate) fn new(backend: Backend, context: Context, period: Duration) -> Self {
        let answers = match &backend {
            Backend::Wled(_) => false,
            Backend::Topics(table) => table.get.is_some(),
            Backend::Zigbee2Mqtt(_)
            | Backend::Tasmota(_)
            | Backend::Shelly(_)
            | Backend::Esphome(_) => true,
        };
        let remote = Remote::part(backend, context.clone(), TIMER);
        let (known, under_way, failed, next) = (None, None, None, Duration::ZERO);
        Self { remote, context, known, under_way, failed, next, period, answers }
    }

    /// Returns what the device itself last said.
    pub(crate) fn known(&self) -> Option<bool> {
        self.known
    }

    /// Has the heater be on or off, and returns how far that is.
    pub(crate) fn want(&mut self, on: bool, asker: Asker) -> Followed {
        self.failed.take_if(|(wish, _)| *wish != on);
        if self.is_due(on, asker) {
            self.send(on, asker);
        }
        let is_so = self.known == Some(on);
        match (self.under_way, &self.failed) {
            (Some(UnderWay { again, .. }), _) if !again => Followed::Later,
            (None, Some((_, failure))) => Followed::No(failure.clone()),
            (Some(_) | None, _) => {
                if is_so {
                    Followed::Yes
                } else {
                    Followed::Later
                }
            }
        }
    }

    /// Has the heater told at the next occasion, whatever is known of it.
    pub(crate) fn doubt(&mut self) {
        self.next = Duration::ZERO;
    }

    /// Returns what a person should know.
    pub(crate) fn trouble(&self) -> Option<Trouble> {
        let (reason, unreachable) = match (self.remote.availability(), &self.failed) {
            (Availability::Offline { reason, .. }, _) => (reason.as_str(), true),
            (_, Some((_, failure))) => {
                (failure.message(), failure.kind() == FailureKind::Unreachable)
            }
            (Availability::Unknown | Availability::Online, None) => return None,
        };
        let reason = match self.known {
            Some(false) => format!("actuator: {reason}"),
            Some(true) | None => format!("actuator: {reason}; the heater may still be on"),
        };
        Some(Trouble { reason, unreachable })
    }

    pub(crate) fn link(&mut self, up: bool) {
        self.take(|remote| remote.link(up));
        if up {
            self.doubt();
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

    /// Returns whether there is something to send: a request does not wait for the next try.
    fn is_due(&self, on: bool, asker: Asker) -> bool {
        let waits = self.context.now() < self.next;
        let in_vain = self.failed.is_some();
        match (self.under_way, asker) {
            (Some(told), _) if told.on != on => true,
            (Some(told), Asker::Request(Some(due))) => told.until > due && !told.again,
            (Some(_), Asker::Control | Asker::Request(None)) => false,
            (None, Asker::Request(_)) => in_vain || self.known != Some(on),
            (None, Asker::Control) if in_vain || self.known == Some(on) => !waits,
            (None, Asker::Control) => true,
        }
    }

    fn send(&mut self, on: bool, asker: Asker) {
        let due = match asker {
            Asker::Request(Some(due)) => due,
            Asker::Request(None) | Asker::Control => self.context.now() + PATIENCE,
        };
        // What it was being told it may have done.
        let known = self.known.filter(|_| self.under_way.is_none());
        let again = known == Some(on);
        self.known = known.filter(|_| again);
        self.under_way = Some(UnderWay { on, until: due, again });
        let wanted = Wanted { power: Some(on.into()), ..Wanted::default() };
        self.take(|remote| remote.command(wanted, Some(due), None));
        if self.under_way.is_none() && self.failed.is_some() {
            // What fails at once was not sent: it changed nothing.
            self.known = known;
        }
    }

    fn take(&mut self, event: impl FnOnce(&mut Remote) -> Vec<News>) {
        let was_offline = self.is_offline();
        for news in event(&mut self.remote) {
            match news {
                News::State(readings) => {
                    let Some(on) = readings.power() else { continue };
                    self.known = Some(on);
                    self.failed.take_if(|(wish, _)| *wish == on);
                }
                News::Decided(decided) if decided.doubt == Some(Doubt::Superseded) => {}
                News::Decided(decided) => {
                    let Some(told) = self.under_way.take() else { continue };
                    self.decide(told, decided.failure());
                }
            }
        }
        if was_offline && !self.is_offline() {
            // Some come back on.
            self.doubt();
        }
    }

    /// Takes in what a command came to.
    fn decide(&mut self, UnderWay { on, again, .. }: UnderWay, failure: Option<&Failure>) {
        let now = self.context.now();
        // Nothing has changed, so it may well say nothing.
        let is_silence = |failure: &&Failure| {
            again && !self.answers && failure.kind() == FailureKind::Indeterminate
        };
        if failure.filter(is_silence).is_some() {
            self.next = now + AGAIN;
            return;
        }
        self.failed = failure.map(|failure| (on, failure.clone()));
        self.next = now + if failure.is_some() { self.period } else { AGAIN };
        self.known = match failure.map(Failure::kind) {
            None => Some(on),
            // It was read, or never told.
            Some(FailureKind::Failed) => Some(!on),
            Some(FailureKind::Invalid) => self.known,
            // It was told nothing new.
            Some(_) if again => self.known,
            Some(FailureKind::Unreachable | FailureKind::Indeterminate | FailureKind::Busy) => None,
        };
    }

    fn is_offline(&self) -> bool {
        matches!(self.remote.availability(), Availability::Offline { .. })
    }
}
