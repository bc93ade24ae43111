"""What rules by name go by: names that configured resolvers told, and which rules select by them.

Kept apart from the names that are shown, which anybody may tell: what counts here lets somebody in.
A container that has several addresses may ask over one of them and connect over another, so what
one of them was told counts for all. Pure.
"""

from collections.abc import Iterable, Iterator, Mapping

from cnnf.defender.core.limits import NAME_TTL_MIN_MS
from cnnf.defender.core.memberships import Membership, Memberships
from cnnf.defender.core.names import Changed, Learned, Names
from cnnf.policy.compiled import Compiled, compile_policy
from cnnf.policy.rules import Policy

#: The other addresses of whoever has an address.
Kin = Mapping[bytes, tuple[bytes, ...]]


class NameRules:
    """Names and what they mean to the policy in force. Each change tells what is different."""

    def __init__(self, ttl_min_ms: int = NAME_TTL_MIN_MS) -> None:
        self._names = Names(ttl_min_ms)
        self._memberships = Memberships(compile_policy(Policy()))
        self._kin: Kin = {}

    @property
    def matter(self) -> bool:
        """Does a rule in force go by names?"""
        return self._memberships.matter

    def __iter__(self) -> Iterator[Membership]:
        return iter(self._memberships)

    def use(self, compiled: Compiled, now_ms: int) -> None:
        """Another policy: all of it is to be told anew."""
        self._memberships.use(compiled, self, now_ms)

    def learn(self, learned: Learned, now_ms: int) -> list[Membership]:
        """A configured resolver's answer."""
        return self._update(self._names.learn(learned, now_ms), now_ms)

    def expire(self, since_ms: int, now_ms: int) -> list[Membership]:
        """Names that have ceased to hold since then."""
        return self._update(self._names.expire(since_ms, now_ms), now_ms)

    def forget(self, asker: bytes, now_ms: int) -> list[Membership]:
        """The asker's address is somebody else's now."""
        return self._update(self._names.forget(asker), now_ms)

    def related(self, kin: Kin, now_ms: int) -> list[Membership]:
        """Other addresses belong to the same ones now."""
        before, self._kin = self._kin, kin
        moved = {one for one in before.keys() | kin.keys() if before.get(one) != kin.get(one)}
        if not moved or not self.matter:
            return []
        places = [Changed(one.asker, one.address) for one in self if one.asker in moved]
        places += [
            Changed(asker, address) for asker, address, _ in self.entries(now_ms) if asker in moved
        ]
        return self._memberships.update(dict.fromkeys(places), self, now_ms)

    def matching(self, asker: bytes, address: bytes, now_ms: int) -> tuple[str, ...]:
        """The names that an address has for whoever the asker is."""
        found = self._names.matching(asker, address, now_ms)
        for other in self._kin.get(asker, ()):
            found += self._names.matching(other, address, now_ms)
        return tuple(dict.fromkeys(found))

    def entries(self, now_ms: int) -> Iterable[tuple[bytes, bytes, tuple[str, ...]]]:
        """Asker, address and names, for every address that an asker has."""
        for asker, address, names in self._names.entries(now_ms):
            for one in (asker, *self._kin.get(asker, ())):
                yield one, address, names

    def _update(self, changed: Iterable[Changed], now_ms: int) -> list[Membership]:
        if not self.matter:
            return []
        places = [
            Changed(one, address)
            for asker, address in changed
            for one in (asker, *self._kin.get(asker, ()))
        ]
        return self._memberships.update(dict.fromkeys(places), self, now_ms)
