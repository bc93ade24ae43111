"""DNS messages: what was asked, and the addresses that the asked name was answered with.

RFC 1035, section 4, and RFC 3596 (AAAA). Input is whatever somebody can put on the wire: an answer
may be cut short, lie about lengths, or have names that point at each other. Only what leads from
the asked name to an address is told; everything else in a message is passed over.
"""

import struct
from collections.abc import Iterator
from typing import NamedTuple

from cnnf.defender.netlink.errors import Truncated, Unexpected

A, CNAME, AAAA = 1, 5, 28
_INTERNET = 1
_ADDRESS_BYTES = {A: 4, AAAA: 16}

_HEADER = struct.Struct(">HHHHHH")
_QUESTION = struct.Struct(">HH")
_RECORD = struct.Struct(">HHIH")
_ANSWER, _OPERATION, _CUT, _CODE = 0x8000, 0x7800, 0x0200, 0x000F

#: A name's bytes on the wire with all lengths (RFC 1035, 2.3.4), and its characters as text.
_NAME_BYTES_MAX = 255
_LABEL_BYTES_MAX = 63
NAME_CHARS_MAX = 253
#: Records of a message that are looked at: 4,096 bytes of EDNS hold 255 addresses.
RECORDS_MAX = 256
#: Labels of all names of a message: 16 aliases of 32 each. A message of nothing else takes a
#: millisecond to read, as one of so many addresses does.
_LABELS_MAX = 512
#: Pointers that one name is followed through; a writer that compresses needs one or two.
_POINTERS_MAX = 32
#: Aliases from the asked name to its addresses; resolvers give up after 8 to 16 themselves.
_ALIASES_MAX = 16

#: What names of hosts consist of (RFC 952, and the underscore that services use). Any other byte is
#: written as `\DDD` (RFC 1035, 5.1), a dot within a label too: no name looks like another one, and
#: none can draw on a terminal or a page.
_PLAIN = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789-_")


class Asked(NamedTuple):
    """What a query asks, by which its answer is known: the name is in lower case, without the last
    dot."""

    id: int
    name: str
    type: int


class Message(NamedTuple):
    """A query, or an answer with the addresses of the asked name: packed, each with its time to
    live in seconds. `shortened`: there was more than is read."""

    asked: Asked
    is_answer: bool
    addresses: tuple[tuple[bytes, int], ...] = ()
    shortened: bool = False


def decode(data: bytes) -> Message | None:
    """The message, None for one that asks no name for anything (notifications, updates).

    Raises NetlinkError.
    """
    if len(data) < _HEADER.size:
        raise Truncated(f"dns: {len(data)} bytes, a header has {_HEADER.size}")
    number, flags, questions, answers, _, _ = _HEADER.unpack_from(data)
    if flags & _OPERATION or questions != 1:
        return None
    names = _Names(data)
    name, offset = names.read(_HEADER.size)
    if offset + _QUESTION.size > len(data):
        raise Truncated(f"dns: the question ends at {len(data)}")
    kind, class_ = _QUESTION.unpack_from(data, offset)
    asked = Asked(number, name, kind)
    if not flags & _ANSWER:
        return Message(asked, False)
    if flags & _CODE or class_ != _INTERNET or kind not in _ADDRESS_BYTES:
        return Message(asked, True)
    offset += _QUESTION.size
    cut = bool(flags & _CUT)
    records = _records(names, offset, min(answers, RECORDS_MAX), cut=cut)
    return Message(asked, True, _addresses(asked, records), cut or answers > RECORDS_MAX)


class _Record(NamedTuple):
    owner: str
    type: int
    seconds: int
    #: An address, or the name that an alias leads to.
    value: bytes | str


def _records(names: "_Names", offset: int, count: int, *, cut: bool) -> Iterator[_Record]:
    data = names.data
    for _ in range(count):
        if cut and offset == len(data):
            return
        owner, offset = names.read(offset)
        if offset + _RECORD.size > len(data):
            raise Truncated(f"dns: a record at {offset} of {len(data)} bytes")
        kind, class_, seconds, length = _RECORD.unpack_from(data, offset)
        offset += _RECORD.size
        if offset + length > len(data):
            raise Truncated(f"dns: a record at {offset} says {length} of {len(data)} bytes")
        if seconds >= 1 << 31:
            # RFC 2181, section 8.
            seconds = 0
        if class_ == _INTERNET:
            if kind == CNAME:
                yield _Record(owner, kind, seconds, names.read(offset)[0])
            elif length == _ADDRESS_BYTES.get(kind):
                yield _Record(owner, kind, seconds, data[offset : offset + length])
        offset += length


