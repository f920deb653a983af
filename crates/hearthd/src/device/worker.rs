//! Serves one device: takes its mail, calls its plugin, answers in order.

use std::{
    mem,
    sync::Arc,
    time::{Duration, Instant},
};

use hearthd_core::{Answer, Reason, Request, RequestId, Status, property::object_of};
use hearthd_sdk::abi;
use tracing::{error, info};

use super::{
    bridge_mail::BridgeMail,
    crashes::calls::{self, Work},
    failures::FailureHistory,
    health::Condition,
    instance::Instance,
    mailbox::{Change, Mailbox, Next, Ready},
    reply::{self, ParsedRequest, Verb},
    shared::Shared,
};
use crate::{
    boundary::{
        call::{Call, InstanceError, PANICKED},
        host::Completion,
        plugin_log,
    },
    config::Isolation,
    plugin::{DeviceKind, Launcher},
};

/// All that belongs to whichever thread a device has its turn on.
#[derive(Debug)]
pub(crate) struct Worker {
    kind: DeviceKind,
    launcher: Launcher,
    shared: Arc<Shared>,
    instance: Option<Instance>,
    history: FailureHistory,
    /// When the instance was created.
    since: Instant,
    /// When it is to be created again; none for a device in quarantine.
    retry: Option<Instant>,
    /// It has had its first turn.
    begun: bool,
    next_token: u64,
    pending: Option<Pending>,
    /// The commands that the plugin has accepted, and not ended.
    under_way: Vec<Pending>,
}

/// What a device becomes by a reload.
#[derive(Debug)]
pub(crate) struct Successor {
    pub(crate) kind: DeviceKind,
    pub(crate) launcher: Launcher,
    pub(crate) shared: Arc<Shared>,
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

/// What follows a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// There is more to do; others come first.
    More,
    /// Nothing to do before this time, or before there is mail.
    Rest(Option<Instant>),
    /// The device has ended.
    Ended,
}

impl Worker {
    /// Makes a device that has crashed at these times already.
    pub(crate) fn new(
        kind: DeviceKind,
        launcher: Launcher,
        shared: Arc<Shared>,
        crashes: &[Instant],
    ) -> Self {
        let since = shared.now();
        Self {
            kind,
            launcher,
            shared,
            instance: None,
            history: FailureHistory::new(crashes),
            since,
            retry: None,
            begun: false,
            next_token: 0,
            pending: None,
            under_way: Vec::new(),
        }
    }

    /// Returns the mailbox that wakes the device.
    pub(crate) fn mailbox(&self) -> &Mailbox {
        &self.shared.mailbox
    }

    /// Takes turns on a thread of its own until the mailbox says stop.
    pub(crate) fn run(mut self) {
        loop {
            match self.turn() {
                Turn::More => {}
                Turn::Rest(until) => self.shared.mailbox.wait(until),
                Turn::Ended => return self.shared.mailbox.stopped(),
            }
        }
    }

    /// Does what there is to do, though not for ever.
    pub(crate) fn turn(&mut self) -> Turn {
        if !mem::replace(&mut self.begun, true) {
            self.begin();
        }
        for _ in 0..LONGEST_TURN {
            let due = match (&self.pending, &self.instance) {
                (Some(pending), _) => Some(pending.until),
                (None, None) => self.retry,
                (None, Some(_)) => None,
            };
            let due = self.under_way.iter().map(|it| it.until).chain(due).min();
            let ready =
                Ready { requests: self.pending.is_none(), instance: self.instance.is_some() };
            match self.shared.mailbox.take(ready, due) {
                Next::Stop => {
                    self.end();
                    return Turn::Ended;
                }
                Next::Lost => self.on_lost(),
                Next::Accepted(token, within) => self.on_accepted(token, within),
                Next::Completion(completion) => self.on_completion(completion),
                Next::Change(change) => self.on_change(change),
                Next::Absence(absence) => self.call(Call::Absence(&absence)),
                Next::Timer(id) => self.call(Call::Timer(id)),
                Next::Wake => self.call(Call::Wake),
                Next::Bridge(mail) => self.on_bridged(&mail),
                Next::Request(request, since) => self.on_request(request, since),
                Next::Due => self.on_due(),
                Next::Nothing(until) => return Turn::Rest(until),
            }
        }
        Turn::More
    }

