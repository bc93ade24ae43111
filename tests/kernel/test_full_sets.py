"""The kernel's sets of remembered flows are full: everything is still judged, and counted."""

import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from cnnf.defender.core.limits import SET_ELEMENTS_MAX
from tests.kernel.guarded import COUNTED_S, Guarded, counts, guarded, running, tells
from tests.lab import netns
from tests.lab.netns import Namespace
from tests.lab.product import Product, eventually

pytestmark = pytest.mark.kernel

ALLOWED, BARRED = range(7400, 7404), range(7500, 7504)
#: Connections of each kind that are looked at, and how long they may take.
ENOUGH, STREAM_S = 20, 30.0


@pytest.fixture
def standing(tmp_path: Path) -> Iterator[tuple[Guarded, Product]]:
    """cnnf on a host."""
    if not netns.can_make():
        pytest.skip("needs root, iproute2 and util-linux")
    with guarded(tmp_path) as host, running(host) as product:
        yield host, product


def fill(here: Namespace, place: Path, name: str) -> None:
    """Put made-up flows into a set until not one more fits; there may be some in it already."""
    number, size = 0, SET_ELEMENTS_MAX // 2
    path = place / f"{name}.nft"
    while size:
        flows = ",".join(
            f"10.{n >> 16}.{n >> 8 & 255}.{n & 255} . tcp . 9 . 203.0.113.1"
            for n in range(number, number + size)
        )
        path.write_text(f"add element inet cnnf {name} {{ {flows} }}\n")
        # All or nothing: ENFILE when they don't all fit.
        if here.run("sh", "-c", f"nft -f {path} 2>/dev/null && echo fits", check=False):
            number += size
        else:
            size //= 2
    assert number > SET_ELEMENTS_MAX // 2


def empty(here: Namespace, place: Path, name: str) -> None:
    """Take the made-up flows out again, so that nobody has to read them."""
    listed = here.run("nft", "list", "set", "inet", "cnnf", name)
    flows = re.findall(r"(10\.\d+\.\d+\.\d+ \. tcp \. 9 \. 203\.0\.113\.1) ", listed)
    path = place / f"{name}.nft"
    path.write_text(f"delete element inet cnnf {name} {{ {','.join(flows)} }}\n")
    here.run("nft", "-f", str(path))


def test_full_sets(standing: tuple[Guarded, Product]) -> None:
    """Each connection is asked about again; what is prevented stays so, and it is told."""
    host, product = standing
    (daemon,) = product.members("defender run")
    # Stopped, it neither begins a generation nor reads 131,072 made-up flows for a minute.
    os.kill(daemon, signal.SIGSTOP)
    try:
        keeping = host.here.run("nft", "list", "chain", "inet", "cnnf", "keep_pass")
        (parity,) = set(re.findall(r"@pass4_(\d)", keeping))
        names = [f"pass4_{parity}", f"refuse4_{parity}"]
        for name in names:
            fill(host.here, host.place, name)
        stream = host.stream("7400-7403 7500-7503")
        eventually(
            lambda: all(len(stream.since(0, ports)) > ENOUGH for ports in (ALLOWED, BARRED)),
            STREAM_S,
            "connections while the sets are full",
        )
        stream.end()
        for name in names:
            empty(host.here, host.place, name)
    finally:
        os.kill(daemon, signal.SIGCONT)
    assert stream.outcomes(ports=ALLOWED) == {"ok"}
    assert stream.outcomes(ports=BARRED) == {"refused"}
    tells(product, "set-full", "could not be remembered", within_s=COUNTED_S)
    for ports in (ALLOWED, BARRED):
        counts(product, ports, len(stream.since(0, ports)))
