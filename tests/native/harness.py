"""A packet loop between two socket pairs: the test is kernel on one, daemon on the other.

Nothing here needs root: the loops take any socket for the queue's. Orders are taken before packets
that were sent after them, and packets before the confirmation of an order that was sent after them
(`barrier`), so a script of both has one outcome.
"""

import contextlib
import os
import select
import socket
import struct
import time
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from cnnf.defender.core.observations import (
    Order,
    Prepare,
    Report,
    Seen,
    Use,
    decode_report,
    encode,
)
from cnnf.defender.core.tables import Tables, encode_tables
from cnnf.defender.kernel.loop_process import LoopKind, LoopProcess, launch
from cnnf.defender.netlink.messages import attribute, attributes, message, messages

QUEUE = 8030
MARK_MASK = 0x3C00
#: What a loop may take for anything; a loaded machine of two cores is slow.
PATIENCE_SECONDS = 20.0


class Verdict(NamedTuple):
    """A packet's id, what is to become of it, and its whole new mark."""

    id: int
    decision: int
    mark: int


class Flow(NamedTuple):
    """What a report says of a flow, without times and examples."""

    version: int
    hook: int
    protocol: int
    source: bytes
    destination: bytes
    port: int
    cgroup: int
    inode: int
    effect: int
    rule: int


class Loop:
    """One loop, and everything it has said."""

    def __init__(
        self, kind: LoopKind, *, fail_closed: bool = False, report_room: int = 4 << 20
    ) -> None:
        self.kernel, packets = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.control, control = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for sock in (self.kernel, packets, self.control):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 << 20)
        control.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, report_room)
        with packets, control:
            self.process: LoopProcess = launch(
                QUEUE,
                mark_mask=MARK_MASK,
                fail_closed=fail_closed,
                control=control,
                packets=packets,
                kind=kind,
            )
        self.verdicts: list[Verdict] = []
        self.reports: list[Report] = []
        self._generation = 0

    def prepare(self, tables: Tables) -> None:
        """Hand tables over, as the daemon does."""
        self.hand_over(encode(Prepare(tables.version)), encode_tables(tables))

    def hand_over(self, record: bytes, content: bytes) -> None:
        """Send any record with a file of any content."""
        file = os.memfd_create("tables", os.MFD_CLOEXEC)
        try:
            with os.fdopen(os.dup(file), "wb") as writer:
                writer.write(content)
            socket.send_fds(self.control, [record], [file])
        finally:
            os.close(file)

    def tell(self, order: Order) -> None:
        """Give one order."""
        self.control.send(encode(order))

    def barrier(self) -> None:
        """Wait until what was sent has been read: at most 64 packets since the last barrier."""
        self._generation += 2
        self.tell(Use(self._generation))
        self.read_until(lambda: self.reports and self.reports[-1].generation == self._generation)

    def read_until(self, done: object) -> None:
        """Read what the loop says until `done()`; fails when it takes too long."""
        assert callable(done)
        until = time.monotonic() + PATIENCE_SECONDS
        while not done():
            ready, _, _ = select.select([self.kernel, self.control], [], [], 0.5)
            self._read(ready)
            assert time.monotonic() < until, (
                f"{self.process.kind}: waited in vain; {len(self.verdicts)} verdicts, "
                f"{self.reports[-1:]}"
            )

    def read_verdicts(self, count: int) -> None:
        """Read verdicts until there are so many, and no reports."""
        self.kernel.settimeout(PATIENCE_SECONDS)
        while len(self.verdicts) < count:
            self._read([self.kernel])

    def read_for(self, seconds: float) -> None:
        """Read whatever the loop says within this time."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            ready, _, _ = select.select([self.kernel, self.control], [], [], left)
            self._read(ready)

    def _read(self, ready: list[socket.socket]) -> None:
        if self.kernel in ready:
            data = self.kernel.recv(1 << 20)
            assert data, f"{self.process.kind}: it has ended"
            self.verdicts += decode_verdicts(data)
        if self.control in ready:
            data = self.control.recv(1 << 20)
            assert data, f"{self.process.kind}: it has ended"
            self.reports.append(decode_report(data))

    def answer_of(self, packet: bytes, number: int) -> Verdict:
        """Send one packet and wait for its verdict."""
        self.kernel.send(packet)
        self.read_until(lambda: any(verdict.id == number for verdict in self.verdicts))
        (verdict,) = [verdict for verdict in self.verdicts if verdict.id == number]
        return verdict

    @property
    def last(self) -> Report:
        """The last report, whose counters are of the loop's whole life."""
        return self.reports[-1]

    def counts(self) -> Counter[Flow]:
        """SYNs by flow and decision, over all reports."""
        total: Counter[Flow] = Counter()
        for report in self.reports:
            for seen in report.flows:
                total[flow_of(report.version, seen)] += seen.count
        return +total

    def close(self) -> int:
        """Go away, as a daemon does; the loop's exit code."""
        self.control.close()
        code = self.process.end()
        self.kernel.close()
        return code


