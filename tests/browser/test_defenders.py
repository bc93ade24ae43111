"""Manage, Defenders in a real browser: how each is, a token to join with, and removing one."""

import os

import pytest

from cnnf.defender.link.joining import join
from cnnf.protocol.messages import Condition, Settings, SpoolState
from tests.browser.conftest import Browser, Estate
from tests.contract.conftest import RunningConsole
from tests.contract.joined import now_ms

pytestmark = pytest.mark.browser


@pytest.fixture(autouse=True)
def told(estate: Estate) -> None:
    """The first host judges and has something to say, the second has nothing."""
    import msgspec

    one = estate.joined[0]
    condition = Condition(
        code="spool-failed", severity="error", message="the disk is full", since=now_ms()
    )
    applied = Settings(generation=4, containers=True, hosts=True)
    spool = SpoolState(bytes=3 * 2**20, bytes_max=2**29, oldest_at=now_ms())
    batch = one.batch(applied=applied)
    one.post(msgspec.structs.replace(batch, conditions=[condition], spool=spool))


def test_every_defender_is_told_of(console: RunningConsole, page: Browser) -> None:
    page.call("problems")
    page.call("open", url=f"{console.url}/radar")
    page.call("goTo", name="Defenders")
    rows = {row["Host"].split()[0]: row for row in page.call("defenders")}
    assert page.call("path") == "/manage/defenders"
    one = rows["web-1"]
    assert "192.0.2.10, 10.0.0.10" in one["Host"]
    assert one["State"] == "live 3.0 MiB kept on disk for the Console"
    assert one["Mode applied"] == "enabled for containers and hosts settings 4"
    assert one["Conditions"] == "error the disk is full"
    assert rows["web-2"]["Conditions"] == "none"
    for short in ("/manage", "/defenders"):
        page.call("open", url=console.url + short)
        page.call("defenders")
        assert page.call("path") == "/manage/defenders"
    assert page.call("audit") == []
    if place := os.environ.get("CNNF_SCREENSHOTS"):
        page.call("screenshot", path=f"{place}/defenders.png")
    assert page.call("problems") == []


def test_a_host_joins_with_the_token_that_is_shown_and_is_removed(
    console: RunningConsole, page: Browser
) -> None:
    page.call("problems")
    page.call("open", url=f"{console.url}/manage/defenders")
    page.call("pressButton", name="Let a host join")
    token = page.call("marked", id="join-token").strip()
    command = page.call("marked", id="join-command")
    assert f"cnnf defender join {console.url} --token-file" in command
    assert token not in command
    # This Console listens on loopback.
    assert "cannot reach this Console" in page.call("marked", id="join")
    assert page.call("audit") == []
    if place := os.environ.get("CNNF_SCREENSHOTS"):
        page.call("screenshot", path=f"{place}/join.png")
    page.call("pressInDialog", name="Done")
    identity = join(console.url, token, "newcomer")
    page.call("reload")
    found = {row["Host"].split()[0]: row for row in page.call("defenders")}
    assert found["newcomer"]["State"] == "never heard of"
    assert identity.defender in found["newcomer"]["Host"]
    page.call("pressButton", name="Remove newcomer")
    page.call("pressInDialog", name="Cancel")
    page.call("pressButton", name="Remove newcomer")
    page.call("pressInDialog", name="Remove")
    page.call("waitForNoDefender", name="newcomer")
    with console.api() as api:
        assert identity.defender not in {one["id"] for one in api.get("/defenders")}
    assert page.call("problems") == []
