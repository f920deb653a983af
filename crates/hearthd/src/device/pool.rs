//! The threads that the devices in this process share: one does all while each call ends soon.
//!
//! A device costs no thread of its own, and what comes together wakes one thread, not one for each device. Where a call
//! takes longer than [`SLOW`], another thread takes the lead and goes on with all that waits, so a plugin that hangs still
//! costs its own device alone. There are never more threads than devices in a call and [`SPARE`].
//!
//! Where the system starts no further thread, those that there are go on. A call that hangs then may hold up all devices
//! ([`Pool::stands`]), until [`Pool::tend`] gets a thread after all.

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fmt, io, mem,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Condvar, Mutex, MutexGuard},
    thread,
    time::{Duration, Instant},
};

use tracing::{error, info};

use super::worker::{Turn, Worker};
use crate::{
    boundary::local::STACK_SIZE,
    sync::{lock, wait},
};

/// The threads, and the devices that they run.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    inner: Mutex<Inner>,
    /// Wakes a thread that waits for something to do.
    called: Condvar,
    /// Where a thread waits that looks after the lead: nothing but time wakes it.
    watch: Condvar,
    starter: Starter,
}

/// Starts a thread that serves a pool.
struct Starter(Box<dyn Fn(Arc<Pool>) -> io::Result<()> + Send + Sync>);

/// A device's number in its pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Seat(u64);

#[derive(Debug, Default)]
struct Inner {
    seats: BTreeMap<Seat, Seated>,
    next_seat: u64,
    /// Devices with something to do, in the order of their turns.
    ready: VecDeque<Seat>,
    /// When devices have something to do by themselves.
    alarms: BTreeSet<(Instant, Seat)>,
    /// The thread that takes turns, and since when it is in one.
    lead: Option<(u64, Instant)>,
    next_lead: u64,
    /// An idle thread has been woken to take the lead.
    called: bool,
    /// An idle thread looks whether the lead comes back.
    watched: bool,
    idle: usize,
    /// The system has started no thread when one was wanted.
    short: bool,
}

#[derive(Debug)]
struct Seated {
    /// None while a thread has it.
    worker: Option<Box<Worker>>,
    state: State,
    alarm: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Resting,
    Ready,
    Running,
    /// Something has come while it ran.
    RunningAgain,
}

impl Pool {
    /// Has a device take its turns here from now on; its first comes at once.
    pub(crate) fn seat(self: &Arc<Self>, worker: Worker) {
        let mut inner = self.lock();
        let first = inner.next_seat == 0;
        inner.next_seat += 1;
        let seat = Seat(inner.next_seat);
        worker.mailbox().belong_to(Arc::clone(self), seat);
        let seated = Seated { worker: Some(Box::new(worker)), state: State::Ready, alarm: None };
        inner.seats.insert(seat, seated);
        inner.ready.push_back(seat);
        if first {
            inner.called = true;
            self.start_thread(&mut inner);
        } else {
            self.call(inner);
        }
    }

    /// Has devices take a turn.
    pub(crate) fn wake(&self, seats: impl IntoIterator<Item = Seat>) {
        let mut inner = self.lock();
        for seat in seats {
            let Some(seated) = inner.seats.get_mut(&seat) else { continue };
            match seated.state {
                State::Resting => inner.make_ready(seat),
                State::Running => seated.state = State::RunningAgain,
                State::Ready | State::RunningAgain => {}
            }
        }
        self.call(inner);
    }

    /// Wakes a thread where none is at work; with the lock given back, or it would wait for that at once.
    fn call(&self, mut inner: MutexGuard<'_, Inner>) {
        if inner.lead.is_none() && !inner.called && !inner.ready.is_empty() {
            inner.called = true;
            drop(inner);
            self.called.notify_one();
        }
    }

    /// Starts a thread where one is wanted and the system has refused it before.
    pub(crate) fn tend(self: &Arc<Self>) {
        let mut inner = self.lock();
        if inner.short && inner.idle == 0 {
            self.start_thread(&mut inner);
        }
    }

    /// Returns whether devices wait for their turn, and no thread is there to take it.
    pub(crate) fn stands(&self) -> bool {
        let inner = self.lock();
        let lost = inner.lead.is_none_or(|(_, since)| since.elapsed() >= LOST);
        inner.short && inner.idle == 0 && lost && !inner.ready.is_empty()
    }

    fn start_thread(self: &Arc<Self>, inner: &mut Inner) {
        match (self.starter.0)(Arc::clone(self)) {
            Ok(()) if mem::take(&mut inner.short) => {
                info!("there are threads for the devices again")
            }
            Ok(()) => {}
            Err(error) if !mem::replace(&mut inner.short, true) => {
                error!(%error, "the system starts no thread: a plugin that hangs holds up all devices");
            }
            Err(_) => {}
        }
    }

