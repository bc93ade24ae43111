"""A real kernel tells who changes its rules, and a dump that is interrupted says so."""

import asyncio
import socket
import struct
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from threading import Event, Thread

import pytest

from cnnf.defender.core.limits import DUMP_TRIES_MAX
from cnnf.defender.kernel import elements, programs, ruleset_watch
from cnnf.defender.kernel.ruleset_watch import RulesetChange, RulesetWatch
from cnnf.defender.kernel.sockets import NETLINK_NETFILTER, NetlinkSocket
from cnnf.defender.netlink import nftset, rulesetgen
from cnnf.defender.netlink.errors import Interrupted, KernelRefused
from cnnf.defender.netlink.messages import attribute, message
from tests.lab import netns
from tests.lab.netns import Namespace

pytestmark = pytest.mark.kernel

#: A table of ours, in short.
OURS = """
table inet cnnf {
    set s { type ipv4_addr; elements = { 10.0.0.1, 10.0.0.2 }; }
    chain empty { }
    chain one { ip saddr @s accept; }
    chain three { tcp dport 80 counter; meta mark set 0x400; jump one; }
}
"""


def ours(text: str) -> None:
    """A change by the Defender itself."""
    programs.run(["nft", "-f", "-"], text=text, subject="changing our table")


@pytest.fixture
def host() -> Iterator[Namespace]:
    """A namespace that this thread is in."""
    if not netns.can_make():
        pytest.skip("needs root, iproute2 and util-linux")
    netns.remove_stale()
    with netns.namespaces() as (one,), one.entered():
        yield one