    /// Creates the device, unless it has crashed the daemon too often.
    fn begin(&mut self) {
        let Some(text) = self.history.too_many(&self.shared) else { return self.create() };
        let (device, reason) = (&self.shared.config.id, format!("{text} of the whole hub"));
        error!(device, reason, "device in quarantine");
        self.shared.set_condition(Condition::Quarantined(reason));
    }

    fn end(&mut self) {
        self.end_instance();
        for request in self.shared.mailbox.drain() {
            let text = format!("`{}` has ended", self.shared.config.id);
            self.shared.answer(request.id, Answer::failure(Status::Unavailable, text));
        }
    }

    fn on_request(&mut self, request: Request, since: Instant) {
        let until = since + request.remaining;
        if until <= self.shared.now() {
            let text = "the request waited in the device's mailbox until its deadline";
            return self.shared.answer(request.id, Answer::failure(Status::Timeout, text));
        }
        if self.instance.is_none() && *request.property != *"describe" {
            return self.refuse(request.id);
        }
        match reply::parse(&self.shared, &request) {
            ParsedRequest::Answer(answer) => self.shared.answer(request.id, answer),
            ParsedRequest::Set { changes, verb } => {
                let names: Vec<_> = changes.keys().cloned().collect();
                let payload = match (&names[..], changes.values().next()) {
                    ([_], Some(value)) => value.as_text().to_owned(),
                    _ => object_of(&changes),
                };
                let identity = calls::request(&request.property, &request.payload);
                self.shared.slot.begin_request(&request.property, identity);
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
        let left = until.saturating_duration_since(self.shared.now());
        let call = Call::Command {
            token,
            deadline_ms: self.shared.mailbox.clock.now_ms()
                + u64::try_from(left.as_millis()).unwrap_or(u64::MAX / 2),
            property: if let [name] = &names[..] { Some(name) } else { None },
            payload,
        };
        let shared = Arc::clone(&self.shared);
        shared.mailbox.expect(token, request);
        shared.hold_states();
        let result = shared.busy(Work::Command, || instance.call(call));
        if result == Ok(abi::PENDING) {
            shared.release_states();
            self.pending = Some(Pending { token, request, names, verb, until });
            return;
        }
        shared.mailbox.forget(token);
        let answer = match &result {
            Ok(abi::OK) => reply::done(&shared, &names, verb),
            Ok(status) => reply::failed(*status, ""),
            Err(error) => unavailable(error),
        };
        let result = result.and_then(|_| self.save());
        self.conclude(request, answer, result);
    }

    /// Gives a command's answer, with what the device has saved ahead of it: what an answer says is not lost.
    fn conclude(&mut self, request: RequestId, answer: Answer, saved: Result<(), InstanceError>) {
        let answer = saved.as_ref().err().map_or(answer, unavailable);
        self.shared.answer(request, answer);
        self.shared.slot.end_request();
        self.shared.release_states();
        if let Err(error) = saved {
            self.fail(&error);
        }
    }

    /// Answers for a device that has no instance.
    fn refuse(&self, request: RequestId) {
        let condition = self.shared.condition();
        let reason = condition.reason().unwrap_or("it is being created");
        let text = format!("`{}` is not available: {reason}", self.shared.config.id);
        self.shared.answer(request, Answer::failure(Status::Unavailable, text));
    }

    /// Answers that a command is under way, and goes on with the next one.
    fn on_accepted(&mut self, token: u64, within: Duration) {
        let Some(pending) = self.pending.take_if(|pending| pending.token == token) else { return };
        let answer = reply::done(&self.shared, &pending.names, pending.verb).accepted();
        let saved = self.keep(Instance::save_between_calls);
        let request = pending.request;
        if saved.is_ok() {
            self.under_way.push(Pending { until: Instant::now() + within, ..pending });
        }
        self.conclude(request, answer, saved);
    }

    fn on_completion(&mut self, completion: Completion) {
        let token = completion.token;
        let pending = self.pending.take_if(|pending| pending.token == token);
        let is_answer = pending.is_some();
        let accepted = || {
            let index = self.under_way.iter().position(|it| it.token == token)?;
            Some(self.under_way.remove(index))
        };
        let Some(pending) = pending.or_else(accepted) else { return };
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
            return self.fail(&InstanceError::Crashed(PANICKED.into()));
        }
        let saved = self.keep(Instance::save_between_calls);
        if is_answer {
            return self.conclude(pending.request, answer, saved);
        }
        self.shared.ended(pending.request, saved.as_ref().err().map_or(answer, unavailable));
        if let Err(error) = saved {
            self.fail(&error);
        }
    }

    /// A command was not answered or has not ended in time, or the instance is to be created again.
    fn on_due(&mut self) {
        let now = Instant::now();
        let is_over = |it: &mut Pending| it.until <= now;
        let late: Vec<_> = self.under_way.extract_if(.., is_over).collect();
        for late in &late {
            self.shared.mailbox.forget(late.token);
            let text = format!("`{}` has not told in time how it has ended", self.shared.config.id);
            self.shared.ended(late.request, Answer::failure(Status::Timeout, text));
        }
        if let Some(pending) = self.pending.take_if(is_over) {
            self.shared.slot.end_request();
            self.shared.mailbox.forget(pending.token);
            let text = format!("`{}` did not answer in time", self.shared.config.id);
            self.shared.answer(pending.request, Answer::failure(Status::Timeout, text));
        } else if self.instance.is_none() && late.is_empty() {
            self.create();
        }
    }

    fn on_lost(&mut self) {
        if let Some(error) = self.instance.as_mut().and_then(Instance::gone) {
            self.fail(&error);
        }
    }

    /// Saves, ends and creates in one step, while requests wait in the mailbox.
    fn on_change(&mut self, change: Change) {
        let was_there = self.instance.is_some();
        self.end_instance();
        self.history = FailureHistory::default();
        let Change::Replace(successor) = change else { return self.create() };
        let Successor { kind, launcher, shared } = *successor;
        shared.take_over(&self.shared);
        let fits_both = shared.is_as_before(&self.shared);
        let before = mem::replace(&mut self.kind, kind);
        (self.launcher, self.shared) = (launcher, shared);
        self.create();
        if was_there && fits_both && self.instance.is_none() {
            self.go_back_to(before);
        }
    }

    /// Goes on with the plugin that was there before, where the new one cannot create the device.
    fn go_back_to(&mut self, before: DeviceKind) {
        let new = mem::replace(&mut self.kind, before);
        self.create();
        if self.instance.is_some() {
            let device = &self.shared.config.id;
            error!(device, "the new plugin file cannot create the device; the old one goes on");
        } else {
            self.kind = new;
        }
    }

    fn on_bridged(&mut self, mail: &BridgeMail) {
        let call = match mail {
            BridgeMail::Link(up) if self.shared.traffic.set_link(*up) => Call::Link(*up),
            BridgeMail::Link(_) => return,
            BridgeMail::Message { topic, payload, retained } => {
                Call::Message { topic, payload, retained: *retained }
            }
            BridgeMail::Outcome { number, result } => {
                let Some(token) = self.shared.traffic.end(*number) else { return };
                match result {
                    Ok(reply) => Call::Outcome { token, status: abi::OK, reply },
                    Err(error) => {
                        Call::Outcome { token, status: reply::unsent(*error), reply: &[] }
                    }
                }
            }
            BridgeMail::Refused { token, status } => {
                Call::Outcome { token: *token, status: *status, reply: &[] }
            }
        };
        self.call(call);
    }

    fn call(&mut self, call: Call<'_>) {
        let Some(instance) = &mut self.instance else { return };
        let result = self.shared.busy(Work::of(&call), || instance.call(call));
        if let Err(error) = result.and_then(|_| self.save()) {
            self.fail(&error);
        }
    }

    fn create(&mut self) {
        let shared = Arc::clone(&self.shared);
        let saved = shared.saved();
        let isolation = match shared.config.isolation {
            // The others shall not lose their process for it again and again.
            Isolation::File if self.history.crashes() >= SHARED_CRASHES => Isolation::Process,
            isolation => isolation,
        };
        shared.begin_instance();
        let created = shared.busy(Work::Create, || {
            let (kind, launcher) = (&self.kind, &self.launcher);
            Instance::create(kind, launcher, &shared, isolation, saved.as_deref())
        });
        match created {
            Ok(instance) => {
                self.instance = Some(instance);
                self.since = shared.now();
                shared.begin_bridging();
                shared.set_condition(Condition::Ready);
                if self.history.failures > 0 {
                    info!(device = shared.config.id, "the device is back");
                }
                if let Err(error) = self.save() {
                    self.fail(&error);
                }
            }
            Err(error) => self.fail(&error),
        }
    }

    /// Ends the instance, and decides whether and when there is another.
    fn fail(&mut self, error: &InstanceError) {
        let lived = self
            .instance
            .is_some()
            .then(|| self.shared.now().saturating_duration_since(self.since));
        let wait = match error {
            InstanceError::ProcessLost(_) => Duration::ZERO,
            InstanceError::Refused(_) | InstanceError::Crashed(_) => self.history.wait_after(lived),
        };
        let device = &self.shared.config.id;
        let condition = match error {
            InstanceError::Refused(reason) => Condition::Failed(reason.clone()),
            InstanceError::ProcessLost(reason) => Condition::Restarting(reason.clone()),
            InstanceError::Crashed(reason) => match self.history.crashed(&self.shared) {
                Some(text) => Condition::Quarantined(format!("{text}: {reason}")),
                None => Condition::Restarting(reason.clone()),
            },
        };
        let reason = condition.reason().unwrap_or_default();
        self.retry = match &condition {
            Condition::Quarantined(_) => {
                error!(device, reason, "device in quarantine");
                None
            }
            Condition::Ready | Condition::Restarting(_) | Condition::Failed(_) => {
                error!(device, reason, retry_in_ms = wait.as_millis(), "device down");
                Some(self.shared.now() + wait)
            }
        };
        let shared = Arc::clone(&self.shared);
        shared.slot.end_request();
        shared.busy(Work::End, || drop(self.instance.take()));
        shared.set_condition(condition);
        if let Some(pending) = self.pending.take() {
            shared.answer(pending.request, unavailable(error));
        }
        for lost in self.under_way.drain(..) {
            shared.ended(lost.request, unavailable(error));
        }
        shared.mailbox.reset();
    }

    /// Saves what a call has changed; an error means that the instance is of no use any more (F2).
    fn save(&mut self) -> Result<(), InstanceError> {
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

    fn end_instance(&mut self) {
        if let Err(error) = self.save() {
            self.fail(&error);
        }
        let shared = Arc::clone(&self.shared);
        if let Some(instance) = self.instance.take() {
            shared.slot.end_request();
            let grace = shared.config.deadline.min(LONGEST_END);
            shared.busy(Work::End, || instance.end(grace));
        }
        if let Some(pending) = self.pending.take() {
            let text = format!("`{}` ended before it answered", shared.config.id);
            shared.answer(pending.request, Answer::failure(Status::Unavailable, text));
        }
        for lost in self.under_way.drain(..) {
            let text = format!("`{}` ended while it was under way", shared.config.id);
            shared.ended(lost.request, Answer::conflict(Reason::Indeterminate, &text));
        }
        shared.mailbox.reset();
    }
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

/// Crashes of a process that a device shares after which it gets one of its own.
const SHARED_CRASHES: usize = 2;
/// Mail that a device takes before others have their turns.
const LONGEST_TURN: usize = 16;
/// How long an instance in a process of its own may take to save and to end.
const LONGEST_END: Duration = Duration::from_secs(2);
