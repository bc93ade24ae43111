"""SYNs that are made to be misread: extension headers, and addresses that are somebody else's."""

import socket
import struct
from collections.abc import Iterator

import pytest

from tests.kernel.conftest import Network, Recording
from tests.kernel.stage import SILENT_SECONDS, WAYS, Stage, made_stage, policy, until
from tests.lab import netns

pytestmark = pytest.mark.kernel

FREE, PREVENTED = 8051, 8052
PREVENT = policy(f"name: never, ports: [{PREVENTED}], effect: prevent")
ALERT = policy(f"name: look, ports: [{PREVENTED}], effect: alert")
#: Bytes of destination options with which a SYN's ports still lie within what is copied (512).
READABLE = (8, 64, 400)
TOO_LONG = 800


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    if not netns.can_make():
        pytest.skip("needs root, iproute2 and util-linux")
    with made_stage() as made:
        made.listen(FREE, PREVENTED)
        yield made


@pytest.fixture(scope="module", params=["native", "python"])
def recording(stage: Stage, request: pytest.FixtureRequest) -> Iterator[Recording]:
    with stage.recording(loop=request.param) as made:
        yield made


def six(stage: Stage, way_index: int, port: int) -> tuple[str, int]:
    """A way's IPv6 target."""
    return stage.address(WAYS[way_index], 1), port


@pytest.mark.parametrize("way", range(len(WAYS)), ids=[way.hook for way in WAYS])
def test_extension_headers(stage: Stage, recording: Recording, way: int) -> None:
    peer = stage.peers[WAYS[way].client]
    free, prevented = six(stage, way, FREE), six(stage, way, PREVENTED)
    recording.ask("policy", PREVENT)
    for length in READABLE:
        # Fresh each time, and then remembered.
        recording.ask("switch")
        tried = peer.connect(free, prevented, count=2, headers=length, timeout=2.0)
        assert tried == [["answered"] * 2, ["refused"] * 2], length
    dropped = recording.ask("state")["dropped"]
    recording.ask("switch")
    silent = peer.connect(free, prevented, headers=TOO_LONG, timeout=SILENT_SECONDS)
    assert silent == [["silent"], ["silent"]], "it may be anything, and something is prevented"
    until(lambda: recording.ask("state")["dropped"] >= dropped + 2, 3, "dropped ones are counted")
    # With nothing to prevent the fail mode holds, which is open.
    recording.ask("policy", ALERT)
    assert peer.connect(free, headers=TOO_LONG) == [["answered"]]


def checksum(data: bytes) -> int:
    """RFC 1071, of an even number of bytes."""
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return int(~total & 0xFFFF)


def spoofed_syn(source: str, source_port: int, destination: str, port: int) -> bytes:
    """An IPv4 packet that says to be of somebody else."""
    ends = socket.inet_aton(source) + socket.inet_aton(destination)
    segment = struct.pack("!HHIIBBHHH", source_port, port, 1, 0, 5 << 4, 0x02, 64_240, 0, 0)
    pseudo = ends + struct.pack("!BBH", 0, socket.IPPROTO_TCP, len(segment))
    segment = segment[:16] + struct.pack("!H", checksum(pseudo + segment)) + segment[18:]
    header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(segment), 7, 0, 64, socket.IPPROTO_TCP, 0)
    return header + ends + segment


def test_a_spoofed_source_is_judged_by_what_it_claims(stage: Stage, recording: Recording) -> None:
    """From c, in d's name and in a's, into b's network: by address nobody else can be told."""
    a, b, c, d = (Network.ADDRESSES[name][0] for name in "abcd")
    recording.ask(
        "policy",
        policy(
            "name: not d, source: [d], effect: prevent",
            "name: see a, source: [a], effect: alert",
            objects=(
                f"name: d, type: subnet, values: [{d}]",
                f"name: a, type: subnet, values: [{a}]",
            ),
        ),
    )
    # Sources are not checked against the way that packets come in, as on most container hosts.
    for device in ("all", "default", "br0", "to-a", "to-b"):
        stage.host.run("sysctl", "-qw", f"net.ipv4.conf.{device}.rp_filter=0")
    b_namespace = stage.namespace("b")
    b_namespace.run("nft", "add table ip arrived")
    b_namespace.run("nft", "add chain ip arrived c { type filter hook input priority -300; }")
    for source in (a, c, d):
        syn = f"ip saddr {source} tcp dport {FREE} tcp flags & (syn|ack|rst) == syn"
        b_namespace.run("nft", f"add rule ip arrived c {syn} counter")
    try:
        with stage.namespace("c").entered():
            raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
        with raw:
            for source in (c, d, a):
                # Of two that are alike conntrack drops the second while the first still waits.
                for source_port in (40_000, 40_001, 40_002):
                    raw.sendto(spoofed_syn(source, source_port, b, FREE), (b, 0))

        def arrived() -> list[str]:
            listed = b_namespace.run("nft", "list", "chain", "ip", "arrived", "c")
            return [
                line.split("packets ")[1].split()[0]
                for line in listed.splitlines()
                if "packets" in line
            ]

        until(lambda: arrived() == ["3", "3", "0"], 3, f"{arrived()}: a's, c's, none of d's")
        told = {
            one["source"]: (one["connections"], one["effect"], one["cause"])
            for one in recording.ask("flows")
            if one["port"] == FREE and one["destination"] == b
        }
        assert told == {
            a: (3, "alert", "rule:see a"),
            c: (3, None, ""),
            d: (3, "prevent", "rule:not d"),
        }
    finally:
        b_namespace.run("nft", "delete", "table", "ip", "arrived")
