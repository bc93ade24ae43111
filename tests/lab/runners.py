"""Runners: the lab's program inside a container, a unit or a namespace, which connects as told.

One program (`traffic.c`) everywhere, static, so that a container needs nothing else. It is told
what to do by a Unix socket in a directory that all share, which no firewall sees; it reports which
servers really answered, by the name each server gives.
"""

import json
import shutil
import socket
import subprocess
import time
from pathlib import Path

from tests.lab.netns import run
from tests.lab.truth import Report

_SOURCE = Path(__file__).with_name("traffic.c")
#: Where the program and the directory of sockets are in containers.
PROGRAM_INSIDE = "/traffic"
SOCKETS_INSIDE = "/lab"

#: Seconds until a runner's socket is there; a container takes half a second on an idle machine.
START_S = 20.0
#: Seconds for one line of a script.
LINE_S = 120.0


def build(place: Path) -> Path:
    """Compile the program into a directory. Raises AssertionError with the compiler's words."""
    program = place / "traffic"
    run("cc", "-O2", "-Wall", "-Wextra", "-std=gnu11", "-static", "-o", str(program), str(_SOURCE))
    return program


def missing() -> str:
    """What this machine lacks for building it; '' when it has all."""
    return "" if shutil.which("cc") else "needs cc"


class Runner:
    """One who connects and is connected to. `name` is what its servers tell who connects."""

    def __init__(self, name: str, sockets: Path) -> None:
        self.name = name
        self._socket = sockets / name

    def wait(self, process: "subprocess.Popen[bytes] | None" = None) -> None:
        """Until it takes commands; its ports are open by then. Raises AssertionError."""
        deadline = time.monotonic() + START_S
        while not self._socket.exists():
            assert process is None or process.poll() is None, f"{self.name} ended"
            assert time.monotonic() < deadline, f"{self.name} did not start in {START_S} s"
            time.sleep(0.01)

    def connect(self, address: str, port: int, count: int = 1, hold_us: int = 0) -> Report:
        """Make connections one after another, each held so long; what came of them. `address` may
        be a name."""
        return report(self._ask(f"connect {address} {port} {count} {hold_us}"))

    def accepted(self, port: int) -> int:
        """How many connections came to this port of it."""
        return int(self._ask(f"accepted {port}"))

    def forget(self) -> None:
        """It has ended: its name may be used anew."""
        self._socket.unlink(missing_ok=True)

    def _ask(self, line: str) -> str:
        with socket.socket(socket.AF_UNIX) as control:
            control.settimeout(LINE_S)
            control.connect(str(self._socket))
            control.sendall(f"{line}\n".encode())
            with control.makefile() as answer:
                text = answer.readline()
        assert text, f"{self.name} ended at {line!r}"
        return text


def report(text: str) -> Report:
    """What a runner wrote. Raises AssertionError where it could not even begin."""
    said = json.loads(text)
    assert "error" not in said, said["error"]
    return Report(said["attempts"], said["servers"], said["refused"], said["failed"], said["again"])
