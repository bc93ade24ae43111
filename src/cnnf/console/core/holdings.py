"""Which Defender holds answers about which addresses, and what has become stale of them.

Only who was told something is told that it is true no more. Bounded: what is forgotten here is
called stale, so that nobody goes on holding it. A stream begins with everything being stale: what
was said on the one before may have been lost with it, or this Console has only started.
"""

from collections.abc import Iterable

from cnnf.console import limits
from cnnf.protocol.messages import Stale


class Holdings:
    """Owned by the event loop. Addresses are canonical text."""

    def __init__(self) -> None:
        #: Defender -> what it holds, oldest first.
        self._held: dict[str, dict[str, None]] = {}
        self._holders: dict[str, set[str]] = {}
        self._stale: dict[str, set[str]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def told(self, defender: str, addresses: Iterable[str]) -> None:
        """It was answered about these; beyond the bounds it has to forget its oldest."""
        held = self._held.setdefault(defender, {})
        for address in addresses:
            if address in held:
                del held[address]
            else:
                self._holders.setdefault(address, set()).add(defender)
                self._count += 1
            held[address] = None
        while held and (len(held) > limits.HELD_MAX or self._count > limits.HELD_ALL_MAX):
            self._drop(defender, next(iter(held)))

    def changed(self, addresses: Iterable[str], *, everybody: bool = False) -> None:
        """Answers about these may be different now; `everybody` is told, whoever asked."""
        for address in addresses:
            if everybody:
                for defender in self._held:
                    self._stale.setdefault(defender, set()).add(address)
            for defender in list(self._holders.get(address, ())):
                self._drop(defender, address)

    def _drop(self, defender: str, address: str) -> None:
        del self._held[defender][address]
        self._count -= 1
        holders = self._holders[address]
        holders.discard(defender)
        if not holders:
            del self._holders[address]
        self._stale.setdefault(defender, set()).add(address)

    def waiting(self) -> list[str]:
        """The Defenders for whom something has become stale."""
        return list(self._stale)

    def opened(self, defender: str, generation: int) -> Stale:
        """What it has to be told on a new stream."""
        self._stale.pop(defender, None)
        return Stale(generation=generation, everything=True)

    def take(self, defender: str, generation: int) -> Stale | None:
        """What it has to be told, once."""
        stale = self._stale.pop(defender, None)
        if stale is None:
            return None
        if len(stale) > limits.STALE_ADDRESSES_MAX:
            return Stale(generation=generation, everything=True)
        return Stale(generation=generation, addresses=sorted(stale))

    def removed(self, defender: str) -> None:
        """It is no longer enrolled."""
        for address in list(self._held.get(defender, ())):
            self._drop(defender, address)
        self._held.pop(defender, None)
        self._stale.pop(defender, None)
