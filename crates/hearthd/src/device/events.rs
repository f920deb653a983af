//! What the devices have to say, on its way to the driver: in order, bounded, and paced.
//!
//! An answer is never held up. A state that comes too fast waits, and a newer one of the same property takes its
//! place; so the last state always arrives, and a plugin that floods costs its own watchers alone.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Mutex,
    time::{Duration, Instant},
};

use hearthd_core::{Answer, RequestId};
use tokio::{sync::Notify, time::sleep};
use tracing::warn;

use super::DeviceEvent;
use crate::{
    boundary::rate_limit::{Bucket, Rate, Tally},
    sync::lock,
};

/// The way from all devices to the driver.
#[derive(Debug, Default)]
pub(crate) struct Post {
    inner: Mutex<Inner>,
    arrived: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    queue: VecDeque<Letter>,
    lanes: BTreeMap<String, Lane>,
    /// The devices whose states wait for their pace.
    held: BTreeSet<String>,
}

#[derive(Debug)]
enum Letter {
    Answer(RequestId, Answer),
    State(State),
    /// The device's newest saved state, which its lane keeps.
    Saved(String),
}

/// The state of one property.
#[derive(Clone, Debug)]
pub(crate) struct State {
    pub(crate) device: String,
    pub(crate) property: String,
    pub(crate) payload: bytes::Bytes,
    pub(crate) content_type: hearthd_core::ContentType,
    pub(crate) retain: bool,
}

/// What one device has under way.
#[derive(Debug)]
struct Lane {
    pace: Bucket,
    /// States in the queue.
    queued: usize,
    /// States that wait, one for each property, the longest wait first.
    held: VecDeque<State>,
    saved: Option<Vec<u8>>,
    left_out: Tally,
}

impl Lane {
    fn new() -> Self {
        Self {
            pace: Bucket::new(STATES, Instant::now()),
            queued: 0,
            held: VecDeque::new(),
            saved: None,
            left_out: Tally::default(),
        }
    }
}

impl Post {
    pub(crate) fn answer(&self, id: RequestId, answer: Answer) {
        lock(&self.inner).queue.push_back(Letter::Answer(id, answer));
        self.arrived.notify_one();
    }

    /// Reports a state that nobody asked for.
    pub(crate) fn state(&self, state: State) {
        lock(&self.inner).add_state(state, true, Instant::now());
        self.arrived.notify_one();
    }

    /// Reports a state that a request has brought about: requests set its pace.
    pub(crate) fn requested_state(&self, state: State) {
        lock(&self.inner).add_state(state, false, Instant::now());
        self.arrived.notify_one();
    }

    /// Has a device's state saved; a newer one takes the place of one that waits.
    pub(crate) fn saved(&self, device: &str, state: Vec<u8>) {
        let mut inner = lock(&self.inner);
        if inner.lane(device).saved.replace(state).is_none() {
            inner.queue.push_back(Letter::Saved(device.to_owned()));
        }
        drop(inner);
        self.arrived.notify_one();
    }

    /// Returns how many states of a device were left out.
    pub(crate) fn left_out(&self, device: &str) -> u64 {
        lock(&self.inner).lanes.get(device).map_or(0, |lane| lane.left_out.total())
    }

    /// Returns what has been said; none where nothing may be delivered now.
    pub(crate) fn take(&self) -> Option<DeviceEvent> {
        lock(&self.inner).take(Instant::now())
    }

    /// Waits until [`Post::take`] may have something, no longer than `most`.
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
    fn lane(&mut self, device: &str) -> &mut Lane {
        if !self.lanes.contains_key(device) {
            self.lanes.insert(device.to_owned(), Lane::new());
        }
        self.lanes.get_mut(device).expect("it is there or was just made")
    }

    fn add_state(&mut self, state: State, paced: bool, now: Instant) {
        let lane = self.lane(&state.device);
        let before = lane.held.len();
        lane.held.retain(|held| held.property != state.property);
        if lane.held.len() < before
            && let Some(states) = lane.left_out.count(now)
        {
            warn!(device = state.device, states, "the device floods the hub; states left out");
        }
        let room = lane.queued < QUEUED_BOUND;
        if room && (!paced || (lane.held.is_empty() && lane.pace.take(now))) {
            lane.queued += 1;
            if lane.held.is_empty() && before > 0 {
                self.held.remove(&state.device);
            }
            self.queue.push_back(Letter::State(state));
        } else {
            if before == 0 {
                self.held.insert(state.device.clone());
            }
            self.lane(&state.device).held.push_back(state);
        }
    }

