//! The system calls that a process with a plugin may make: none that affects the daemon.
//!
//! The kernel applies the filter to every system call (seccomp(2)), also of programs that the process starts.

use libc::{c_long, sock_filter};

/// Whom a process may not reach.
#[derive(Clone, Copy, Debug)]
pub(super) struct Processes {
    /// The process itself.
    pub(super) own: i32,
    /// The daemon.
    pub(super) daemon: i32,
    /// The daemon's process group.
    pub(super) group: i32,
}

/// Returns the filter for this machine; `None` if the numbers of its system calls are not known here.
pub(super) fn filter(processes: Processes) -> Option<Vec<sock_filter>> {
    let mut filter = vec![load(ARCHITECTURE_AT), jump_if(EQUAL, ARCHITECTURE?, 1, 0), refuse()];
    filter.push(load(NUMBER_AT));
    if cfg!(target_arch = "x86_64") {
        // The same calls by other numbers (x32).
        filter.extend([jump_if(AT_LEAST, 0x4000_0000, 0, 1), refuse()]);
    }
    for (number, rule) in RULES {
        let block = block(*rule, processes);
        let length = u8::try_from(block.len()).expect("a rule is short");
        filter.push(jump_if(EQUAL, u32::try_from(*number).ok()?, 0, length));
        filter.extend(block);
    }
    filter.push(allow());
    Some(filter)
}

/// What holds for a call.
#[derive(Clone, Copy, Debug)]
enum Rule {
    Never,
    /// For this process itself, as its first argument says; 0 means the same.
    Own,
    /// As [`Rule::Own`], and for groups of processes other than the daemon's.
    OwnOrGroup,
    /// For any process but the daemon, without the flags in the second argument.
    NotDaemon {
        flags: u32,
    },
    /// Without these values of the second argument.
    Without([u32; 2]),
}

const RULES: &[(c_long, Rule)] = &[
    (libc::SYS_kill, Rule::OwnOrGroup),
    (libc::SYS_rt_sigqueueinfo, Rule::Own),
    // The number of any thread will do for this one.
    (libc::SYS_tkill, Rule::Never),
    // Programs that the process starts have numbers of their own, and use these on themselves.
    (libc::SYS_tgkill, Rule::NotDaemon { flags: 0 }),
    (libc::SYS_rt_tgsigqueueinfo, Rule::NotDaemon { flags: 0 }),
    (libc::SYS_pidfd_open, Rule::NotDaemon { flags: PIDFD_THREAD }),
    (libc::SYS_pidfd_send_signal, Rule::Never),
    (libc::SYS_pidfd_getfd, Rule::Never),
    (libc::SYS_ptrace, Rule::Never),
    (libc::SYS_process_vm_readv, Rule::Never),
    (libc::SYS_process_vm_writev, Rule::Never),
    (libc::SYS_process_madvise, Rule::Never),
    (libc::SYS_kcmp, Rule::Never),
    (libc::SYS_prlimit64, Rule::Own),
    // The kernel sends signals for them.
    (libc::SYS_fcntl, Rule::Without([F_SETOWN, F_SETOWN_EX])),
    #[cfg(target_arch = "arm")]
    (libc::SYS_fcntl64, Rule::Without([F_SETOWN, F_SETOWN_EX])),
    (libc::SYS_ioctl, Rule::Without([FIOSETOWN, SIOCSPGRP])),
];

/// Returns the instructions for one call; every way through them ends in an answer.
fn block(rule: Rule, processes: Processes) -> Vec<sock_filter> {
    let Processes { own, daemon, group } = processes;
    let [own, daemon, of_daemon, of_group] = [own, daemon, -daemon, -group].map(i32::cast_unsigned);
    let everybody = (-1_i32).cast_unsigned();
    match rule {
        Rule::Never => vec![refuse()],
        Rule::Own => vec![
            load(FIRST_ARGUMENT_AT),
            jump_if(EQUAL, own, 1, 0),
            jump_if(EQUAL, 0, 0, 1),
            allow(),
            refuse(),
        ],
        Rule::OwnOrGroup => vec![
            load(FIRST_ARGUMENT_AT),
            jump_if(EQUAL, own, 5, 0),
            jump_if(EQUAL, 0, 4, 0),
            jump_if(AT_LEAST, NEGATIVE, 0, 4),
            jump_if(EQUAL, everybody, 3, 0),
            jump_if(EQUAL, of_group, 2, 0),
            jump_if(EQUAL, of_daemon, 1, 0),
            allow(),
            refuse(),
        ],
        Rule::NotDaemon { flags } => vec![
            load(FIRST_ARGUMENT_AT),
            jump_if(EQUAL, daemon, 3, 0),
            load(SECOND_ARGUMENT_AT),
            jump_if(ANY_OF, flags, 1, 0),
            allow(),
            refuse(),
        ],
        Rule::Without([one, other]) => vec![
            load(SECOND_ARGUMENT_AT),
            jump_if(EQUAL, one, 2, 0),
            jump_if(EQUAL, other, 1, 0),
            allow(),
            refuse(),
        ],
    }
}

fn load(at: u32) -> sock_filter {
    instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, at, 0, 0)
}

fn jump_if(condition: u32, value: u32, if_so: u8, otherwise: u8) -> sock_filter {
    instruction(libc::BPF_JMP | condition | libc::BPF_K, value, if_so, otherwise)
}

fn allow() -> sock_filter {
    instruction(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW, 0, 0)
}

