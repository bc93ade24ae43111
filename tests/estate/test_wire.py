"""Rules of every kind on the wire: the kernel does what `cnnf policy test` says, and tells it so.

One policy and one table of flows between containers, services, hosts and addresses outside, over
IPv4 and IPv6, within one host and between several. It comes after what counts connections, since
it makes some that are refused.
"""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

import pytest

from cnnf.defender.core.limits import SERVICES_INTERVAL_SECONDS
from tests.estate.conftest import Estate
from tests.lab.hosts import OUTSIDE, RESOLVER, Host
from tests.lab.truth import Edge, app, service
from tests.lab.wire import (
    DEFAULT,
    Judgement,
    Party,
    Row,
    Told,
    Wire,
    bare,
    elsewhere,
    judged,
    played,
)

pytestmark = pytest.mark.docker

NETWORK = "wire"
FRONT, CANARY, CART, DB = "wire/front:1.4", "wire/front:canary", "wire/cart:2.0", "wire/db:5.1"
DATA = {"tier": "data", "team": "orders"}

#: Addresses outside, all of one listener.
NET, LAST, BESIDE = "203.0.113.16", "203.0.113.31", "203.0.113.32"
ONE, TYPED = "203.0.113.40", "203.0.113.80"
LOW, EXCEPT, HIGH, ABOVE = (f"203.0.113.{at}" for at in range(60, 64))
#: By name: `tests.lab.hosts.ZONE`.
PAID, PAID_EU, FREE = (f"203.0.113.{at}" for at in range(70, 73))
OUTSIDE6 = "2001:db8:7::7"
NET6, BESIDE6, ONE6 = "2001:db8:7:1::9", "2001:db8:7:2::9", "2001:db8:7:3::1"
HIGH6, ABOVE6 = "2001:db8:7:4::ff", "2001:db8:7:4::100"

POLICY = f"""\
apiVersion: cnnf/v1
networkObjects:
  - {{name: networks, type: subnet, values: [203.0.113.16/28, "2001:db8:7:1::/64"]}}
  - {{name: one, type: subnet, values: [{ONE}, "{ONE6}"]}}
  - name: ranges
    type: subnet
    values: [{LOW}-{HIGH}, "2001:db8:7:4::-{HIGH6}", "-{EXCEPT}"]
  - {{name: outside, type: subnet, values: [{OUTSIDE}, "{OUTSIDE6}"]}}
  - {{name: payments, type: dns, values: [api.wire.example, "*.pay.wire", "-free.pay.wire"]}}
  - {{name: front, type: image, values: ["wire/front", "-*:canary"]}}
  - {{name: canary, type: image, values: ["*/front:canary"]}}
  - name: data
    type: image
    values: ["wire/*"]
    hosts: [alpha]
    labels: {{tier: {{in: [data, cache]}}, team: {{exists: true}}, old: {{exists: false}}}}
  - {{name: on beta, type: image, values: ["wire/*"], hosts: ["b*"]}}
  - {{name: db, type: image, values: ["wire/db:5.*"]}}
  - {{name: stores, type: service, values: ["wire-st*", "-wire-staging"], hosts: [gamma]}}
  - {{name: gamma, type: host, values: [gamma]}}
  # Called as the pages call what is typed in place of an object.
  - {{name: {TYPED}, type: subnet, values: [{TYPED}]}}
  - {{name: "{CART}", type: image, values: ["{CART}"]}}
  - {{name: wire-agent, type: service, values: [wire-agent]}}
rules:
  containers:
    - {{name: names, ports: [53], effect: allow}}
    - {{name: "off", enabled: false, effect: prevent}}
    - {{name: over, expires: 2020-01-01, effect: prevent}}
    - name: pay
      source: [front]
      destination: [payments]
      ports: [444, "8440-8449"]
      protocol: tcp
      effect: allow
    - {{name: no others pay, destination: [payments], effect: prevent}}
    - {{name: no canary outside, source: [canary], destination: [internet], effect: prevent}}
    - {{name: no networks, destination: [networks], effect: prevent}}
    - {{name: one, destination: [one], effect: alert}}
    - {{name: no ranges, destination: [ranges], effect: prevent}}
    - name: typed
      source: ["{CART}"]
      destination: ["{TYPED}", wire-agent]
      effect: prevent
    - {{name: datagrams, destination: [stores], protocol: udp, effect: prevent}}
    - name: data to stores
      source: [data]
      destination: [stores]
      ports: ["8201-8202"]
      effect: alert
    - {{name: data to gamma, source: [data], destination: [gamma], effect: prevent}}
    - {{name: front to db, source: [front], destination: [db], ports: [8301, 8303], effect: allow}}
    - {{name: outside to db, source: [outside], destination: [db], ports: [8302], effect: prevent}}
    - name: cart to db
      source: ["{CART}"]
      destination: [db]
      ports: [8304, 8305]
      effect: prevent
    - {{name: to db, destination: [db], ports: [8301, 8303, 8310], effect: prevent}}
    - {{name: on beta, source: [on beta], destination: [on beta], effect: alert}}
  hosts:
    - name: agents
      source: [wire-agent]
      destination: [networks, ranges]
      effect: prevent
    - {{name: agents to stores, source: [wire-agent], destination: [stores], effect: allow}}
    - {{name: stores, destination: [stores], ports: [8204, 8208], effect: prevent}}
    - {{name: from gamma, source: [gamma], ports: [8101, 8102], effect: alert}}
    - {{name: to gamma, source: [internet], destination: [gamma], ports: [8206], effect: prevent}}
"""
RULES = frozenset(
    line.split("name: ")[1].split(",")[0].strip('"')
    for line in POLICY.partition("rules:")[2].splitlines()
    if "name: " in line
)
#: Those that must not decide anything.
NEVER = frozenset({"off", "over", "datagrams"})


