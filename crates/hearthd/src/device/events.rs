//! The reports of the devices on their way to the driver: in order, bounded, and at a limited rate.
//!
//! An answer is never delayed. A state above the rate waits, and a newer state of the same property replaces it. So the
//! last state always arrives, and a plugin that floods delays only its own states.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    mem,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use hearthd_core::{Answer, BridgeInput, PropertyEvent, PropertyState, RequestId};
use tokio::{sync::Notify, time::sleep};
use tracing::warn;

use super::{DeviceEvent, clock::Clock};
use crate::{
    boundary::rate_limit::{Bucket, Rate, Tally},
    sync::lock,
};

/// The way from all devices to the driver.
#[derive(Debug, Default)]
pub(crate) struct EventQueue {
    clock: Arc<Clock>,
    inner: Mutex<Inner>,
    arrived: Notify,
}

/// What waits for the driver.
#[derive(Debug, Default)]
struct Inner {
    queue: VecDeque<QueuedEvent>,
    by_device: BTreeMap<String, DeviceQueue>,
    /// The devices whose states wait until their rate allows them.
    held: BTreeSet<String>,
}

/// One thing that waits for the driver, in the order of its coming.
#[derive(Debug)]
enum QueuedEvent {
    Answer(RequestId, Answer),
    Ended(RequestId, Answer),
    State(PropertyState),
    Happened(PropertyEvent),
    /// The device's newest saved state, which its queue keeps.
    Saved(String),
    /// The devices that a device has added are others.
    Children(String),
    /// What a device wants of MQTT: as many as it may have under way.
    Bridge(String, BridgeInput),
}

/// What one device has under way.
#[derive(Debug)]
struct DeviceQueue {
    bucket: Bucket,
    /// States in the queue.
    queued: usize,
    /// States that wait, one for each property, the longest wait first.
    held: VecDeque<PropertyState>,
    saved: Option<Vec<u8>>,
    /// Its children are in the queue.
    children: bool,
    /// The device is no more: this is kept as long as something of it is in the queue.
    gone: bool,
    left_out: Tally,
    happenings: Happenings,
}

/// How fast things may happen at one device.
#[derive(Debug)]
struct Happenings {
    bucket: Bucket,
    /// Events in the queue.
    queued: usize,
    /// How many were left out since the last one that was told.
    left_out: u64,
}

impl DeviceQueue {
    fn new() -> Self {
        Self {
            bucket: Bucket::new(STATES, Instant::now()),
            queued: 0,
            held: VecDeque::new(),
            saved: None,
            children: false,
            gone: false,
            left_out: Tally::default(),
            happenings: Happenings {
                bucket: Bucket::new(EVENTS, Instant::now()),
                queued: 0,
                left_out: 0,
            },
        }
    }

    fn is_idle(&self) -> bool {
        let waits = self.queued > 0 || self.happenings.queued > 0 || self.saved.is_some();
        !waits && self.held.is_empty() && !self.children
    }
}

impl EventQueue {
    /// Makes an empty queue whose rates follow this clock.
    pub(crate) fn new(clock: Arc<Clock>) -> Self {
        Self { clock, ..Self::default() }
    }

    /// Returns the clock of the devices that report here.
    pub(crate) fn clock(&self) -> Arc<Clock> {
        Arc::clone(&self.clock)
    }

    /// Adds an answer; it is never delayed by states.
    pub(crate) fn answer(&self, id: RequestId, answer: Answer) {
        lock(&self.inner).queue.push_back(QueuedEvent::Answer(id, answer));
        self.arrived.notify_one();
    }

    /// Adds the end of a request that was accepted.
    pub(crate) fn ended(&self, id: RequestId, answer: Answer) {
        lock(&self.inner).queue.push_back(QueuedEvent::Ended(id, answer));
        self.arrived.notify_one();
    }

    /// Reports a state without a request.
    pub(crate) fn state(&self, state: PropertyState) {
        lock(&self.inner).add_state(state, true, self.clock.now());
        self.arrived.notify_one();
    }

    /// Reports a state that a request has brought about: the requests limit its rate.
    pub(crate) fn requested_state(&self, state: PropertyState) {
        lock(&self.inner).add_state(state, false, self.clock.now());
        self.arrived.notify_one();
    }

