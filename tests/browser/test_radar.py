"""Radar in a real browser: what a person sees and can do with the shop on the map."""

import pytest

from cnnf.protocol.messages import Endpoint, Flow
from tests.browser.conftest import Browser, Estate
from tests.contract.conftest import RunningConsole
from tests.contract.estate import APPS, SERVICES
from tests.contract.joined import now_ms

pytestmark = pytest.mark.browser


def radar(console: RunningConsole, view: str, *, table: bool = False) -> str:
    """Radar's address."""
    shown = "table" if table else "map"
    return f"{console.url}/radar?view={view}&window=1h&show=all&as={shown}"


@pytest.fixture(autouse=True)
def no_problems(page: Browser) -> None:
    """Forget what an earlier test left in the page's log."""
    page.call("problems")


def test_containers_map_is_drawn(console: RunningConsole, page: Browser) -> None:
    page.call("open", url=radar(console, "containers"))
    page.call("waitForMap", nodes=len(APPS))
    # Nine learning circles, each a ring of some hundred blue pixels.
    assert page.call("inkOnMap") > 1_000
    assert page.call("problems") == []


@pytest.mark.parametrize("view", ["containers", "hosts"])
def test_table_shows_the_estate(console: RunningConsole, page: Browser, view: str) -> None:
    page.call("open", url=radar(console, view, table=True))
    names = {name for name, *_ in (APPS if view == "containers" else SERVICES)}
    for name in names:
        page.call("waitForRow", name=name)
    rows = {
        row["name"].removesuffix("incident").removesuffix("internet"): row
        for row in page.call("rows")
    }
    shown = {name.removesuffix("Learning") for name in rows}
    assert names <= shown
    frontend = next((row for name, row in rows.items() if name.startswith("shop/frontend")), None)
    assert frontend is not None
    assert frontend["instances"] == "3"
    assert frontend["ports"] == "8080"
    assert page.call("problems") == []


def test_edges_and_ports_unfold_in_the_table(console: RunningConsole, page: Browser) -> None:
    page.call("open", url=radar(console, "containers", table=True))
    page.call("expand", name="shop/orders")
    page.call("waitForRow", name="shop/payments", level=2, text="outbound")
    peers = {row["name"].lstrip("→←") for row in page.call("rows", level=2)}
    assert {"shop/frontend", "shop/payments", "shop/database", "10.9.0.7"} <= peers
    page.call("expand", name="shop/database", level=2)
    page.call("waitForRow", name="Port 5432", level=3)


def test_new_edge_arrives_without_reload(
    console: RunningConsole, page: Browser, estate: Estate
) -> None:
    page.call("open", url=radar(console, "containers", table=True))
    page.call("waitForLive")
    page.call("expand", name="shop/cart")
    page.call("waitForRow", name="shop/cache", level=2)
    shop = estate.known[0]
    cart = next(instance for instance in shop if instance.name == "shop/cart")
    backup = next(instance for instance in shop if instance.name == "shop/backup")
    defender = estate.joined[0]
    defender.post(
        defender.batch(
            flows=[
                Flow(
                    source=Endpoint(address=cart.addresses[0], instance=cart.id),
                    destination=Endpoint(address=backup.addresses[0], instance=backup.id),
                    port=9000,
                    connections=1,
                    first_seen=now_ms(),
                    last_seen=now_ms(),
                )
            ]
        )
    )
    page.call("waitForRow", name="shop/backup", level=2, text="9000")
    assert page.call("problems") == []


def test_new_edge_keeps_the_map_live(
    console: RunningConsole, page: Browser, estate: Estate
) -> None:
    page.call("open", url=radar(console, "containers"))
    page.call("waitForMap", nodes=len(APPS))
    page.call("waitForLive")
    estate.report(turn=10)
    assert page.call("inkOnMap") > 1_000
    assert page.call("problems") == []


def test_side_panel_from_the_map(console: RunningConsole, page: Browser) -> None:
    page.call("open", url=radar(console, "containers"))
    page.call("waitForMap", nodes=len(APPS))
    page.call("search", text="shop/orders")
    text = page.call("panelText")
    assert "shop/orders" in text
    page.call("waitForText", text="shop-orders-1")
    text = page.call("panelText")
    assert "web-1" in text
    assert "172.18.0.32" in text
    page.call("closePanel")
    # The search brought the node into the middle, where a click finds it.
    page.call("clickMapMiddle")
    page.call("waitForText", text="shop-orders-1")
    page.call("panelTab", name="Outbound")
    text = page.call("panelText")
    assert "shop/payments" in text
    assert "8084" in text
    page.call("panelTab", name="Processes")
    page.call("waitForText", text="orders --serve")
    assert page.call("problems") == []


