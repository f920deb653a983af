//! Notes in the file of calls which signal ended the process, or that a plugin's code has called `exit`.

#![expect(unsafe_code, reason = "signal handlers are set and run by the C library")]

use std::{io, mem, ptr, sync::OnceLock};

use super::calls::{EXIT, note_ending};

/// Watches for the end of this process from now on.
///
/// # Errors
/// Where the system does not let it.
pub(super) fn watch() -> io::Result<()> {
    static WATCHED: OnceLock<()> = OnceLock::new();
    if WATCHED.set(()).is_err() {
        return Ok(());
    }
    for (signal, before) in SIGNALS.iter().zip(&BEFORE) {
        // SAFETY: a structure of zeros is an action without flags.
        let mut action: libc::sigaction = unsafe { mem::zeroed() };
        action.sa_sigaction = on_signal as *const () as usize;
        // On the stack for signals: the one at hand may have overflowed.
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        // SAFETY: as above.
        let mut old: libc::sigaction = unsafe { mem::zeroed() };
        // SAFETY: it asks for the action that holds.
        check(unsafe { libc::sigaction(*signal, ptr::null(), &raw mut old) })?;
        // Ahead of the handler, which needs it.
        let _ = before.set(old);
        // SAFETY: the handler calls nothing that is not safe in a signal handler.
        check(unsafe { libc::sigaction(*signal, &raw const action, ptr::null_mut()) })?;
    }
    // SAFETY: the function stays, and takes nothing.
    check(unsafe { libc::atexit(on_exit) })
}

fn check(status: libc::c_int) -> io::Result<()> {
    if status == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Notes the signal, and leaves the rest to what was there before.
extern "C" fn on_signal(
    number: libc::c_int,
    info: *mut libc::siginfo_t,
    _context: *mut libc::c_void,
) {
    note_ending(number);
    let before = SIGNALS.iter().position(|signal| *signal == number);
    if let Some(old) = before.and_then(|at| BEFORE[at].get()) {
        // SAFETY: the action was the process's own.
        unsafe { libc::sigaction(number, old, ptr::null_mut()) };
    }
    // SAFETY: the kernel describes the signal here (SA_SIGINFO).
    let code = unsafe { (*info).si_code };
    // A fault comes again on return; what was sent must be sent again.
    if code <= 0 {
        // SAFETY: it is safe in a signal handler, and takes effect when this one returns.
        unsafe { libc::raise(number) };
    }
}

extern "C" fn on_exit() {
    note_ending(EXIT);
}

/// What a defect in a plugin ends the process by.
const SIGNALS: [libc::c_int; 6] =
    [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE, libc::SIGTRAP, libc::SIGABRT];

/// What was done about each of them before.
static BEFORE: [OnceLock<libc::sigaction>; SIGNALS.len()] =
    [const { OnceLock::new() }; SIGNALS.len()];
