//! Notes the calls in progress in a mapped file: however the process ends, the kernel keeps the notes.
//!
//! A note costs a few stores to memory and no system call. Each device has a slot, which only its worker writes.

#![expect(
    unsafe_code,
    reason = "the file is mapped, and signal handlers find the slot by a pointer"
)]

#[cfg(test)]
mod tests;

use std::{
    cell::Cell,
    fmt,
    fs::File,
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
    ptr, slice,
    sync::{
        Arc, Mutex,
        atomic::{AtomicI32, AtomicPtr, AtomicU8, AtomicU32, AtomicU64, Ordering},
    },
};

use rustix::{
    fs::{FallocateFlags, fallocate},
    io::Errno,
    mm::{Advice, MapFlags, ProtFlags, madvise, mmap},
};

use crate::{boundary::call::Call, sync::lock};

/// The file of the calls that are under way; without one, nothing is noted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Calls {
    file: Option<Arc<Mapped>>,
}

#[derive(Debug)]
struct Mapped {
    header: &'static RawSlot,
    free: Mutex<Vec<&'static RawSlot>>,
}

/// Where the calls of one device are noted; dropping it gives the place back.
#[derive(Debug, Default)]
pub(crate) struct Slot {
    place: Option<(&'static RawSlot, Arc<Mapped>)>,
}

/// Marks a call as under way until it is dropped.
#[derive(Debug)]
pub(crate) struct UnderWay<'s>(&'s RawSlot);

/// What a device's plugin is called for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    Create = 1,
    Command,
    Timer,
    Wake,
    Absence,
    Save,
    End,
    Message,
}

/// How a life of the daemon ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    Signal(i32),
    /// The plugin's code has called `exit`.
    Exit,
    /// Without a word: killed by the kernel or by a person.
    Silent,
}

/// What a life that ended badly has left behind.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Left {
    /// The calls in which it ended, or may have ended.
    pub(crate) calls: Vec<Found>,
    /// How it ended outside of any call.
    pub(crate) outside: Option<Ending>,
}

/// A call that was under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) device: String,
    pub(crate) work: Work,
    pub(crate) property: String,
    /// What [`request`] makes of the request that was not answered; 0 where there was none.
    pub(crate) request: u64,
    pub(crate) ending: Ending,
}

/// One slot in the file; the first of them is the header.
#[repr(C)]
struct RawSlot {
    /// A [`Work`], or 0 where no call is under way. In the header [`RUNNING`] or [`ENDED`].
    work: AtomicU32,
    /// The signal that ended the process in this call, or [`EXIT`].
    ended_by: AtomicI32,
    /// The request at hand. In the header [`LAYOUT`].
    request: AtomicU64,
    device: Text,
    property: Text,
}

/// Text that is cut where it does not fit.
#[repr(C)]
struct Text {
    length: AtomicU8,
    bytes: [AtomicU8; LONGEST],
}

impl Calls {
    /// Maps the file; returns what the last life has left in it.
    ///
    /// # Errors
    /// Where there is no room for the file, or it cannot be mapped.
    pub(crate) fn open(path: &Path) -> io::Result<(Self, Left)> {
        let slots = map(path)?;
        let [header, slots @ ..] = slots else { unreachable!("there is more than one slot") };
        let left = if header.request.load(Ordering::Relaxed) == LAYOUT {
            collect(header, slots)
        } else {
            Left::default()
        };
        slots.iter().for_each(RawSlot::clear);
        header.clear();
        leave_to_the_kernel(header, slots.len() + 1)?;
        header.request.store(LAYOUT, Ordering::Relaxed);
        header.work.store(RUNNING, Ordering::Release);
        HEADER.store(ptr::from_ref(header).cast_mut(), Ordering::Release);
        let free = Mutex::new(slots.iter().rev().collect());
        Ok((Self { file: Some(Arc::new(Mapped { header, free })) }, left))
    }

    /// Returns a place for the calls of one device.
    pub(crate) fn slot(&self, device: &str) -> Slot {
        let place = self.file.as_ref().and_then(|file| {
            let raw = lock(&file.free).pop()?;
            raw.device.set(device);
            Some((raw, Arc::clone(file)))
        });
        Slot { place }
    }

