"""A table of flows, judged three times: by `cnnf policy test`, by the kernel, by what is told.

A row says who really connects to whom; everybody's place is known here, and written down for
`cnnf policy test` as a person would. The policy is one file, put in force with `cnnf policy apply`.
"""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from tests.lab.lab import TOLD_S, Lab
from tests.lab.netns import run
from tests.lab.product import CNNF, eventually
from tests.lab.runners import Runner
from tests.lab.truth import INTERNET, Edge, End, unmanaged

#: A row's connections: the first is asked about, the kernel may remember the others.
COUNT = 2
#: A change of policy is in force everywhere; a second is promised.
APPLIED_S = 10.0

DEFAULT = "default"


@dataclass(frozen=True)
class Party:
    """Somebody who connects or is connected to. `said` is what a flow says of a side."""

    node: End
    said: Mapping[str, Any]
    address: str = ""
    address6: str = ""
    runner: Runner | None = None

    def at(self, address: str) -> dict[str, Any]:
        """The side of a flow, met at this address."""
        return {**self.said, "ip": address}


@dataclass(frozen=True)
class Row:
    """One flow: `effect` and `cause` are what the policy's author meant.

    `to` is what is connected to, an address or a name; `port` what the destination listens on, and
    `through` the port of its host that leads there, if it is another one.
    """

    label: str
    source: Party
    destination: Party
    port: int
    effect: str
    cause: str
    to: str = ""
    through: int = 0
    v6: bool = False
    called: tuple[str, ...] = ()

    @property
    def edge(self) -> Edge:
        """What it is on Radar."""
        return Edge(self.source.node, self.destination.node, self.port)

    @property
    def flow(self) -> dict[str, Any]:
        """The entry of a file of flows."""
        ends = [one.address6 if self.v6 else one.address for one in (self.source, self.destination)]
        assert all(ends), f"{self.label}: nobody is at {ends}"
        destination = self.destination.at(ends[1])
        if self.called:
            destination["dns"] = list(self.called)
        return {
            "source": self.source.at(ends[0]),
            "destination": destination,
            "port": self.port,
            "expect": {"effect": self.effect, "cause": self.cause},
        }

    def made(self) -> str:
        """Connect: `answered` or `refused`; whatever else is a sentence. None may be lost, since a
        refusal is told at once."""
        assert self.source.runner is not None
        to = self.to or (self.destination.address6 if self.v6 else self.destination.address)
        report = self.source.runner.connect(to, self.through or self.port, COUNT)
        server = self.destination.runner
        assert server is not None
        if dict(report.servers) == {server.name: COUNT}:
            return "answered"
        return "refused" if report.refused == COUNT else f"neither: {report}"


class Judgement(NamedTuple):
    """An effect and its cause."""

    effect: str
    cause: str


@dataclass
class Told:
    """What the Console has been told of an edge: on Radar, and as events."""

    radar: Judgement | None = None
    events: set[Judgement] = field(default_factory=set)


def elsewhere(runner: Runner, address: str, address6: str = "") -> Party:
    """Somebody on the internet, of whom nothing is known but where."""
    return Party(INTERNET, {}, address, address6, runner)


def bare(runner: Runner, address: str, address6: str = "") -> Party:
    """Somebody inside whom no Defender protects."""
    return Party(unmanaged(address), {}, address, address6, runner)


def judged(policy: Path, rows: Sequence[Row]) -> list[Judgement]:
    """What `cnnf policy test` says of all of them, in one run."""
    flows = policy.with_name("flows.yaml")
    flows.write_text(json.dumps([row.flow for row in rows], indent=1))
    said = json.loads(run(*CNNF, "policy", "test", str(policy), str(flows), "--json"))
    return [Judgement(one["effect"], one["cause"]) for one in said]


def played(rows: Iterable[Row]) -> dict[str, str]:
    """What became of every row's connections, by label; runners beside one another."""
    by_runner: dict[str, list[Row]] = {}
    for row in rows:
        assert row.source.runner is not None
        by_runner.setdefault(row.source.runner.name, []).append(row)
    with ThreadPoolExecutor(len(by_runner)) as pool:
        made = pool.map(lambda some: [(row.label, row.made()) for row in some], by_runner.values())
        return dict(one for some in made for one in some)


class Wire:
    """The lab's Console with a policy in force everywhere."""

    def __init__(self, lab: Lab, policy: Path) -> None:
        self.lab = lab
        self.policy = policy
        self._command("policy", "apply", str(policy), "--yes", "--reason", "on the wire")
        with lab.console.client() as client:
            version = client.get("/policy")["version"]
        eventually(lambda: self._enforced() == {version}, APPLIED_S, "the policy to be enforced")

    def told(self, rows: Sequence[Row]) -> dict[Edge, Told]:
        """What the Console says of these edges, once it says something of each."""
        wanted = {row.edge for row in rows}
        found: dict[Edge, Told] = {}

        def complete() -> bool:
            found.clear()
            found.update(self._told(wanted))
            return all(one.radar for one in found.values()) and all(
                found[row.edge].events for row in rows if row.effect != "allow"
            )

        try:
            eventually(complete, TOLD_S, "every edge to be told of")
        except AssertionError as error:
            # The rows that lack something say so themselves.
            print(error, file=sys.stderr)
        return found

    def back(self) -> None:
        """The empty policy again."""
        self._command("policy", "rollback", "1", "--yes", "--reason", "over")

    def _told(self, wanted: set[Edge]) -> dict[Edge, Told]:
        found = {edge: Told() for edge in wanted}
        with self.lab.console.client() as client:
            for view in ("containers", "hosts"):
                graph = client.get("/radar", view=view, window="1h", all="true")
                nodes = {node["id"]: _end(node) for node in graph["nodes"]}
                for edge in graph["edges"]:
                    ends = nodes[edge["source"]], nodes[edge["target"]]
                    for port in edge["ports"]:
                        told = found.get(Edge(*ends, port["port"]))
                        if told is not None:
                            told.radar = on_radar(port)
            for event in client.get("/events", limit="500"):
                edge = Edge(_end(event["source"]), _end(event["destination"]), event["port"])
                if edge in found:
                    found[edge].events.add(Judgement(event["effect"], event["cause"]))
        return found

    def _enforced(self) -> set[int]:
        said = [one["policy"] or {} for one in self.lab.console.defenders().values()]
        return {one.get("generation", 0) for one in said}

    def _command(self, *arguments: str) -> None:
        console = self.lab.console
        where = ("--data-dir", str(console.data))
        console.namespace.run(*CNNF, *arguments, *where)


def _end(said: Mapping[str, Any]) -> End:
    return INTERNET if said["kind"] == "internet" else End(said["kind"], said["name"])


def on_radar(port: Mapping[str, Any]) -> Judgement:
    """What nothing but the default let through has neither verdict nor cause."""
    if port["verdict"] == "none":
        return Judgement("allow", DEFAULT)
    return Judgement(port["verdict"], port["cause"])
