//! Runs a device without a hub, for its tests: with the real tables, on a virtual clock.

mod child;
mod hub;

use std::fmt;
use std::marker::PhantomData;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

pub use child::TestChild;
use hub::{Hub, TestState};

use crate::children::ChildDeclaration;
use crate::glue::{TestInstance, check_config, describe};
use crate::value::watched;
use crate::{Device, Failure, Problem, Property, abi, device, mqtt};

/// A device under test, and the hub that it sees.
///
/// The harness checks the device against its declaration, by the hub's own checks: after a published value that
/// [`Device::properties`] does not allow, the next call panics; so does a command whose [`Changes`](crate::Changes) are
/// asked for a property that was not declared.
pub struct TestDevice<D: Device> {
    instance: Option<TestInstance>,
    hub: Arc<Hub>,
    config: Vec<u8>,
    saved: Vec<u8>,
    token: u64,
    deadline: Option<Duration>,
    device: PhantomData<D>,
}

/// A message that the device has sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// The number by which the device knows it.
    pub token: u64,
    /// The topic name; of a request to another device, `DEVICE/PROPERTY`.
    pub topic: String,
    /// The payload, as text.
    pub payload: String,
    /// The quality of service.
    pub qos: mqtt::QoS,
    /// Whether the broker shall keep it.
    pub retain: bool,
    /// Whether a reply is expected.
    pub reply: bool,
    /// Whether it asks another device.
    pub ask: bool,
    /// How long it is wanted.
    pub expiry: Duration,
    /// Whether it belongs to a request that has no answer yet.
    pub belongs: bool,
}

/// How a command ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// The changes are applied.
    Done,
    /// There is no answer yet.
    Pending,
    /// The changes are under way, for this long at most: [`TestDevice::reply`] tells the end once it is there.
    Accepted(Duration),
    /// The changes are not applied.
    Failed(Failure),
    /// The device panicked; [`TestDevice::restart`] makes a new one.
    Panicked,
}

impl Reply {
    /// Returns whether the changes are applied.
    pub fn is_done(&self) -> bool {
        *self == Self::Done
    }
}

impl<D: Device> TestDevice<D> {
    /// Makes a device with the ID `test`.
    ///
    /// # Panics
    ///
    /// Panics if the configuration or the device is refused.
    pub fn new(config: serde_json::Value) -> Self {
        Self::try_new(config).unwrap_or_else(|problems| panic!("no device: {problems:?}"))
    }

    /// Makes a device with the ID `test`, or returns why there is none; the path of a wrong declaration is the
    /// property's name.
    pub fn try_new(config: serde_json::Value) -> Result<Self, Vec<Problem>> {
        let problems = Self::problems(&config);
        if !problems.is_empty() {
            return Err(problems);
        }
        let config = config.to_string().into_bytes();
        let properties = D::properties(&device::read_config::<D>(&config)?);
        let problems = mistakes(&properties);
        if !problems.is_empty() {
            return Err(problems);
        }
        let (status, described) = describe::<D>(&config);
        assert_eq!(status, abi::OK, "describe");
        assert_eq!(described.len(), properties.len(), "describe is pure");
        let topics = D::topics(&device::read_config::<D>(&config)?);
        let declared = properties.iter().map(Property::as_the_hub_sees_it);
        let hub = Arc::new(Hub {
            declarations: declared.map(|d| (d.name.clone(), d)).collect(),
            topics,
            may_add: D::may_add(&device::read_config::<D>(&config)?),
            about: ChildDeclaration::new(properties),
            state: Mutex::default(),
            answered: Condvar::new(),
            children: Mutex::default(),
        });
        let instance = TestInstance::create::<D>(hub.clone(), DEVICE, &config, &[])
            .map_err(|(_, errors)| problems_of(errors))?;
        let mut device = Self {
            instance: Some(instance),
            hub,
            config,
            saved: Vec::new(),
            token: 0,
            deadline: None,
            device: PhantomData,
        };
        device.settle();
        Ok(device)
    }

