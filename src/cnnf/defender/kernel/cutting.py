"""Ends connections that live: aborts their sockets here, and forgets what conntrack knows of them.

What is to be ended is decided by `core/cutting.py`. A socket is aborted by its cookie, and the
connection's tracked entry is deleted only after that, so nothing but the connection that was meant
is ever touched: what took its ends meanwhile is another one, and what is gone is gone. (The entry's
id alone would not do: the kernel makes it of the ends and a place in memory that is used again.)
"""

import contextlib
import errno
from collections.abc import Iterable

import msgspec

from cnnf.defender.core.cutting import Cut, LocalEnd, Room
from cnnf.defender.core.existing import NamespaceSockets
from cnnf.defender.core.limits import CUT_SHOWN_MAX
from cnnf.defender.kernel import namespaces
from cnnf.defender.kernel.sockdiag import SocketTable
from cnnf.defender.kernel.sockets import NETLINK_NETFILTER, NETLINK_SOCK_DIAG, NetlinkSocket
from cnnf.defender.netlink import conntrack, inet_diag
from cnnf.defender.netlink.conntrack import TCP, UDP, Tracked
from cnnf.defender.netlink.errors import KernelRefused, NetlinkError
from cnnf.defender.netlink.inet_diag import AF_INET, AF_INET6


class Survey(msgspec.Struct, frozen=True):
    """What lives on this host now. `unread` says which namespaces could not be looked into."""

    rooms: list[Room]
    tracked: list[Tracked]
    unread: dict[int, str]


class CutFailed(msgspec.Struct, frozen=True, kw_only=True):
    """A part of a cut that the kernel refused, and why."""

    cut: Cut
    reason: str


class CutReport(msgspec.Struct, kw_only=True):
    """What was done.

    `connections` were ended: a socket of theirs was aborted here, or (UDP) their entry forgotten.
    `sockets`, `entries` and `marked` count the parts, `gone` the sockets that had ended by
    themselves. `passing` are ended by nothing that can be done to sockets of this host: see
    `cut`; `passing_count` and `failed_count` also count those that are not shown.
    """

    connections: int = 0
    sockets: int = 0
    entries: int = 0
    marked: int = 0
    gone: int = 0
    passing: list[Cut] = []
    passing_count: int = 0
    failed: list[CutFailed] = []
    failed_count: int = 0
    unsupported: bool = False

    def fail(self, cut: Cut, reason: str) -> None:
        """Keep what went wrong."""
        self.failed_count += 1
        if len(self.failed) < CUT_SHOWN_MAX:
            self.failed.append(CutFailed(cut=cut, reason=reason))

    def pass_by(self, cut: Cut) -> None:
        """Keep one that only passes."""
        self.passing_count += 1
        if len(self.passing) < CUT_SHOWN_MAX:
            self.passing.append(cut)


def survey(pids: Iterable[int], *, udp: bool = False) -> Survey:
    """The living connections of this namespace and of each process's, each namespace once.

    A process that is gone is passed by: its connections are too. Raises NetlinkError, OSError when
    this namespace's own sockets can't be read; without conntrack `tracked` is empty.
    """
    rooms = [Room(0, _sockets(host=True))]
    unread: dict[int, str] = {}
    seen = {namespaces.own_id()}
    for pid in pids:
        try:
            identity = namespaces.id_of(pid)
            if identity in seen:
                continue
            seen.add(identity)
            with namespaces.inside(f"/proc/{pid}/ns/net"):
                table = SocketTable()
            rooms.append(Room(pid, _sockets(host=False, table=table)))
        except (FileNotFoundError, ProcessLookupError):
            continue
        except (NetlinkError, OSError) as error:
            unread[pid] = str(error)
    return Survey(rooms, tracked(udp=udp), unread)


def tracked(*, udp: bool = False) -> list[Tracked]:
    """Every connection in this namespace's conntrack; none where the kernel tracks none."""
    found: list[Tracked] = []
    with contextlib.closing(NetlinkSocket(NETLINK_NETFILTER)) as netlink:
        for family in (AF_INET, AF_INET6):
            with contextlib.suppress(NetlinkError, OSError):
                request = conntrack.dump(netlink.sequence(), family)
                for payload in netlink.dump("conntrack", request):
                    for protocol in (TCP, UDP) if udp else (TCP,):
                        entry = conntrack.decode_tracked(payload, protocol)
                        if entry is not None:
                            found.append(entry)
    return found


