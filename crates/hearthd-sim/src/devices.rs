//! Model devices: each carries out its requests one after the other, at its own speed, or never answers.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use hearthd_core::{Answer, DeclaredTopics, DevicePolicy, LastKnown, Request, RequestId, Status};

use crate::{
    link::{HubId, Life},
    plan::Setup,
};

/// The devices of the home, whichever hub has them, and what they are doing.
#[derive(Debug)]
pub(crate) struct Devices {
    /// When each device is free.
    busy_until: BTreeMap<Arc<str>, Duration>,
    pub(crate) jobs: Vec<Job>,
    /// The state of each property.
    pub(crate) states: BTreeMap<(String, String), Bytes>,
    /// What each property was, and since when.
    history: BTreeMap<(String, String), Vec<(Duration, Bytes)>>,
    /// Since when devices cannot reach what they stand for.
    out_of_reach: BTreeMap<String, Duration>,
    /// The devices whose plugins have crashed, and that have not begun again.
    restarting: BTreeSet<&'static str>,
    /// What a hub has told of a property last, in an answer, and when it was first asked for.
    told: BTreeMap<(String, String), (HubId, Bytes, Duration)>,
}

/// One request that a device is carrying out.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) life: Life,
    pub(crate) request: Request,
    since: Duration,
    /// When it takes effect, and when the device answers; none where it does not.
    pub(crate) takes_effect: Option<Duration>,
    pub(crate) answers: Option<(Duration, Answer)>,
    /// When the device tells the end of what it has accepted; none where it has not, or does not tell.
    pub(crate) ends: Option<(Duration, Answer)>,
}

/// Names, properties and manners of the devices.
pub(crate) const LAMP: &str = "lamp";
pub(crate) const HEATER: &str = "heater";
pub(crate) const BLINDS: &str = "blinds";
pub(crate) const BOILER: &str = "boiler";
pub(crate) const PUMP: &str = "pump";
/// Which devices ask which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asking {
    /// The lamp asks the heater.
    OneWay,
    /// And the heater asks the lamp: only two hubs that do not know of each other's devices allow that.
    InCircle,
}

/// Returns what a device asks for: another one, and a property of it.
pub(crate) fn asked_by(
    device: &str,
    asking: Option<Asking>,
) -> Option<(&'static str, &'static str)> {
    match (device, asking?) {
        (LAMP, _) => Some((HEATER, "target")),
        (HEATER, Asking::InCircle) => Some((LAMP, "power")),
        _ => None,
    }
}

/// The devices that any hub may have.
pub(crate) const MOVABLE: [&str; 3] = [LAMP, HEATER, BLINDS];
const PROPERTIES: [(&str, &str); 8] = [
    (LAMP, "power"),
    (HEATER, "target"),
    (BLINDS, "position"),
    (BLINDS, "step"),
    (BOILER, "power"),
    (BOILER, "valve"),
    (PUMP, "power"),
    (PUMP, "valve"),
];

/// Returns the devices that a hub begins with: those that act as its guard, and its share of the others.
pub(crate) fn initial(hub: HubId, setup: &Setup) -> BTreeSet<&'static str> {
    let guard = [BOILER, PUMP].get(hub.0).copied();
    let placed = MOVABLE.into_iter().zip(&setup.placement);
    let placed = placed.filter(|(_, place)| **place == hub).map(|(device, _)| device);
    placed.chain(guard).collect()
}

/// Returns how a hub shall treat each of its devices.
pub(crate) fn policies(
    devices: &BTreeSet<&'static str>,
    setup: &Setup,
) -> BTreeMap<String, DevicePolicy> {
    let policy = |device: &str| {
        let not_idempotent: &[&str] = match device {
            BLINDS => &["step"],
            BOILER | PUMP => &["valve"],
            _ => &[],
        };
        DevicePolicy {
            properties: properties_of(device).map(str::to_owned).collect(),
            execute_stale: setup.executes_stale,
            not_idempotent: not_idempotent.iter().map(|&property| property.to_owned()).collect(),
            topics: topics_of(device, setup.asking),
            ..DevicePolicy::new(DEADLINE)
        }
    };
    devices.iter().map(|&device| (device.to_owned(), policy(device))).collect()
}

