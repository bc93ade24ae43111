"""Incidents in a real browser: the events page, orange edges, and how refusal is set."""

import time
from collections.abc import Iterator
from typing import Any

import pytest

from cnnf.protocol.messages import Effect, Endpoint, Flow, Process
from tests.browser.conftest import Browser, Estate
from tests.contract.conftest import RunningConsole
from tests.contract.estate import APPS
from tests.contract.joined import now_ms

pytestmark = pytest.mark.browser


@pytest.fixture(autouse=True)
def no_problems(page: Browser) -> None:
    """Forget what an earlier test left in the page's log."""
    page.call("problems")


@pytest.fixture(autouse=True)
def wide(page: Browser) -> Iterator[None]:
    """However a test leaves the window, the next begins with the usual one."""
    yield
    page.call("viewport", width=1440, height=900)
    page.call("systemTheme", scheme="dark")


def events(console: RunningConsole, query: str = "") -> str:
    """The events page's address."""
    return f"{console.url}/monitor/events/cnnf{query}"


def happens(
    estate: Estate, source: str, target: str, port: int, effect: Effect, **more: Any
) -> None:
    """The first host's Defender reports that this was decided just now."""
    ends = {i.name: Endpoint(address=i.addresses[0] if i.addresses else "", instance=i.id)
            for i in estate.known[0]}  # fmt: skip
    now = now_ms()
    flow = Flow(
        source=ends[source],
        destination=ends[target],
        port=port,
        connections=1,
        effect=effect,
        cause="rule:tested",
        first_seen=now,
        last_seen=now,
        process=Process(pid=77, executable="/bin/sh", command="sh -c 'nc db 1'", user="www"),
        **more,
    )
    estate.joined[0].post(estate.joined[0].batch(flows=[flow]))


def test_the_rail_leads_to_the_events(console: RunningConsole, page: Browser) -> None:
    page.call("open", url=f"{console.url}/radar")
    page.call("waitForLive")
    page.call("goTo", name="Events")
    page.call("waitForEvent", texts=["shop/orders", "10.9.0.7"])
    assert page.call("path") == "/monitor/events/cnnf"
    page.call("goTo", name="Radar")
    page.call("waitForLive")
    for short in ("/events", "/monitor", "/monitor/events"):
        page.call("open", url=console.url + short)
        page.call("waitForLive")
        assert page.call("path") == "/monitor/events/cnnf"
    assert page.call("problems") == []


def test_an_event_says_who_what_why_and_by_which_process(
    console: RunningConsole, page: Browser
) -> None:
    page.call("open", url=events(console))
    page.call("waitForEvent", texts=["shop/catalogue", "shop/cache"])
    shown = page.call("events")
    prevented = next(row for row in shown if "shop/cache" in row["To"])
    assert prevented["Effect"] == "Prevented"
    assert "shop/catalogue" in prevented["From"]
    assert "web-1" in prevented["From"]
    assert prevented["Port"] == "6379"
    assert prevented["Cause"] == "rule cache is the cart's"
    assert "catalogue --serve" in prevented["Process"]
    assert prevented["Defender"] == "web-1"
    assert int(prevented["Count"]) >= 1
    alert = next(row for row in shown if "10.9.0.7" in row["To"])
    assert (alert["Effect"], alert["Cause"]) == ("Alert", "rule mail")
    # The second host's Defender has an event of its own.
    assert {row["Defender"] for row in shown} == {"web-1", "web-2"}


def test_events_arrive_without_reload_and_repeats_are_counted(
    console: RunningConsole, page: Browser, estate: Estate
) -> None:
    page.call("open", url=events(console))
    page.call("waitForLive")
    page.call("waitForEvent", texts=["shop/orders"])
    happens(estate, "shop/cart", "shop/database", 5432, "prevent")
    page.call("waitForEvent", texts=["shop/cart", "shop/database", "Prevented", "sh -c"])
    first = page.call("events")[0]
    assert ("shop/cart" in first["From"], first["Count"]) == (True, "1")
    happens(estate, "shop/cart", "shop/database", 5432, "prevent", cut=2)
    page.call("waitForEvent", texts=["shop/cart", "shop/database", "2 cut"])
    rows = [row for row in page.call("events") if "shop/cart" in row["From"]]
    assert [row["Count"].split()[0] for row in rows] == ["4"]
    assert page.call("problems") == []


def test_events_are_filtered_also_those_that_come(
    console: RunningConsole, page: Browser, estate: Estate
) -> None:
    page.call("open", url=events(console))
    page.call("waitForEvent", texts=["Alert"])
    page.call("choose", name="Alerts")
    page.call("waitForEvent", texts=["Alert", "shop/orders"])
    deadline = time.monotonic() + 10
    while {row["Effect"] for row in page.call("events")} != {"Alert"}:
        assert time.monotonic() < deadline
    happens(estate, "shop/backup", "shop/cache", 6379, "prevent")
    happens(estate, "shop/backup", "shop/cache", 6380, "alert")
    page.call("waitForEvent", texts=["shop/backup", "6380"])
    assert {row["Effect"] for row in page.call("events")} == {"Alert"}
    page.call("searchEvents", text="BACKUP")
    page.call("waitForEvent", texts=["shop/backup"])
    deadline = time.monotonic() + 10
    while len(page.call("events")) != 1:
        assert time.monotonic() < deadline
    page.call("reload")
    page.call("waitForEvent", texts=["shop/backup", "6380"])
    assert len(page.call("events")) == 1, "what is shown stands in the address"
    page.call("searchEvents", text="nobody is called so")
    page.call("waitForText", text="No event matches")
    assert page.call("problems") == []