def flow_of(version: int, seen: Seen) -> Flow:
    """What of a sighting does not depend on time."""
    return Flow(
        version, seen.hook, seen.protocol, seen.source, seen.destination, seen.port,
        seen.cgroup, seen.inode if seen.source else 0, seen.effect, seen.rule,
    )  # fmt: skip


@contextlib.contextmanager
def running(
    kind: LoopKind, *, fail_closed: bool = False, report_room: int = 4 << 20
) -> Iterator[Loop]:
    """A loop that must still live at the end, and then ends as it should."""
    loop = Loop(kind, fail_closed=fail_closed, report_room=report_room)
    try:
        yield loop
    except BaseException:
        loop.process.kill()
        loop.close()
        raise
    assert loop.close() == 0


def decode_verdicts(data: bytes) -> list[Verdict]:
    """Every verdict of a datagram to the kernel; each must be whole and for our queue."""
    found = []
    for kind, flags, _, payload in messages(data):
        assert (kind, flags) == (0x301, 1)
        assert payload[:4] == struct.pack(">BBH", 0, 0, QUEUE)
        values = dict(attributes(payload, 4))
        decision, number = struct.unpack(">II", values[2])
        found.append(Verdict(number, decision, struct.unpack(">I", values[3])[0]))
    return found


def queued(
    number: int, hook: int, payload: bytes | None, *, mark: int = 0, device: int = 0, uid: int = -1
) -> bytes:
    """A packet as the kernel hands it over (nfqnl_build_packet_message)."""
    parts = [attribute(1, struct.pack(">IHB", number, 0x0800, hook))]
    if mark:
        parts.append(attribute(3, struct.pack(">I", mark)))
    if device:
        parts.append(attribute(6, struct.pack(">I", device)))
    if uid >= 0:
        parts.append(attribute(16, struct.pack(">I", uid)))
    if payload is not None:
        parts.append(attribute(10, payload[:512]))
    return message(0x300, 0, 0, struct.pack(">BBH", 2, 0, QUEUE) + b"".join(parts))


def segment(
    source: bytes,
    destination: bytes,
    port: int,
    *,
    source_port: int = 900,
    protocol: int = 6,
    headers: bytes = b"",
    fragment: int = 0x4000,
) -> bytes:
    """A packet's bytes. `headers` are extension headers of 8 bytes each, given by their types, in
    IPv6, `fragment` is IPv4's field of flags and offset."""
    ports = struct.pack(">HH", source_port, port) + bytes(16)
    if len(source) == 4:
        total = 20 + len(ports)
        return (
            struct.pack(">BBHHHBBH", 0x45, 0, total, 1, fragment, 64, protocol, 0)
            + source
            + destination
            + ports
        )
    kinds = [*headers, protocol]
    chain = b"".join(bytes([following]) + bytes(7) for following in kinds[1:])
    body = chain + ports
    return struct.pack(">IHBB", 6 << 28, len(body), kinds[0], 64) + source + destination + body
