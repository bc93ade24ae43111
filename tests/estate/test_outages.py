"""Programs that are away for a while: nothing is lost, nothing counted twice, nothing guessed."""

import pytest

from tests.estate.conftest import Cast, Estate, agreed
from tests.lab.lab import Line, play
from tests.lab.truth import INTERNET, Edge, app, host, service

pytestmark = pytest.mark.docker

WEB, API, CACHE = app("lab/web"), app("lab/api"), app("lab/cache")
FRONT, STORE, SHOP = service("lab-front"), service("lab-store"), app("lab/shop")


def lines(estate: Estate, cast: Cast, label: str, port: int) -> list[Line]:
    """Some of each kind: within a host, between hosts, from outside; `port` is the store's."""
    alpha, beta, gamma = estate.alpha, estate.beta, estate.gamma
    cache = alpha.container_address("cache")
    c = cast
    return [
        Line(label, c.web, cache, 6379, 21, Edge(WEB, CACHE, 6379), c.cache.name),
        Line(label, c.web, beta.address, 18080, 22, Edge(WEB, API, 8080), c.api.name),
        Line(label, c.front, gamma.address, port, 23, Edge(FRONT, STORE, port), c.store.name),
        Line(label, c.outside, alpha.address, 18081, 24, Edge(INTERNET, SHOP, 8081), c.shop.name),
    ]


def test_nothing_is_lost_while_the_console_is_away(estate: Estate, cast: Cast) -> None:
    console = estate.lab.console
    before = estate.lab.pictures()
    console.stop()
    made = play(lines(estate, cast, "the Console away", 7000))
    console.launch()
    console.wait()
    agreed(estate.lab.settled(before, made).wrong)


def test_a_restarted_defender_goes_on(estate: Estate, cast: Cast) -> None:
    """What it saw is told before it ends. Of what was made without it the other end's Defender
    tells, which can't know more of the source than its host."""
    defender = estate.alpha.defender
    assert defender is not None
    before = estate.lab.pictures()
    made = play(lines(estate, cast, "before the restart", 7000))
    defender.stop()
    c, gamma = cast, estate.gamma
    made += play(
        [
            Line(
                "without a Defender",
                *(c.front, gamma.address, 7009, 25),
                *(Edge(host("alpha"), STORE, 7009), c.store.name),
            )
        ]
    )
    defender.launch()
    defender.wait()
    defender.wait_enabled()
    made += play(lines(estate, cast, "after the restart", 7000))
    agreed(estate.lab.settled(before, made).wrong)
