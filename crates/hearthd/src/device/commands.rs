//! The commands of one device: of one of the configuration, or of one that such a device has added.

use std::{
    collections::VecDeque,
    mem,
    sync::Arc,
    time::{Duration, Instant},
};

use hearthd_core::{Answer, Reason, Request, RequestId, Status, property::object_of};
use hearthd_sdk::abi;

use super::{
    crashes::calls::Work,
    instance::Instance,
    mailbox::{Next, Ready},
    reply::{self, ParsedRequest, Verb},
    shared::Shared,
};
use crate::boundary::{
    call::{Call, ChildCall, InstanceError, PANICKED},
    host::Completion,
    plugin_log,
};

/// An instance, and the device of the configuration that it is: all calls of that, and of its children, go through it.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) shared: Arc<Shared>,
    pub(super) instance: Option<Instance>,
    /// No token is used twice, also not by its children.
    next_token: u64,
}

/// What one device has been told to do, and has not done.
#[derive(Debug)]
pub(super) struct Commands {
    pub(super) shared: Arc<Shared>,
    pending: Option<Pending>,
    /// The commands that the plugin has accepted, and not ended.
    under_way: Vec<Pending>,
    /// Requests for a child that its parent has not added yet, and when they came.
    waiting: VecDeque<(Request, Instant)>,
}

/// A command that the plugin has not answered, or has accepted and not ended.
#[derive(Debug)]
struct Pending {
    token: u64,
    request: RequestId,
    names: Vec<String>,
    verb: Verb,
    until: Instant,
}

/// Whether a device can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Presence {
    There,
    /// Its parent is there, and has not added it yet.
    Awaited,
    Gone,
}

impl Running {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, instance: None, next_token: 0 }
    }

    /// Calls the plugin, and has it save; does nothing where there is no instance.
    pub(super) fn call(&mut self, call: Call<'_>) -> Result<(), InstanceError> {
        let Some(instance) = &mut self.instance else { return Ok(()) };
        self.shared.busy(Work::of(&call), || instance.call(call))?;
        self.save()
    }

    /// Saves what a call has changed; an error means that the instance is of no use any more (F2).
    pub(super) fn save(&mut self) -> Result<(), InstanceError> {
        self.keep(Instance::save)
    }

    fn keep(
        &mut self,
        save: impl FnOnce(&mut Instance) -> Result<Option<Vec<u8>>, InstanceError>,
    ) -> Result<(), InstanceError> {
        let Some(instance) = &mut self.instance else { return Ok(()) };
        let state = self.shared.busy(Work::Save, || save(instance))?;
        state.into_iter().for_each(|state| self.shared.keep(state));
        Ok(())
    }
}

