//! Leaves the loop with nothing but what answering packets needs: CAP_NET_ADMIN, which the kernel
//! asks for with every verdict, no user of its own, and a handful of system calls.

use std::io;

use crate::seccomp;
use crate::sys::{self, Capabilities};

/// Well above everything else, and still below what may starve the machine (real-time classes): a
/// SYN must not wait until the daemon or the Console has used up its share of the processor.
const NICE: i32 = -15;
/// The kernel's "overflow" user and group, commonly nobody and nogroup.
const NOBODY: u32 = 65_534;
const CAP_NET_ADMIN: u32 = 12;
const CAPABILITIES_MAX: u32 = 64;

const PR_SET_DUMPABLE: i32 = 4;
const PR_SET_KEEPCAPS: i32 = 8;
const PR_CAPBSET_DROP: i32 = 24;
const PR_SET_NO_NEW_PRIVS: i32 = 38;
const PR_CAP_AMBIENT: i32 = 47;
const PR_CAP_AMBIENT_CLEAR_ALL: u64 = 4;

const EPERM: i32 = 1;
const EINVAL: i32 = 22;

/// Take the priority and give up the rest. Memory is not locked: with a locked stack a limit
/// (RLIMIT_MEMLOCK) would end the process when the stack grows.
///
/// What can't be given up because it was never had, or because the kernel does not know it, is no
/// failure; everything else is, with a sentence.
pub fn confine() -> Result<(), String> {
    sys::ignore_interrupt();
    // Without the privilege for it the loop works all the same, only later.
    let _ = sys::set_nice(NICE);
    for capability in (0..CAPABILITIES_MAX).filter(|one| *one != CAP_NET_ADMIN) {
        let dropped = sys::control_process(PR_CAPBSET_DROP, u64::from(capability));
        tolerate("dropping the bounding set", dropped, &[EPERM, EINVAL])?;
    }
    if sys::is_root() {
        tolerate("keeping capabilities", sys::control_process(PR_SET_KEEPCAPS, 1), &[])?;
        // In a user namespace there may be no such user, and groups may be fixed.
        tolerate("leaving groups", sys::drop_groups(), &[EPERM])?;
        tolerate("leaving the group", sys::become_group(NOBODY), &[EPERM, EINVAL])?;
        tolerate("leaving the user", sys::become_user(NOBODY), &[EPERM, EINVAL])?;
    }
    keep_only_net_admin().map_err(|error| format!("giving up capabilities: {error}"))?;
    let ambient = sys::control_process(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL);
    tolerate("clearing ambient capabilities", ambient, &[EINVAL])?;
    tolerate("forbidding core dumps", sys::control_process(PR_SET_DUMPABLE, 0), &[])?;
    tolerate("forbidding new privileges", sys::control_process(PR_SET_NO_NEW_PRIVS, 1), &[])?;
    if let Some(filter) = seccomp::filter() {
        // EINVAL: a kernel without seccomp filters.
        tolerate("filtering system calls", sys::install_filter(&filter), &[EINVAL])?;
    }
    Ok(())
}

fn keep_only_net_admin() -> io::Result<()> {
    let [low, _] = sys::capabilities()?;
    let kept = low.permitted & 1 << CAP_NET_ADMIN;
    let low = Capabilities { effective: kept, permitted: kept, inheritable: 0 };
    sys::set_capabilities([low, Capabilities::default()])
}

fn tolerate(what: &str, result: io::Result<()>, tolerated: &[i32]) -> Result<(), String> {
    match result {
        Err(error) if !tolerated.contains(&error.raw_os_error().unwrap_or(0)) => {
            Err(format!("{what}: {error}"))
        }
        _ => Ok(()),
    }
}