    pub(crate) fn end_in_order(&self) {
        if let Some(file) = &self.file {
            file.header.work.store(ENDED, Ordering::Release);
        }
    }
}

impl Slot {
    /// Notes the request that the calls from now on belong to.
    pub(crate) fn begin_request(&self, property: &str, request: u64) {
        if let Some((raw, _)) = &self.place {
            raw.property.set(property);
            raw.request.store(request, Ordering::Relaxed);
        }
    }

    /// The request is answered.
    pub(crate) fn end_request(&self) {
        if let Some((raw, _)) = &self.place {
            raw.request.store(0, Ordering::Relaxed);
            raw.property.length.store(0, Ordering::Relaxed);
        }
    }

    /// Notes that a call begins on this thread.
    pub(crate) fn enter(&self, work: Work) -> Option<UnderWay<'_>> {
        let (raw, _) = self.place.as_ref()?;
        raw.work.store(work as u32, Ordering::Release);
        CURRENT.set(ptr::from_ref(*raw));
        Some(UnderWay(raw))
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        CURRENT.set(ptr::null());
        self.0.work.store(0, Ordering::Release);
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some((raw, file)) = self.place.take() {
            raw.clear();
            lock(&file.free).push(raw);
        }
    }
}

impl RawSlot {
    fn clear(&self) {
        self.work.store(0, Ordering::Release);
        self.ended_by.store(0, Ordering::Relaxed);
        self.request.store(0, Ordering::Relaxed);
        self.device.length.store(0, Ordering::Relaxed);
        self.property.length.store(0, Ordering::Relaxed);
    }
}

impl Text {
    fn set(&self, text: &str) {
        let text = &text.as_bytes()[..text.len().min(LONGEST)];
        for (place, byte) in self.bytes.iter().zip(text) {
            place.store(*byte, Ordering::Relaxed);
        }
        self.length.store(u8::try_from(text.len()).expect("it was cut"), Ordering::Relaxed);
    }

    fn get(&self) -> String {
        let length = usize::from(self.length.load(Ordering::Relaxed));
        let bytes: Vec<_> =
            self.bytes.iter().take(length).map(|byte| byte.load(Ordering::Relaxed)).collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl fmt::Debug for RawSlot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawSlot").field("device", &self.device.get()).finish_non_exhaustive()
    }
}

impl Work {
    /// Returns what the plugin is called for.
    pub(crate) fn of(call: &Call<'_>) -> Self {
        match call {
            Call::Command { .. } => Self::Command,
            Call::Timer(_) => Self::Timer,
            Call::Wake => Self::Wake,
            Call::Child { call, .. } => {
                call.as_call().map_or(Self::Message, |call| Self::of(&call))
            }
            Call::Absence(_) => Self::Absence,
            Call::Message { .. } | Call::Link(_) | Call::Outcome { .. } => Self::Message,
        }
    }

    const ALL: [Self; 8] = [
        Self::Create,
        Self::Command,
        Self::Timer,
        Self::Wake,
        Self::Absence,
        Self::Save,
        Self::End,
        Self::Message,
    ];

    /// Names the function of the plugin.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Command => "on_command",
            Self::Timer => "on_timer",
            Self::Wake => "on_wake",
            Self::Absence => "on_absence",
            Self::Save => "save",
            Self::End => "destroy",
            Self::Message => "hearth.mqtt/1",
        }
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Self::Signal(libc::SIGSEGV) => "SIGSEGV",
            Self::Signal(libc::SIGBUS) => "SIGBUS",
            Self::Signal(libc::SIGILL) => "SIGILL",
            Self::Signal(libc::SIGFPE) => "SIGFPE",
            Self::Signal(libc::SIGTRAP) => "SIGTRAP",
            Self::Signal(libc::SIGABRT) => "SIGABRT",
            Self::Signal(_) => "a fatal one",
            Self::Exit => return f.write_str("its plugin has called `exit`"),
            Self::Silent => return f.write_str("killed, or ended without a word"),
        };
        let Self::Signal(number) = self else { return Ok(()) };
        write!(f, "signal {number} ({name})")
    }
}

