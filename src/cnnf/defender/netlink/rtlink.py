"""rtnetlink: the interfaces of a network namespace, by name and kind.

From `linux/rtnetlink.h` and `linux/if_link.h`. pyroute2 opens its sockets in a thread of its own,
so it cannot be made to look into another namespace from within `namespaces.inside`.
"""

import struct
from typing import NamedTuple

from cnnf.defender.netlink.errors import Truncated
from cnnf.defender.netlink.messages import NLM_F_DUMP, NLM_F_REQUEST, attributes, message

_GET_LINK = 18
_IFNAME, _LINKINFO = 3, 18
_INFO_KIND = 1
#: `struct ifinfomsg`: family, padding, type, index, flags, change.
_INFO = struct.Struct("=BxHiII")
_UP, _LOOPBACK = 1, 8


class Link(NamedTuple):
    """An interface. `kind` is what made it (`veth`, `macvlan`), `loopback`, or `physical`."""

    name: str
    kind: str
    up: bool


def dump(sequence: int) -> bytes:
    """Ask for every interface."""
    return message(_GET_LINK, NLM_F_REQUEST | NLM_F_DUMP, sequence, bytes(_INFO.size))


def decode_link(payload: bytes) -> Link:
    """The interface in one answer's payload. Raises Truncated."""
    if len(payload) < _INFO.size:
        raise Truncated(f"rtnetlink: {len(payload)} bytes, at least {_INFO.size}")
    flags = _INFO.unpack_from(payload)[3]
    name, kind = "", "loopback" if flags & _LOOPBACK else "physical"
    for attribute, value in attributes(payload, _INFO.size):
        if attribute == _IFNAME:
            name = _text(value)
        elif attribute == _LINKINFO:
            for part, content in attributes(value):
                if part == _INFO_KIND:
                    kind = _text(content)
    return Link(name, kind, bool(flags & _UP))


def _text(value: bytes) -> str:
    return value.split(b"\0", 1)[0].decode("utf-8", "replace")