    /// Returns the problems of a configuration.
    pub fn problems(config: &serde_json::Value) -> Vec<Problem> {
        let (status, errors) = check_config::<D>(config.to_string().as_bytes());
        assert_eq!(status == abi::OK, errors.is_empty(), "an error comes with its reason");
        problems_of(errors)
    }

    /// Sets one property to a text that a requester may send, such as `ON`, `toggle` or `21.5`.
    ///
    /// The hub's own check decides about it: what the hub refuses is refused here, with the same words.
    pub fn set(&mut self, property: &str, payload: &str) -> Reply {
        match self.hub.read_request(DEVICE, property, payload) {
            Ok((flags, name, payload)) => self.command(flags, &name, &payload),
            Err(failure) => Reply::Failed(failure),
        }
    }

    /// Sets several properties, given as a JSON object.
    pub fn set_all(&mut self, values: serde_json::Value) -> Reply {
        self.set("set", &values.to_string())
    }

    /// Sets the deadline of the following commands, on the harness's clock; at first there is no deadline.
    pub fn set_deadline(&mut self, deadline: Option<Duration>) {
        self.deadline = deadline;
    }

    /// Returns how the last command ended, including a deferred answer.
    pub fn reply(&self) -> Reply {
        self.hub.state().replies.get(&self.token).cloned().unwrap_or(Reply::Pending)
    }

    /// Waits in real time until the last command has ended, for devices that answer from their own thread.
    pub fn wait_for_reply(&self, at_most: Duration) -> Reply {
        let is_pending = |state: &mut TestState| {
            state.replies.get(&self.token).is_none_or(|reply| *reply == Reply::Pending)
        };
        let answered = &self.hub.answered;
        drop(answered.wait_timeout_while(self.hub.state(), at_most, is_pending));
        self.reply()
    }

