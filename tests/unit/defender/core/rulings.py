"""Tables made at random, packets that meet them, and what a slow scan decides about one.

The scan looks at one rule after the other, as a person would; nothing of the judge is in it.
"""

from functools import lru_cache
from ipaddress import ip_address
from random import Random
from typing import NamedTuple

from hypothesis import strategies as st
from msgspec.structs import replace

from cnnf.defender.core.tables import ALLOW, Tables, pack_rules
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
            (random.choice(PORTS), random.choice([b"", *V4, *PLAIN_V6]), candidate())
            for _ in range(random.randint(0, 6))
        ],
        cgroups=[(cgroup, candidate()) for cgroup in CGROUPS if random.random() < 0.5],
        host=candidate(),
        host_addresses=some(V4 + PLAIN_V6, 0.2),
        networks=random.choice([[], NETWORKS, NETWORKS[:1]]),
    )


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


def scan(tables: Tables, packet: Packet) -> tuple[int, int, bool]:
    """Effect, rule and unanimity, by looking at every pair of candidates and every rule."""
    source, destination = unmapped(packet.source), unmapped(packet.destination)
    own = {*tables.host_addresses, bytes(15) + b"\x01"}
    behind = dict(tables.addresses)
    cgroups = dict(tables.cgroups)

    def is_own(address: bytes) -> bool:
        return address in own or (len(address) == 4 and ip_address(address).is_loopback)

    def who(address: bytes) -> list[int]:
        return behind.get(address) or ([tables.host] if is_own(address) else [0])

    if packet.hook != OUTPUT:
        sources = who(source)
    elif packet.cgroup in cgroups:
        sources = [cgroups[packet.cgroup]]
    else:
        sources = [packet.owner if packet.owner >= 0 else tables.host]
    if packet.hook == INPUT or is_own(destination):
        listening = {(port, address): who for port, address, who in tables.listeners}
        anywhere = listening.get((packet.port, b""), tables.host)
        destinations = [listening.get((packet.port, destination), anywhere)]
    else:
        destinations = who(destination)
    containers = any(one % 2 for one in sources + destinations)
    if not (tables.containers if containers else tables.hosts):
        return ALLOW, -1, True
    found = [
        first_match(tables, packet, containers, (source, one), (destination, other))
        for one in sources
        for other in destinations
    ]
    return (*min(found), len({effect for effect, _ in found}) == 1)


def first_match(
    tables: Tables,
    packet: Packet,
    containers: bool,
    source: tuple[bytes, int],
    destination: tuple[bytes, int],
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
    tables: Tables, rule: int, side: int, anyone: bytes, address: bytes, candidate: int
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
    return any(
        rule in rules_in(one)
        for one in (
            anyone,
            tables.classes[before[-1]][side],
            tables.classes[candidate // 2][side],
        )
    )
