"""What a packet loop judges by: one whole value, sent from the daemon to every loop.

Built from the policy and from what discovery knows (`judgement.py`), read by the reference judge
(`judge.py`) and by the native loop, which both give the same decisions. Everything that needs
names, patterns or labels has happened before: here are only numbers, addresses and sets of rules.

A *class* is what an identity selects: the rules whose source, and those whose destination, match
it. A *candidate* is one who may stand behind an address: `class * 2 + is_container`. `ANYONE`
stands for others elsewhere who are not told one by one.
"""

import struct
from collections.abc import Iterable
from itertools import pairwise

import msgspec

from cnnf.defender.core.limits import (
    ADDRESS_CANDIDATES_MAX,
    HOLD_MS_MAX,
    STRANGER_DELAY_MS_MAX,
    TABLE_ADDRESSES_MAX,
    TABLE_CGROUPS_MAX,
    TABLE_CLASSES_MAX,
    TABLE_HOST_ADDRESSES_MAX,
    TABLE_LISTENERS_MAX,
    TABLE_MEMBERS_MAX,
    TABLE_NETWORKS_MAX,
    TABLE_PEERS_MAX,
    TABLE_RULES_MAX,
    TABLE_STRETCHES_MAX,
)

#: Effects by number, mildest first, so that the mildest of several is their minimum.
ALLOW, ALERT, PREVENT = 0, 1, 2

TCP, UDP = 6, 17

#: A candidate who may be anybody; no class has its number.
ANYONE = 2 * TABLE_CLASSES_MAX

#: A set of rules on the wire: its words that are not 0, each as (index of the word, 64 rules).
_WORD = struct.Struct("<HQ")
_WORD_MASK = (1 << 64) - 1

#: Who stands behind addresses, who listens (port, address or empty for any), whom cgroups name.
Behind = list[tuple[bytes, list[int]]]
#: Who listens here: (port, address or none for any, candidate, the port that it leads to).
Listeners = list[tuple[int, bytes, int, int]]
Named = list[tuple[int, int]]
#: Who stands at ends elsewhere: (address, port, protocol, candidates, the port that it leads to).
PeerList = list[tuple[bytes, int, int, list[int], int]]
#: An end elsewhere: where one connects to, or, without port and protocol, where one connects from.
Place = tuple[bytes, int, int]
#: Whom DNS told (an address, or empty for this host) of what address; and the class of its names.
Membership = tuple[bytes, bytes]
MemberList = list[tuple[bytes, bytes, int]]


class InvalidTablesError(ValueError):
    """Tables, or changes of them, that are not whole; the text says what is wrong."""


class Tables(msgspec.Struct, frozen=True, array_like=True, kw_only=True):
    """Everything a loop judges by. Rules are numbered in their order, the containers' list first.

    `effects` holds one byte a rule. `port_starts` begins with 0; the rules of `port_rules[i]` take
    ports from `port_starts[i]` to before the next. `starts4` and `starts6` are the packed first
    addresses, ascending from 0, of stretches that subnets select alike, with their class beside.
    `addresses` are known endpoints, `listeners` (port, packed address or empty for any, candidate,
    port that it leads to or 0), `cgroups` (id, candidate) those that name a service, `host` the
    host itself, `networks` the (first, last) packed addresses of container networks.

    A SYN of an unknown program is held `hold_ms`, one of an unknown container `wait_ms`, at most
    `holds_per_second` times a second.

    `peers` are known ends elsewhere. A port that is published for another one leads to that: rules
    judge by the port of whoever stands there, as they do where it was translated before.

    `by_name` are the rules that name somebody as source and those that do as destination: whoever
    is not known may be the one. Unknown ends in `private`, (first, last) like `networks`, are
    doubted: while one could be prevented, its SYNs are dropped for `stranger_ms`.

    `members` are ends that an asker, an address or empty for this host, was told the names of, with
    the class of those names: they are selected so when they connect with him, beside by whom they
    are. `by_dns` are the rules that name dns objects as source and those that do as destination: as
    long as one of them could decide otherwise, nothing is remembered.
    """

    version: int
    containers: bool = False
    hosts: bool = False
    container_rules: int = 0
    effects: bytes = b""
    tcp: bytes = b""
    udp: bytes = b""
    any_source: bytes = b""
    any_destination: bytes = b""
    port_starts: list[int] = msgspec.field(default_factory=lambda: [0])
    port_rules: list[bytes] = msgspec.field(default_factory=lambda: [b""])
    classes: list[tuple[bytes, bytes]] = msgspec.field(default_factory=lambda: [(b"", b"")])
    starts4: bytes = bytes(4)
    classes4: list[int] = msgspec.field(default_factory=lambda: [0])
    starts6: bytes = bytes(16)
    classes6: list[int] = msgspec.field(default_factory=lambda: [0])
    addresses: list[tuple[bytes, list[int]]] = []
    listeners: list[tuple[int, bytes, int, int]] = []
    cgroups: list[tuple[int, int]] = []
    host: int = 0
    host_addresses: list[bytes] = []
    networks: list[tuple[bytes, bytes]] = []
    hold_ms: int = 0
    wait_ms: int = 0
    holds_per_second: int = 0
    peers: list[tuple[bytes, int, int, list[int], int]] = []
    by_name: tuple[bytes, bytes] = (b"", b"")
    private: list[tuple[bytes, bytes]] = []
    stranger_ms: int = 0
    members: list[tuple[bytes, bytes, int]] = []
    by_dns: tuple[bytes, bytes] = (b"", b"")


