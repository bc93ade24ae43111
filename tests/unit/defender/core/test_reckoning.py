"""Whose was what the kernel counted: also where its answer is read before word of who asked."""

from cnnf.defender.core.attribution import Sighting
from cnnf.defender.core.judgement import Cause
from cnnf.defender.core.limits import REPORT_LATE_MS
from cnnf.defender.core.observations import Seen
from cnnf.defender.core.reckoning import Reckoning
from cnnf.defender.core.tallies import FlowKey, Tally
from cnnf.defender.netlink.nfqueue import FORWARD, OUTPUT

HOST, CONTAINER, POD = b"\x0a\0\0\1", b"\x0a\1\0\1", b"\x0a\1\0\2"
SERVER, PORT, TCP = b"\x0a\0\0\2", 443, 6
BACKUP, PROBE = 7, 9
ALLOWED = Cause(None, "")


class Desk:
    """A reckoning and what it has told, by cgroup (0: only the address) and figure."""

    def __init__(self) -> None:
        self.told: dict[tuple[int, bytes, str], int] = {}
        self.at_ms = 0
        self.reckoning = Reckoning(HOST.__eq__, POD.__eq__, self._put)

    def _put(self, one: Sighting) -> None:
        for figure in ("connections", "answered", "refused"):
            number = getattr(one, figure)
            if number:
                # Where a cgroup tells who it was the address says nothing more.
                key = (one.cgroup, b"" if one.cgroup else one.source, figure)
                self.told[key] = self.told.get(key, 0) + number

    def report(self, cgroup: int, count: int, *, source: bytes = HOST) -> None:
        self._put(self.reckoning.seen(self.seen(cgroup, count, source=source), ALLOWED))

    def seen(self, cgroup: int, count: int, *, source: bytes = HOST) -> Seen:
        return Seen(
            hook=OUTPUT if source == HOST else FORWARD,
            source=source,
            destination=SERVER,
            port=PORT,
            protocol=TCP,
            cgroup=cgroup,
            inode=0,
            effect=0,
            rule=-1,
            uid=0,
            source_port=40_000,
            count=count,
            first_seen=1,
            last_seen=2,
        )

    def read(self, *tallies: Tally, after_ms: int = 2_000) -> None:
        self.at_ms += after_ms
        self.reckoning.begin(list(tallies), 0, self.at_ms)
        for tally in tallies:
            self.reckoning.take(tally, 1, 2)
        self.reckoning.end(0, 1, 2, final=False)


def answered(source: bytes, number: int) -> Tally:
    flow = FlowKey(source, 0, SERVER, PORT, TCP)
    return Tally(flow, passed=0, refused=0, answered=number, reset=0, asked=0)


def test_an_answer_read_before_word_of_its_attempt_goes_to_who_asked() -> None:
    desk = Desk()
    desk.report(BACKUP, 1)
    desk.read(answered(HOST, 3))
    desk.report(PROBE, 2)
    desk.read()
    assert desk.told == {
        (BACKUP, b"", "connections"): 1,
        (BACKUP, b"", "answered"): 1,
        (PROBE, b"", "connections"): 2,
        (PROBE, b"", "answered"): 2,
    }


def test_without_word_it_is_who_asks_there_or_the_host() -> None:
    desk = Desk()
    desk.read(answered(HOST, 2))
    assert desk.told == {}
    desk.read()
    assert desk.told == {(0, HOST, "answered"): 2}
    desk.report(BACKUP, 1)
    desk.read(answered(HOST, 3))
    desk.read()
    assert desk.told[BACKUP, b"", "answered"] == 3


def test_two_readings_at_once_are_no_reason_to_give_up_waiting() -> None:
    desk = Desk()
    desk.read(answered(HOST, 2))
    desk.read(after_ms=10)
    assert desk.told == {}
    desk.report(PROBE, 2)
    desk.read()
    assert desk.told[PROBE, b"", "answered"] == 2


def test_a_refusal_read_before_word_of_the_rule_is_the_rules() -> None:
    desk = Desk()
    seen: list[Sighting] = []
    reckoning = Reckoning(HOST.__eq__, POD.__eq__, seen.append)
    flow = FlowKey(CONTAINER, 0, SERVER, PORT, TCP)
    refused = Tally(flow, passed=0, refused=1, answered=0, reset=0, asked=0)
    reckoning.begin([refused], 0, 0)
    reckoning.take(refused, 1, 2)
    assert seen == []
    reckoning.seen(desk.seen(0, 1, source=CONTAINER), Cause("prevent", "rule:nobody"))
    reckoning.settle(0, REPORT_LATE_MS, 3)
    assert [(one.connections, one.effect, one.cause) for one in seen] == [
        (1, "prevent", "rule:nobody")
    ]


def test_at_the_end_nothing_waits_any_more() -> None:
    desk = Desk()
    desk.read(answered(HOST, 2))
    desk.reckoning.finish(0, 3)
    assert desk.told == {(0, HOST, "answered"): 2}


def test_an_address_of_one_alone_waits_for_nobody() -> None:
    desk = Desk()
    desk.read(answered(CONTAINER, 2))
    assert desk.told == {(0, CONTAINER, "answered"): 2}


def test_containers_that_share_an_address_are_waited_for() -> None:
    desk = Desk()
    desk.read(answered(POD, 2))
    assert desk.told == {}
    desk.report(PROBE, 2, source=POD)
    desk.read()
    assert desk.told[PROBE, b"", "answered"] == 2
