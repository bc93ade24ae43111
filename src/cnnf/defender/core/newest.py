"""What the Console wants, by generation, as a Defender follows it.

Within one stream a generation is followed only by newer ones. What a new stream says first counts
whatever its number: a Console that has gone back to a backup numbers lower than it did, and what it
holds now is what its administrators see.
"""

from typing import Generic, Protocol, TypeVar


class Numbered(Protocol):
    """Something of which there are generations."""

    @property
    def generation(self) -> int:
        """Grows with each change at the Console."""
        ...


N = TypeVar("N", bound=Numbered)


class Newest(Generic[N]):
    """The generation to follow; None before the first. `value` may be of a former process."""

    def __init__(self, value: N | None = None) -> None:
        self.value = value
        self._first = True

    def opened(self) -> None:
        """A stream begins."""
        self._first = True

    def take(self, value: N) -> bool:
        """The stream says this: is it something else to follow from now on?"""
        first, self._first = self._first, False
        before = self.value
        if before is not None and not first and value.generation <= before.generation:
            return False
        self.value = value
        return value != before

    def ahead(self, value: N) -> None:
        """Something newer came by another way than the stream."""
        self.value = value