@dataclass(frozen=True)
class Players:
    """Everybody in the table: `front` to `job` on alpha, `there` and `db` on beta."""

    front: Party
    canary: Party
    cart: Party
    near: Party
    agent: Party
    job: Party
    there: Party
    db: Party
    store: Party
    staging: Party
    outside: Party
    bare: Party

    def at(self, address: str, address6: str = "") -> Party:
        """The listener outside at another of its addresses."""
        return replace(self.outside, address=address, address6=address6)


def container(
    host: Host,
    name: str,
    image: str,
    *ports: int,
    labels: Mapping[str, str] = MappingProxyType({}),
    published: Mapping[int, int] = MappingProxyType({}),
) -> Party:
    """A container on the network of both families, with a resolver of its own."""
    assert host.engine is not None
    arguments = ["--network", NETWORK, "--dns", RESOLVER]
    for key, value in labels.items():
        arguments += ["--label", f"{key}={value}"]
    for outer, inner in published.items():
        arguments += ["--publish", f"{outer}:{inner}"]
    name = f"wire-{name}"
    runner = host.container(name, image, *ports, options=tuple(arguments))
    template = "{{range .NetworkSettings.Networks}}{{.IPAddress}} {{.GlobalIPv6Address}}{{end}}"
    address, address6 = host.engine.docker("inspect", "--format", template, name).split()
    said = {"image": image, "host": host.name, "labels": dict(labels)}
    return Party(app(image.partition(":")[0]), said, address, address6, runner)


def of_host(host: Host, name: str, *ports: int) -> Party:
    """A service of a host."""
    said = {"service": name, "host": host.name}
    return Party(service(name), said, host.address, host.address6, host.service(name, *ports))


def network_of_both_families(estate: Estate, host: Host) -> None:
    """A container network as Docker makes it: IPv4 is masqueraded, IPv6 is routed."""
    assert host.engine is not None
    subnet = f"fd80:{host.number}::/64"
    host.engine.docker("network", "create", "--ipv6", "--subnet", subnet, NETWORK)
    router = estate.lab.network.router
    router.run("ip", "-6", "route", "add", subnet, "via", host.address6)


