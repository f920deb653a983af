//! What waits for a device: bounded, and awake as soon as there is something to do.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    mem,
    sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock},
    time::{Duration, Instant},
};

use hearthd_core::Request;

use super::{
    pool::{MemberId, Pool},
    worker::Successor,
};
use crate::{
    boundary::host::{Completion, TIMER_BOUND},
    sync,
};

/// The mailbox of one device.
#[derive(Debug)]
pub(crate) struct Mailbox {
    bound: usize,
    inner: Mutex<Inner>,
    changed: Condvar,
    /// Where the device takes its turns; unset where it has a thread of its own.
    member: OnceLock<(Arc<Pool>, MemberId)>,
}

#[derive(Debug, Default)]
struct Inner {
    requests: VecDeque<(Request, Instant)>,
    absences: VecDeque<String>,
    completions: VecDeque<Completion>,
    timers: BTreeMap<u32, Instant>,
    /// The commands that may still be completed.
    tokens: BTreeSet<u64>,
    woken: bool,
    /// The device has taken all its mail, and nothing has come since.
    asleep: bool,
    /// The instance has gone by itself.
    lost: bool,
    change: Option<Change>,
    /// Whose turn it is, so that neither a busy timer nor a flood of requests shuts the other out.
    requests_first: bool,
    stopping: bool,
    stopped: bool,
}

/// What became of a request that was pushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pushed {
    /// The device comes to it by itself.
    Awake,
    /// The device waits, and somebody must [`Mailbox::notify`] it.
    Asleep,
    /// It does not fit.
    Full,
}

/// What becomes of a device whose requests wait meanwhile.
#[derive(Debug)]
pub(crate) enum Change {
    /// Its instance is created anew.
    Restart,
    /// Another takes its place.
    Replace(Box<Successor>),
}

/// What the device does next.
#[derive(Debug)]
pub(crate) enum Next {
    Stop,
    Completion(Completion),
    Absence(String),
    Timer(u32),
    Wake,
    Request(Request, Instant),
    /// The instance has gone by itself.
    Lost,
    Change(Change),
    /// The time that the device asked for has come.
    Due,
    /// There is nothing to do before this time.
    Nothing(Option<Instant>),
}

/// What the device can take now.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ready {
    /// No command is pending.
    pub(crate) requests: bool,
    /// There is an instance; an absence waits for one.
    pub(crate) instance: bool,
}

impl Mailbox {
    pub(crate) fn new(bound: usize) -> Self {
        Self { bound, inner: Mutex::default(), changed: Condvar::new(), member: OnceLock::new() }
    }

    /// Has the device take its turns in a pool.
    pub(crate) fn belong_to(&self, pool: Arc<Pool>, id: MemberId) {
        // A device joins one pool; a reload that changes it keeps its mailbox and its place.
        let _ = self.member.set((pool, id));
    }

    /// Returns where the device takes its turns; none where it has a thread of its own.
    pub(crate) fn member(&self) -> Option<MemberId> {
        self.member.get().map(|(_, id)| *id)
    }

    /// Adds a request where it fits.
    pub(crate) fn push(&self, request: Request) -> Pushed {
        let mut inner = self.lock();
        if inner.requests.len() >= self.bound {
            return Pushed::Full;
        }
        inner.requests.push_back((request, Instant::now()));
        if mem::take(&mut inner.asleep) { Pushed::Asleep } else { Pushed::Awake }
    }

    /// Has the device look at its mail.
    pub(crate) fn notify(&self) {
        match self.member.get() {
            Some((pool, id)) => pool.wake([*id]),
            None => self.changed.notify_all(),
        }
    }

    /// Adds an absence; the oldest gives way where too many wait.
    pub(crate) fn push_absence(&self, absence: String) {
        self.change(|inner| {
            if inner.absences.len() >= ABSENCE_BOUND {
                inner.absences.pop_front();
            }
            inner.absences.push_back(absence);
        });
    }

    /// Makes a command's token known.
    pub(crate) fn expect(&self, token: u64) {
        self.lock().tokens.insert(token);
    }

    /// Forgets a token; a later completion gets GONE.
    pub(crate) fn forget(&self, token: u64) {
        let mut inner = self.lock();
        inner.tokens.remove(&token);
        inner.completions.retain(|completion| completion.token != token);
    }

    /// Adds an answer; false where nobody waits for it.
    pub(crate) fn complete(&self, completion: Completion) -> bool {
        self.change(|inner| {
            let expected = inner.tokens.remove(&completion.token);
            if expected {
                inner.completions.push_back(completion);
            }
            expected
        })
    }

