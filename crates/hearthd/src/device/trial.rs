//! One device by itself, in a process of its own: the hub's own worker, on a clock that stands still until it is set.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use hearthd_core::{
    Answer, BridgeOutput, DeclaredTopics, PropertyState, Request, RequestId, Status,
    property::Declaration,
};

use super::{
    Checked, Complaint, DeviceEvent, answer_status, bounds, check,
    clock::Clock,
    crashes::calls::Calls,
    events::EventQueue,
    health::DeviceStatus,
    mailbox::{Change, Pushed},
    shared::{DeviceHandles, STARTING, Shared},
    worker::{Turn, Worker},
};
use crate::{
    config::Config,
    plugin::{Plugins, STATUS},
};

/// A device on trial; dropping it kills its process.
#[derive(Debug)]
pub(crate) struct Trial {
    worker: Worker,
    shared: Arc<Shared>,
    events: Arc<EventQueue>,
    topics: DeclaredTopics,
    requests: u64,
}

impl Trial {
    /// Creates the one device of a configuration; one that cannot be created says so in its status.
    ///
    /// # Errors
    /// Where its plugin does not accept its table.
    pub(crate) fn start(config: &Config, plugins: &Plugins) -> Result<Self, Vec<Complaint>> {
        let checked = check(config, plugins, &Checked::default())?;
        let (id, device) = checked.devices.into_iter().next().expect("it has one device");
        let events = Arc::new(EventQueue::new(Arc::new(Clock::stepped())));
        let (calls, ids) = (Calls::default(), Arc::default());
        let handles = DeviceHandles::new(&id, config.requests.queue, &events, &calls, &ids);
        let topics = device.topics.clone();
        let kind = device.kind.clone();
        let shared = Arc::new(Shared::new(device, None, handles, bounds(config)));
        let launcher = plugins.launcher().clone();
        let worker = Worker::new(kind, launcher, Arc::clone(&shared), &[]);
        Ok(Self { worker, shared, events, topics, requests: 0 })
    }

    /// Returns the name of a device that the one on trial has added, by its ID.
    pub(crate) fn child<'d>(&self, device: &'d str) -> Option<&'d str> {
        device.strip_prefix(&*self.shared.config.id)?.strip_prefix('-')
    }

    /// Returns what the device declares.
    pub(crate) fn declarations(&self) -> &BTreeMap<String, Declaration> {
        &self.shared.declarations
    }

    /// Returns the MQTT topics that the device uses itself.
    pub(crate) fn topics(&self) -> &DeclaredTopics {
        &self.topics
    }

    /// Gives the device a request, or with `CHILD/PROPERTY` one that it has added; the answer is an event.
    pub(crate) fn request(&mut self, property: &str, payload: &str) -> RequestId {
        self.requests += 1;
        let id = RequestId(self.requests);
        let Some((shared, property)) = self.addressed(property) else {
            let text = format!("the device has not added `{property}`");
            self.shared.answer(id, Answer::failure(Status::NotFound, text));
            return id;
        };
        let request = Request {
            id,
            device: shared.config.id.as_str().into(),
            property: property.into(),
            payload: payload.to_owned().into(),
            content_type: None,
            remaining: shared.config.deadline,
        };
        if property == STATUS {
            shared.answer(id, answer_status(&shared, &request));
        } else if shared.mailbox.push(request) == Pushed::Full {
            shared.answer(id, super::too_many_waiting(&shared));
        }
        id
    }

    /// Finds the device that a name such as `PROPERTY` or `CHILD/PROPERTY` is about.
    fn addressed<'p>(&self, name: &'p str) -> Option<(Arc<Shared>, &'p str)> {
        match name.split_once('/') {
            None => Some((Arc::clone(&self.shared), name)),
            Some((child, property)) => {
                let children = self.shared.children.as_ref()?;
                Some((children.get(child)?, property))
            }
        }
    }

    /// Tells the device what became of the hub's will, as the JSON of rule A1.
    pub(crate) fn absence(&self, absence: String) {
        self.shared.mailbox.push_absence(absence);
    }

    /// Tells the device something of MQTT.
    pub(crate) fn bridge(&self, output: BridgeOutput) {
        self.shared.take_bridged(output);
    }

    /// Has the device save, end and be created anew.
    pub(crate) fn restart(&self) {
        self.shared.mailbox.push_change(Change::Restart);
    }

    /// Has the device do all that it can do now; returns when it has something to do by itself.
    pub(crate) fn run(&mut self) -> Option<Instant> {
        loop {
            match self.worker.turn() {
                Turn::More => {}
                Turn::Rest(until) => return until,
                Turn::Ended => return None,
            }
        }
    }

    /// Sets the clock forward, and stops at each time at which the device has something to do.
    ///
    /// # Errors
    /// Where that has no end.
    pub(crate) fn advance(&mut self, by: Duration) -> Result<(), String> {
        let clock = Arc::clone(&self.shared.mailbox.clock);
        let end = clock.now().checked_add(by).ok_or("the time is too long")?;
        for _ in 0..MOST_STEPS {
            let due = self.run().filter(|due| *due <= end);
            clock.set(due.unwrap_or(end));
            if due.is_none() {
                self.run();
                return Ok(());
            }
        }
        Err(format!("the device has {MOST_STEPS} timers in that time"))
    }

    /// Waits in real time until something comes for the device, no longer than this.
    pub(crate) fn wait(&self, at_most: Duration) {
        self.shared.mailbox.wait(Some(Instant::now() + at_most));
    }

    /// Returns what the device says next, if it has said anything.
    pub(crate) fn next_event(&self) -> Option<DeviceEvent> {
        self.events.take()
    }

    /// Returns the state that the device, or with `CHILD/PROPERTY` one that it has added, last published.
    pub(crate) fn state(&self, property: &str) -> Option<String> {
        let (shared, property) = self.addressed(property)?;
        shared.state(property).map(|value| value.as_text().to_owned())
    }

    /// Returns how the device is.
    pub(crate) fn status(&self) -> DeviceStatus {
        self.shared.status()
    }

    /// Returns the reason of a crash from what the hub says of the device's status; `None` where it says anything else.
    pub(crate) fn crash(state: &PropertyState) -> Option<&str> {
        let is_down = state.property == STATUS
            && [&b"restarting"[..], b"quarantined"].contains(&&*state.payload);
        let reason = state.details.iter().find(|(key, _)| key == "reason")?.1.as_str();
        (is_down && reason != STARTING).then_some(reason)
    }

    /// Returns what the device saved last.
    pub(crate) fn saved(&self) -> Option<Vec<u8>> {
        self.shared.saved()
    }

    /// Returns how many states and events were refused, because the device has not declared them so.
    pub(crate) fn refused(&self) -> usize {
        self.shared.refused()
    }

    /// Ends the device in order.
    pub(crate) fn end(mut self) {
        self.shared.mailbox.stop();
        self.run();
    }
}

/// Timers that may fire while the clock is set forward once.
const MOST_STEPS: usize = 1_000_000;
