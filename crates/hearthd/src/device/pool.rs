//! The threads that the devices in this process share: one thread does all the work while each call ends soon.
//!
//! A device has no thread of its own, and events that come together wake one thread, not one for each device. When a
//! call takes longer than [`SLOW`], another thread becomes the leader and serves all waiting devices. So a plugin that
//! hangs stops only its own device. There are at most [`SPARE`] threads more than devices in a call.
//!
//! If the system starts no further thread, the existing ones go on. A call that hangs then may stop all devices
//! ([`Pool::stands`]), until [`Pool::tend`] gets a thread.

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
    /// Where a thread waits that looks after the leader: nothing but time wakes it.
    watch: Condvar,
    starter: Starter,
}

/// Starts a thread that serves a pool.
struct Starter(Box<dyn Fn(Arc<Pool>) -> io::Result<()> + Send + Sync>);

/// A device's number in its pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct MemberId(u64);

#[derive(Debug, Default)]
struct Inner {
    members: BTreeMap<MemberId, Member>,
    next_member: u64,
    /// Devices with something to do, in the order of their turns.
    ready: VecDeque<MemberId>,
    /// When devices have something to do by themselves.
    alarms: BTreeSet<(Instant, MemberId)>,
    /// The thread that takes turns, and since when it is in one.
    leader: Option<(u64, Instant)>,
    next_leader: u64,
    /// An idle thread has been woken to become the leader.
    called: bool,
    /// An idle thread looks whether the leader comes back.
    watched: bool,
    /// When the first of the idle threads wakes by itself, for an alarm; the others would only wake beside it.
    timed: Option<Instant>,
    idle: usize,
    /// The system has started no thread when one was wanted.
    short: bool,
}

#[derive(Debug)]
struct Member {
    /// None while a thread has it.
    worker: Option<Box<Worker>>,
    state: TurnState,
    alarm: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TurnState {
    Resting,
    Ready,
    Running,
    /// Something has come while it ran.
    RunningAgain,
}

impl Pool {
    /// Has a device take its turns here from now on; its first comes at once.
    pub(crate) fn add(self: &Arc<Self>, worker: Worker) {
        let mut inner = self.lock();
        let first = inner.next_member == 0;
        inner.next_member += 1;
        let id = MemberId(inner.next_member);
        worker.mailbox().belong_to(Arc::clone(self), id);
        let member =
            Member { worker: Some(Box::new(worker)), state: TurnState::Ready, alarm: None };
        inner.members.insert(id, member);
        inner.ready.push_back(id);
        if first {
            inner.called = true;
            self.start_thread(&mut inner);
        } else {
            self.call(inner);
        }
    }

    /// Has devices take a turn.
    pub(crate) fn wake(&self, members: impl IntoIterator<Item = MemberId>) {
        let mut inner = self.lock();
        for id in members {
            let Some(member) = inner.members.get_mut(&id) else { continue };
            match member.state {
                TurnState::Resting => inner.make_ready(id),
                TurnState::Running => member.state = TurnState::RunningAgain,
                TurnState::Ready | TurnState::RunningAgain => {}
            }
        }
        self.call(inner);
    }

    /// Wakes a thread where none is at work; with the lock given back, or it would wait for that at once.
    fn call(&self, mut inner: MutexGuard<'_, Inner>) {
        if inner.leader.is_none() && !inner.called && !inner.ready.is_empty() {
            inner.called = true;
            drop(inner);
            self.called.notify_one();
        }
    }

    /// Starts a thread where one is wanted and the system has refused it before; returns whether that is so still.
    pub(crate) fn tend(self: &Arc<Self>) -> bool {
        let mut inner = self.lock();
        if inner.short && inner.idle == 0 {
            self.start_thread(&mut inner);
        }
        inner.short
    }

    /// Returns whether devices wait for their turn, and no thread can take it.
    pub(crate) fn stands(&self) -> bool {
        let inner = self.lock();
        let lost = inner.leader.is_none_or(|(_, since)| since.elapsed() >= LOST);
        inner.short && inner.idle == 0 && lost && !inner.ready.is_empty()
    }

    fn start_thread(self: &Arc<Self>, inner: &mut Inner) {
        match (self.starter.0)(Arc::clone(self)) {
            Ok(()) if mem::take(&mut inner.short) => {
                info!("the system starts threads for the devices again")
            }
            Ok(()) => {}
            Err(error) if !mem::replace(&mut inner.short, true) => {
                error!(%error, "the system starts no thread: a plugin that hangs stops all devices");
            }
            Err(_) => {}
        }
    }

