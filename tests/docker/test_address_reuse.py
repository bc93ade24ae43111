"""An address that is used again at once is neither credited nor judged as its former owner's."""

import time
from collections import Counter
from pathlib import Path
from typing import Literal

import pytest

from tests.docker.storm import BARRED, HERE, HUB, MATE, Caller, Names, Storm, storm
from tests.lab.engine import Engine
from tests.lab.product import Graph, Product, eventually

#: Two hundred containers take two minutes, and longer beside other work.
pytestmark = [pytest.mark.docker, pytest.mark.timeout(900)]

CONTAINERS, ADDRESSES = 200, 20
#: Of the storm's connections these have to carry a name; the rest may stay addresses.
NAMED = 0.8
POLICY = f"""
apiVersion: cnnf/v1
networkObjects:
  - {{name: barred, type: image, values: ["{BARRED}"]}}
rules:
  containers:
    - {{name: keep-off, source: [barred], ports: [{MATE}], effect: prevent}}
"""


def by_name(graph: Graph, port: int, side: Literal[0, 1], figure: str) -> Counter[str]:
    """Of the connections to a port, how many the map gives to each source (0) or target (1)."""
    found: Counter[str] = Counter()
    for key, one in graph.edges.items():
        if key[2] == port:
            found[key[side]] += one[figure]
    return found


def test_nobody_is_taken_for_whom_had_the_address_before(box: Engine, tmp_path: Path) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text(POLICY)
    product = Product(
        *(box.namespace, tmp_path / "data"),
        *("--docker-socket", str(box.socket), "--policy", str(policy)),
    )
    with storm(box, CONTAINERS, ADDRESSES) as made:
        hub = Names(box.namespace)
        product.start()
        try:
            caller = Caller(box.namespace, made.addresses)
            try:
                made.run()
            finally:
                caller.close()
            settle(product)
            check(product.radar("containers"), made, hub, caller)
        finally:
            hub.close()
            product.stop()


def settle(product: Product) -> None:
    """Wait until nothing new comes: what waits for a name does so for a second and a half, and
    counts come every two."""
    before, since = -1, time.monotonic()

    def settled() -> bool:
        nonlocal before, since
        edges = product.radar("containers").edges.values()
        now = sum(one["connections"] + one["answered"] for one in edges)
        if now != before:
            before, since = now, time.monotonic()
        return time.monotonic() - since > 6

    eventually(settled, 60.0, "the map to settle")


def check(graph: Graph, made: Storm, hub: Names, caller: Caller) -> None:
    """Compare the map with who really was there."""
    told_mate, failures = made.told_mate(), made.failures()
    late = Counter({name: made.may_have_answered(name, caller) for name in made.names})
    kinds = (
        ("to the hub", by_name(graph, HUB, 0, "connections"), hub.heard, Counter[str]()),
        ("to the mate", by_name(graph, MATE, 0, "connections"), told_mate, Counter[str]()),
        ("to the storm", by_name(graph, HERE, 1, "answered"), caller.answered, late),
    )
    print(f"gaps between two owners, ms: {sorted(made.gaps())}")
    wrong = []
    for what, seen, truth, more in kinds:
        shown = sum(count for name, count in seen.items() if name.startswith("storm/"))
        print(f"{what}: {sum(truth.values())} really, {shown} named on the map")
        for name in made.names:
            # The last connection may be cut off before a name was said.
            most = truth[name] + 1 + more[name]
            if not made.is_barred(name) and seen[made.image(name)] > most:
                on_map = seen[made.image(name)]
                wrong.append(f"{name} {what}: {on_map} on the map, {truth[name]} really")
    assert not wrong
    # Everybody but the barred got through, and none of those did.
    barred = {name for name in made.names if made.is_barred(name)}
    assert not {name for name in told_mate if name in barred}
    assert {name for name, what in failures if what == "mate"} <= barred
    assert not {name for name, what in failures if what == "hub"}
    prevented = {
        key[0] for key, one in graph.edges.items() if key[2] == MATE and one["verdict"] == "prevent"
    }
    # What is counted while an address changes hands may be nobody's, and is never another's.
    assert {name for name in prevented if not name.startswith("10.")} == {BARRED}
    for what, seen, truth, _ in kinds[:2]:
        named = sum(count for name, count in seen.items() if name.startswith("storm/n"))
        everybody = sum(count for name, count in truth.items() if name and name not in barred)
        assert named >= NAMED * everybody, what