    /// Takes the lead whenever it is free or does not come back, until there are threads enough without this one.
    fn serve(self: Arc<Self>) {
        let mut inner = self.lock();
        let mut seen = 0;
        while inner.idle < SPARE {
            let now = Instant::now();
            inner.ring(now);
            inner.end_slow_lead(now);
            if inner.lead.is_none() && !inner.ready.is_empty() {
                inner = self.lead(inner);
                continue;
            }
            // Where one lead follows another, the same thread looks after all of them.
            let active =
                inner.lead.is_some() || mem::replace(&mut seen, inner.next_lead) != inner.next_lead;
            let watches = active && !inner.watched;
            inner.watched |= watches;
            inner.idle += 1;
            inner = if watches {
                wait(&self.watch, inner, Some(SLOW))
            } else {
                let most = inner.until_alarm(now);
                wait(&self.called, inner, most)
            };
            inner.idle -= 1;
            inner.watched &= !watches;
        }
        // Those that stay may have to do by now what this one has left, or to wait less long.
        self.called.notify_one();
    }

    /// Gives each ready device its turn, as long as no other thread has taken the lead.
    fn lead<'p>(self: &'p Arc<Self>, mut inner: MutexGuard<'p, Inner>) -> MutexGuard<'p, Inner> {
        inner.next_lead += 1;
        let me = inner.next_lead;
        if inner.idle == 0 {
            self.start_thread(&mut inner);
        }
        let mut unwatched = inner.idle > 0 && !inner.watched;
        loop {
            let now = Instant::now();
            inner.ring(now);
            inner.called = false;
            let Some((seat, mut worker)) = inner.take() else { break };
            inner.lead = Some((me, now));
            drop(inner);
            if mem::take(&mut unwatched) {
                self.called.notify_one();
            }
            let turn = catch_unwind(AssertUnwindSafe(|| worker.turn()));
            inner = self.lock();
            match turn {
                Ok(turn) => inner.put_back(seat, worker, turn),
                Err(_) => {
                    // A defect of the hub's own. The device shows as stalled, and what is left of it is not touched.
                    inner.seats.remove(&seat);
                    mem::forget(worker);
                }
            }
            // Another has taken it meanwhile, and may have ended: nobody looks after this one any more.
            if inner.lead.is_none_or(|(lead, _)| lead != me) {
                return inner;
            }
        }
        inner.lead = None;
        inner
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        lock(&self.inner)
    }
}

impl Inner {
    /// Takes the lead from a thread in a long call, so that nobody need look after it any more.
    fn end_slow_lead(&mut self, now: Instant) {
        if self.lead.is_some_and(|(_, since)| now.saturating_duration_since(since) >= SLOW) {
            self.lead = None;
        }
    }

    /// Has a device wait for its turn.
    fn make_ready(&mut self, seat: Seat) {
        if let Some(seated) = self.seats.get_mut(&seat) {
            seated.state = State::Ready;
            self.ready.push_back(seat);
        }
    }

    /// Makes ready what has something to do by now.
    fn ring(&mut self, now: Instant) {
        while let Some(&(at, seat)) = self.alarms.first()
            && at <= now
        {
            self.alarms.pop_first();
            let Some(seated) = self.seats.get_mut(&seat) else { continue };
            seated.alarm = None;
            if seated.state == State::Resting {
                self.make_ready(seat);
            }
        }
    }

    fn until_alarm(&self, now: Instant) -> Option<Duration> {
        self.alarms.first().map(|(at, _)| at.saturating_duration_since(now))
    }

    /// Takes the device whose turn it is.
    fn take(&mut self) -> Option<(Seat, Box<Worker>)> {
        loop {
            let seat = self.ready.pop_front()?;
            let Some(seated) = self.seats.get_mut(&seat) else { continue };
            let Some(worker) = seated.worker.take() else { continue };
            seated.state = State::Running;
            if let Some(alarm) = seated.alarm.take() {
                self.alarms.remove(&(alarm, seat));
            }
            return Some((seat, worker));
        }
    }

    /// Takes a device back after its turn, and says when it is to have the next.
    fn put_back(&mut self, seat: Seat, worker: Box<Worker>, turn: Turn) {
        let Some(seated) = self.seats.get_mut(&seat) else { return };
        match turn {
            Turn::Ended => {
                worker.mailbox().stopped();
                self.seats.remove(&seat);
                return;
            }
            Turn::Rest(None) if seated.state == State::Running => seated.state = State::Resting,
            Turn::Rest(Some(at)) if seated.state == State::Running => {
                seated.state = State::Resting;
                seated.alarm = Some(at);
                self.alarms.insert((at, seat));
            }
            Turn::More | Turn::Rest(_) => {
                seated.state = State::Ready;
                self.ready.push_back(seat);
            }
        }
        seated.worker = Some(worker);
    }
}

impl Default for Starter {
    fn default() -> Self {
        Self(Box::new(|pool| {
            let thread = thread::Builder::new().name("devices".into()).stack_size(STACK_SIZE);
            thread.spawn(move || pool.serve()).map(drop)
        }))
    }
}

impl fmt::Debug for Starter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Starter")
    }
}

/// How long a call may take before others do not wait for its end.
const SLOW: Duration = Duration::from_millis(2);
/// How long the last thread may be in a call before it counts as lost.
const LOST: Duration = Duration::from_secs(1);
/// Threads that wait for something to do: one to do it, and one to see that it comes to an end.
const SPARE: usize = 2;
