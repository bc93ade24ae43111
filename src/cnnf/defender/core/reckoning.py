"""From what the kernel counted by itself to sightings: whose it was, and what had decided.

The kernel counts by address, or by cgroup where a program of this host connects. Who asked and what
was decided is known from the packet loops' reports; an answer may be counted before the report of
its attempt has come.
"""

from collections import OrderedDict, deque
from collections.abc import Callable
from typing import NamedTuple

from cnnf.defender.core.answers import Asker, Awaited, Place
from cnnf.defender.core.attribution import Sighting
from cnnf.defender.core.judgement import Cause
from cnnf.defender.core.limits import ANSWERS_AWAITED_MAX, DECISIONS_KEPT_MAX, REPORT_LATE_MS
from cnnf.defender.core.missed import Missed
from cnnf.defender.core.observations import Seen
from cnnf.defender.core.tables import UDP
from cnnf.defender.core.tallies import FlowKey, Tally
from cnnf.defender.netlink.nfqueue import OUTPUT
from cnnf.protocol.messages import Protocol

_DEFAULT = Cause(None, "")


class _Decided(NamedTuple):
    """A flow's last decision to let it through, its last one not to, and which of them is newer:
    after a change of the rules the kernel's counts of both are still to come."""

    through: Cause
    prevented: Cause
    prevents: bool


_UNDECIDED = _Decided(_DEFAULT, Cause("prevent", ""), prevents=False)


#: Of a connection that the kernel refused by itself.
_KEPT_AWAY = "kept away"


class _Early(NamedTuple):
    """Answers that were counted before word came of whoever asked, and refusals that were counted
    before word came of what decided."""

    flow: FlowKey
    place: Place
    figure: str
    number: int
    since_ms: int
    now_ms: int
    #: When they were taken, by the clock that `begin` is told.
    taken_ms: int


class _Told(NamedTuple):
    """What one reading tells of a flow, by whose it is and what decided: what came back is mostly
    told of together with what went out."""

    since_ms: int
    now_ms: int
    figures: dict[tuple[FlowKey, Cause, int], dict[str, int]]

    def add(self, flow: FlowKey, cause: Cause, inode: int, figure: str, number: int) -> None:
        """So many more."""
        figures = self.figures.setdefault((flow, cause, inode), {})
        figures[figure] = figures.get(figure, 0) + number


