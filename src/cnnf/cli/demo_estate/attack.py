"""What a firewall should notice, done by containers of the running estate, bounded and told."""

import time
from collections.abc import Callable

import msgspec

from cnnf.cli.demo_estate.definition import (
    BACK,
    STRANGER_ADDRESS,
    STRANGER_PORT,
    app,
)
from cnnf.cli.demo_estate.engine import Engine
from cnnf.cli.failure import Failure

#: Ports the scan tries, and seconds one step of the attack may take.
SCAN_PORTS = 64
SCAN_FIRST_PORT = 8040
_STEP_S = 30
_REPEATS = 3


class Act(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was done; names as on Radar."""

    kind: str
    source: str
    container: str
    destination: str
    ports: str
    connections: int


def attack(engine: Engine, progress: Callable[[str], None]) -> list[Act]:
    """Scan, trespass and call a stranger; the list of what was done. Raises Failure."""
    acts = [_scan(), _trespass(), _stranger()]
    for act in acts:
        progress(f"{act.kind}: {act.source} -> {act.destination} port {act.ports}")
        if act.kind == "trespass":
            _with_network(engine, act.container, _script(act))
        else:
            _execute(engine, act.container, _script(act))
    return acts


def _scan() -> Act:
    last = SCAN_FIRST_PORT + SCAN_PORTS - 1
    return Act(
        kind="scan",
        source=app("cart").repository,
        container=app("cart").containers()[0],
        destination=app("orders").repository,
        ports=f"{SCAN_FIRST_PORT}-{last}",
        connections=SCAN_PORTS,
    )


def _trespass() -> Act:
    """The frontend talks to the database, with which it shares no network."""
    return Act(
        kind="trespass",
        source=app("frontend").repository,
        container=app("frontend").containers()[0],
        destination=app("database").repository,
        ports=str(app("database").port),
        connections=_REPEATS,
    )


def _stranger() -> Act:
    return Act(
        kind="stranger",
        source=app("cart").repository,
        container=app("cart").containers()[0],
        destination=STRANGER_ADDRESS,
        ports=str(STRANGER_PORT),
        connections=_REPEATS,
    )


def _script(act: Act) -> str:
    if act.kind == "scan":
        first, _, last = act.ports.partition("-")
        target = app(act.destination).name
        return (
            f"for port in $(seq {first} {last}); do "
            f"nc -w 1 {target} $port </dev/null >/dev/null 2>&1; done"
        )
    target = STRANGER_ADDRESS if act.kind == "stranger" else app(act.destination).name
    once = f"nc -w 2 {target} {act.ports} </dev/null >/dev/null 2>&1"
    return f"for turn in $(seq {act.connections}); do {once}; sleep 0.2; done"


def _with_network(engine: Engine, container: str, script: str) -> None:
    """Run a script in a container that is in the back network for just that long."""
    engine.post(f"/networks/{BACK}/connect", {"Container": container})
    try:
        _execute(engine, container, script)
    finally:
        engine.post(f"/networks/{BACK}/disconnect", {"Container": container, "Force": True})


def _execute(engine: Engine, container: str, script: str) -> None:
    command = ["/bin/timeout", str(_STEP_S), "/bin/sh", "-c", script]
    made = engine.post(f"/containers/{container}/exec", {"Cmd": command})["Id"]
    engine.post(f"/exec/{made}/start", {"Detach": True})
    deadline = time.monotonic() + _STEP_S + 5
    while time.monotonic() < deadline:
        answer = engine.get(f"/exec/{made}/json")
        if answer is None or not answer["Running"]:
            return
        time.sleep(0.1)
    raise Failure(f"the attack in {container} did not end within {_STEP_S} s")
