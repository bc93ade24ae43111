"""Every verdict on every way: who gets through, who is refused how fast, and what is told of it."""

from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from tests.kernel.conftest import Network, Recording
from tests.kernel.stage import (
    CLIENT,
    PROGRAM,
    REFUSED_MS,
    SERVER,
    SILENT_SECONDS,
    WAYS,
    Stage,
    Target,
    Way,
    made_stage,
    policy,
)
from tests.lab import netns

pytestmark = pytest.mark.kernel

#: One port a verdict.
ALLOWED, ALERTED, PREVENTED, RULELESS = 8001, 8002, 8003, 8004
#: Nobody listens there; its server keeps silent there.
CLOSED, SILENT = 8005, 8006
#: Refused to the unit alone, to the unnamed program alone, at the server's service alone.
NOT_UNIT, NOT_PROGRAM, NOT_SERVICE = 8007, 8008, 8009
LISTENING = (ALLOWED, ALERTED, PREVENTED, RULELESS, SILENT, NOT_UNIT, NOT_PROGRAM, NOT_SERVICE)

RULES = policy(
    f"name: fine, ports: [{ALLOWED}], protocol: tcp, effect: allow",
    f"name: look, ports: [{ALERTED}], protocol: tcp, effect: alert",
    f"name: never, ports: [{PREVENTED}], protocol: tcp, effect: prevent",
    f"name: no unit, source: [unit], ports: [{NOT_UNIT}], effect: prevent",
    f"name: no program, source: [program], ports: [{NOT_PROGRAM}], effect: prevent",
    f"name: no service, destination: [service], ports: [{NOT_SERVICE}], effect: prevent",
    objects=(
        f"name: unit, type: service, values: [{CLIENT}]",
        f"name: program, type: service, values: [{PROGRAM}]",
        f"name: service, type: service, values: [{SERVER}]",
    ),
)  # fmt: skip

COUNT = 4


class Told(NamedTuple):
    """What is to be told of a flow."""

    connections: int
    answered: int
    refused: int


class Flow(NamedTuple):
    """Whom it is told of."""

    source: str
    destination: str
    port: int
    effect: str | None
    cause: str


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    if not netns.can_make():
        pytest.skip("needs root, iproute2 and util-linux")
    with made_stage() as made:
        made.listen(*LISTENING)
        for name in ("b", "d", "a"):
            where = made.host if name == "a" else made.namespace(name)
            # After our own hooks: what the host's firewall drops before is never seen.
            where.run("nft", "add table inet silent")
            where.run("nft", "add chain inet silent c { type filter hook input priority 200; }")
            where.run("nft", f"add rule inet silent c tcp dport {SILENT} drop")
        yield made


@pytest.fixture(scope="module", params=["native", "python"])
def recording(stage: Stage, request: pytest.FixtureRequest) -> Iterator[Recording]:
    with stage.recording(loop=request.param) as made:
        made.ask("policy", RULES)
        yield made


def is_prevented(way: Way, port: int) -> str:
    """The rule that refuses it, or nothing."""
    if port == PREVENTED:
        return "rule:never"
    if port == NOT_UNIT and way.client == "client":
        return "rule:no unit"
    if port == NOT_PROGRAM and way.client == "program":
        return "rule:no program"
    if port == NOT_SERVICE and way.server == "server":
        return "rule:no service"
    return ""


def decision(way: Way, port: int) -> tuple[str | None, str]:
    """Effect and cause."""
    if refusal := is_prevented(way, port):
        return "prevent", refusal
    return {ALLOWED: ("allow", "rule:fine"), ALERTED: ("alert", "rule:look")}.get(port, (None, ""))


def ends(stage: Stage, way: Way, family: int, port: int) -> tuple[str, str]:
    """How a flow calls them; where nobody listens there is no service to name."""
    own = {"client": f"service:{CLIENT}", "program": f"service:{PROGRAM}"}
    source = own.get(way.client) or Network.ADDRESSES[way.client][family]
    named = way.server == "server" and port != CLOSED
    return source, f"service:{SERVER}" if named else stage.address(way, family)


def told(recording: Recording, port: int = 0) -> dict[Flow, Told]:
    """Everything since the last time.

    A program without a unit is found by a look at processes, of which there are only so many a
    second and each for so long: what was not found is told of the host's address, and is the
    program's here.
    """
    found: dict[Flow, Told] = {}
    missed = 0
    for one in recording.ask("flows"):
        if port and one["port"] != port:
            continue
        source = one["source"]
        if source in (*Network.HOST["b"], "127.0.0.1", "::1"):
            source = f"service:{PROGRAM}"
            missed += one["connections"]
        elif one["effect"] == "alert" and source.startswith("service:"):
            assert one["process"].endswith(PROGRAM), one
        key = Flow(source, one["destination"], one["port"], one["effect"], one["cause"])
        before = found.get(key, Told(0, 0, 0))
        more = (one["connections"], one["answered"], one["refused"])
        found[key] = Told(*(sum(pair) for pair in zip(before, more, strict=True)))
    assert missed <= (2 * 500 if port else COUNT)
    return found


