"""Everybody else's marks: a verdict changes none of them, and none of ours stays anywhere."""

import subprocess
from collections.abc import Iterator

import pytest

from tests.kernel.conftest import Network, Recording
from tests.kernel.stage import SILENT_SECONDS, Stage, made_stage, policy
from tests.lab import netns

pytestmark = pytest.mark.kernel

FREE, ALERTED, PREVENTED = 8041, 8042, 8043
RULES = policy(
    f"name: look, ports: [{ALERTED}], effect: alert",
    f"name: never, ports: [{PREVENTED}], effect: prevent",
)
#: An address that only a routing table of its own leads to, on the loopback device of b.
FAR = ("203.0.113.7", "2001:db8::7")
#: A mark that is somebody's: bits below, between and above ours (0x3c00).
THEIRS = 0x40C10301
OURS = 0x3C00

#: What others do with marks. Counts what comes out of our hooks by its mark.
OTHERS = f"""
table inet others {{
    chain in {{
        type filter hook prerouting priority -150;
        iifname "to-a" meta mark set {THEIRS:#x}
    }}
    chain save {{
        type filter hook postrouting priority 300;
        tcp flags & (syn|ack) == syn jump seen
        meta mark & {OURS:#x} != 0 counter comment "ours"
        ct mark & {OURS:#x} != 0 counter comment "ours in conntrack"
        ct mark set meta mark
    }}
    chain seen {{
        meta mark {THEIRS:#x} counter comment "theirs"
        meta mark & {OURS:#x} != 0 counter comment "ours"
    }}
}}
"""


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    if not netns.can_make():
        pytest.skip("needs root, iproute2 and util-linux")
    with made_stage() as made:
        b = made.namespace("b")
        for address, prefix in zip(FAR, ("32", "128"), strict=True):
            b.run("ip", "address", "add", f"{address}/{prefix}", "dev", "lo")
        made.listen(FREE, ALERTED, PREVENTED)
        yield made


@pytest.fixture(scope="module", params=["native", "python"])
def recording(stage: Stage, request: pytest.FixtureRequest) -> Iterator[Recording]:
    with stage.recording(loop=request.param) as made:
        made.ask("policy", RULES)
        yield made


def far_route(stage: Stage, selector: str, *, add: bool) -> None:
    """Packets with a mark, and only these, know the way to FAR."""
    for family, gateway, address in zip(("-4", "-6"), Network.ADDRESSES["b"], FAR, strict=True):
        verb = "add" if add else "del"
        stage.host.run(
            "ip", family, "rule", verb, "fwmark", selector, "table", "71", "priority", "100"
        )
        stage.host.run("ip", family, "route", verb, address, "via", gateway, "table", "71")


@pytest.mark.parametrize(
    ("selector", "mark"),
    [("0x1", 0x1), ("0x1/0x1", THEIRS), ("0x40c10301", THEIRS)],
    ids=["whole", "masked", "every bit"],
)
def test_policy_routing_by_mark(
    stage: Stage, recording: Recording, selector: str, mark: int
) -> None:
    """Asked, remembered and refused SYNs of a service with a routing table of its own."""
    far_route(stage, selector, add=True)
    try:
        for address in FAR:
            for name in ("client", "program"):
                peer = stage.peers[name]
                for _ in range(2):
                    targets = [(address, port) for port in (FREE, ALERTED, PREVENTED)]
                    tried = peer.connect(*targets, count=3, mark=mark, timeout=2.0)
                    assert tried == [["answered"] * 3, ["answered"] * 3, ["refused"] * 3]
                    recording.ask("switch")
            # Without the mark there is no way there at all.
            lost = stage.peers["client"].connect((address, FREE), timeout=SILENT_SECONDS)
            assert lost[0][0] in ("unreachable", "silent")
    finally:
        far_route(stage, selector, add=False)


def test_no_socket_answers_for_a_loop(stage: Stage, recording: Recording) -> None:
    """A mark that looks like an answer, or like any part of one, lets nothing past a rule."""
    for family in (0, 1):
        b = Network.ADDRESSES["b"][family]
        for bits in range(0x400, 0x4000, 0x400):
            for name in ("client", "program"):
                tried = stage.peers[name].connect((b, PREVENTED), (b, FREE), mark=bits | 1)
                assert tried == [["refused"], ["answered"]], hex(bits)