/// Returns the MQTT topics that a device declares for itself. Those of the blinds are not allowed, and those of guards are
/// none: both have nothing to say there.
fn topics_of(device: &str, asking: Option<Asking>) -> DeclaredTopics {
    let base = match device {
        LAMP | HEATER => "bulbs",
        BLINDS => "strangers",
        _ => return DeclaredTopics::default(),
    };
    let pair = |purpose: &str, topic: String| (purpose.to_owned(), topic);
    let mut pairs = vec![
        pair("subscribe", format!("{base}/{device}")),
        pair("publish", format!("{base}/{device}/set")),
    ];
    pairs.extend(asked_by(device, asking).map(|(other, _)| pair("ask", other.to_owned())));
    DeclaredTopics::parse(&pairs).expect("the topics are valid")
}

/// What devices may use beside the prefix.
pub(crate) const BRIDGED: &str = "bulbs/#";

/// Lists the declared properties of a device.
fn properties_of(device: &str) -> impl Iterator<Item = &'static str> {
    PROPERTIES.into_iter().filter(move |(owner, _)| *owner == device).map(|(_, property)| property)
}

/// Lists what may be asked of these devices: each property, and what all have in common.
pub(crate) fn requests_of(
    devices: &BTreeSet<&'static str>,
) -> impl Iterator<Item = (&'static str, &'static str)> {
    let properties = PROPERTIES.into_iter().filter(|(device, _)| devices.contains(device));
    let verbs = devices.iter().flat_map(|device| ["get", "set", "describe"].map(|v| (*device, v)));
    properties.chain(verbs)
}

impl Devices {
    /// Makes the devices of one hub, ready and in their first states.
    pub(crate) fn new() -> Self {
        let key = |device: &str, property: &str| (device.to_owned(), property.to_owned());
        let states =
            PROPERTIES.map(|(device, property)| (key(device, property), Bytes::from_static(START)));
        let mut states = BTreeMap::from(states);
        for (device, _) in PROPERTIES {
            states.insert(key(device, "status"), Bytes::from_static(READY));
        }
        let begin = |(key, state): (&(String, String), &Bytes)| {
            (key.clone(), vec![(Duration::ZERO, state.clone())])
        };
        let history = states.iter().map(begin).collect();
        Self {
            busy_until: BTreeMap::new(),
            jobs: Vec::new(),
            states,
            history,
            out_of_reach: BTreeMap::new(),
            restarting: BTreeSet::new(),
            told: BTreeMap::new(),
        }
    }

    /// Returns a property by an arbitrary number.
    pub(crate) fn property(index: usize) -> (&'static str, &'static str) {
        PROPERTIES[index % PROPERTIES.len()]
    }

    /// A property is again what it was once: what was told of it before counts no more.
    pub(crate) fn forget_told(&mut self, device: &str, property: &str) {
        self.told.remove(&(device.to_owned(), property.to_owned()));
    }

    /// Notes that a property has another state now.
    pub(crate) fn change(&mut self, now: Duration, device: &str, property: &str, state: &Bytes) {
        let key = (device.to_owned(), property.to_owned());
        self.history.entry(key.clone()).or_default().push((now, state.clone()));
        self.states.insert(key, state.clone());
    }

    /// A device can no longer reach what it stands for, or can again; returns its status.
    pub(crate) fn change_reach(&mut self, now: Duration, device: &str) -> Bytes {
        if self.out_of_reach.remove(device).is_none() {
            self.out_of_reach.insert(device.to_owned(), now);
        }
        self.status(device)
    }

    /// Returns how a device says it is.
    pub(crate) fn status(&self, device: &str) -> Bytes {
        let is_lost = self.out_of_reach.contains_key(device);
        Bytes::from_static(match self.restarting.contains(device) {
            true => RESTARTING,
            false if is_lost => UNREACHABLE,
            false => READY,
        })
    }

