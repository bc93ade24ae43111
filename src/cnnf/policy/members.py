"""Who is in which network objects: asked of an object by itself, not of the rules that name it.

The Console draws Radar's ends by it, and tells the connections of an object. What selects is what
rules go by (`selectors`, `subnets`): whoever is found here is whom a rule with the object is about.
"""

from bisect import bisect_right
from collections.abc import Sequence

from cnnf.policy.endpoints import Candidate
from cnnf.policy.objects import NetworkObject
from cnnf.policy.rulesets import divide
from cnnf.policy.selectors import Selectors
from cnnf.policy.subnets import ADDRESS_MAX, VERSIONS, pack, ranges_of


class Members:
    """Some objects, ready to be asked. Nothing changes but what is remembered."""

    def __init__(self, objects: Sequence[NetworkObject]) -> None:
        """Raises InvalidValueError for objects that are not right (`checks.check_object`)."""
        self._selectors = Selectors(objects)
        spans = [
            (ranges_of(one.values), 1 << number)
            for number, one in enumerate(objects)
            if one.kind == "subnet"
        ]
        self._stretches = {
            version: divide(
                ((*span, alone) for ranges, alone in spans for span in ranges[version]),
                ADDRESS_MAX[version],
            )
            for version in VERSIONS
        }

    def of(self, one: Candidate) -> int:
        """The objects that have somebody: bit i is object i."""
        packed = b"" if one.address is None else pack(one.address)
        found = 0
        if one.identity is not None:
            found = self._selectors.of_identity(one.identity, packed)
        if packed:
            starts, objects = self._stretches[4 if len(packed) == 4 else 6]
            found |= objects[bisect_right(starts, int.from_bytes(packed)) - 1]
        if one.names:
            found |= self._selectors.of_names(one.names)
        return found