def figures(way: Way, port: int) -> Told:
    """What COUNT attempts come to."""
    if is_prevented(way, port):
        return Told(COUNT, 0, 0)
    if port == CLOSED:
        return Told(COUNT, 0, COUNT)
    return Told(COUNT, 0 if port == SILENT else COUNT, 0)


def targets(stage: Stage, way: Way) -> list[Target]:
    """Every port over both families."""
    ports = (*LISTENING, CLOSED)
    return [(stage.address(way, family), port) for family in (0, 1) for port in ports]


def try_quick(stage: Stage, way: Way, quick: list[Target]) -> None:
    """Attempts that have an outcome at once, one after another."""
    tried = stage.peers[way.client].timed(*quick, count=COUNT)
    for (_, port), tries in zip(quick, tried, strict=True):
        wanted = "refused" if is_prevented(way, port) or port == CLOSED else "answered"
        assert [outcome for outcome, _ in tries] == [wanted] * COUNT, (way, port)
        if wanted == "refused":
            assert max(took for _, took in tries) < REFUSED_MS, (way, port, tries)


def try_slow(stage: Stage, slow: dict[Way, list[Target]]) -> None:
    """Attempts of which nothing is heard, side by side."""
    options = {"together": True, "timeout": SILENT_SECONDS}
    for way, given in slow.items():
        stage.peers[way.client].tell("connect", given, COUNT, options)
    for way in slow:
        silences = stage.peers[way.client].answer()
        assert {outcome for tries in silences for outcome, _ in tries} == {"silent"}, way


@pytest.mark.parametrize("refuse_with", ["reset", "drop"])
def test_every_verdict_on_every_way(stage: Stage, recording: Recording, refuse_with: str) -> None:
    recording.ask("settings", {"refuse_with": refuse_with})
    before = stage.served()
    slow: dict[Way, list[Target]] = {}
    for way in WAYS:
        silent = {SILENT} | {
            port for port in LISTENING if refuse_with == "drop" and is_prevented(way, port)
        }
        slow[way] = [target for target in targets(stage, way) if target[1] in silent]
        try_quick(stage, way, [one for one in targets(stage, way) if one[1] not in silent])
    try_slow(stage, slow)
    after = stage.served()
    expected: dict[Flow, Told] = {}
    arrived: dict[str, Counter[str]] = {"b": Counter(), "d": Counter(), "server": Counter()}
    for way in WAYS:
        for family in (0, 1):
            for port in (*LISTENING, CLOSED):
                key = Flow(*ends(stage, way, family, port), port, *decision(way, port))
                expected[key] = figures(way, port)
                arrived[way.server][f"tcp/{port}"] += expected[key].answered
    for name, counted in arrived.items():
        for figure in (0, 1):
            assert Counter(after[name][figure]) - Counter(before[name][figure]) == +counted
    assert told(recording) == expected


def test_refusals_that_the_kernel_gives_by_itself_are_counted(
    stage: Stage, recording: Recording
) -> None:
    """Thousands, with a change of generation among them."""
    recording.ask("settings", {"refuse_with": "reset"})
    ways = [(way, family) for way in WAYS for family in (0, 1)]
    clients = {way.client for way in WAYS}
    for name in clients:
        targets = [(stage.address(way, f), PREVENTED) for way, f in ways if way.client == name]
        stage.peers[name].tell("connect", targets, 500, {})
    recording.ask("switch")
    for name in clients:
        for tries in stage.peers[name].answer():
            assert {outcome for outcome, _ in tries} == {"refused"}
    before = recording.ask("state")["asked"]
    known = [(way, family) for way, family in ways if way.client != "program"]
    for way, family in known:
        refused = stage.peers[way.client].connect(
            (stage.address(way, family), PREVENTED), count=100
        )
        assert refused == [["refused"] * 100]
    # Where a cgroup or an address tells who connects, the loops are not asked again.
    assert recording.ask("state")["asked"] - before <= len(known)
    assert told(recording, PREVENTED) == {
        Flow(*ends(stage, way, family, PREVENTED), PREVENTED, "prevent", "rule:never"): Told(
            600 if (way, family) in known else 500, 0, 0
        )
        for way, family in ways
    }


def test_a_promiscuous_bridge_loses_nothing(stage: Stage, recording: Recording) -> None:
    recording.ask("settings", {"refuse_with": "reset"})
    stage.host.run("ip", "link", "set", "br0", "promisc", "on")
    try:
        for family in (0, 1):
            d = Network.ADDRESSES["d"][family]
            ports = (ALLOWED, ALERTED, PREVENTED)
            outcomes = stage.peers["c"].connect(*((d, port) for port in ports), count=COUNT)
            wanted = ["answered", "answered", "refused"]
            assert outcomes == [[one] * COUNT for one in wanted]
    finally:
        stage.host.run("ip", "link", "set", "br0", "promisc", "off")
