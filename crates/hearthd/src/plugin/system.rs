//! What a process does to itself before it runs a plugin: the only calls of libc outside the plugin ABI.

#![expect(unsafe_code, reason = "closing descriptors and ignoring signals have no safe form")]

use std::{fs::File, io, os::fd::OwnedFd, time::Duration};

use rustix::process::{Resource, Rlimit, setrlimit};

use crate::config::Limits;

/// Closes every descriptor but the three standard ones; to be called before any other is opened.
pub(super) fn close_inherited() -> io::Result<()> {
    const FIRST: libc::c_uint = 3;
    // SAFETY: nothing in this process owns a descriptor from 3 on yet, so none is closed under its owner.
    let done = unsafe { libc::close_range(FIRST, libc::c_uint::MAX, 0) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Leaves the end of this process to the daemon, which gets the same signals from systemd or a terminal.
pub(super) fn ignore_termination() {
    for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP] {
        // SAFETY: ignoring a signal runs no code of ours.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
}

/// Takes the wire from standard input, and leaves nothing there for the plugin to read.
pub(super) fn take_standard_input() -> io::Result<OwnedFd> {
    let wire = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?;
    rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
    Ok(wire)
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
