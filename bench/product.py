"""cnnf as a user runs it: `cnnf up --enable` on one namespace, in a directory of its own."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.lab.netns import Namespace

from bench import processes
from bench.errors import BenchError

_START_SECONDS = 60.0
#: `cnnf up` gives the Defender and the Console 12 s each.
_STOP_SECONDS = 30.0
_SIGN = "Mode:   enabled for containers and hosts"
#: What the Defender logs once every packet loop judges by a policy.
_APPLIED = b"policy applied"
_LOG_LINES = 20

#: A share of one core that a Defender and a Console with nothing to do stay under.
_IDLE_SHARE = 0.15
_IDLE_STEP_SECONDS = 0.1
#: How long it has to stay so: it names flows bit by bit and sends what it has every 0.4 s.
_IDLE_SECONDS = 0.8


class Product:
    """A running `cnnf up`."""

    def __init__(
        self, namespace: Namespace, process: "subprocess.Popen[bytes]", log: Path, data: Path
    ) -> None:
        self._namespace = namespace
        self._process = process
        self._log = log
        self._data = data

    @property
    def pid(self) -> int:
        """The process of `cnnf up`."""
        return self._process.pid

    def radar(self, view: str) -> Any:
        """What `cnnf radar --json` shows of "containers" or "hosts"."""
        text = self._namespace.run(
            *(sys.executable, "-m", "cnnf", "radar", "--json", "--view", view),
            *("--data-dir", str(self._data)),
        )
        return json.loads(text)

    def reload(self) -> None:
        """Tell the Defender that its policy's file is another. Raises BenchError without one."""
        family = processes.tree(self.pid, "cnnf defender run")
        if not family:
            raise BenchError("there is no Defender to tell about its policy")
        os.kill(family[0], signal.SIGHUP)

    def policies_applied(self) -> int:
        """How often the Defender has said that a policy is in force."""
        return self._log.read_bytes().count(_APPLIED)

    def check(self) -> None:
        """Raises BenchError when it has ended."""
        if self._process.poll() is not None:
            raise BenchError(
                f"cnnf up ended with {self._process.returncode}:\n{_end_of(self._log)}"
            )

    def settle(self, seconds_max: float) -> float:
        """Wait until it has nothing to do any more; the seconds that took.

        What a run has left it to do must not slow down the next one, which may be the one without
        cnnf: both are on the same cores.
        """
        started = idle_since = time.monotonic()
        pids = self._namespace.processes()
        used = processes.cpu_seconds(pids)
        while (now := time.monotonic()) - started < seconds_max:
            if now - idle_since >= _IDLE_SECONDS:
                break
            time.sleep(_IDLE_STEP_SECONDS)
            used, before = processes.cpu_seconds(pids), used
            if used - before > _IDLE_SHARE * _IDLE_STEP_SECONDS:
                idle_since = time.monotonic()
        return time.monotonic() - started


@contextmanager
def product(
    namespace: Namespace,
    place: Path,
    networks: tuple[str, ...],
    *,
    docker_socket: Path | None = None,
    options: tuple[str, ...] = (),
    start_seconds: float = _START_SECONDS,
) -> Iterator[Product]:
    """Start cnnf, enabled, on a namespace; stop it at the end. Raises BenchError."""
    log = place / "cnnf.log"
    command = [
        # When we are killed it ends as if by Ctrl-C.
        "setpriv", "--pdeathsig", "TERM",
        sys.executable, "-m", "cnnf", "up", "--enable",
        "--data-dir", str(place / "data"),
        # The machine's own containers are no part of this.
        "--docker-socket", str(docker_socket or place / "no-engine"),
        *(word for network in networks for word in ("--container-network", network)),
        *options,
    ]  # fmt: skip
    with log.open("wb") as output:
        process = namespace.start(
            *command, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            start_new_session=True,
        )  # fmt: skip
    try:
        _wait_for_sign(process, log, start_seconds)
        yield Product(namespace, process, log, place / "data")
    finally:
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_for_sign(process: "subprocess.Popen[bytes]", log: Path, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while _SIGN not in log.read_text(errors="replace"):
        if process.poll() is not None or time.monotonic() > deadline:
            raise BenchError(f"cnnf up did not start:\n{_end_of(log)}")
        time.sleep(0.1)


def _end_of(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-_LOG_LINES:])
