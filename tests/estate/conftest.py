"""One lab for the whole run: two hosts with engines, one without, one that nobody protects."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.lab import engine, netns, runners
from tests.lab.hosts import ROUTED, Host
from tests.lab.lab import Lab
from tests.lab.runners import Runner

#: Images of containers that come and go.
CHURN = ("churn-a", "churn-b", "churn-c")
IMAGES = ("web", "api", "cache", "shop", "db", "probe", "pod", "side", *CHURN)
NETWORK = "shop"


@dataclass(frozen=True)
class Estate:
    """The lab with its hosts."""

    lab: Lab
    alpha: Host
    beta: Host
    gamma: Host
    bare: Host


@pytest.fixture(scope="package")
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


@dataclass(frozen=True)
class Cast:
    """Who takes part: `web` to `side` are containers on alpha, `api` to `probe` on beta."""

    web: Runner
    web_routed: Runner
    cache: Runner
    shop: Runner
    pod: Runner
    side: Runner
    api: Runner
    db: Runner
    probe: Runner
    front: Runner
    node: Runner
    agents: tuple[Runner, Runner]
    store: Runner
    tool: Runner
    outside: Runner
    bare: Runner


@pytest.fixture(scope="package")
def cast(estate: Estate) -> Cast:
    """Everybody in their places."""
    alpha, beta, gamma = estate.alpha, estate.beta, estate.gamma
    own = ("--network", NETWORK)
    return Cast(
        web=alpha.container("web", "lab/web:1.0", 8000, options=own),
        web_routed=alpha.container("web-routed", "lab/web:1.0", options=("--network", ROUTED)),
        cache=alpha.container("cache", "lab/cache:1.0", 6379, options=own),
        shop=alpha.container("shop", "lab/shop:1.0", 8081, options=(*own, "-p", "18081:8081")),
        pod=alpha.container("pod", "lab/pod:1.0", options=own),
        side=alpha.container("side", "lab/side:1.0", options=("--network", "container:pod")),
        api=beta.container("api", "lab/api:1.0", 8080, 8443, options=("-p", "18080:8080")),
        db=beta.container("db", "lab/db:1.0", 5432, options=("--network", ROUTED)),
        probe=beta.container("probe", "lab/probe:1.0", 9200, options=("--network", "host")),
        front=alpha.service("lab-front"),
        node=alpha.service("lab-node", 9100),
        agents=(alpha.service("lab-agent"), beta.service("lab-agent")),
        store=gamma.service("lab-store", *range(7000, 7010)),
        tool=gamma.program("lab-tool", 7100),
        outside=estate.lab.outside.program("lab-outside", 443),
        bare=estate.bare.program("lab-bare", 9999),
    )


def agreed(wrong: list[str]) -> None:
    """Radar and what happened agree; else each difference on a line of its own."""
    if wrong:
        pytest.fail("\n".join(["Radar differs from what happened:", *wrong]), pytrace=False)
