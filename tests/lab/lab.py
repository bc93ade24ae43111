"""The lab: hosts, a Console, a script of connections, and whether Radar tells the truth about them.

with Lab.opened() as lab:
    alpha, beta = lab.hosts("alpha", "beta", engines=True)
    ...
    lab.start()
    lab.prove([Line("web to api", web, beta.address, 8080, 20, Edge(app("lab/web"), ...))])
"""

import os
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.lab import engine, netns, reaper, runners
from tests.lab.hosts import OUTSIDE, ZONE, Host, Internetwork, Place
from tests.lab.programs import DEFENDERS_PORT, PAGES_PORT, Console, Defender
from tests.lab.runners import Runner
from tests.lab.truth import (
    VIEWS,
    Edge,
    Expected,
    Figures,
    Picture,
    Report,
    credited_wrongly,
    differences,
    expected,
)

#: Until Radar has gained what was made: counters are read every 2 s, batches sent every 0.4 s.
TOLD_S = 20.0
#: How long it must stay like that, so that what is counted later or twice shows up.
WATCHED_S = 3.0

Pictures = dict[str, Picture]
#: What a line was for, the edge it has to be, and what came of it.
Made = tuple[str, Edge, Report]


@dataclass(frozen=True)
class Line:
    """One line of a script: who connects where, how often, and the edge that this is.

    `server` is whose name the server has to tell; lines of one runner follow one another.
    """

    label: str
    runner: Runner
    address: str
    port: int
    count: int
    edge: Edge
    server: str
    hold_us: int = 0


@dataclass(frozen=True)
class Outcome:
    """What was made and what Radar has gained, by view."""

    wanted: dict[Edge, Expected]
    gained: dict[str, dict[Edge, Figures]]
    twice: list[str]

    @property
    def wrong(self) -> list[str]:
        """Everything that differs, a sentence each."""
        named = [f"drawn twice: {name}" for name in self.twice]
        return named + [
            f"{view}: {said}"
            for view in VIEWS
            for said in differences(self.wanted, self.gained[view], view)
        ]

    def wrong_of(self, label: str) -> list[str]:
        """What differs of the edges that this line of the script is about."""
        wanted = {edge: one for edge, one in self.wanted.items() if label in one.labels}
        return [
            f"{view}: {said}"
            for view in VIEWS
            for said in differences(
                wanted, {e: f for e, f in self.gained[view].items() if e in wanted}, view
            )
        ]

    @property
    def credited(self) -> list[str]:
        """Who is said to have done what others did."""
        return [
            f"{view}: {said}"
            for view in VIEWS
            for said in credited_wrongly(self.wanted, self.gained[view])
        ]

    @property
    def invented(self) -> list[str]:
        """Edges of nobody's."""
        return [said for said in self.wrong if ": invented:" in said or said.startswith("drawn")]