class Reckoning:
    """Keeps what reports told, and makes sightings of what was counted.

    `is_own` says whether a packed address is this host's, `is_shared` whether several containers
    have it together; `put` gets every sighting.
    """

    def __init__(
        self,
        is_own: Callable[[bytes], bool],
        is_shared: Callable[[bytes], bool],
        put: Callable[[Sighting], None],
    ) -> None:
        self._is_own = is_own
        self._is_shared = is_shared
        self._put = put
        self._awaited = Awaited()
        self._early: deque[_Early] = deque()
        self._taken_ms = 0
        self._generation = 0
        self._ending = False
        self._missed = Missed()
        self._decisions: OrderedDict[FlowKey, _Decided] = OrderedDict()

    @property
    def missed(self) -> int:
        """How many connections were told of that no loop has told of."""
        return self._missed.told

    def seen(self, seen: Seen, cause: Cause) -> Sighting:
        """What a loop tells of a flow, and what decided about it."""
        own = seen.hook == OUTPUT
        # A cgroup that names a service stands for all of its sockets.
        inode = seen.inode if own and seen.source else 0
        source = b"" if own and seen.cgroup else seen.source
        flow = FlowKey(source, seen.cgroup, seen.destination, seen.port, seen.protocol)
        self._decide(flow, cause)
        source = b"" if own else seen.source
        self._missed.answered(flow._replace(source=source, cgroup=0), seen.count)
        # Of other hosts and of containers only those that share an address have to be told apart.
        if (own or seen.cgroup) and cause.effect != "prevent":
            place = Place(seen.destination, seen.port, seen.protocol, source)
            self._awaited.ask(place, Asker(seen.cgroup, inode), seen.count)
        return Sighting(
            source=seen.source,
            cgroup=seen.cgroup,
            inode=seen.inode,
            destination=seen.destination,
            port=seen.port,
            protocol=_protocol(seen.protocol),
            connections=seen.count,
            effect=cause.effect,
            cause=cause.cause,
            first_seen=seen.first_seen,
            last_seen=seen.last_seen,
        )

    def _decide(self, flow: FlowKey, cause: Cause) -> None:
        """Keep what was decided, for what the kernel counts by itself afterwards."""
        before = self._decisions.get(flow)
        if cause.effect is None and before is None:
            return
        prevents = cause.effect == "prevent"
        through, prevented = (before.through, before.prevented) if before else _UNDECIDED[:2]
        self._decisions[flow] = _Decided(
            through if prevents else cause, cause if prevents else prevented, prevents
        )
        self._decisions.move_to_end(flow)
        if len(self._decisions) > DECISIONS_KEPT_MAX:
            self._decisions.popitem(last=False)

    def switch(self, generation: int) -> None:
        """This generation is about to be in force. Said before it is: what loops then tell may
        be of either."""
        self._generation = generation
        self._missed.switch()

    def begin(self, tallies: list[Tally], generation: int, taken_ms: int) -> None:
        """A reading of a generation has come, at a moment of a clock that goes on evenly.

        Attempts before answers: those who have asked are then known.
        """
        self._taken_ms, self._ending = taken_ms, generation != self._generation
        for tally in tallies:
            if tally.flow.cgroup and tally.passed:
                self._awaited.ask(
                    self._place(tally.flow), Asker(tally.flow.cgroup, 0), tally.passed
                )
        self._settle_early()

    def take(self, tally: Tally, since_ms: int, now_ms: int) -> None:
        """One of the reading's flows."""
        flow = tally.flow
        place = self._place(flow)
        decided = self._decisions.get(flow, _UNDECIDED)
        told = _Told(since_ms, now_ms, {})
        if tally.passed:
            told.add(flow, decided.through, 0, "connections", tally.passed)
        if tally.refused and flow in self._decisions:
            told.add(flow, decided.prevented, 0, "connections", tally.refused)
        elif tally.refused:
            self._take_early(
                _Early(flow, place, _KEPT_AWAY, tally.refused, since_ms, now_ms, self._taken_ms)
            )
        for figure, number in (("answered", tally.answered), ("refused", tally.reset)):
            left = self._share(told, flow, place, figure, number) if number else 0
            if left:
                self._take_early(
                    _Early(flow, place, figure, left, since_ms, now_ms, self._taken_ms)
                )
        self._tell(told)
        if tally.asked:
            asked = flow._replace(source=place.source)
            self._missed.asked(asked, tally.asked, ending=self._ending)

    def end(self, untold: int, since_ms: int, now_ms: int, *, final: bool) -> None:
        """The reading is over; `untold` packets in all were asked about that no loop told of."""
        self._tell_missing(
            self._missed.settle(untold, self._taken_ms, final=final), since_ms, now_ms
        )

    def settle(self, untold: int, taken_ms: int, now_ms: int) -> None:
        """Between readings: what word has not come of in time is told without it."""
        self._taken_ms = taken_ms
        self._settle_early()
        self._tell_missing(self._missed.settle(untold, taken_ms, final=False), now_ms, now_ms)

    def finish(self, untold: int, now_ms: int) -> None:
        """No more reports come: what still waits for word of who asked is told without it."""
        while self._early:
            self._settle(self._early.popleft())
        self._tell_missing(self._missed.settle_all(untold), now_ms, now_ms)

    def _settle_early(self) -> None:
        while self._early and self._taken_ms - self._early[0].taken_ms >= REPORT_LATE_MS:
            self._settle(self._early.popleft())

    def _tell_missing(self, missing: list[tuple[FlowKey, int]], since_ms: int, now_ms: int) -> None:
        for flow, count in missing:
            told = _Told(since_ms, now_ms, {})
            told.add(flow, _DEFAULT, 0, "connections", count)
            self._tell(told)

    def _place(self, flow: FlowKey) -> Place:
        """Where a flow goes. Its source tells askers apart: nothing where the host itself asks."""
        source = b"" if self._is_own(flow.source) else flow.source
        return Place(flow.destination, flow.port, flow.protocol, source)

    def _share(self, told: _Told, flow: FlowKey, place: Place, figure: str, number: int) -> int:
        """Give answers to whoever has asked; how many are left that nobody has asked for yet."""
        shares, left = self._awaited.answer(place, number)
        for asker, share in shares:
            self._answer(told, flow, place, asker, figure, share)
        if left and place.source and not self._is_shared(place.source):
            # An address that stands for one alone: nobody else can have asked.
            self._answer(told, flow, place, None, figure, left)
            return 0
        return left

    def _answer(
        self,
        told: _Told,
        flow: FlowKey,
        place: Place,
        asker: Asker | None,
        figure: str,
        number: int,
    ) -> None:
        inode = 0
        if asker is not None and asker.cgroup:
            flow, inode = flow._replace(source=place.source, cgroup=asker.cgroup), asker.inode
        decided = self._decisions.get(flow, _UNDECIDED)
        # Who is kept away from a place gets no reset from there: it is ours.
        if figure != "refused" or not decided.prevents:
            told.add(flow, decided.through, inode, figure, number)

    def _take_early(self, early: _Early) -> None:
        """Keep answers until a loop has told whose attempts it answered, or should have."""
        if len(self._early) < ANSWERS_AWAITED_MAX:
            self._early.append(early)
        else:
            self._settle(early)

    def _settle(self, early: _Early) -> None:
        flow, place, figure = early.flow, early.place, early.figure
        told = _Told(early.since_ms, early.now_ms, {})
        if figure == _KEPT_AWAY:
            decided = self._decisions.get(flow, _UNDECIDED)
            told.add(flow, decided.prevented, 0, "connections", early.number)
            self._tell(told)
            return
        left = self._share(told, flow, place, figure, early.number)
        if left:
            asker = self._awaited.last_resort(place)
            self._answer(told, flow, place, asker, figure, left)
        self._tell(told)

    def _tell(self, told: _Told) -> None:
        for (flow, cause, inode), figures in told.figures.items():
            self._put(
                Sighting(
                    source=flow.source,
                    cgroup=flow.cgroup,
                    inode=inode,
                    destination=flow.destination,
                    port=flow.port,
                    protocol=_protocol(flow.protocol),
                    effect=cause.effect,
                    cause=cause.cause,
                    first_seen=told.since_ms,
                    last_seen=told.now_ms,
                    **figures,
                )
            )


def _protocol(number: int) -> Protocol:
    return "udp" if number == UDP else "tcp"
