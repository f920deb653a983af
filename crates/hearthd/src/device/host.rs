//! The functions that a plugin may call: C at the front, the device's mailbox behind (T2, M3).

#![expect(unsafe_code, reason = "the host table is called from C with raw pointers")]

use std::{
    ffi::{c_char, c_void},
    ptr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use hearth_sdk::abi::{self, Host, Slice};
use tracing::{Level, debug, enabled, error, info, trace, warn};

use super::{DeviceEvent, Shared, lock, mailbox::Completion};
use crate::plugin::library::bytes;

/// One host table; it is never freed, and answers GONE once its instance has ended (M3).
#[derive(Debug)]
pub(crate) struct HostTable {
    table: Host,
    device: Option<Arc<Shared>>,
    name: String,
    gone: AtomicBool,
}

// SAFETY: the table's pointer leads back to the struct itself, which is shared and never changes but for `gone`.
unsafe impl Send for HostTable {}
// SAFETY: as for Send.
unsafe impl Sync for HostTable {}

impl HostTable {
    /// Makes the table of one instance.
    pub(crate) fn leak(device: Arc<Shared>) -> &'static Self {
        let name = device.config.id.clone();
        Self::leak_with(Some(device), name)
    }

    pub(crate) fn as_ptr(&'static self) -> *const Host {
        &raw const self.table
    }

    /// Ends the table: every later call does nothing.
    pub(crate) fn end(&self) {
        self.gone.store(true, Ordering::Release);
    }

    fn leak_with(device: Option<Arc<Shared>>, name: String) -> &'static Self {
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
        let leaked =
            Box::leak(Box::new(Self { table, device, name, gone: AtomicBool::new(false) }));
        // The table keeps a pointer to itself: made once and used for all, so that no later borrow ends it.
        let place = ptr::from_mut(leaked);
        // SAFETY: the place is leaked, and nobody else knows it yet.
        unsafe { (*place).table.ctx = place.cast() };
        // SAFETY: the place is never freed, and only shared from here on.
        unsafe { &*place }
    }

    /// Finds the struct behind a table; none where its instance has ended.
    ///
    /// # Safety
    /// `host` is a table that this module made.
    unsafe fn behind(host: *const Host) -> Option<&'static Self> {
        // SAFETY: tables are never freed (M3).
        let context = unsafe { (*host).ctx };
        // SAFETY: the pointer was made from a leaked struct.
        let table = unsafe { &*context.cast::<Self>() };
        (!table.gone.load(Ordering::Acquire)).then_some(table)
    }

    /// As [`HostTable::behind`], for functions that need a device.
    ///
    /// # Safety
    /// As [`HostTable::behind`].
    unsafe fn device(host: *const Host) -> Option<&'static Shared> {
        // SAFETY: as the caller promises.
        unsafe { Self::behind(host) }?.device.as_deref()
    }
}

/// Makes the table that a plugin's `init` gets: it has no device.
pub(crate) fn global(plugin: &str) -> *const Host {
    HostTable::leak_with(None, plugin.to_owned()).as_ptr()
}

/// Returns CLOCK_MONOTONIC in milliseconds: the clock of the ABI (C2).
pub(crate) fn monotonic_ms() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the struct is valid for writing, and the clock always exists.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    seconds * 1000 + u64::try_from(time.tv_nsec).unwrap_or_default() / 1_000_000
}

unsafe extern "C" fn log(host: *const Host, level: i32, target: Slice, message: Slice) {
    // SAFETY: the plugin passes the table that it was given.
    let Some(table) = (unsafe { HostTable::behind(host) }) else { return };
    // SAFETY: the plugin's slices are valid during the call (M1).
    let target = String::from_utf8_lossy(unsafe { bytes(target) });
    // SAFETY: as above.
    let message = String::from_utf8_lossy(unsafe { bytes(message) });
    let (device, target) = (&table.name, &*target);
    match level {
        abi::LOG_ERROR => error!(device, plugin = target, "{message}"),
        abi::LOG_WARN => warn!(device, plugin = target, "{message}"),
        abi::LOG_INFO => info!(device, plugin = target, "{message}"),
        abi::LOG_DEBUG => debug!(device, plugin = target, "{message}"),
        _ => trace!(device, plugin = target, "{message}"),
    }
}