impl Commands {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, pending: None, under_way: Vec::new(), waiting: VecDeque::new() }
    }

    /// Returns when the device has something to do by itself.
    pub(super) fn due(&self) -> Option<Instant> {
        let pending = self.pending.iter().chain(&self.under_way).map(|it| it.until);
        pending.chain(self.waiting.iter().map(patience)).min()
    }

    /// Returns whether a command is pending.
    pub(super) fn is_busy(&self) -> bool {
        self.pending.is_some()
    }

    /// Takes one piece of a child's mail; returns what there is to wait for where there is none.
    pub(super) fn step(&mut self, running: &mut Running) -> Result<Option<Next>, InstanceError> {
        let presence = self.presence(running);
        if presence != Presence::Awaited
            && self.pending.is_none()
            && let Some((request, since)) = self.waiting.pop_front()
        {
            return self.on_request(running, request, since).map(|()| None);
        }
        let has_room = presence != Presence::Awaited || self.waiting.len() < MOST_WAITING;
        let requests = self.pending.is_none() && has_room;
        let ready = Ready { requests, instance: running.instance.is_some() };
        match self.shared.mailbox.take(ready, self.due()) {
            next @ Next::Nothing(_) => Ok(Some(next)),
            next => self.handle(running, next).map(|()| None),
        }
    }

    /// Handles what is the same for a device of the configuration and for a child.
    pub(super) fn handle(
        &mut self,
        running: &mut Running,
        next: Next,
    ) -> Result<(), InstanceError> {
        match next {
            Next::Accepted(token, within) => self.on_accepted(running, token, within),
            Next::Completion(completion) => self.on_completion(running, completion),
            Next::Timer(id) => running.call(self.addressed(ChildCall::Timer(id))),
            Next::Wake => running.call(self.addressed(ChildCall::Wake)),
            Next::Request(request, since) => self.on_request(running, request, since),
            Next::Due => {
                self.expire();
                Ok(())
            }
            Next::Absence(absence) => running.call(Call::Absence(&absence)),
            // These are the worker's own.
            Next::Stop | Next::Lost | Next::Change(_) | Next::Bridge(_) | Next::Nothing(_) => {
                Ok(())
            }
        }
    }

    /// Makes the call for this device.
    fn addressed<'c>(&'c self, call: ChildCall<'c>) -> Call<'c> {
        match &self.shared.child {
            Some(child) => Call::Child { child: &child.name, call },
            None => call.as_call().expect("a device is refused by nobody"),
        }
    }

    fn presence(&self, running: &Running) -> Presence {
        match &running.instance {
            None => Presence::Gone,
            Some(_) if self.shared.is_there() => Presence::There,
            Some(_) => Presence::Awaited,
        }
    }

    fn on_request(
        &mut self,
        running: &mut Running,
        request: Request,
        since: Instant,
    ) -> Result<(), InstanceError> {
        let until = since + request.remaining;
        if until <= self.shared.now() {
            let text = "the request waited in the device's mailbox until its deadline";
            self.shared.answer(request.id, Answer::failure(Status::Timeout, text));
            return Ok(());
        }
        if *request.property != *"describe" {
            match self.presence(running) {
                Presence::There => {}
                Presence::Awaited => {
                    self.waiting.push_back((request, since));
                    return Ok(());
                }
                Presence::Gone => {
                    self.refuse(request.id);
                    return Ok(());
                }
            }
        }
        match reply::parse(&self.shared, &request) {
            ParsedRequest::Answer(answer) => self.shared.answer(request.id, answer),
            ParsedRequest::Set { changes, verb } => {
                let names: Vec<_> = changes.keys().cloned().collect();
                let payload = match (&names[..], changes.values().next()) {
                    ([_], Some(value)) => value.as_text().to_owned(),
                    _ => object_of(&changes),
                };
                let identity = self.shared.identity(&request);
                running.shared.slot.begin_request(&request.property, identity);
                return self.execute(running, (request.id, until), names, &payload, verb);
            }
        }
        Ok(())
    }

    fn execute(
        &mut self,
        running: &mut Running,
        (request, until): (RequestId, Instant),
        names: Vec<String>,
        payload: &str,
        verb: Verb,
    ) -> Result<(), InstanceError> {
        let Some(instance) = &mut running.instance else {
            self.refuse(request);
            return Ok(());
        };
        running.next_token += 1;
        let token = running.next_token;
        let left = until.saturating_duration_since(self.shared.now());
        let shared = Arc::clone(&self.shared);
        let call = ChildCall::Command {
            token,
            deadline_ms: shared.mailbox.clock.now_ms()
                + u64::try_from(left.as_millis()).unwrap_or(u64::MAX / 2),
            property: if let [name] = &names[..] { Some(name) } else { None },
            payload,
        };
        let call = self.addressed(call);
        shared.mailbox.expect(token, request);
        shared.hold_states();
        let result = running.shared.busy(Work::Command, || instance.call(call));
        if result == Ok(abi::PENDING) {
            shared.release_states();
            self.pending = Some(Pending { token, request, names, verb, until });
            return Ok(());
        }
        shared.mailbox.forget(token);
        let answer = match &result {
            Ok(abi::OK) => reply::done(&shared, &names, verb),
            Ok(status) => reply::failed(*status, ""),
            Err(error) => unavailable(error),
        };
        let result = result.and_then(|_| running.save());
        self.conclude(running, request, answer, result)
    }

    /// Gives a command's answer, with what the device has saved ahead of it: what an answer says is not lost.
    fn conclude(
        &mut self,
        running: &Running,
        request: RequestId,
        answer: Answer,
        saved: Result<(), InstanceError>,
    ) -> Result<(), InstanceError> {
        let answer = saved.as_ref().err().map_or(answer, unavailable);
        self.shared.answer(request, answer);
        running.shared.slot.end_request();
        self.shared.release_states();
        saved
    }

    /// Answers for a device that has no instance.
    fn refuse(&self, request: RequestId) {
        let condition = self.shared.condition();
        let reason = condition.reason().unwrap_or("it is being created");
        let text = format!("`{}` is not available: {reason}", self.shared.config.id);
        self.shared.answer(request, Answer::failure(Status::Unavailable, text));
    }

    /// Answers that a command is under way, and goes on with the next one.
    fn on_accepted(
        &mut self,
        running: &mut Running,
        token: u64,
        within: Duration,
    ) -> Result<(), InstanceError> {
        let Some(pending) = self.pending.take_if(|pending| pending.token == token) else {
            return Ok(());
        };
        let answer = reply::done(&self.shared, &pending.names, pending.verb).accepted();
        let saved = running.keep(Instance::save_between_calls);
        let request = pending.request;
        if saved.is_ok() {
            self.under_way.push(Pending { until: Instant::now() + within, ..pending });
        }
        self.conclude(running, request, answer, saved)
    }

    fn on_completion(
        &mut self,
        running: &mut Running,
        completion: Completion,
    ) -> Result<(), InstanceError> {
        let token = completion.token;
        let pending = self.pending.take_if(|pending| pending.token == token);
        let is_answer = pending.is_some();
        let accepted = || {
            let index = self.under_way.iter().position(|it| it.token == token)?;
            Some(self.under_way.remove(index))
        };
        let Some(pending) = pending.or_else(accepted) else { return Ok(()) };
        let status = completion.status;
        let (most, size) = (self.shared.bounds.max_payload, completion.payload.len());
        let answer = match status {
            abi::OK if completion.payload.is_empty() => {
                reply::done(&self.shared, &pending.names, pending.verb)
            }
            abi::OK if size > most => {
                let text = format!("the plugin's answer has {size} bytes, and {most} are allowed");
                Answer::failure(Status::Failed, text)
            }
            abi::OK => reply::given(completion.payload),
            status => {
                let message = String::from_utf8_lossy(&completion.payload);
                reply::failed(status, plugin_log::excerpt(&message))
            }
        };
        let tell = if is_answer { Shared::answer } else { Shared::ended };
        if status == abi::ERR_PANIC {
            tell(&self.shared, pending.request, answer);
            return Err(InstanceError::Crashed(PANICKED.into()));
        }
        let saved = running.keep(Instance::save_between_calls);
        if is_answer {
            return self.conclude(running, pending.request, answer, saved);
        }
        self.shared.ended(pending.request, saved.as_ref().err().map_or(answer, unavailable));
        saved
    }

    /// Answers what was not answered or has not ended in time; returns whether there was anything.
    pub(super) fn expire(&mut self) -> bool {
        let now = Instant::now();
        let is_over = |it: &mut Pending| it.until <= now;
        let late: Vec<_> = self.under_way.extract_if(.., is_over).collect();
        for late in &late {
            self.shared.mailbox.forget(late.token);
            let text = format!("`{}` has not told in time how it has ended", self.shared.config.id);
            self.shared.ended(late.request, Answer::failure(Status::Timeout, text));
        }
        let before = self.waiting.len();
        for (request, since) in mem::take(&mut self.waiting) {
            let waited = (request, since);
            if patience(&waited) <= now {
                self.refuse(waited.0.id);
            } else {
                self.waiting.push_back(waited);
            }
        }
        let mut any = !late.is_empty() || self.waiting.len() < before;
        if let Some(pending) = self.pending.take_if(is_over) {
            self.shared.slot.end_request();
            self.shared.mailbox.forget(pending.token);
            let text = format!("`{}` did not answer in time", self.shared.config.id);
            self.shared.answer(pending.request, Answer::failure(Status::Timeout, text));
            any = true;
        }
        any
    }

    /// The instance is lost, and with it all that was under way.
    pub(super) fn lose(&mut self, error: &InstanceError) {
        if let Some(pending) = self.pending.take() {
            self.shared.answer(pending.request, unavailable(error));
        }
        for lost in self.under_way.drain(..) {
            self.shared.ended(lost.request, unavailable(error));
        }
        for (request, _) in mem::take(&mut self.waiting) {
            self.refuse(request.id);
        }
        self.shared.mailbox.reset();
    }

    /// The instance has ended in order; what waits goes on to wait.
    pub(super) fn end_instance(&mut self) {
        let id = &self.shared.config.id;
        if let Some(pending) = self.pending.take() {
            let text = format!("`{id}` ended before it answered");
            self.shared.answer(pending.request, Answer::failure(Status::Unavailable, text));
        }
        for lost in self.under_way.drain(..) {
            let text = format!("`{id}` ended while it was under way");
            self.shared.ended(lost.request, Answer::conflict(Reason::Indeterminate, &text));
        }
        self.shared.mailbox.reset();
    }

    /// The device has ended for good.
    pub(super) fn end(&mut self) {
        self.end_instance();
        let text = format!("`{}` has ended", self.shared.config.id);
        for (request, _) in mem::take(&mut self.waiting) {
            self.shared.answer(request.id, Answer::failure(Status::Unavailable, text.clone()));
        }
        self.shared.drain(&text);
    }
}

/// How many requests wait for a child to be added, beside those in its mailbox.
const MOST_WAITING: usize = 64;

/// Returns until when a request waits for a child to be added: a little less than its requester does, so that the answer
/// says why.
fn patience((request, since): &(Request, Instant)) -> Instant {
    *since + request.remaining.mul_f64(0.9)
}

/// Answers the request that the instance worked on when it was lost.
fn unavailable(error: &InstanceError) -> Answer {
    match error {
        InstanceError::Refused(reason) => Answer::failure(Status::Unavailable, reason),
        InstanceError::Crashed(reason) | InstanceError::ProcessLost(reason) => {
            Answer::crashed(reason)
        }
    }
}
