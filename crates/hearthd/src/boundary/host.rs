//! The functions that a plugin may call: C functions in front of the device's mailbox (T2, M3).

#![expect(unsafe_code, reason = "the host table is called from C with raw pointers")]

use std::{
    collections::BTreeMap,
    ffi::{c_char, c_void},
    fmt, ptr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use hearthd_sdk::abi::{self, Host, Slice};

use super::{
    call::{ChildRefusal, NewChild, Publication},
    pairs::bytes,
    reports,
};
use crate::sync::lock;

/// Where a plugin's calls go: to its device, or over the wire to the process that has the device.
pub(crate) trait HostCalls: fmt::Debug + Send + Sync {
    /// Takes a line for the log.
    fn log(&self, level: i32, target: &str, message: &str);
    /// Tells whether lines of a level are wanted.
    fn is_logged(&self, level: i32) -> bool;
    /// Takes the state of a property (C3).
    fn publish(&self, property: &str, payload: &str) -> i32;
    /// Takes the answer to a command (C1).
    fn complete(&self, completion: Completion) -> i32;
    /// Takes that a command is under way, and ends within this time (C5).
    fn accept(&self, token: u64, within: Duration) -> i32;
    /// Arms a timer, or disarms it (C2).
    fn set_timer(&self, id: u32, delay: Option<Duration>) -> i32;
    /// Queues a wake (C2).
    fn wake(&self) -> i32;
    /// Notes why the device cannot reach its hardware or service (R1).
    fn unreachable(&self, reason: &str) -> i32;
    /// Takes that it can again (R1).
    fn reachable(&self) -> i32;
    /// Takes that something has happened (E1).
    fn event(&self, property: &str, kind: &str) -> i32;
    /// Takes a message for a topic of the device's own (Q2).
    fn send(&self, publication: Publication<'_>) -> i32;
    /// Adds a device of the device's own, and returns where its calls go (N2).
    fn add_child(&self, child: &NewChild<'_>) -> Result<Arc<dyn HostCalls>, ChildRefusal>;
    /// Removes one (N4).
    fn remove_child(&self, name: &str) -> i32;
    /// Returns the names of those that were added, and of those that are waited for (N3).
    fn list_children(&self) -> Vec<String>;
}

/// An answer that the plugin gave through its host.
#[derive(Debug)]
pub(crate) struct Completion {
    pub(crate) token: u64,
    pub(crate) status: i32,
    pub(crate) payload: Vec<u8>,
}

/// One host table; it is never freed, and answers GONE once its instance has ended (M3).
#[derive(Debug)]
pub(crate) struct HostTable {
    table: Host,
    calls: Arc<dyn HostCalls>,
    gone: AtomicBool,
    /// The tables of the devices that it has added, by name: they end with it.
    children: Mutex<BTreeMap<String, &'static Self>>,
}

// SAFETY: the table's pointer leads back to the struct itself, which is shared and never changes but for `gone`.
unsafe impl Send for HostTable {}
// SAFETY: as for Send.
unsafe impl Sync for HostTable {}

impl HostTable {
    /// Makes the table of one instance, or of a plugin as a whole.
    pub(crate) fn leak(calls: Arc<dyn HostCalls>) -> &'static Self {
        let table = Host {
            struct_size: u32::try_from(size_of::<Host>()).expect("the table is small"),
            abi_minor: abi::ABI_MINOR,
            reserved: 0,
            ctx: ptr::null_mut(),
            log,
            log_enabled,
            publish,
            complete,
            set_timer,
            wake,
            now_ms,
            get_extension,
        };
        let (gone, children) = (AtomicBool::new(false), Mutex::default());
        let leaked = Box::leak(Box::new(Self { table, calls, gone, children }));
        // The table keeps a pointer to itself: made once and used for all, so that no later borrow ends it.
        let place = ptr::from_mut(leaked);
        // SAFETY: the place is leaked, and nobody else knows it yet.
        unsafe { (*place).table.ctx = place.cast() };
        // SAFETY: the place is never freed, and only shared from here on.
        unsafe { &*place }
    }

    /// Returns the table as a plugin gets it; it lives for ever (M3).
    pub(crate) fn as_ptr(&'static self) -> *const Host {
        &raw const self.table
    }

    /// Ends the table: every later call does nothing.
    pub(crate) fn end(&self) {
        self.gone.store(true, Ordering::Release);
        // Under the lock: none is added after this.
        lock(&self.children).values().for_each(|child| child.end());
    }

    /// Adds a device of the device's own, and returns its table (N2).
    pub(super) fn add_child(&self, child: &NewChild<'_>) -> Result<&'static Self, ChildRefusal> {
        let mut children = lock(&self.children);
        if self.gone.load(Ordering::Acquire) {
            let message = "the device has ended".into();
            return Err(ChildRefusal { status: abi::ERR_GONE, path: "", message });
        }
        let table = Self::leak(self.calls.add_child(child)?);
        if let Some(before) = children.insert(child.name.to_owned(), table) {
            before.end();
        }
        Ok(table)
    }

    /// Removes one (N4).
    pub(super) fn remove_child(&self, name: &str) -> i32 {
        self.end_child(name);
        self.calls.remove_child(name)
    }

    /// Ends the table of a device that it has added.
    pub(crate) fn end_child(&self, name: &str) {
        if let Some(child) = lock(&self.children).remove(name) {
            child.end();
        }
    }

    /// Finds the mailbox behind a table; `None` if its instance has ended.
    ///
    /// # Safety
    /// `host` is a table that this module made.
    pub(super) unsafe fn behind(host: *const Host) -> Option<&'static dyn HostCalls> {
        // SAFETY: as the caller vouches.
        unsafe { Self::alive(host) }.map(|table| &*table.calls)
    }

    /// Finds the table that a plugin was given; `None` if its instance has ended.
    ///
    /// # Safety
    /// As for [`HostTable::behind`].
    pub(super) unsafe fn alive(host: *const Host) -> Option<&'static Self> {
        // SAFETY: tables are never freed (M3).
        let context = unsafe { (*host).ctx };
        // SAFETY: the pointer was made from a leaked struct.
        let table = unsafe { &*context.cast::<Self>() };
        (!table.gone.load(Ordering::Acquire)).then_some(table)
    }
}

/// Returns CLOCK_MONOTONIC in milliseconds: the clock of the ABI (C2).
pub(crate) fn monotonic_ms() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    seconds * 1000 + u64::try_from(time.tv_nsec).unwrap_or_default() / 1_000_000
}

