"""The filter of system calls, run step by step as the kernel would."""

import struct

import pytest

from cnnf.defender.kernel import syscall_filter
from cnnf.defender.kernel.syscall_filter import DAEMON, LOOP, Refused, program_for

X86, ARM = 0xC000003E, 0xC00000B7
EPERM = 0x00050001
ALLOWED = 0x7FFF0000
NEWNET, NEWNS = 0x40000000, 0x00020000


def run(program: bytes, number: int, audit: int = X86, second: int = 0) -> int:
    """What the filter returns for a call with this second argument (classic BPF)."""
    data = struct.pack("<IIQ6Q", number, audit, 0, 0, second, 0, 0, 0, 0)
    steps = list(struct.iter_unpack("=HBBI", program))
    at, accumulator = 0, 0
    for _ in range(len(steps)):
        code, yes, no, value = steps[at]
        if code == 0x06:
            return int(value)
        if code == 0x20:
            (accumulator,) = struct.unpack_from("<I", data, value)
            at += 1
        else:
            met = accumulator == value if code == 0x15 else accumulator >= value
            at += 1 + (yes if met else no)
    raise AssertionError("no step returns")


@pytest.mark.parametrize(
    ("refused", "number", "expected"),
    [
        (DAEMON, 165, EPERM),  # mount
        (DAEMON, 169, EPERM),  # reboot
        (DAEMON, 442, EPERM),  # mount_setattr
        (DAEMON, 59, ALLOWED),  # execve
        (DAEMON, 0, ALLOWED),
        (DAEMON, 41, ALLOWED),  # socket
        (DAEMON, 0x40000000 + 165, EPERM),  # by the x32 ABI
        (DAEMON, 0xFFFFFFFF, EPERM),
        (LOOP, 59, EPERM),
        (LOOP, 308, EPERM),  # setns
        (LOOP, 44, ALLOWED),  # sendto
    ],
)
def test_calls_by_number(refused: Refused, number: int, expected: int) -> None:
    assert run(program_for(refused, X86, 0), number) == expected


def test_another_architecture_is_refused_whole() -> None:
    assert run(program_for(DAEMON, X86, 0), 41, audit=0x40000003) == EPERM


def test_the_other_column_is_another_machines() -> None:
    program = program_for(DAEMON, ARM, 1)
    assert run(program, 40, ARM) == EPERM  # mount
    assert run(program, 165, ARM) == ALLOWED  # getrusage there
    assert run(program, 268, ARM, NEWNET) == ALLOWED
    assert run(program, 268, ARM, NEWNS) == EPERM


@pytest.mark.parametrize(
    ("kind", "expected"), [(NEWNET, ALLOWED), (NEWNS, EPERM), (0, EPERM), (NEWNET | NEWNS, EPERM)]
)
def test_only_network_namespaces_are_entered(kind: int, expected: int) -> None:
    program = program_for(DAEMON, X86, 0)
    assert run(program, 308, second=kind) == expected
    # The call after it in the table is not mistaken for it.
    assert run(program, 309, second=kind) == ALLOWED


def test_every_refused_call_is_refused_on_every_machine() -> None:
    for machine in syscall_filter._MACHINES.values():
        program = program_for(LOOP, machine.audit, machine.column)
        for numbers in syscall_filter._NUMBERS.values():
            assert run(program, numbers[machine.column], machine.audit) == EPERM
        # A filter has at most 4,096 steps.
        assert len(program) // 8 < 4_096
