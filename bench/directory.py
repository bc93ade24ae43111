"""What the Console's directory takes and gives: 10,000 hosts of 50 containers, and first questions.

One process and one core, everything in memory, as the Console holds it: what a question costs from
its bytes to those of the answers, what the whole estate takes, and how long it takes to be told.
"""

import gc
import random
import resource
import time
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path

from bench.benchmark import Benchmark, Tell
from bench.rows import Row, Target, single
from cnnf.console.core import questions
from cnnf.console.core.directory import Directory
from cnnf.console.core.holdings import Holdings
from cnnf.protocol.codec import encode_json
from cnnf.protocol.messages import (
    HostInfo,
    HostNetwork,
    Instance,
    Published,
    Question,
    Sought,
)

NAME = "directory"
CASE = "questions"
_HOSTS = 10_000
_CONTAINERS = 50
_SERVICES = 15
_APPS = 2_000
#: Ends that a Defender meets within a moment and asks for at once.
_SOUGHT = 40
#: The share of ends that connected to it, whose answer is everybody on that host.
_SOURCES = 0.1
#: Each of a thousand questions.
_ROUNDS_LEAST = 40
_TARGET = Target(at_least=10_000)
_NOW = 1_790_000_000_000


def _measure(cases: Sequence[str], deadline: float, tell: Tell) -> list[Row]:
    del cases
    chance = random.Random(7)
    tell(f"{NAME}-{CASE}: telling of {_HOSTS} hosts")
    before = _resident_mb()
    directory, holdings = Directory(), Holdings()
    told = 0.0
    for number in range(_HOSTS):
        info, instances = _host(number, chance)
        began = time.perf_counter()
        directory.tell(f"{number:032x}", info, instances, snapshot=True, sent_at=_NOW)
        told += time.perf_counter() - began
    directory.take_stale()
    gc.collect()
    memory = _resident_mb() - before
    rates = list(_rates(directory, holdings, chance, deadline))
    tell(f"{NAME}-{CASE}: one container is replaced")
    began = time.perf_counter()
    changed = [_container(3, 7, chance, started_at=_NOW + 1)]
    directory.tell(f"{3:032x}", None, changed, snapshot=False, sent_at=_NOW + 1)
    holdings.changed(directory.take_stale())
    change_ms = (time.perf_counter() - began) * 1000
    prefix = f"{NAME}-{CASE}"
    return [
        single(f"{prefix}-rate", "questions/s", sorted(rates)[len(rates) // 2], _TARGET),
        single(f"{prefix}-memory", "MB", memory),
        single(f"{prefix}-told", "s", told),
        single(f"{prefix}-change", "ms", change_ms),
    ]


def _rates(
    directory: Directory, holdings: Holdings, chance: random.Random, deadline: float
) -> Iterator[float]:
    """Questions answered in a second, a thousand first sights at a time."""
    for round_ in count():
        asked = [_question(chance) for _ in range(25)]
        began = time.perf_counter()
        for defender, body in asked:
            _, addresses = questions.answer(directory, defender, questions.read(body))
            holdings.told(defender, addresses)
        yield len(asked) * _SOUGHT / (time.perf_counter() - began)
        # The first ones find caches cold.
        if round_ >= _ROUNDS_LEAST and time.monotonic() > deadline:
            return


def _question(chance: random.Random) -> tuple[str, bytes]:
    asker = chance.randrange(_HOSTS)
    sought: list[Sought] = []
    while len(sought) < _SOUGHT:
        host = chance.randrange(_HOSTS)
        if host == asker:
            continue
        if chance.random() < _SOURCES:
            sought.append(Sought(address=_address(host)))
        elif chance.random() < 0.5:
            sought.append(
                Sought(address=_address(host), port=20_000 + chance.randrange(_CONTAINERS))
            )
        else:
            container = chance.randrange(_CONTAINERS // 2)
            sought.append(Sought(address=_pod(host, container), port=8080))
    return f"{asker:032x}", encode_json(Question(sought=sought))


def _host(number: int, chance: random.Random) -> tuple[HostInfo, list[Instance]]:
    networks = [
        HostNetwork(cidr="172.17.0.0/16"),
        HostNetwork(cidr=f"{_pod(number, 0).rpartition('.')[0]}.0/26", routed=True),
    ]
    info = HostInfo(name=f"host-{number}", addresses=[_address(number)], networks=networks)
    containers = [_container(number, at, chance) for at in range(_CONTAINERS)]
    services = [
        Instance(id=f"service:unit-{at}", kind="service", name=f"unit-{at}", ports=[100 + at])
        for at in range(_SERVICES)
    ]
    return info, containers + services


def _container(
    host: int, at: int, chance: random.Random, started_at: int = _NOW - 60_000
) -> Instance:
    app = chance.randrange(_APPS)
    routed = at < _CONTAINERS // 2
    return Instance(
        id=f"{host:032x}{at:032x}",
        kind="container",
        name=f"registry.example/team-{app % 50}/app-{app}",
        tag=f"1.{app % 7}",
        digest=f"sha256:{app:064x}",
        namespace=f"team-{app % 50}",
        cluster="one",
        labels={"app": f"app-{app}", "team": f"team-{app % 50}", "tier": "web", "release": "r1"},
        addresses=[_pod(host, at) if routed else f"172.17.0.{at}"],
        published=[Published(port=20_000 + at, to=8080)],
        started_at=started_at,
    )


def _address(host: int) -> str:
    return f"10.{host >> 8}.{host & 255}.1"


def _pod(host: int, at: int) -> str:
    number = (100 << 24) + (64 << 16) + (host << 6) + at
    return ".".join(str(number >> shift & 255) for shift in (24, 16, 8, 0))


def _resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    return pages * resource.getpagesize() / 1e6


BENCHMARK = Benchmark(name=NAME, cases={CASE: 40.0}, measure=_measure)
