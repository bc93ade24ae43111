"""Beside another firewall: its rules are its own, what it closes stays "closed", we survive it."""

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kernel.guarded import Guarded, counted, guarded, rules, running
from tests.lab import firewalls, netns
from tests.lab.firewalls import Firewalld, Ufw
from tests.lab.product import eventually

pytestmark = pytest.mark.kernel

#: Opened and allowed; opened and prevented by our policy; allowed by it and never opened.
ALLOWED, BARRED, CLOSED = 7400, 7500, 7450


@pytest.fixture(params=[Firewalld, Ufw])
def beside(
    request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[tuple[Guarded, firewalls.Firewall]]:
    """A host with another firewall at work."""
    missing = firewalls.missing(request.param) if netns.can_make() else "needs root"
    if missing:
        pytest.skip(missing)
    with guarded(tmp_path) as host:
        firewall: firewalls.Firewall = request.param(host.here, tmp_path)
        try:
            firewall.start()
            firewall.open(ALLOWED, BARRED)
            # ufw has other rules after its first reload than before, all by itself.
            firewall.reload()
            yield host, firewall
        finally:
            firewall.stop()


def outcomes(host: Guarded, *ports: int) -> list[str]:
    """How connections to these ports go, all at once: `ok`, `refused` or `closed`.

    firewalld tells that a port is "closed", but not every time: ICMP has a limited rate.
    """
    stream = host.stream(" ".join(map(str, ports)), "--timeout", "0.6", "--pause", "0.1")
    time.sleep(1.2)
    stream.end()
    went = [stream.outcomes(ports=range(port, port + 1)) for port in ports]
    closed = ({"timeout"}, {"refused", "timeout"})
    return [
        "closed" if one in closed or (port == CLOSED and one == {"refused"}) else "/".join(one)
        for port, one in zip(ports, went, strict=True)
    ]


def ours(host: Guarded) -> list[str]:
    """Our rules, whatever the generation."""
    listed = re.sub(r"_[01]\b|0x[0-9a-f]{8}", "", rules(host.here))
    return [line.strip() for line in listed.splitlines() if "goto" in line or "target" in line]


def test_two_firewalls(beside: tuple[Guarded, firewalls.Firewall]) -> None:
    """Started, reloaded and stopped beside one another, both hold what they promise."""
    host, firewall = beside
    before = firewall.rules()
    assert len(before) > 20
    assert outcomes(host, ALLOWED, BARRED) == ["ok", "ok"]
    assert outcomes(host, CLOSED) == ["closed"]
    with running(host) as product:
        placed = ours(host)
        assert firewall.rules() == before
        # Its very first SYN waits until the Console has said who the neighbour is.
        eventually(lambda: outcomes(host, BARRED) == ["refused"], 8.0, "a known neighbour")
        assert outcomes(host, ALLOWED, BARRED, CLOSED) == ["ok", "refused", "closed"]
        firewall.reload()
        eventually(lambda: firewall.rules() == before, 5.0, "its rules after the reload")
        assert ours(host) == placed
        firewall.open(CLOSED + 1)
        went = outcomes(host, ALLOWED, BARRED, CLOSED, CLOSED + 1)
        assert went == ["ok", "refused", "closed", "ok"]
        shown = {ALLOWED, BARRED, CLOSED + 1}
        eventually(lambda: shown <= counted(product).keys(), 10.0, "the edges")
        # What it drops is no connection that anybody has to look at.
        assert counted(product).keys() == shown
        before = firewall.rules()
    assert firewall.rules() == before
    assert outcomes(host, BARRED, CLOSED) == ["ok", "closed"]