/// Sets the clock that plugins in this process see; it stands still until it is set again.
pub(crate) fn set_time(now_ms: u64) {
    SET_TIME.store(now_ms.max(FOLLOWS_SYSTEM + 1), Ordering::Relaxed);
}

/// The time that was set, or [`FOLLOWS_SYSTEM`].
static SET_TIME: AtomicU64 = AtomicU64::new(FOLLOWS_SYSTEM);
const FOLLOWS_SYSTEM: u64 = 0;

unsafe extern "C" fn log(host: *const Host, level: i32, target: Slice, message: Slice) {
    // SAFETY: the plugin passes the table that it was given.
    let Some(calls) = (unsafe { HostTable::behind(host) }) else { return };
    // SAFETY: the plugin's slices are valid during the call (M1).
    let target = String::from_utf8_lossy(unsafe { bytes(target) });
    // SAFETY: as above.
    let message = String::from_utf8_lossy(unsafe { bytes(message) });
    calls.log(level, &target, &message);
}

unsafe extern "C" fn log_enabled(host: *const Host, level: i32) -> i32 {
    // SAFETY: the plugin passes the table that it was given.
    let calls = unsafe { HostTable::behind(host) };
    i32::from(calls.is_some_and(|calls| calls.is_logged(level)))
}

unsafe extern "C" fn publish(host: *const Host, property: Slice, payload: Slice, _: u32) -> i32 {
    // SAFETY: the plugin passes the table that it was given.
    let Some(calls) = (unsafe { HostTable::behind(host) }) else { return abi::ERR_GONE };
    // SAFETY: the plugin's slices are valid during the call (M1).
    let property = String::from_utf8_lossy(unsafe { bytes(property) });
    // SAFETY: as above.
    let payload = String::from_utf8_lossy(unsafe { bytes(payload) });
    calls.publish(&property, &payload)
}

unsafe extern "C" fn complete(host: *const Host, token: u64, status: i32, payload: Slice) -> i32 {
    // SAFETY: the plugin passes the table that it was given.
    let Some(calls) = (unsafe { HostTable::behind(host) }) else { return abi::ERR_GONE };
    // SAFETY: the plugin's slice is valid during the call (M1).
    let payload = unsafe { bytes(payload) }.to_vec();
    calls.complete(Completion { token, status, payload })
}

unsafe extern "C" fn set_timer(host: *const Host, timer_id: u32, delay_ms: u64) -> i32 {
    // SAFETY: the plugin passes the table that it was given.
    let Some(calls) = (unsafe { HostTable::behind(host) }) else { return abi::ERR_GONE };
    let delay = (delay_ms != abi::TIMER_CANCEL).then(|| Duration::from_millis(delay_ms));
    calls.set_timer(timer_id, delay)
}

unsafe extern "C" fn wake(host: *const Host) -> i32 {
    // SAFETY: the plugin passes the table that it was given.
    unsafe { HostTable::behind(host) }.map_or(abi::ERR_GONE, HostCalls::wake)
}

unsafe extern "C" fn now_ms(_host: *const Host) -> u64 {
    match SET_TIME.load(Ordering::Relaxed) {
        FOLLOWS_SYSTEM => monotonic_ms(),
        now_ms => now_ms,
    }
}

unsafe extern "C" fn get_extension(_host: *const Host, id: *const c_char) -> *const c_void {
    // SAFETY: the plugin passes a NUL-terminated name.
    unsafe { reports::find(id) }
}

/// Timers that one device may have armed.
pub(crate) const TIMER_BOUND: usize = 256;
