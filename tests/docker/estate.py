"""The running estate on Radar: Console, Defender and the demo's containers on one engine."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cnnf.cli.client import Client
from tests.docker.test_demo import CNNF, end, start
from tests.lab.engine import Engine

#: Until Console and Defender are up.
UP_S = 30.0

EdgeKey = tuple[str, str, int]


class Map:
    """The Console's graph, as anybody with the API sees it."""

    def __init__(self, engine: Engine, data: Path, log: Path) -> None:
        self._engine = engine
        self.data = data
        self.log = log

    def graph(self, view: str) -> dict[str, Any]:
        with self._engine.namespace.entered(), Client(self.data) as client:
            graph: dict[str, Any] = client.get("/radar", view=view, window="1h")
        return graph

    def edges(self, view: str) -> set[EdgeKey]:
        graph = self.graph(view)
        names = {node["id"]: shown(node) for node in graph["nodes"]}
        return {
            (names[edge["source"]], names[edge["target"]], port["port"])
            for edge in graph["edges"]
            for port in edge["ports"]
        }

    def instances(self) -> dict[str, int]:
        nodes = self.graph("containers")["nodes"]
        return {node["name"]: node["instances"] for node in nodes if node["kind"] == "app"}


def shown(node: dict[str, Any]) -> str:
    return "internet" if node["kind"] == "internet" else str(node["name"])


def until(what: Callable[[], bool], within_s: float) -> float:
    """Wait until it is true; the seconds it took."""
    started = time.monotonic()
    while not what():
        if time.monotonic() - started > within_s:
            raise AssertionError(f"not within {within_s} s")
        time.sleep(0.1)
    return time.monotonic() - started


@contextmanager
def running_estate(engine: Engine) -> Iterator[Map]:
    """Console and Defender beside the running estate."""
    data = Path(f"/tmp/cnnf-test-{os.getpid()}-data")
    log = data.with_suffix(".log")
    command = engine.namespace.command(
        *(*CNNF, "up", "--enable", "--data-dir", str(data)),
        *("--docker-socket", str(engine.socket)),
    )
    with log.open("wb") as output:
        up = subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True)
    try:
        made = Map(engine, data, log)
        until(lambda: up.poll() is not None or b"enabled for" in log.read_bytes(), UP_S)
        assert up.poll() is None, log.read_text()
        demo = start(engine)
        try:
            yield made
        finally:
            assert end(demo) == 0
    finally:
        up.send_signal(signal.SIGTERM)
        code = up.wait(30)
        said = log.read_text()
        shutil.rmtree(data, ignore_errors=True)
        log.unlink()
    assert code in (0, 130, 143), said
    assert "cnnf" not in engine.namespace.run("nft", "list", "tables")
    assert "NFQUEUE" not in engine.namespace.run("iptables-save")
