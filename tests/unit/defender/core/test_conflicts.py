"""Whose rules are in our way, and whose are not."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnnf.defender.core import conflicts
from cnnf.defender.core.conflicts import Conflict, Ours, RoutingRule
from cnnf.defender.core.limits import CONFLICTS_MAX

OURS = Ours(range(8030, 8034), 0x3C00)
MARK = {"meta": {"key": "mark"}}
CT = {"ct": {"key": "mark"}}


def iptables(*rules: str, ours: Ours = OURS) -> list[Conflict]:
    """Conflicts of these rules, in the mangle table."""
    saved = "*mangle\n:PREROUTING ACCEPT [0:0]\n" + "\n".join(rules) + "\nCOMMIT\n"
    return conflicts.in_iptables(saved, ours, program="iptables", own_comment="cnnf")


def nft(*expressions: dict[str, Any], ours: Ours = OURS, table: str = "t") -> list[Conflict]:
    """Conflicts of one rule with these expressions."""
    rule = {"family": "inet", "table": table, "chain": "c", "handle": 4, "expr": expressions}
    listing = json.dumps({"nftables": [{"metainfo": {}}, {"rule": rule}]})
    return conflicts.in_nft(
        listing, ours, own_table="cnnf", shown_before=frozenset({("inet", "shown")})
    )


def sets(key: dict[str, Any], value: object) -> dict[str, Any]:
    """`KEY set VALUE`."""
    return {"mangle": {"key": key, "value": value}}


@pytest.mark.parametrize(
    ("rule", "kind"),
    [
        ("-A PREROUTING -j MARK --set-xmark 0x1/0xffffffff", "mark-written"),
        ("-A PREROUTING -j MARK --set-xmark 0x400/0x0", "mark-written"),
        ("-A PREROUTING -j MARK --set-xmark 0x0/0x2000", "mark-written"),
        ("-A PREROUTING -j MARK --set-mark 5", "mark-written"),
        ("-A PREROUTING -p tcp -j TPROXY --on-port 5 --tproxy-mark 0x1", "mark-written"),
        # Cilium's mask shares two bits with our default one.
        ("-A CILIUM_PRE_mangle -p tcp -j MARK --set-xmark 0x200/0xf00", "mark-written"),
        ("-A PREROUTING -j CONNMARK --restore-mark", "mark-restored"),
        (
            "-A PREROUTING -j CONNMARK --restore-mark --nfmask 0xffffffff --ctmask 0xffffffff",
            "mark-restored",
        ),
        ("-A OUTPUT -j CONNMARK --save-mark --nfmask 0xffff --ctmask 0xffff", "mark-saved"),
        ("-A FORWARD -j NFQUEUE --queue-num 8031", "queue-used"),
        ("-A FORWARD -j NFQUEUE --queue-balance 8000:8040 --queue-bypass", "queue-used"),
        ("-A FORWARD ! -p udp -j NFQUEUE --queue-num 8033", "queue-used"),
    ],
)
def test_iptables_rules_in_our_way(rule: str, kind: str) -> None:
    (found,) = iptables(rule)
    assert (found.kind, found.where, found.what) == (kind, "iptables, table mangle", rule)
    assert found.advice


#: Real rules, as the programs' own save prints them.
HARMLESS = {
    "kube-proxy": (
        "-A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000",
        "-A KUBE-MARK-DROP -j MARK --set-xmark 0x8000/0x8000",
        "-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN",
        "-A KUBE-POSTROUTING -j MARK --set-xmark 0x4000/0x0",
        "-A KUBE-FORWARD -m mark --mark 0x4000/0x4000 -j ACCEPT",
    ),
    "calico": (
        "-A cali-PREROUTING -j MARK --set-xmark 0x0/0xf0000",
        "-A cali-from-host-endpoint -j MARK --set-xmark 0x10000/0x10000",
        "-A cali-PREROUTING -m mark --mark 0x10000/0x10000 -j ACCEPT",
        "-A cali-tw-x -m conntrack --ctstate INVALID -j DROP",
    ),
    "docker swarm": (
        "-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER-INGRESS",
        "-A DOCKER-INGRESS -p tcp -m tcp --dport 8080 -j DNAT --to-destination 172.18.0.2:8080",
        "-A DOCKER-ISOLATION-STAGE-2 -o docker0 -j DROP",
    ),
    "firewalld": (
        "-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED,DNAT -j ACCEPT",
        "-A INPUT_direct -m mark --mark 0x64 -j ACCEPT",
    ),
    "ufw": (
        "-A ufw-before-input -m conntrack --ctstate INVALID -j ufw-logging-deny",
        "-A ufw-user-input -p tcp -m tcp --dport 22 -j ACCEPT",
    ),
    "tailscale": (
        "-A ts-forward -i tailscale0 -j MARK --set-xmark 0x40000/0xff0000",
        "-A ts-forward -m mark --mark 0x40000/0xff0000 -j ACCEPT",
        "-A ts-postrouting -m mark --mark 0x40000/0xff0000 -j MASQUERADE",
    ),
    "weave": ("-A WEAVE -j MARK --set-xmark 0x20000/0x20000",),
    "suricata": ("-A FORWARD -j NFQUEUE --queue-num 0", "-A FORWARD -j NFQUEUE"),
    "wireguard": (
        "-A PREROUTING -p udp -j CONNMARK --restore-mark --nfmask 0xffffffff --ctmask 0xffffffff",
        "-A POSTROUTING -p udp -m mark --mark 0xca6c -j CONNMARK --save-mark",
    ),
    "masked copies": (
        "-A PREROUTING -j CONNMARK --restore-mark --nfmask 0xff0000 --ctmask 0xff0000",
        "-A OUTPUT -j CONNMARK --save-mark --nfmask 0xff0000 --ctmask 0xff0000",
        "-A OUTPUT -j CONNMARK --set-xmark 0x5/0xffffffff",
    ),
    "ours": (
        '-A INPUT -m comment --comment "cnnf" -j NFQUEUE --queue-balance 8030:8033',
        "-A INPUT -m comment --comment cnnf -j NFQUEUE --queue-num 8030",
    ),
}


@pytest.mark.parametrize("program", HARMLESS)
def test_rules_that_leave_us_alone(program: str) -> None:
    assert iptables(*HARMLESS[program]) == []


def test_udp_matters_only_where_it_is_looked_at() -> None:
    assert len(iptables(*HARMLESS["wireguard"], ours=OURS._replace(udp=True))) == 2
    udp = {"match": {"op": "==", "left": {"meta": {"key": "l4proto"}}, "right": "udp"}}
    dns = {"match": {"op": "==", "left": {"payload": {"protocol": "udp", "field": "dport"}},
                     "right": 53}}  # fmt: skip
    for guard in (udp, dns):
        assert nft(guard, sets(MARK, CT)) == []
        assert len(nft(guard, sets(MARK, CT), ours=OURS._replace(udp=True))) == 1


@pytest.mark.parametrize(
    ("expression", "kind", "words"),
    [
        (sets(MARK, 1), "mark-written", "0x3c00"),
        (sets(MARK, {"|": [{"&": [MARK, 0xFFFF00FF]}, 0x100]}), "mark-written", "0x3c00"),
        (sets(MARK, {"&": [MARK, 0xFFFFF7FF]}), "mark-written", "0x800"),
        (sets(MARK, {"|": [0x1000, MARK]}), "mark-written", "0x1000"),
        (sets(MARK, {"^": [MARK, 0x2000]}), "mark-written", "0x2000"),
        (sets(MARK, {"map": {"key": "x", "data": {"set": []}}}), "mark-written", "0x3c00"),
        (sets(MARK, CT), "mark-restored", "0x3c00"),
        (sets(MARK, {"&": [CT, 0xFF]}), "mark-restored", "0x3c00"),
        (sets(MARK, {"|": [{"&": [MARK, 0xFF]}, {"&": [CT, 0xFFFF00]}]}), "mark-restored", "3c00"),
        (sets(CT, MARK), "mark-saved", "0x3c00"),
        (sets(CT, {"&": [MARK, 0xFF00]}), "mark-saved", "0x3c00"),
        ({"queue": {"num": 8033}}, "queue-used", "8033"),
        ({"queue": {"num": {"range": [0, 8030]}, "flags": ["bypass"]}}, "queue-used", "0-8030"),
        ({"queue": {"num": {"jhash": {"mod": 4}}}}, "queue-used", "0-65535"),
    ],
)
def test_nft_rules_in_our_way(expression: dict[str, Any], kind: str, words: str) -> None:
    (found,) = nft(expression)
    assert (found.kind, found.where) == (kind, "nft inet t c, handle 4")
    assert words in found.what
    assert nft(expression, table="cnnf") == []
    assert nft(expression, table="shown") == []


@pytest.mark.parametrize(
    "expression",
    [
        sets(MARK, {"|": [MARK, 0x4000]}),
        sets(MARK, {"&": [MARK, 0xFFFFBFFF]}),
        sets(MARK, {"|": [{"&": [MARK, 0xFF00FFFF]}, 0x40000]}),
        sets(MARK, {"^": [MARK, 0x4000]}),
        sets(MARK, {"|": [{"&": [MARK, 0xFFFF]}, {"&": [CT, 0xFF0000]}]}),
        sets(MARK, MARK),
        sets(CT, 5),
        sets(CT, {"&": [MARK, 0xFF0000]}),
        {"match": {"op": "==", "left": MARK, "right": 0x400}},
        {"queue": {"num": 0}},
        {"queue": None},
        {"xt": {"type": "target", "name": "MARK"}},
        {"accept": None},
    ],
)
def test_nft_rules_that_leave_us_alone(expression: dict[str, Any]) -> None:
    assert nft(expression) == []


@given(st.integers(0, 0xFFFFFFFF), st.integers(0, 0xFFFFFFFF), st.integers(0, 0xFFFFFFFF))
def test_bits_are_those_that_really_change(keep: int, put: int, flip: int) -> None:
    value = {"^": [{"|": [{"&": [MARK, keep]}, put]}, flip]}
    changes = 0
    for before in (0, 0xFFFFFFFF):
        changes |= before ^ (((before & keep) | put) ^ flip)
    found = nft(sets(MARK, value))
    assert bool(found) == bool(changes & 0x3C00)
    if found:
        assert f"{changes & 0x3C00:#x} " in found[0].what


def test_routing_by_our_bits() -> None:
    rules = [
        RoutingRule(5210, 0x80000, 0xFF0000),
        RoutingRule(100, 1, 0xFFFFFFFF),
        RoutingRule(101, 0x4000, 0x4000),
    ]
    (found,) = conflicts.in_routing(rules, OURS)
    assert (found.kind, found.where) == ("mark-routed", "ip rule, priority 100")


def test_answered_queues_and_whose_they_are() -> None:
    table = (
        " 8030   4711     0 2 65531     0     0        0  1\n    1     99     0 2 1 0 0 0  1\nx\n"
    )
    assert conflicts.answered_queues(table, OURS) == {8030: 4711}
    netlink = (
        "sk               Eth Pid        Groups   Rmem     Wmem     Dump  Locks    Drops    Inode\n"
        "00000000f9db54bc 4   4711       00000000 0        0        0     2        0        1\n"
        "00000000f9db54bc 12  4711       00000000 0        0        0     2        0        77\n"
    )
    assert conflicts.netlink_inode(netlink, 4711, 12) == 77
    assert conflicts.netlink_inode(netlink, 4712, 12) == 0


def test_output_is_bounded() -> None:
    rules = [f"-A C{n} -j MARK --set-xmark 0x1/0xffffffff" for n in range(1000)]
    found = conflicts.bounded([*iptables(*rules), *iptables(*rules)])
    assert len(found) == CONFLICTS_MAX
    assert (found[-1].kind, found[-1].what) == (
        "more",
        f"{1000 - CONFLICTS_MAX + 1} more conflicts",
    )
    assert len(iptables(f"-A C -j MARK --set-mark 1 {'x' * 5000}")[0].what) == 200


@given(st.text(max_size=300))
def test_any_text_is_read(text: str) -> None:
    iptables(f"-A {text}")
    conflicts.answered_queues(text, OURS)
    conflicts.netlink_inode(text, 1, 12)


values = st.recursive(
    st.none() | st.booleans() | st.integers(0, 2**40) | st.text(max_size=5) | st.just(MARK),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["&", "|", "mangle", "queue", "key", "value", "num", "match", "left", "meta", "op"]
            ),
            inner,
            max_size=3,
        )
    ),
    max_leaves=20,
)


@given(values)
def test_any_listing_is_read_or_refused(value: object) -> None:
    parts = [value, {"mangle": value}, sets(MARK, value), {"match": value}, {"queue": value}]
    rules = [{"rule": value}, {"rule": {"expr": parts}}]
    for document in (value, {"nftables": value}, {"nftables": rules}):
        listing = json.dumps(document)
        conflicts.in_nft(listing, OURS, own_table="cnnf", shown_before=frozenset())
    with pytest.raises(msgspec.DecodeError):
        conflicts.in_nft("{", OURS, own_table="cnnf", shown_before=frozenset())