/// Answers EPERM.
fn refuse() -> sock_filter {
    let error = libc::SECCOMP_RET_ERRNO | libc::EPERM.cast_unsigned();
    instruction(libc::BPF_RET | libc::BPF_K, error, 0, 0)
}

fn instruction(code: u32, k: u32, jt: u8, jf: u8) -> sock_filter {
    sock_filter { code: u16::try_from(code).expect("codes are small"), jt, jf, k }
}

const EQUAL: u32 = libc::BPF_JEQ;
const AT_LEAST: u32 = libc::BPF_JGE;
const ANY_OF: u32 = libc::BPF_JSET;

/// Where the kernel puts what a filter can look at (`struct seccomp_data`); of arguments, the lower half.
const NUMBER_AT: u32 = 0;
const ARCHITECTURE_AT: u32 = 4;
const FIRST_ARGUMENT_AT: u32 = 16;
const SECOND_ARGUMENT_AT: u32 = 24;
const _: () = assert!(cfg!(target_endian = "little"), "the lower half of an argument comes first");

/// This machine's number in <linux/audit.h>.
const ARCHITECTURE: Option<u32> = if cfg!(target_arch = "x86_64") {
    Some(0xc000_003e)
} else if cfg!(target_arch = "aarch64") {
    Some(0xc000_00b7)
} else if cfg!(target_arch = "arm") {
    Some(0x4000_0028)
} else {
    None
};

const NEGATIVE: u32 = 0x8000_0000;
/// <linux/pidfd.h>: a single thread, by its own number.
const PIDFD_THREAD: u32 = libc::O_EXCL.cast_unsigned();
const F_SETOWN: u32 = 8;
const F_SETOWN_EX: u32 = 15;
const FIOSETOWN: u32 = 0x8901;
const SIOCSPGRP: u32 = 0x8902;

#[cfg(test)]
mod tests {
    use super::*;

    const PROCESSES: Processes = Processes { own: 200, daemon: 100, group: 90 };

    /// Runs the filter as the kernel does, for one call.
    fn is_allowed(number: c_long, arguments: [i32; 2]) -> bool {
        let filter = filter(PROCESSES).unwrap();
        let (mut at, mut accumulator) = (0, 0);
        loop {
            let sock_filter { code, jt, jf, k } = filter[at];
            at += 1;
            let code = u32::from(code);
            let jump = |so: bool| usize::from(if so { jt } else { jf });
            if code == libc::BPF_LD | libc::BPF_W | libc::BPF_ABS {
                accumulator = match k {
                    NUMBER_AT => u32::try_from(number).unwrap(),
                    ARCHITECTURE_AT => ARCHITECTURE.unwrap(),
                    FIRST_ARGUMENT_AT => arguments[0].cast_unsigned(),
                    SECOND_ARGUMENT_AT => arguments[1].cast_unsigned(),
                    other => panic!("a load from {other}"),
                };
            } else if code == libc::BPF_RET {
                return k == libc::SECCOMP_RET_ALLOW;
            } else if code == libc::BPF_JMP | EQUAL {
                at += jump(accumulator == k);
            } else if code == libc::BPF_JMP | AT_LEAST {
                at += jump(accumulator >= k);
            } else if code == libc::BPF_JMP | ANY_OF {
                at += jump(accumulator & k != 0);
            } else {
                panic!("code {code:#x}");
            }
        }
    }

    #[test]
    fn a_process_may_signal_itself_and_groups_that_it_made() {
        for process in [200, 0, -200, -300] {
            assert!(is_allowed(libc::SYS_kill, [process, 9]), "{process}");
        }
        for process in [100, -100, -90, -1, 1, 101, 300, i32::MAX] {
            assert!(!is_allowed(libc::SYS_kill, [process, 9]), "{process}");
        }
        assert!(is_allowed(libc::SYS_tgkill, [200, 201]));
        assert!(is_allowed(libc::SYS_tgkill, [300, 300]));
        assert!(!is_allowed(libc::SYS_tgkill, [100, 100]));
        assert!(!is_allowed(libc::SYS_tkill, [101, 9]));
        assert!(is_allowed(libc::SYS_rt_sigqueueinfo, [200, 9]));
        assert!(!is_allowed(libc::SYS_rt_sigqueueinfo, [101, 9]));
    }

    #[test]
    fn it_may_look_at_what_it_started_and_at_nothing_of_the_daemon() {
        assert!(is_allowed(libc::SYS_pidfd_open, [300, 0]));
        assert!(!is_allowed(libc::SYS_pidfd_open, [100, 0]));
        assert!(!is_allowed(libc::SYS_pidfd_open, [101, libc::O_EXCL]));
        for number in [
            libc::SYS_ptrace,
            libc::SYS_process_vm_readv,
            libc::SYS_process_vm_writev,
            libc::SYS_pidfd_send_signal,
            libc::SYS_pidfd_getfd,
        ] {
            assert!(!is_allowed(number, [0, 0]), "{number}");
        }
        assert!(is_allowed(libc::SYS_prlimit64, [0, 7]));
        assert!(!is_allowed(libc::SYS_prlimit64, [100, 7]));
    }

    #[test]
    fn everything_else_is_as_before() {
        for number in [libc::SYS_read, libc::SYS_clone, libc::SYS_execve, libc::SYS_openat] {
            assert!(is_allowed(number, [100, 8]), "{number}");
        }
        assert!(is_allowed(libc::SYS_fcntl, [3, libc::F_SETFL]));
        assert!(!is_allowed(libc::SYS_fcntl, [3, 8]));
        assert!(!is_allowed(libc::SYS_ioctl, [3, 0x8902]));
    }
}
