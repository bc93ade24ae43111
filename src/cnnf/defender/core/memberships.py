"""Which rules' `dns` objects an address belongs to, for each asker: names as sets of rules.

Kept beside the names and told as changes, so that whoever judges by it learns only what is
different: most answers name again what is known. Nothing is decided here.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple, Protocol

from cnnf.defender.core.limits import MEMBERS_MAX
from cnnf.defender.core.names import Changed
from cnnf.policy.compiled import Compiled
from cnnf.policy.rulesets import NOTHING, Selected


class Membership(NamedTuple):
    """The rules whose dns objects select an address when this asker connects there, or is
    connected to from there; `NOTHING`: none do any more. `before`: those that did."""

    asker: bytes
    address: bytes
    selected: Selected
    before: Selected = NOTHING


class Known(Protocol):
    """Names by asker and address, as `Names` has them."""

    def matching(self, asker: bytes, address: bytes, now_ms: int) -> tuple[str, ...]:
        """The names that hold now."""

    def entries(self, now_ms: int) -> Iterable[tuple[bytes, bytes, tuple[str, ...]]]:
        """Asker, address and names, of all that have one."""


class Memberships:
    """What names mean to one policy at a time."""

    def __init__(self, compiled: Compiled) -> None:
        self._compiled = compiled
        self._selected: dict[Changed, Selected] = {}

    @property
    def matter(self) -> bool:
        """Does an enabled rule name a dns object? Otherwise no name makes a difference."""
        return "dns" in self._compiled.uses

    def __iter__(self) -> Iterator[Membership]:
        for place, selected in self._selected.items():
            yield Membership(*place, selected)

    def use(self, compiled: Compiled, names: Known, now_ms: int) -> None:
        """Another policy: everything is to be told anew."""
        self._compiled = compiled
        self._selected = {}
        if self.matter:
            known = [Changed(asker, address) for asker, address, _ in names.entries(now_ms)]
            self.update(known, names, now_ms)

    def update(self, changed: Iterable[Changed], names: Known, now_ms: int) -> list[Membership]:
        """Look again where names have come or gone; what is different now, within the bound."""
        if not self.matter:
            return []
        told = []
        for place in changed:
            selected = self._compiled.selected_names(names.matching(*place, now_ms))
            before = self._selected.get(place, NOTHING)
            full = before == NOTHING and len(self._selected) >= MEMBERS_MAX
            if selected == before or full:
                continue
            if selected == NOTHING:
                del self._selected[place]
            else:
                self._selected[place] = selected
            told.append(Membership(*place, selected, before))
        return told
