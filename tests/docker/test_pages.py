"""Radar's page with the real demo estate on it, as the README shows it.

With CNNF_PICTURES=FOLDER in the environment the pictures of the documentation are taken anew.
"""

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from cnnf.cli.demo_estate.definition import APPS, HOST_SERVICES
from tests.browser.conftest import Browser
from tests.docker.estate import Map
from tests.docker.test_demo import CNNF
from tests.lab.engine import Engine
from tests.lab.relay import Relay

pytestmark = [pytest.mark.docker, pytest.mark.browser]


@pytest.fixture(scope="module")
def page(radar: Map, engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser on the estate's Radar, logged in with the password shown at the first start."""
    said = radar.log.read_text()
    password = re.search(r"Password: (\S+)", said)
    assert password is not None, said
    relay = Relay(engine.namespace, 8083)
    browser = Browser(tmp_path_factory.mktemp("profile"))
    browser.home = f"http://127.0.0.1:{relay.port}"
    try:
        browser.call("open", url=f"{browser.home}/radar")
        browser.call("logIn", user="admin", password=password[1])
        # Only then the session is there.
        browser.call("waitForLive")
        yield browser
    finally:
        browser.close()
        relay.close()


def address(page: Browser, view: str, shown: str) -> str:
    return f"{page.home}/radar?view={view}&window=1h&show=all&as={shown}"


@pytest.mark.parametrize("view", ["containers", "hosts"])
def test_the_estate_is_in_the_table_of_both_views(page: Browser, view: str) -> None:
    page.call("open", url=address(page, view, "table"))
    names = {app.repository for app in APPS}
    if view == "hosts":
        names = {service.name for service in HOST_SERVICES}
    for name in names:
        page.call("waitForRow", name=name)
    assert page.call("problems") == []
    assert page.call("audit") == []


@pytest.mark.parametrize("view", ["containers", "hosts"])
def test_the_estate_is_drawn(page: Browser, view: str) -> None:
    page.call("open", url=address(page, view, "map"))
    page.call("waitForMap", nodes=4)
    assert page.call("inkOnMap") > 500
    assert page.call("problems") == []
    take_picture(page, f"radar-{view}")


def test_an_attack_appears_without_reload(page: Browser, engine: Engine) -> None:
    page.call("open", url=address(page, "containers", "table"))
    page.call("waitForLive")
    page.call("expand", name="shop/frontend")
    attack = engine.namespace.command(*CNNF, "demo", "attack", "--docker", engine.address)
    subprocess.run(attack, capture_output=True, check=True, timeout=60)
    page.call("waitForRow", name="shop/database", level=2)
    assert page.call("problems") == []


def take_picture(page: Browser, name: str) -> None:
    """Into the folder that the environment names, if it names one."""
    folder = os.environ.get("CNNF_PICTURES")
    if folder:
        page.call("waitForLive")
        page.call("screenshot", path=str(Path(folder) / f"{name}.png"))
