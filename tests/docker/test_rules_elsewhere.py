"""Rules that name who is on another host, judged at either end, with and without the Console."""

import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.lab import engine, netns, runners
from tests.lab.hosts import ROUTED, Host
from tests.lab.lab import Lab
from tests.lab.product import eventually
from tests.lab.programs import Defender
from tests.lab.runners import Runner

pytestmark = pytest.mark.docker

SERVICE, OTHER = "kt-elsewhere-db", "kt-elsewhere-web"
PORT, OTHER_PORT = 7301, 7302

NOTHING = "apiVersion: cnnf/v1\nrules:\n  containers: []\n"
RULES = f"""
apiVersion: cnnf/v1
networkObjects:
  - {{name: cart, type: image, values: ["lab/cart:*"], hosts: [alpha]}}
  - {{name: db, type: service, values: [{SERVICE}], hosts: [beta]}}
rules:
  containers:
    - {{name: no db, source: [cart], destination: [db], effect: prevent}}
"""
#: A policy file is looked at every second, and a generation takes a moment.
APPLIED_S = 15.0


@dataclass(frozen=True)
class Scene:
    """Two hosts: containers on alpha, two services on beta."""

    lab: Lab
    alpha: Host
    beta: Host
    cart: Runner
    web: Runner
    cart_routed: Runner
    web_routed: Runner

    def rule(self, host: Host | None) -> None:
        """The rule is in force on this host alone, or nowhere."""
        for one in (self.alpha, self.beta):
            policy_of(self.lab, one).write_text(RULES if one is host else NOTHING)
        for one in (self.alpha, self.beta):
            wanted = 1 if one is host else 0
            eventually(lambda: rules_in_force(one) == wanted, APPLIED_S, f"{one.name}'s rules")  # noqa: B023


def policy_of(lab: Lab, host: Host) -> Path:
    """The host's policy file."""
    return lab.work / f"policy-{host.name}.yaml"


def rules_in_force(host: Host) -> int:
    """What its Defender has said last."""
    assert host.defender is not None
    applied = [line for line in host.defender.printed.splitlines() if "policy applied" in line]
    return int(applied[-1].rpartition("rules=")[2]) if applied else 0


def reaches(runner: Runner, address: str, port: int = PORT) -> bool:
    """Is the connection answered? If it isn't, it has to be refused, not lost."""
    report = runner.connect(address, port, 1)
    assert report.failed == 0, report
    return sum(report.servers.values()) == 1


def names(lab: Lab) -> set[str]:
    """Everybody on the Console's Radar of hosts."""
    with lab.console.client() as client:
        graph = client.get("/radar", view="hosts", window="1h", all="true")
    return {node["name"] for node in graph["nodes"]}


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    lacking = engine.missing() or runners.missing()
    if lacking or not netns.can_make():
        pytest.skip(lacking or "needs root, iproute2 and util-linux")
    with Lab.opened() as lab:
        alpha, beta = lab.host("alpha", engine=True), lab.host("beta")
        for one in (alpha, beta):
            policy_of(lab, one).write_text(NOTHING)
            assert one.defender is not None
            options = ("--policy", str(policy_of(lab, one)), "--docker-socket")
            socket = one.engine.socket if one.engine else lab.work / "no-engine"
            one.defender = Defender(
                one.name, one.namespace, lab.work, lab.console, *options, str(socket)
            )
        lab.launch()
        alpha.add_images("lab/cart:1.0", "lab/web:1.0")
        alpha.add_routed_network()
        lab.defend()
        beta.service(SERVICE, PORT)
        beta.service(OTHER, OTHER_PORT)
        routed = ("--network", ROUTED)
        eventually(lambda: {SERVICE, OTHER} <= names(lab), 20.0, "the services to be told of")
        yield Scene(
            lab,
            alpha,
            beta,
            cart=alpha.container("cart", "lab/cart:1.0"),
            web=alpha.container("web", "lab/web:1.0"),
            cart_routed=alpha.container("cart-routed", "lab/cart:1.0", options=routed),
            web_routed=alpha.container("web-routed", "lab/web:1.0", options=routed),
        )


def test_the_sources_host_knows_the_service_on_the_other(scene: Scene) -> None:
    scene.rule(scene.alpha)
    there = scene.beta.address
    for cart, web in ((scene.cart, scene.web), (scene.cart_routed, scene.web_routed)):
        assert not reaches(cart, there)
        assert reaches(web, there)
        assert reaches(cart, there, OTHER_PORT)


def test_the_destinations_host_knows_the_container_on_the_other(scene: Scene) -> None:
    scene.rule(scene.beta)
    there = scene.beta.address
    assert not reaches(scene.cart_routed, there)
    assert reaches(scene.web_routed, there)
    assert reaches(scene.cart_routed, there, OTHER_PORT)
    # It leaves its host by the host's address, as the others do: it may be any of them.
    assert reaches(scene.cart, there)


def test_another_container_with_the_address_is_judged_as_itself(scene: Scene) -> None:
    scene.rule(scene.beta)
    there = scene.beta.address
    assert scene.alpha.engine is not None
    docker = scene.alpha.engine.docker
    subnet = docker(
        "network", "inspect", "--format", "{{(index .IPAM.Config 0).Subnet}}", ROUTED
    ).strip()
    address = subnet.replace("0/24", "99")
    options = ("--network", ROUTED, "--ip", address)
    for turn, image in enumerate(("cart", "web", "cart", "web")):
        name = f"turn-{turn}"
        runner = scene.alpha.container(name, f"lab/{image}:1.0", options=options)
        # The Console hears of it within half a second, and says so within another half.
        eventually(
            lambda: reaches(runner, there) == (image == "web"),  # noqa: B023
            10.0,
            f"{name} to be known as {image}",
        )
        for _ in range(3):
            assert reaches(runner, there) == (image == "web")
        docker("rm", "--force", name)


def test_without_the_console_what_was_known_is_judged(scene: Scene) -> None:
    there = scene.beta.address
    scene.rule(scene.beta)
    assert not reaches(scene.cart_routed, there)
    scene.rule(scene.alpha)
    assert not reaches(scene.cart, there)
    scene.lab.console.stop(signal.SIGKILL)
    for _ in range(3):
        assert not reaches(scene.cart, there)
        assert reaches(scene.web, there)
    # And by Defenders that have just started.
    for one in (scene.alpha, scene.beta):
        assert one.defender is not None
        one.defender.stop()
        one.defender.launch()
    for one in (scene.alpha, scene.beta):
        assert one.defender is not None
        one.defender.wait()
    assert not reaches(scene.cart, there)
    assert reaches(scene.web, there)
    policy_of(scene.lab, scene.alpha).write_text(NOTHING)
    policy_of(scene.lab, scene.beta).write_text(RULES)
    eventually(lambda: reaches(scene.cart, there), APPLIED_S, "alpha to let it through")
    eventually(lambda: not reaches(scene.cart_routed, there), APPLIED_S, "beta to judge")
    assert reaches(scene.web_routed, there)