unsafe extern "C" fn log_enabled(_host: *const Host, level: i32) -> i32 {
    let enabled = match level {
        abi::LOG_ERROR => enabled!(Level::ERROR),
        abi::LOG_WARN => enabled!(Level::WARN),
        abi::LOG_INFO => enabled!(Level::INFO),
        abi::LOG_DEBUG => enabled!(Level::DEBUG),
        _ => enabled!(Level::TRACE),
    };
    i32::from(enabled)
}

unsafe extern "C" fn publish(host: *const Host, property: Slice, payload: Slice, _: u32) -> i32 {
    // SAFETY: the plugin passes the table that it was given.
    let Some(device) = (unsafe { HostTable::device(host) }) else { return abi::ERR_GONE };
    // SAFETY: the plugin's slices are valid during the call (M1).
    let property = String::from_utf8_lossy(unsafe { bytes(property) });
    // SAFETY: as above.
    let payload = String::from_utf8_lossy(unsafe { bytes(payload) });
    publish_state(device, &property, &payload)
}

fn publish_state(device: &Shared, property: &str, payload: &str) -> i32 {
    let id = &device.config.id;
    let Some(declaration) = device.declarations.get(property) else {
        warn!(device = id, property, "the plugin publishes what it has not declared");
        return abi::ERR_INVALID;
    };
    let value = match declaration.read_state(payload) {
        Ok(value) => value,
        Err(rejection) => {
            warn!(device = id, property, reason = rejection.message, "state refused");
            return abi::ERR_INVALID;
        }
    };
    let mut states = lock(&device.states);
    if states.get(property) == Some(&value) {
        return abi::OK;
    }
    // Sent under the lock, so that two threads' states arrive in the order in which they are kept.
    device.report(DeviceEvent::State {
        device: id.clone(),
        property: property.to_owned(),
        payload: value.as_text().to_owned().into(),
        content_type: declaration.content_type(),
        retain: declaration.retained,
    });
    states.insert(property.to_owned(), value);
    abi::OK
}

unsafe extern "C" fn complete(host: *const Host, token: u64, status: i32, payload: Slice) -> i32 {
    // SAFETY: the plugin passes the table that it was given.
    let Some(device) = (unsafe { HostTable::device(host) }) else { return abi::ERR_GONE };
    // SAFETY: the plugin's slice is valid during the call (M1).
    let payload = unsafe { bytes(payload) }.to_vec();
    let expected = device.mailbox.complete(Completion { token, status, payload });
    if expected { abi::OK } else { abi::ERR_GONE }
}

unsafe extern "C" fn set_timer(host: *const Host, timer_id: u32, delay_ms: u64) -> i32 {
    // SAFETY: the plugin passes the table that it was given.
    let Some(device) = (unsafe { HostTable::device(host) }) else { return abi::ERR_GONE };
    let delay = (delay_ms != abi::TIMER_CANCEL).then(|| Duration::from_millis(delay_ms));
    if device.mailbox.set_timer(timer_id, delay) { abi::OK } else { abi::ERR_TOO_LARGE }
}

unsafe extern "C" fn wake(host: *const Host) -> i32 {
    // SAFETY: the plugin passes the table that it was given.
    let Some(device) = (unsafe { HostTable::device(host) }) else { return abi::ERR_GONE };
    device.mailbox.wake();
    abi::OK
}

unsafe extern "C" fn now_ms(_host: *const Host) -> u64 {
    monotonic_ms()
}

unsafe extern "C" fn get_extension(_host: *const Host, _id: *const c_char) -> *const c_void {
    ptr::null()
}
