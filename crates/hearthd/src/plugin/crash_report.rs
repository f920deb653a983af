//! Writes to standard error where a process with a plugin crashes: the signal, and the calls that led there.
//!
//! Each call is a line `FILE+0xOFFSET`, which `addr2line -e FILE 0xOFFSET` turns into a line of the source.

#![expect(unsafe_code, reason = "signal handlers and stack walks have no safe form")]

use std::{
    ffi::{CStr, c_char, c_int, c_void},
    fmt::{self, Write},
    mem::MaybeUninit,
    ptr,
    sync::atomic::{AtomicUsize, Ordering},
};

/// Reports crashes of this process from here on.
pub(super) fn install() {
    // The first walk loads what it needs, which a handler must not.
    walk(&mut [ptr::null_mut(); 1]);
    for (at, (signal, _)) in SIGNALS.iter().enumerate() {
        let mut action = MaybeUninit::<libc::sigaction>::zeroed();
        // SAFETY: a zeroed sigaction is a valid one: its fields are numbers, a mask and an optional pointer.
        let action = unsafe { action.assume_init_mut() };
        action.sa_sigaction = on_crash as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        let mut previous = MaybeUninit::<libc::sigaction>::zeroed();
        // SAFETY: the handler has the signature that SA_SIGINFO asks for, and both structs outlive the call.
        let done = unsafe { libc::sigaction(*signal, action, previous.as_mut_ptr()) };
        if done == 0 {
            // SAFETY: the call has filled it.
            let previous = unsafe { previous.assume_init() };
            PREVIOUS[at].store(previous.sa_sigaction, Ordering::Relaxed);
        }
    }
}

/// A stack on which a thread's crash is reported, also where its own is full; dropping it gives it back.
#[derive(Debug)]
pub(super) struct ReportStack(Vec<u8>);

impl ReportStack {
    /// Gives the calling thread its stack.
    pub(super) fn install() -> Self {
        let mut stack = Self(vec![0; REPORT_STACK]);
        stack.set(0);
        stack
    }

    fn set(&mut self, flags: c_int) {
        let stack = libc::stack_t {
            ss_sp: self.0.as_mut_ptr().cast(),
            ss_flags: flags,
            ss_size: self.0.len(),
        };
        // SAFETY: the memory stays where it is until this thread has been told otherwise, in `drop`.
        unsafe { libc::sigaltstack(&raw const stack, ptr::null_mut()) };
    }
}

impl Drop for ReportStack {
    fn drop(&mut self) {
        self.set(libc::SS_DISABLE);
    }
}

/// Reports the crash, and leaves the rest to the handler that was there before.
extern "C" fn on_crash(signal: c_int, info: *mut libc::siginfo_t, _context: *mut c_void) {
    let mut frames = [ptr::null_mut(); MOST_FRAMES];
    let count = walk(&mut frames);
    let known = SIGNALS.iter().position(|(known, _)| *known == signal);
    let name = known.map_or("a signal", |at| SIGNALS[at].1);
    let mut line = Line::default();
    // A line that is cut says enough.
    let _ = write!(line, "{REPORT_BEGINS}{name}; the calls that led there, the last one first:");
    line.print();
    for (at, frame) in frames[..count].iter().enumerate().skip(OWN_FRAMES) {
        // All but the first are where a call returns to, one behind the call.
        if !print_frame(frame.addr() - usize::from(at > OWN_FRAMES)) {
            break;
        }
    }
    let previous = known.map_or(libc::SIG_DFL, |at| PREVIOUS[at].load(Ordering::Relaxed));
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: a zeroed sigaction is a valid one.
    let action = unsafe { action.assume_init_mut() };
    action.sa_sigaction = previous;
    action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
    // SAFETY: it is the handler that was installed for this signal, or the default.
    unsafe { libc::sigaction(signal, action, ptr::null_mut()) };
    // SAFETY: the kernel passes the signal's information.
    let is_sent = unsafe { (*info).si_code } <= 0;
    // A fault comes again once this returns; a signal that was sent does not.
    if is_sent {
        // SAFETY: the function takes a number.
        unsafe { libc::raise(signal) };
    }
}

