"""Console and Defender as two programs on two hosts, as `cnnf up` never has them."""

import json
import os
import ssl
import subprocess
import time
from pathlib import Path
from typing import Any

import httpx
import yaml

from tests.lab.netns import Namespace
from tests.lab.product import CNNF, START_S, STOP_S, Graph


class Program:
    """One program in a namespace, with its log."""

    def __init__(self, namespace: Namespace, log: Path, *command: str) -> None:
        self.namespace = namespace
        self.log = log
        self._command = (*CNNF, *command)
        self._process: subprocess.Popen[bytes] | None = None

    def _start(self, ready: str) -> None:
        began = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as log:
            self._process = self.namespace.start(
                *self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        deadline = time.monotonic() + START_S
        while ready.encode() not in self.log.read_bytes()[began:]:
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"it did not start:\n{self.log.read_text()[-3000:]}")
            time.sleep(0.05)

    def stop(self) -> int:
        """Ask it to end and wait; its exit code."""
        assert self._process is not None
        self._process.terminate()
        code = self._process.wait(STOP_S)
        self._process = None
        return code

    def kill(self) -> None:
        """SIGKILL."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(STOP_S)
        self._process = None

    def end(self) -> None:
        """However a test ends."""
        if self._process is not None:
            self.kill()


class ConsoleAlone(Program):
    """A Console at an address of its namespace, ports 8083 and 8084."""

    def __init__(self, namespace: Namespace, place: Path, address: str) -> None:
        self.data = place / "console"
        self.url = f"https://{address}:8083"
        listen = ("--listen", f"{address}:8083", "--defender-listen", f"{address}:8084")
        where = ("--data-dir", str(self.data))
        super().__init__(namespace, place / "console.log", "console", *where, *listen)

    def start(self) -> None:
        """Start and wait until it serves."""
        self._start("Console ready")

    def command(self, *arguments: str) -> str:
        """A command of the command line, on the Console's host; what it prints."""
        return self.namespace.run(*CNNF, *arguments, "--data-dir", str(self.data))

    def token(self) -> str:
        """A new join token."""
        return str(json.loads(self.command("defenders", "token", "--json"))["token"])

    def get(self, path: str, **query: str) -> Any:
        """The API's answer."""
        return self._ask("GET", path, params=query)

    def enable(self, *, containers: bool, hosts: bool) -> None:
        """Set the mode."""
        version = self.get("/settings")["version"]
        body = {"containers": containers, "hosts": hosts, "version": version}
        self._ask("PUT", "/settings", json=body)

    def put_policy(self, text: str) -> int:
        """Put a policy in force; its version."""
        version = str(self.get("/policy")["version"])
        body = yaml.safe_load(text)
        return int(self._ask("PUT", "/policy", params={"version": version}, json=body)["version"])

    def radar(self, view: str) -> Graph:
        """Radar's graph of the last hour."""
        return Graph(self.get("/radar", view=view, window="1h"))

    def _ask(self, method: str, path: str, **arguments: Any) -> Any:
        token = (self.data / "cli-token").read_text().strip()
        trust = ssl.create_default_context(cafile=self.data / "tls" / "ca.pem")
        headers = {"Authorization": f"Bearer {token}"}
        with (
            self.namespace.entered(),
            httpx.Client(trust_env=False, timeout=10, verify=trust) as client,
        ):
            url = f"{self.url}/api/v1{path}"
            answer = client.request(method, url, headers=headers, **arguments)
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None


class DefenderAlone(Program):
    """A Defender of its namespace; `join` first."""

    def __init__(self, namespace: Namespace, place: Path, name: str, *options: str) -> None:
        self.name = name
        self.directory = place / name
        where = ("--directory", str(self.directory), "--host-name", name)
        command = ("defender", "run", *where, "--docker-socket", "/nowhere.sock", *options)
        super().__init__(namespace, place / f"{name}.log", *command)

    def join(self, console: ConsoleAlone) -> None:
        """Join, with a token by the environment."""
        done = subprocess.run(
            self.namespace.command(
                *(*CNNF, "defender", "join", console.url, "--directory", str(self.directory)),
                *("--host-name", self.name),
            ),
            env={**os.environ, "CNNF_JOIN_TOKEN": console.token()},
            capture_output=True,
            text=True,
            timeout=START_S,
            check=False,
        )
        assert done.returncode == 0, done.stderr

    def start(self) -> None:
        """Start and wait until its rules are in force."""
        self._start("Defender ready")

    @property
    def printed(self) -> str:
        """What it has logged so far."""
        return self.log.read_text(errors="replace")

    @property
    def segments(self) -> list[Path]:
        """What it keeps on disk for the Console."""
        return sorted(self.directory.glob("spool/*/*.segment"))
