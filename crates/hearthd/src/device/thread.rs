//! The thread of one device: takes its mail, calls its plugin, answers in order.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use hearth_core::{Answer, Request, RequestId, Status};
use hearth_sdk::abi;
use tracing::{error, info};

use super::{
    DeviceEvent, Shared,
    host::monotonic_ms,
    instance::{Instance, Order},
    mailbox::{Completion, Next, Ready},
    reply::{self, Verb, Wish},
};
use crate::plugin::Kind;

/// All that one device's thread owns.
pub(crate) struct Worker {
    kind: Kind,
    shared: Arc<Shared>,
    instance: Option<Instance>,
    saved: Option<Vec<u8>>,
    /// Failures since the last instance that lived for a while.
    failures: u32,
    /// When the instance was created, or is to be created again.
    since: Instant,
    next_token: u64,
    pending: Option<Pending>,
}

/// The one command that the plugin has not answered.
struct Pending {
    token: u64,
    request: RequestId,
    names: Vec<String>,
    verb: Verb,
    until: Instant,
}

impl Worker {
    pub(crate) fn new(kind: Kind, shared: Arc<Shared>, saved: Option<Vec<u8>>) -> Self {
        Self {
            kind,
            shared,
            instance: None,
            saved,
            failures: 0,
            since: Instant::now(),
            next_token: 0,
            pending: None,
        }
    }

    /// Runs until the mailbox says stop.
    pub(crate) fn run(mut self) {
        self.create();
        loop {
            let due = match (&self.pending, &self.instance) {
                (Some(pending), _) => Some(pending.until),
                (None, None) => Some(self.since),
                (None, Some(_)) => None,
            };
            let ready =
                Ready { requests: self.pending.is_none(), instance: self.instance.is_some() };
            match self.shared.mailbox.next(ready, due) {
                Next::Stop => break,
                Next::Completion(completion) => self.on_completion(completion),
                Next::Absence(absence) => self.call(|instance| instance.absence(&absence)),
                Next::Timer(id) => self.call(|instance| instance.timer(id)),
                Next::Wake => self.call(Instance::wake),
                Next::Request(request, since) => self.on_request(request, since),
                Next::Due => self.on_due(),
            }
        }
        self.save();
        let shared = Arc::clone(&self.shared);
        shared.busy(|| drop(self.instance.take()));
        shared.mailbox.stopped();
    }

    fn on_request(&mut self, request: Request, since: Instant) {
        let until = since + request.remaining;
        if until <= Instant::now() {
            let text = "the request waited in the device's mailbox until its deadline";
            return self.shared.answer(request.id, Answer::failure(Status::Timeout, text));
        }
        if self.instance.is_none() && request.property != "describe" {
            return self.refuse(request.id);
        }
        match reply::read(&self.shared, &request) {
            Wish::Answer(answer) => self.shared.answer(request.id, answer),
            Wish::Set { changes, verb } => {
                let names: Vec<_> = changes.keys().cloned().collect();
                let payload = match (&names[..], changes.values().next()) {
                    ([_], Some(value)) => value.as_text().to_owned(),
                    _ => reply::object(&changes),
                };
                self.execute(request.id, names, &payload, verb, until);
            }
        }
    }

    fn execute(
        &mut self,
        request: RequestId,
        names: Vec<String>,
        payload: &str,
        verb: Verb,
        until: Instant,
    ) {
        let Some(instance) = &mut self.instance else { return self.refuse(request) };
        self.next_token += 1;
        let token = self.next_token;
        let left = until.saturating_duration_since(Instant::now());
        let order = Order {
            token,
            deadline_ms: monotonic_ms() + u64::try_from(left.as_millis()).unwrap_or(u64::MAX / 2),
            property: if let [name] = &names[..] { Some(name) } else { None },
            payload,
        };
        self.shared.mailbox.expect(token);
        let shared = Arc::clone(&self.shared);
        shared.hold_states();
        let status = shared.busy(|| instance.command(order));
        if status == abi::PENDING {
            shared.release_states();
            self.pending = Some(Pending { token, request, names, verb, until });
            return;
        }
        shared.mailbox.forget(token);
        let answer = if status == abi::OK {
            reply::done(&shared, &names, verb)
        } else {
            reply::failed(status, "")
        };
        shared.answer(request, answer);
        shared.release_states();
        self.after_call(status);
    }

