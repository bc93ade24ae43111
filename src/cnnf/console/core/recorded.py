"""What a flow store hands to whoever judges what was recorded: flows with those who may have been
on either side.

History is kept between nodes, so which of an app's instances connected is not told: a side is all
those that it can have been.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import msgspec

from cnnf.console.core.nodes import Node
from cnnf.console.core.windows import Window
from cnnf.policy.addresses import parse_address
from cnnf.policy.endpoints import Candidate


class Side(msgspec.Struct, frozen=True, kw_only=True):
    """Everybody who may have stood for a node in the window.

    `whole`: there was nobody else. No candidates: who it was is told by the flow's peers (the
    internet), or not at all.
    """

    node: Node
    candidates: tuple[Candidate, ...] = ()
    whole: bool = True


class Peer(NamedTuple):
    """An address that is nobody's here, and what it was called by those who connected."""

    address: str
    names: tuple[str, ...] = ()

    @property
    def candidate(self) -> Candidate:
        """Who it is, for a policy."""
        return Candidate(address=parse_address(self.address), names=self.names)


class Decided(NamedTuple):
    """So many of a flow's connections were decided so: a place in `VERDICTS`, and by what."""

    verdict: int
    cause: str
    connections: int


class RecordedFlow(NamedTuple):
    """One edge of the dictionary, summed over the window. `source` and `target` are keys of
    `Recorded.sides`; port 0 stands for ports that were too many to be kept.

    `decided` are its connections, those that were found standing included. `peers` are the kept
    addresses of an end on the internet, and the names of one inside that is nobody's.
    """

    source: int
    target: int
    port: int
    protocol: str
    decided: tuple[Decided, ...]
    first_seen: int
    last_seen: int
    peers: tuple[Peer, ...] = ()


class Recorded(msgspec.Struct, frozen=True, kw_only=True):
    """Every flow of a window, each once; they can be walked through once."""

    window: Window
    sides: Mapping[int, Side]
    flows: Iterator[RecordedFlow]


def peers_of(node: Node, flow: RecordedFlow, other: Node) -> tuple[Peer, ...]:
    """Those of a flow's peers that stand for a node; `other` is the node at the other end."""
    if node.kind == "internet":
        # The addresses of an end inside are not the other's.
        taken = other.name if other.kind == "unmanaged" else ""
        return tuple(one for one in flow.peers if one.address != taken)
    if node.kind == "unmanaged":
        return tuple(one for one in flow.peers if one.address == node.name)
    return ()


def candidates_of(side: Side, flow: RecordedFlow, other: Node) -> Iterable[Candidate]:
    """Everybody who may have been on a side of a flow; nobody: it is not kept who."""
    peers = peers_of(side.node, flow, other)
    return (one.candidate for one in peers) if peers else side.candidates
