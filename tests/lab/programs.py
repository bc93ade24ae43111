"""Console and Defender as the programs they are, each in the namespace of its host."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cnnf.cli.client import Client
from tests.lab.netns import Namespace
from tests.lab.product import CNNF, eventually
from tests.lab.truth import Picture

#: Until a program is ready on a machine where several start at once.
START_S = 60.0
STOP_S = 20.0

PAGES_PORT, DEFENDERS_PORT = 8083, 8084


class Program:
    """`cnnf ARGUMENTS` in a namespace, with its log; `ready` is what it prints when it is."""

    def __init__(self, namespace: Namespace, log: Path, ready: str, *arguments: str) -> None:
        self.namespace = namespace
        self.log = log
        self._ready, self._arguments = ready, arguments
        self._process: subprocess.Popen[bytes] | None = None

    def launch(self) -> None:
        """Start it; `wait` tells when it is ready."""
        with self.log.open("wb") as log:
            self._process = self.namespace.start(
                *(*CNNF, *self._arguments),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
            )

    def wait(self) -> None:
        """Until it says that it is ready. Raises AssertionError with the end of its log."""
        assert self._process is not None
        deadline = time.monotonic() + START_S
        while self._ready not in self.printed:
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"{self._arguments[0]} did not start:\n{self.printed[-3000:]}")
            time.sleep(0.02)

    @property
    def printed(self) -> str:
        """What it has printed and logged since it was started."""
        return self.log.read_text(errors="replace")

    def ask_to_end(self, number: int = signal.SIGTERM) -> None:
        """Send it a signal, if it runs; `stop` waits for its end."""
        if self._process is not None:
            self._process.send_signal(number)

    def stop(self, number: int = signal.SIGTERM) -> None:
        """End it and wait, if it runs."""
        if self._process is None:
            return
        self.ask_to_end(number)
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise
        finally:
            self._process = None


class Console(Program):
    """The lab's one Console, reached by its host's address."""

    def __init__(self, namespace: Namespace, address: str, place: Path) -> None:
        self.data = place / "console"
        self.url = f"https://{address}:{PAGES_PORT}"
        super().__init__(
            *(namespace, place / "console.log", "Radar:", "console"),
            *("--data-dir", str(self.data), "--listen", f"{address}:{PAGES_PORT}"),
            *("--defender-listen", f"{address}:{DEFENDERS_PORT}", "--advertise", address),
        )

    @contextmanager
    def client(self) -> Iterator[Client]:
        """Its API, from its own host, as the command line's account."""
        with self.namespace.entered(), Client(self.data) as client:
            yield client

    def picture(self, view: str) -> Picture:
        """The whole of Radar, of the last hour."""
        with self.client() as client:
            return Picture(client.get("/radar", view=view, window="1h", all="true"))

    def enable(self, *, containers: bool = True, hosts: bool = True) -> None:
        """Look at every connection; new Defenders are told at once, others soon."""
        with self.client() as client:
            version = client.get("/settings")["version"]
            body = {"containers": containers, "hosts": hosts, "version": version}
            client.put("/settings", body)

    def token(self) -> str:
        """A token to join with, once."""
        with self.client() as client:
            return str(client.post("/defenders/tokens")["token"])

    def defenders(self) -> dict[str, dict[str, Any]]:
        """What it says of each Defender, by host."""
        with self.client() as client:
            return {one["name"]: one for one in client.get("/defenders")}


class Defender(Program):
    """A host's Defender."""

    def __init__(
        self, host: str, namespace: Namespace, place: Path, console: Console, *options: str
    ) -> None:
        self.host = host
        self.console = console
        self.directory = place / f"defender-{host}"
        super().__init__(
            *(namespace, place / f"defender-{host}.log", "Defender ready", "defender", "run"),
            *("--directory", str(self.directory), "--host-name", host, *options),
        )

    def join(self) -> None:
        """Join the Console, as somebody does by hand on a new host."""
        done = subprocess.run(
            self.namespace.command(
                *(*CNNF, "defender", "join", self.console.url),
                *("--directory", str(self.directory), "--host-name", self.host),
            ),
            env={**os.environ, "CNNF_JOIN_TOKEN": self.console.token()},
            capture_output=True,
            text=True,
            timeout=START_S,
            check=False,
        )
        assert done.returncode == 0, f"{self.host} did not join: {done.stdout}{done.stderr}"

    def wait_enabled(self) -> None:
        """Until it says that it looks at every connection."""

        def applied() -> bool:
            said = self.console.defenders().get(self.host, {}).get("applied")
            return bool(said and said["containers"] and said["hosts"])

        eventually(applied, START_S, f"the Defender of {self.host} to be enabled")