    /// Answers for a device that has no instance.
    fn refuse(&self, request: RequestId) {
        let reason = self.shared.down().unwrap_or_else(|| "it is being created".into());
        let text = format!("`{}` is not available: {reason}", self.shared.config.id);
        self.shared.answer(request, Answer::failure(Status::Unavailable, text));
    }

    fn on_completion(&mut self, completion: Completion) {
        let Some(pending) = self.pending.take_if(|pending| pending.token == completion.token)
        else {
            return;
        };
        let status = completion.status;
        let answer = match status {
            abi::OK if completion.payload.is_empty() => {
                reply::done(&self.shared, &pending.names, pending.verb)
            }
            abi::OK => reply::given(completion.payload),
            status => reply::failed(status, &String::from_utf8_lossy(&completion.payload)),
        };
        self.shared.answer(pending.request, answer);
        self.after_call(status);
    }

    /// A command was not answered in time, or the instance is to be created again.
    fn on_due(&mut self) {
        if let Some(pending) = self.pending.take() {
            self.shared.mailbox.forget(pending.token);
            let text = format!("`{}` did not answer in time", self.shared.config.id);
            self.shared.answer(pending.request, Answer::failure(Status::Timeout, text));
        } else if self.instance.is_none() {
            self.create();
        }
    }

    fn call(&mut self, call: impl FnOnce(&mut Instance) -> i32) {
        let Some(instance) = &mut self.instance else { return };
        let status = self.shared.busy(|| call(instance));
        self.after_call(status);
    }

    /// Saves what changed, and ends an instance that has panicked (F2).
    fn after_call(&mut self, status: i32) {
        if status == abi::ERR_PANIC {
            self.fail("its plugin has panicked".into());
        } else {
            self.save();
        }
    }

    fn create(&mut self) {
        let shared = Arc::clone(&self.shared);
        let saved = self.saved.as_deref();
        match shared.busy(|| Instance::create(self.kind, &shared, saved)) {
            Ok(instance) => {
                self.instance = Some(instance);
                self.since = Instant::now();
                shared.set_down(None);
                if self.failures > 0 {
                    info!(device = shared.config.id, "the device is back");
                }
                self.save();
            }
            Err(reason) => self.fail(reason),
        }
    }

    fn fail(&mut self, reason: String) {
        if self.instance.is_some() && self.since.elapsed() > HEALTHY_AFTER {
            self.failures = 0;
        }
        let wait = FIRST_WAIT.saturating_mul(1 << self.failures.min(10)).min(LONGEST_WAIT);
        self.failures += 1;
        self.since = Instant::now() + wait;
        let (device, retry_in_ms) = (&self.shared.config.id, wait.as_millis());
        error!(device, reason, retry_in_ms, "device down");
        self.shared.set_down(Some(reason.clone()));
        let shared = Arc::clone(&self.shared);
        shared.busy(|| drop(self.instance.take()));
        if let Some(pending) = self.pending.take() {
            shared.answer(pending.request, Answer::failure(Status::Unavailable, reason));
        }
        shared.mailbox.reset();
    }

    fn save(&mut self) {
        let Some(instance) = &mut self.instance else { return };
        let Some(state) = self.shared.busy(|| instance.save()) else { return };
        if self.saved.as_ref() != Some(&state) {
            self.saved = Some(state.clone());
            let device = self.shared.config.id.clone();
            // A driver that has ended has no store any more.
            let _ = self.shared.events.send(DeviceEvent::Saved { device, state });
        }
    }
}

const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// An instance that has lived this long starts with a clean record.
const HEALTHY_AFTER: Duration = Duration::from_secs(60);