    /// Tells that something has happened at a device; what comes too fast is counted in the next one.
    pub(crate) fn happened(&self, device: &str, property: &str, event: &str) {
        lock(&self.inner).add_event(device, property, event, self.clock.now());
        self.arrived.notify_one();
    }

    /// Has a device's state saved; a newer one takes the place of one that waits.
    pub(crate) fn saved(&self, device: &str, state: Vec<u8>) {
        let mut inner = lock(&self.inner);
        if inner.of_device(device).saved.replace(state).is_none() {
            inner.queue.push_back(QueuedEvent::Saved(device.to_owned()));
        }
        drop(inner);
        self.arrived.notify_one();
    }

    /// Tells that the devices which a device has added are others; once for all changes that wait to be told.
    pub(crate) fn children(&self, device: &str) {
        let mut inner = lock(&self.inner);
        if !mem::replace(&mut inner.of_device(device).children, true) {
            inner.queue.push_back(QueuedEvent::Children(device.to_owned()));
        }
        drop(inner);
        self.arrived.notify_one();
    }

    /// Says what a device wants of MQTT.
    pub(crate) fn bridge(&self, device: &str, input: BridgeInput) {
        lock(&self.inner).queue.push_back(QueuedEvent::Bridge(device.to_owned(), input));
        self.arrived.notify_one();
    }

    /// Forgets a device that is no more, once nothing of it is in the queue; what its rate has held back is not told.
    pub(crate) fn forget(&self, device: &str) {
        let mut inner = lock(&self.inner);
        inner.held.remove(device);
        if let Some(of_device) = inner.by_device.get_mut(device) {
            of_device.gone = true;
            of_device.held.clear();
        }
        inner.remove_if_gone(device);
    }

    /// Returns how many states of a device were left out.
    pub(crate) fn left_out(&self, device: &str) -> u64 {
        lock(&self.inner).by_device.get(device).map_or(0, |of_device| of_device.left_out.total())
    }

    /// Returns the next report; `None` if nothing may be delivered now.
    pub(crate) fn take(&self) -> Option<DeviceEvent> {
        lock(&self.inner).take(self.clock.now())
    }

    /// Waits until [`EventQueue::take`] may have something, no longer than `most`.
    pub(crate) async fn wait(&self, most: Duration) {
        let due = lock(&self.inner).due();
        let left = due.map(|due| due.saturating_duration_since(Instant::now()));
        tokio::select! {
            () = self.arrived.notified() => {}
            () = sleep(left.unwrap_or(most).min(most)) => {}
        }
    }
}

impl Inner {
    fn of_device(&mut self, device: &str) -> &mut DeviceQueue {
        if !self.by_device.contains_key(device) {
            self.by_device.insert(device.to_owned(), DeviceQueue::new());
        }
        self.by_device.get_mut(device).expect("it is there or was just made")
    }

    fn remove_if_gone(&mut self, device: &str) {
        if self.by_device.get(device).is_some_and(|it| it.gone && it.is_idle()) {
            self.by_device.remove(device);
        }
    }

    fn add_state(&mut self, state: PropertyState, limited: bool, now: Instant) {
        let of_device = self.of_device(&state.device);
        of_device.gone = false;
        let before = of_device.held.len();
        of_device.held.retain(|held| held.property != state.property);
        if of_device.held.len() < before
            && let Some(states) = of_device.left_out.count(now)
        {
            warn!(device = state.device, states, "the device floods the hub; states left out");
        }
        let room = of_device.queued < QUEUED_BOUND;
        if room && (!limited || (of_device.held.is_empty() && of_device.bucket.take(now))) {
            of_device.queued += 1;
            if of_device.held.is_empty() && before > 0 {
                self.held.remove(&state.device);
            }
            self.queue.push_back(QueuedEvent::State(state));
        } else {
            if before == 0 {
                self.held.insert(state.device.clone());
            }
            self.of_device(&state.device).held.push_back(state);
        }
    }