    /// Becomes the leader when there is none or it does not come back, until there are enough other threads.
    fn serve(self: Arc<Self>) {
        let mut inner = self.lock();
        let mut seen = 0;
        while inner.idle < SPARE {
            let now = Instant::now();
            inner.ring(now);
            inner.dismiss_slow_leader(now);
            if inner.leader.is_none() && !inner.ready.is_empty() {
                inner = self.take_turns(inner);
                continue;
            }
            // Where one leader follows another, the same thread looks after all of them.
            let active = inner.leader.is_some()
                || mem::replace(&mut seen, inner.next_leader) != inner.next_leader;
            let watches = active && !inner.watched;
            inner.watched |= watches;
            inner.idle += 1;
            if watches {
                inner = wait(&self.watch, inner, Some(SLOW));
            } else {
                let alarm = inner.take_time();
                let most = alarm.map(|at| at.saturating_duration_since(now));
                inner = wait(&self.called, inner, most);
                inner.timed.take_if(|at| Some(*at) == alarm);
            }
            inner.idle -= 1;
            inner.watched &= !watches;
        }
        // Those that stay may have to do by now what this one has left, or to wait less long.
        self.called.notify_one();
    }

    /// Gives each ready device its turn, as long as no other thread has become the leader.
    fn take_turns<'p>(
        self: &'p Arc<Self>,
        mut inner: MutexGuard<'p, Inner>,
    ) -> MutexGuard<'p, Inner> {
        inner.next_leader += 1;
        let me = inner.next_leader;
        if inner.idle == 0 {
            self.start_thread(&mut inner);
        }
        let mut unwatched = inner.idle > 0 && !inner.watched;
        loop {
            let now = Instant::now();
            inner.ring(now);
            inner.called = false;
            let Some((id, mut worker)) = inner.take() else { break };
            inner.leader = Some((me, now));
            drop(inner);
            if mem::take(&mut unwatched) {
                self.called.notify_one();
            }
            let turn = catch_unwind(AssertUnwindSafe(|| worker.turn()));
            inner = self.lock();
            match turn {
                Ok(turn) => inner.put_back(id, worker, turn),
                Err(_) => {
                    // A defect of the hub's own. The device shows as stalled, and what is left of it is not touched.
                    inner.members.remove(&id);
                    mem::forget(worker);
                }
            }
            // Another thread leads meanwhile, and may have ended: no thread watches this one.
            if inner.leader.is_none_or(|(leader, _)| leader != me) {
                return inner;
            }
        }
        inner.leader = None;
        inner
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        lock(&self.inner)
    }
}

impl Inner {
    /// Ends the leadership of a thread in a long call, so that no thread needs to watch it.
    fn dismiss_slow_leader(&mut self, now: Instant) {
        if self.leader.is_some_and(|(_, since)| now.saturating_duration_since(since) >= SLOW) {
            self.leader = None;
        }
    }

    /// Has a device wait for its turn.
    fn make_ready(&mut self, id: MemberId) {
        if let Some(member) = self.members.get_mut(&id) {
            member.state = TurnState::Ready;
            self.ready.push_back(id);
        }
    }

    /// Makes ready what has something to do by now.
    fn ring(&mut self, now: Instant) {
        while let Some(&(at, id)) = self.alarms.first()
            && at <= now
        {
            self.alarms.pop_first();
            let Some(member) = self.members.get_mut(&id) else { continue };
            member.alarm = None;
            if member.state == TurnState::Resting {
                self.make_ready(id);
            }
        }
    }

    /// Returns when an idle thread is to wake for the next alarm, where no other one wakes by then.
    fn take_time(&mut self) -> Option<Instant> {
        let (at, _) = *self.alarms.first()?;
        if self.timed.is_some_and(|timed| timed <= at) {
            return None;
        }
        self.timed = Some(at);
        Some(at)
    }

    /// Takes the device whose turn it is.
    fn take(&mut self) -> Option<(MemberId, Box<Worker>)> {
        loop {
            let id = self.ready.pop_front()?;
            let Some(member) = self.members.get_mut(&id) else { continue };
            let Some(worker) = member.worker.take() else { continue };
            member.state = TurnState::Running;
            if let Some(alarm) = member.alarm.take() {
                self.alarms.remove(&(alarm, id));
            }
            return Some((id, worker));
        }
    }

    /// Takes a device back after its turn, and says when it is to have the next.
    fn put_back(&mut self, id: MemberId, worker: Box<Worker>, turn: Turn) {
        let Some(member) = self.members.get_mut(&id) else { return };
        match turn {
            Turn::Ended => {
                worker.mailbox().stopped();
                self.members.remove(&id);
                return;
            }
            Turn::Rest(None) if member.state == TurnState::Running => {
                member.state = TurnState::Resting
            }
            Turn::Rest(Some(at)) if member.state == TurnState::Running => {
                member.state = TurnState::Resting;
                member.alarm = Some(at);
                self.alarms.insert((at, id));
            }
            Turn::More | Turn::Rest(_) => {
                member.state = TurnState::Ready;
                self.ready.push_back(id);
            }
        }
        member.worker = Some(worker);
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
/// Idle threads: one to take the next work, and one to watch that it ends.
const SPARE: usize = 2;