/// Notes, as the process ends, what ended it: safe in a signal handler.
pub(super) fn note_ending(number: i32) {
    let mut place = CURRENT.get();
    if place.is_null() && number != EXIT {
        place = HEADER.load(Ordering::Acquire);
    }
    // SAFETY: the pointer is null or leads into the file, which stays mapped.
    if let Some(raw) = unsafe { place.as_ref() } {
        raw.ended_by.store(number, Ordering::Release);
    }
}

/// Stands for a request of a device: the same for a redelivery, and another for almost any other request.
pub(crate) fn request(property: &str, payload: &[u8]) -> u64 {
    const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;
    let start = &payload[..payload.len().min(HASHED)];
    let length = payload.len().to_le_bytes();
    let bytes = property.as_bytes().iter().chain(&[0]).chain(&length).chain(start);
    let hash =
        bytes.fold(FNV_OFFSET, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(FNV_PRIME));
    // 0 means that there is none.
    hash | 1
}

fn collect(header: &RawSlot, slots: &[RawSlot]) -> Left {
    let ending = |raw: &RawSlot| match raw.ended_by.load(Ordering::Relaxed) {
        0 => Ending::Silent,
        EXIT => Ending::Exit,
        signal => Ending::Signal(signal),
    };
    let found = |raw: &RawSlot| {
        let number = raw.work.load(Ordering::Relaxed);
        Some(Found {
            work: Work::ALL.into_iter().find(|work| *work as u32 == number)?,
            device: raw.device.get(),
            property: raw.property.get(),
            request: raw.request.load(Ordering::Relaxed),
            ending: ending(raw),
        })
    };
    let mut calls: Vec<_> = slots.iter().filter_map(found).collect();
    if calls.iter().any(|call| call.ending != Ending::Silent) {
        calls.retain(|call| call.ending != Ending::Silent);
        return Left { calls, outside: None };
    }
    match ending(header) {
        Ending::Silent if header.work.load(Ordering::Relaxed) == ENDED => Left::default(),
        Ending::Silent => Left { calls, outside: None },
        outside => Left { calls: Vec::new(), outside: Some(outside) },
    }
}

fn map(path: &Path) -> io::Result<&'static [RawSlot]> {
    let mut options = File::options();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    let mut file = options.open(path)?;
    let size = SLOTS * size_of::<RawSlot>();
    // With its blocks: a store to a hole on a full disk would end the process.
    match fallocate(&file, FallocateFlags::empty(), 0, size as u64) {
        Err(Errno::OPNOTSUPP) if file.metadata()?.len() < size as u64 => {
            file.write_all(&vec![0; size])?;
        }
        Err(Errno::OPNOTSUPP) => {}
        done => done?,
    }
    let protection = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: the kernel chooses the place, and the mapping is never undone.
    let place = unsafe { mmap(ptr::null_mut(), size, protection, MapFlags::SHARED, &file, 0) }?;
    // SAFETY: the mapping has this size, begins at a page, and atomics take any bytes.
    Ok(unsafe { slice::from_raw_parts(place.cast::<RawSlot>(), SLOTS) })
}

/// Takes the pages out of this process's memory until they are used: most of them never are.
fn leave_to_the_kernel(first: &'static RawSlot, slots: usize) -> io::Result<()> {
    let (place, size) = (ptr::from_ref(first).cast_mut(), slots * size_of::<RawSlot>());
    // SAFETY: the pages are those of a file, which keeps what is in them.
    Ok(unsafe { madvise(place.cast(), size, Advice::LinuxDontNeed) }?)
}

thread_local! {
    /// The slot of the call that this thread is in.
    static CURRENT: Cell<*const RawSlot> = const { Cell::new(ptr::null()) };
}

/// The header of the file that is mapped.
static HEADER: AtomicPtr<RawSlot> = AtomicPtr::new(ptr::null_mut());

/// As many devices as this are noted.
const SLOTS: usize = 1024;
const LONGEST: usize = 119;
/// Bytes of a payload that tell requests apart.
const HASHED: usize = 1024;
/// Names the layout of the file; another one holds nothing that can be read.
const LAYOUT: u64 = u64::from_le_bytes(*b"calls/1\n");
const RUNNING: u32 = 1;
const ENDED: u32 = 2;
pub(super) const EXIT: i32 = -1;