def _addresses(asked: Asked, records: Iterator[_Record]) -> tuple[tuple[bytes, int], ...]:
    """Addresses of the asked name and of whatever it is an alias of, with the shortest time of all
    that led there. Records may come in any order."""
    aliases: dict[str, tuple[str, int]] = {}
    found: dict[str, list[tuple[bytes, int]]] = {}
    for one in records:
        if isinstance(one.value, str):
            aliases.setdefault(one.owner, (one.value, one.seconds))
        elif one.type == asked.type:
            found.setdefault(one.owner, []).append((one.value, one.seconds))
    name, bound = asked.name, 1 << 31
    for _ in range(_ALIASES_MAX):
        if name in found:
            return tuple((address, min(seconds, bound)) for address, seconds in found[name])
        if name not in aliases:
            break
        name, seconds = aliases[name]
        bound = min(bound, seconds)
    return ()


class _Names:
    """Reads a message's names; each of its labels once, however many names point there."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self._labels = 0
        #: By where a label begins: the name from there on, and its bytes on the wire.
        self._known: dict[int, tuple[str, int]] = {}

    def read(self, start: int) -> tuple[str, int]:
        """The name at an offset, and where what follows begins. Raises NetlinkError."""
        labels: list[tuple[int, bytes]] = []
        tail, at, before, follows, size, pointers = ("", 1), start, start, -1, 1, 0
        while size <= _NAME_BYTES_MAX:
            if follows >= 0 and at in self._known:
                tail = self._known[at]
                break
            length = self._byte(at)
            if length >= 0xC0:
                follows = at + 2 if follows < 0 else follows
                pointers += 1
                if pointers > _POINTERS_MAX:
                    raise Unexpected(f"dns: the name at {start} takes too many pointers")
                at = before = self._target(at, before)
                continue
            label = self._label(at, length)
            if not label:
                follows = at + 1 if follows < 0 else follows
                break
            labels.append((at, label))
            self._labels += 1
            if self._labels > _LABELS_MAX:
                raise Unexpected(f"dns: more than {_LABELS_MAX} labels")
            at += 1 + length
            size += 1 + length
        return self._keep(labels, tail), follows

    def _keep(self, labels: list[tuple[int, bytes]], tail: tuple[str, int]) -> str:
        text, size = tail
        for at, label in reversed(labels):
            text = f"{_text(label)}.{text}" if text else _text(label)
            size += 1 + len(label)
            if size > _NAME_BYTES_MAX or len(text) > NAME_CHARS_MAX:
                raise Unexpected(f"dns: the name at {at} is too long")
            self._known[at] = (text, size)
        return text

    def _byte(self, at: int) -> int:
        if at >= len(self.data):
            raise Truncated(f"dns: a name runs past {len(self.data)} bytes")
        return self.data[at]

    def _target(self, at: int, before: int) -> int:
        """Where a pointer leads: always further to the front, so that no way is endless."""
        to = (self.data[at] & 0x3F) << 8 | self._byte(at + 1)
        if not _HEADER.size <= to < before:
            raise Unexpected(f"dns: a name points from {at} to {to}")
        return to

    def _label(self, at: int, length: int) -> bytes:
        if length > _LABEL_BYTES_MAX:
            raise Unexpected(f"dns: a label of kind {length >> 6} at {at}")
        if at + 1 + length > len(self.data):
            raise Truncated(f"dns: a label at {at} says {length} of {len(self.data)} bytes")
        return self.data[at + 1 : at + 1 + length]


def _text(label: bytes) -> str:
    label = label.lower()
    if _PLAIN.issuperset(label):
        return label.decode("ascii")
    return "".join(chr(byte) if byte in _PLAIN else f"\\{byte:03d}" for byte in label)
