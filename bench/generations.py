"""The nft tables' generation number in a namespace, seen from outside: who changes rules, and when.

Every nft transaction counts it up by one (linux/netfilter/nf_tables.h, NFT_MSG_GETGEN), so a
Defender's change of generation shows without asking the Defender.
"""

import errno
import os
import socket
import struct
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import msgspec
from tests.lab.netns import Namespace

_NETLINK_NETFILTER = 12
_GETGEN = 10 << 8 | 16
_NFTA_GEN_ID = 1
_REQUEST = struct.pack("=IHHIIBBH", 20, _GETGEN, 1, 1, 0, 0, 0, 0)
#: Between two looks; a look takes some 10 µs.
_STEP_SECONDS = 0.002
_RECEIVE_BYTES = 4096


class Burst(msgspec.Struct, frozen=True, kw_only=True):
    """Transactions that belong together: the first and the last one's time, and how many."""

    began: float
    ended: float
    transactions: int


class Watch:
    """What was seen; read once the watching is over, or while it goes on."""

    def __init__(self) -> None:
        self.changes: list[tuple[float, int]] = []
        self.ended = threading.Event()
        self.failure: Exception | None = None


@contextmanager
def watched(namespace: Namespace) -> Iterator[Watch]:
    """Watch the namespace's generation number in a thread of its own until the end."""
    watch = Watch()
    with namespace.entered():
        netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_NETFILTER)
    thread = threading.Thread(target=_look, args=(netlink, watch), daemon=True)
    thread.start()
    try:
        yield watch
    finally:
        watch.ended.set()
        thread.join()
        netlink.close()
    if watch.failure is not None:
        raise watch.failure


def bursts(changes: Sequence[tuple[float, int]], apart_seconds: float) -> list[Burst]:
    """The changes (time, how many at once) as bursts, with at least this long between two."""
    found: list[Burst] = []
    for at, count in changes:
        if found and at - found[-1].ended < apart_seconds:
            last = found.pop()
            more = Burst(began=last.began, ended=at, transactions=last.transactions + count)
        else:
            more = Burst(began=at, ended=at, transactions=count)
        found.append(more)
    return found


def generation_in(message: bytes) -> int:
    """The number in the kernel's answer. Raises OSError for a refusal, ValueError for no answer."""
    if len(message) < 20:
        raise ValueError(f"a netlink message of {len(message)} bytes")
    length, kind = struct.unpack_from("=IH", message)
    if kind == 2:
        number = -struct.unpack_from("=i", message, 16)[0]
        raise OSError(number, f"asking for the nft generation: {os.strerror(number)}")
    at, end = 20, min(length, len(message))
    while at + 4 <= end:
        size, attribute = struct.unpack_from("=HH", message, at)
        if attribute & 0x3FFF == _NFTA_GEN_ID and size == 8 and at + 8 <= end:
            return int(struct.unpack_from(">I", message, at + 4)[0])
        if size < 4:
            break
        at += size + 3 & ~3
    raise ValueError("an answer without the nft generation")


def _look(netlink: socket.socket, watch: Watch) -> None:
    known: int | None = None
    try:
        while not watch.ended.wait(_STEP_SECONDS):
            netlink.send(_REQUEST)
            number = generation_in(netlink.recv(_RECEIVE_BYTES))
            if known is not None and number != known:
                watch.changes.append((time.monotonic(), number - known))
            known = number
    except (OSError, ValueError) as error:
        if not (isinstance(error, OSError) and error.errno == errno.EBADF):
            watch.failure = error
