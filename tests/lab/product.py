"""`cnnf up` in a network namespace, as a user has it: started, asked over its API, stopped."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx

from tests.lab.netns import Namespace

#: Seconds from the start until the map is there; the product promises 15.
START_S = 60.0
STOP_S = 20.0

CNNF = (sys.executable, "-m", "cnnf")


class Product:
    """One Console and Defender in a namespace, with their data in a directory of their own."""

    def __init__(self, namespace: Namespace, data: Path, *options: str) -> None:
        self.namespace = namespace
        self.data = data
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        self.log = data.parent / f"{data.name}.log"

    def start(self, *, enable: bool = True) -> float:
        """Start and wait until it says that Radar is there; the seconds that took."""
        started = time.monotonic()
        options = (*self._options, *(["--enable"] if enable else []))
        with self.log.open("wb") as log:
            self._process = self.namespace.start(
                *(*CNNF, "up", "--data-dir", str(self.data), *options),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        while "Mode:" not in self.printed:
            if self._process.poll() is not None or time.monotonic() - started > START_S:
                self.end()
                raise AssertionError(f"cnnf up did not start:\n{self.printed[-3000:]}")
            time.sleep(0.05)
        return time.monotonic() - started

    @property
    def printed(self) -> str:
        """What it has printed and logged so far."""
        return self.log.read_text(errors="replace")

    @property
    def pid(self) -> int:
        """The process of `cnnf up`."""
        assert self._process is not None
        return self._process.pid

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Ask it to end and wait; its exit code."""
        assert self._process is not None
        self._process.send_signal(number)
        try:
            code = self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.end()
            raise
        self._process = None
        return code

    def kill_all(self) -> None:
        """SIGKILL to every one of its processes, as the worst of crashes."""
        for pid in self.family():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        assert self._process is not None
        self._process.wait(STOP_S)
        self._process = None

    def end(self) -> None:
        """However a test ends: nothing of it runs any more."""
        if self._process is not None:
            self.kill_all()

    def family(self) -> dict[int, int]:
        """Its processes, all that descend from it, each with its parent."""
        children: dict[int, list[int]] = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with suppress(OSError):
                    parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                    children.setdefault(parent, []).append(int(entry.name))
        found, pending = {self.pid: 0}, [self.pid]
        while pending:
            parent = pending.pop()
            found |= dict.fromkeys(children.get(parent, ()), parent)
            pending += children.get(parent, [])
        return found

    def members(self, words: str) -> list[int]:
        """Those of its processes whose command line matches, a regular expression."""
        family = self.family()
        found = []
        for pid in family:
            with suppress(OSError):
                command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
                if re.search(words, command):
                    found.append(pid)
        # Whoever is about to become another program still has its parent's words.
        return [pid for pid in found if family[pid] not in found]

    def get(self, path: str, **query: str) -> Any:
        """The API's answer, as the command line's account."""
        return self._ask("GET", path, params=query)

    def put(self, path: str, body: Any) -> Any:
        """Change something through the API."""
        return self._ask("PUT", path, json=body)

    def radar(self, view: str, window: str = "1h") -> "Graph":
        """Radar's graph."""
        return Graph(self.get("/radar", view=view, window=window))

    def enable(self, *, containers: bool, hosts: bool) -> None:
        """Set the mode and wait until the Defender says that it is in force."""
        settings = self.get("/settings")
        body = {"containers": containers, "hosts": hosts, "version": settings["version"]}
        self.put("/settings", body)

        def applied() -> bool:
            one = self.get("/defenders")[0]["applied"]
            return bool(one and one["containers"] == containers and one["hosts"] == hosts)

        eventually(applied, 5.0, "the Defender to apply the mode")

    def _ask(self, method: str, path: str, **arguments: Any) -> Any:
        token = (self.data / "cli-token").read_text().strip()
        url = json.loads((self.data / "console.json").read_text())["url"]
        # The socket is opened by this thread, so it is the namespace's loopback that is reached.
        with self.namespace.entered(), httpx.Client(trust_env=False, timeout=10) as client:
            answer = client.request(
                method,
                f"{url}/api/v1{path}",
                headers={"Authorization": f"Bearer {token}"},
                **arguments,
            )
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None


class Graph:
    """Radar's graph with names instead of ids."""

    def __init__(self, body: dict[str, Any]) -> None:
        self.body = body
        self._by_id = {node["id"]: node for node in body["nodes"]}

    @property
    def nodes(self) -> dict[str, dict[str, Any]]:
        """Every node by name; names are unique in the tests' estates."""
        return {node["name"]: node for node in self.body["nodes"]}

    @property
    def edges(self) -> dict[tuple[str, str, int], dict[str, Any]]:
        """(source, target, port) -> the port's figures."""
        return {
            (self._name(edge["source"]), self._name(edge["target"]), port["port"]): port
            for edge in self.body["edges"]
            for port in edge["ports"]
        }

    def between(self, *kinds: str) -> set[tuple[str, str, int]]:
        """The edges whose two ends are of these kinds."""
        by_name = {name: node["kind"] for name, node in self.nodes.items()}
        return {key for key in self.edges if by_name[key[0]] in kinds and by_name[key[1]] in kinds}

    def _name(self, node: str) -> str:
        return str(self._by_id[node]["name"])


def eventually(holds: Callable[[], object], seconds: float, what: str) -> float:
    """Wait until it holds; how long that took. Raises AssertionError when time is up."""
    started = time.monotonic()
    while not holds():
        if time.monotonic() - started > seconds:
            raise AssertionError(f"waited {seconds} s for {what}")
        time.sleep(0.05)
    return time.monotonic() - started