def pack_rules(rules: int) -> bytes:
    """A set of rules (bit i is rule i) as its words that are not 0, in ascending order."""
    packed = bytearray()
    while rules:
        index = ((rules & -rules).bit_length() - 1) >> 6
        word = rules >> (index * 64) & _WORD_MASK
        packed += _WORD.pack(index, word)
        rules &= ~(word << (index * 64))
    return bytes(packed)


def unpack_rules(packed: bytes, rules: int = TABLE_RULES_MAX) -> int:
    """The set of rules again, all of them below `rules`. Raises InvalidTablesError."""
    if len(packed) % _WORD.size:
        raise InvalidTablesError(f"a set of rules of {len(packed)} bytes")
    found, next_index = 0, 0
    for index, word in _WORD.iter_unpack(packed):
        if index < next_index or not word:
            raise InvalidTablesError(f"a set of rules with word {index} out of order or empty")
        next_index = index + 1
        found |= word << (index * 64)
    if found.bit_length() > rules:
        raise InvalidTablesError(f"rule {found.bit_length() - 1} of {rules}")
    return found


def encode_tables(tables: Tables) -> bytes:
    """The tables as the bytes that a loop reads."""
    return msgspec.msgpack.encode(tables)


def decode_tables(data: bytes) -> Tables:
    """Raises msgspec.DecodeError when these are no tables, InvalidTablesError when not whole."""
    tables = msgspec.msgpack.decode(data, type=Tables)
    check_tables(tables)
    return tables


def check_tables(tables: Tables) -> None:
    """Raises InvalidTablesError when a number points nowhere or a bound is passed."""
    rules, known = len(tables.effects), len(tables.classes)
    _require(tables.version >= 0, "version")
    _require(rules <= TABLE_RULES_MAX, "rules")
    _require(0 <= tables.container_rules <= rules, "container_rules")
    _require(all(effect <= PREVENT for effect in tables.effects), "effects")
    sets = (tables.tcp, tables.udp, tables.any_source, tables.any_destination)
    for packed in (*sets, *tables.port_rules):
        unpack_rules(packed, rules)
    starts = tables.port_starts
    _require(starts[:1] == [0] and starts[-1] <= 65_535, "port_starts")
    _require(_ascending(starts) and len(starts) == len(tables.port_rules), "port_starts")
    _require(known > 0, "classes")
    check_classes(tables.classes, rules)
    _check_stretches(tables.starts4, tables.classes4, 4, known)
    _check_stretches(tables.starts6, tables.classes6, 16, known)
    check_behind(tables.addresses, known)
    check_listeners(tables.listeners, known)
    check_named(tables.cgroups, known)
    _check_candidate(tables.host, known)
    check_host_addresses(tables.host_addresses)
    for networks in (tables.networks, tables.private):
        _require(len(networks) <= TABLE_NETWORKS_MAX, "networks")
        for first, last in networks:
            _check_address(first)
            _require(len(first) == len(last) and first <= last, "networks")
    _require(0 <= tables.hold_ms <= HOLD_MS_MAX, "hold_ms")
    _require(0 <= tables.wait_ms <= HOLD_MS_MAX, "wait_ms")
    _require(tables.holds_per_second >= 0, "holds_per_second")
    check_peers(tables.peers, known)
    check_members(tables.members, known)
    for packed in (*tables.by_name, *tables.by_dns):
        unpack_rules(packed, rules)
    _require(0 <= tables.stranger_ms <= STRANGER_DELAY_MS_MAX, "stranger_ms")


