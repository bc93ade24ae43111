"""Address sets: what a `subnet` object's values mean, as ranges of whole numbers.

IPv4 and IPv6 are two worlds; an IPv4-mapped IPv6 address or range (::ffff:0:0/96, RFC 4291) is
that of IPv4. A wider IPv6 network, as `::/0`, contains IPv6 addresses only.
"""

from bisect import bisect_right
from collections.abc import Iterable
from functools import cache, lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Literal

from cnnf.policy.addresses import INSIDE_NETWORKS, Address
from cnnf.policy.errors import InvalidValueError
from cnnf.policy.limits import SCALARS_CACHED_MAX
from cnnf.policy.patterns import split_exclusion

Version = Literal[4, 6]
#: First and last address, both included.
Range = tuple[int, int]
#: The ranges of each version, disjoint and in order.
Ranges = dict[Version, list[Range]]

VERSIONS: tuple[Version, ...] = (4, 6)
ADDRESS_MAX: dict[Version, int] = {4: 2**32 - 1, 6: 2**128 - 1}
_MAPPED = 0xFFFF << 32
_MAPPED_PREFIX = b"\0" * 10 + b"\xff\xff"


def pack(address: Address | bytes) -> bytes:
    """An address's 4 or 16 bytes, 4 for an IPv4-mapped one."""
    packed = address if isinstance(address, bytes) else address.packed
    assert len(packed) in (4, 16), packed
    return packed[12:] if len(packed) == 16 and packed.startswith(_MAPPED_PREFIX) else packed


def address_text(address: Address | bytes) -> str:
    """An address as people write it."""
    return str(ip_address(pack(address)))


@lru_cache(SCALARS_CACHED_MAX)
def subnet_value(text: str) -> tuple[bool, Version, Range]:
    """A CIDR, an address or a range, and whether it excludes.

    Raises InvalidValueError when it is none of them, or has host bits set.
    """
    excludes, value = split_exclusion(text)
    try:
        version, low, high = _ends(value)
    except ValueError as error:
        raise InvalidValueError(
            f"{value!r:.80} is no subnet ({error!s:.200}): write `10.0.0.0/8`, `203.0.113.7`, "
            "`192.168.1.10-192.168.1.20` or `fd00::/8`"
        ) from None
    if version == 6 and low >= _MAPPED and high <= _MAPPED + ADDRESS_MAX[4]:
        return excludes, 4, (low - _MAPPED, high - _MAPPED)
    return excludes, version, (low, high)


def _ends(value: str) -> tuple[Version, int, int]:
    if "%" in value:
        raise ValueError("a zone means nothing elsewhere")
    first, dash, last = value.partition("-")
    if dash:
        low, high = ip_address(first), ip_address(last)
        if low.version != high.version:
            raise ValueError("it begins and ends in different versions of IP")
        if int(low) > int(high):
            raise ValueError("it ends before it begins")
        return _version(low), int(low), int(high)
    network = ip_network(value)
    start, end = network.network_address, network.broadcast_address
    return _version(start), int(start), int(end)


def _version(address: IPv4Address | IPv6Address) -> Version:
    return 4 if isinstance(address, IPv4Address) else 6


def ranges_of(values: Iterable[str]) -> Ranges:
    """What the values contain, less what they exclude. Raises InvalidValueError."""
    included: Ranges = {4: [], 6: []}
    excluded: Ranges = {4: [], 6: []}
    for text in values:
        excludes, version, span = subnet_value(text)
        (excluded if excludes else included)[version].append(span)
    return {
        version: _without(_merged(included[version]), _merged(excluded[version]))
        for version in VERSIONS
    }


def contains(ranges: Ranges, packed: bytes) -> bool:
    """Whether an address of 4 or 16 bytes lies in ranges; no bytes, no known address, never do."""
    if not packed:
        return False
    packed = pack(packed)
    number = int.from_bytes(packed)
    spans = ranges[4 if len(packed) == 4 else 6]
    at = bisect_right(spans, number, key=lambda span: span[0]) - 1
    return at >= 0 and number <= spans[at][1]


@cache
def internet() -> Ranges:
    """Every address that lies in none of the networks that are stated to be inside."""
    return ranges_of(("0.0.0.0/0", "::/0", *(f"-{text}" for text in INSIDE_NETWORKS)))


def _merged(ranges: list[Range]) -> list[Range]:
    found: list[Range] = []
    for low, high in sorted(ranges):
        if found and low <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(found[-1][1], high))
        else:
            found.append((low, high))
    return found


def _without(ranges: list[Range], holes: list[Range]) -> list[Range]:
    """Ranges less holes, both disjoint and in order, in one walk."""
    found: list[Range] = []
    at = 0
    for low, high in ranges:
        while at < len(holes) and holes[at][1] < low:
            at += 1
        start, hole = low, at
        while hole < len(holes) and holes[hole][0] <= high:
            if start < holes[hole][0]:
                found.append((start, holes[hole][0] - 1))
            start = holes[hole][1] + 1
            hole += 1
        if start <= high:
            found.append((start, high))
    return found
