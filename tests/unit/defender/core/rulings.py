"""Tables made at random, packets that meet them, and what a slow scan decides about one.

The scan looks at one rule after the other, as a person would; nothing of the judge is in it.
"""

from functools import lru_cache
from ipaddress import ip_address
from itertools import product
from random import Random
from typing import NamedTuple

from hypothesis import strategies as st
from msgspec.structs import replace

from cnnf.defender.core.tables import ALLOW, ANYONE, PREVENT, Tables, pack_rules
from cnnf.defender.netlink.nfqueue import FORWARD, INPUT, OUTPUT, PREROUTING


def packed(*addresses: str) -> list[bytes]:
    """Addresses as they stand in packets."""
    return [ip_address(address).packed for address in addresses]


V4 = packed("10.0.0.1", "10.0.0.2", "172.17.0.2", "172.17.0.3", "172.17.0.9", "203.0.113.7",
            "127.0.0.1", "0.0.0.0", "255.255.255.255")  # fmt: skip
V6 = packed("fd00::1", "fd00::2", "fd00:17::3", "2001:db8::7", "::1", "::", "::ffff:10.0.0.1",
            "::ffff:172.17.0.9", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff")  # fmt: skip
NETWORKS = [
    (packed("172.17.0.0")[0], packed("172.17.255.255")[0]),
    (packed("fd00:17::")[0], packed("fd00:17::ffff")[0]),
]
#: Unknown ends in here are asked for: 10/8 and some of the container networks' kind.
PRIVATE = [
    (packed("10.0.0.0")[0], packed("10.255.255.255")[0]),
    (packed("172.16.0.0")[0], packed("172.31.255.255")[0]),
    (packed("fd00::")[0], packed("fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff")[0]),
]
PORTS = [0, 1, 53, 80, 81, 443, 8_080, 65_535]
CGROUPS = [5, 6, 7]

v4, v6 = st.sampled_from(V4), st.sampled_from(V6)
PLAIN_V6 = [one for one in V6 if not one.startswith(bytes(10) + b"\xff\xff")]
known_address = v4 | st.sampled_from(PLAIN_V6)


class Packet(NamedTuple):
    """What is judged; `owner` and `cgroup` belong to packets of this host."""

    hook: int
    source: bytes
    destination: bytes
    port: int
    protocol: int
    cgroup: int = 0
    owner: int = -1


def packets(*, attributed: bool = True) -> st.SearchStrategy[Packet]:
    """Packets of both families; `attributed` ones of this host have a cgroup or an owner."""
    hook = st.sampled_from([PREROUTING, INPUT, FORWARD, OUTPUT])
    port = st.sampled_from(PORTS) | st.integers(0, 65_535)
    protocol = st.sampled_from([6, 6, 17])
    more = (st.sampled_from([0, *CGROUPS]), st.sampled_from([-1, -1, 0, 1])) if attributed else ()
    return st.builds(Packet, hook, v4, v4, port, protocol, *more) | st.builds(
        Packet, hook, v6, v6, port, protocol, *more
    )


def tables(*, wait_ms: int = 0) -> st.SearchStrategy[Tables]:
    """Whole tables of a few rules. By seed: drawn one by one, hardly any rule would ever match."""
    seeds = st.integers(0, 2**32 - 1)
    return seeds.map(lambda seed: replace(random_tables(Random(seed)), wait_ms=wait_ms))


def random_tables(random: Random) -> Tables:
    """Tables in which some rule often matches, whose rules' numbers may lie far apart."""
    # 4,097: two rules are never in one block of 64 words.
    spread = random.choice([1, 1, 64, 700, 4_097])
    numbers = [
        number * spread
        for number in range(random.choice([0, 1, 3, 5, 8] if spread < 100 else [2, 4]))
    ]
    total = (numbers[-1] + 1) if numbers else 0
    effects = bytearray(total)
    for number in numbers:
        effects[number] = random.randint(0, 2)
    dense = random.choice([0.2, 0.5, 0.8])

    def rules(likely: float) -> bytes:
        return pack_rules(sum(1 << number for number in numbers if random.random() < likely))

    classes = [(rules(dense), rules(dense)) for _ in range(random.randint(1, 6))]

    def candidate() -> int:
        return random.randrange(2 * len(classes))

    def some(values: list[bytes], likely: float) -> list[bytes]:
        return [value for value in values if random.random() < likely]

    def by_name() -> bytes:
        return rules(random.choice([0, 0, 0.3]))

    ports = sorted({0, *(port for port in PORTS if random.random() < 0.5)})
    starts4 = sorted({bytes(4), *some(V4, 0.4)})
    starts6 = sorted({bytes(16), *some(PLAIN_V6, 0.4)})
    known = some(V4 + PLAIN_V6, random.choice([0.3, 0.7]))
    return Tables(
        version=1,
        containers=random.random() < 0.85,
        hosts=random.random() < 0.85,
        container_rules=random.choice([0, total // 2, total, total]),
        effects=bytes(effects),
        tcp=rules(0.95),
        udp=rules(0.8),
        any_source=rules(random.choice([0, 0.3, 0.7])),
        any_destination=rules(random.choice([0, 0.3, 0.7])),
        port_starts=ports,
        port_rules=[rules(0.8) for _ in ports],
        classes=classes,
        starts4=b"".join(starts4),
        classes4=[random.randrange(len(classes)) for _ in starts4],
        starts6=b"".join(starts6),
        classes6=[random.randrange(len(classes)) for _ in starts6],
        addresses=[
            (address, [candidate() for _ in range(random.choice([1, 2, 2, 3]))])
            for address in known
        ],
        listeners=[
            (
                random.choice(PORTS),
                random.choice([b"", *V4, *PLAIN_V6]),
                candidate(),
                random.choice([0, 0, *PORTS]),
            )
            for _ in range(random.randint(0, 6))
        ],
        cgroups=[(cgroup, candidate()) for cgroup in CGROUPS if random.random() < 0.5],
        host=candidate(),
        host_addresses=some(V4 + PLAIN_V6, 0.2),
        networks=random.choice([[], NETWORKS, NETWORKS[:1]]),
        peers=[
            (
                *place,
                [candidate() for _ in range(random.choice([1, 1, 2]))] + anyone,
                random.choice([0, 0, *PORTS]),
            )
            for place in random_places(random)
            for anyone in [random.choice([[], [], [ANYONE]])]
        ],
        by_name=(rules(0.3), rules(0.3)),
        private=random.choice([[], PRIVATE, PRIVATE[:1]]),
        members=[
            (*one, random.randrange(len(classes)))
            for one in random_memberships(random, random.choice([0, 0, 0.3, 0.8]))
        ],
        by_dns=(by_name(), by_name()),
    )


def random_memberships(random: Random, likely: float) -> list[tuple[bytes, bytes]]:
    """Whom what address was named to; empty: this host."""
    ends = V4 + PLAIN_V6
    return [one for one in product([b"", *ends], ends) if random.random() < likely]


def random_places(random: Random) -> list[tuple[bytes, int, int]]:
    """Ends elsewhere, each once."""
    places = set()
    for address in V4 + PLAIN_V6:
        if random.random() < 0.3:
            places.add((address, 0, 0))
        if random.random() < 0.5:
            places.add((address, random.choice(PORTS), random.choice([6, 17])))
    return sorted(places)


# --- the slow scan


@lru_cache(10_000)
def rules_in(packed_rules: bytes) -> frozenset[int]:
    """The numbers in a set of rules, bit by bit."""
    found: set[int] = set()
    for at in range(0, len(packed_rules), 10):
        index = int.from_bytes(packed_rules[at : at + 2], "little")
        word = int.from_bytes(packed_rules[at + 2 : at + 10], "little")
        found |= {index * 64 + bit for bit in range(64) if word >> bit & 1}
    return frozenset(found)


def unmapped(address: bytes) -> bytes:
    """An IPv4-mapped address is that IPv4 address."""
    known = ip_address(address)
    mapped = known.ipv4_mapped if known.version == 6 else None
    return mapped.packed if mapped else address


def scan(tables: Tables, packet: Packet) -> tuple[int, int, bool, int, bool]:
    """Effect, rule, unanimity, doubt and whether no name would change the effect, by looking at
    every pair of candidates and every rule."""
    source, destination = unmapped(packet.source), unmapped(packet.destination)
    own = {*tables.host_addresses, bytes(15) + b"\x01"}
    behind = dict(tables.addresses)
    elsewhere = {(at, port, protocol): who for at, port, protocol, who, _ in tables.peers}
    leading = {(at, port, protocol): to for at, port, protocol, _, to in tables.peers}
    cgroups = dict(tables.cgroups)

    def is_own(address: bytes) -> bool:
        return address in own or (len(address) == 4 and ip_address(address).is_loopback)

    def who(address: bytes, port: int, protocol: int) -> list[int] | None:
        if address in behind:
            return behind[address]
        if is_own(address):
            return [tables.host]
        known = elsewhere.get((address, port, protocol))
        # Port 0 of a protocol can't be asked for.
        asked = within(address, tables.private) and (port != 0 or protocol == 0)
        strange = asked and not within(address, tables.networks)
        return known or (None if strange else [0])

    sources: list[int] | None
    destinations: list[int] | None
    # A socket tells more than an address, on the host as in a namespace that containers share.
    if packet.cgroup in cgroups:
        sources = [cgroups[packet.cgroup]]
    elif packet.owner >= 0:
        sources = [packet.owner]
    else:
        sources = [tables.host] if packet.hook == OUTPUT else who(source, 0, 0)
    if packet.hook == INPUT or is_own(destination):
        listening = {(port, address): (who, to) for port, address, who, to in tables.listeners}
        anywhere = listening.get((packet.port, b""), (tables.host, 0))
        listener, leads_to = listening.get((packet.port, destination), anywhere)
        destinations = [listener]
    else:
        destinations = who(destination, packet.port, packet.protocol)
        leads_to = leading.get((destination, packet.port, packet.protocol), 0)
    packet = packet._replace(port=leads_to or packet.port)
    names = called(
        tables,
        (b"" if packet.hook == OUTPUT or is_own(source) else source, destination),
        (b"" if packet.hook == INPUT or is_own(destination) else destination, source),
    )
    nobody = (source, sources or [0]), (destination, destinations or [0])
    found = outcomes(tables, packet, *nobody, names)
    settled = True
    if any(map(rules_in, tables.by_dns)):
        anyhow = outcomes(tables, packet, *nobody, names, renamed=True)
        settled = len({effect for effect, _ in anyhow}) == 1
    doubt = 0
    if sources is None or destinations is None:
        anyhow = outcomes(
            tables,
            packet,
            (source, sources or [ANYONE]),
            (destination, destinations or [ANYONE]),
            names,
        )
        if len(anyhow) > 1:
            effects = {effect for effect, _ in anyhow}
            doubt = 2 if PREVENT in effects and effects != {PREVENT} else 1
    return (*min(found), len({effect for effect, _ in found}) == 1, doubt, settled)


Names = tuple[frozenset[int], frozenset[int]]


def called(tables: Tables, to: tuple[bytes, bytes], source: tuple[bytes, bytes]) -> Names:
    """The rules that the names of source and destination select, as each other was told them."""
    members = {(asker, address): who for asker, address, who in tables.members}
    found = [
        rules_in(tables.classes[members[one]][side]) if one in members else frozenset[int]()
        for side, one in enumerate((source, to))
    ]
    return found[0], found[1]


def within(address: bytes, networks: list[tuple[bytes, bytes]]) -> bool:
    """Does the address lie in one of these?"""
    number = int.from_bytes(address)
    return any(
        len(first) == len(address) and int.from_bytes(first) <= number <= int.from_bytes(last)
        for first, last in networks
    )


def outcomes(
    tables: Tables,
    packet: Packet,
    source: tuple[bytes, list[int]],
    to: tuple[bytes, list[int]],
    names: Names,
    *,
    renamed: bool = False,
) -> set[tuple[int, int]]:
    """Everything that may be decided, whoever it is that may be anyone.

    He may be selected by nothing, or by one rule of those that name somebody: whom several select
    is decided about by one of them. `renamed`: each end may have one name more.
    """
    everybody = [*source[1], *to[1]]
    if any(one % 2 for one in everybody):
        worlds = [True]
    else:
        worlds = [False, True] if ANYONE in everybody else [False]
    found = set()
    for containers in worlds:
        if not (tables.containers if containers else tables.hosts):
            found.add((ALLOW, -1))
            continue
        for one, other in product(
            guises(tables, 0, source[1], names, renamed=renamed),
            guises(tables, 1, to[1], names, renamed=renamed),
        ):
            found.add(first_match(tables, packet, containers, (source[0], one), (to[0], other)))
    return found


def guises(
    tables: Tables, side: int, candidates: list[int], names: Names, *, renamed: bool
) -> list[frozenset[int]]:
    """The rules that each may be selected by."""
    found = []
    for candidate in candidates:
        if candidate == ANYONE:
            found += [frozenset[int](), *alone(rules_in(tables.by_name[side]))]
        else:
            found.append(rules_in(tables.classes[candidate // 2][side]))
    more = [frozenset[int](), *(alone(rules_in(tables.by_dns[side])) if renamed else [])]
    return [one | names[side] | other for one, other in product(found, more)]


def alone(rules: frozenset[int]) -> list[frozenset[int]]:
    """Each of them by itself."""
    return [frozenset([rule]) for rule in rules]


def first_match(
    tables: Tables,
    packet: Packet,
    containers: bool,
    source: tuple[bytes, frozenset[int]],
    destination: tuple[bytes, frozenset[int]],
) -> tuple[int, int]:
    """The first rule that selects both ends, with its effect; (ALLOW, -1) without any."""
    protocols = rules_in(tables.tcp if packet.protocol == 6 else tables.udp)
    ports = [
        chosen
        for start, chosen in zip(tables.port_starts, tables.port_rules, strict=True)
        if start <= packet.port
    ]
    taking = rules_in(ports[-1])
    for rule, effect in enumerate(tables.effects):
        if (
            (rule < tables.container_rules) == containers
            and rule in protocols
            and rule in taking
            and selects(tables, rule, 0, tables.any_source, *source)
            and selects(tables, rule, 1, tables.any_destination, *destination)
        ):
            return effect, rule
    return ALLOW, -1


def selects(
    tables: Tables, rule: int, side: int, anyone: bytes, address: bytes, named: frozenset[int]
) -> bool:
    """Does the rule select this end: anyone, its subnet, or who stands behind it?"""
    starts, stretches = (
        (tables.starts4, tables.classes4)
        if len(address) == 4
        else (tables.starts6, tables.classes6)
    )
    length = len(address)
    before = [
        stretch
        for at, stretch in enumerate(stretches)
        if starts[at * length : (at + 1) * length] <= address
    ]
    subnets = tables.classes[before[-1]][side]
    return rule in named or any(rule in rules_in(one) for one in (anyone, subnets))
