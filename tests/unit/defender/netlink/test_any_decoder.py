"""Whatever bytes come, every decoder gives a value or a NetlinkError, and comes to an end.

One table for all of them: a decoder that is not in it fails the test that looks for it. The bytes
are valid answers that were cut, grown, flipped, doubled and given other lengths, attributes nested
at random, and plain noise.
"""

import importlib
import inspect
import pkgutil
import struct
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnnf.defender import netlink
from cnnf.defender.netlink import (
    conntrack,
    dns,
    inet_diag,
    nflog,
    nfqueue,
    nftcounter,
    nftset,
    packets,
    rtlink,
    rulesetgen,
)
from cnnf.defender.netlink import messages as framing
from cnnf.defender.netlink.errors import NetlinkError
from cnnf.defender.netlink.messages import attribute, message, nested
from tests.lab import dns as wire

A4, B4 = bytes([10, 78, 1, 2]), bytes([10, 78, 1, 3])
A6, B6 = bytes([0xFD]) + bytes(14) + b"\2", bytes([0xFD]) + bytes(14) + b"\3"
NFGEN = struct.pack(">BBH", 2, 0, 0)
INET = struct.pack(">BBH", 1, 0, 0)


class Decoder(NamedTuple):
    """How a decoder is called with bytes alone, and answers that it takes."""

    decode: Callable[[bytes], Iterable[object]]
    answers: tuple[bytes, ...]


def one(decode: Callable[[bytes], object]) -> Callable[[bytes], Iterable[object]]:
    """A decoder of one value as one of many."""
    return lambda data: [decode(data)]


def _tuple(kind: int, source: bytes, target: bytes, protocol: int) -> bytes:
    v6 = len(source) == 16
    addresses = attribute(3 if v6 else 1, source) + attribute(4 if v6 else 2, target)
    numbers = attribute(1, bytes([protocol])) + attribute(2, b"\x9c\x40") + attribute(3, b"\0\x50")
    return nested(kind, nested(1, addresses), nested(2, numbers))


def _tracked(source: bytes, target: bytes, protocol: int) -> bytes:
    state = nested(4, nested(1, attribute(1, b"\3"), attribute(2, b"\7")))
    ends = _tuple(1, source, target, protocol) + _tuple(2, target, source, protocol)
    return NFGEN + ends + state + attribute(12, b"\0\0\1\0") + attribute(18, b"\0\1")


def _socket(family: int, source: bytes, target: bytes) -> bytes:
    return (
        struct.pack("=BBBB", family, 1, 0, 0)
        + struct.pack(">HH", 40_000, 443)
        + source.ljust(16, b"\0")
        + target.ljust(16, b"\0")
        + struct.pack("=III", 2, 7, 9)
        + struct.pack("=IIIII", 0, 0, 0, 33, 4711)
        + attribute(8, b"\0")
        + attribute(21, struct.pack("=Q", 99))
    )


def _elements() -> bytes:
    counter = attribute(1, b"counter\0") + nested(2, attribute(1, bytes(8)), attribute(2, bytes(8)))
    first = nested(1, nested(1, attribute(1, b"k" * 12)), nested(7, counter))
    second = nested(1, nested(1, attribute(1, b"l" * 12)), nested(11, nested(1, counter)))
    return INET + attribute(1, b"cnnf\0") + attribute(2, b"count4_0\0") + nested(3, first, second)


def _logged() -> bytes:
    parts = attribute(1, b"\x08\0\3\0"), attribute(5, b"\0\0\0\2"), attribute(9, b"E" * 40)
    return message(nflog.SUBSYSTEM, 0, 0, NFGEN + b"".join(parts) + attribute(11, bytes(4)))


def _queued() -> bytes:
    parts = (
        attribute(1, struct.pack(">IHB", 77, 0x0800, 3)),
        attribute(3, bytes(4)),
        attribute(6, b"\0\0\0\5"),
        attribute(16, bytes(4)),
        attribute(10, b"E" * 40),
    )
    return message(nfqueue.SUBSYSTEM, 0, 0, NFGEN + b"".join(parts))


def _packet4(protocol: int = 6) -> bytes:
    head = struct.pack(">BBHHHBBH", 0x45, 0, 60, 1, 0, 64, protocol, 0)
    return head + A4 + B4 + struct.pack(">HH", 40_000, 443) + bytes(16)


