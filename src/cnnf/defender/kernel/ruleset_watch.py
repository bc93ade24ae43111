"""Word of every change to the firewall of this network namespace, by whomever.

nf_tables tells each commit as it happens, with the process that made it; iptables' nft front end is
one of those. The legacy front end tells nobody: its rules have to be looked at from time to time.
"""

import asyncio
import ctypes
import errno
import socket
import struct
from collections import deque
from collections.abc import Callable

import msgspec
import structlog

from cnnf.defender.core.limits import RULESET_CHANGES_MAX, RULESET_SETTLE_MS
from cnnf.defender.core.ruleset import TABLE
from cnnf.defender.kernel.sockets import NETLINK_NETFILTER, NetlinkSocket
from cnnf.defender.netlink import rulesetgen
from cnnf.defender.netlink.errors import NetlinkError
from cnnf.defender.netlink.messages import messages

_log = structlog.get_logger(__name__)

_SOL_NETLINK = 270
_NETLINK_ADD_MEMBERSHIP = 1
_SO_ATTACH_FILTER = 26
#: A NEWGEN is 56 bytes; one datagram holds one.
_READ_BYTES = 8_192
#: Notifications read in one go before other work gets its turn.
_READS_MAX = 64


class RulesetChange(msgspec.Struct, frozen=True, kw_only=True):
    """A commit to the ruleset. All is 0 and '' where notifications were lost: something changed."""

    generation: int = 0
    pid: int = 0
    program: str = ""


class RulesetWatch:
    """Calls `on_change` from the event loop for each commit that is not ours.

    `is_ours(pid)` tells whether a process was started by this Defender to change rules. It is asked
    20 ms after the commit, when a program that was started in another thread is known for sure. The
    kernel gives pids of its first pid namespace: in another one nothing is recognised as ours, and
    whoever acts on a change must look at what is there before mending it.
    """

    def __init__(
        self,
        on_change: Callable[[RulesetChange], None],
        is_ours: Callable[[int], bool],
    ) -> None:
        self._on_change = on_change
        self._is_ours = is_ours
        self._socket: socket.socket | None = None
        self._waiting: deque[RulesetChange] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin to listen. Raises OSError."""
        sock = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_NETFILTER
        )
        try:
            _accept_generations_only(sock)
            sock.bind((0, 0))
            sock.setsockopt(_SOL_NETLINK, _NETLINK_ADD_MEMBERSHIP, rulesetgen.MULTICAST_GROUP)
            sock.setblocking(False)
            asyncio.get_running_loop().add_reader(sock, self._read)
        except OSError:
            sock.close()
            raise
        self._socket = sock

    def stop(self) -> None:
        """Stop listening; what waits to be told is dropped."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._waiting.clear()
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket)
            self._socket.close()
            self._socket = None

    def _read(self) -> None:
        assert self._socket is not None
        for _ in range(_READS_MAX):
            try:
                data = self._socket.recv(_READ_BYTES)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                self._put(RulesetChange())
                continue
            try:
                for kind, _, _, payload in messages(data):
                    if kind == rulesetgen.NEW_GENERATION:
                        made = rulesetgen.decode_generation(payload)
                        self._put(
                            RulesetChange(
                                generation=made.number, pid=made.pid, program=made.program
                            )
                        )
            except NetlinkError as error:
                _log.warning("change of the ruleset can't be read", error=str(error))
                self._put(RulesetChange())

    def _put(self, change: RulesetChange) -> None:
        if len(self._waiting) < RULESET_CHANGES_MAX:
            self._waiting.append(change)
        else:
            self._waiting[-1] = RulesetChange()
        if self._timer is None:
            delay = RULESET_SETTLE_MS / 1000
            self._timer = asyncio.get_running_loop().call_later(delay, self._tell)

    def _tell(self) -> None:
        self._timer = None
        waiting, self._waiting = self._waiting, deque()
        for change in waiting:
            if change.pid == 0 or not self._is_ours(change.pid):
                self._on_change(change)


def generation() -> int:
    """The ruleset generation in force. Raises NetlinkError, OSError."""
    netlink = NetlinkSocket(NETLINK_NETFILTER)
    try:
        request = rulesetgen.get_generation(netlink.sequence())
        answer = netlink.one("asking for the ruleset generation", request)
    finally:
        netlink.close()
    return rulesetgen.decode_generation(answer or b"").number


def rules_by_chain() -> dict[str, tuple[int, ...]]:
    """The rules of our table by chain, in order, each as a hash of all that it says and of its
    handle; empty when there is no table.

    A rule put in another's place keeps that one's handle and says something else. A chain without
    rules is not in it. Raises NetlinkError (Interrupted when others change rules all the time),
    OSError.
    """
    netlink = NetlinkSocket(NETLINK_NETFILTER)
    try:
        payloads = netlink.whole(
            "listing our rules", lambda sequence: rulesetgen.dump_rules(sequence, TABLE)
        )
    finally:
        netlink.close()
    found: dict[str, tuple[int, ...]] = {}
    for payload in payloads:
        chain = rulesetgen.decode_chain(payload, TABLE)
        if chain is not None:
            # The first four bytes hold the ruleset's generation, which is another for every rule
            # when somebody changes something else.
            found[chain] = (*found.get(chain, ()), hash(payload[4:]))
    return found


def _accept_generations_only(sock: socket.socket) -> None:
    """Let the kernel drop all but NEWGEN messages before they fill our buffer.

    Emptying a set of 100,000 elements is told element by element, 100,000 messages nobody reads.
    Four instructions of classic BPF (`linux/filter.h`): the message's type, which lies at byte 4 in
    the machine's order and is loaded as if in network order.
    """
    swapped = socket.htons(rulesetgen.NEW_GENERATION)
    program = b"".join(
        struct.pack("=HBBI", *instruction)
        for instruction in (
            (0x28, 0, 0, 4),  # A = 16 bits at 4
            (0x15, 0, 1, swapped),  # if A is not the type, go one further
            (0x06, 0, 0, 0xFFFFFFFF),  # accept all of it
            (0x06, 0, 0, 0),  # drop
        )
    )
    instructions = ctypes.create_string_buffer(program)
    # struct sock_fprog: how many, where; setsockopt copies the program.
    header = struct.pack("@HP", 4, ctypes.addressof(instructions))
    sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, header)