class Lab:
    """See the module. Everything made here is removed by `opened`, or by the reaper."""

    def __init__(self, cleanup: ExitStack) -> None:
        self._cleanup = cleanup
        # Not a temporary folder of pytest's: a Unix socket's path has at most 107 bytes.
        self.work = Path(f"/tmp/cnnf-test-{os.getpid()}-lab")
        self.work.mkdir()
        (self.work / "s").mkdir()
        cleanup.callback(engine.remove_place, self.work)
        runners.build(self.work)
        self.network = Internetwork(cleanup)
        self.network.serve_names(ZONE, self.work)
        self.outside = Place("outside", self.network.outside, OUTSIDE, self.work)
        cleanup.callback(self.outside.end)
        namespace, number = self.network.attach()
        self.console = Console(namespace, f"10.90.{number}.2", self.work)
        cleanup.callback(self.console.stop)
        self._hosts: list[Host] = []
        #: Everything that was made on it, and Radar before that.
        self.made: list[Made] = []
        self.first: Pictures = {}
        cleanup.callback(self._end)

    @classmethod
    @contextmanager
    def opened(cls) -> Iterator["Lab"]:
        """A lab with an outside and a Console that has not been started."""
        netns.remove_stale()
        engine.remove_stale()
        with ExitStack() as cleanup:
            cleanup.enter_context(reaper.watching())
            yield cls(cleanup)

    def host(self, name: str, *, engine: bool = False, defended: bool = True) -> Host:
        """Another host; nothing runs on it before `start`."""
        namespace, number = self.network.attach()
        made = Host(name, namespace, number, self.work)
        options: list[str] = []
        if engine:
            options += ["--docker-socket", str(made.add_engine().socket)]
        else:
            options += ["--docker-socket", str(self.work / f"no-engine-{name}")]
        if defended:
            made.defender = Defender(name, namespace, self.work, self.console, *options)
        self._hosts.append(made)
        return made

    def launch(self) -> None:
        """Start Console and engines, and wait until all are there."""
        self.console.launch()
        engines = [host.engine for host in self._hosts if host.engine is not None]
        for one in engines:
            one.launch()
        for one in engines:
            one.wait()
        self.console.wait()
        self.console.enable()

    def defend(self) -> None:
        """Start the Defenders and wait until each looks at every connection."""
        defenders = [host.defender for host in self._hosts if host.defender is not None]
        with ThreadPoolExecutor(max(1, len(defenders))) as pool:
            list(pool.map(Defender.join, defenders))
        for one in defenders:
            one.launch()
        for one in defenders:
            one.wait()
        for one in defenders:
            one.wait_enabled()
        self.first = self.pictures()

    def pictures(self) -> Pictures:
        """Radar as it is, both views."""
        return {view: self.console.picture(view) for view in VIEWS}

    def outcome(self, script: Iterable[Line]) -> Outcome:
        """Play a script, and wait until Radar agrees or has had its time."""
        before = self.pictures()
        return self.settled(before, play(script))

    def settled(self, before: Pictures, made: list[Made]) -> Outcome:
        """What has come to Radar since `before`, once it agrees and stays like that, or not."""
        self.made += made
        wanted = expected(made)
        deadline = time.monotonic() + TOLD_S
        while (found := self._since(before, wanted)).wrong and time.monotonic() < deadline:
            time.sleep(0.3)
        if not found.wrong:
            time.sleep(WATCHED_S)
            found = self._since(before, wanted)
        return found

    def whole(self) -> Outcome:
        """All that was ever made here, and all that Radar has gained."""
        return self._since(self.first, expected(self.made))

    def _end(self) -> None:
        """End all hosts, side by side: Defenders take their rules back first."""
        defenders = [host.defender for host in self._hosts if host.defender is not None]
        for defender in defenders:
            defender.ask_to_end()
        for defender in defenders:
            defender.stop()
        for host in self._hosts:
            if host.engine is not None:
                host.engine.ask_to_end()
        for host in self._hosts:
            host.end()

    def _since(self, before: Pictures, wanted: dict[Edge, Expected]) -> Outcome:
        now = self.pictures()
        gained = {view: _others(now[view].since(before[view])) for view in VIEWS}
        return Outcome(wanted, gained, sorted({name for one in now.values() for name in one.twice}))


def _others(edges: dict[Edge, Figures]) -> dict[Edge, Figures]:
    """Without the connections of Defenders and tests to the Console."""
    ours = (PAGES_PORT, DEFENDERS_PORT)
    return {edge: figures for edge, figures in edges.items() if edge.port not in ours}


def play(script: Iterable[Line]) -> list[Made]:
    """Make a script's connections, every runner beside the others; what really came of them.

    Raises AssertionError where another server answered than the script says, or none: then the
    lab is wrong, and nothing can be said about Radar.
    """
    by_runner: dict[str, list[Line]] = {}
    for line in script:
        by_runner.setdefault(line.runner.name, []).append(line)

    def lines(of: list[Line]) -> list[Made]:
        return [(line.label, line.edge, _play(line)) for line in of]

    with ThreadPoolExecutor(len(by_runner) or 1) as pool:
        return [one for made in pool.map(lines, by_runner.values()) for one in made]


def _play(line: Line) -> Report:
    report = line.runner.connect(line.address, line.port, line.count, line.hold_us)
    wanted = {line.server: line.count} if line.server else {}
    assert dict(report.servers) == wanted, f"{line.label}: {line.runner.name}: {report}"
    return report