def _packet6(*extensions: bytes) -> bytes:
    kinds = bytes([0, 60, 44, 51][: len(extensions)]) + b"\6"
    chain = b"".join(bytes([kinds[at + 1]]) + rest for at, rest in enumerate(extensions))
    head = struct.pack(">IHBB", 6 << 28, 60, kinds[0], 64)
    return head + A6 + B6 + chain + struct.pack(">HH", 40_000, 443) + bytes(16)


def _rule() -> bytes:
    names = attribute(1, b"cnnf\0") + attribute(2, b"out_known\0")
    return INET + names + nested(4, nested(1, attribute(1, b"cmp\0"), nested(2, b"")))


def _counter() -> bytes:
    names = attribute(1, b"cnnf\0") + attribute(2, b"asked\0") + attribute(3, b"\0\0\0\1")
    return INET + names + nested(4, attribute(1, bytes(8)), attribute(2, bytes(7) + b"\5"))


def _link() -> bytes:
    info = nested(18, attribute(1, b"veth\0"), nested(2, attribute(1, bytes(4))))
    return struct.pack("=BxHiII", 0, 1, 7, 1, 0) + attribute(3, b"eth0\0") + info


_GENERATION = NFGEN + attribute(1, bytes(4)) + attribute(2, b"\0\0\1\0") + attribute(3, b"nft\0")
_ALIAS = wire.record(wire.ASKED, wire.CNAME, wire.name("a.example"))
_EXTENSIONS = (bytes(7), b"\1" + bytes(14), bytes(7), b"\4" + bytes(22))

DECODERS = {
    "messages.messages": Decoder(framing.messages, (_queued() + _logged(), message(3, 2, 1, b""))),
    "messages.attributes": Decoder(framing.attributes, (_link()[16:], _elements()[4:])),
    "messages.raise_if_error": Decoder(
        one(lambda data: framing.raise_if_error("asking", framing.NLMSG_ERROR, data)),
        (struct.pack("=i", -2) + bytes(16), bytes(4)),
    ),
    "messages.raise_if_failed": Decoder(
        one(lambda data: framing.raise_if_failed("dumping", data)),
        (struct.pack("=i", -4), bytes(4)),
    ),
    "conntrack.decode_tracked": Decoder(
        lambda data: [conntrack.decode_tracked(data), conntrack.decode_tracked(data, 17)],
        (_tracked(A4, B4, 6), _tracked(A6, B6, 6), _tracked(A4, B4, 17)),
    ),
    "dns.decode": Decoder(
        one(dns.decode),
        (
            wire.query("api.pay.example"),
            wire.answer("api.pay.example", [_ALIAS, wire.address("a.example", "203.0.113.7")]),
            wire.answer("api.pay.example", [wire.address(wire.ASKED, "2001:db8::7")], wire.AAAA),
        ),
    ),
    "inet_diag.decode_socket": Decoder(
        one(inet_diag.decode_socket), (_socket(2, A4, B4), _socket(10, A6, B6))
    ),
    "nflog.decode_packets": Decoder(nflog.decode_packets, (_logged(), _logged() + _logged())),
    "nfqueue.decode_packet": Decoder(
        # As the loop does: from a buffer that is larger than the message and was used before.
        one(lambda data: nfqueue.decode_packet(bytearray(data + b"\xff" * 64), len(data))),
        (_queued(),),
    ),
    "nftcounter.decode_counter": Decoder(one(nftcounter.decode_counter), (_counter(),)),
    "nftset.decode_elements": Decoder(nftset.decode_elements, (_elements(),)),
    "packets.parse_carried": Decoder(
        one(packets.parse_carried),
        (
            wire.udp("192.0.2.53", "10.1.0.4", (53, 40_000), wire.query("api.example")),
            wire.tcp("2001:db8::53", "fd00::4", (53, 40_000), b"\0\4dns."),
        ),
    ),
    "packets.parse_segment": Decoder(
        one(lambda data: packets.parse_segment(bytearray(b"\6" * 8 + data), 8, 8 + len(data))),
        (_packet4(), _packet4(17), _packet6(), _packet6(*_EXTENSIONS)),
    ),
    "rtlink.decode_link": Decoder(one(rtlink.decode_link), (_link(),)),
    "rulesetgen.decode_generation": Decoder(one(rulesetgen.decode_generation), (_GENERATION,)),
    "rulesetgen.decode_chain": Decoder(
        one(lambda data: rulesetgen.decode_chain(data, "cnnf")), (_rule(),)
    ),
}