    fn add_event(&mut self, device: &str, property: &str, event: &str, now: Instant) {
        let of_device = self.of_device(device);
        of_device.gone = false;
        let happenings = &mut of_device.happenings;
        if happenings.queued >= EVENTS_QUEUED || !happenings.bucket.take(now) {
            happenings.left_out += 1;
            return;
        }
        happenings.queued += 1;
        let left_out = std::mem::take(&mut happenings.left_out);
        let (device, property, event) = (device.into(), property.into(), event.into());
        let happened = PropertyEvent { device, property, event, left_out };
        self.queue.push_back(QueuedEvent::Happened(happened));
    }

    fn take(&mut self, now: Instant) -> Option<DeviceEvent> {
        self.release(now);
        Some(match self.queue.pop_front()? {
            QueuedEvent::Answer(id, answer) => DeviceEvent::Answered { id, answer },
            QueuedEvent::Ended(id, answer) => DeviceEvent::Ended { id, answer },
            QueuedEvent::State(state) => {
                self.of_device(&state.device).queued -= 1;
                self.remove_if_gone(&state.device);
                DeviceEvent::State(state)
            }
            QueuedEvent::Happened(happened) => {
                self.of_device(&happened.device).happenings.queued -= 1;
                self.remove_if_gone(&happened.device);
                DeviceEvent::Happened(happened)
            }
            QueuedEvent::Bridge(device, input) => DeviceEvent::Bridge { device, input },
            QueuedEvent::Children(device) => {
                self.of_device(&device).children = false;
                DeviceEvent::Children { device, children: Vec::new() }
            }
            QueuedEvent::Saved(device) => {
                let state = self.of_device(&device).saved.take().unwrap_or_default();
                DeviceEvent::Saved { device, state }
            }
        })
    }

    /// Lets go what has waited long enough.
    fn release(&mut self, now: Instant) {
        let Self { queue, by_device, held } = self;
        held.retain(|device| {
            let Some(of_device) = by_device.get_mut(device) else { return false };
            while of_device.queued < QUEUED_BOUND
                && !of_device.held.is_empty()
                && of_device.bucket.take(now)
            {
                let state = of_device.held.pop_front().expect("it is not empty");
                of_device.queued += 1;
                queue.push_back(QueuedEvent::State(state));
            }
            !of_device.held.is_empty()
        });
    }

    fn due(&self) -> Option<Instant> {
        self.held.iter().filter_map(|device| Some(self.by_device.get(device)?.bucket.next())).min()
    }
}

