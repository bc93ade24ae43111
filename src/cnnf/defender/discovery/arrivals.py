"""What is known of a container before it can be asked about, and after it no longer can be.

An engine answers about a container only once it has started, and short-lived ones have ended by
then and lost their addresses, or are removed already. But it tells at once when one joins a
network, and the network what address it was given: this is kept here, with what was said of the
container when it was made. Pure memory of `docker.py`.
"""

from collections import OrderedDict
from typing import NamedTuple

import msgspec

from cnnf.defender.core.containers import Attachment, Container
from cnnf.defender.discovery import limits


class _Place(NamedTuple):
    """A place in a network: since when (ms), its addresses as far as the network was asked, and
    whether it has been left."""

    since: int
    addresses: tuple[str, ...] = ()
    left: bool = False


_NOWHERE = _Place(0)


class Arrivals:
    """Where containers joined networks, and what was said of those that do not run."""

    def __init__(self) -> None:
        #: By container, then by network.
        self._places: OrderedDict[str, dict[str, _Place]] = OrderedDict()
        self._described: OrderedDict[str, Container] = OrderedDict()

    def joined(self, container_id: str, network_id: str, at_ms: int) -> None:
        """A container was given its place in a network, from which it may send from now on."""
        places = self._places.setdefault(container_id, {})
        if len(places) < limits.ATTACHMENTS_MAX or network_id in places:
            places[network_id] = _Place(at_ms)
        self._places.move_to_end(container_id)
        if len(self._places) > limits.JOINED_MAX:
            self._places.popitem(last=False)

    def placed(self, container_id: str, network_id: str, addresses: tuple[str, ...]) -> int:
        """The network has told the addresses there; since when the container has them (ms), 0 when
        it has left, or nothing is known of its joining."""
        places = self._places.get(container_id, {})
        place = places.get(network_id)
        if place is None:
            return 0
        places[network_id] = place._replace(addresses=addresses)
        return 0 if place.left else place.since

    def left(self, container_id: str, network_id: str) -> None:
        """A container has no place in that network any more."""
        places = self._places.get(container_id, {})
        if network_id in places:
            places[network_id] = places[network_id]._replace(left=True)

    def described(self, container: Container) -> None:
        """What the engine said of one that does not run."""
        self._described[container.id] = container
        self._described.move_to_end(container.id)
        if len(self._described) > limits.DESCRIBED_MAX:
            self._described.popitem(last=False)

    def over(self, container_id: str) -> None:
        """It has ended, and its end is told: it will join anew."""
        self._places.pop(container_id, None)

    def removed(self, container_id: str) -> None:
        """It is not there any more, and all that was to be asked has been."""
        self._places.pop(container_id, None)
        self._described.pop(container_id, None)

    def dated(self, container: Container) -> Container:
        """The container, with the times at which it joined its networks."""
        joined = self._places.get(container.id, {})
        places = []
        for place in container.attachments:
            known = joined.get(place.network, _NOWHERE)
            places.append(msgspec.structs.replace(place, since=0 if known.left else known.since))
        return msgspec.structs.replace(container, attachments=tuple(places))

    def as_it_ran(self, container_id: str) -> Container | None:
        """One that has ended, with the addresses that it had; None when they, or all else, are not
        known."""
        container = self._described.get(container_id)
        places = tuple(
            Attachment(network=network, name="", addresses=place.addresses, since=place.since)
            for network, place in self._places.get(container_id, {}).items()
            if place.addresses
        )
        if container is None or not places:
            return None
        return msgspec.structs.replace(
            container,
            attachments=places,
            state="running",
            started_at=min(place.since for place in places),
        )
