"""Other programs in our way, in a real kernel with their real tools."""

import os
import socket
from collections.abc import Iterator

import pytest

from cnnf.defender.core.conflicts import Conflict
from cnnf.defender.kernel import conflicts
from cnnf.defender.kernel.sockets import confirm, packet_socket
from cnnf.defender.netlink import nfqueue
from tests.lab import netns
from tests.lab.netns import Namespace

pytestmark = pytest.mark.kernel

QUEUES, MASK = range(8030, 8032), 0x3C00

#: As their programs make them.
OTHERS = (
    ("iptables", "-t", "nat", "-N", "KUBE-MARK-MASQ"),
    ("iptables", "-t", "nat", "-A", "KUBE-MARK-MASQ", "-j", "MARK", "--or-mark", "0x4000"),
    ("iptables", "-t", "nat", "-A", "POSTROUTING", "-j", "MARK", "--xor-mark", "0x4000"),
    ("iptables", "-t", "mangle", "-A", "FORWARD", "-j", "MARK", "--set-mark", "0x40000/0xff0000"),
    ("iptables", "-t", "filter", "-A", "INPUT", "-p", "tcp", "-j", "NFQUEUE", "--queue-num", "0"),
    (
        *("iptables", "-t", "security", "-A", "INPUT", "-m", "comment", "--comment", "cnnf"),
        *("-j", "NFQUEUE", "--queue-balance", "8030:8031"),
    ),
    ("ip", "rule", "add", "fwmark", "0x80000/0xff0000", "lookup", "52"),
    ("ip", "rule", "add", "not", "fwmark", "0xca6c", "lookup", "51820"),
)


@pytest.fixture
def host() -> Iterator[Namespace]:
    """A namespace that this thread is in, with others' harmless rules."""
    if not netns.can_make():
        pytest.skip("needs root, iproute2 and util-linux")
    netns.remove_stale()
    with netns.namespaces() as (one,), one.entered():
        for command in OTHERS:
            one.run(*command)
        one.run("nft", "add table inet cnnf; add chain inet cnnf c; "
                "add rule inet cnnf c meta mark set 0x400")  # fmt: skip
        yield one


def found(**more: frozenset[int]) -> list[Conflict]:
    """What is in our way."""
    return conflicts.conflicts(QUEUES, MASK, own_pids=more.get("own_pids", frozenset()))


def kinds() -> list[str]:
    """What sort of things are in our way."""
    return [one.kind for one in found()]


def test_usual_programs_are_not_in_our_way(host: Namespace) -> None:
    assert found() == []


@pytest.mark.parametrize(
    ("command", "kind"),
    [
        ("iptables -t mangle -A OUTPUT -j MARK --set-mark 7", "mark-written"),
        ("ip6tables -t mangle -A OUTPUT -j MARK --or-mark 0x400", "mark-written"),
        ("iptables-legacy -t mangle -A OUTPUT -j MARK --set-mark 7", "mark-written"),
        ("iptables -t mangle -A PREROUTING -j CONNMARK --restore-mark", "mark-restored"),
        ("iptables -t mangle -A PREROUTING -j CONNMARK --save-mark", "mark-saved"),
        ("iptables -A FORWARD -j NFQUEUE --queue-balance 8000:8050", "queue-used"),
        ("ip6tables-legacy -A FORWARD -j NFQUEUE --queue-num 8031", "queue-used"),
        ("ip rule add fwmark 0x1 lookup 100", "mark-routed"),
        ("ip -6 rule add fwmark 0x1000/0x1000 lookup 100", "mark-routed"),
    ],
)
def test_one_that_is(host: Namespace, command: str, kind: str) -> None:
    host.run(*command.split())
    assert kinds() == [kind]


def test_nft_rules_are_told_with_their_place(host: Namespace) -> None:
    host.run("nft", "add table inet vpn; add chain inet vpn out; "
             "add rule inet vpn out meta mark set ct mark")  # fmt: skip
    (one,) = found()
    assert (one.kind, one.where[:18]) == ("mark-restored", "nft inet vpn out, ")


def test_a_queue_that_somebody_answers(host: Namespace) -> None:
    # The second socket of a process has a port id that is not its pid.
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12) as first:
        first.bind((0, 0))
        sock = packet_socket(1 << 20, tell_overflow=False)
        try:
            confirm(sock, "binding", nfqueue.bind(8031, 1))
            (one,) = found()
            assert (one.kind, one.where) == ("queue-answered", "queue 8031")
            assert f"process {os.getpid()} (" in one.what
            assert found(own_pids=frozenset({os.getpid()})) == []
        finally:
            sock.close()
    assert found() == []
