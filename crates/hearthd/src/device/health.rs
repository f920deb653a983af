//! The condition of a device: whether there is an instance, whether a call hangs, and what was last reported.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use super::reach::{UNREACHABLE, Unreachable, shortened};
use crate::sync::lock;

/// How one configuration of a device is.
#[derive(Debug)]
pub(super) struct Health {
    inner: Mutex<Inner>,
    calling: Calling,
    refusal: Refusal,
    /// How long a call may take before it counts as one that hangs.
    deadline: Duration,
}

/// Why the hub does not let the device use its MQTT topics; a reload that changes the device leaves it as it is.
#[derive(Clone, Debug, Default)]
pub(super) struct Refusal(Arc<Mutex<Option<String>>>);

/// Since when a call into the plugin runs; a reload that changes the device leaves it as it is.
#[derive(Clone, Debug, Default)]
pub(super) struct Calling(Arc<Mutex<Option<Instant>>>);

/// Whether there is an instance, and why there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Condition {
    /// There is one.
    Ready,
    /// It has crashed and is to be created again.
    Restarting(String),
    /// The plugin cannot create it, and is asked again.
    Failed(String),
    /// It has crashed too often.
    Quarantined(String),
}

/// What the lock guards.
#[derive(Debug)]
struct Inner {
    condition: Condition,
    /// Why the instance cannot reach its hardware or service, while it cannot.
    unreachable: Option<Unreachable>,
    /// The status that was last reported.
    told: Option<DeviceStatus>,
}

/// How a device is, in one word, and why where it is not ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DeviceStatus {
    /// `ready`, or what is wrong.
    pub(crate) word: &'static str,
    why: Why,
}

/// Why the device is as its word says.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Why {
    /// There is nothing to say beyond the word.
    Plain,
    /// Why there is no instance, or why it may not do what it is there for.
    Reason(String),
    /// Why the instance cannot reach its hardware or service.
    Unreachable(Unreachable),
}

impl DeviceStatus {
    /// Returns why the device is not ready, for people.
    pub(crate) fn text(&self) -> Option<String> {
        match &self.why {
            Why::Plain => None,
            Why::Reason(reason) => Some(reason.clone()),
            Why::Unreachable(unreachable) => Some(unreachable.text()),
        }
    }

    /// Returns what goes with the word: `reason`, and `since` (RFC 3339, UTC) where it is unreachable.
    pub(crate) fn details(&self) -> Vec<(String, String)> {
        match &self.why {
            Why::Plain => Vec::new(),
            Why::Reason(reason) => vec![("reason".into(), shortened(reason).into())],
            Why::Unreachable(unreachable) => unreachable.details(),
        }
    }
}

impl Health {
    /// Makes the health of a device; `deadline` is how long a call may take before it counts as one that hangs.
    pub(super) fn new(
        condition: Condition,
        calling: Calling,
        refusal: Refusal,
        deadline: Duration,
    ) -> Self {
        let inner = Mutex::new(Inner { condition, unreachable: None, told: None });
        Self { inner, calling, refusal, deadline }
    }

    /// Returns the part that outlives a reload: why the device may not use MQTT.
    pub(super) fn refusal(&self) -> Refusal {
        self.refusal.clone()
    }

    /// Returns why the device may not use its MQTT topics.
    pub(super) fn refused(&self) -> Option<String> {
        lock(&self.refusal.0).clone()
    }

    /// Notes whether the device may use its MQTT topics, and says the status where that has changed.
    pub(super) fn refuse(&self, reason: Option<String>, say: impl FnOnce(&DeviceStatus) -> bool) {
        let mut inner = lock(&self.inner);
        *lock(&self.refusal.0) = reason;
        self.tell_locked(&mut inner, say);
    }

    /// Returns how the device is: one that is there, and may not do what it is there for, has failed.
    fn of(&self, inner: &Inner) -> Condition {
        match (&inner.condition, self.refused()) {
            (Condition::Ready, Some(reason)) => Condition::Failed(reason),
            (condition, _) => condition.clone(),
        }
    }

    /// Returns the part that outlives a reload: since when a call runs.
    pub(super) fn calling(&self) -> Calling {
        self.calling.clone()
    }

    /// Returns whether there is an instance that may do what it is there for.
    pub(super) fn condition(&self) -> Condition {
        self.of(&lock(&self.inner))
    }

    /// Takes over what was told of the device before a reload changed it.
    pub(super) fn take_over(&self, before: &Self) {
        lock(&self.inner).told = lock(&before.inner).told.clone();
    }