def check_classes(classes: list[tuple[bytes, bytes]], rules: int) -> None:
    """Raises InvalidTablesError; so do the others."""
    _require(len(classes) <= TABLE_CLASSES_MAX, "classes")
    for packed in classes:
        unpack_rules(packed[0], rules)
        unpack_rules(packed[1], rules)


def check_behind(addresses: Behind, known: int) -> None:
    """Of `known` classes, as everywhere here."""
    _require(len(addresses) <= TABLE_ADDRESSES_MAX, "addresses")
    for address, who in addresses:
        _check_address(address)
        _require(0 < len(who) <= ADDRESS_CANDIDATES_MAX, "candidates")
        for candidate in who:
            _check_candidate(candidate, known)


def check_peers(peers: PeerList, known: int) -> None:
    """An address, a port, a protocol's number, candidates, who may be anyone, and a port."""
    _require(len(peers) <= TABLE_PEERS_MAX, "peers")
    for address, port, protocol, who, leads_to in peers:
        check_places([(address, port, protocol)])
        _require(0 <= leads_to <= 65_535, "port")
        _require(0 < len(who) <= ADDRESS_CANDIDATES_MAX, "candidates")
        for candidate in who:
            if candidate != ANYONE:
                _check_candidate(candidate, known)


def check_places(places: list[Place]) -> None:
    """Ends elsewhere."""
    _require(len(places) <= TABLE_PEERS_MAX, "peers")
    for address, port, protocol in places:
        _check_address(address)
        _require(0 <= port <= 65_535, "port")
        _require(0 <= protocol <= 255, "protocol")


def check_members(members: MemberList, known: int) -> None:
    """Who was told, an address, and the class of its names."""
    _require(len(members) <= TABLE_MEMBERS_MAX, "members")
    for asker, address, class_ in members:
        check_memberships([(asker, address)])
        _require(0 <= class_ < known, "class of a member")


def check_memberships(places: list[Membership]) -> None:
    """Who was told, and an address."""
    _require(len(places) <= TABLE_MEMBERS_MAX, "members")
    for asker, address in places:
        _require(len(asker) in (0, 4, 16), "asker")
        _check_address(address)


def check_listeners(listeners: Listeners, known: int) -> None:
    """A port, an address or none, a candidate, and another port."""
    _require(len(listeners) <= TABLE_LISTENERS_MAX, "listeners")
    for port, address, candidate, leads_to in listeners:
        _require(0 <= port <= 65_535 and 0 <= leads_to <= 65_535, "port")
        _require(len(address) in (0, 4, 16), "address")
        _check_candidate(candidate, known)


def check_named(named: Named, known: int) -> None:
    """A cgroup's id or an inode, and a candidate."""
    _require(len(named) <= TABLE_CGROUPS_MAX, "cgroups")
    for number, candidate in named:
        _require(number >= 0, "number")
        _check_candidate(candidate, known)


def check_host_addresses(addresses: list[bytes]) -> None:
    """Packed addresses."""
    _require(len(addresses) <= TABLE_HOST_ADDRESSES_MAX, "host_addresses")
    check_addresses(addresses)


def check_addresses(addresses: Iterable[bytes]) -> None:
    """Packed addresses, 4 or 16 bytes each."""
    for address in addresses:
        _check_address(address)


def _check_stretches(starts: bytes, classes: list[int], length: int, known: int) -> None:
    _require(not len(starts) % length and len(classes) <= TABLE_STRETCHES_MAX, "stretches")
    cut = [starts[at : at + length] for at in range(0, len(starts), length)]
    _require(cut[:1] == [bytes(length)] and _ascending(cut), "stretches")
    _require(len(cut) == len(classes), "stretches")
    _require(all(0 <= one < known for one in classes), "class of a stretch")


def _check_address(address: bytes) -> None:
    _require(len(address) in (4, 16), "address")


def _check_candidate(candidate: int, known: int) -> None:
    _require(0 <= candidate >> 1 < known, "candidate")


def _ascending(values: list[int] | list[bytes]) -> bool:
    return all(one < other for one, other in pairwise(values))  # type: ignore[operator]


def _require(holds: bool, what: str) -> None:
    if not holds:
        raise InvalidTablesError(f"tables: {what}")
