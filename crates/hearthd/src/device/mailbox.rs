//! The queue of a device: bounded, and it wakes the pool as soon as there is something to do.

use std::{
    collections::{BTreeMap, VecDeque},
    mem,
    sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock},
    time::{Duration, Instant},
};

use hearthd_core::{Request, RequestId};
use hearthd_sdk::abi;

use super::{
    bridge_mail::{BridgeMail, BridgeQueue},
    clock::Clock,
    pool::{MemberId, Pool},
    worker::Successor,
};
use crate::{
    boundary::{
        host::{Completion, TIMER_BOUND},
        under_way::UnderWay,
    },
    sync,
};

/// The mailbox of one device.
#[derive(Debug)]
pub(crate) struct Mailbox {
    pub(crate) clock: Arc<Clock>,
    bound: usize,
    inner: Mutex<Inner>,
    changed: Condvar,
    /// Where the device takes its turns; unset where it has a thread of its own.
    member: OnceLock<(Arc<Pool>, MemberId)>,
    /// That of the device that has added this one, and serves it in its own turns.
    parent: Option<Arc<Self>>,
}

/// What waits, and for what.
#[derive(Debug, Default)]
struct Inner {
    requests: VecDeque<(Request, Instant)>,
    absences: VecDeque<String>,
    /// Commands that the plugin has accepted, and how long their ends may take.
    accepted: VecDeque<(u64, Duration)>,
    completions: VecDeque<Completion>,
    timers: BTreeMap<u32, Instant>,
    /// The commands that have no answer yet, and their requests.
    tokens: BTreeMap<u64, RequestId>,
    under_way: UnderWay,
    bridged: BridgeQueue,
    woken: bool,
    /// The device has taken all its mail, and nothing has come since.
    asleep: bool,
    /// The instance has ended by itself.
    lost: bool,
    change: Option<Change>,
    /// Whose turn it is, so that neither a busy timer nor a flood of requests shuts the other out.
    requests_first: bool,
    /// Likewise timers, and what comes over MQTT.
    timers_first: bool,
    stopping: bool,
    stopped: bool,
}

