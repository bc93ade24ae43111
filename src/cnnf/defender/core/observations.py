"""What a packet loop tells the daemon, and what the daemon tells a loop: values and their bytes.

They pass over a socket pair of records (SOCK_SEQPACKET) between two processes of one program
version, so there is no version window; the codec checks form and bounds all the same. An order is
an array whose first element is its number (`tag`).
"""

from collections.abc import Iterator
from typing import Any

import msgspec

from cnnf.defender.core.limits import ORDER_PIECE_BYTES


class Seen(msgspec.Struct, frozen=True, array_like=True):
    """SYNs of one flow that a loop has answered alike since its last report.

    Addresses are packed. `cgroup` and `inode` belong to the local socket of an outgoing flow (0:
    not known, or the flow is not the host's own). `source_port` is an example's. Milliseconds
    since the epoch. `rule` decided (-1: none did), `effect` is that decision's.
    """

    hook: int
    protocol: int
    source: bytes
    destination: bytes
    port: int
    cgroup: int
    inode: int
    effect: int
    rule: int
    uid: int
    source_port: int
    count: int
    first_seen: int
    last_seen: int


class Report(msgspec.Struct, frozen=True, array_like=True):
    """What a loop says: the generation and tables it uses, flows, its own counters since its start.

    `rule` of every flow is one of the tables of this `version`: a loop reports before it takes
    others. `held` is not 0 when packets of these flows are held until the daemon has looked at who
    sends them, which it confirms by this number. `dropped` counts packets that could not be judged
    and were not let through, `delayed` those that were dropped so that their ends elsewhere can be
    asked for until they are sent again; `sought` are such ends, and those that matter otherwise.
    `confirmed` is the number of the last order to confirm.
    """

    generation: int
    version: int
    flows: list[Seen]
    packets: int
    undecodable: int
    unaccounted: int
    dropped: int
    held: int = 0
    delayed: int = 0
    sought: list[tuple[bytes, int, int]] = []
    confirmed: int = 0


class Use(msgspec.Struct, frozen=True, array_like=True, tag=0):
    """Remember in this generation from now on, and report that you do."""

    generation: int


class Prepare(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """Judge by other tables from now on; they are in the file whose descriptor comes along."""

    version: int


class Cgroups(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """Which cgroups name a service, and as what candidate; changes.

    A flow from any other cgroup is judged as the host's and not remembered, since its cgroup does
    not tell its program.
    """

    put: list[tuple[int, int]] = []
    drop: list[int] = []


class Looked(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """Let go what was held up to this number; whose sockets these are (inode, candidate)."""

    number: int
    owners: list[tuple[int, int]] = []


class Endpoints(msgspec.Struct, frozen=True, array_like=True, tag=4):
    """What has changed of endpoints: more classes, addresses, listeners, the host's addresses.

    `listeners` and `host_addresses` replace those before unless they are None. `peers` are ends
    elsewhere with who stands there, `gone` those that are not known any more. `members` are ends
    whose names an asker was told, `left` those that have none any more.
    """

    classes: list[tuple[bytes, bytes]] = []
    put: list[tuple[bytes, list[int]]] = []
    drop: list[bytes] = []
    listeners: list[tuple[int, bytes, int, int]] | None = None
    host_addresses: list[bytes] | None = None
    peers: list[tuple[bytes, int, int, list[int], int]] = []
    gone: list[tuple[bytes, int, int]] = []
    members: list[tuple[bytes, bytes, int]] = []
    left: list[tuple[bytes, bytes]] = []


class Room(msgspec.Struct, frozen=True, array_like=True, tag=5):
    """Addresses that containers share, who live in one network namespace: who connects from there
    is asked through the socket that comes along, which was opened in there. No address and no
    socket: the namespace of this number is shared no more."""

    number: int
    addresses: list[bytes] = []


class Confirm(msgspec.Struct, frozen=True, array_like=True, tag=6):
    """Report at once, under this number, that all that was told before is judged by."""

    number: int


Order = Use | Prepare | Cgroups | Looked | Endpoints | Room | Confirm

#: A number's bytes at most, as it is encoded.
_NUMBER_BYTES = 9

_encoder = msgspec.msgpack.Encoder()
_report_decoder = msgspec.msgpack.Decoder(Report)
_order_decoder: msgspec.msgpack.Decoder[Order] = msgspec.msgpack.Decoder(Order)


def encode(value: Report | Order) -> bytes:
    """The value as one record."""
    return _encoder.encode(value)


def decode_report(data: bytes) -> Report:
    """Raises msgspec.DecodeError when the record is no report."""
    return _report_decoder.decode(data)


def decode_order(data: bytes) -> Order:
    """Raises msgspec.DecodeError when the record is no order."""
    return _order_decoder.decode(data)


def in_pieces(order: Endpoints) -> Iterator[Endpoints]:
    """The same in orders of `ORDER_PIECE_BYTES` each, classes first since the rest names them.

    What replaces all there was before is not cut: listeners, and the host's addresses.
    """
    parts: dict[str, list[Any]] = {}
    size = 0
    for name in ("classes", "gone", "left", "drop", "put", "peers", "members"):
        for entry in getattr(order, name):
            length = _length(entry)
            if size and size + length > ORDER_PIECE_BYTES:
                yield Endpoints(**parts)
                parts, size = {}, 0
            parts.setdefault(name, []).append(entry)
            size += length
    whole = {
        "listeners": order.listeners,
        "host_addresses": order.host_addresses,
    }
    extra = sum(_length(entry) for entries in whole.values() for entry in entries or ())
    if size and size + extra > ORDER_PIECE_BYTES:
        yield Endpoints(**parts)
        parts, size = {}, 0
    if parts or any(entries is not None for entries in whole.values()):
        yield Endpoints(**parts, **whole)  # type: ignore[arg-type]


def size_of(order: Endpoints) -> int:
    """About how many bytes the order has."""
    lists = (getattr(order, name) or () for name in order.__struct_fields__)
    return sum(_length(entry) for entries in lists for entry in entries)


def _length(entry: Any) -> int:
    if isinstance(entry, bytes):
        return len(entry) + 2
    if isinstance(entry, (tuple, list)):
        return 3 + sum(map(_length, entry))
    return _NUMBER_BYTES