@pytest.fixture(scope="module")
def players(estate: Estate) -> Players:
    alpha, beta, gamma = estate.alpha, estate.beta, estate.gamma
    lab = estate.lab
    addresses = (NET, LAST, BESIDE, ONE, TYPED, LOW, EXCEPT, HIGH, ABOVE, PAID, PAID_EU, FREE)
    lab.network.outside.address("eth0", *(f"{one}/24" for one in addresses))
    lab.network.router.address("outside", "2001:db8:7::1/48")
    addresses6 = (OUTSIDE6, NET6, BESIDE6, ONE6, HIGH6, ABOVE6)
    lab.network.outside.address("eth0", *(f"{one}/48" for one in addresses6))
    lab.network.outside.run("ip", "-6", "route", "add", "default", "via", "2001:db8:7::1")
    for host in (alpha, beta):
        assert host.engine is not None
        for image in (FRONT, CANARY, CART, DB):
            host.engine.docker("tag", "lab/web:1.0", image)
        network_of_both_families(estate, host)
    outside = lab.outside.program("wire-outside", 444, 8441, 9443, *range(8101, 8113))
    published = {18301: 8301, 18302: 8302, 8304: 8304, 8303: 8303}
    return Players(
        front=container(alpha, "front", FRONT, labels={"tier": "web"}),
        canary=container(alpha, "canary", CANARY),
        cart=container(alpha, "cart", CART, labels=DATA),
        near=container(alpha, "near", DB, *range(8301, 8312), published={18304: 8304, 8305: 8305}),
        agent=of_host(alpha, "wire-agent", 8401, 8402),
        job=of_host(alpha, "wire-job", 8403),
        there=container(beta, "there", FRONT),
        db=container(beta, "db", DB, *range(8301, 8307), published=published),
        store=of_host(gamma, "wire-store", *range(8201, 8210)),
        staging=of_host(gamma, "wire-staging", 8211, 8212),
        outside=elsewhere(outside, OUTSIDE, OUTSIDE6),
        bare=bare(estate.bare.program("wire-bare", 8501), estate.bare.address),
    )


def row(
    label: str,
    source: Party,
    destination: Party,
    port: int,
    effect: str = "allow",
    rule: str = "",
    **more: object,
) -> Row:
    """One of the table; without a rule the default decides."""
    cause = f"rule:{rule}" if rule else DEFAULT
    return Row(label, source, destination, port, effect, cause, **more)  # type: ignore[arg-type]


def to_outside(p: Players) -> Iterator[Row]:
    """From one host's containers and services to subnets and names."""
    yield row("network", p.front, p.at(NET), 8101, "prevent", "no networks")
    yield row("network's last", p.front, p.at(LAST), 8102, "prevent", "no networks")
    yield row("beside the network", p.front, p.at(BESIDE), 8103)
    yield row("network, IPv6", p.front, p.at("", NET6), 8104, "prevent", "no networks", v6=True)
    yield row("beside, IPv6", p.front, p.at("", BESIDE6), 8105, v6=True)
    yield row("one address", p.cart, p.at(ONE), 8101, "alert", "one")
    yield row("one address, IPv6", p.cart, p.at("", ONE6), 8102, "alert", "one", v6=True)
    yield row("range", p.cart, p.at(LOW), 8103, "prevent", "no ranges")
    yield row("range's last", p.cart, p.at(HIGH), 8104, "prevent", "no ranges")
    yield row("excluded from the range", p.cart, p.at(EXCEPT), 8105)
    yield row("above the range", p.cart, p.at(ABOVE), 8106)
    yield row("range, IPv6", p.cart, p.at("", HIGH6), 8107, "prevent", "no ranges", v6=True)
    yield row("above, IPv6", p.cart, p.at("", ABOVE6), 8108, v6=True)
    yield row("a tag", p.canary, p.at(BESIDE), 8109, "prevent", "no canary outside")
    yield row(
        "a tag, IPv6", p.canary, p.at("", BESIDE6), 8110, "prevent", "no canary outside", v6=True
    )
    yield row("typed address", p.cart, p.at(TYPED), 8109, "prevent", "typed")
    yield row("typed address, another app", p.front, p.at(TYPED), 8106)
    yield row("service", p.agent, p.at(NET), 8101, "prevent", "agents")
    yield row("service, IPv6", p.agent, p.at("", HIGH6), 8102, "prevent", "agents", v6=True)
    yield row("service, another", p.job, p.at(NET), 8103)
    yield row("service, beside", p.agent, p.at(BESIDE), 8104)
    api, eu, free = "api.wire.example", "eu.pay.wire", "free.pay.wire"
    yield row("name", p.front, p.at(PAID), 444, "allow", "pay", to=api, called=(api,))
    yield row("name below", p.front, p.at(PAID_EU), 8441, "allow", "pay", to=eu, called=(eu,))
    yield row(
        *("name, another port", p.front, p.at(PAID_EU), 9443, "prevent", "no others pay"),
        to=eu,
        called=(eu,),
    )
    yield row(
        *("name, another app", p.cart, p.at(PAID), 444, "prevent", "no others pay"),
        to=api,
        called=(api,),
    )
    yield row("excluded name", p.cart, p.at(FREE), 8441, to=free, called=(free,))
    yield row("an address nobody asked for", p.near, p.at(PAID), 444)


