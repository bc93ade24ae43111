"""What `cnnf doctor` makes of what it read."""

import pytest

from cnnf.defender.core.conflicts import ADVICE, conflict
from cnnf.defender.core.requirements import (
    check_bridges,
    check_front_ends,
    check_kernel,
    check_marks,
    check_privileges,
    check_queues,
)

QUEUE_LINE = " 8031   3456     0 2   512     0     0       10  1\n"


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ("CapEff:\t000001ffffffffff\n", "ok"),
        (f"CapEff:\t{1 << 12 | 1 << 21:016x}\n", "warn"),
        (f"CapEff:\t{1 << 12:016x}\n", "fail"),
        ("CapEff:\t0000000000000000\n", "fail"),
        ("", "fail"),
    ],
)
def test_privileges(status: str, state: str) -> None:
    check = check_privileges(status)
    assert check.state == state
    assert bool(check.mend) == (state != "ok")


@pytest.mark.parametrize(
    ("release", "state"),
    [
        ("6.1.0-18-amd64", "ok"),
        ("5.13.0", "ok"),
        ("5.10.0", "fail"),
        ("4.19", "fail"),
        ("?", "fail"),
    ],
)
def test_kernel(release: str, state: str) -> None:
    assert check_kernel(release).state == state


def test_front_ends() -> None:
    assert check_front_ends("iptables v1.8.9 (nf_tables)", {"nft": 5}).state == "ok"
    both = check_front_ends("iptables v1.8.9 (nf_tables)", {"nft": 5, "legacy": 1})
    assert both.state == "warn"
    assert "legacy, nft" in both.detail


def test_queue_numbers() -> None:
    assert check_queues("", range(8030, 8032), ours=False).state == "ok"
    taken = check_queues(QUEUE_LINE, range(8030, 8032), ours=False)
    assert taken.state == "fail"
    assert "8031 of 8030 to 8031" in taken.detail
    assert check_queues(QUEUE_LINE, range(8030, 8032), ours=True).state == "ok"
    assert check_queues(QUEUE_LINE, range(8040, 8041), ours=False).state == "ok"


def test_marks() -> None:
    assert check_marks(0x3C00, []).state == "ok"
    written = [conflict("mark-written", f"iptables: mangle X{n}", "sets 0x400") for n in range(9)]
    many = check_marks(0x3C00, written)
    assert many.state == "warn"
    assert "mangle X0: sets 0x400" in many.detail
    assert "and 6 more" in many.detail
    assert ADVICE["mark-written"] in many.mend
    assert "--mark-mask" in many.mend
    unread = check_marks(0x3C00, [conflict("unread", "rules", "nft is not installed")])
    assert (unread.state, unread.mend) == ("warn", ADVICE["unread"])
    assert "nft is not installed" in unread.detail


def test_bridges() -> None:
    assert check_bridges(supported=False, bridges={}).state == "warn"
    check = check_bridges(supported=True, bridges={"docker0": False, "br-1": True})
    assert check.state == "ok"
    assert "1 of 2" in check.detail
    assert "docker0" in check.detail
