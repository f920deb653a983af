//! How a device is: whether there is an instance, whether a call hangs, and what was last said about it.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use crate::sync::lock;

/// How one configuration of a device is.
#[derive(Debug)]
pub(super) struct Health {
    inner: Mutex<Inner>,
    calling: Calling,
    /// How long a call may take before it counts as one that hangs.
    deadline: Duration,
}

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

#[derive(Debug)]
struct Inner {
    condition: Condition,
    /// The status that was last reported.
    told: Option<&'static str>,
}

impl Health {
    pub(super) fn new(condition: Condition, calling: Calling, deadline: Duration) -> Self {
        Self { inner: Mutex::new(Inner { condition, told: None }), calling, deadline }
    }

    pub(super) fn calling(&self) -> Calling {
        self.calling.clone()
    }

    pub(super) fn condition(&self) -> Condition {
        lock(&self.inner).condition.clone()
    }

    /// Takes over what was told of the device before a reload changed it.
    pub(super) fn take_over(&self, before: &Self) {
        lock(&self.inner).told = lock(&before.inner).told;
    }

    pub(super) fn begin_call(&self) {
        *lock(&self.calling.0) = Some(Instant::now());
    }

    /// Notes that a call has come back; returns whether people were told that it hangs.
    pub(super) fn end_call(&self) -> bool {
        *lock(&self.calling.0) = None;
        lock(&self.inner).told == Some(STALLED)
    }

    /// Returns whether a call into the plugin takes longer than a request may.
    pub(super) fn is_stalled(&self) -> bool {
        let since = *lock(&self.calling.0);
        since.is_some_and(|since| since.elapsed() > self.deadline)
    }

    /// Returns the status in one word.
    pub(super) fn status(&self) -> &'static str {
        if self.is_stalled() { STALLED } else { lock(&self.inner).condition.as_str() }
    }

    /// Changes the condition, and says the status where that has changed.
    pub(super) fn change(&self, condition: Condition, say: impl FnOnce(&'static str) -> bool) {
        let mut inner = lock(&self.inner);
        inner.condition = condition;
        self.tell_locked(&mut inner, say);
    }

    /// Says the status where it has changed; `say` returns whether anybody shall hear of it.
    pub(super) fn tell(&self, say: impl FnOnce(&'static str) -> bool) {
        self.tell_locked(&mut lock(&self.inner), say);
    }

    /// As [`Health::tell`], under the lock, so that the last word is the true one.
    fn tell_locked(&self, inner: &mut Inner, say: impl FnOnce(&'static str) -> bool) {
        let status = if self.is_stalled() { STALLED } else { inner.condition.as_str() };
        if inner.told != Some(status) && say(status) {
            inner.told = Some(status);
        }
    }
}

impl Condition {
    pub(crate) fn as_str(&self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Restarting(_) => "restarting",
            Self::Failed(_) => "failed",
            Self::Quarantined(_) => "quarantined",
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

/// The status of a device in a call that hangs.
pub(super) const STALLED: &str = "stalled";