def cut(cuts: Iterable[Cut], *, refuse_mark: int = 0) -> CutReport:
    """End these connections; never raises for a single one of them.

    Sockets first: the reset that an abort sends still passes the translations that conntrack knows
    of. A UDP entry is told by its id: another one with the same ends would be asked about anew.

    Of connections that only pass through this host, the entry gets the bits `refuse_mark` in its
    mark, when that is given: a rule `ct mark and BITS == BITS reject with tcp reset` in the forward
    hook then ends them with their next packet. Without it they are only reported.
    """
    wanted = list(cuts)
    report = CutReport()
    aborted = _abort(wanted, report)
    with contextlib.closing(NetlinkSocket(NETLINK_NETFILTER)) as netlink:
        for at, one in enumerate(wanted):
            if one.passing:
                if refuse_mark:
                    _mark(netlink, one, refuse_mark, report)
                report.pass_by(one)
            elif at in aborted or one.connection.protocol == UDP:
                forgotten = _forget(netlink, one, report)
                report.connections += at in aborted or forgotten
    return report


def _sockets(*, host: bool, table: SocketTable | None = None) -> NamespaceSockets:
    with contextlib.closing(table or SocketTable()) as sockets:
        return NamespaceSockets(host, sockets.listeners(), sockets.living())


def _abort(cuts: list[Cut], report: CutReport) -> set[int]:
    """Abort every socket, namespace by namespace; which cuts had one that lived."""
    by_room: dict[int, list[tuple[int, LocalEnd]]] = {}
    for at, one in enumerate(cuts):
        for end in one.ends:
            by_room.setdefault(end.pid, []).append((at, end))
    aborted: set[int] = set()
    for pid, ends in by_room.items():
        try:
            netlink = _open(pid)
        except (FileNotFoundError, ProcessLookupError):
            report.gone += len(ends)
            continue
        except OSError as error:
            for at, _ in ends:
                report.fail(cuts[at], f"network namespace of process {pid}: {error}")
            continue
        with contextlib.closing(netlink):
            for at, end in ends:
                if _destroy(netlink, cuts[at], end, report):
                    aborted.add(at)
    return aborted


def _open(pid: int) -> NetlinkSocket:
    if pid == 0:
        return NetlinkSocket(NETLINK_SOCK_DIAG)
    with namespaces.inside(f"/proc/{pid}/ns/net"):
        return NetlinkSocket(NETLINK_SOCK_DIAG)


def _destroy(netlink: NetlinkSocket, one: Cut, end: LocalEnd, report: CutReport) -> bool:
    try:
        request = inet_diag.destroy(netlink.sequence(), end.socket, one.connection.protocol)
        netlink.ask("aborting a socket", request)
    except KernelRefused as refusal:
        if refusal.errno in (errno.ENOENT, errno.ESTALE):
            report.gone += 1
        else:
            report.unsupported |= refusal.errno == errno.EOPNOTSUPP
            report.fail(one, str(refusal))
        return False
    except (NetlinkError, OSError, ValueError) as error:
        report.fail(one, f"aborting a socket: {error}")
        return False
    report.sockets += 1
    return True


def _forget(netlink: NetlinkSocket, one: Cut, report: CutReport) -> bool:
    """Delete the connection's entries; True when there was one."""
    forgotten = False
    for entry in one.entries:
        try:
            netlink.ask("forgetting it", conntrack.delete(netlink.sequence(), entry))
        except KernelRefused as refusal:
            if refusal.errno != errno.ENOENT:
                report.fail(one, f"conntrack: {refusal}")
        except (NetlinkError, OSError) as error:
            report.fail(one, f"conntrack: forgetting it: {error}")
        else:
            report.entries += 1
            forgotten = True
    return forgotten


def _mark(netlink: NetlinkSocket, one: Cut, bits: int, report: CutReport) -> None:
    for entry in one.entries:
        try:
            request = conntrack.set_mark(netlink.sequence(), entry, bits, bits)
            netlink.ask("marking it", request)
        except KernelRefused as refusal:
            if refusal.errno != errno.ENOENT:
                report.fail(one, f"conntrack: {refusal}")
        except (NetlinkError, OSError) as error:
            report.fail(one, f"conntrack: marking it: {error}")
        else:
            report.marked += 1