    fn take(&mut self, now: Instant) -> Option<DeviceEvent> {
        self.release(now);
        Some(match self.queue.pop_front()? {
            Letter::Answer(id, answer) => DeviceEvent::Answered { id, answer },
            Letter::State(State { device, property, payload, content_type, retain }) => {
                self.lane(&device).queued -= 1;
                DeviceEvent::State { device, property, payload, content_type, retain }
            }
            Letter::Saved(device) => {
                let state = self.lane(&device).saved.take().unwrap_or_default();
                DeviceEvent::Saved { device, state }
            }
        })
    }

    /// Lets go what has waited long enough.
    fn release(&mut self, now: Instant) {
        let Self { queue, lanes, held } = self;
        held.retain(|device| {
            let Some(lane) = lanes.get_mut(device) else { return false };
            while lane.queued < QUEUED_BOUND && !lane.held.is_empty() && lane.pace.take(now) {
                let state = lane.held.pop_front().expect("it is not empty");
                lane.queued += 1;
                queue.push_back(Letter::State(state));
            }
            !lane.held.is_empty()
        });
    }

    fn due(&self) -> Option<Instant> {
        self.held.iter().filter_map(|device| Some(self.lanes.get(device)?.pace.next())).min()
    }
}

/// States of one device that nobody asked for.
const STATES: Rate = Rate { per_second: 50, burst: 200 };
/// States of one device on their way to the driver.
const QUEUED_BOUND: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    fn state(property: &str, payload: &str) -> State {
        State {
            device: "lamp".into(),
            property: property.into(),
            payload: payload.to_owned().into(),
            content_type: hearthd_core::ContentType::Text,
            retain: true,
        }
    }

    fn told(event: DeviceEvent) -> String {
        match event {
            DeviceEvent::Answered { id, .. } => format!("answer {}", id.0),
            DeviceEvent::State { property, payload, .. } => {
                format!("{property} {}", String::from_utf8_lossy(&payload))
            }
            DeviceEvent::Saved { state, .. } => {
                format!("saved {}", String::from_utf8_lossy(&state))
            }
        }
    }

    fn drain(inner: &mut Inner, now: Instant) -> Vec<String> {
        std::iter::from_fn(|| inner.take(now)).map(told).collect()
    }

    #[test]
    fn a_flood_of_states_is_paced_and_its_last_state_arrives() {
        let (mut inner, start) = (Inner::default(), Instant::now());
        inner.lane("lamp").pace = Bucket::new(STATES, start);
        for n in 0..100_000 {
            inner.add_state(state("level", &n.to_string()), true, start);
        }
        inner.add_state(state("power", "ON"), true, start);
        assert_eq!(drain(&mut inner, start).len(), STATES.burst as usize);
        assert_eq!(inner.lanes["lamp"].held.len(), 2, "one for each property");
        let due = inner.due().expect("something waits");
        assert!(due > start);
        let later = start + Duration::from_secs(1);
        assert_eq!(drain(&mut inner, later), ["level 99999", "power ON"]);
        assert_eq!(inner.lanes["lamp"].left_out.total(), 100_000 - 200 - 1);
        assert_eq!((inner.held.len(), inner.due()), (0, None));
    }

    #[test]
    fn answers_and_what_they_bring_about_overtake_a_flood() {
        let (mut inner, start) = (Inner::default(), Instant::now());
        inner.lane("lamp").pace = Bucket::new(STATES, start);
        for n in 0..1000 {
            inner.add_state(state("level", &n.to_string()), true, start);
        }
        drain(&mut inner, start);
        inner.queue.push_back(Letter::Answer(RequestId(1), Answer::no_content()));
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
        assert_eq!((inner.queue.len(), inner.lanes["lamp"].held.len()), (QUEUED_BOUND, 1));
        assert_eq!(inner.held.len(), 1);
    }

    #[test]
    fn of_several_saved_states_the_newest_arrives() {
        let post = Post::default();
        post.saved("lamp", b"1".to_vec());
        post.saved("lamp", b"2".to_vec());
        assert_eq!(post.take().map(told), Some("saved 2".into()));
        assert_eq!(post.take(), None);
        post.saved("lamp", b"3".to_vec());
        assert_eq!(post.take().map(told), Some("saved 3".into()));
    }
}