#[cfg(target_env = "gnu")]
#[inline(always)]
fn walk(frames: &mut [*mut c_void]) -> usize {
    let most = c_int::try_from(frames.len()).unwrap_or(c_int::MAX);
    // SAFETY: the array has room for as many addresses.
    let count = unsafe { libc::backtrace(frames.as_mut_ptr(), most) };
    usize::try_from(count).unwrap_or_default()
}

/// This C library cannot walk the stack.
#[cfg(not(target_env = "gnu"))]
fn walk(_: &mut [*mut c_void]) -> usize {
    0
}

/// Prints where an address is; false for the hub's own code, which has called the plugin.
fn print_frame(address: usize) -> bool {
    let mut line = Line::default();
    let _ = match look_up(address) {
        None => write!(line, "  {address:#x}"),
        Some(found) if is_own(&found) => return false,
        Some(found) => {
            let file = text(found.dli_fname);
            let file = file.rsplit('/').next().unwrap_or(file);
            let offset = address.wrapping_sub(found.dli_fbase.addr());
            write!(line, "  {file}+{offset:#x} {}", text(found.dli_sname))
        }
    };
    line.print();
    true
}

fn is_own(found: &libc::Dl_info) -> bool {
    let own = look_up(on_crash as *const () as usize);
    own.is_some_and(|own| own.dli_fbase == found.dli_fbase)
}

/// Returns the file and the symbol that an address lies in.
fn look_up(address: usize) -> Option<libc::Dl_info> {
    let mut found = MaybeUninit::<libc::Dl_info>::zeroed();
    // SAFETY: the function looks the address up, and fills the struct where it knows it.
    let known = unsafe { libc::dladdr(address as *const c_void, found.as_mut_ptr()) };
    // SAFETY: a zeroed Dl_info is a valid one: its fields are pointers that may be null.
    let found = unsafe { found.assume_init() };
    (known != 0).then_some(found)
}

/// Returns a text of the dynamic linker's; the empty one where there is none.
fn text(pointer: *const c_char) -> &'static str {
    if pointer.is_null() {
        return "";
    }
    // SAFETY: names of libraries and symbols are NUL-terminated, and libraries are never closed.
    unsafe { CStr::from_ptr(pointer) }.to_str().unwrap_or_default()
}

/// A line that needs no memory from the heap, which may be what is broken.
struct Line {
    bytes: [u8; LONGEST_LINE],
    length: usize,
}

impl Default for Line {
    fn default() -> Self {
        Self { bytes: [0; LONGEST_LINE], length: 0 }
    }
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = &mut self.bytes[self.length..LONGEST_LINE - 1];
        let taken = text.len().min(room.len());
        room[..taken].copy_from_slice(&text.as_bytes()[..taken]);
        self.length += taken;
        if taken == text.len() { Ok(()) } else { Err(fmt::Error) }
    }
}

impl Line {
    fn print(mut self) {
        self.bytes[self.length] = b'\n';
        // SAFETY: the bytes outlive the call; where nobody reads them, nothing is lost.
        unsafe { libc::write(libc::STDERR_FILENO, self.bytes.as_ptr().cast(), self.length + 1) };
    }
}

/// How the first line of a report begins; the signal's name follows.
pub(crate) const REPORT_BEGINS: &str = "crashed by ";
const SIGNALS: [(c_int, &str); 5] = [
    (libc::SIGSEGV, "SIGSEGV"),
    (libc::SIGBUS, "SIGBUS"),
    (libc::SIGILL, "SIGILL"),
    (libc::SIGFPE, "SIGFPE"),
    (libc::SIGABRT, "SIGABRT"),
];
/// The handlers that were there before, in the order of [`SIGNALS`].
static PREVIOUS: [AtomicUsize; SIGNALS.len()] =
    [const { AtomicUsize::new(libc::SIG_DFL) }; SIGNALS.len()];
/// The handler and the kernel's call of it.
const OWN_FRAMES: usize = 2;
const MOST_FRAMES: usize = 32;
const LONGEST_LINE: usize = 256;
/// A walk with its lines takes a few kilobytes, and the saved registers of a large processor some more.
const REPORT_STACK: usize = 64 * 1024;
