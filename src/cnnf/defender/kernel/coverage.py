"""Reads what network namespaces say of the connections they open: see `core/coverage.py`."""

import contextlib
import os
from collections.abc import Iterable

from cnnf.defender.core.coverage import Opened, parse_opened
from cnnf.defender.kernel import namespaces
from cnnf.defender.kernel.sockets import NetlinkSocket
from cnnf.defender.netlink import rtlink
from cnnf.defender.netlink.errors import NetlinkError

_NETLINK_ROUTE = 0

#: snmp has 2 KiB, netstat 6; dev a line of 120 bytes an interface.
_BYTES_MAX = 262_144
#: Kinds of interfaces whose traffic a container's host sees.
_SEEN = frozenset({"veth", "loopback", "bridge"})


def read(pids: Iterable[int]) -> dict[int, Opened]:
    """Namespace inode -> its counters, each namespace once, for namespaces of these processes.

    A process that is gone is passed by. Blocks for some 0.3 ms a namespace.
    """
    found: dict[int, Opened] = {}
    for pid in pids:
        try:
            identity = namespaces.id_of(pid)
            if identity in found:
                continue
            texts = [_text(f"/proc/{pid}/net/{name}") for name in ("snmp", "netstat", "dev")]
            # The pid may have become another process's while its files were read.
            if namespaces.id_of(pid) != identity:
                continue
        except OSError:
            continue
        opened = parse_opened(*texts)
        if opened is not None:
            found[identity] = opened
    return found


def ways_out(pid: int) -> tuple[str, ...]:
    """The interfaces of a process's namespace whose traffic the host does not see, with their kind
    (`eth1 (macvlan)`), for telling a person; empty when there is none or it can't be told."""
    try:
        with namespaces.inside(f"/proc/{pid}/ns/net"):
            netlink = NetlinkSocket(_NETLINK_ROUTE)
        with contextlib.closing(netlink):
            links = map(rtlink.decode_link, netlink.whole("reading interfaces", rtlink.dump))
            return tuple(
                f"{link.name} ({link.kind})" for link in links if link.up and link.kind not in _SEEN
            )
    except (OSError, NetlinkError):
        return ()


def _text(path: str) -> str:
    # A file object costs as much again; these are read for every container.
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        data = b""
        while len(data) < _BYTES_MAX and (part := os.read(file, _BYTES_MAX)):
            data += part
        return data.decode("ascii", "replace")
    finally:
        os.close(file)
