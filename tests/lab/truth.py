"""What Radar must say of connections that were really made, and how it differs from what it says.

Pure: graphs in, sentences out. A script's lines say who connects where, runners report what came
of it, and `differences` compares the sum with what Radar has gained meanwhile, in both views.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

#: A view shows every edge with such an end.
VIEWS: dict[str, frozenset[str]] = {
    "containers": frozenset({"app"}),
    "hosts": frozenset({"service", "host"}),
}


class End(NamedTuple):
    """A node as a person reads it. Of the internet there is one, whatever it is called."""

    kind: str
    name: str

    def __str__(self) -> str:
        return self.kind if self.kind == "internet" else f"{self.kind} {self.name}"


class Edge(NamedTuple):
    """Who connects to whom, at which port."""

    source: End
    target: End
    port: int

    def __str__(self) -> str:
        return f"{self.source} → {self.target} :{self.port}"


def app(name: str) -> End:
    """A container's image repository."""
    return End("app", name)


def service(name: str) -> End:
    """A service of any number of hosts."""
    return End("service", name)


def unmanaged(address: str) -> End:
    """A peer inside that no Defender protects."""
    return End("unmanaged", address)


def host(name: str) -> End:
    """A host, for those of its programs that could not be told."""
    return End("host", name)


INTERNET = End("internet", "internet")


class Report(NamedTuple):
    """What a runner says of one line: which servers answered how often, what did not succeed.

    `again` counts SYNs that were sent again: each is one attempt more to whoever sees packets, and
    seen as one or not, depending on where it was lost.
    """

    attempts: int
    servers: Mapping[str, int]
    refused: int = 0
    failed: int = 0
    again: int = 0

    @property
    def answered(self) -> int:
        """How many reached a server."""
        return sum(self.servers.values())


@dataclass
class Expected:
    """What an edge must have gained."""

    attempts: int = 0
    again: int = 0
    answered: int = 0
    refused: int = 0
    labels: list[str] = field(default_factory=list)


def expected(lines: Iterable[tuple[str, Edge, Report]]) -> dict[Edge, Expected]:
    """The sum of (label, edge, report) by edge."""
    sums: dict[Edge, Expected] = {}
    for label, edge, report in lines:
        one = sums.setdefault(edge, Expected())
        one.attempts += report.attempts
        one.again += report.again
        one.answered += report.answered
        one.refused += report.refused
        if label not in one.labels:
            one.labels.append(label)
    return sums


class Figures(NamedTuple):
    """What Radar says of one edge."""

    connections: int = 0
    answered: int = 0
    refused: int = 0
    found: int = 0

    def since(self, before: "Figures") -> "Figures":
        """What has come to it."""
        return Figures(*(now - then for now, then in zip(self, before, strict=True)))


class Picture:
    """Radar's graph of one view, by names."""

    def __init__(self, body: Mapping[str, Any]) -> None:
        nodes = {node["id"]: _end(node) for node in body["nodes"]}
        self.instances = {
            _end(node): node["instances"] for node in body["nodes"] if node["instances"]
        }
        #: Names that more than one node has: one thing drawn twice. But an address within a host
        #: is another one on the next.
        self.twice = sorted(
            str(end)
            for end, count in Counter(nodes.values()).items()
            if count > 1 and end.kind != "unmanaged"
        )
        self.edges: dict[Edge, Figures] = {}
        for edge in body["edges"]:
            ends = nodes[edge["source"]], nodes[edge["target"]]
            for port in edge["ports"]:
                key = Edge(*ends, port["port"])
                figures = Figures(*(port[name] for name in Figures._fields))
                before = self.edges.get(key, Figures())
                self.edges[key] = Figures(*(a + b for a, b in zip(before, figures, strict=True)))

    def since(self, before: "Picture") -> dict[Edge, Figures]:
        """The edges that have gained something, and what."""
        gained = {
            edge: figures.since(before.edges.get(edge, Figures()))
            for edge, figures in self.edges.items()
        }
        return {edge: figures for edge, figures in gained.items() if any(figures)}


def _end(node: Mapping[str, Any]) -> End:
    return INTERNET if node["kind"] == "internet" else End(node["kind"], node["name"])


def in_view(edge: Edge, view: str) -> bool:
    """Does this view show such an edge?"""
    return edge.source.kind in VIEWS[view] or edge.target.kind in VIEWS[view]


def differences(
    wanted: Mapping[Edge, Expected], gained: Mapping[Edge, Figures], view: str
) -> list[str]:
    """What is missing, invented or counted otherwise in a view, a sentence each; none if right."""
    said = []
    for edge, one in sorted(wanted.items()):
        if not in_view(edge, view):
            continue
        what = f"{edge} ({', '.join(one.labels)})"
        figures = gained.get(edge)
        if figures is None:
            said.append(f"missing: {what}: {one.attempts} connections")
            continue
        if not one.attempts <= figures.connections <= one.attempts + one.again:
            again = f" (and {one.again} SYNs sent again)" if one.again else ""
            said.append(f"count: {what}: {figures.connections}, made were {one.attempts}{again}")
        if figures.answered != one.answered:
            said.append(f"answered: {what}: {figures.answered}, were {one.answered}")
        if figures.refused != one.refused:
            said.append(f"refused: {what}: {figures.refused}, were {one.refused}")
        if figures.found:
            said.append(f"found: {what}: {figures.found}, none was there before")
    said += [
        f"invented: {edge}: {figures.connections} connections, {figures.found} found"
        for edge, figures in sorted(gained.items())
        if edge not in wanted
    ]
    return said


def credited_wrongly(wanted: Mapping[Edge, Expected], gained: Mapping[Edge, Figures]) -> list[str]:
    """Who is said to have connected and did not, or not so often, a sentence each.

    What is told of nobody (an address, a host) is no wrong name.
    """
    return [
        f"credited: {edge}: {figures.connections}, made were {made}"
        for edge, figures in sorted(gained.items())
        if edge.source.kind in ("app", "service")
        and figures.connections > (made := _most(wanted.get(edge)))
    ]


def _most(one: Expected | None) -> int:
    return 0 if one is None else one.attempts + one.again
