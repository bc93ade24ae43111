"""System calls that the Defender never makes, refused by the kernel: seccomp.

Entering a container's network namespace needs CAP_SYS_ADMIN, and with that come mounting file
systems and much else. What of it is not needed is refused here with EPERM, for this process and all
it starts. `linux/seccomp.h`, `linux/filter.h`; numbers of `asm/unistd.h`.
"""

import ctypes
import os
import platform
import struct
from typing import NamedTuple


class _Machine(NamedTuple):
    """An architecture: AUDIT_ARCH_* and which column of the table holds its numbers."""

    audit: int
    column: int


_MACHINES = {"x86_64": _Machine(0xC000003E, 0), "aarch64": _Machine(0xC00000B7, 1)}
#: On x86_64, calls by the x32 ABI have this bit in their number.
_X32 = 0x40000000

_NUMBERS = {
    # Mounts: what a container or the host sees of the file system.
    "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51),
    "open_tree": (428, 428), "move_mount": (429, 429), "fsopen": (430, 430), "fsconfig": (431, 431),
    "fsmount": (432, 432), "fspick": (433, 433), "mount_setattr": (442, 442),
    "open_by_handle_at": (304, 265), "quotactl": (179, 60), "fanotify_init": (300, 262),
    # The machine: its code, its power, its clock, its name.
    "init_module": (175, 105), "finit_module": (313, 273), "delete_module": (176, 106),
    "kexec_load": (246, 104), "kexec_file_load": (320, 294), "reboot": (169, 142),
    "swapon": (167, 224), "swapoff": (168, 225), "acct": (163, 89), "settimeofday": (164, 170),
    "clock_settime": (227, 112), "adjtimex": (159, 171), "clock_adjtime": (305, 266),
    "sethostname": (170, 161), "setdomainname": (171, 162),
    # Other processes: they are looked at in /proc, never entered or changed.
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271),
    # Programs in the kernel, and what has often been a way around its checks.
    "bpf": (321, 280), "perf_event_open": (298, 241), "userfaultfd": (323, 282),
    "add_key": (248, 217), "request_key": (249, 218), "keyctl": (250, 219),
    # New namespaces, in which one is root again.
    "unshare": (272, 97),
    # Programs: a packet loop starts none.
    "execve": (59, 221), "execveat": (322, 281),
    # Namespaces are entered by the daemon only, and only network namespaces.
    "setns": (308, 268),
}  # fmt: skip


class Refused(NamedTuple):
    """Which calls are refused, and whether setns is let through for network namespaces."""

    names: frozenset[str]
    network_namespaces: bool


_STARTING = frozenset({"execve", "execveat"})
DAEMON = Refused(frozenset(_NUMBERS) - _STARTING - {"setns"}, network_namespaces=True)
LOOP = Refused(frozenset(_NUMBERS), network_namespaces=False)

_CLONE_NEWNET = 0x40000000
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050001  # SECCOMP_RET_ALLOW; SECCOMP_RET_ERRNO with EPERM
_LOAD, _IF_EQUAL, _IF_AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
#: `struct seccomp_data`: number, architecture, instruction pointer, six arguments of 64 bits.
_AT_NUMBER, _AT_ARCHITECTURE, _AT_SECOND_ARGUMENT = 0, 4, 24
_PR_SET_SECCOMP, _MODE_FILTER = 22, 2
_libc = ctypes.CDLL(None, use_errno=True)


def install(refused: Refused) -> None:
    """Refuse these calls from now on, for good. Raises OSError (ENOSYS on other machines)."""
    machine = _MACHINES.get(platform.machine())
    if machine is None:
        raise OSError(38, f"no table of system calls for {platform.machine()}")
    program = program_for(refused, machine.audit, machine.column)
    instructions = ctypes.create_string_buffer(program)
    # struct sock_fprog: how many, where; the kernel copies them.
    header = struct.pack("@HP", len(program) // 8, ctypes.addressof(instructions))
    result = _libc.prctl(
        _PR_SET_SECCOMP, ctypes.c_ulong(_MODE_FILTER), ctypes.create_string_buffer(header), 0, 0
    )
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def program_for(refused: Refused, audit: int, column: int) -> bytes:
    """The filter in classic BPF, eight bytes an instruction."""
    numbers = sorted(_NUMBERS[name][column] for name in refused.names)
    steps = [
        (_LOAD, 0, 0, _AT_ARCHITECTURE),
        (_IF_EQUAL, 1, 0, audit),
        (_RETURN, 0, 0, _REFUSE),
        (_LOAD, 0, 0, _AT_NUMBER),
        (_IF_AT_LEAST, 0, 1, _X32),
        (_RETURN, 0, 0, _REFUSE),
    ]
    for number in numbers:
        steps += [(_IF_EQUAL, 0, 1, number), (_RETURN, 0, 0, _REFUSE)]
    if refused.network_namespaces:
        steps += [
            (_IF_EQUAL, 0, 3, _NUMBERS["setns"][column]),
            # The lower half of the argument, on a little-endian machine; it is an int.
            (_LOAD, 0, 0, _AT_SECOND_ARGUMENT),
            (_IF_EQUAL, 1, 0, _CLONE_NEWNET),
            (_RETURN, 0, 0, _REFUSE),
        ]
    steps.append((_RETURN, 0, 0, _ALLOW))
    return b"".join(struct.pack("=HBBI", *step) for step in steps)