    /// A device's plugin crashes: what it was doing is answered so, and it has forgotten what it was. Returns whether it was
    /// running.
    pub(crate) fn restart(&mut self, now: Duration, device: &'static str, back: Duration) -> bool {
        let runs = self.restarting.insert(device);
        if runs {
            for job in self.jobs.iter_mut().filter(|job| *job.request.device == *device) {
                (job.takes_effect, job.ends) = (None, None);
                job.answers = job.answers.take().map(|_| (now, Answer::crashed("it crashed")));
            }
            self.hold_back(device, back);
            for property in properties_of(device) {
                self.change(now, device, property, &Bytes::from_static(START));
                self.forget_told(device, property);
            }
        }
        runs
    }

    /// A device that has crashed begins again; returns its properties.
    pub(crate) fn begin_again(&mut self, device: &'static str) -> Vec<&'static str> {
        let runs = !self.restarting.remove(device);
        properties_of(device).filter(|_| !runs).collect()
    }

    /// A device that has crashed begins again with its hub instead; returns whether it had.
    pub(crate) fn begin_with_hub(&mut self, device: &str) -> bool {
        self.restarting.remove(device)
    }

    /// A device carries out nothing before a time.
    pub(crate) fn hold_back(&mut self, device: &str, until: Duration) {
        let busy = self.busy_until.entry(device.into()).or_default();
        *busy = until.max(*busy);
    }

    /// Returns since when a device cannot reach what it stands for; none where it can.
    pub(crate) fn out_of_reach(&self, device: &str) -> Option<String> {
        let since = self.out_of_reach.get(device).filter(|_| !self.restarting.contains(device));
        since.map(|since| since.as_millis().to_string())
    }

    /// Whether the status of any device has changed since this time.
    pub(crate) fn has_flickered(&self, since: Duration) -> bool {
        let mut statuses = self.history.iter().filter(|((_, property), _)| property == "status");
        statuses.any(|(_, history)| history.last().is_some_and(|(at, _)| *at >= since))
    }

    /// Whether a property had this state at any time from this one on.
    pub(crate) fn had_since(
        &self,
        device: &str,
        property: &str,
        state: &[u8],
        since: Duration,
    ) -> bool {
        let key = (device.to_owned(), property.to_owned());
        let Some(history) = self.history.get(&key) else { return false };
        let before = history.partition_point(|(at, _)| *at <= since).saturating_sub(1);
        history[before..].iter().any(|(_, was)| was == state)
    }

    /// Writes down what a device is.
    pub(crate) fn saved_form(&self, device: &str) -> Bytes {
        let own = self.states.iter().filter(|((owner, _), _)| owner == device);
        let lines = own
            .map(|((_, property), state)| format!("{property}={}", String::from_utf8_lossy(state)));
        lines.collect::<Vec<_>>().join("\n").into()
    }

    /// Lists what is different from what was written down: the property, what it is, and what it was.
    pub(crate) fn changes_to(&self, device: &str, saved: &Bytes) -> Vec<(String, Bytes, Bytes)> {
        let saved = String::from_utf8_lossy(saved);
        let before = |property: &str| {
            let mut lines = saved.lines().filter_map(|line| line.split_once('='));
            let line = lines.find(|(name, _)| *name == property);
            Bytes::from(line.map_or("start", |(_, state)| state).to_owned())
        };
        let own =
            self.states.iter().filter(|((owner, name), _)| owner == device && name != "status");
        let changes = own.map(|((_, name), is)| (name.clone(), is.clone(), before(name)));
        changes.filter(|(_, is, was)| is != was).collect()
    }

    /// A hub has told of a property in an answer to what was asked first at this time.
    pub(crate) fn note_told(
        &mut self,
        hub: HubId,
        device: &str,
        property: &str,
        state: Bytes,
        asked: Duration,
    ) {
        self.told.insert((device.to_owned(), property.to_owned()), (hub, state, asked));
    }

    /// Returns what a hub has told of a property that came to be after this state.
    pub(crate) fn told_since(
        &self,
        hub: HubId,
        device: &str,
        property: &str,
        before: &Bytes,
    ) -> Option<Bytes> {
        let key = (device.to_owned(), property.to_owned());
        let (_, told, asked) = self.told.get(&key).filter(|(by, ..)| *by == hub)?;
        let history = self.history.get(&key)?;
        // Asked for twice, it may have come to be again since.
        let came = history.iter().position(|(at, was)| at >= asked && was == told)?;
        let was_last = history.iter().rposition(|(_, was)| was == before)?;
        (came > was_last).then(|| told.clone())
    }

    /// A device begins, when it is free, to carry out a request.
    pub(crate) fn execute(
        &mut self,
        now: Duration,
        life: Life,
        request: Request,
        rng: &mut fastrand::Rng,
    ) {
        let busy = self.busy_until.entry(request.device.clone()).or_default();
        let begins = now.max(*busy);
        let takes = Duration::from_millis(match (&*request.device, rng.u8(..20)) {
            (HEATER, 0..5) => rng.u64(5_500..9_000),
            (HEATER, 5..12) => rng.u64(500..4_000),
            (_, 0) => rng.u64(100..6_000),
            _ => rng.u64(1..60),
        });
        let ends = begins + takes;
        *busy = ends;
        let answer = self.answer(&request, rng);
        let sets = !request.payload.is_empty() && answer.status.is_success();
        let takes_effect = sets.then(|| begins + takes / 2);
        // One in thirty answers never comes.
        let mut answers = (rng.u8(..30) > 0).then_some((ends, answer));
        let mut told = None;
        // Blinds move for a while, and do not always tell that they are there. By the number, so that what other devices
        // do in a seed stays what it was.
        if sets
            && *request.device == *BLINDS
            && request.id.0 % 4 == 1
            && let Some((_, answer)) = &mut answers
        {
            told = (request.id.0 % 20 > 1).then(|| (ends + MOVES, answer.clone()));
            *answer = answer.clone().accepted();
        }
        self.jobs.push(Job { life, request, since: now, takes_effect, answers, ends: told });
    }

    /// Returns when a device acts or answers next.
    pub(crate) fn next_due(&self) -> Option<Duration> {
        let due = |job: &Job| {
            let answers = job.answers.as_ref().map(|(at, _)| *at);
            let ends = job.ends.as_ref().map(|(at, _)| *at);
            [job.takes_effect, answers, ends].into_iter().flatten().min()
        };
        self.jobs.iter().filter_map(due).min()
    }

    /// Returns how many requests to set something a device has that it may still answer in time.
    pub(crate) fn waiting(&self, now: Duration, life: Life, device: &str) -> usize {
        let waits = |job: &&Job| {
            job.life == life
                && *job.request.device == *device
                && !job.request.payload.is_empty()
                && job.answers.is_some()
                && job.since + job.request.remaining > now
        };
        self.jobs.iter().filter(waits).count()
    }

    /// Whether a device has done something and not said so yet: what it says next is what it is.
    pub(crate) fn is_answering(&self, device: &str) -> bool {
        self.jobs.iter().any(|job| {
            *job.request.device == *device && job.takes_effect.is_none() && job.answers.is_some()
        })
    }

    /// Takes the next effect that is due: the property that changes with it.
    pub(crate) fn take_effect(&mut self, now: Duration) -> Option<(String, String, Bytes)> {
        let due = |job: &&mut Job| job.takes_effect.is_some_and(|at| at <= now);
        let job = self.jobs.iter_mut().find(due)?;
        job.takes_effect = None;
        let Request { device, property, payload, .. } = &job.request;
        let (property, state) = match &**property {
            "set" => ("position", position(payload)),
            property => (property, payload.clone()),
        };
        Some((device.to_string(), property.to_owned(), state))
    }

    /// Takes the next answer that is due, with the life of the daemon that it belongs to, and whether it tells what the
    /// device is.
    pub(crate) fn take_answer(
        &mut self,
        now: Duration,
    ) -> Option<(Life, Arc<str>, RequestId, Answer, bool)> {
        self.jobs.retain(|job| {
            job.takes_effect.is_some() || job.answers.is_some() || job.ends.is_some()
        });
        let due = |job: &Job| job.answers.as_ref().is_some_and(|(at, _)| *at <= now);
        let index = self.jobs.iter().position(due)?;
        let job = &mut self.jobs[index];
        let (_, mut answer) = job.answers.take()?;
        let (life, id) = (job.life, job.request.id);
        let Request { device, property, payload, .. } = job.request.clone();
        if payload.is_empty()
            && answer.status.is_success()
            && let Some(state) = self.states.get(&(device.to_string(), property.to_string()))
        {
            // It is read at the end, after all that was to be done before.
            answer = match self.out_of_reach(&device) {
                Some(since) if *property != *"status" => {
                    let value = String::from_utf8_lossy(state).into_owned().into();
                    Answer::unreachable("it is unplugged")
                        .with_last_known(LastKnown { value, since })
                }
                Some(_) | None => Answer::text(state.clone()),
            };
        }
        let reads = payload.is_empty();
        Some((life, device, id, answer, reads))
    }

    /// Takes the next end that is due of what a device has accepted.
    pub(crate) fn take_end(&mut self, now: Duration) -> Option<(Life, RequestId, Answer)> {
        let due = |job: &&mut Job| job.ends.as_ref().is_some_and(|(at, _)| *at <= now);
        let job = self.jobs.iter_mut().find(due)?;
        let (_, answer) = job.ends.take()?;
        Some((job.life, job.request.id, answer))
    }

    /// A hub's daemon is gone: devices that live in it stop where they are.
    pub(crate) fn daemon_gone(&mut self, hub: HubId, survive: bool) {
        if survive {
            return;
        }
        let Self { jobs, busy_until, .. } = self;
        jobs.retain(|job| {
            let stays = job.life.hub != hub;
            if !stays {
                busy_until.remove(&job.request.device);
            }
            stays
        });
    }

    fn answer(&self, request: &Request, rng: &mut fastrand::Rng) -> Answer {
        let key = (request.device.to_string(), request.property.to_string());
        let verb = matches!(&*request.property, "set" | "get" | "describe");
        if !verb && !self.states.contains_key(&key) {
            return Answer::failure(Status::NotFound, "it has no such property");
        }
        if request.payload.is_empty() {
            if *request.property == *"describe" {
                return Answer::text("power: ON or OFF; ".repeat(40));
            }
            return Answer::text(self.states.get(&key).cloned().unwrap_or_default());
        }
        match rng.u8(..60) {
            0 => Answer::failure(Status::Failed, "it broke"),
            1 => Answer::failure(Status::Unavailable, "it is unplugged"),
            2 => Answer::failure(Status::Unprocessable, "too much")
                .about(&request.property, Some("x")),
            3 => Answer::failure(Status::UnsupportedContentType, "no such type"),
            4..8 => Answer::no_content(),
            _ if *request.property == *"set" => {
                let position = String::from_utf8_lossy(&position(&request.payload)).into_owned();
                Answer::json(&serde_json::json!({ "position": position }))
            }
            _ => Answer::text(request.payload.clone()),
        }
    }
}

/// How long blinds move after they have accepted that.
const MOVES: Duration = Duration::from_secs(3);

/// Returns the position that a `set` names.
pub(crate) fn position(payload: &Bytes) -> Bytes {
    let text = std::str::from_utf8(payload).unwrap_or_default();
    let value = text.strip_prefix("{\"position\":\"").and_then(|rest| rest.strip_suffix("\"}"));
    value.map_or_else(|| payload.clone(), |value| Bytes::copy_from_slice(value.as_bytes()))
}

/// What a device is, as its status says.
pub(crate) const READY: &[u8] = b"ready";
const UNREACHABLE: &[u8] = b"unreachable";
const RESTARTING: &[u8] = b"restarting";
/// What every property is at first.
pub(crate) const START: &[u8] = b"start";

/// How long a device may take.
pub(crate) const DEADLINE: Duration = Duration::from_secs(5);
