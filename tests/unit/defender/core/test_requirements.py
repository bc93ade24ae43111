"""What `cnnf doctor` makes of what it read."""

import pytest

from cnnf.defender.core.requirements import (
    check_bridges,
    check_front_ends,
    check_kernel,
    check_marks,
    check_privileges,
    check_queues,
    mark_bits,
    mark_rules,
)

QUEUE_LINE = " 8031   3456     0 2   512     0     0       10  1\n"


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ("CapEff:\t000001ffffffffff\n", "ok"),
        (f"CapEff:\t{1 << 12 | 1 << 21:016x}\n", "warn"),
        (f"CapEff:\t{1 << 12:016x}\n", "fail"),
        ("CapEff:\t0000000000000000\n", "fail"),
        ("", "fail"),
    ],
)
def test_privileges(status: str, state: str) -> None:
    check = check_privileges(status)
    assert check.state == state
    assert bool(check.mend) == (state != "ok")


@pytest.mark.parametrize(
    ("release", "state"),
    [
        ("6.1.0-18-amd64", "ok"),
        ("5.13.0", "ok"),
        ("5.10.0", "fail"),
        ("4.19", "fail"),
        ("?", "fail"),
    ],
)
def test_kernel(release: str, state: str) -> None:
    assert check_kernel(release).state == state


def test_front_ends() -> None:
    assert check_front_ends("iptables v1.8.9 (nf_tables)", {"nft": 5}).state == "ok"
    both = check_front_ends("iptables v1.8.9 (nf_tables)", {"nft": 5, "legacy": 1})
    assert both.state == "warn"
    assert "legacy, nft" in both.detail


def test_queue_numbers() -> None:
    assert check_queues("", range(8030, 8032), ours=False).state == "ok"
    taken = check_queues(QUEUE_LINE, range(8030, 8032), ours=False)
    assert taken.state == "fail"
    assert "8031 of 8030 to 8031" in taken.detail
    assert check_queues(QUEUE_LINE, range(8030, 8032), ours=True).state == "ok"
    assert check_queues(QUEUE_LINE, range(8040, 8041), ours=False).state == "ok"


@pytest.mark.parametrize(
    ("rule", "bits"),
    [
        ("-A OUTPUT -j MARK --set-xmark 0x400/0xffff", 0xFFFF),
        ("-A OUTPUT -j MARK --set-xmark 0x4000/0x0", 0x4000),
        ("-A OUTPUT -m mark --mark 0x8000/0x8000 -j DROP", 0x8000),
        ("-A OUTPUT -m mark --mark 0x1 -j DROP", 0xFFFFFFFF),
        ("-A OUTPUT -j CONNMARK --restore-mark --nfmask 0xff --ctmask 0xff", 0xFF),
        ("-A OUTPUT -j CONNMARK --restore-mark", 0xFFFFFFFF),
        ("-A OUTPUT -m comment --comment mark -j ACCEPT", 0),
        ("meta mark set meta mark | 0x00004000", 0x4000),
        ("meta mark & 0x000000ff == 0x00000003 accept", 0xFF),
        ("meta mark set meta mark & 0xffff00ff", 0xFF00),
        ("meta mark 0x00000001 accept", 0xFFFFFFFF),
    ],
)
def test_bits_of_a_rule(rule: str, bits: int) -> None:
    assert mark_bits(rule) == bits


def test_marks() -> None:
    assert check_marks(0x3C00, ["-A X -j MARK --set-xmark 0xc000/0xc000"]).state == "ok"
    many = check_marks(0x3C00, [f"-A X{n} -j MARK --set-xmark 0x400/0x400" for n in range(9)])
    assert many.state == "warn"
    assert "and 6 more" in many.detail


def test_own_rules_and_doubles_are_left_out() -> None:
    saved = (
        "*mangle\n"
        "-A OUTPUT -j MARK --set-xmark 0x1/0x1\n"
        "-A INPUT -m mark --mark 0x400/0x3c00 -m comment --comment cnnf -j NFQUEUE\n"
        "-A INPUT -p tcp -j ACCEPT\n"
    )
    ruleset = (
        "table inet cnnf {\n\tmeta mark & 0x400 == 0\n}\n"
        "table ip mangle {\n\tmeta mark set 0x1\n}\n"
        "table inet other {\n\tmeta mark 0x2 accept\n}\n"
    )
    named = mark_rules(saved, ruleset, own_table="cnnf", own_comment="cnnf")
    assert named == ["-A OUTPUT -j MARK --set-xmark 0x1/0x1", "meta mark 0x2 accept"]


def test_bridges() -> None:
    assert check_bridges(supported=False, bridges={}).state == "warn"
    check = check_bridges(supported=True, bridges={"docker0": False, "br-1": True})
    assert check.state == "ok"
    assert "1 of 2" in check.detail
    assert "docker0" in check.detail
