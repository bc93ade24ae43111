"""Flows that wait for the next batch: merged, bounded, in the order they were first seen."""

from collections.abc import Callable

import msgspec

from cnnf.defender.core.attribution import Ends, Sighting
from cnnf.defender.core.limits import PENDING_FLOWS_MAX
from cnnf.protocol.messages import Effect, Endpoint, Flow, Process, Protocol

#: Source and destination, each as its instance or else its address, the port, the protocol, and
#: what was decided.
_Key = tuple[str, str, int, Protocol, Effect | None, str]
#: The figures of a flow that add up.
_FIGURES = ("connections", "answered", "refused", "found", "cut")


class _Entry:
    __slots__ = ("destination", "figures", "first", "last", "process", "source")

    def __init__(self, ends: Ends, first: int) -> None:
        self.source, self.destination = ends.source, ends.destination
        self.process: Process | None = ends.process
        self.figures = [0] * len(_FIGURES)
        self.first, self.last = first, 0


class FlowTable:
    """What was seen and not yet handed over. `lost` counts connections beyond the bound."""

    def __init__(self) -> None:
        self._entries: dict[_Key, _Entry] = {}
        self.lost = 0
        #: What a flow's destination is called by its source; set by who knows.
        self.called: Callable[[Endpoint, Endpoint], tuple[str, ...]] = _nothing

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, ends: Ends, sighting: Sighting) -> None:
        """Merge a sighting whose ends are named."""
        key = (
            _name(ends.source), _name(ends.destination), ends.port,
            sighting.protocol, sighting.effect, sighting.cause,
        )  # fmt: skip
        entry = self._entries.get(key)
        if entry is None:
            if len(self._entries) >= PENDING_FLOWS_MAX:
                self.lost += sighting.connections
                return
            entry = self._entries[key] = _Entry(ends, sighting.first_seen)
        for at, figure in enumerate(_FIGURES):
            entry.figures[at] += getattr(sighting, figure)
        entry.first = min(entry.first, sighting.first_seen)
        entry.last = max(entry.last, sighting.last_seen)
        entry.process = ends.process or entry.process
        # A later sighting may know the address that a count by cgroup did not.
        if not entry.source.address and ends.source.address:
            entry.source = ends.source

    def take(self, most: int) -> list[Flow]:
        """Remove and return at most `most` flows, oldest first."""
        keys = list(self._entries)[:most]
        return [self._flow(key, self._entries.pop(key)) for key in keys]

    def _flow(self, key: _Key, entry: _Entry) -> Flow:
        # As late as can be: who connects has just been told the name himself.
        names = self.called(entry.source, entry.destination)
        destination = entry.destination
        if names:
            destination = msgspec.structs.replace(destination, names=names)
        return Flow(
            source=entry.source,
            destination=destination,
            port=key[2],
            protocol=key[3],
            effect=key[4],
            cause=key[5],
            **dict(zip(_FIGURES, entry.figures, strict=True)),
            first_seen=entry.first,
            last_seen=max(entry.first, entry.last),
            process=entry.process,
        )


def _nothing(_: Endpoint, __: Endpoint) -> tuple[str, ...]:
    return ()


def _name(endpoint: Endpoint) -> str:
    return endpoint.instance or endpoint.address
