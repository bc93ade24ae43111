"""rtnetlink: interfaces by name and kind."""

import struct

import pytest

from cnnf.defender.netlink import rtlink
from cnnf.defender.netlink.errors import Truncated
from cnnf.defender.netlink.messages import attribute, messages, nested
from cnnf.defender.netlink.rtlink import Link

NAME = attribute(3, b"eth0\0")


def info(flags: int, *parts: bytes) -> bytes:
    """struct ifinfomsg of an Ethernet interface, then attributes."""
    return struct.pack("=BBHiII", 0, 0, 1, 7, flags, 0) + b"".join(parts)


def test_every_interface_is_asked_for() -> None:
    ((kind, flags, sequence, payload),) = messages(rtlink.dump(3))
    assert (kind, flags, sequence, payload) == (18, 1 | 0x300, 3, bytes(16))


@pytest.mark.parametrize(
    ("payload", "link"),
    [
        (info(1, NAME, nested(18, attribute(1, b"macvlan\0"), nested(2, b""))),
         Link("eth0", "macvlan", True)),
        (info(0, attribute(4, bytes(4)), NAME), Link("eth0", "physical", False)),
        (info(9, attribute(3, b"lo\0")), Link("lo", "loopback", True)),
        (info(1, attribute(3, b"\xff\0x")), Link("\N{REPLACEMENT CHARACTER}", "physical", True)),
    ],
)  # fmt: skip
def test_interfaces_are_decoded(payload: bytes, link: Link) -> None:
    assert rtlink.decode_link(payload) == link


def test_what_is_too_short_is_refused() -> None:
    for length in range(16):
        with pytest.raises(Truncated):
            rtlink.decode_link(info(1)[:length])
