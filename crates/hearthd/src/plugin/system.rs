//! Restricts a process before it runs a plugin.

#![expect(unsafe_code, reason = "descriptors, signals and prctl have no safe form")]

use std::{fs::File, io, os::fd::OwnedFd, time::Duration};

use rustix::process::{Pid, Resource, Rlimit, getpid, getppid, setrlimit};

use super::filter::{Processes, filter};
use crate::config::Limits;

/// Closes every descriptor but the three standard ones; to be called before any other is opened.
pub(super) fn close_inherited() -> io::Result<()> {
    const FIRST: libc::c_uint = 3;
    // SAFETY: nothing in this process owns a descriptor from 3 on yet, so none is closed under its owner.
    let done = unsafe { libc::close_range(FIRST, libc::c_uint::MAX, 0) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Keeps every process without privileges from looking into this one, also those of the same user.
///
/// # Errors
/// Where the system does not know how.
pub(crate) fn hide_memory() -> io::Result<()> {
    // AddressSanitizer looks for leaks from another process.
    if cfg!(sanitized) {
        return Ok(());
    }
    set(libc::PR_SET_DUMPABLE, 0, 0)
}

/// Keeps this process, and whatever it starts, from reaching into the daemon that has started it.
pub(super) fn confine() -> io::Result<()> {
    hide_memory()?;
    set(libc::PR_SET_NO_NEW_PRIVS, 1, 0)?;
    let daemon = getppid();
    let number = |process: Option<Pid>| process.map_or(0, |process| process.as_raw_nonzero().get());
    // Where the daemon has ended meanwhile, this process ends as well. In a container the daemon may be in a group of
    // the host, whose number is 0 from here; rustix takes that for impossible.
    // SAFETY: the function takes a number and returns one.
    let group = unsafe { libc::getpgid(number(daemon)) };
    let processes =
        Processes { own: number(Some(getpid())), daemon: number(daemon), group: group.max(0) };
    let Some(mut filter) = filter(processes) else { return Ok(()) };
    let program = libc::sock_fprog {
        len: u16::try_from(filter.len()).map_err(io::Error::other)?,
        filter: filter.as_mut_ptr(),
    };
    set(
        libc::PR_SET_SECCOMP,
        libc::SECCOMP_MODE_FILTER.into(),
        (&raw const program) as libc::c_ulong,
    )
}

fn set(option: libc::c_int, value: libc::c_ulong, more: libc::c_ulong) -> io::Result<()> {
    const UNUSED: libc::c_ulong = 0;
    // SAFETY: the option takes numbers, or a program that outlives the call, and changes nothing that Rust relies on.
    let status = unsafe { libc::prctl(option, value, more, UNUSED, UNUSED) };
    if status == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Leaves the end of this process to the daemon, which gets the same signals from systemd or a terminal.
pub(super) fn ignore_termination() {
    for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP] {
        // SAFETY: ignoring a signal runs no code of ours.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
}

/// Takes the channel from standard input, and leaves nothing there for the plugin to read.
pub(super) fn take_standard_input() -> io::Result<OwnedFd> {
    let channel = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?;
    rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
    Ok(channel)
}

/// Limits what this process may use from now on.
pub(super) fn limit(limits: Limits) -> io::Result<()> {
    let both = |most: u64| Rlimit { current: Some(most), maximum: Some(most) };
    // AddressSanitizer's shadow memory would count as the process's own.
    if !cfg!(sanitized) {
        setrlimit(Resource::Data, both(limits.memory))?;
    }
    setrlimit(Resource::Nofile, both(limits.files))?;
    // A memory card has better things to hold.
    setrlimit(Resource::Core, both(0))?;
    allow_cpu(limits.cpu)
}

/// Allows this much CPU time from now on.
pub(super) fn allow_cpu(more: Duration) -> io::Result<()> {
    let used = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime).tv_sec;
    let most = u64::try_from(used).unwrap_or_default() + more.as_secs() + 1;
    Ok(setrlimit(Resource::Cpu, Rlimit { current: Some(most), maximum: None })?)
}
