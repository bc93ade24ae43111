"""One lab for the whole run: two hosts with engines, one without, one that nobody protects."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.lab import engine, netns, runners
from tests.lab.hosts import Host
from tests.lab.lab import Lab

IMAGES = ("web", "api", "cache", "shop", "db", "probe", "pod", "side", "churn")
NETWORK = "shop"


@dataclass(frozen=True)
class Estate:
    """The lab with its hosts."""

    lab: Lab
    alpha: Host
    beta: Host
    gamma: Host
    bare: Host


@pytest.fixture(scope="session")
def estate() -> Iterator[Estate]:
    """Everything started and enabled; no runners yet."""
    lacking = engine.missing() or runners.missing()
    if lacking or not netns.can_make():
        pytest.skip(lacking or "needs root, iproute2 and util-linux")
    with Lab.opened() as lab:
        made = Estate(
            lab,
            alpha=lab.host("alpha", engine=True),
            beta=lab.host("beta", engine=True),
            gamma=lab.host("gamma"),
            bare=lab.host("bare", defended=False),
        )
        lab.launch()
        for one in (made.alpha, made.beta):
            one.add_images(*(f"lab/{name}:1.0" for name in IMAGES))
            one.add_routed_network()
            assert one.engine is not None
            one.engine.docker("network", "create", NETWORK)
        lab.defend()
        yield made


def agreed(wrong: list[str]) -> None:
    """Radar and what happened agree; else each difference on a line of its own."""
    if wrong:
        pytest.fail("\n".join(["Radar differs from what happened:", *wrong]), pytrace=False)