    /// Waits in real time until a condition holds, for devices with a thread; returns whether it does.
    pub fn wait_until(&self, at_most: Duration, holds: impl Fn(&Self) -> bool) -> bool {
        let start = Instant::now();
        while !holds(self) {
            if start.elapsed() >= at_most {
                return false;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        true
    }

    /// Moves the clock forward and fires the timers that are due, in order.
    ///
    /// # Panics
    ///
    /// Panics if the device panics, and after a million timers.
    pub fn advance(&mut self, by: Duration) {
        let until = self.hub.state().now_ms + u64::try_from(by.as_millis()).expect("a test's time");
        for _ in 0..1_000_000 {
            let children = self.hub.children();
            let of_child = |(name, child): (String, Arc<Hub>)| Some((child.due()?, Some(name)));
            let dues = children.clone().into_iter().filter_map(of_child);
            let first = dues.chain(self.hub.due().map(|due| (due, None))).min();
            let now = first.as_ref().map_or(until, |(due, _)| until.min(*due));
            for hub in children.values().chain([&self.hub]) {
                let mut state = hub.state();
                state.now_ms = state.now_ms.max(now);
            }
            let Some((_, of)) = first.filter(|(due, _)| *due <= until) else { return };
            let status = match of.as_deref() {
                None => {
                    let Some(id) = self.hub.next_timer(until) else { continue };
                    self.instance().timer(id)
                }
                Some(child) => {
                    let hub = children.get(child);
                    let Some(id) = hub.and_then(|hub| hub.next_timer(until)) else { continue };
                    self.instance().timer_of_child(child, id)
                }
            };
            self.accept(status);
        }
        panic!("the device arms its timers without end");
    }

    /// Delivers a queued wake and checks what the device's own threads published.
    pub fn settle(&mut self) {
        while std::mem::take(&mut self.hub.state().woken) {
            let status = self.instance().wake();
            self.accept_status(status);
        }
        for (name, child) in self.hub.children() {
            while std::mem::take(&mut child.state().woken) {
                let status = self.instance().wake_child(&name);
                self.accept_status(status);
            }
            let refused = std::mem::take(&mut child.state().refused);
            assert!(refused.is_empty(), "{name} published against its declaration: {refused:?}");
        }
        let refused = std::mem::take(&mut self.hub.state().refused);
        assert!(refused.is_empty(), "published against its declaration: {refused:?}");
    }

    /// Tells the device the outcome of the hub's will, given as the JSON of rule A1.
    pub fn absence(&mut self, absence: serde_json::Value) {
        let status = self.instance().absence(absence.to_string().as_bytes());
        self.accept(status);
    }

    /// Tells the device that there is a connection to the broker, or none any more; at first there is none.
    pub fn set_link(&mut self, up: bool) {
        self.hub.state().link_up = up;
        let status = self.instance().link(up);
        self.accept(status);
    }

    /// Delivers a message on a topic that the device listens to, or a state that it follows, on `DEVICE/PROPERTY`.
    ///
    /// # Panics
    ///
    /// Panics where the device has not declared that.
    pub fn receive(&mut self, topic: &str, payload: &str, retained: bool) {
        let pairs = self.hub.topics.pairs();
        let listens = |(purpose, filter): &(&str, String)| match *purpose {
            "subscribe" => matches(filter, topic),
            "follow" => filter == topic,
            _ => false,
        };
        assert!(pairs.iter().any(listens), "the device does not listen to {topic}: {pairs:?}");
        let payload = payload.as_bytes().to_vec();
        let status =
            self.instance().message(&mqtt::Message { topic: topic.to_owned(), payload, retained });
        self.accept(status);
    }

    /// Tells the device what became of a message that it has sent: the reply's payload, or why there is none.
    pub fn give_outcome(&mut self, token: u64, result: Result<&str, mqtt::PublishError>) {
        let (status, reply) = match result {
            Ok(reply) => (abi::OK, reply),
            Err(error) => (error.status(), ""),
        };
        let status = self.instance().outcome(token, status, reply.as_bytes());
        self.accept(status);
    }

    /// Returns the messages that the device has sent since the last call, in order.
    pub fn take_sent(&mut self) -> Vec<Sent> {
        std::mem::take(&mut self.hub.state().sent)
    }

    /// Saves the device's state, destroys the device and creates it anew; after a panic with the state last saved.
    pub fn restart(&mut self) {
        if !matches!(self.reply(), Reply::Panicked) {
            self.saved = self.saved_state().unwrap_or_default();
        }
        self.instance = None;
        {
            let mut state = self.hub.state();
            state.timers.clear();
            // The new one is told anew.
            state.link_up = false;
            state.unreachable = None;
        }
        // The hub remembers them, and waits until they are added again.
        let children = self.hub.children();
        children.values().for_each(|child| *child.state() = TestState::default());
        let instance =
            TestInstance::create::<D>(self.hub.clone(), DEVICE, &self.config, &self.saved)
                .unwrap_or_else(|(status, errors)| panic!("restart: {status} {errors:?}"));
        self.instance = Some(instance);
        self.token += 1;
        self.settle();
    }

    /// Returns the state that the next device would get.
    pub fn saved_state(&mut self) -> Option<Vec<u8>> {
        let (status, pairs) = self.instance().save();
        assert_eq!(status, abi::OK, "save: {:?}", self.logs());
        pairs.into_iter().next().map(|(_, state)| state)
    }

    /// Returns a property's state as last published.
    pub fn published(&self, property: &str) -> Option<String> {
        self.hub.published(property)
    }

    /// Returns everything published since the beginning or since the last call, in order.
    pub fn take_published(&mut self) -> Vec<(String, String)> {
        self.hub.take_published()
    }

    /// Returns everything ever published, in order.
    pub fn published_all(&self) -> Vec<(String, String)> {
        self.hub.state().published.clone()
    }

    /// Returns the events since the beginning or since the last call, property and kind, in order.
    pub fn take_events(&mut self) -> Vec<(String, String)> {
        std::mem::take(&mut self.hub.state().events)
    }

    /// Returns why the device cannot reach its hardware or service; `None` if it can.
    pub fn unreachable(&self) -> Option<String> {
        self.hub.state().unreachable.clone()
    }

    /// Returns the log, each line as `LEVEL message key=value`.
    pub fn logs(&self) -> Vec<String> {
        self.hub.state().logs.clone()
    }

    /// Returns the time of the virtual clock.
    pub fn now(&self) -> Duration {
        Duration::from_millis(self.hub.state().now_ms)
    }

    /// Returns the names of the devices that the device has added, and of those that it had added before a restart.
    pub fn children(&self) -> Vec<String> {
        self.hub.children().into_keys().collect()
    }

    /// Returns a device that the device has added.
    ///
    /// # Panics
    ///
    /// Panics where there is none of this name.
    pub fn child(&mut self, name: &str) -> TestChild<'_, D> {
        let hub = self.hub.children().remove(name);
        let hub = hub.unwrap_or_else(|| panic!("no child `{name}`: {:?}", self.children()));
        TestChild { parent: self, name: name.to_owned(), hub }
    }

    /// Tells the device that a child is none after all (N6).
    pub fn refuse_child(&mut self, name: &str, reason: &str) {
        self.hub.lock_children().remove(name);
        let status = self.instance().refuse_child(name, reason);
        self.accept(status);
    }

    fn command(&mut self, flags: u32, name: &str, payload: &str) -> Reply {
        self.token += 1;
        let token = self.token;
        self.hub.state().replies.insert(token, Reply::Pending);
        let deadline = self.deadline.unwrap_or_default();
        let instance = self.instance();
        let (status, mistakes) =
            watched(|| instance.command(token, deadline, flags, name, payload.as_bytes()));
        assert!(mistakes.is_empty(), "asked for by mistake: {}", mistakes.join("; "));
        self.hub.returned(token, status);
        if self.reply() != Reply::Panicked {
            self.settle();
        }
        self.reply()
    }

    fn accept(&mut self, status: i32) {
        self.accept_status(status);
        self.settle();
    }

    fn accept_status(&self, status: i32) {
        assert_eq!(status, abi::OK, "the device failed: {:?}", self.logs());
    }

    fn instance(&mut self) -> &mut TestInstance {
        self.instance.as_mut().expect("the last restart made a device")
    }
}

impl<D: Device> fmt::Debug for TestDevice<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestDevice").field("kind", &D::KIND).finish_non_exhaustive()
    }
}

