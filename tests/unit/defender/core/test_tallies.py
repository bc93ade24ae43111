"""Counters to what is new: every key decoded or refused, every packet told once and never twice."""

import struct
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnnf.defender.core.ruleset import FlowSet, count_sets
from cnnf.defender.core.tallies import FlowKey, Meter, Tally, decode_flow
from cnnf.defender.netlink.errors import NetlinkError, Unexpected
from cnnf.defender.netlink.nftset import Element
from tests.unit.defender.core.plans import plan

A4, B4 = ip_address("10.78.1.2").packed, ip_address("10.78.2.3").packed
A6, B6 = ip_address("fd00:78::2").packed, ip_address("fd00:78::3").packed
TCP = bytes([6, 0, 0, 0])
PORT = struct.pack(">HH", 443, 0)
CGROUP = struct.pack("=Q", 2**40 + 7)

SETS = count_sets(plan(), 0, asked=True)
BY_NAME = {(one.role, one.family, one.level): one for one in SETS}


@pytest.mark.parametrize(("family", "source", "destination"), [(4, A4, B4), (6, A6, B6)])
def test_a_key_of_addresses(family: int, source: bytes, destination: bytes) -> None:
    one = BY_NAME["passed", family, 0]  # type: ignore[index]
    found = decode_flow(one, source + TCP + PORT + destination)
    assert found == FlowKey(source, 0, destination, 443, 6)


@pytest.mark.parametrize("level", [1, 4, 6])
@pytest.mark.parametrize(("family", "destination"), [(4, B4), (6, B6)])
def test_a_key_of_a_cgroup(level: int, family: int, destination: bytes) -> None:
    one = BY_NAME["passed", family, level]  # type: ignore[index]
    found = decode_flow(one, CGROUP + destination + bytes([17, 0, 0, 0]) + PORT)
    assert found == FlowKey(b"", 2**40 + 7, destination, 443, 17)


@pytest.mark.parametrize("one", SETS, ids=lambda one: one.name)
def test_every_set_takes_keys_of_one_length_only(one: FlowSet) -> None:
    lengths = []
    for length in range(64):
        try:
            decode_flow(one, bytes(length))
        except Unexpected:
            continue
        lengths.append(length)
    address = 4 if one.family == 4 else 16
    assert lengths == [8 + 8 + address if one.level else 8 + 2 * address]


@given(st.sampled_from(SETS), st.binary(max_size=48))
def test_any_key_gives_a_flow_or_an_error(one: FlowSet, key: bytes) -> None:
    try:
        found = decode_flow(one, key)
    except NetlinkError:
        return
    assert len(found.destination) in (4, 16)
    assert len(found.source) == (0 if one.level else len(found.destination))
    assert 0 <= found.port <= 65_535
    assert 0 <= found.protocol <= 255


#: What may happen to a flow: a figure of a tally each.
FIGURES = ("passed", "refused", "asked", "answered", "reset")
#: The first of these is told by being there, the others by a counter.
FIRSTS = {"asked": "asked_first", "answered": "answered_first"}
FLOWS = [bytes([10, 0, 0, host]) + TCP + PORT + B4 for host in (1, 2)]
happenings = st.tuples(st.sampled_from(FIGURES), st.sampled_from(FLOWS))


class Table:
    """The sets of one generation, as the kernel has them."""

    def __init__(self, generation: int) -> None:
        self.sets = [one for one in count_sets(plan(), generation, asked=True) if one.family == 4]
        self.counters: dict[tuple[str, bytes], int] = {}

    def happen(self, what: str, key: bytes) -> None:
        """A packet comes by."""
        first = FIRSTS.get(what)
        if first is not None and (first, key) not in self.counters:
            self.counters[first, key] = 0
        else:
            self.counters[what, key] = self.counters.get((what, key), 0) + 1

    def read(self, one: FlowSet) -> list[tuple[FlowSet, Element]]:
        """One set's elements, as they are at this moment."""
        if one.level:
            return []
        return [
            (one, Element(key, packets))
            for (role, key), packets in self.counters.items()
            if role == one.role
        ]


def add(sums: dict[tuple[str, bytes], int], tallies: list[Tally]) -> None:
    """Add up what was told, which is never less than nothing."""
    for tally in tallies:
        assert min(tally[1:]) >= 0
        assert max(tally[1:]) > 0
        for figure in FIGURES:
            key = figure, tally.flow.source
            sums[key] = sums.get(key, 0) + getattr(tally, figure)


@given(
    st.integers(0, 3),
    st.lists(st.lists(st.lists(happenings, max_size=3), min_size=7, max_size=7), max_size=6),
    st.lists(happenings, max_size=4),
)
def test_what_was_told_adds_up_however_reads_and_packets_meet(
    generation: int, reads: list[list[list[tuple[str, bytes]]]], last: list[tuple[str, bytes]]
) -> None:
    meter, table = Meter(), Table(generation)
    happened: dict[tuple[str, bytes], int] = {}
    sums: dict[tuple[str, bytes], int] = {}

    def happen(some: list[tuple[str, bytes]]) -> None:
        for what, key in some:
            table.happen(what, key)
            happened[what, key[:4]] = happened.get((what, key[:4]), 0) + 1

    for between in reads:
        # Packets between the reads of two sets.
        readings: list[tuple[FlowSet, Element]] = []
        by_address = [one for one in table.sets if not one.level]
        for one, some in zip(by_address, between, strict=True):
            readings += table.read(one)
            happen(some)
        add(sums, meter.measure(generation, readings))
        # Nothing is told before it has happened.
        assert all(number <= happened.get(key, 0) for key, number in sums.items())
    happen(last)
    add(sums, meter.measure(generation, [pair for one in table.sets for pair in table.read(one)]))
    assert {key: number for key, number in sums.items() if number} == happened
    # Nothing new, nothing told.
    assert meter.measure(generation, [pair for one in table.sets for pair in table.read(one)]) == []


def test_two_generations_are_counted_side_by_side_and_forgotten_alone() -> None:
    meter = Meter()
    tables = {generation: Table(generation) for generation in (4, 5)}
    for table in tables.values():
        table.happen("passed", FLOWS[0])

    def measured(generation: int) -> list[int]:
        table = tables[generation]
        readings = [pair for one in table.sets for pair in table.read(one)]
        return [tally.passed for tally in meter.measure(generation, readings)]

    assert (measured(4), measured(5)) == ([1], [1])
    meter.forget(4)
    # Its sets were emptied: the same figure is a new packet; the other generation's is not.
    assert (measured(6 - 2), measured(5)) == ([1], [])


def test_a_key_of_another_form_tells_nothing_at_all() -> None:
    meter, one = Meter(), BY_NAME["passed", 4, 0]
    good = one, Element(FLOWS[0], 3)
    with pytest.raises(Unexpected, match="a key of 5 bytes"):
        meter.measure(0, [good, (one, Element(bytes(5), 1))])
    # So it is told the next time.
    assert [tally.passed for tally in meter.measure(0, [good])] == [3]