def on_one_host(p: Players) -> Iterator[Row]:
    """Between containers and services of one host."""
    yield row("same network", p.front, p.near, 8301, "allow", "front to db")
    yield row("same network, IPv6", p.front, p.near, 8303, "allow", "front to db", v6=True)
    yield row("same network, refused", p.cart, p.near, 8301, "prevent", "to db")
    yield row("same network, IPv6, refused", p.cart, p.near, 8303, "prevent", "to db", v6=True)
    yield row("same network, no rule", p.cart, p.near, 8309)
    yield row("another tag", p.canary, p.near, 8310, "prevent", "to db")
    yield row("service to container", p.agent, p.near, 8301, "prevent", "to db")
    yield row("service to container, IPv6", p.agent, p.near, 8303, "prevent", "to db", v6=True)
    yield row("typed app to service", p.cart, p.agent, 8401, "prevent", "typed")
    yield row("typed app to service, IPv6", p.cart, p.agent, 8402, "prevent", "typed", v6=True)
    yield row("app to service", p.front, p.agent, 8401)
    yield row("app to another service", p.cart, p.job, 8403)


def between_hosts(p: Players) -> Iterator[Row]:
    """Between hosts with and without Defenders, and from outside."""
    yield row("labels to service", p.cart, p.store, 8201, "alert", "data to stores")
    yield row("labels to service, IPv6", p.cart, p.store, 8202, "alert", "data to stores", v6=True)
    yield row("labels to host", p.cart, p.store, 8203, "prevent", "data to gamma")
    yield row("labels to host, IPv6", p.cart, p.store, 8205, "prevent", "data to gamma", v6=True)
    yield row("excluded service", p.cart, p.staging, 8211, "prevent", "data to gamma")
    yield row("other labels", p.front, p.store, 8201)
    yield row("other labels, IPv6", p.front, p.store, 8202, v6=True)
    yield row("service to service", p.agent, p.store, 8204, "allow", "agents to stores")
    yield row(
        "service to service, IPv6", p.agent, p.store, 8208, "allow", "agents to stores", v6=True
    )
    yield row("another service", p.job, p.store, 8204, "prevent", "stores")
    yield row("another service, IPv6", p.job, p.store, 8208, "prevent", "stores", v6=True)
    yield row("a host's", p.store, p.at(BESIDE), 8101, "alert", "from gamma")
    yield row("a host's, IPv6", p.staging, p.at("", BESIDE6), 8102, "alert", "from gamma", v6=True)
    yield row("outside to host", p.outside, p.store, 8206, "prevent", "to gamma")
    yield row("outside to host, IPv6", p.outside, p.store, 8206, "prevent", "to gamma", v6=True)
    yield row("outside to host, another port", p.outside, p.store, 8207)
    yield row("unprotected to host", p.bare, p.store, 8206)
    yield row("app to unprotected", p.front, p.bare, 8501)
    yield row("one image on one host", p.there, p.db, 8305, "alert", "on beta")
    yield row("one image on one host, IPv6", p.there, p.db, 8306, "alert", "on beta", v6=True)


