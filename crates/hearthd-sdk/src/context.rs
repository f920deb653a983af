//! What a device can ask the hub to do.

use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::children::{ChildTable, Children};
use crate::glue::HostRef;
use crate::{Failure, Value, abi, scope};

/// What a device can ask the hub to do; cheap to clone and usable from any thread.
///
/// Nothing here blocks. Once the device is gone, every call does nothing (M3).
#[derive(Clone, Debug)]
pub struct Context {
    pub(crate) host: HostRef,
    pub(crate) device_id: Arc<str>,
    pub(crate) children: Arc<ChildTable>,
}

impl Context {
    pub(crate) fn new(host: HostRef, device_id: &str, children: Arc<ChildTable>) -> Self {
        Self { host, device_id: device_id.into(), children }
    }

    pub(crate) fn host(&self) -> HostRef {
        self.host
    }

    /// Reports a property's state: the hub publishes it on the state topic and answers reads with it.
    ///
    /// A value that the declaration does not allow is not published, and the hub logs it.
    pub fn publish(&self, property: &str, value: impl Into<Value>) {
        let payload = value.into().to_text();
        let status = self.host.publish(property, payload.as_bytes());
        if status != abi::OK && status != abi::ERR_GONE {
            tracing::warn!(property, status, "the hub refused a published value");
        }
    }

    /// Says that something has happened now, of a property of type event and one of its kinds (E1).
    ///
    /// The hub publishes it on the device's event topic at QoS 1, not retained (MQTT 3.3.1.3), to whoever listens now:
    /// `{"event": KIND, "property": PROPERTY}`. Of more than 5 a second, 10 at once, some are left out, and the next one
    /// says how many. What is not declared is not published and leaves a line in the log.
    pub fn event(&self, property: &str, kind: &str) {
        let status = self.host.event(property, kind);
        if status != abi::OK && status != abi::ERR_GONE {
            tracing::warn!(property, kind, status, "the hub refused an event");
        }
    }

    /// Reports that the device cannot reach its hardware or service, and why (R1).
    ///
    /// Its status becomes `unreachable` with the reason and since when, and reads are answered 503 with the last known
    /// value, until [`reachable`](Self::reachable). [`Device::set`](crate::Device::set) is still called. Another reason
    /// replaces the one before. A new device is reachable, unless it says otherwise in
    /// [`Device::create`](crate::Device::create).
    pub fn unreachable(&self, reason: impl AsRef<str>) {
        let reason = reason.as_ref();
        if self.host.unreachable(reason) == abi::ERR_UNSUPPORTED {
            // A hub of version 1.0 of the ABI: the log is all there is.
            tracing::warn!(reason, "the device is unreachable");
        }
    }

    /// Reports that the device can reach its hardware or service again. Publish what has changed meanwhile before.
    pub fn reachable(&self) {
        self.host.reachable();
    }

    /// Starts a one-shot timer in milliseconds, rounded up; starting the same timer again replaces it.
    pub fn set_timer(&self, id: u32, after: Duration) {
        let millis = after.as_nanos().div_ceil(1_000_000);
        let millis = u64::try_from(millis).unwrap_or(abi::TIMER_CANCEL);
        self.host.set_timer(id, millis.min(abi::TIMER_CANCEL - 1));
    }

    /// Stops a timer.
    pub fn cancel_timer(&self, id: u32) {
        self.host.set_timer(id, abi::TIMER_CANCEL);
    }

    /// Queues one call of [`Device::wake`](crate::Device::wake). Further calls of this function before it count as the
    /// same one.
    pub fn wake(&self) {
        self.host.wake();
    }

    /// Starts a thread whose `tracing` events and panics carry the device's name in the hub's log.
    ///
    /// The device must stop and join it when it is dropped (T4).
    ///
    /// # Errors
    ///
    /// The system starts no thread.
    pub fn spawn(&self, work: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
        let host = self.host;
        thread::Builder::new().name(self.device_id.to_string()).spawn(move || {
            let _scope = scope::enter(host, None);
            work();
        })
    }

    /// Works on a thread that serves several devices; its `tracing` events meanwhile carry this device's name in the hub's log.
    pub fn within<T>(&self, work: impl FnOnce() -> T) -> T {
        let _scope = scope::enter(self.host, None);
        work()
    }

    /// Returns the time of the monotonic clock, in milliseconds.
    pub fn now(&self) -> Duration {
        Duration::from_millis(self.host.now_ms())
    }

    /// Returns the device's ID in the hub's configuration.
    pub fn device_id(&self) -> &str {
        &self.device_id
    }

    /// Returns the devices that this one has added, and may add.
    pub fn children(&self) -> Children<'_> {
        Children::new(self)
    }

    /// Takes over the answer to the present command, so that any thread can give it later.
    ///
    /// [`Device::set`](crate::Device::set) then returns [`Answer::Later`](crate::Answer::Later). If it returns a
    /// failure instead, the failure is the answer.
    ///
    /// # Panics
    ///
    /// Panics outside of this device's `set`, and the second time within it.
    pub fn defer(&self) -> Deferred {
        let token = scope::take(self.host).expect("defer is called at most once, and within set");
        Deferred { host: self.host, token, open: true }
    }
}

/// The answer to one command, which its requester waits for, or the end of one that was accepted.
///
/// If it is dropped without an answer, the command fails with the message `dropped`.
#[derive(Debug)]
pub struct Deferred {
    host: HostRef,
    token: u64,
    open: bool,
}

impl Deferred {
    /// Returns the token of the command.
    pub(crate) fn token(&self) -> u64 {
        self.token
    }

    /// Answers that the changes are accepted and under way, such as a shutter that moves (status 202, C5).
    ///
    /// The requester gets the present state, and the next request may come. [`done`](Self::done) or
    /// [`fail`](Self::fail) tells the end within this time, 24 hours at most, on the device's event topic with the
    /// request's Correlation Data (MQTT 3.3.2.3.6); publish the state before. Without it, the hub tells that there was no
    /// end. A hub of an earlier version, or one where 16 requests of the device are under way, lets the
    /// requester wait for the end.
    pub fn accept(&self, within: Duration) {
        let within_ms = u64::try_from(within.as_millis()).unwrap_or(u64::MAX);
        let status = self.host.accept(self.token, within_ms.clamp(1, abi::LONGEST_UNDER_WAY_MS));
        if status == abi::ERR_BUSY {
            tracing::warn!("too many requests are under way; the requester waits for the end");
        }
    }

    /// Answers that the changes are applied; publish them before.
    pub fn done(mut self) {
        self.open = false;
        self.host.complete(self.token, abi::OK, &[]);
    }

    /// Answers that the changes are not applied.
    pub fn fail(mut self, failure: &Failure) {
        self.open = false;
        self.host.fail(self.token, failure);
    }
}

impl Drop for Deferred {
    fn drop(&mut self) {
        if self.open && !scope::abandon(self.host, self.token) {
            self.host.fail(self.token, &Failure::failed("dropped"));
        }
    }
}
