"""Every way in which one thing reaches another, at once: each must be one edge, named and counted.

The script is played once for all tests here; each looks at its own line of it.
"""

from collections.abc import Iterator

import pytest

from tests.estate.conftest import Cast, Estate, agreed
from tests.lab.hosts import OUTSIDE
from tests.lab.lab import Line, Outcome
from tests.lab.runners import Runner
from tests.lab.truth import INTERNET, Edge, End, app, service, unmanaged

pytestmark = pytest.mark.docker

WEB, API, CACHE, SHOP, DB = (app(f"lab/{name}") for name in ("web", "api", "cache", "shop", "db"))
PROBE, POD, SIDE = app("lab/probe"), app("lab/pod"), app("lab/side")
FRONT, STORE, NODE, AGENT, TOOL = (
    service(f"lab-{name}") for name in ("front", "store", "node", "agent", "tool")
)

#: Connections of a line. Different for each, so that counts that changed places show up.
COUNTS = iter(range(11, 99))


def script(estate: Estate, cast: Cast) -> Iterator[Line]:
    """Who connects where, and the edge that this has to be."""
    alpha, beta, gamma, bare = estate.alpha, estate.beta, estate.gamma, estate.bare
    c = cast

    def line(
        label: str, who: Runner, where: tuple[str, int], server: Runner, edge: tuple[End, End, int]
    ) -> Line:
        address, port = where
        # A program that no unit holds is known by its process and socket alone, so these have to
        # be there for a while.
        held = who is c.tool
        count, hold_us = (7, 400_000) if held else (next(COUNTS), 0)
        return Line(label, who, address, port, count, Edge(*edge), server.name, hold_us)

    cache, db = alpha.container_address("cache"), beta.container_address("db")
    yield line("container, same host", c.web, (cache, 6379), c.cache, (WEB, CACHE, 6379))
    yield line(
        "container, another host's published port",
        *(c.web, (beta.address, 18080), c.api, (WEB, API, 8080)),
    )
    yield line(
        "container, another host's container, routed",
        *(c.web_routed, (db, 5432), c.db, (WEB, DB, 5432)),
    )
    yield line(
        "container, own host's service", c.web, (alpha.address, 9100), c.node, (WEB, NODE, 9100)
    )
    yield line(
        "container, another host's service",
        c.web,
        (gamma.address, 7002),
        c.store,
        (WEB, STORE, 7002),
    )
    yield line(
        "container, own host's published port",
        *(c.web, (alpha.address, 18081), c.shop, (WEB, SHOP, 8081)),
    )
    yield line(
        "container, the internet by name",
        c.web,
        ("api.pay.example", 443),
        c.outside,
        (WEB, INTERNET, 443),
    )
    yield line(
        "container, unprotected",
        c.web,
        (bare.address, 9999),
        c.bare,
        (WEB, unmanaged(bare.address), 9999),
    )
    yield line("shared network", c.pod, (cache, 6379), c.cache, (POD, CACHE, 6379))
    yield line("shared network", c.side, (cache, 6379), c.cache, (SIDE, CACHE, 6379))
    yield line(
        "host network, outbound", c.probe, (gamma.address, 7003), c.store, (PROBE, STORE, 7003)
    )
    yield line(
        "host network, inbound", c.front, (beta.address, 9200), c.probe, (FRONT, PROBE, 9200)
    )
    yield line(
        "service, another host's service",
        c.front,
        (gamma.address, 7000),
        c.store,
        (FRONT, STORE, 7000),
    )
    yield line("service, IPv6", c.front, (gamma.address6, 7001), c.store, (FRONT, STORE, 7001))
    yield line(
        "service, own host's container", c.front, (cache, 6379), c.cache, (FRONT, CACHE, 6379)
    )
    yield line(
        "service, another host's published port",
        c.front,
        (beta.address, 18080),
        c.api,
        (FRONT, API, 8080),
    )
    yield line(
        "service, own host's published port",
        c.node,
        (alpha.address, 18081),
        c.shop,
        (NODE, SHOP, 8081),
    )
    yield line(
        "service, another host's program",
        c.front,
        (gamma.address, 7100),
        c.tool,
        (FRONT, TOOL, 7100),
    )
    yield line("program, the internet", c.tool, (OUTSIDE, 443), c.outside, (TOOL, INTERNET, 443))
    for agent in c.agents:
        yield line(
            "one service on two hosts", agent, (gamma.address, 7004), c.store, (AGENT, STORE, 7004)
        )
    yield line(
        "outside, published port", c.outside, (alpha.address, 18081), c.shop, (INTERNET, SHOP, 8081)
    )
    yield line(
        "outside, service", c.outside, (gamma.address, 7005), c.store, (INTERNET, STORE, 7005)
    )
    yield line(
        "unprotected, published port",
        c.bare,
        (beta.address, 18080),
        c.api,
        (unmanaged(bare.address), API, 8080),
    )


LABELS = (
    "container, same host",
    "container, another host's published port",
    "container, another host's container, routed",
    "container, own host's service",
    "container, another host's service",
    "container, own host's published port",
    "container, the internet by name",
    "container, unprotected",
    "shared network",
    "host network, outbound",
    "host network, inbound",
    "service, another host's service",
    "service, IPv6",
    "service, own host's container",
    "service, another host's published port",
    "service, own host's published port",
    "service, another host's program",
    "program, the internet",
    "one service on two hosts",
    "outside, published port",
    "outside, service",
    "unprotected, published port",
)


@pytest.fixture(scope="module")
def outcome(estate: Estate, cast: Cast) -> Outcome:
    """The whole script played, and what Radar makes of it."""
    lines = list(script(estate, cast))
    assert {line.label for line in lines} == set(LABELS)
    return estate.lab.outcome(lines)


@pytest.mark.parametrize("label", LABELS)
def test_each_connection_is_one_edge(outcome: Outcome, label: str) -> None:
    agreed(outcome.wrong_of(label))


def test_nothing_is_invented(outcome: Outcome) -> None:
    agreed(outcome.invented)


def test_one_service_on_two_hosts_has_two_instances(estate: Estate, outcome: Outcome) -> None:
    instances = estate.lab.console.picture("hosts").instances
    assert {name: instances.get(name) for name in (AGENT, STORE, NODE)} == {
        AGENT: 2,
        STORE: 1,
        NODE: 1,
    }
