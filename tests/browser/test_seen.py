"""The connections of network objects in a real browser: on their page and on Radar."""

from collections.abc import Iterator

import pytest

from tests.browser.conftest import Browser
from tests.browser.test_policy_pages import HOME, Policy, photograph
from tests.contract.conftest import RunningConsole

pytestmark = pytest.mark.browser

OBJECTS = {
    "apiVersion": "cnnf/v1",
    "networkObjects": [
        {"name": "inside", "type": "subnet", "values": ["10.9.0.0/16"]},
        {"name": "outside", "type": "subnet", "values": ["93.184.216.0/24", "151.101.0.0/16"]},
        {"name": "frontend", "type": "image", "values": ["shop/frontend"]},
        {"name": "nobody", "type": "service", "values": ["nobody"]},
    ],
    "rules": {
        "containers": [
            {"name": "watch", "destination": ["inside"], "source": ["frontend"], "effect": "alert"}
        ],
        "hosts": [],
    },
}


@pytest.fixture
def policy(console: RunningConsole, page: Browser) -> Iterator[Policy]:
    """Made after the estate was seen; the page's log is empty."""
    page.call("problems")
    held = Policy(console)
    held.put(OBJECTS)
    yield held
    held.close()


def test_an_object_shows_its_connections_from_before_it_was_made(
    console: RunningConsole, page: Browser, policy: Policy
) -> None:
    found = policy.get("/objects/frontend/connections?window=24h")["listed"]
    assert found
    page.call("open", url=f"{console.url}{HOME}/objects")
    page.call("waitForObject", name="frontend")
    page.call("fromMenu", name="frontend", item="Connections")
    page.call("waitForText", text=f"{len(found)} flows")
    text = page.call("dialogText")
    for one in found:
        assert one["destination"]["name"] in text
    assert page.call("audit") == []
    photograph(page, "connections")
    page.call("clickText", text="Show on Radar")
    page.call("waitForMap", nodes=2)
    assert page.call("path") == "/radar"
    photograph(page, "radar-frontend")
    # And from an object nobody is in.
    page.call("open", url=f"{console.url}{HOME}/objects?connections=nobody")
    page.call("waitForText", text="Nothing of it was seen.")
    assert page.call("problems") == []


def test_radar_draws_objects_and_narrows_to_one(
    console: RunningConsole, page: Browser, policy: Policy
) -> None:
    del policy
    page.call("open", url=f"{console.url}/radar?view=containers&as=table&window=24h")
    page.call("waitForRow", name="outside")
    page.call("open", url=f"{console.url}/radar?view=containers&as=table&window=24h&object=outside")
    page.call("waitForRow", name="outside")
    shown = {row["name"] for row in page.call("rows")}
    assert "outside" in shown
    assert "internet" not in shown
    page.call("open", url=f"{console.url}/radar?view=containers&window=24h")
    page.call("waitForMap", nodes=5)
    photograph(page, "radar-objects")
    page.call("open", url=f"{console.url}/radar?object=nobody")
    page.call("waitForText", text="No connection of nobody")
    page.call("pressButton", name="Show all connections")
    page.call("waitForMap", nodes=5)
    assert page.call("problems") == []


def test_what_is_typed_in_place_is_refused_at_its_side(
    console: RunningConsole, page: Browser, policy: Policy
) -> None:
    version = policy.head["version"]
    page.call("open", url=f"{console.url}{HOME}/containers")
    page.call("waitForRule", name="watch")
    page.call("pressButton", name="Add rule")
    page.call("fill", fields={"Name": "typed", "Source": ["10.0.0.300"], "Destination": ["nginx"]})
    text = page.call("dialogText")
    assert "“10.0.0.300” is no address, network or range" in text
    photograph(page, "typed-wrong")
    page.call("pressInDialog", name="Add rule")
    assert "is no address" in page.call("dialogText")
    assert policy.head["version"] == version
    assert page.call("problems") == []
