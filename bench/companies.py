"""A company's policy and its apps, of any size: what the policy's engine is measured with. Pure.

2,000 apps of 50 teams; objects of every kind, most of them images; rules from a team's apps to
others', to services, networks and names outside, each on some ports.
"""

import random
from collections.abc import Sequence
from ipaddress import IPv4Address

from cnnf.policy.endpoints import Candidate, Identity
from cnnf.policy.objects import LabelTest, NetworkObject
from cnnf.policy.rules import Effect, PortRange, Rule

APPS = 2_000
TEAMS = 50
#: Of a thousand objects; the rest are subnets.
_IMAGES, _SERVICES, _HOSTS, _NAMES = 600, 100, 50, 50
#: One rule in so many is for hosts.
_FOR_HOSTS = 10
_EFFECTS: tuple[Effect, ...] = ("allow", "allow", "alert", "prevent")


def repository(app: int) -> str:
    """The image of an app."""
    return f"registry.example/team-{app % TEAMS}/app-{app}"


def objects(count: int, chance: random.Random) -> list[NetworkObject]:
    """So many objects: `image-0`, `service-0`, `host-0`, `dns-0`, `subnet-0` and so on."""
    found = []
    for number in range(count):
        of_thousand = number % 1000
        if of_thousand < _IMAGES:
            found.append(_image(number, chance))
        elif of_thousand < _IMAGES + _SERVICES:
            found.append(_named(number, "service", f"unit-{number}"))
        elif of_thousand < _IMAGES + _SERVICES + _HOSTS:
            found.append(_named(number, "host", f"host-{number % 100}*"))
        elif of_thousand < _IMAGES + _SERVICES + _HOSTS + _NAMES:
            found.append(_named(number, "dns", f"*.partner-{number}.example"))
        else:
            found.append(_subnet(number, chance))
    return found


def _named(number: int, kind: str, value: str) -> NetworkObject:
    return NetworkObject(name=f"{kind}-{number}", kind=kind, values=(value,))  # type: ignore[arg-type]


def _image(number: int, chance: random.Random) -> NetworkObject:
    app, way = chance.randrange(APPS), number % 10
    name = f"image-{number}"
    if way == 0:
        # A team's apps, by label.
        team = LabelTest(key="team", values=(f"team-{app % TEAMS}",))
        return NetworkObject(name=name, kind="image", values=("*",), labels=(team,))
    if way == 1:
        return NetworkObject(
            name=name,
            kind="image",
            values=(f"registry.example/team-{app % TEAMS}/*", "-*:canary"),
            namespaces=(f"team-{app % TEAMS}",),
        )
    if way == 2:
        return NetworkObject(name=name, kind="image", values=(f"{repository(app)}:1.*",))
    return NetworkObject(name=name, kind="image", values=(repository(app),))


def _subnet(number: int, chance: random.Random) -> NetworkObject:
    networks = (chance.randrange(1 << 16) for _ in range(3))
    values = tuple(f"{IPv4Address((10 << 24) + (one << 8))}/24" for one in networks)
    return NetworkObject(name=f"subnet-{number}", kind="subnet", values=values)


def rules(
    count: int, known: Sequence[NetworkObject], chance: random.Random
) -> tuple[list[Rule], list[Rule]]:
    """So many rules among these objects, for containers and for hosts."""
    images = [one.name for one in known if one.kind == "image"]
    hosts = [one.name for one in known if one.kind in ("service", "host")]
    others = [one.name for one in known if one.kind != "image"]
    both: tuple[list[Rule], list[Rule]] = ([], [])
    for number in range(count):
        for_hosts = number % _FOR_HOSTS == 0
        protected = hosts if for_hosts else images
        facing = chance.choice(others if for_hosts else (images, images, others)[number % 3])
        sides = [(chance.choice(protected),), (facing,)]
        chance.shuffle(sides)
        both[for_hosts].append(
            Rule(
                name=f"rule-{number}",
                effect=chance.choice(_EFFECTS),
                source=sides[0],
                destination=sides[1],
                ports=tuple(_ports(chance)),
                protocol="tcp",
            )
        )
    return both


def _ports(chance: random.Random) -> list[PortRange]:
    first = chance.choice((80, 443, 5432, 6379, 8080, 9000, chance.randrange(1024, 60_000)))
    return [(first, first)] if chance.random() < 0.8 else [(first, first), (8000, 8100)]


def container(app: int, host: int, release: int) -> Identity:
    """A container of an app on a host."""
    team = f"team-{app % TEAMS}"
    return Identity(
        kind="container",
        name=repository(app),
        tag=f"1.{app % 7}",
        digest=f"sha256:{app:064x}",
        host=f"host-{host}",
        cluster="one",
        namespace=team,
        labels=(("app", f"app-{app}"), ("release", f"r{release}"), ("team", team)),
    )


def candidate(chance: random.Random, release: int) -> Candidate:
    """A container somewhere; with a release nobody had before it is somebody new."""
    identity = container(chance.randrange(APPS), chance.randrange(1000), release)
    address = (100 << 24) + (64 << 16) + chance.randrange(1 << 20)
    return Candidate(identity=identity, address=address.to_bytes(4))
