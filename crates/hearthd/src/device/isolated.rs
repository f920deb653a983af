//! An instance in a process beside the daemon: its own, or one that it shares.

use std::{
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};

use hearthd_sdk::abi;

use super::{bridge_mail::BridgeMail, clock::Clock, shared::Shared};
use crate::{
    boundary::{
        call::{Call, ChildRefusal, CreateArguments, InstanceError, PANICKED},
        host::{Completion, HostCalls},
    },
    config::Isolation,
    plugin::{
        DeviceKind, HostProcess, Launcher, NO_PROCESS,
        ipc::{HostCall, ToChild},
        process::{Return, Tenant},
    },
};

/// A living instance; dropping it destroys it, and kills the process if no other device lives there.
#[derive(Debug)]
pub(crate) struct Isolated {
    process: Arc<HostProcess>,
    number: u32,
    returns: mpsc::Receiver<Return>,
    deadline: Duration,
    clock: Arc<Clock>,
    ended: bool,
}

impl Isolated {
    /// Creates the device in its process, which is started where there is none.
    pub(crate) fn create(
        kind: &DeviceKind,
        launcher: &Launcher,
        shared: &Arc<Shared>,
        isolation: Isolation,
        arguments: CreateArguments<'_>,
    ) -> Result<Self, InstanceError> {
        let file = kind.file().ok_or_else(|| InstanceError::Refused(NO_PROCESS.into()))?;
        let process = if isolation == Isolation::File {
            kind.shared_process(launcher)
        } else {
            HostProcess::start(launcher, &shared.config.id, Arc::clone(&shared.log))
        };
        let process = process.map_err(InstanceError::Refused)?;
        let deadline = shared.config.deadline;
        let (number, returns) = process.admit(Arc::clone(shared) as _);
        let clock = Arc::clone(&shared.mailbox.clock);
        let mut isolated = Self { process, number, returns, deadline, clock, ended: false };
        let create = ToChild::Create { file, kind: kind.name(), arguments };
        match isolated.ask(&create, deadline.max(LEAST_CREATE))? {
            Return::Created(result) => result.map(|()| isolated),
            other => Err(isolated.nonsense(&format!("{other:?} is no answer to create"))),
        }
    }

    /// Calls the plugin; returns its status code. A call that exceeds the deadline ends the process.
    pub(crate) fn call(&mut self, call: Call<'_>) -> Result<i32, InstanceError> {
        match self.ask(&ToChild::Call(call), self.deadline)? {
            Return::Returned(status) => Ok(status),
            other => Err(self.nonsense(&format!("{other:?} is no answer to a call"))),
        }
    }

    /// Makes the plugin save; the result is kept when this returns.
    pub(crate) fn save(&mut self) -> Result<(), InstanceError> {
        match self.ask(&ToChild::Save, self.deadline)? {
            Return::Returned(abi::ERR_PANIC) => Err(InstanceError::Crashed(PANICKED.into())),
            Return::Returned(_) => Ok(()),
            other => Err(self.nonsense(&format!("{other:?} is no answer to save"))),
        }
    }

    /// Makes the plugin save and destroy the device; kills the process if that takes too long.
    pub(crate) fn end(mut self, grace: Duration) {
        self.ended = true;
        if self.process.say(self.number, &ToChild::Stop).is_err() {
            return;
        }
        let deadline = Instant::now() + grace;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.returns.recv_timeout(left) {
                Ok(Return::Ended) | Err(mpsc::RecvTimeoutError::Disconnected) => return,
                Ok(Return::Created(_) | Return::Returned(_)) => {}
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    self.process.end_hang(self.number, grace);
                    return;
                }
            }
        }
    }

    /// Returns how the process ended, if it has.
    pub(crate) fn gone(&mut self) -> Option<InstanceError> {
        match self.returns.try_recv() {
            Err(mpsc::TryRecvError::Disconnected) => Some(self.process.error_of(self.number)),
            Ok(_) | Err(mpsc::TryRecvError::Empty) => None,
        }
    }

    fn ask(&mut self, what: &ToChild<'_>, deadline: Duration) -> Result<Return, InstanceError> {
        if let Ok(early) = self.returns.try_recv() {
            return Err(self.nonsense(&format!("{early:?} before it was asked")));
        }
        if let Some(now_ms) = self.clock.stepped_ms() {
            self.process.tell_time(now_ms);
        }
        self.process.say(self.number, what)?;
        match self.returns.recv_timeout(deadline) {
            Ok(returned) => Ok(returned),
            Err(mpsc::RecvTimeoutError::Disconnected) => Err(self.process.error_of(self.number)),
            Err(mpsc::RecvTimeoutError::Timeout) => {
                Err(self.process.end_hang(self.number, deadline))
            }
        }
    }

    fn nonsense(&self, what: &str) -> InstanceError {
        self.process.end_nonsense(self.number, what)
    }
}

impl Drop for Isolated {
    fn drop(&mut self) {
        self.process.dismiss(self.number);
        if !self.ended {
            // Where the process is gone, or goes with this, there is nothing to destroy.
            let _ = self.process.say(self.number, &ToChild::Destroy);
        }
    }
}

impl Tenant for Shared {
    fn host_call(&self, call: HostCall<'_>) {
        if let HostCall::OfChild { child, call } = call {
            // One that was removed says nothing any more.
            if let Some(child) = self.children.as_ref().and_then(|children| children.get(child)) {
                child.host_call(*call);
            }
            return;
        }
        // The process has had its status already, and has checked as this one does.
        let _ = match call {
            HostCall::Log { level, target, message } => {
                self.log(level, target, message);
                abi::OK
            }
            HostCall::Publish { property, payload } => self.publish(property, payload),
            HostCall::Complete { token, status, payload } => {
                self.complete(Completion { token, status, payload: payload.to_vec() })
            }
            HostCall::Accept { token, within } => self.accept(token, within),
            HostCall::SetTimer { id, delay } => self.set_timer(id, delay),
            HostCall::Wake => self.wake(),
            HostCall::Unreachable { reason } => self.unreachable(reason),
            HostCall::Reachable => self.reachable(),
            HostCall::Event { property, kind } => self.event(property, kind),
            HostCall::Send(publication) => {
                let status = self.send(publication);
                if status != abi::OK {
                    // The plugin has been told that an outcome follows.
                    let token = publication.token;
                    self.mailbox.push_bridged(BridgeMail::Refused { token, status });
                }
                status
            }
            HostCall::AddChild(child) => {
                let refused = self.add_child(&child).err();
                if let (Some(ChildRefusal { status, message, .. }), Some(children)) =
                    (refused, &self.children)
                {
                    // The plugin has been told that it is one.
                    children.refuse_new(child.name, message);
                    status
                } else {
                    abi::OK
                }
            }
            HostCall::RemoveChild { name } => self.remove_child(name),
            HostCall::OfChild { .. } => abi::OK,
        };
    }

    fn saved(&self, state: Vec<u8>) {
        self.keep(state);
    }

    fn lost(&self) {
        self.mailbox.lost();
    }
}

/// How long a process may take at least to load its plugin and to create its device.
const LEAST_CREATE: Duration = Duration::from_secs(10);