    /// Notes that a call into the plugin begins.
    pub(super) fn begin_call(&self) {
        *lock(&self.calling.0) = Some(Instant::now());
    }

    /// Notes that a call has come back; returns whether people were told that it hangs.
    pub(super) fn end_call(&self) -> bool {
        *lock(&self.calling.0) = None;
        lock(&self.inner).told.as_ref().is_some_and(|told| told.word == STALLED)
    }

    /// Returns whether a call into the plugin is under way.
    pub(super) fn is_in_call(&self) -> bool {
        lock(&self.calling.0).is_some()
    }

    /// Returns whether a call into the plugin takes longer than a request may.
    pub(super) fn is_stalled(&self) -> bool {
        let since = *lock(&self.calling.0);
        since.is_some_and(|since| since.elapsed() > self.deadline)
    }

    /// Returns how the device is.
    pub(super) fn status(&self) -> DeviceStatus {
        self.status_of(&lock(&self.inner))
    }

    fn status_of(&self, inner: &Inner) -> DeviceStatus {
        if self.is_stalled() {
            return DeviceStatus { word: STALLED, why: Why::Plain };
        }
        match (self.of(inner), &inner.unreachable) {
            (Condition::Ready, Some(unreachable)) => {
                DeviceStatus { word: UNREACHABLE, why: Why::Unreachable(unreachable.clone()) }
            }
            (condition, _) => {
                let reason = condition.reason();
                let why = reason.map_or(Why::Plain, |reason| Why::Reason(reason.to_owned()));
                DeviceStatus { word: condition.as_str(), why }
            }
        }
    }

    /// Returns why the instance cannot reach its hardware or service, while it cannot.
    pub(super) fn unreachable(&self) -> Option<Unreachable> {
        lock(&self.inner).unreachable.clone()
    }

    /// Takes the instance's word on its reach, and says the status where that has changed; returns whether the word did.
    pub(super) fn reach(
        &self,
        reason: Option<&str>,
        say: impl FnOnce(&DeviceStatus) -> bool,
    ) -> bool {
        let mut inner = lock(&self.inner);
        let before = inner.unreachable.take();
        inner.unreachable = reason.map(|reason| Unreachable::new(reason, before.as_ref()));
        self.tell_locked(&mut inner, say);
        inner.unreachable.is_some() != before.is_some()
    }

    /// A new instance is reachable until it says otherwise; nothing is said before there is one.
    pub(super) fn begin_instance(&self) {
        lock(&self.inner).unreachable = None;
    }

    /// Changes the condition, and says the status where that has changed.
    pub(super) fn change(&self, condition: Condition, say: impl FnOnce(&DeviceStatus) -> bool) {
        let mut inner = lock(&self.inner);
        inner.condition = condition;
        self.tell_locked(&mut inner, say);
    }

    /// Says the status where it has changed; `say` returns whether anybody shall hear of it.
    pub(super) fn tell(&self, say: impl FnOnce(&DeviceStatus) -> bool) {
        self.tell_locked(&mut lock(&self.inner), say);
    }

    /// As [`Health::tell`], under the lock, so that the last word is the true one.
    fn tell_locked(&self, inner: &mut Inner, say: impl FnOnce(&DeviceStatus) -> bool) {
        let status = self.status_of(inner);
        if inner.told.as_ref() != Some(&status) && say(&status) {
            inner.told = Some(status);
        }
    }
}

impl Condition {
    /// Returns the word of the status.
    pub(crate) fn as_str(&self) -> &'static str {
        match self {
            Self::Ready => READY,
            Self::Restarting(_) => RESTARTING,
            Self::Failed(_) => FAILED,
            Self::Quarantined(_) => QUARANTINED,
        }
    }

    /// Returns why there is no instance, if there is none.
    pub(crate) fn reason(&self) -> Option<&str> {
        match self {
            Self::Ready => None,
            Self::Restarting(reason) | Self::Failed(reason) | Self::Quarantined(reason) => {
                Some(reason)
            }
        }
    }
}

/// What `state/DEVICE/status` may say.
pub(crate) const STATUSES: [&str; 6] =
    [READY, UNREACHABLE, STALLED, RESTARTING, FAILED, QUARANTINED];
/// The status of a device in a call that hangs.
pub(super) const STALLED: &str = "stalled";
const READY: &str = "ready";
const RESTARTING: &str = "restarting";
const FAILED: &str = "failed";
const QUARANTINED: &str = "quarantined";
