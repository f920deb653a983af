//! A device that the device under test has added.

use std::sync::Arc;
use std::time::Duration;

use super::hub::{Hub, TestState};
use super::{DEVICE, Reply, TestDevice};
use crate::Device;
use crate::value::watched;

/// A device that the device under test has added.
#[derive(Debug)]
pub struct TestChild<'d, D: Device> {
    pub(super) parent: &'d mut TestDevice<D>,
    pub(super) name: String,
    pub(super) hub: Arc<Hub>,
}

impl<D: Device> TestChild<'_, D> {
    /// Sets one property, or several with `set`, as [`TestDevice::set`] does.
    pub fn set(&mut self, property: &str, payload: &str) -> Reply {
        let id = format!("{DEVICE}-{}", self.name);
        let (flags, name, payload) = match self.hub.read_request(&id, property, payload) {
            Ok(command) => command,
            Err(failure) => return Reply::Failed(failure),
        };
        self.parent.token += 1;
        let token = self.parent.token;
        {
            let mut state = self.hub.state();
            state.replies.insert(token, Reply::Pending);
            state.token = token;
        }
        let deadline = self.parent.deadline.unwrap_or_default();
        let (child, instance) = (&self.name, self.parent.instance());
        let command = (flags, &*name, &*payload);
        let (status, mistakes) =
            watched(|| instance.command_child(child, token, deadline, command));
        assert!(mistakes.is_empty(), "asked for by mistake: {}", mistakes.join("; "));
        self.hub.returned(token, status);
        if self.reply() != Reply::Panicked {
            self.parent.settle();
        }
        self.reply()
    }

    /// Returns how the child's last command ended, including a deferred answer.
    pub fn reply(&self) -> Reply {
        let state = self.hub.state();
        state.replies.get(&state.token).cloned().unwrap_or(Reply::Pending)
    }

    /// Waits in real time until the child's last command has ended, for devices that answer from their own thread.
    pub fn wait_for_reply(&self, at_most: Duration) -> Reply {
        let is_pending = |state: &mut TestState| {
            let reply = state.replies.get(&state.token);
            reply.is_none_or(|reply| *reply == Reply::Pending)
        };
        drop(self.hub.answered.wait_timeout_while(self.hub.state(), at_most, is_pending));
        self.reply()
    }

    /// Returns a property's state as last published.
    pub fn published(&self, property: &str) -> Option<String> {
        self.hub.published(property)
    }

    /// Returns everything published since the child was added or since the last call, in order.
    pub fn take_published(&mut self) -> Vec<(String, String)> {
        self.hub.take_published()
    }

    /// Returns the events since the child was added or since the last call, property and kind, in order.
    pub fn take_events(&mut self) -> Vec<(String, String)> {
        std::mem::take(&mut self.hub.state().events)
    }

    /// Returns why the child cannot reach its hardware or service; `None` if it can.
    pub fn unreachable(&self) -> Option<String> {
        self.hub.state().unreachable.clone()
    }

    /// Returns the child's log, each line as `LEVEL message key=value`.
    pub fn logs(&self) -> Vec<String> {
        self.hub.state().logs.clone()
    }

    /// Returns the name that people see, if the child has one.
    pub fn title(&self) -> Option<&str> {
        Some(&*self.hub.about.title).filter(|title| !title.is_empty())
    }

    /// Returns the room that the child is in, if it says one of its own.
    pub fn room(&self) -> Option<&str> {
        Some(&*self.hub.about.room).filter(|room| !room.is_empty())
    }
}
