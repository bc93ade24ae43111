"""Services and processes behind sockets, with real processes, sockets and cgroups."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cnnf.defender.discovery.services import Cgroups, Processes, cgroup2_mount

MOUNT = cgroup2_mount()

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or MOUNT is None, reason="needs root and a v2 cgroup tree"
)

LISTEN = (
    "import socket, sys; s = socket.create_server(('127.0.0.1', 0));"
    "print(s.fileno(), __import__('os').fstat(s.fileno()).st_ino, flush=True); sys.stdin.read()"
)


@pytest.fixture
def cgroup() -> Iterator[Path]:
    """An own cgroup, as a template's instance would have it."""
    assert MOUNT is not None
    slice_ = MOUNT / f"cnnf-test-{os.getpid()}.slice"
    made = slice_ / "cnnf-test-thing@7.service"
    made.mkdir(parents=True)
    try:
        yield made
    finally:
        made.rmdir()
        slice_.rmdir()


@pytest.fixture
def listener(cgroup: Path) -> Iterator[tuple[int, int]]:
    """A process in that cgroup that listens: (pid, inode of its socket)."""
    process = subprocess.Popen(
        [sys.executable, "-c", LISTEN, "--password", "S3cret"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        _, inode = process.stdout.readline().split()
        (cgroup / "cgroup.procs").write_text(str(process.pid))
        yield process.pid, int(inode)
    finally:
        process.communicate()


def processes(clock_s: float = 0.0) -> Processes:
    return Processes(Cgroups(MOUNT, clock_s=lambda: clock_s))


def test_a_socket_leads_to_service_and_process(cgroup: Path, listener: tuple[int, int]) -> None:
    pid, inode = listener
    owner = processes().owner(cgroup_id=cgroup.stat().st_ino, inode=inode)
    assert (owner.service.name, owner.service.by) == ("cnnf-test-thing", "unit")
    assert owner.process is not None
    assert owner.process.pid == pid
    assert owner.process.executable == str(Path(sys.executable).resolve())
    assert owner.process.user == "root"
    assert "S3cret" not in owner.process.command


def test_a_process_leads_to_its_service(listener: tuple[int, int]) -> None:
    assert processes().of(listener[0]).service.name == "cnnf-test-thing"


def test_an_unknown_socket_still_has_its_service(cgroup: Path, listener: tuple[int, int]) -> None:
    owner = processes().owner(cgroup_id=cgroup.stat().st_ino, inode=1)
    assert owner.service.name == "cnnf-test-thing"
    assert owner.process is None


def test_processes_that_are_gone_are_unknown_and_no_error() -> None:
    process = subprocess.Popen(["/bin/true"])
    process.wait()
    owner = processes().of(process.pid)
    assert (owner.service.name, owner.process) == ("unknown", None)
    assert processes().holder(1, [process.pid]) == 0
    assert processes().cgroup(process.pid) == ""


def test_a_cgroup_made_later_is_found_and_a_flood_of_ids_walks_seldom() -> None:
    assert MOUNT is not None
    now_s = 0.0

    def clock_s() -> float:
        # Every look at the clock is 10 ms later, so a walk takes that long.
        nonlocal now_s
        now_s += 0.01
        return now_s

    cgroups = Cgroups(MOUNT, clock_s=clock_s)
    assert cgroups.path(MOUNT.stat().st_ino) == "/"
    made, later = (MOUNT / f"cnnf-test-{os.getpid()}-{name}" for name in ("new", "later"))
    made.mkdir()
    try:
        inode = made.stat().st_ino
        assert cgroups.path(inode) == f"/{made.name}"  # a walk just before makes no difference
        for number in range(100):
            cgroups.path(2**60 + number)
        later.mkdir()
        assert cgroups.path(later.stat().st_ino) == ""  # there were too many
        now_s += 0.5
        assert cgroups.path(later.stat().st_ino) == f"/{later.name}"
    finally:
        made.rmdir()
        if later.exists():
            later.rmdir()
    now_s += 0.5
    cgroups.path(2**60)
    # Its last flows may be reported after it went.
    assert cgroups.path(inode) == f"/{made.name}"


def test_without_a_v2_tree_services_are_known_by_program() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        nowhere = Processes(Cgroups(None))
        inode = os.fstat(listening.fileno()).st_ino
        assert nowhere.owner(cgroup_id=5, inode=inode).service.name == "unknown"
        assert nowhere.holder(inode, nowhere.all()) == os.getpid()