def nft(text: str) -> int:
    """Somebody else's nft; its pid."""
    process = subprocess.Popen(["nft", "-f", "-"], stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    _, said = process.communicate(text.encode() + b"\n")
    assert process.returncode == 0, said[:300]
    return process.pid


def big_set(count: int) -> str:
    """A table with a set of so many elements."""
    elements = ",".join(f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}" for n in range(count))
    return (
        "add table inet many\n"
        "add set inet many s { type ipv4_addr; size 131072; counter; }\n"
        f"add element inet many s {{ {elements} }}"
    )


async def changes(act: Sequence[Callable[[], object]]) -> list[RulesetChange]:
    """What is told while these things are done, one after the other."""
    told: list[RulesetChange] = []
    watch = RulesetWatch(told.append, programs.was_ours)
    watch.start()
    try:
        for one in act:
            # Not in a thread: the namespace is this thread's.
            one()
        await asyncio.sleep(0.1)
    finally:
        watch.stop()
    return told


def test_others_changes_are_told_and_ours_are_not(host: Namespace) -> None:
    foreign: list[int] = []
    told = asyncio.run(
        changes(
            [
                partial(ours, OURS),
                partial(lambda: foreign.append(nft("add table ip other"))),
                partial(ours, "flush chain inet cnnf one"),
                partial(lambda: foreign.append(nft("flush ruleset"))),
            ]
        )
    )
    assert [(one.pid, one.program) for one in told] == [(pid, "nft") for pid in foreign]
    assert told[1].generation > told[0].generation > 0
    assert told[1].generation == ruleset_watch.generation()


def test_a_change_by_one_of_our_threads_is_ours(host: Namespace) -> None:
    def commit() -> None:
        # NFNL_MSG_BATCH_BEGIN, a table, NFNL_MSG_BATCH_END.
        batch = struct.pack(">BBH", 0, 0, 10)
        netlink = NetlinkSocket(NETLINK_NETFILTER)
        head = message(0x10, 1, netlink.sequence(), batch)
        name = struct.pack(">BBH", 1, 0, 0) + attribute(1, b"threaded\0")
        # The answer to be waited for is that to the table, not to what is around it.
        body = message(0x0A00, 1 | 4 | 0x400, netlink.sequence(), name)
        netlink.ask("adding a table", head + body + message(0x11, 1, 0, batch))
        netlink.close()

    keep = Event()

    def work() -> None:
        with host.entered():
            commit()
        # A worker of an executor lives on, too.
        keep.wait(5)

    worker = Thread(target=work)
    told = asyncio.run(changes([worker.start, partial(time.sleep, 0.2)]))
    keep.set()
    worker.join()
    assert "threaded" in host.run("nft", "list", "tables")
    assert told == []


def test_iptables_is_told_by_its_nft_front_end(host: Namespace) -> None:
    rule = ["iptables-nft", "-I", "INPUT", "-j", "ACCEPT"]
    told = asyncio.run(changes([partial(subprocess.run, rule, check=True)]))
    assert told
    assert {one.program for one in told} == {"iptables-nft"}


def test_emptying_a_big_set_does_not_overflow_the_watch(host: Namespace) -> None:
    nft(big_set(60_000))
    started = time.monotonic()
    told = asyncio.run(changes([partial(nft, "flush set inet many s")]))
    assert time.monotonic() - started < 10
    assert [one.program for one in told] == ["nft"]


def test_a_burst_of_changes_is_told_one_by_one(host: Namespace) -> None:
    told = asyncio.run(changes([partial(nft, f"add table ip t{n}") for n in range(40)]))
    assert len({one.generation for one in told}) == 40
    assert all(one.program == "nft" for one in told)


def test_lost_notifications_are_told_as_a_change(
    host: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The smallest receive buffer there is, and nobody reads while 60 commits are made.
    make = socket.socket

    def small(*arguments: int) -> socket.socket:
        made = make(*arguments)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        return made

    monkeypatch.setattr("cnnf.defender.kernel.ruleset_watch.socket.socket", small)
    told = asyncio.run(changes([partial(nft, f"add table ip t{n}") for n in range(60)]))
    assert RulesetChange() in told
    assert len(told) < 60


def test_rules_are_told_by_chain(host: Namespace) -> None:
    assert ruleset_watch.rules_by_chain() == {}
    nft("table inet other { chain c { accept; drop; }; }")
    nft("table ip cnnf { chain c { accept; }; }")
    assert ruleset_watch.rules_by_chain() == {}
    ours(OURS)
    found = ruleset_watch.rules_by_chain()
    assert {chain: len(handles) for chain, handles in found.items()} == {"one": 1, "three": 3}
    listed = host.run("nft", "-a", "list", "chain", "inet", "cnnf", "one")
    handle = listed.splitlines()[2].rpartition(" ")[2]
    nft(f"replace rule inet cnnf one handle {handle} tcp dport 7 accept")
    replaced = ruleset_watch.rules_by_chain()
    assert replaced["one"] != found["one"]
    assert replaced["three"] == found["three"]
    nft("flush chain inet cnnf three")
    assert ruleset_watch.rules_by_chain() == {"one": replaced["one"]}
    nft("flush ruleset")
    assert ruleset_watch.rules_by_chain() == {}


def many_rules(count: int) -> str:
    """Rules that take many datagrams to dump."""
    rules = "".join(f"add rule inet many c ip saddr 10.0.{n >> 8}.{n & 255} accept\n"
                    for n in range(count))  # fmt: skip
    return "add table inet many\nadd chain inet many c\n" + rules


class Disturbed(NetlinkSocket):
    """Somebody changes rules within the first `times` dumps."""

    times = 0

    def dump(self, subject: str, request: bytes) -> Iterator[bytes]:
        for at, payload in enumerate(super().dump(subject, request)):
            if at == 0 and self.times > 0:
                self.times -= 1
                nft("add table ip disturbing\ndelete table ip disturbing")
            yield payload


@pytest.fixture
def disturbed(host: Namespace) -> Iterator[Disturbed]:
    """A socket in a namespace with 2,000 rules."""
    nft(many_rules(2_000))
    netlink = Disturbed(NETLINK_NETFILTER)
    try:
        yield netlink
    finally:
        netlink.close()


RULES = partial(rulesetgen.dump_rules, table="many")


def test_an_interrupted_dump_says_so_and_is_read_again(disturbed: Disturbed) -> None:
    disturbed.times = 1
    with pytest.raises(Interrupted, match="reading: it changed"):
        list(disturbed.dump("reading", RULES(disturbed.sequence())))
    # The socket is as good as before.
    assert len(list(disturbed.dump("reading", RULES(disturbed.sequence())))) == 2_000
    disturbed.times = 3
    assert len(disturbed.whole("reading", RULES)) == 2_000
    assert disturbed.times == 0


def test_a_dump_is_tried_a_bounded_number_of_times(disturbed: Disturbed) -> None:
    disturbed.times = DUMP_TRIES_MAX + 5
    with pytest.raises(Interrupted):
        disturbed.whole("reading", RULES)
    assert disturbed.times == 5


def test_elements_of_an_old_set_are_whole_whatever_else_changes(host: Namespace) -> None:
    nft(big_set(5_000))
    netlink = Disturbed(NETLINK_NETFILTER)
    netlink.times = 1
    try:
        payloads = netlink.whole("reading", partial(nftset.dump, table="many", name="s"))
    finally:
        netlink.close()
    keys = [element.key for one in payloads for element in nftset.decode_elements(one)]
    assert (len(keys), len(set(keys))) == (5_000, 5_000)
    assert netlink.times == 0


#: Packets to any port of the host's own are added to a set, and go no further.
GROWING = """
add table inet many
add set inet many s { typeof udp dport . ip daddr; size 131072; flags dynamic; counter; }
add chain inet many o { type filter hook output priority 0; }
add rule inet many o meta l4proto udp add @s { udp dport . ip daddr }
add rule inet many o meta l4proto udp drop
"""


def test_a_set_that_packets_add_to_is_read_whole(host: Namespace) -> None:
    nft(GROWING)
    sent: list[bytes] = []
    stop = Event()
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

    def send() -> None:
        address = bytes([127, 0, 0, 1])
        for port in range(1, 40_000):
            # Dropped on its way out: EPERM.
            with suppress(PermissionError):
                sock.sendto(b"x", ("127.0.0.1", port))
            sent.append(port.to_bytes(2, "big") + b"\0\0" + address)
            if stop.is_set():
                return

    netlink = NetlinkSocket(NETLINK_NETFILTER)
    sender = Thread(target=send)
    sender.start()
    try:
        while sender.is_alive():
            before = len(sent)
            found = [one.key for one in elements.read(netlink, "many", "s")]
            assert len(found) == len(set(found))
            assert set(sent[:before]) <= set(found)
    finally:
        stop.set()
        sender.join()
        sock.close()
        netlink.close()


def test_a_set_that_is_not_there_is_refused(host: Namespace) -> None:
    netlink = NetlinkSocket(NETLINK_NETFILTER)
    try:
        with pytest.raises(KernelRefused, match="ENOENT"):
            netlink.whole("reading", partial(nftset.dump, table="cnnf", name="nothing"))
    finally:
        netlink.close()
