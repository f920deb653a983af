//! Every way in which one process can reach into another, harmless each: what counts is whether the kernel lets it.

#![expect(
    unsafe_code,
    reason = "the calls of the system have no safe form that would not check first"
)]

use std::{fs::File, io::Read, mem, ptr};

/// Names the ways to the process that has started this one, and to its threads, that are open.
pub(crate) fn what_is_in_reach() -> String {
    // SAFETY: it takes nothing.
    let hub = unsafe { libc::getppid() };
    let tasks = std::fs::read_dir(format!("/proc/{hub}/task")).into_iter().flatten().flatten();
    let threads = tasks.filter_map(|task| task.file_name().to_str()?.parse().ok());
    let thread: libc::c_long = threads.filter(|thread| *thread != hub).max().unwrap_or(hub).into();
    let hub = libc::c_long::from(hub);
    let attempts = [
        ("kill", libc::SYS_kill, [hub, 0, 0, 0]),
        ("kill a thread", libc::SYS_kill, [thread, 0, 0, 0]),
        ("kill all", libc::SYS_kill, [-1, 0, 0, 0]),
        ("tgkill", libc::SYS_tgkill, [hub, hub, 0, 0]),
        ("tkill", libc::SYS_tkill, [thread, 0, 0, 0]),
        ("pidfd_open", libc::SYS_pidfd_open, [hub, 0, 0, 0]),
        ("ptrace", libc::SYS_ptrace, [PTRACE_SEIZE, hub, 0, 0]),
        ("prlimit", libc::SYS_prlimit64, [hub, 7, 0, 0]),
        ("fcntl", libc::SYS_fcntl, [0, libc::F_SETOWN.into(), hub, 0]),
    ];
    let open = |(_, number, [one, two, three, four]): &(_, _, [libc::c_long; 4])| {
        // SAFETY: none of them touches the memory of this process.
        unsafe { libc::syscall(*number, *one, *two, *three, *four) >= 0 }
    };
    let mut names: Vec<_> =
        attempts.into_iter().filter(open).map(|(name, ..)| name.to_owned()).collect();
    names.extend(queues_a_signal(hub).then(|| "rt_sigqueueinfo".to_owned()));
    names.extend(reads_memory(hub).then(|| "process_vm_readv".to_owned()));
    // Whoever may do everything may read this.
    // SAFETY: it takes nothing.
    if unsafe { libc::geteuid() } != 0 {
        let mut byte = [0];
        let memory =
            File::open(format!("/proc/{hub}/mem")).and_then(|mut file| file.read(&mut byte));
        names.extend(memory.is_ok().then(|| "/proc/PID/mem".to_owned()));
    }
    format!("open: {}", names.join(", "))
}

/// Returns whether processes of the same user may look into this one.
pub(crate) fn is_dumpable() -> i32 {
    // SAFETY: it asks.
    unsafe { libc::prctl(libc::PR_GET_DUMPABLE, 0, 0, 0, 0) }
}

fn queues_a_signal(process: libc::c_long) -> bool {
    // SAFETY: zeros are a signal's description.
    let mut info: libc::siginfo_t = unsafe { mem::zeroed() };
    info.si_code = libc::SI_QUEUE;
    // SAFETY: the description outlives the call.
    unsafe { libc::syscall(libc::SYS_rt_sigqueueinfo, process, 0, &raw mut info) >= 0 }
}

fn reads_memory(process: libc::c_long) -> bool {
    let mut byte = 0_u8;
    let here = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
    // Nothing is there to be read: who may read gets EFAULT.
    let there = libc::iovec { iov_base: ptr::null_mut(), iov_len: 1 };
    // SAFETY: the vectors outlive the call, and the byte is this process's own.
    let read = unsafe {
        libc::syscall(
            libc::SYS_process_vm_readv,
            process,
            &raw const here,
            1,
            &raw const there,
            1,
            0,
        )
    };
    read >= 0 || std::io::Error::last_os_error().raw_os_error() == Some(libc::EFAULT)
}

/// <linux/ptrace.h>
const PTRACE_SEIZE: libc::c_long = 0x4206;