def test_keyboard_walks_the_table(console: RunningConsole, page: Browser) -> None:
    page.call("open", url=radar(console, "containers", table=True))
    page.call("focusRow", name="shop/cart")
    page.call("press", keys=["ArrowRight"])
    assert page.call("focused")["expanded"] == "true"
    page.call("press", keys=["ArrowDown"])
    edge = page.call("focused")
    assert (edge["role"], edge["level"]) == ("row", "2")
    page.call("press", keys=["ArrowRight", "ArrowDown"])
    assert page.call("focused")["level"] == "3"
    page.call("press", keys=["ArrowRight", "ArrowRight"])
    cell = page.call("focused")
    assert (cell["role"], cell["column"]) == ("gridcell", "detail")
    page.call("press", keys=["ArrowLeft", "ArrowLeft", "ArrowLeft"])
    assert page.call("focused")["level"] == "2"
    page.call("press", keys=["ArrowLeft", "ArrowLeft", "ArrowLeft"])
    node = page.call("focused")
    assert (node["level"], node["expanded"]) == ("1", "false")
    page.call("press", keys=["End"])
    last = page.call("focused")
    page.call("press", keys=["Home"])
    assert page.call("focused")["text"] != last["text"]
    page.call("press", keys=["ArrowDown", "Enter"])
    assert page.call("panelText")
    # Focus goes into the panel, and back to the row when Escape closes it.
    assert page.call("focused")["role"] == "h2"
    page.call("press", keys=["Escape"])
    assert page.call("focused")["role"] == "row"
    assert page.call("problems") == []


def test_dark_and_light(console: RunningConsole, page: Browser) -> None:
    page.call("open", url=radar(console, "containers"))
    dark = page.call("theme")
    assert dark["scheme"] == "dark", "the system's preference is followed"
    page.call("switchTheme")
    light = page.call("theme")
    assert light["scheme"] == "light"
    assert light["ground"] != dark["ground"]
    page.call("reload")
    page.call("waitForMap", nodes=len(APPS))
    assert page.call("theme")["scheme"] == "light", "the choice is remembered"
    page.call("forgetTheme")
    page.call("reload")
    page.call("waitForMap", nodes=len(APPS))
    assert page.call("theme")["scheme"] == "dark"
    assert page.call("problems") == []


def test_defenders_health(console: RunningConsole, page: Browser, estate: Estate) -> None:
    estate.report()
    page.call("open", url=radar(console, "hosts"))
    page.call("waitForMap", nodes=len(SERVICES))
    text = page.call("openHealth")
    assert "2 of 2 Defenders live" in text
    assert "web-2" in text


def test_connected_only_leaves_idle_nodes_out(
    console: RunningConsole, page: Browser, estate: Estate
) -> None:
    del estate
    page.call("open", url=radar(console, "hosts", table=True))
    everything = len(page.call("rows"))
    page.call("choose", name="Connected")
    assert 0 < len(page.call("rows")) <= everything


@pytest.mark.parametrize("scheme", ["dark", "light"])
@pytest.mark.parametrize("shown", ["map", "table", "panel"])
def test_axe_finds_nothing_serious(
    console: RunningConsole, page: Browser, scheme: str, shown: str
) -> None:
    page.call("systemTheme", scheme=scheme)
    try:
        page.call("open", url=radar(console, "containers", table=shown == "table"))
        page.call("waitForRow" if shown == "table" else "waitForMap",
                  **({"name": "shop/cart"} if shown == "table" else {}))  # fmt: skip
        if shown == "table":
            page.call("expand", name="shop/cart")
        if shown == "panel":
            page.call("search", text="shop/orders")
            page.call("waitForText", text="shop-orders-1")
            page.call("panelTab", name="Outbound")
        assert page.call("audit") == []
    finally:
        page.call("systemTheme", scheme="dark")


@pytest.mark.parametrize(("width", "height"), [(1920, 1080), (1280, 800), (390, 844)])
def test_fits_the_window(console: RunningConsole, page: Browser, width: int, height: int) -> None:
    page.call("viewport", width=width, height=height)
    try:
        page.call("open", url=radar(console, "containers"))
        page.call("waitForMap", nodes=len(APPS))
        assert page.call("sidewaysOverflow") <= 0
        assert page.call("inkOnMap") > 50
    finally:
        page.call("viewport", width=1440, height=900)
