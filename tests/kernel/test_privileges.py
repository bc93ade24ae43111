"""With few capabilities everything still works that the Defender does, and nothing else."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cnnf.defender.kernel import privileges
from tests.lab import netns
from tests.lab.netns import Namespace

pytestmark = pytest.mark.kernel

ROOT = Path(__file__).parents[2]
NEEDED = (
    "nft", "iptables", "iptables-legacy", "queue", "enter a namespace", "look at a process",
    "abort a socket", "switch a bridge", "write a setting", "engine's socket", "start a loop",
    "priority", "write its directory",
)  # fmt: skip
REFUSED = (
    "mount", "umount", "chroot", "change an owner", "load a module", "reboot", "set the clock",
    "trace", "enter a file system", "a namespace of its own", "write others' files",
    "make a device", "gain by a program",
)  # fmt: skip


@pytest.fixture
def place(tmp_path: Path) -> Iterator[tuple[Namespace, list[str]]]:
    """A namespace with a bridge; another one with another user's process; an engine's socket."""
    if not netns.can_make():
        pytest.skip("needs root, iproute2 and util-linux")
    netns.remove_stale()
    path = tmp_path / "engine.sock"
    with netns.namespaces(2) as (host, other), socket.socket(socket.AF_UNIX) as engine:
        engine.bind(str(path))
        path.chmod(0o660)
        engine.listen()
        host.run("ip", "link", "add", "br0", "type", "bridge")
        user = ("setpriv", "--reuid=12345", "--regid=12345", "--clear-groups")
        process = other.start(*user, "sleep", "300", stdin=subprocess.DEVNULL)
        executable = Path(f"/proc/{process.pid}/exe")
        while executable.resolve().name in ("nsenter", "setpriv"):
            time.sleep(0.01)
        try:
            yield host, ["--pid", str(process.pid), "--socket", str(path)]
        finally:
            process.kill()
            process.wait()


def tried(place: tuple[Namespace, list[str]], *arguments: str) -> dict[str, Any]:
    """What the confined program tells."""
    host, more = place
    command = (sys.executable, "-m", "tests.kernel.confined", *arguments, *more)
    done = subprocess.run(host.command(*command), cwd=ROOT, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_the_defender_can_do_its_work_and_nothing_else(
    place: tuple[Namespace, list[str]],
) -> None:
    found = tried(place, "daemon")
    assert found["problems"] == []
    assert set(found["held"]) == set(privileges.DAEMON)
    assert {what: found["done"][what] for what in NEEDED} == dict.fromkeys(NEEDED, "")
    assert [what for what in REFUSED if not found["done"][what]] == []
    assert set(found["done"]) == {*NEEDED, *REFUSED}


@pytest.mark.parametrize(
    ("capability", "fails"),
    [
        ("NET_ADMIN", "nft"),
        ("NET_RAW", "iptables-legacy"),
        ("SYS_ADMIN", "enter a namespace"),
        ("SYS_PTRACE", "look at a process"),
        ("DAC_READ_SEARCH", "look at a process"),
        ("SYS_NICE", "priority"),
        ("KILL", "start a loop"),
        ("SETUID", "start a loop"),
        ("SETGID", "start a loop"),
        ("SETPCAP", "start a loop"),
    ],
)
def test_each_capability_is_needed(
    place: tuple[Namespace, list[str]], capability: str, fails: str
) -> None:
    assert capability in privileges.DAEMON
    found = tried(place, "daemon", "--without", capability)
    assert capability not in found["held"]
    assert found["done"][fails]


def test_a_loop_is_nobody_with_one_capability(place: tuple[Namespace, list[str]]) -> None:
    found = tried(place, "loop")
    assert found["problems"] == []
    assert found["held"] == ["NET_ADMIN"]
    assert found["done"]["queue"] == ""
    assert found["done"]["abort a socket"] == ""
    for what in ("enter a namespace", "look at a process", "nft", "priority", "engine's socket"):
        assert found["done"][what], what
    assert [what for what in REFUSED if not found["done"][what]] == []


def test_where_nothing_can_be_given_up_it_is_told(place: tuple[Namespace, list[str]]) -> None:
    host, more = place
    # As in a container that has neither SETPCAP nor SETUID.
    command = (
        *("setpriv", "--bounding-set", "-setpcap,-setuid,-setgid"),
        *(sys.executable, "-m", "tests.kernel.confined", "loop", *more),
    )
    done = subprocess.run(host.command(*command), cwd=ROOT, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    found = json.loads(done.stdout)
    problems = " ".join(found["problems"])
    assert "root's name: Operation not permitted" in problems
    assert "capability CHOWN for programs" in problems
    assert found["held"] == ["NET_ADMIN"]


def test_held_names_what_the_kernel_says() -> None:
    status = Path("/proc/self/status").read_text()
    bits = int(status.split("CapEff:\t")[1].split()[0], 16)
    assert len(privileges.held()) == bits.bit_count()
    assert ("NET_ADMIN" in privileges.held()) == bool(bits >> 12 & 1)
    assert os.geteuid() == 0 or "SYS_ADMIN" not in privileges.held()
