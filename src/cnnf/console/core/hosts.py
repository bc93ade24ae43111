"""One Defender's host in the directory: who lives there, behind which ports.

Changed by the directory only; what is looked up are tuples that are replaced as a whole.
"""

from cnnf.console.core.residents import HostNet, Identity, Opening, Port, Resident, Tenancy
from cnnf.protocol.limits import CANDIDATES_TOLD_MAX
from cnnf.protocol.messages import HostNetwork, Known


class Host:
    """A host: its addresses, its networks of containers, its residents.

    `told_at` is when the newest news of it were sent, by its own clock.
    """

    __slots__ = (
        "_behind", "_ports", "addresses", "defender", "former", "name", "networks", "running",
        "told", "told_at",
    )  # fmt: skip

    def __init__(self, defender: str) -> None:
        self.defender = defender
        self.name = ""
        self.addresses: frozenset[str] = frozenset()
        self.networks: tuple[HostNet, ...] = ()
        self.told: tuple[str, tuple[str, ...], tuple[HostNetwork, ...]] = ("", (), ())
        self.told_at = 0
        self.running: dict[str, Tenancy] = {}
        #: Those that ended, in the order in which that was told: (id, since, until).
        self.former: dict[tuple[str, int, int], Tenancy] = {}
        self._ports: dict[Port, tuple[Opening, ...]] = {}
        self._behind: tuple[Known, ...] | None = None

    @property
    def itself(self) -> Known:
        """The host, where nothing more is known."""
        return Known(kind="host", name=self.name or self.defender, host=self.name)

    def settle(self, tenancy: Tenancy) -> None:
        """One more has its places here, now or formerly."""
        resident = tenancy.resident
        if resident.until:
            self.former[resident.id, resident.since, resident.until] = tenancy
        else:
            self.running[resident.id] = tenancy
        for port, address, to, published in tenancy.ports:
            here = (*self._ports.get(port, ()), Opening(resident, address, to, published))
            self._ports[port] = tuple(sorted(here, key=lambda one: one.resident.since))
        self._behind = None

    def end(self, tenancy: Tenancy) -> None:
        """One has its places no longer; nothing of it is kept."""
        resident = tenancy.resident
        if resident.until:
            del self.former[resident.id, resident.since, resident.until]
        else:
            del self.running[resident.id]
        for port in {port for port, *_ in tenancy.ports}:
            left = tuple(one for one in self._ports[port] if one.resident is not resident)
            if left:
                self._ports[port] = left
            else:
                del self._ports[port]
        self._behind = None

    def renamed(self) -> None:
        """What is kept with the host's name is made anew."""
        self._behind = None

    def opening(
        self, port: int, protocol: str, address: str, times: tuple[int, ...]
    ) -> Opening | None:
        """What a connection to the port reached at the first of these times that tells; None when
        nothing is known to be there, or several."""
        for group in _groups(self._ports.get((port, protocol), ()), address):
            for time in times:
                valid = [
                    one for one in group if not one.resident.until or one.resident.until >= time
                ]
                if not valid:
                    continue
                # Oldest first: a new one may have been there before it was told of, but not while
                # its predecessor was.
                first = valid[0]
                others = valid[1:] if not first.resident.until else ()
                node = first.resident.identity.node
                same = all(one.resident.identity.node == node for one in others)
                return first if same else None
        return None

    def at_port(self, port: int, protocol: str, address: str) -> list[Opening]:
        """Who is behind the port now."""
        for group in _groups(self._ports.get((port, protocol), ()), address):
            present = [one for one in group if not one.resident.until]
            if present:
                return present
        return []

    def behind(self) -> tuple[Known, ...]:
        """Everybody whose connections leave by the host's own addresses, one of each kind; one more
        than an answer holds when there are more."""
        behind = self._behind
        if behind is None:
            seen: dict[int, Identity] = {}
            for tenancy in list(self.running.values()):
                if tenancy.behind:
                    identity = tenancy.resident.identity
                    seen.setdefault(id(identity), identity)
                    if len(seen) > CANDIDATES_TOLD_MAX:
                        break
            behind = self._behind = tuple(map(self.known, seen.values()))
        return behind

    def known(self, identity: Identity) -> Known:
        """The identity as one of this host's."""
        one = identity.known
        return Known(
            kind=one.kind,
            name=one.name,
            host=self.name,
            tag=one.tag,
            digest=one.digest,
            cluster=one.cluster,
            namespace=one.namespace,
            labels=one.labels,
        )


def _groups(
    openings: tuple[Opening, ...], address: str
) -> tuple[list[Opening], list[Opening], list[Opening]]:
    """The openings of a port by how well they fit the address: published on just this address,
    published on all of them, listened on."""
    exact = [one for one in openings if one.published and one.address == address]
    every = [one for one in openings if one.published and not one.address]
    return exact, every, [one for one in openings if not one.published]


def ended(tenancy: Tenancy, at_ms: int) -> Tenancy:
    """The tenancy as one that lasted until then."""
    resident: Resident = tenancy.resident
    return tenancy._replace(resident=resident._replace(until=max(at_ms, resident.since + 1, 1)))