/// What became of a request that was pushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pushed {
    /// The device notices it by itself.
    Awake,
    /// The device waits, and the caller must [`Mailbox::notify`] it.
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
    Bridge(BridgeMail),
    /// The command of this token is under way, for this long at most.
    Accepted(u64, Duration),
    Completion(Completion),
    Absence(String),
    Timer(u32),
    Wake,
    Request(Request, Instant),
    /// The instance has ended by itself.
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
    /// Makes an empty mailbox for up to `bound` requests.
    pub(crate) fn new(bound: usize, clock: Arc<Clock>) -> Self {
        Self {
            clock,
            bound,
            inner: Mutex::default(),
            changed: Condvar::new(),
            member: OnceLock::new(),
            parent: None,
        }
    }

    /// Makes the mailbox of a device that another one has added, and serves.
    pub(crate) fn of_child(bound: usize, clock: Arc<Clock>, parent: Arc<Self>) -> Self {
        Self { parent: Some(parent), ..Self::new(bound, clock) }
    }

    /// Makes the pool serve the device.
    pub(crate) fn belong_to(&self, pool: Arc<Pool>, id: MemberId) {
        // A device joins one pool; a reload that changes it keeps its mailbox and its place.
        let _ = self.member.set((pool, id));
    }

    /// Returns the pool that serves the device; `None` if it has its own thread.
    pub(crate) fn member(&self) -> Option<MemberId> {
        match &self.parent {
            Some(parent) => parent.member(),
            None => self.member.get().map(|(_, id)| *id),
        }
    }

    /// Adds a request where it fits.
    pub(crate) fn push(&self, request: Request) -> Pushed {
        let mut inner = self.lock();
        if inner.requests.len() >= self.bound {
            return Pushed::Full;
        }
        inner.requests.push_back((request, self.clock.now()));
        if mem::take(&mut inner.asleep) { Pushed::Asleep } else { Pushed::Awake }
    }

    /// Makes the device look at its mail.
    pub(crate) fn notify(&self) {
        match (&self.parent, self.member.get()) {
            (Some(parent), _) => parent.nudge(),
            (None, Some((pool, id))) => pool.wake([*id]),
            (None, None) => self.changed.notify_all(),
        }
    }

    /// Makes the device look for mail that is not in here: that of a device which it has added.
    pub(crate) fn nudge(&self) {
        self.lock().asleep = false;
        self.notify();
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

    /// Makes a command's token known, and its request.
    pub(crate) fn expect(&self, token: u64, request: RequestId) {
        self.lock().tokens.insert(token, request);
    }

    /// Returns the request of a command that has no answer yet.
    pub(crate) fn request_of(&self, token: u64) -> Option<RequestId> {
        self.lock().tokens.get(&token).copied()
    }

    /// Adds what comes over MQTT; of too many messages the oldest give way. Returns how many have.
    pub(crate) fn push_bridged(&self, mail: BridgeMail) -> usize {
        self.change(|inner| inner.bridged.push(mail))
    }

    /// Forgets what has come over MQTT, which is not for the instance that is made now.
    pub(crate) fn forget_bridged(&self) {
        self.lock().bridged.clear();
    }

    /// Forgets a token; a later completion gets GONE.
    pub(crate) fn forget(&self, token: u64) {
        let mut inner = self.lock();
        inner.tokens.remove(&token);
        inner.under_way.remove(token);
        inner.accepted.retain(|(accepted, _)| *accepted != token);
        inner.completions.retain(|completion| completion.token != token);
    }

    /// Notes that a command is under way; returns the status for the plugin.
    pub(crate) fn accept(&self, token: u64, within: Duration) -> i32 {
        self.change(|inner| {
            if !inner.tokens.contains_key(&token) {
                return abi::ERR_GONE;
            }
            if let Err(status) = inner.under_way.add(token, within) {
                return status;
            }
            inner.tokens.remove(&token);
            inner.accepted.push_back((token, within));
            abi::OK
        })
    }

    /// Adds an answer, or an end; returns false if nothing waits for it.
    pub(crate) fn complete(&self, completion: Completion) -> bool {
        self.change(|inner| {
            let token = completion.token;
            let expected = inner.tokens.remove(&token).is_some() || inner.under_way.remove(token);
            if expected {
                inner.completions.push_back(completion);
            }
            expected
        })
    }

    /// Arms a timer, or disarms it; false where too many are armed.
    pub(crate) fn set_timer(&self, id: u32, delay: Option<Duration>) -> bool {
        let now = self.clock.now();
        self.change(|inner| {
            let due = delay.and_then(|delay| now.checked_add(delay));
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

    /// Makes the device call the plugin's `on_wake`.
    pub(crate) fn wake(&self) {
        self.change(|inner| inner.woken = true);
    }

    /// Notes that the instance has ended by itself.
    pub(crate) fn lost(&self) {
        self.change(|inner| inner.lost = true);
    }

    /// Makes the device change once no command is pending; the last change before that counts.
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

    /// Makes the device end; all that waits is left.
    pub(crate) fn stop(&self) {
        self.change(|inner| inner.stopping = true);
    }

    /// The device has ended.
    pub(crate) fn stopped(&self) {
        self.lock().stopped = true;
        self.changed.notify_all();
    }

    /// Returns whether the device has ended.
    pub(crate) fn has_stopped(&self) -> bool {
        self.lock().stopped
    }

    /// Waits for the end of the device; returns false where the deadline comes first.
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
        inner.under_way.clear();
        inner.accepted.clear();
        inner.completions.clear();
        inner.bridged.clear();
        inner.woken = false;
        inner.lost = false;
    }

    /// Takes what the device does next and can be `ready` for; `due` is when it has something to do by itself.
    pub(crate) fn take(&self, ready: Ready, due: Option<Instant>) -> Next {
        let mut inner = self.lock();
        let now = self.clock.now();
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
        // A command is accepted before it ends.
        if let Some((token, within)) = self.accepted.pop_front() {
            return Some(Next::Accepted(token, within));
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
            self.take_request(ready).or_else(|| self.take_event(now, ready))
        } else {
            self.take_event(now, ready).or_else(|| self.take_request(ready))
        }
    }

    fn take_request(&mut self, ready: Ready) -> Option<Next> {
        let (request, since) = ready.requests.then(|| self.requests.pop_front()).flatten()?;
        Some(Next::Request(request, since))
    }

    fn take_event(&mut self, now: Instant, ready: Ready) -> Option<Next> {
        self.timers_first = !self.timers_first;
        if self.timers_first {
            self.take_timer(now).or_else(|| self.take_bridged(ready))
        } else {
            self.take_bridged(ready).or_else(|| self.take_timer(now))
        }
    }

    fn take_bridged(&mut self, ready: Ready) -> Option<Next> {
        let mail = ready.instance.then(|| self.bridged.pop()).flatten()?;
        Some(Next::Bridge(mail))
    }

    fn take_timer(&mut self, now: Instant) -> Option<Next> {
        let fired = self.timers.iter().filter(|(_, due)| **due <= now).min_by_key(|(_, due)| **due);
        if let Some((&id, _)) = fired {
            self.timers.remove(&id);
            return Some(Next::Timer(id));
        }
        mem::take(&mut self.woken).then_some(Next::Wake)
    }
}

const ABSENCE_BOUND: usize = 8;

#[cfg(test)]
mod tests {
    use hearthd_core::PublishError;

    use super::{super::bridge_mail::MESSAGES_BOUND, *};

    fn message(payload: &'static str) -> BridgeMail {
        BridgeMail::Message { topic: "z".into(), payload: payload.into(), retained: false }
    }

    fn taken(mailbox: &Mailbox) -> Vec<String> {
        let ready = Ready { requests: true, instance: true };
        let next = || match mailbox.take(ready, None) {
            Next::Bridge(BridgeMail::Message { payload, .. }) => {
                Some(String::from_utf8_lossy(&payload).into_owned())
            }
            Next::Bridge(mail) => Some(format!("{mail:?}")),
            Next::Timer(id) => Some(format!("timer {id}")),
            _ => None,
        };
        std::iter::from_fn(next).collect()
    }

    #[test]
    fn of_a_flood_of_messages_the_newest_are_kept_and_no_timer_waits_for_them() {
        let mailbox = Mailbox::new(1, Arc::default());
        mailbox.push_bridged(BridgeMail::Outcome { number: 7, result: Err(PublishError::Late) });
        let lost: usize = (0..1000).map(|_| mailbox.push_bridged(message("old"))).sum();
        assert_eq!(lost, 1000 - MESSAGES_BOUND);
        assert_eq!(mailbox.push_bridged(message("new")), 1);
        mailbox.set_timer(3, Some(Duration::ZERO));
        let taken = taken(&mailbox);
        assert_eq!(taken.len(), MESSAGES_BOUND + 2);
        assert_eq!(taken.last().map(String::as_str), Some("new"));
        assert!(taken[..3].contains(&"timer 3".to_owned()), "{:?}", &taken[..3]);
        assert!(taken[..3].iter().any(|line| line.starts_with("Outcome")), "no outcome is lost");
    }
}
