//! Which system calls the loop may use once it runs: a seccomp filter, by hand.
//!
//! Anything else is answered EPERM. Not killed: a system call that some C library makes where this
//! one does not (on a new allocator path, say) must not take the firewall down; refused, it is as
//! useless to an intruder.

use crate::sys::FilterInstruction;

#[cfg(target_arch = "x86_64")]
mod numbers {
    pub const ARCHITECTURE: u32 = 0xc000_003e;
    /// read, write, close, poll, munmap, brk, rt_sigaction, rt_sigprocmask, rt_sigreturn, pread64,
    /// mremap, madvise, getpid, sendto, recvfrom, sendmsg, recvmsg, exit, fcntl, sigaltstack,
    /// gettid, futex, restart_syscall, clock_gettime, exit_group, tgkill, ppoll, recvmmsg,
    /// getrandom.
    pub const ALLOWED: &[u32] = &[
        0, 1, 3, 7, 11, 12, 13, 14, 15, 17, 25, 28, 39, 44, 45, 46, 47, 60, 72, 131, 186, 202, 219,
        228, 231, 234, 271, 299, 318,
    ];
    /// mmap, mprotect: not for code.
    pub const MEMORY: &[u32] = &[9, 10];
}

#[cfg(target_arch = "aarch64")]
mod numbers {
    pub const ARCHITECTURE: u32 = 0xc000_00b7;
    /// The same, by this architecture's numbers; there is no poll, only ppoll.
    pub const ALLOWED: &[u32] = &[
        63, 64, 57, 215, 214, 134, 135, 139, 67, 216, 233, 172, 206, 207, 211, 212, 93, 25, 132,
        178, 98, 128, 113, 94, 131, 73, 243, 278,
    ];
    pub const MEMORY: &[u32] = &[222, 226];
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
pub fn filter() -> Option<Vec<FilterInstruction>> {
    None
}

/// The filter for this architecture; `None` where its numbers are not known.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
pub fn filter() -> Option<Vec<FilterInstruction>> {
    use numbers::{ALLOWED, ARCHITECTURE, MEMORY};

    const LOAD: u16 = 0x20;
    const JUMP_EQUAL: u16 = 0x15;
    const JUMP_ANY_BIT: u16 = 0x45;
    const RETURN: u16 = 0x06;
    const ALLOW: u32 = 0x7fff_0000;
    const EPERM: u32 = 0x0005_0000 | 1;
    const PROT_EXEC: u32 = 4;
    // `struct seccomp_data`: number, architecture, instruction pointer, arguments of 8 bytes.
    const NUMBER: u32 = 0;
    const ARCHITECTURE_AT: u32 = 4;
    const PROTECTION: u32 = 32;

    let step = |code, value, jump_true, jump_false| FilterInstruction {
        code,
        jump_true,
        jump_false,
        value,
    };
    // Behind the tests stand, in this order: refuse, look at protection (3 steps), allow.
    let tests = ALLOWED.len() + MEMORY.len();
    let mut program = vec![
        step(LOAD, ARCHITECTURE_AT, 0, 0),
        step(JUMP_EQUAL, ARCHITECTURE, 0, tests as u8 + 1),
        step(LOAD, NUMBER, 0, 0),
    ];
    for (place, number) in ALLOWED.iter().enumerate() {
        program.push(step(JUMP_EQUAL, *number, (tests - place - 1) as u8 + 4, 0));
    }
    for (place, number) in MEMORY.iter().enumerate() {
        program.push(step(JUMP_EQUAL, *number, (MEMORY.len() - place - 1) as u8 + 1, 0));
    }
    program.extend([
        step(RETURN, EPERM, 0, 0),
        step(LOAD, PROTECTION, 0, 0),
        step(JUMP_ANY_BIT, PROT_EXEC, 0, 1),
        step(RETURN, EPERM, 0, 0),
        step(RETURN, ALLOW, 0, 0),
    ]);
    Some(program)
}
