"""What a packet loop tells the daemon, and what the daemon tells a loop: values and their bytes.

They pass over a socket pair of records (SOCK_SEQPACKET) between two processes of one program
version, so there is no version window; the codec checks form and bounds all the same.
"""

import msgspec


class Seen(msgspec.Struct, frozen=True, array_like=True):
    """SYNs of one flow that a loop has answered since its last report.

    Addresses are packed. `cgroup` and `inode` belong to the local socket of an outgoing flow (0:
    not known, or the flow is not the host's own). `source_port` is an example's. Milliseconds
    since the epoch.
    """

    hook: int
    source: bytes
    destination: bytes
    port: int
    cgroup: int
    inode: int
    uid: int
    source_port: int
    count: int
    first_seen: int
    last_seen: int


class Report(msgspec.Struct, frozen=True, array_like=True):
    """What a loop says: the generation it uses, flows, and its own counters since its start.

    `held` is not 0 when packets of these flows are held until the daemon has looked at who sends
    them, which it confirms by this number.
    """

    generation: int
    flows: list[Seen]
    packets: int
    undecodable: int
    unaccounted: int
    held: int = 0


class Order(msgspec.Struct, frozen=True, array_like=True):
    """What a loop is told: the generation to remember in, and which cgroups name a service.

    A flow from any other cgroup is let through but not remembered, since its cgroup does not tell
    its program. `named` and `unnamed` are changes. `looked` lets go what was held up to there.
    """

    generation: int
    named: list[int] = []
    unnamed: list[int] = []
    looked: int = 0


_encoder = msgspec.msgpack.Encoder()
_report_decoder = msgspec.msgpack.Decoder(Report)
_order_decoder = msgspec.msgpack.Decoder(Order)


def encode(value: Report | Order) -> bytes:
    """The value as one record."""
    return _encoder.encode(value)


def decode_report(data: bytes) -> Report:
    """Raises msgspec.DecodeError when the record is no report."""
    return _report_decoder.decode(data)


def decode_order(data: bytes) -> Order:
    """Raises msgspec.DecodeError when the record is no order."""
    return _order_decoder.decode(data)