def test_policy_routing_of_what_is_forwarded(stage: Stage, recording: Recording) -> None:
    """The mark is set before routing, by others; the reply finds its way by the main table."""
    subprocess.run(stage.host.command("nft", "-f", "-"), input=OTHERS.encode(), check=True)
    far_route(stage, f"{THEIRS:#x}", add=True)
    try:
        for address in FAR:
            for _ in range(2):
                targets = [(address, port) for port in (FREE, ALERTED, PREVENTED)]
                tried = stage.peers["a"].connect(*targets, count=3, timeout=2.0)
                assert tried == [["answered"] * 3, ["answered"] * 3, ["refused"] * 3]
                recording.ask("switch")
    finally:
        far_route(stage, f"{THEIRS:#x}", add=False)
        stage.host.run("nft", "delete", "table", "inet", "others")


def counted(stage: Stage) -> dict[str, int]:
    """The others' counters, by comment."""
    found: dict[str, int] = {}
    for line in stage.host.run("nft", "list", "table", "inet", "others").splitlines():
        if "counter packets" in line:
            packets = int(line.split("counter packets ")[1].split()[0])
            name = line.split('comment "')[1].rstrip('"')
            found[name] = found.get(name, 0) + packets
    return found


def test_other_bits_survive_and_ours_stay_nowhere(stage: Stage, recording: Recording) -> None:
    """Whatever became of a SYN; also in what others save in conntrack's mark."""
    subprocess.run(stage.host.command("nft", "-f", "-"), input=OTHERS.encode(), check=True)
    try:
        made = 0
        for family in (0, 1):
            b = Network.ADDRESSES["b"][family]
            for _ in range(2):
                for name, mark in (("a", {}), ("client", {"mark": THEIRS}),
                                   ("program", {"mark": THEIRS})):  # fmt: skip
                    targets = [(b, port) for port in (FREE, ALERTED, PREVENTED)]
                    tried = stage.peers[name].connect(*targets, count=3, **mark)
                    assert tried == [["answered"] * 3, ["answered"] * 3, ["refused"] * 3]
                    made += 6
                recording.ask("switch")
            d = Network.ADDRESSES["d"][family]
            assert stage.peers["c"].connect((d, FREE), (d, PREVENTED), count=3) == [
                ["answered"] * 3,
                ["refused"] * 3,
            ]
        assert counted(stage) == {"theirs": made, "ours": 0, "ours in conntrack": 0}
    finally:
        stage.host.run("nft", "delete", "table", "inet", "others")


@pytest.mark.parametrize("family", [0, 1], ids=["ipv4", "ipv6"])
def test_clamped_segment_sizes_stay_clamped(
    stage: Stage, recording: Recording, family: int
) -> None:
    """TCPMSS changes the SYN itself, before us; a verdict gives no packet back as it was."""
    program = ("iptables", "ip6tables")[family]
    clamp = ("FORWARD", "-p", "tcp", "--tcp-flags", "SYN,RST", "SYN", "-j", "TCPMSS",
             "--set-mss", "700")  # fmt: skip
    seen = "add rule inet mss c tcp flags & (syn|ack) == syn tcp option maxseg size"
    stage.host.run(program, "-t", "mangle", "-A", *clamp)
    b = stage.namespace("b")
    b.run("nft", "add table inet mss")
    b.run("nft", "add chain inet mss c { type filter hook input priority 0; }")
    b.run("nft", f"{seen} 700 counter")
    b.run("nft", f"{seen} != 700 counter")
    try:
        recording.ask("switch")
        target = (Network.ADDRESSES["b"][family], FREE)
        assert stage.peers["a"].connect(target, count=4) == [["answered"] * 4]
        listed = b.run("nft", "list", "chain", "inet", "mss", "c")
        assert [line.split("packets ")[1].split()[0] for line in listed.splitlines()
                if "packets" in line] == ["4", "0"]  # fmt: skip
    finally:
        b.run("nft", "delete", "table", "inet", "mss")
        stage.host.run(program, "-t", "mangle", "-D", *clamp)
