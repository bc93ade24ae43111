"""The plan: all that the nft table is made from, as one value."""

from ipaddress import IPv4Address, IPv6Address
from typing import Literal

import msgspec

from cnnf.defender.core.limits import CGROUP_LEVELS
from cnnf.defender.core.marks import Marks
from cnnf.policy.addresses import Network
from cnnf.protocol.messages import RefuseWith

#: What a set of flows is for; see `ruleset.py`.
Role = Literal[
    "pass",
    "passed",
    "refuse",
    "refused",
    "answered_first",
    "answered",
    "reset",
    "asked_first",
    "asked",
]

Place = tuple[IPv4Address | IPv6Address, int]


class Scopes(msgspec.Struct, frozen=True, kw_only=True):
    """Where cnnf is enabled; elsewhere it only watches (limited view)."""

    containers: bool = False
    hosts: bool = False

    @property
    def any(self) -> bool:
        """Is it enabled anywhere?"""
        return self.containers or self.hosts


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be in force.

    `bridged` says that packets within a container network may pass over a bridge of this host,
    `prevents` that something may be refused, `guarded` that this was so at some time: the hook that
    it needs then stays, since taking one out makes the kernel drop what waits in queues.
    `failsafe` are ports of this host, `console` places, here or elsewhere, that are counted but
    never asked about. `levels` is the deepest cgroup that flows are remembered for. `dns_group` is
    where copies of DNS go, 0: nowhere; `answer_queue` is where answers wait while `answers_held`.
    """

    marks: Marks
    queue_first: int
    queue_count: int
    log_group: int
    dns_group: int = 0
    answer_queue: int = 0
    answers_held: bool = False
    fail_closed: bool = False
    scopes: Scopes = Scopes()
    networks: tuple[Network, ...] = ()
    bridged: bool = True
    udp: bool = False
    refuse_with: RefuseWith = "reset"
    prevents: bool = False
    guarded: bool = False
    failsafe: tuple[int, ...] = ()
    console: tuple[Place, ...] = ()
    levels: int = CGROUP_LEVELS
    generation: int = 0

    @property
    def queues(self) -> range:
        """The numbers of the queues that are ours: the loops', and the daemon's after them."""
        count = self.queue_count + (self.answer_queue == self.queue_first + self.queue_count)
        return range(self.queue_first, self.queue_first + count)


def address_key(family: int) -> str:
    """A flow by its ends: 16 or 40 bytes, every part padded to four."""
    ip = "ip" if family == 4 else "ip6"
    return f"{ip} saddr . meta l4proto . th dport . {ip} daddr"


def reply_key(family: int) -> str:
    """The same flow's key, of a packet in the other direction."""
    ip = "ip" if family == 4 else "ip6"
    return f"{ip} daddr . meta l4proto . th sport . {ip} saddr"


def cgroup_key(level: int, family: int) -> str:
    """A flow of this host's by the cgroup of its socket: 20 or 32 bytes."""
    ip = "ip" if family == 4 else "ip6"
    return f"socket cgroupv2 level {level} . {ip} daddr . meta l4proto . th dport"
