"""From packets of DNS, queries and answers alike, to what an asker has learned.

Told is only an answer to a query that was seen: the same two ends and ports, the same number, name
and type, while it may still be waited for. So nobody who merely sends what looks like an answer
names an address. Over TCP (RFC 7766) messages follow each other with their lengths before them and
may lie across segments, which are put together within bounds. Pure: packets and times in.
"""

from collections import OrderedDict
from typing import NamedTuple

from cnnf.defender.core.attribution import plain
from cnnf.defender.core.limits import (
    DNS_ANSWER_MS_MAX,
    DNS_MESSAGE_BYTES_MAX,
    DNS_QUERIES_MAX,
    DNS_STREAM_IDLE_MS,
    DNS_STREAMS_MAX,
)
from cnnf.defender.core.names import HOST, Learned
from cnnf.defender.netlink.dns import Asked, Message, decode
from cnnf.defender.netlink.errors import NetlinkError
from cnnf.defender.netlink.nfqueue import INPUT, OUTPUT
from cnnf.defender.netlink.packets import TCP, Carried, Segment, parse_carried

PORT = 53
_LENGTH_BYTES = 2
#: Of a message's number, with which it begins.
_ID_BYTES = 2


class _Query(NamedTuple):
    """By what an answer is known before it is read: who asked whom, from which port, its number."""

    asker: bytes
    ends: Segment
    id: bytes


class Exchanges:
    """Queries that wait for their answers, and TCP connections that carry them.

    Counted: `unreadable` what is no DNS, or was cut; `unasked` answers that nobody waited for.
    """

    def __init__(self) -> None:
        #: What was asked, and when.
        self._queries: OrderedDict[_Query, tuple[Asked, int]] = OrderedDict()
        self._streams: OrderedDict[tuple[bytes, Segment], _Stream] = OrderedDict()
        self.unreadable = 0
        self.unasked = 0
        #: The last thing that could not be read, for a person.
        self.problem = ""

    def take(self, hook: int, packet: bytes, now_ms: int) -> list[Learned]:
        """What a packet that passed a hook tells: mostly nothing, or one name's addresses."""
        carried = parse_carried(packet)
        if carried is None:
            self._unreadable("a packet without a whole header")
            return []
        is_query = carried.ends.port == PORT
        if is_query is (carried.ends.source_port == PORT):
            # From 53 to 53, or neither: no exchange that we could tell the sides of.
            return []
        ends = carried.ends if is_query else _turned(carried.ends)
        # What the host sends passes OUTPUT, and what it gets INPUT: its own address is no matter.
        asker = HOST if hook == (OUTPUT if is_query else INPUT) else plain(ends.source)
        if carried.ends.protocol == TCP:
            found = self._from_stream(asker, carried, now_ms)
        else:
            found = [carried.payload]
        learned = [self._message(asker, ends, one, is_query, now_ms) for one in found]
        return [one for one in learned if one is not None]

    def _message(
        self, asker: bytes, ends: Segment, data: bytes, is_query: bool, now_ms: int
    ) -> Learned | None:
        query = _Query(asker, ends, data[:_ID_BYTES])
        if not is_query and query not in self._queries:
            # Before it is read, which costs more than sending it.
            self.unasked += 1
            return None
        try:
            message = decode(data)
        except NetlinkError as error:
            self._unreadable(str(error))
            return None
        if message is None or message.is_answer is is_query:
            return None
        if is_query:
            self._ask(query, message.asked, now_ms)
            return None
        return self._answer(query, message, now_ms)

    def _ask(self, query: _Query, asked: Asked, now_ms: int) -> None:
        self._queries.pop(query, None)
        while len(self._queries) >= DNS_QUERIES_MAX:
            self._queries.popitem(last=False)
        self._queries[query] = asked, now_ms

    def _answer(self, query: _Query, message: Message, now_ms: int) -> Learned | None:
        asked, asked_at = self._queries[query]
        if message.asked != asked:
            self.unasked += 1
            return None
        del self._queries[query]
        if now_ms - asked_at > DNS_ANSWER_MS_MAX:
            self.unasked += 1
            return None
        if not message.addresses:
            return None
        addresses = tuple((plain(address), seconds) for address, seconds in message.addresses)
        return Learned(query.asker, asked.name, addresses, plain(query.ends.destination))

    def _from_stream(self, asker: bytes, carried: Carried, now_ms: int) -> list[bytes]:
        key = asker, carried.ends
        stream = self._streams.pop(key, None)
        if stream is not None and now_ms - stream.heard_at > DNS_STREAM_IDLE_MS:
            stream = None
        if stream is None:
            if not carried.payload:
                return []
            stream = _Stream(carried.sequence)
        stream.heard_at = now_ms
        found = stream.take(carried.sequence, carried.payload)
        if found is None:
            self._unreadable("a TCP segment is missing, or a message is too long")
            return []
        if not carried.final:
            while len(self._streams) >= DNS_STREAMS_MAX:
                self._streams.popitem(last=False)
            self._streams[key] = stream
        return found

    def _unreadable(self, problem: str) -> None:
        self.unreadable += 1
        self.problem = problem


class _Stream:
    """One direction of a TCP connection, from the first segment that carries something on."""

    def __init__(self, sequence: int) -> None:
        self._next = sequence
        self._held = bytearray()
        self.heard_at = 0

    def take(self, sequence: int, payload: bytes) -> list[bytes] | None:
        """The messages that are whole now; None when this connection can't be followed."""
        ahead = (sequence - self._next) & 0xFFFFFFFF
        if ahead >= 1 << 31:
            # Sent again: only what is new of it.
            payload = payload[-ahead & 0xFFFFFFFF :]
        elif ahead:
            return None
        self._next = (self._next + len(payload)) & 0xFFFFFFFF
        self._held += payload
        found = []
        while len(self._held) >= _LENGTH_BYTES:
            end = _LENGTH_BYTES + int.from_bytes(self._held[:_LENGTH_BYTES], "big")
            if end > DNS_MESSAGE_BYTES_MAX:
                return None
            if len(self._held) < end:
                break
            found.append(bytes(self._held[_LENGTH_BYTES:end]))
            del self._held[:end]
        return found


def _turned(ends: Segment) -> Segment:
    return Segment(ends.destination, ends.source, ends.port, ends.source_port, ends.protocol)
