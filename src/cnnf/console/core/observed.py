"""What a flow store hands to Radar: plain sums, before anything is drawn."""

import msgspec

from cnnf.console.core.decisions import UNDECIDED, Decision
from cnnf.console.core.nodes import INTERNET_ID, Node
from cnnf.console.core.recorded import Peer
from cnnf.console.core.windows import Window

#: Source, target, port, protocol.
EdgeId = tuple[str, str, int, str]


class EdgeTotal(msgspec.Struct, frozen=True, kw_only=True):
    """One edge of the dictionary, summed over the window; `source` and `target` are node ids.

    `decision` is the most severe one of the window.
    """

    source: str
    target: str
    port: int
    protocol: str
    connections: int
    answered: int = 0
    refused: int = 0
    found: int
    decision: Decision = UNDECIDED
    first_seen: int
    last_seen: int
    #: The counts are of other ends outside, too, which have edges of their own.
    shared: bool = False


def edge_id(total: EdgeTotal) -> EdgeId:
    """What an edge is known by."""
    return total.source, total.target, total.port, total.protocol


class Running(msgspec.Struct, frozen=True, kw_only=True):
    """One instance that runs now."""

    node: str
    host: str
    tag: str = ""
    project: str = ""


class Observed(msgspec.Struct, frozen=True, kw_only=True):
    """Everything in a window, and everything that runs now; `nodes` holds every node named.

    `peers` are, where they were asked for, the kept addresses and names of ends outside, by an
    edge's ends, port and protocol. `internet` are the nodes that stand for somebody there.
    """

    window: Window
    nodes: dict[str, Node]
    edges: list[EdgeTotal]
    running: list[Running]
    peers: dict[EdgeId, tuple[Peer, ...]] = {}
    internet: frozenset[str] = frozenset((INTERNET_ID,))


class InstanceRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One instance, running or stopped, as the side panel shows it. Times in ms, 0 is never."""

    id: str
    kind: str
    host: str
    defender: str
    tag: str
    digest: str
    project: str
    title: str
    labels: dict[str, str]
    addresses: list[str]
    ports: list[int]
    pid: int
    started_at: int
    stopped_at: int


class ProcessRecord(msgspec.Struct, frozen=True, kw_only=True):
    """An example process of one edge."""

    side: str
    pid: int
    executable: str
    command: str
    user: str
    host: str
    seen_at: int


class EdgeRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One edge of a node, with what is kept beside the counts; `names` are of its addresses, those
    that have any."""

    total: EdgeTotal
    processes: list[ProcessRecord]
    addresses: list[str]
    names: dict[str, list[str]]


class NodeRecord(msgspec.Struct, frozen=True, kw_only=True):
    """All about one node; `peers` holds every other node named by the edges."""

    window: Window
    node: Node
    instances: list[InstanceRecord]
    edges: list[EdgeRecord]
    peers: dict[str, Node]


class Bucket(msgspec.Struct, frozen=True, kw_only=True):
    """An edge's counts within one bucket that starts at `start` (ms)."""

    start: int
    connections: int
    answered: int = 0
    refused: int = 0
    found: int


class Mark(msgspec.Struct, frozen=True, kw_only=True):
    """An incarnation's high-water mark, and the batches that were given up before it."""

    sequence: int
    lost_batches: int
    lost_flows: int
