"""What the kernel counted by itself, on its way to the flows: however much, none of it is lost."""

import asyncio
from collections.abc import Iterator
from ipaddress import ip_network

import pytest

from cnnf.defender.core.addressbook import AddressBook
from cnnf.defender.core.attribution import Sighting
from cnnf.defender.core.limits import PENDING_FLOWS_MAX
from cnnf.defender.core.tallies import FlowKey, Tally
from cnnf.defender.discovery.services import Cgroups, Processes, cgroup2_mount
from cnnf.defender.judging import Judging
from cnnf.defender.local_services import LocalServices
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
    asyncio.run(observer.take_tallies(tallies, 0, 1, 2, final=True))
    return met


def _flow(number: int) -> FlowKey:
    return FlowKey(bytes([198, *number.to_bytes(3, "big")]), 0, _SERVER, 80, _TCP)


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
