//! Model devices: each carries its requests out one after the other, in its own time, or never answers.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use hearth_core::{Answer, DevicePolicy, Request, RequestId, Status};

/// The devices of the home, and what they are doing.
#[derive(Debug)]
pub(crate) struct Devices {
    /// When each device is free.
    busy_until: BTreeMap<Arc<str>, Duration>,
    pub(crate) jobs: Vec<Job>,
    /// The state of each property.
    pub(crate) states: BTreeMap<(String, String), Bytes>,
}

/// One request that a device is carrying out.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) life: u32,
    pub(crate) request: Request,
    since: Duration,
    /// When it takes effect, and when the device answers; none where it does not.
    pub(crate) takes_effect: Option<Duration>,
    pub(crate) answers: Option<(Duration, Answer)>,
}

/// Names, properties and manners of the devices.
pub(crate) const LAMP: &str = "lamp";
pub(crate) const HEATER: &str = "heater";
pub(crate) const BLINDS: &str = "blinds";
pub(crate) const BOILER: &str = "boiler";
const PROPERTIES: [(&str, &str); 6] = [
    (LAMP, "power"),
    (HEATER, "target"),
    (BLINDS, "position"),
    (BLINDS, "step"),
    (BOILER, "power"),
    (BOILER, "valve"),
];

/// Returns how the hub shall treat each device.
pub(crate) fn policies(executes_stale: bool) -> BTreeMap<String, DevicePolicy> {
    let policy = |not_idempotent: &[&str]| DevicePolicy {
        execute_stale: executes_stale,
        not_idempotent: not_idempotent.iter().map(|&property| property.to_owned()).collect(),
        ..DevicePolicy::new(DEADLINE)
    };
    [
        (LAMP, policy(&[])),
        (HEATER, policy(&[])),
        (BLINDS, policy(&["step"])),
        (BOILER, policy(&["valve"])),
    ]
    .map(|(device, policy)| (device.to_owned(), policy))
    .into()
}

impl Devices {
    pub(crate) fn new() -> Self {
        let states = PROPERTIES.map(|(device, property)| {
            ((device.to_owned(), property.to_owned()), Bytes::from_static(b"start"))
        });
        Self { busy_until: BTreeMap::new(), jobs: Vec::new(), states: states.into() }
    }

    /// Returns a property by an arbitrary number.
    pub(crate) fn property(index: usize) -> (&'static str, &'static str) {
        PROPERTIES[index % PROPERTIES.len()]
    }

    /// A device begins, when it is free, to carry out a request.
    pub(crate) fn execute(
        &mut self,
        now: Duration,
        life: u32,
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
        let answers = (rng.u8(..30) > 0).then_some((ends, answer));
        self.jobs.push(Job { life, request, since: now, takes_effect, answers });
    }

    pub(crate) fn next_due(&self) -> Option<Duration> {
        let due = |job: &Job| {
            let answers = job.answers.as_ref().map(|(at, _)| *at);
            [job.takes_effect, answers].into_iter().flatten().min()
        };
        self.jobs.iter().filter_map(due).min()
    }

    /// Returns how many requests to set something a device has that it may still answer in time.
    pub(crate) fn waiting(&self, now: Duration, life: u32, device: &str) -> usize {
        let waits = |job: &&Job| {
            job.life == life
                && *job.request.device == *device
                && !job.request.payload.is_empty()
                && job.answers.is_some()
                && job.since + job.request.remaining > now
        };
        self.jobs.iter().filter(waits).count()
    }

    /// Takes the next effect that is due: the property that changes with it.
    pub(crate) fn take_effect(&mut self, now: Duration) -> Option<(String, String, Bytes)> {
        let due = |job: &&mut Job| job.takes_effect.is_some_and(|at| at <= now);
        let job = self.jobs.iter_mut().find(due)?;
        job.takes_effect = None;
        let Request { device, property, payload, .. } = &job.request;
        let property = if **property == *"set" { "position" } else { property };
        Some((device.to_string(), property.to_owned(), payload.clone()))
    }

    /// Takes the next answer that is due, with the life of the daemon that it belongs to.
    pub(crate) fn take_answer(&mut self, now: Duration) -> Option<(u32, RequestId, Answer)> {
        self.jobs.retain(|job| job.takes_effect.is_some() || job.answers.is_some());
        let due = |job: &Job| job.answers.as_ref().is_some_and(|(at, _)| *at <= now);
        let index = self.jobs.iter().position(due)?;
        let job = &mut self.jobs[index];
        let (_, answer) = job.answers.take()?;
        Some((job.life, job.request.id, answer))
    }

    /// The daemon is gone: devices that live in it stop where they are.
    pub(crate) fn daemon_gone(&mut self, survive: bool) {
        if !survive {
            self.jobs.clear();
            self.busy_until.clear();
        }
    }

    fn answer(&self, request: &Request, rng: &mut fastrand::Rng) -> Answer {
        if request.payload.is_empty() {
            if *request.property == *"describe" {
                return Answer::text("power: ON or OFF; ".repeat(40));
            }
            let key = (request.device.to_string(), request.property.to_string());
            return Answer::text(self.states.get(&key).cloned().unwrap_or_default());
        }
        match rng.u8(..60) {
            0 => Answer::failure(Status::Failed, "it broke"),
            1 => Answer::failure(Status::Unavailable, "it is unplugged"),
            2 => Answer::failure(Status::Unprocessable, "too much")
                .about(&request.property, Some("x")),
            3 => Answer::failure(Status::UnsupportedContentType, "no such type"),
            4..8 => Answer::no_content(),
            _ => Answer::text(request.payload.clone()),
        }
    }
}

/// How long a device may take.
pub(crate) const DEADLINE: Duration = Duration::from_secs(5);
