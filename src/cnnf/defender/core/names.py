"""Which names addresses have, as each asker was told: passive DNS.

An **asker** is who sent the query: a container network's address, packed, or `HOST` for this host,
whose programs share their resolver. What one asker was told is nobody else's: who asks a server of
his own names addresses for himself alone. Pure; times are milliseconds since the epoch.
"""

from collections import OrderedDict
from collections.abc import Iterable, KeysView
from itertools import islice
from typing import NamedTuple

from cnnf.defender.core.limits import (
    NAME_LINGER_MS,
    NAME_TTL_MAX_MS,
    NAME_TTL_MIN_MS,
    NAMED_ADDRESSES_MAX,
    NAMED_BY_ASKER_MAX,
    NAMES_OF_ADDRESS_MAX,
)

HOST = b""


class Learned(NamedTuple):
    """What an asker was told of a name, and by which server: packed addresses, those of the name
    each with its seconds to live."""

    asker: bytes
    name: str
    addresses: tuple[tuple[bytes, int], ...]
    server: bytes = b""


class Changed(NamedTuple):
    """The names of an address are others now, for this asker."""

    asker: bytes
    address: bytes


#: Until when each name holds, the newest last.
_Named = dict[str, int]
#: What an asker knows, by address; the ones learned last stand last.
_View = OrderedDict[bytes, _Named]


class Names:
    """Names by asker and address, as many as its bounds allow: the oldest go first."""

    def __init__(self, ttl_min_ms: int = NAME_TTL_MIN_MS) -> None:
        self._ttl_min_ms = ttl_min_ms
        self._views: dict[bytes, _View] = {}
        self._count = 0
        #: Addresses whose names were given up for want of room.
        self.forgotten = 0

    def __len__(self) -> int:
        return self._count

    @property
    def askers(self) -> KeysView[bytes]:
        """Everybody who has been told something."""
        return self._views.keys()

    def learn(self, learned: Learned, now_ms: int) -> list[Changed]:
        """Take an answer. Tells where names have come or gone, for what judges by them."""
        asker, name, addresses, _ = learned
        changed = []
        view = self._views.setdefault(asker, OrderedDict()) if addresses else _View()
        for address, seconds in addresses:
            named = view.pop(address, None)
            if named is None:
                changed += self._make_room(asker)
                # Making room may have emptied this one.
                view = self._views.setdefault(asker, view)
                named = {}
                self._count += 1
            before = named.pop(name, 0)
            kept = min(max(seconds * 1000, self._ttl_min_ms), NAME_TTL_MAX_MS)
            if before <= now_ms:
                changed.append(Changed(asker, address))
            named[name] = max(before, now_ms + kept)
            while len(named) > NAMES_OF_ADDRESS_MAX:
                del named[next(iter(named))]
            view[address] = named
        return changed

    def matching(self, asker: bytes, address: bytes, now_ms: int) -> tuple[str, ...]:
        """The names that hold now, newest first: what `dns` objects are compared with."""
        named = self._named(asker, address)
        return tuple(name for name, until in reversed(named.items()) if until > now_ms)

    def label(self, asker: bytes, address: bytes, now_ms: int) -> tuple[str, ...]:
        """Names for a person: those that hold, or what it was last called, for a while."""
        named = self._named(asker, address)
        if not named:
            return ()
        holding = self.matching(asker, address, now_ms)
        if holding:
            return holding
        name, until = max(named.items(), key=lambda one: one[1])
        return (name,) if until + NAME_LINGER_MS > now_ms else ()

    def entries(self, now_ms: int) -> Iterable[tuple[bytes, bytes, tuple[str, ...]]]:
        """Asker, address and the names that hold, of all that have one."""
        for asker, view in self._views.items():
            for address in view:
                names = self.matching(asker, address, now_ms)
                if names:
                    yield asker, address, names

    def expire(self, since_ms: int, now_ms: int) -> list[Changed]:
        """Forget what is too old for any use; where a name has ceased to hold since then."""
        old_ms = now_ms - NAME_LINGER_MS
        # Mostly there is nothing to do: looked at as cheaply as can be, 10 ms for all there may be.
        due = [
            Changed(asker, address)
            for asker, view in self._views.items()
            for address, named in view.items()
            for until in named.values()
            if until <= now_ms and (until > since_ms or until <= old_ms)
        ]
        changed = []
        for one in dict.fromkeys(due):
            named = self._views[one.asker][one.address]
            if any(since_ms < until <= now_ms for until in named.values()):
                changed.append(one)
            for name in [name for name, until in named.items() if until <= old_ms]:
                del named[name]
            if not named:
                self._drop(*one)
        return changed

    def forget(self, asker: bytes) -> list[Changed]:
        """The asker's address is somebody else's now, who was told nothing yet."""
        view = self._views.pop(asker, _View())
        self._count -= len(view)
        return [Changed(asker, address) for address in view]

    def _named(self, asker: bytes, address: bytes) -> _Named:
        view = self._views.get(asker)
        return view.get(address, {}) if view else {}

    def _make_room(self, asker: bytes) -> list[Changed]:
        """Room for one address: the asker's own oldest goes, or some of those who have most."""
        if len(self._views[asker]) >= NAMED_BY_ASKER_MAX:
            return self._give_up(asker, 1)
        changed: list[Changed] = []
        if self._count >= NAMED_ADDRESSES_MAX:
            # Some at a time, so that looking for who has most costs little each.
            for fullest in sorted(self._views, key=lambda one: -len(self._views[one])):
                changed += self._give_up(fullest, -(-len(self._views[fullest]) // 2))
                if len(changed) >= NAMED_ADDRESSES_MAX // 32:
                    break
        return changed

    def _give_up(self, asker: bytes, count: int) -> list[Changed]:
        oldest = [Changed(asker, address) for address in islice(self._views[asker], count)]
        for one in oldest:
            self._drop(*one)
        self.forgotten += len(oldest)
        return oldest

    def _drop(self, asker: bytes, address: bytes) -> None:
        view = self._views[asker]
        del view[address]
        self._count -= 1
        if not view:
            del self._views[asker]
