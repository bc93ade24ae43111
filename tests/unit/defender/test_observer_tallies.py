"""What the kernel counted by itself, on its way to the flows: however much, none of it is lost."""

import asyncio
from collections.abc import Iterator
from ipaddress import ip_network

import pytest

from cnnf.defender import observer as observer_module
from cnnf.defender.core.addressbook import AddressBook
from cnnf.defender.core.attribution import Sighting
from cnnf.defender.core.limits import PENDING_FLOWS_MAX
from cnnf.defender.core.observations import Report, Seen
from cnnf.defender.core.tallies import FlowKey, Tally
from cnnf.defender.discovery.services import Cgroups, Processes, cgroup2_mount
from cnnf.defender.judging import Judging
from cnnf.defender.local_services import LocalServices
from cnnf.defender.netlink.nfqueue import FORWARD
from cnnf.defender.observer import Observer

_TCP = 6
_SERVER = bytes([192, 0, 2, 1])


@pytest.fixture
def observer() -> Iterator[Observer]:
    book = AddressBook((ip_network("10.77.0.0/16"),))
    cgroups = Cgroups(cgroup2_mount())
    services = LocalServices(cgroups, Processes(cgroups))
    judging = Judging(book, services, "host")
    made = Observer(book, services, judging, lambda: None, lambda _: None, lambda _, __: None)
    yield made
    made.close()
    services.close()


def _taken(observer: Observer, tallies: list[Tally]) -> list[Sighting]:
    met: list[Sighting] = []
    observer.met = met.append

    async def take() -> None:
        await observer.take_tallies(tallies, 0, 1, 2, final=True)
        await observer.attribute_all(patient=False)

    asyncio.run(take())
    return met


def _flow(number: int) -> FlowKey:
    return FlowKey(bytes([198, *number.to_bytes(3, "big")]), 0, _SERVER, 80, _TCP)


def _report(number: int, count: int) -> Report:
    flow = _flow(number)
    seen = Seen(
        hook=FORWARD, source=flow.source, destination=flow.destination, port=flow.port,
        protocol=flow.protocol, cgroup=0, inode=0, effect=0, rule=-1, uid=-1, source_port=40_000,
        count=count, first_seen=1, last_seen=2,
    )  # fmt: skip
    return Report(
        generation=0,
        version=0,
        flows=[seen],
        packets=count,
        undecodable=0,
        unaccounted=0,
        dropped=0,
    )


def test_more_than_can_wait_is_all_taken(observer: Observer) -> None:
    flows = PENDING_FLOWS_MAX + 10_000
    tallies = [
        Tally(_flow(at), passed=2, refused=0, answered=2, reset=0, asked=0) for at in range(flows)
    ]

    met = _taken(observer, tallies)

    assert observer.lost == 0
    assert sum(one.connections for one in met) == 2 * flows
    assert sum(one.answered for one in met) == 2 * flows


def test_what_went_out_and_what_came_back_are_told_together(observer: Observer) -> None:
    tally = Tally(_flow(1), passed=5, refused=2, answered=4, reset=1, asked=0)

    met = _taken(observer, [tally])

    assert [(one.connections, one.answered, one.refused) for one in met] == [(5, 4, 1), (2, 0, 0)]


def test_reports_beyond_what_can_wait_are_told_by_what_the_kernel_asked(
    observer: Observer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(observer_module, "PENDING_FLOWS_MAX", 3)
    met: list[Sighting] = []
    observer.met = met.append
    for at in range(5):
        observer.take_report(_report(at, count=at + 1))
    assert [one.connections for one in met] == [1, 2, 3]
    assert observer.misses
    tallies = [
        Tally(_flow(at), passed=0, refused=0, answered=0, reset=0, asked=at + 1) for at in range(5)
    ]

    async def take() -> None:
        await observer.take_tallies(tallies, 0, 1, 2, final=False)
        await observer.attribute_all(patient=False)

    asyncio.run(take())
    assert observer.lost == 0
    assert {one.source: one.connections for one in met} == {
        _flow(at).source: at + 1 for at in range(5)
    }
    assert not observer.misses