    /// Arms a timer, or disarms it; false where too many are armed.
    pub(crate) fn set_timer(&self, id: u32, delay: Option<Duration>) -> bool {
        self.change(|inner| {
            let due = delay.and_then(|delay| Instant::now().checked_add(delay));
            let Some(due) = due else {
                inner.timers.remove(&id);
                return true;
            };
            let fits = inner.timers.len() < TIMER_BOUND || inner.timers.contains_key(&id);
            if fits {
                inner.timers.insert(id, due);
            }
            fits
        })
    }

    pub(crate) fn wake(&self) {
        self.change(|inner| inner.woken = true);
    }

    /// Says that the instance has gone by itself.
    pub(crate) fn lost(&self) {
        self.change(|inner| inner.lost = true);
    }

    /// Has the device change once no command is pending; the last change before that counts.
    pub(crate) fn push_change(&self, change: Change) {
        self.change(|inner| match (&inner.change, change) {
            // The successor is created anew in any case.
            (Some(Change::Replace(_)), Change::Restart) => {}
            (_, change) => inner.change = Some(change),
        });
    }

    /// Takes all requests that wait, for a device that executes none any more.
    pub(crate) fn drain(&self) -> Vec<Request> {
        self.lock().requests.drain(..).map(|(request, _)| request).collect()
    }

    pub(crate) fn stop(&self) {
        self.change(|inner| inner.stopping = true);
    }

    /// The device has ended.
    pub(crate) fn stopped(&self) {
        self.lock().stopped = true;
        self.changed.notify_all();
    }

    pub(crate) fn has_stopped(&self) -> bool {
        self.lock().stopped
    }

    pub(crate) fn wait_until_stopped(&self, deadline: Instant) -> bool {
        let mut inner = self.lock();
        while !inner.stopped {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            inner = sync::wait(&self.changed, inner, Some(left));
        }
        true
    }

    /// The instance is gone: its timers and wakes with it.
    pub(crate) fn reset(&self) {
        let mut inner = self.lock();
        inner.timers.clear();
        inner.tokens.clear();
        inner.completions.clear();
        inner.woken = false;
        inner.lost = false;
    }

    /// Takes what the device does next and can be `ready` for; `due` is when it has something to do by itself.
    pub(crate) fn take(&self, ready: Ready, due: Option<Instant>) -> Next {
        let mut inner = self.lock();
        let now = Instant::now();
        if let Some(next) = inner.take_urgent() {
            return next;
        }
        if due.is_some_and(|due| due <= now) {
            return Next::Due;
        }
        if let Some(next) = inner.take(now, ready) {
            return next;
        }
        inner.asleep = true;
        Next::Nothing(inner.timers.values().copied().chain(due).min())
    }

    /// Waits until something has come since [`Mailbox::take`] found nothing, no longer than `until`.
    pub(crate) fn wait(&self, until: Option<Instant>) {
        let mut inner = self.lock();
        while inner.asleep {
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                break;
            }
            inner = sync::wait(&self.changed, inner, left);
        }
        inner.asleep = false;
    }

    /// Changes what waits, and has the device look at it.
    fn change<T>(&self, change: impl FnOnce(&mut Inner) -> T) -> T {
        let mut inner = self.lock();
        let result = change(&mut inner);
        let asleep = mem::take(&mut inner.asleep);
        drop(inner);
        if asleep {
            self.notify();
        }
        result
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        sync::lock(&self.inner)
    }
}

impl Inner {
    fn take_urgent(&mut self) -> Option<Next> {
        if self.stopping {
            return Some(Next::Stop);
        }
        if mem::take(&mut self.lost) {
            return Some(Next::Lost);
        }
        self.completions.pop_front().map(Next::Completion)
    }

    fn take(&mut self, now: Instant, ready: Ready) -> Option<Next> {
        if ready.requests
            && let Some(change) = self.change.take()
        {
            return Some(Next::Change(change));
        }
        if ready.instance
            && let Some(absence) = self.absences.pop_front()
        {
            return Some(Next::Absence(absence));
        }
        self.requests_first = !self.requests_first;
        if self.requests_first {
            self.take_request(ready).or_else(|| self.take_event(now))
        } else {
            self.take_event(now).or_else(|| self.take_request(ready))
        }
    }

    fn take_request(&mut self, ready: Ready) -> Option<Next> {
        let (request, since) = ready.requests.then(|| self.requests.pop_front()).flatten()?;
        Some(Next::Request(request, since))
    }

    fn take_event(&mut self, now: Instant) -> Option<Next> {
        let fired = self.timers.iter().filter(|(_, due)| **due <= now).min_by_key(|(_, due)| **due);
        if let Some((&id, _)) = fired {
            self.timers.remove(&id);
            return Some(Next::Timer(id));
        }
        mem::take(&mut self.woken).then_some(Next::Wake)
    }
}

const ABSENCE_BOUND: usize = 8;