def test_older_events_are_a_click_away(
    console: RunningConsole, page: Browser, estate: Estate
) -> None:
    now = now_ms()
    # Between mere addresses: Radar does not draw them.
    flows = [
        Flow(source=Endpoint(address=f"10.5.0.{n}"), port=8084, connections=1,
             destination=Endpoint(address="10.6.0.1"), effect="alert", cause="rule:many",
             first_seen=now - n, last_seen=now - n)
        for n in range(1, 131)
    ]  # fmt: skip
    estate.joined[0].post(estate.joined[0].batch(flows=flows))
    page.call("open", url=events(console, "?q=10.5.0."))
    page.call("waitForEvent", texts=["10.5.0.1"])
    assert len(page.call("events")) == 100
    page.call("pressButton", name="Show older events")
    page.call("waitForEvent", texts=["10.5.0.130"])
    shown = [row["From"] for row in page.call("events")]
    assert len(shown) == len(set(shown)) == 130


def test_an_incident_is_orange_on_the_map_without_reload(
    console: RunningConsole, page: Browser, estate: Estate
) -> None:
    page.call("open", url=f"{console.url}/radar?view=containers&window=1h")
    page.call("waitForMap", nodes=len(APPS))
    page.call("waitForLive")
    before = page.call("incidentInk")
    assert before["orange"] > 200, "edges, labels and bars of what is prevented"
    assert before["red"] > 50, "the signs of nodes with incidents"
    # An edge that is there already: only its look changes.
    happens(estate, "shop/frontend", "shop/catalogue", 8081, "prevent")
    deadline = time.monotonic() + 10
    while True:
        after = page.call("incidentInk")
        if after["orange"] > before["orange"] + 100 and after["red"] > before["red"] + 20:
            break
        assert time.monotonic() < deadline, (before, after)
    assert page.call("problems") == []


def test_the_table_and_the_panel_say_it_in_words(
    console: RunningConsole, page: Browser, estate: Estate
) -> None:
    estate.report()
    page.call("open", url=f"{console.url}/radar?view=containers&as=table")
    page.call("waitForRow", name="shop/catalogue", text="incident")
    page.call("expand", name="shop/catalogue")
    page.call(
        "waitForRow", name="shop/cache", level=2, text="Prevented by rule cache is the cart's"
    )
    page.call("expand", name="shop/cache", level=2)
    page.call("waitForRow", name="Port 6379", level=3, text="refused")
    page.call("expand", name="shop/orders")
    page.call("waitForRow", name="10.9.0.7", level=2, text="Alert by rule mail")
    page.call("waitForRow", name="shop/database", level=2, text="Allowed by rule database")
    page.call("clickRow", name="shop/catalogue")
    assert "Incident in this window" in page.call("panelText")
    page.call("panelTab", name="Outbound")
    page.call("waitForText", text="by rule cache is the cart's")
    assert page.call("problems") == []


def test_how_is_refused_is_set_where_it_is_enabled(console: RunningConsole, page: Browser) -> None:
    page.call("open", url=f"{console.url}/radar?view=containers")
    page.call("waitForLive")
    page.call("openMode")
    page.call("waitForText", text="A prevented client gets")
    with console.api() as api:
        before = api.get("/settings")
        assert (before["udp"], before["refuse_with"], before["cut"]) == (False, "reset", True)
        page.call("turn", name="Judge UDP too")
        page.call("turn", name="No answer")
        page.call("turn", name="Cut living connections")
        after = api.get("/settings")
        assert (after["udp"], after["refuse_with"], after["cut"]) == (True, "drop", False)
        assert (after["containers"], after["hosts"]) == (before["containers"], before["hosts"])
        page.call("waitForText", text="Its packets are dropped")
        assert page.call("audit") == []
        api.put("/settings", {**before, "version": after["version"]})
    assert page.call("problems") == []


@pytest.mark.parametrize("scheme", ["dark", "light"])
@pytest.mark.parametrize("shown", ["", "?q=nobody"])
def test_axe_finds_nothing_serious(
    console: RunningConsole, page: Browser, scheme: str, shown: str
) -> None:
    page.call("systemTheme", scheme=scheme)
    page.call("open", url=events(console, shown))
    page.call("waitForLive")
    page.call("waitForText", text="No event matches" if shown else "shop/orders")
    assert page.call("audit") == []


@pytest.mark.parametrize(("width", "height"), [(1280, 800), (390, 844)])
def test_fits_the_window(console: RunningConsole, page: Browser, width: int, height: int) -> None:
    page.call("viewport", width=width, height=height)
    page.call("open", url=events(console))
    page.call("waitForEvent", texts=["shop/orders"])
    assert page.call("sidewaysOverflow") <= 0