def decoders_there_are() -> set[str]:
    """Every public function of the package that takes bytes apart."""
    found = set()
    for module in pkgutil.iter_modules(netlink.__path__):
        loaded = importlib.import_module(f"{netlink.__name__}.{module.name}")
        for name, function in inspect.getmembers(loaded, inspect.isfunction):
            if function.__module__ == loaded.__name__ and not name.startswith("_"):
                parameters = list(inspect.signature(function).parameters.values())
                takes = {str(parameter.annotation) for parameter in parameters}
                gives = inspect.signature(function).return_annotation
                if takes & {str(bytes), str(bytes | bytearray)} and gives is not bytes:
                    found.add(f"{module.name}.{name}")
    return found


def test_every_decoder_is_in_the_table() -> None:
    assert decoders_there_are() == set(DECODERS)


def check(decoder: Decoder, data: bytes) -> None:
    """It ends, with no more values than the bytes can hold, or with a NetlinkError."""
    with suppress(NetlinkError):
        for count, _ in enumerate(decoder.decode(data), 1):
            assert count <= len(data) // 4 + 2, "no progress"


@pytest.mark.parametrize("name", DECODERS)
def test_whole_answers_are_taken(name: str) -> None:
    decoder = DECODERS[name]
    if name.startswith("messages.raise_if"):
        with pytest.raises(NetlinkError):
            list(decoder.decode(decoder.answers[0]))
        decoder.decode(decoder.answers[1])
        return
    for answer in decoder.answers:
        assert [value for value in decoder.decode(answer) if value is not None] or (
            answer == _packet4(17)
        )


@pytest.mark.parametrize("name", DECODERS)
def test_every_truncation(name: str) -> None:
    decoder = DECODERS[name]
    for answer in decoder.answers:
        for length in range(len(answer)):
            check(decoder, answer[:length])


@pytest.mark.parametrize("name", DECODERS)
def test_every_length_field_as_anything(name: str) -> None:
    """Each aligned pair of bytes, wherever a length may stand, as lengths that do not fit."""
    decoder = DECODERS[name]
    for answer in decoder.answers:
        for at in range(0, len(answer) - 1, 2):
            for number in (0, 1, 3, 4, 5, 8, 0x7FFF, 0x8004, 0xFFFF):
                check(decoder, answer[:at] + struct.pack("=H", number) + answer[at + 2 :])


@pytest.mark.parametrize("name", DECODERS)
def test_deep_nests(name: str) -> None:
    decoder = DECODERS[name]
    # As many attributes within each other as one can hold.
    lengths = range(0xFFFC, 0, -4)
    for kind in range(1, 25):
        data = b"".join(struct.pack("=HH", length, kind | 0x8000) for length in lengths)
        for head in (b"", NFGEN, INET, bytes(16), bytes(72)):
            check(decoder, head + data)


attributes = st.recursive(
    st.builds(attribute, st.integers(0, 24), st.binary(max_size=24)),
    lambda inner: st.builds(
        lambda kind, parts: nested(kind, *parts), st.integers(0, 24), st.lists(inner, max_size=4)
    ),
    max_leaves=16,
)
noise = st.binary(max_size=300)


@st.composite
def mangled(draw: st.DrawFn, answers: tuple[bytes, ...]) -> bytes:
    """An answer after some accidents."""
    data = bytearray(draw(st.sampled_from(answers)))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(0, len(data) - 1)))
        match draw(st.integers(0, 4)):
            case 0 if data:
                data[at] = draw(st.integers(0, 255))
            case 1:
                del data[at : at + draw(st.integers(1, 8))]
            case 2:
                data[at:at] = draw(st.binary(max_size=12))
            case 3:
                data += data[at:]
            case _:
                data[at:at] = draw(attributes)
    return bytes(data[:4_096])


@pytest.mark.parametrize("name", DECODERS)
@settings(deadline=None, max_examples=30)
@given(data=st.data())
def test_any_bytes_at_all(name: str, data: st.DataObject) -> None:
    decoder = DECODERS[name]
    check(decoder, data.draw(mangled(decoder.answers)))
    check(decoder, data.draw(noise))
    head = data.draw(st.sampled_from([b"", NFGEN, INET, bytes(16), _socket(2, A4, B4)[:72]]))
    check(decoder, head + b"".join(data.draw(st.lists(attributes, max_size=4))))