/// The ID of a device under test.
const DEVICE: &str = "test";

/// Returns whether a topic name matches a filter (MQTT 4.7.1).
fn matches(filter: &str, name: &str) -> bool {
    let mut levels = name.split('/');
    for wanted in filter.split('/') {
        match (wanted, levels.next()) {
            ("#", _) => return true,
            ("+", Some(_)) => {}
            (wanted, Some(level)) if wanted == level => {}
            _ => return false,
        }
    }
    levels.next().is_none()
}

/// Finds the declarations that the hub would refuse.
fn mistakes(properties: &[Property]) -> Vec<Problem> {
    let again = |at: usize| properties[..at].iter().any(|p| p.name() == properties[at].name());
    let mistake = |(at, property): (usize, &Property)| {
        let twice = again(at).then_some("declared twice");
        let message = property.mistake().or(twice)?.to_owned();
        Some(Problem { path: property.name().to_owned(), message })
    };
    properties.iter().enumerate().filter_map(mistake).collect()
}

fn problems_of(errors: Vec<(String, Vec<u8>)>) -> Vec<Problem> {
    let problem = |(path, message): (String, Vec<u8>)| {
        let message = String::from_utf8_lossy(&message).into_owned();
        Problem { path, message }
    };
    errors.into_iter().map(problem).collect()
}
