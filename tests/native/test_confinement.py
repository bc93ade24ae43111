"""What a running loop may do: nothing but answer."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from cnnf.defender.core.tables import Tables
from cnnf.defender.netlink.nfqueue import FORWARD
from tests.native.harness import Loop, queued, running, segment

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root has anything to give up")

CAP_NET_ADMIN = 1 << 12
NOBODY = 65_534


@pytest.fixture(params=["native", "python"])
def loop(request: pytest.FixtureRequest) -> Iterator[Loop]:
    """A loop that has answered a packet, so that it is confined."""
    with running(request.param) as loop:
        loop.prepare(Tables(version=1))
        loop.answer_of(queued(1, FORWARD, segment(bytes(4), bytes(4), 80)), 1)
        yield loop


def status(loop: Loop) -> dict[str, list[str]]:
    """/proc/PID/status, each line's words."""
    lines = Path(f"/proc/{loop.process.pid}/status").read_text().splitlines()
    return {name: words.split() for name, _, words in (line.partition(":") for line in lines)}


def test_it_is_nobody_with_one_capability(loop: Loop) -> None:
    found = status(loop)
    assert found["Uid"] == found["Gid"] == [str(NOBODY)] * 4
    assert found["Groups"] == []
    for name in ("CapPrm", "CapEff", "CapBnd"):
        assert int(found[name][0], 16) & ~CAP_NET_ADMIN == 0, name
    assert int(found["CapEff"][0], 16) == CAP_NET_ADMIN
    assert int(found["CapAmb"][0], 16) == int(found["CapInh"][0], 16) == 0


def test_it_can_gain_nothing_and_its_system_calls_are_filtered(loop: Loop) -> None:
    found = status(loop)
    assert found["NoNewPrivs"] == ["1"]
    assert found["Seccomp"] == ["2"]


def test_it_goes_before_everything_else(loop: Loop) -> None:
    assert os.getpriority(os.PRIO_PROCESS, loop.process.pid) == -15


def test_it_has_no_descriptors_but_its_own(loop: Loop) -> None:
    if loop.process.kind == "native":
        # Standard streams, packets, control, inet_diag: the pulse is mapped, its file closed.
        assert len(os.listdir(f"/proc/{loop.process.pid}/fd")) <= 6  # noqa: PTH208


def test_the_native_loop_is_small() -> None:
    with running("native") as loop:
        loop.prepare(Tables(version=1))
        loop.barrier()
        (size, unit) = status(loop)["VmRSS"]
        assert unit == "kB"
        assert int(size) < 6_000
