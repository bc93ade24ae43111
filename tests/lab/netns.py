"""Network namespaces for tests: made, joined by veth pairs, entered, removed by exact name."""

import ctypes
import itertools
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

_PREFIX = "cnnf-test-"
_OURS = re.compile(rf"{_PREFIX}(?P<pid>\d+)-\d+\Z")
_PLACE = Path("/var/run/netns")
_CLONE_NEWNET = 0x40000000
_numbers = itertools.count(1)
_libc = ctypes.CDLL(None, use_errno=True)

#: Seconds a command within a namespace may take.
COMMAND_S = 60


class Namespace:
    """A network namespace with loopback up. `nsenter` is used, not `ip netns exec`: that one
    remounts /sys and hides the cgroup mounts."""

    def __init__(self) -> None:
        self.name = f"{_PREFIX}{os.getpid()}-{next(_numbers)}"
        self.path = _PLACE / self.name
        self._started: list[subprocess.Popen[bytes]] = []
        ip("netns", "add", self.name)
        self.run("ip", "link", "set", "lo", "up")

    def command(self, *command: str) -> tuple[str, ...]:
        """The command as it has to be started to run in here."""
        return ("nsenter", f"--net={self.path}", *command)

    def run(self, *command: str, check: bool = True) -> str:
        """Run a command in here to its end; its standard output."""
        return run(*self.command(*command), check=check)

    def start(self, *command: str, **more: Any) -> "subprocess.Popen[bytes]":
        """Start a command in here; the caller ends it, at the latest it ends with the namespace."""
        self._started.append(subprocess.Popen(self.command(*command), **more))
        return self._started[-1]

    def address(self, device: str, *addresses: str) -> None:
        """Give a device addresses (with prefix length), usable at once, and take it up."""
        for address in addresses:
            # Without duplicate address detection, which makes IPv6 wait for a second.
            extra = ("nodad",) if ":" in address else ()
            self.run("ip", "address", "add", address, "dev", device, *extra)
        self.run("ip", "link", "set", device, "up")

    @contextmanager
    def entered(self) -> Iterator[None]:
        """The calling thread is in here; sockets it opens stay in here. Not across await."""
        with Path("/proc/thread-self/ns/net").open() as before, self.path.open() as here:
            _setns(here.fileno())
            try:
                yield
            finally:
                _setns(before.fileno())

    def processes(self) -> list[int]:
        """The processes in here."""
        return [int(pid) for pid in ip("netns", "pids", self.name).split()]

    def delete(self) -> None:
        """End what still runs in here and remove it."""
        _delete(self.name)
        # A test that failed leaves its own to us, else another one would be blamed for them.
        for process in self._started:
            process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout, process.stderr):
                if stream is not None:
                    with suppress(BrokenPipeError):
                        stream.close()


@contextmanager
def namespaces(count: int = 1) -> Iterator[list[Namespace]]:
    """Some namespaces, removed at the end."""
    with ExitStack() as cleanup:
        made = []
        for _ in range(count):
            namespace = Namespace()
            cleanup.callback(namespace.delete)
            made.append(namespace)
        yield made


def veth(left: Namespace, left_name: str, right: Namespace, right_name: str) -> None:
    """Join two namespaces by a pair of devices, which are up but have no addresses."""
    left.run(
        *("ip", "link", "add", left_name, "type", "veth"),
        *("peer", "name", right_name, "netns", right.name),
    )
    left.run("ip", "link", "set", left_name, "up")
    right.run("ip", "link", "set", right_name, "up")


def remove_stale(gone: int = 0) -> None:
    """Remove namespaces of test runs that were killed: those whose process is gone.

    `gone` is one that has ended although it may still be listed.
    """
    for entry in list(_PLACE.iterdir()) if _PLACE.is_dir() else []:
        match = _OURS.match(entry.name)
        if match and has_ended(int(match["pid"]), gone):
            _delete(entry.name)


def has_ended(pid: int, gone: int = 0) -> bool:
    """Is the process over? `gone` is known to be."""
    return pid == gone or not Path(f"/proc/{pid}").exists()


def can_make() -> bool:
    """True when this process may make namespaces at all."""
    return os.geteuid() == 0 and all(shutil.which(name) for name in ("ip", "nsenter"))


def ip(*arguments: str) -> str:
    """Run iproute2's `ip`."""
    return run("ip", *arguments)


def run(*command: str, check: bool = True) -> str:
    """Run a command to its end; its standard output. Raises AssertionError with what it said."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=COMMAND_S, check=False)
    if check and done.returncode != 0:
        raise AssertionError(f"{' '.join(command)}: {done.returncode}: {done.stderr.strip()}")
    return done.stdout


def _delete(name: str) -> None:
    for pid in ip("netns", "pids", name).split():
        with suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)
    ip("netns", "del", name)


def _setns(descriptor: int) -> None:
    if _libc.setns(descriptor, _CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"setns: {os.strerror(number)}")


def wait_until_entered(pid: int) -> None:
    """`nsenter` has entered the namespace and become its command."""
    deadline = time.monotonic() + 5
    while Path(f"/proc/{pid}/exe").resolve().name == "nsenter":
        assert time.monotonic() < deadline
        time.sleep(0.005)