def published(estate: Estate, p: Players) -> Iterator[Row]:
    """To a container by a port of its host."""
    alpha, beta = estate.alpha.address, estate.beta.address
    yield row(
        *("outside, published", p.outside, p.db, 8302, "prevent", "outside to db"),
        to=beta,
        through=18302,
    )
    yield row("outside, published, another port", p.outside, p.db, 8304, to=beta)
    yield row(
        *("app, published", p.front, p.db, 8301, "allow", "front to db"), to=beta, through=18301
    )
    yield row(
        *("app, published, refused", p.cart, p.db, 8301, "prevent", "to db"),
        to=beta,
        through=18301,
    )
    yield row("app, published as it is", p.cart, p.db, 8303, "prevent", "to db", to=beta)
    yield row(
        *("own host's, refused", p.cart, p.near, 8304, "prevent", "cart to db"),
        to=alpha,
        through=18304,
    )
    yield row(
        "own host's as it is, refused", p.cart, p.near, 8305, "prevent", "cart to db", to=alpha
    )
    yield row("own host's", p.front, p.near, 8304, to=alpha, through=18304)
    yield row("own host's, service", p.job, p.near, 8304, to=alpha, through=18304)
    yield row("app, routed, IPv6", p.front, p.db, 8303, "allow", "front to db", v6=True)
    yield row("app, routed, IPv6, refused", p.cart, p.db, 8301, "prevent", "to db", v6=True)


def table(estate: Estate, p: Players) -> list[Row]:
    return [*to_outside(p), *on_one_host(p), *between_hosts(p), *published(estate, p)]


#: Until the Console has been told of what was read, and has told others.
TOLD_SECONDS = 2.0


@dataclass(frozen=True)
class Outcome:
    """The table, and what each of the three says, by label."""

    rows: dict[str, Row]
    tested: dict[str, Judgement]
    made: dict[str, str]
    told: dict[Edge, Told]


@pytest.fixture(scope="module")
def outcome(estate: Estate, players: Players, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """The whole table, played once."""
    policy: Path = tmp_path_factory.mktemp("wire") / "policy.yaml"
    policy.write_text(POLICY)
    rows = table(estate, players)
    labels = [one.label for one in rows]
    assert len(set(labels)) == len(labels)
    # Who listens is read so often; till then a port of a host is nobody's but the host's.
    known = time.monotonic() + SERVICES_INTERVAL_SECONDS + TOLD_SECONDS
    tests = dict(zip(labels, judged(policy, rows), strict=True))
    wire = Wire(estate.lab, policy)
    time.sleep(max(0.0, known - time.monotonic()))
    try:
        # By another port than its own a container is known as soon as somebody has met it there.
        first = [one for one in rows if one.through and one.effect == "allow"]
        made = played(first) | played([one for one in rows if one not in first])
    finally:
        # What is outside is drawn as network objects while there are any that hold it.
        wire.back()
    return Outcome(dict(zip(labels, rows, strict=True)), tests, made, wire.told(rows))


def test_the_table_decides_by_every_rule(outcome: Outcome) -> None:
    decided = {one.cause.removeprefix("rule:") for one in outcome.tested.values()}
    assert decided == {*RULES - NEVER - {"names"}, DEFAULT}


def test_the_command_says_what_is_meant(outcome: Outcome) -> None:
    meant = {label: Judgement(one.effect, one.cause) for label, one in outcome.rows.items()}
    assert outcome.tested == meant


def test_the_kernel_does_what_the_command_says(outcome: Outcome) -> None:
    said = {
        label: "refused" if one.effect == "prevent" else "answered"
        for label, one in outcome.tested.items()
    }
    assert outcome.made == said


def test_what_is_told_is_what_the_command_says(outcome: Outcome) -> None:
    radar, events = {}, {}
    for label, one in outcome.rows.items():
        told = outcome.told[one.edge]
        radar[label], events[label] = told.radar, told.events
    assert radar == outcome.tested
    assert events == {
        label: {one} if one.effect != "allow" else set() for label, one in outcome.tested.items()
    }
