"""A real Console process on loopback, with a data directory and ports of its own."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from cnnf.cli.client import Client
from tests.contract.joined import Joined

START_S = 30.0

ENVIRONMENT = {**os.environ, "COLUMNS": "200"}


def free_port() -> int:
    """A port that nobody has now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def command(data_dir: Path, *arguments: str) -> list[str]:
    """The Console's command line."""
    return [
        sys.executable,
        "-c",
        "from cnnf.cli.main import main; main()",
        "console",
        "--data-dir",
        str(data_dir),
        *arguments,
    ]


_running: list["RunningConsole"] = []


class RunningConsole:
    """One Console process; `stop` ends it as a service manager would."""

    def __init__(self, data_dir: Path, *arguments: str) -> None:
        _running.append(self)
        self.data_dir = data_dir
        self.url = f"http://127.0.0.1:{free_port()}"
        self.log = data_dir.parent / "console.log"
        self.out = data_dir.parent / "console.out"
        with self.log.open("ab") as log, self.out.open("wb") as out:
            self.process = subprocess.Popen(
                command(
                    data_dir,
                    "--listen",
                    self.url.removeprefix("http://"),
                    "--defender-listen",
                    "127.0.0.1:0",
                    *arguments,
                ),
                stdout=out,
                stderr=log,
                cwd="/",
                env=ENVIRONMENT,
            )
        deadline = time.monotonic() + START_S
        while not (data_dir / "console.json").exists():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise AssertionError(self.log.read_text())
            time.sleep(0.02)

    @property
    def password(self) -> str:
        """The first start's password, as a person reads it."""
        found = re.search(r"Password: (\S+)", self.out.read_text())
        assert found is not None
        return found[1]

    def api(self) -> Client:
        """The command line's client."""
        return Client(self.data_dir)

    def raw(self, *, token: bool = True) -> httpx.Client:
        """HTTP as it is, with or without the command line's token."""
        headers = {}
        if token:
            secret = (self.data_dir / "cli-token").read_text().strip()
            headers["Authorization"] = f"Bearer {secret}"
        return httpx.Client(base_url=self.url, headers=headers, trust_env=False, timeout=20)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> float:
        """Seconds until it had ended."""
        started = time.monotonic()
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        return time.monotonic() - started


@pytest.fixture(scope="module", autouse=True)
def nothing_left() -> Iterator[None]:
    """However a test ends, no Console outlives its module."""
    yield
    while _running:
        _running.pop().stop()


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningConsole]:
    """A Console for all tests of a module."""
    running = RunningConsole(tmp_path_factory.mktemp("console") / "data")
    yield running
    running.stop()


@pytest.fixture
def api(console: RunningConsole) -> Iterator[Client]:
    """The command line's client."""
    with console.api() as client:
        yield client


@pytest.fixture
def join(api: Client) -> Iterator[Callable[..., Joined]]:
    """Makes Defenders that are enrolled; hangs up after the test."""
    with contextlib.ExitStack() as stack:

        def make(host: str = "web-1") -> Joined:
            joined = Joined(api, host)
            stack.callback(joined.close)
            return joined

        yield make


def refused(data_dir: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A Console that must not start."""
    return subprocess.run(
        command(data_dir, *arguments),
        capture_output=True,
        text=True,
        timeout=START_S,
        env=ENVIRONMENT,
        check=False,
    )
