"""Fewer privileges than root's: what the Defender and its packet loops keep, and why.

Called once by each process, early, while it has one thread: capabilities belong to a thread, and
threads and programs that are started later inherit them. Nothing here fails where a container or an
unprivileged user cannot give something up; what could not be given up is returned, for a person.

The Defender keeps uid 0, because files and sockets of root's (the container engine's, /run/cnnf,
/proc/sys) are opened by who one is. `capabilities(7)`, `linux/capability.h`, `linux/prctl.h`.
"""

import ctypes
import os
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from cnnf.defender.kernel import syscall_filter

NOBODY = 65_534

_NAMES = (
    "CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID",
    "SETPCAP", "LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW",
    "IPC_LOCK", "IPC_OWNER", "SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT",
    "SYS_ADMIN", "SYS_BOOT", "SYS_NICE", "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD",
    "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP", "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG",
    "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF", "CHECKPOINT_RESTORE",
)  # fmt: skip

#: What the Defender does that root's name alone does not allow. Each is needed: a test takes each
#: away and sees what fails.
DAEMON = {
    "NET_ADMIN": "nft, NFQUEUE, NFLOG, conntrack, SOCK_DESTROY, bridges' settings",
    "NET_RAW": "legacy iptables talks to the kernel over a raw socket",
    "SYS_ADMIN": "setns into a container's network namespace (for the rest see syscall_filter)",
    "SYS_PTRACE": "whose socket is it: descriptors, executable and namespace of others' processes",
    "DAC_READ_SEARCH": "the same, past the permissions of their /proc directories",
    "SYS_NICE": "packet loops run before all that merely calculates",
    "KILL": "ending packet loops, which are not root's",
    "SETUID": "packet loops become nobody",
    "SETGID": "packet loops become nobody",
    "SETPCAP": "packet loops give up all but one of these for good",
}
#: Verdicts, and asking for the socket behind a SYN.
LOOP = {"NET_ADMIN": "every message to nfnetlink is checked for it"}

_VERSION_3 = 0x20080522
_PR_SET_KEEPCAPS, _PR_CAPBSET_READ, _PR_CAPBSET_DROP = 8, 23, 24
_PR_SET_NO_NEW_PRIVS, _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL = 38, 47, 4
_libc = ctypes.CDLL(None, use_errno=True)


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Data(ctypes.Structure):
    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


def confine_daemon() -> list[str]:
    """Keep of root's powers only those in `DAEMON`, for this process and all it will start.

    What could not be given up, as sentences; empty when all went well.
    """
    return _confine(DAEMON, filter_calls=syscall_filter.DAEMON)


def confine_loop() -> list[str]:
    """Become nobody, with no capability but those in `LOOP`. Returned as above.

    Called when the queue is bound and the priority set; all modules are imported by then, since
    nobody may not be able to read them.
    """
    return _confine(LOOP, filter_calls=syscall_filter.LOOP, user=NOBODY)


def held() -> list[str]:
    """The names of the capabilities in force, such as `NET_ADMIN`, in the kernel's order."""
    effective, _ = _get()
    return [_name(number) for number in range(64) if effective >> number & 1]


def _confine(
    keep: Iterable[str], *, filter_calls: syscall_filter.Refused, user: int | None = None
) -> list[str]:
    problems: list[str] = []
    kept = sum(1 << _NAMES.index(name) for name in keep)
    threads = len(os.listdir("/proc/self/task"))  # noqa: PTH208
    if threads > 1:
        problems.append(f"{threads - 1} other threads keep their privileges")
    _try(
        problems, "ambient capabilities", lambda: _prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)
    )
    for number in range(_last() + 1):
        if not kept >> number & 1 and _prctl(_PR_CAPBSET_READ, number):
            subject = f"capability {_name(number)} for programs that are started"
            _try(problems, subject, partial(_prctl, _PR_CAPBSET_DROP, number))
    if user is not None:
        _prctl(_PR_SET_KEEPCAPS, 1)
        _try(problems, "root's groups", lambda: os.setgroups([]))
        _try(problems, "root's group", lambda: os.setresgid(user, user, user))
        _try(problems, "root's name", lambda: os.setresuid(user, user, user))
    _, permitted = _get()
    _try(problems, "capabilities", lambda: _set(permitted & kept))
    _try(problems, "gaining privileges by a program", lambda: _prctl(_PR_SET_NO_NEW_PRIVS, 1))
    # Needs no_new_privs or SYS_ADMIN, and refuses prctl's dangerous relatives from here on.
    _try(problems, "system calls", lambda: syscall_filter.install(filter_calls))
    return problems


def _try(problems: list[str], subject: str, act: Callable[[], object]) -> None:
    try:
        act()
    except OSError as error:
        problems.append(f"{subject}: {error.strerror}")


def _get() -> tuple[int, int]:
    """Effective and permitted, as bits."""
    header, data = _Header(_VERSION_3, 0), (_Data * 2)()
    if _libc.capget(ctypes.byref(header), data) != 0:
        raise _error("capget")
    return (
        data[0].effective | data[1].effective << 32,
        data[0].permitted | data[1].permitted << 32,
    )


def _set(bits: int) -> None:
    """Effective and permitted become these, inheritable none."""
    header, data = _Header(_VERSION_3, 0), (_Data * 2)()
    for half in (0, 1):
        data[half].effective = data[half].permitted = bits >> 32 * half & 0xFFFFFFFF
    if _libc.capset(ctypes.byref(header), data) != 0:
        raise _error("capset")


def _prctl(option: int, value: int) -> int:
    arguments = [ctypes.c_ulong(one) for one in (value, 0, 0, 0)]
    result = int(_libc.prctl(option, *arguments))
    if result < 0:
        raise _error("prctl")
    return result


def _error(call: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, f"{call}: {os.strerror(number)}")


def _last() -> int:
    """The highest capability of this kernel."""
    try:
        return int(Path("/proc/sys/kernel/cap_last_cap").read_text())
    except (OSError, ValueError):
        return len(_NAMES) - 1


def _name(number: int) -> str:
    return _NAMES[number] if number < len(_NAMES) else f"capability {number}"