/// States of one device without a request.
const STATES: Rate = Rate { per_second: 50, burst: 200 };
/// States of one device on their way to the driver.
const QUEUED_BOUND: usize = 256;
/// What happens at one device.
const EVENTS: Rate = Rate { per_second: 5, burst: 10 };
/// Events of one device on their way to the driver.
const EVENTS_QUEUED: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    fn state(property: &str, payload: &str) -> PropertyState {
        PropertyState {
            device: "lamp".into(),
            property: property.into(),
            payload: payload.to_owned().into(),
            content_type: hearthd_core::ContentType::Text,
            retain: true,
            details: Vec::new(),
        }
    }

    fn told(event: DeviceEvent) -> String {
        match event {
            DeviceEvent::Answered { id, .. } => format!("answer {}", id.0),
            DeviceEvent::Ended { id, .. } => format!("end {}", id.0),
            DeviceEvent::State(PropertyState { property, payload, .. }) => {
                format!("{property} {}", String::from_utf8_lossy(&payload))
            }
            DeviceEvent::Happened(PropertyEvent { property, event, left_out, .. }) => {
                format!("{property}: {event}, {left_out} left out")
            }
            DeviceEvent::Bridge { device, input } => format!("{device} {input:?}"),
            DeviceEvent::Children { device, .. } => format!("children of {device}"),
            DeviceEvent::Saved { state, .. } => {
                format!("saved {}", String::from_utf8_lossy(&state))
            }
        }
    }

    fn drain(inner: &mut Inner, now: Instant) -> Vec<String> {
        std::iter::from_fn(|| inner.take(now)).map(told).collect()
    }

    #[test]
    fn a_flood_of_states_is_limited_and_its_last_state_arrives() {
        let (mut inner, start) = (Inner::default(), Instant::now());
        inner.of_device("lamp").bucket = Bucket::new(STATES, start);
        for n in 0..100_000 {
            inner.add_state(state("level", &n.to_string()), true, start);
        }
        inner.add_state(state("power", "ON"), true, start);
        assert_eq!(drain(&mut inner, start).len(), STATES.burst as usize);
        assert_eq!(inner.by_device["lamp"].held.len(), 2, "one for each property");
        let due = inner.due().expect("something waits");
        assert!(due > start);
        let later = start + Duration::from_secs(1);
        assert_eq!(drain(&mut inner, later), ["level 99999", "power ON"]);
        assert_eq!(inner.by_device["lamp"].left_out.total(), 100_000 - 200 - 1);
        assert_eq!((inner.held.len(), inner.due()), (0, None));
    }

    #[test]
    fn answers_and_what_they_bring_about_overtake_a_flood() {
        let (mut inner, start) = (Inner::default(), Instant::now());
        inner.of_device("lamp").bucket = Bucket::new(STATES, start);
        for n in 0..1000 {
            inner.add_state(state("level", &n.to_string()), true, start);
        }
        drain(&mut inner, start);
        inner.queue.push_back(QueuedEvent::Answer(RequestId(1), Answer::no_content()));
        inner.add_state(state("level", "asked"), false, start);
        assert_eq!(drain(&mut inner, start), ["answer 1", "level asked"]);
        let later = start + Duration::from_secs(60);
        assert_eq!(drain(&mut inner, later), [""; 0], "the older state has given way");
    }

    #[test]
    fn a_driver_that_takes_nothing_costs_a_bounded_queue() {
        let (mut inner, start) = (Inner::default(), Instant::now());
        for n in 0..10_000 {
            inner.add_state(state("level", &n.to_string()), false, start);
        }
        assert_eq!((inner.queue.len(), inner.by_device["lamp"].held.len()), (QUEUED_BOUND, 1));
        assert_eq!(inner.held.len(), 1);
    }

    #[test]
    fn of_events_that_come_too_fast_the_next_one_tells_how_many_were_left_out() {
        let (mut inner, start) = (Inner::default(), Instant::now());
        inner.of_device("door").happenings.bucket = Bucket::new(EVENTS, start);
        for _ in 0..100 {
            inner.add_event("door", "bell", "press", start);
        }
        let told = drain(&mut inner, start);
        assert_eq!(told, vec!["bell: press, 0 left out"; EVENTS.burst as usize]);
        inner.add_event("lamp", "bell", "press", start);
        assert_eq!(drain(&mut inner, start), ["bell: press, 0 left out"], "another device");
        inner.add_event("door", "bell", "double", start + Duration::from_secs(1));
        assert_eq!(drain(&mut inner, start), ["bell: double, 90 left out"]);
        let mut later = start;
        for _ in 0..1_000 {
            later += Duration::from_secs(1);
            inner.add_event("door", "bell", "press", later);
        }
        assert_eq!(inner.queue.len(), EVENTS_QUEUED, "a driver that takes nothing");
    }

    #[test]
    fn nothing_is_left_of_a_device_that_is_gone_once_the_driver_has_taken_all() {
        let (events, start) = (EventQueue::default(), Instant::now());
        for n in 0..STATES.burst + 1 {
            lock(&events.inner).add_state(state("level", &n.to_string()), true, start);
        }
        events.happened("lamp", "bell", "press");
        events.forget("lamp");
        assert!(lock(&events.inner).held.is_empty(), "what waited for its time is not told");
        assert_eq!(lock(&events.inner).by_device.len(), 1);
        while events.take().is_some() {}
        assert!(lock(&events.inner).by_device.is_empty());
        // One of the same name is another one.
        events.happened("lamp", "bell", "press");
        events.forget("lamp");
        lock(&events.inner).add_state(state("level", "1"), true, start);
        while events.take().is_some() {}
        assert_eq!(lock(&events.inner).by_device.len(), 1);
    }

    #[test]
    fn of_several_saved_states_the_newest_arrives() {
        let events = EventQueue::default();
        events.saved("lamp", b"1".to_vec());
        events.saved("lamp", b"2".to_vec());
        assert_eq!(events.take().map(told), Some("saved 2".into()));
        assert_eq!(events.take(), None);
        events.saved("lamp", b"3".to_vec());
        assert_eq!(events.take().map(told), Some("saved 3".into()));
    }
}
