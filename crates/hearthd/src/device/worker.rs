//! Serves one device: takes its mail, calls its plugin, answers in order.

use std::{
    mem,
    sync::Arc,
    time::{Duration, Instant},
};

use hearthd_sdk::abi;
use tracing::{error, info};

use super::{
    bridge_mail::BridgeMail,
    commands::{Commands, Running},
    crashes::calls::Work,
    failures::FailureHistory,
    health::Condition,
    instance::Instance,
    mailbox::{Change, Mailbox, Next, Ready},
    reply,
    shared::Shared,
};
use crate::{
    boundary::call::{Call, ChildCall, InstanceError},
    config::Isolation,
    plugin::{DeviceKind, Launcher},
};

/// All that belongs to whichever thread a device has its turn on.
#[derive(Debug)]
pub(crate) struct Worker {
    kind: DeviceKind,
    launcher: Launcher,
    running: Running,
    history: FailureHistory,
    /// When the instance was created.
    since: Instant,
    /// When it is to be created again; none for a device in quarantine.
    retry: Option<Instant>,
    /// It has had its first turn.
    begun: bool,
    commands: Commands,
    /// The commands of the devices that it has added.
    children: Vec<Commands>,
    /// The version of those that were taken up.
    taken_up: u64,
}

/// What a device becomes by a reload.
#[derive(Debug)]
pub(crate) struct Successor {
    pub(crate) kind: DeviceKind,
    pub(crate) launcher: Launcher,
    pub(crate) shared: Arc<Shared>,
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
        Self {
            kind,
            launcher,
            since: shared.now(),
            commands: Commands::new(Arc::clone(&shared)),
            running: Running::new(shared),
            history: FailureHistory::new(crashes),
            retry: None,
            begun: false,
            children: Vec::new(),
            taken_up: 0,
        }
    }

    /// Returns the mailbox that wakes the device.
    pub(crate) fn mailbox(&self) -> &Mailbox {
        &self.running.shared.mailbox
    }

    /// Takes turns on a thread of its own until the mailbox says stop.
    pub(crate) fn run(mut self) {
        loop {
            match self.turn() {
                Turn::More => {}
                Turn::Rest(until) => self.mailbox().wait(until),
                Turn::Ended => return self.mailbox().stopped(),
            }
        }
    }

    /// Does what there is to do, though not for ever.
    pub(crate) fn turn(&mut self) -> Turn {
        if !mem::replace(&mut self.begun, true) {
            self.begin();
        }
        for _ in 0..LONGEST_TURN {
            let own = match self.take() {
                Next::Stop => {
                    self.end();
                    return Turn::Ended;
                }
                Next::Nothing(until) => Some(until),
                next => {
                    self.handle(next);
                    None
                }
            };
            let of_children = self.serve_children();
            if let (Some(own), Some(of_children)) = (own, of_children) {
                return Turn::Rest([own, of_children].into_iter().flatten().min());
            }
        }
        Turn::More
    }

    fn take(&self) -> Next {
        let has_instance = self.running.instance.is_some();
        let is_busy = self.commands.is_busy();
        let retry = self.retry.filter(|_| !is_busy && !has_instance);
        let due = self.commands.due().into_iter().chain(retry).min();
        let ready = Ready { requests: !is_busy, instance: has_instance };
        self.mailbox().take(ready, due)
    }

    fn handle(&mut self, next: Next) {
        match next {
            Next::Lost => self.on_lost(),
            Next::Change(change) => self.on_change(change),
            Next::Bridge(mail) => self.on_bridged(&mail),
            Next::Due => {
                // A command was not answered or has not ended in time, or the instance is to be created again.
                if !self.commands.expire() && self.running.instance.is_none() {
                    self.create();
                }
            }
            next => {
                let result = self.commands.handle(&mut self.running, next);
                self.accept(result);
            }
        }
    }

    fn accept(&mut self, result: Result<(), InstanceError>) {
        if let Err(error) = result {
            self.fail(&error);
        }
    }

    /// Takes one piece of mail of each device that this one has added; where there is none, returns what to wait for.
    fn serve_children(&mut self) -> Option<Option<Instant>> {
        let taken_up = self.take_up_children();
        let (mut rests, mut due) = (!taken_up, None);
        for index in 0..self.children.len() {
            let Some(child) = self.children.get_mut(index) else { break };
            match child.step(&mut self.running) {
                Ok(Some(Next::Nothing(until))) => due = [due, until].into_iter().flatten().min(),
                Ok(_) => rests = false,
                Err(error) => {
                    rests = false;
                    self.fail(&error);
                }
            }
        }
        rests.then_some(due)
    }

    /// Takes up which devices this one has added and removed since; returns whether there was anything.
    fn take_up_children(&mut self) -> bool {
        let Some(registered) = &self.running.shared.children else { return false };
        let version = registered.version();
        if mem::replace(&mut self.taken_up, version) == version {
            return false;
        }
        let registered = Arc::clone(registered);
        let mut there = registered.all();
        self.children.retain_mut(|child| {
            let mailbox = &child.shared.mailbox;
            let same = there.iter().position(|other| Arc::ptr_eq(&other.mailbox, mailbox));
            match same {
                Some(index) => child.shared = there.swap_remove(index),
                None => child.end(),
            }
            same.is_some()
        });
        self.children.extend(there.into_iter().map(Commands::new));
        for (child, reason) in registered.take_refused() {
            let call = Call::Child { child: &child, call: ChildCall::Refused(&reason) };
            let result = self.running.call(call);
            self.accept(result);
        }
        true
    }

    /// Creates the device, unless it has crashed the daemon too often.
    fn begin(&mut self) {
        let Some(text) = self.history.too_many(&self.running.shared) else { return self.create() };
        let (device, reason) = (&self.running.shared.config.id, format!("{text} of the whole hub"));
        error!(device, reason, "device in quarantine");
        let condition = Condition::Quarantined(reason);
        let shared = &self.running.shared;
        shared.children.iter().for_each(|children| children.lose(Some(&condition)));
        shared.set_condition(condition);
    }

    fn end(&mut self) {
        self.end_instance();
        self.take_up_children();
        self.commands.end();
        self.children.iter_mut().for_each(Commands::end);
    }

    fn on_lost(&mut self) {
        if let Some(error) = self.running.instance.as_mut().and_then(Instance::gone) {
            self.fail(&error);
        }
    }

    /// Saves, ends and creates in one step, while requests wait in the mailbox.
    fn on_change(&mut self, change: Change) {
        let was_there = self.running.instance.is_some();
        self.end_instance();
        self.history = FailureHistory::default();
        let Change::Replace(successor) = change else { return self.create() };
        let Successor { kind, launcher, shared } = *successor;
        shared.take_over(&self.running.shared);
        let fits_both = shared.is_as_before(&self.running.shared);
        let before = mem::replace(&mut self.kind, kind);
        self.launcher = launcher;
        shared.keep_children_if_allowed();
        self.commands.shared = Arc::clone(&shared);
        self.running.shared = shared;
        self.create();
        if was_there && fits_both && self.running.instance.is_none() {
            self.go_back_to(before);
        }
    }

    /// Goes on with the plugin that was there before, where the new one cannot create the device.
    fn go_back_to(&mut self, before: DeviceKind) {
        let new = mem::replace(&mut self.kind, before);
        self.create();
        if self.running.instance.is_some() {
            let device = &self.running.shared.config.id;
            error!(device, "the new plugin file cannot create the device; the old one goes on");
        } else {
            self.kind = new;
        }
    }

    fn on_bridged(&mut self, mail: &BridgeMail) {
        let call = match mail {
            BridgeMail::Link(up) if self.running.shared.traffic.set_link(*up) => Call::Link(*up),
            BridgeMail::Link(_) => return,
            BridgeMail::Message { topic, payload, retained } => {
                Call::Message { topic, payload, retained: *retained }
            }
            BridgeMail::Outcome { number, result } => {
                let Some(token) = self.running.shared.traffic.end(*number) else { return };
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
        let result = self.running.call(call);
        self.accept(result);
    }

    fn create(&mut self) {
        let shared = Arc::clone(&self.running.shared);
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
                self.running.instance = Some(instance);
                self.since = shared.now();
                shared.begin_bridging();
                shared.set_condition(Condition::Ready);
                if self.history.failures > 0 {
                    info!(device = shared.config.id, "the device is back");
                }
                shared.children.iter().for_each(|children| children.await_all());
                let saved = self.running.save();
                self.accept(saved);
            }
            Err(error) => self.fail(&error),
        }
    }

    /// Ends the instance, and decides whether and when there is another.
    fn fail(&mut self, error: &InstanceError) {
        let shared = Arc::clone(&self.running.shared);
        let had_instance = self.running.instance.is_some();
        let lived = had_instance.then(|| shared.now().saturating_duration_since(self.since));
        let wait = match error {
            InstanceError::ProcessLost(_) => Duration::ZERO,
            InstanceError::Refused(_) | InstanceError::Crashed(_) => self.history.wait_after(lived),
        };
        let device = &shared.config.id;
        let condition = match error {
            InstanceError::Refused(reason) => Condition::Failed(reason.clone()),
            InstanceError::ProcessLost(reason) => Condition::Restarting(reason.clone()),
            InstanceError::Crashed(reason) => match self.history.crashed(&shared) {
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
                Some(shared.now() + wait)
            }
        };
        shared.slot.end_request();
        shared.busy(Work::End, || drop(self.running.instance.take()));
        shared.set_condition(condition.clone());
        self.commands.lose(error);
        shared.children.iter().for_each(|children| children.lose(Some(&condition)));
        self.children.iter_mut().for_each(|child| child.lose(error));
    }

    fn end_instance(&mut self) {
        let saved = self.running.save();
        self.accept(saved);
        let shared = Arc::clone(&self.running.shared);
        if let Some(instance) = self.running.instance.take() {
            shared.slot.end_request();
            let grace = shared.config.deadline.min(LONGEST_END);
            shared.busy(Work::End, || instance.end(grace));
        }
        self.commands.end_instance();
        shared.children.iter().for_each(|children| children.lose(None));
        self.children.iter_mut().for_each(Commands::end_instance);
    }
}

/// Crashes of a process that a device shares after which it gets one of its own.
const SHARED_CRASHES: usize = 2;
/// Mail that a device takes before others have their turns.
const LONGEST_TURN: usize = 16;
/// How long an instance in a process of its own may take to save and to end.
const LONGEST_END: Duration = Duration::from_secs(2);
