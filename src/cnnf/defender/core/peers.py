"""Who stands at ends elsewhere, as far as the Console has told: asked once, kept, forgotten.

An end is a place: the address that somebody connects from, or the address and port that is
connected to. Pure; `acquaintances.py` asks and keeps, `judging.py` tells the packet loops. Times
are whole seconds since the epoch, since what is known outlives the program.
"""

from collections.abc import Hashable, Iterable, Iterator, Sequence
from ipaddress import ip_address, ip_network
from typing import Any, NamedTuple

import msgspec

from cnnf.defender.core.limits import (
    GENERATION_SECONDS_MAX,
    PEER_ACTIVE_SECONDS,
    PEER_KEEP_SECONDS,
    PEER_PORTS_MAX,
    PEERS_MAX,
    WANTED_MAX,
)
from cnnf.defender.core.tables import TCP, UDP, Place
from cnnf.policy.addresses import parse_address
from cnnf.policy.endpoints import Identity, sorted_labels
from cnnf.protocol.messages import Answer, Answers, Known, Sought, Stale

#: Where hosts may stand that are not the internet: RFC 1918, RFC 6598 (shared), RFC 4193. What is
#: link-local or loopback means something else on each host, so nobody can be asked about it.
PRIVATE: tuple[tuple[bytes, bytes], ...] = tuple(
    (network.network_address.packed, network.broadcast_address.packed)
    for network in map(
        ip_network, ("10.0.0.0/8", "100.64.0.0/10", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")
    )
)

#: The share of all that go at once when there is no more room: the ones unused for longest.
_EVICTED_SHARE = 16


class Crowd(msgspec.Struct, frozen=True, gc=False):
    """Everybody who may stand at an end; `more`: there are others. Nobody: it is not protected.
    `leads_to` is the port of theirs that the end's leads to, 0 where that is the same."""

    identities: tuple[Identity, ...] = ()
    more: bool = False
    leads_to: int = 0


class Change(NamedTuple):
    """Who was known to stand there, and who is; None: nobody has told.

    `forgotten`: for want of room or of use only, so what was decided by it is still right.
    """

    place: Place
    before: Crowd | None
    after: Crowd | None
    forgotten: bool = False


class Kept(NamedTuple):
    """One answer as it is kept."""

    place: Place
    crowd: Crowd
    used_at: int


class _Held:
    __slots__ = ("crowd", "used_at")

    def __init__(self, crowd: Crowd, used_at: int) -> None:
        self.crowd, self.used_at = crowd, used_at


class Peers:
    """What is known, what is wanted, and what has been asked. `news` is how often it changed."""

    def __init__(self) -> None:
        self._held: dict[Place, _Held] = {}
        self._at: dict[bytes, list[Place]] = {}
        self._wanted: dict[Place, None] = {}
        #: Known, and to be asked again: it holds until it is answered.
        self._doubted: dict[Place, None] = {}
        #: In question now, with the generation that an answer must have to be of use.
        self._asked: dict[Place, int] = {}
        #: Each identity, name and set of labels once, however often it is told.
        self._shared: dict[Hashable, Any] = {}
        self._public: tuple[str, ...] = ()
        self._asked_for: list[tuple[bytes, bytes]] = list(PRIVATE)
        self._drops = 0
        #: When something was last forgotten that may still be true.
        self._forgot_at = -GENERATION_SECONDS_MAX
        self.news = 0

    def __len__(self) -> int:
        return len(self._held)

    @property
    def wants(self) -> bool:
        """Is there anything to ask?"""
        return bool(self._wanted or self._doubted)

    @property
    def wanted(self) -> int:
        """How many have been met and are not known."""
        return len(self._wanted) + sum(place not in self._held for place in self._asked)

    @property
    def asked(self) -> int:
        """How many are in question now."""
        return len(self._asked)

    @property
    def public(self) -> tuple[str, ...]:
        """Networks on the internet with protected hosts, as the Console has told."""
        return self._public

    @property
    def doubtful(self) -> list[tuple[bytes, bytes]]:
        """(First, last) of the addresses where an unknown end may be a protected one. Of the
        internet only single addresses: nobody else there is to wait."""
        return [(one, two) for one, two in self._asked_for if (one, two) in PRIVATE or one == two]

    def crowds(self) -> dict[Place, Crowd]:
        """Everything that is known."""
        return dict(self.known())

    def known(self) -> Iterator[tuple[Place, Crowd]]:
        """The same, one by one."""
        return ((place, held.crowd) for place, held in self._held.items())

    # --- what is met, and what to ask

    def meet(self, place: Place, now: int) -> bool:
        """A packet came from there or went there; True when that is something to ask."""
        held = self._held.get(place)
        if held is not None:
            held.used_at = now
            return False
        if place in self._wanted or place in self._asked or len(self._wanted) >= WANTED_MAX:
            return False
        address, port, protocol = place
        if not (port or not protocol) or not self._is_asked_for(address):
            return False
        self._wanted[place] = None
        return True

    def question(self, most: int) -> list[Place]:
        """What to ask next, at most so many: first what is met and not known."""
        asked: list[Place] = []
        for source in (self._wanted, self._doubted):
            while source and len(asked) < most:
                place = next(iter(source))
                del source[place]
                asked.append(place)
        self._asked = dict.fromkeys(asked, -1)
        return asked

    def failed(self) -> None:
        """The question was not answered: it is still open."""
        for place in self._asked:
            (self._doubted if place in self._held else self._wanted)[place] = None
        self._asked = {}

    def unanswerable(self, now: int) -> list[Change]:
        """The question is refused, so nobody is there whom anybody could name."""
        asked, self._asked = self._asked, {}
        return [change for place in asked for change in self._put(place, Crowd(), now)]

    def answered(self, answers: Answers, now: int) -> list[Change]:
        """The answers to the question. What became stale meanwhile is asked again."""
        asked, self._asked = self._asked, {}
        changes: list[Change] = []
        for answer in answers.answers:
            place = place_of(Sought(**{name: getattr(answer, name) for name in _END}))
            if asked.get(place) is None:
                continue
            if asked.pop(place) > answers.generation:
                self._wanted[place] = None
                continue
            changes += self._put(place, _crowd(answer), now)
        return changes

    def set_public(self, networks: Sequence[str]) -> bool:
        """Where on the internet protected hosts are; True when that is news."""
        if tuple(networks) == self._public:
            return False
        self._public = tuple(networks)
        stretches = [ip_network(text) for text in networks]
        self._asked_for = [
            *PRIVATE,
            *((one.network_address.packed, one.broadcast_address.packed) for one in stretches),
        ]
        self.news += 1
        return True

    # --- what is true no more

    def stale(self, stale: Stale, now: int) -> list[Change]:
        """Forget what the Console says is true no more, and ask again what was in use lately.

        `everything` comes when the Console can't say what: then it holds until it is answered.
        """
        if stale.everything:
            self._doubted = dict.fromkeys(self._held)
        changes = []
        addresses = {parse_address(text).packed for text in stale.addresses}
        for address in addresses:
            if address not in self._at and now - self._forgot_at <= GENERATION_SECONDS_MAX:
                # It may have been known, and the kernel may still remember what followed from it.
                changes.append(Change((address, 0, 0), Crowd(), None))
            for place in self._at.get(address, [])[:]:
                if now - self._held[place].used_at < PEER_ACTIVE_SECONDS:
                    self._wanted[place] = None
                changes.append(self._drop(place))
        for place in self._asked:
            if stale.everything or place[0] in addresses:
                self._asked[place] = stale.generation
        return changes

    def forget_unused(self, now: int) -> list[Change]:
        """Forget what has not been met for long."""
        old = [
            place for place, held in self._held.items() if now - held.used_at > PEER_KEEP_SECONDS
        ]
        return [self._forget(place, now) for place in old]

    # --- what is kept

    def kept(self) -> Iterator[Kept]:
        """Everything, as it is to be kept."""
        for place, held in self._held.items():
            yield Kept(place, held.crowd, held.used_at)

    def restore(self, kept: Iterable[Kept]) -> None:
        """Take what was kept; before anything else is known."""
        for one in kept:
            if len(self._held) < PEERS_MAX:
                self._put(one.place, one.crowd, one.used_at)
        self._doubted = {}
        self.news = 0

    def _put(self, place: Place, crowd: Crowd, now: int) -> list[Change]:
        changes: list[Change] = []
        held = self._held.get(place)
        if held is not None:
            if held.crowd != crowd:
                changes.append(Change(place, held.crowd, crowd))
                held.crowd = self._share_crowd(crowd)
                self.news += 1
            return changes
        places = self._at.setdefault(place[0], [])
        if len(places) >= PEER_PORTS_MAX:
            changes.append(self._forget(min(places, key=self._last_used), now))
            places = self._at.setdefault(place[0], [])
        elif len(self._held) >= PEERS_MAX:
            oldest = sorted(self._held, key=self._last_used)[: PEERS_MAX // _EVICTED_SHARE]
            changes += [self._forget(one, now) for one in oldest]
            places = self._at.setdefault(place[0], [])
        crowd = self._share_crowd(crowd)
        place = (places[0][0] if places else place[0], *place[1:])
        self._held[place] = _Held(crowd, now)
        places.append(place)
        self.news += 1
        return [*changes, Change(place, None, crowd)]

    def _forget(self, place: Place, now: int) -> Change:
        self._forgot_at = now
        return self._drop(place)._replace(forgotten=True)

    def _drop(self, place: Place) -> Change:
        held = self._held.pop(place)
        self._doubted.pop(place, None)
        places = self._at[place[0]]
        places.remove(place)
        if not places:
            del self._at[place[0]]
        if self._drops > len(self._held):
            # What nobody has any more goes; whoever still stands somewhere is told once again.
            self._drops, self._shared = 0, {}
            for one in self._held.values():
                one.crowd = self._share_crowd(one.crowd)
        self._drops += 1
        self.news += 1
        return Change(place, held.crowd, None)

    def _share_crowd(self, crowd: Crowd) -> Crowd:
        shared = tuple(map(self._share_identity, crowd.identities))
        return Crowd(shared, crowd.more, crowd.leads_to)

    def _share_identity(self, one: Identity) -> Identity:
        known: Identity | None = self._shared.get(one)
        if known is None:
            parts = {name: self._share(getattr(one, name)) for name in one.__struct_fields__}
            known = Identity(**parts)
            self._shared[known] = known
        return known

    def _share(self, value: Any) -> Any:
        if isinstance(value, tuple) and value not in self._shared:
            value = tuple(map(self._share, value))
        return self._shared.setdefault(value, value)

    def _last_used(self, place: Place) -> int:
        return self._held[place].used_at

    def _is_asked_for(self, address: bytes) -> bool:
        return any(
            len(address) == len(first) and first <= address <= last
            for first, last in self._asked_for
        )


_END = ("address", "port", "protocol")


def place_of(sought: Sought) -> Place:
    """An end as it is judged by. Raises ValueError when the address is none."""
    address = parse_address(sought.address).packed
    if not sought.port:
        return address, 0, 0
    return address, sought.port, UDP if sought.protocol == "udp" else TCP


def sought_of(place: Place) -> Sought:
    """An end as it is asked for."""
    address, port, protocol = place
    return Sought(
        address=str(ip_address(address)), port=port, protocol="udp" if protocol == UDP else "tcp"
    )


def identity_of(known: Known) -> Identity:
    """Somebody elsewhere as rules select by."""
    return Identity(
        kind=known.kind,
        name=known.name,
        tag=known.tag,
        digest=known.digest,
        host=known.host or (known.name if known.kind == "host" else ""),
        cluster=known.cluster,
        namespace=known.namespace,
        labels=sorted_labels(known.labels),
    )


def _crowd(answer: Answer) -> Crowd:
    known = tuple(dict.fromkeys(map(identity_of, answer.candidates)))
    return Crowd(known, answer.more, answer.leads_to)
