"""What packets of DNS tell: answers to queries that were seen, and nothing else."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from cnnf.defender.core import limits
from cnnf.defender.core.dns_exchanges import Exchanges
from cnnf.defender.core.names import HOST, Learned
from cnnf.defender.netlink.nfqueue import FORWARD, INPUT, OUTPUT
from tests.lab.dns import AAAA, ASKED, address, answer, query, tcp, udp

NOW = 1_000_000_000_000
POD, RESOLVER, HOST_ADDRESS = "10.1.0.4", "192.0.2.53", "192.0.2.10"
PACKED = bytes([10, 1, 0, 4])
ADDRESS = bytes([203, 0, 113, 7])
REPLY = answer("api.example", [address(ASKED, "203.0.113.7", 60)])
TOLD = Learned(PACKED, "api.example", ((ADDRESS, 60),), bytes([192, 0, 2, 53]))


def asked(exchanges: Exchanges, data: bytes = b"", hook: int = FORWARD, who: str = POD) -> None:
    packet = udp(who, RESOLVER, (40_000, 53), data or query("api.example"))
    assert exchanges.take(hook, packet, NOW) == []


def replied(
    exchanges: Exchanges,
    data: bytes = REPLY,
    hook: int = FORWARD,
    *,
    source: str = RESOLVER,
    port: int = 40_000,
    after_ms: int = 1,
) -> list[Learned]:
    return exchanges.take(hook, udp(source, POD, (53, port), data), NOW + after_ms)


def test_an_answer_to_a_query() -> None:
    exchanges = Exchanges()
    asked(exchanges)
    assert replied(exchanges) == [TOLD]
    # Once: what comes again is nobody's answer.
    assert replied(exchanges) == []
    assert exchanges.unasked == 1


def test_an_answer_that_nobody_waited_for() -> None:
    changes: tuple[dict[str, Any], ...] = (
        {"source": "192.0.2.54"},
        {"port": 40_001},
        {"after_ms": limits.DNS_ANSWER_MS_MAX + 1},
        {"data": answer("api.example", [address(ASKED, "203.0.113.7")], number=2)},
        {"data": answer("bank.example", [address(ASKED, "203.0.113.7")])},
        {"data": answer("api.example", [address(ASKED, "2001:db8::7")], AAAA)},
        {"hook": INPUT},
    )
    for change in changes:
        exchanges = Exchanges()
        asked(exchanges)
        assert replied(exchanges, **change) == []
        assert exchanges.unasked == 1
        assert exchanges.unreadable == 0
        # What was asked is still waited for, unless it was too late.
        assert replied(exchanges) == ([] if "after_ms" in change else [TOLD])


def test_the_host_asks_by_whatever_address() -> None:
    exchanges = Exchanges()
    packet = udp(HOST_ADDRESS, RESOLVER, (40_000, 53), query("api.example"))
    assert exchanges.take(OUTPUT, packet, NOW) == []
    packet = udp(RESOLVER, HOST_ADDRESS, (53, 40_000), REPLY)
    assert exchanges.take(INPUT, packet, NOW) == [TOLD._replace(asker=HOST)]


def test_a_container_asks_a_resolver_on_the_host() -> None:
    exchanges = Exchanges()
    asked(exchanges, hook=INPUT)
    assert replied(exchanges, hook=OUTPUT) == [TOLD]


def test_ipv6_and_ipv4_within_ipv6() -> None:
    exchanges = Exchanges()
    packet = udp("fd00::4", "2001:db8::53", (40_000, 53), query("api.example", AAAA))
    exchanges.take(FORWARD, packet, NOW)
    records = [address(ASKED, "2001:db8::7", 60), address(ASKED, "::ffff:203.0.113.7", 60)]
    packet = udp("2001:db8::53", "fd00::4", (53, 40_000), answer("api.example", records, AAAA))
    (told,) = exchanges.take(FORWARD, packet, NOW)
    assert [len(one) for one, _ in told.addresses] == [16, 4]
    assert len(told.asker) == 16


def test_what_is_no_dns_is_counted() -> None:
    exchanges = Exchanges()
    asked(exchanges)
    assert replied(exchanges, query("api.example")[:6]) == []
    assert exchanges.take(FORWARD, b"\x45", NOW) == []
    assert exchanges.unreadable == 2
    assert exchanges.problem == "a packet without a whole header"


def test_a_query_s_packet_is_no_answer_and_neither_side_s_port_decides_alone() -> None:
    exchanges = Exchanges()
    # An "answer" sent by the asker himself.
    asked(exchanges)
    assert exchanges.take(FORWARD, udp(POD, RESOLVER, (40_000, 53), REPLY), NOW) == []
    assert exchanges.take(FORWARD, udp(RESOLVER, POD, (53, 53), REPLY), NOW) == []
    assert replied(exchanges) == [TOLD]


def test_queries_are_bounded() -> None:
    exchanges = Exchanges()
    asked(exchanges)
    for at in range(limits.DNS_QUERIES_MAX):
        asked(exchanges, query(f"{at}.example", number=at + 2))
    assert replied(exchanges) == []


def test_what_nobody_asked_for_is_not_even_read() -> None:
    exchanges = Exchanges()
    assert replied(exchanges, b"\0\1 no dns") == []
    assert (exchanges.unasked, exchanges.unreadable) == (1, 0)


def framed(data: bytes) -> bytes:
    return len(data).to_bytes(2, "big") + data


def sent(
    exchanges: Exchanges, data: bytes, sequence: int, *, back: bool = True, flags: int = 0x18
) -> list[Learned]:
    ends = (RESOLVER, POD, (53, 40_000)) if back else (POD, RESOLVER, (40_000, 53))
    packet = tcp(*ends, data, sequence=sequence, flags=flags)
    return exchanges.take(FORWARD, packet, NOW)


@given(st.integers(0, 2**32 - 1), st.lists(st.integers(1, 80), max_size=6))
def test_tcp_in_whatever_segments(sequence: int, cuts: list[int]) -> None:
    exchanges = Exchanges()
    other = answer("b.example", [address(ASKED, "203.0.113.8", 60)], number=2)
    queries = framed(query("api.example")) + framed(query("b.example", number=2))
    assert sent(exchanges, queries, 7, back=False) == []
    stream, told, at = framed(REPLY) + framed(other), [], 0
    for end in [*sorted(set(cuts)), len(stream)]:
        told += sent(exchanges, stream[at:end], sequence + at)
        # An acknowledgement that carries nothing, and the same segment once more.
        assert sent(exchanges, b"", sequence + end, flags=0x10) == []
        assert sent(exchanges, stream[at:end], sequence + at) == []
        at = end
    assert [one.name for one in told] == ["api.example", "b.example"]
    assert exchanges.unreadable == 0


def test_tcp_with_a_hole_is_given_up() -> None:
    exchanges = Exchanges()
    sent(exchanges, framed(query("api.example")), 7, back=False)
    stream = framed(REPLY)
    assert sent(exchanges, stream[:10], 100) == []
    assert sent(exchanges, stream[20:], 120) == []
    assert exchanges.unreadable == 1


def test_tcp_connections_are_bounded_and_end() -> None:
    exchanges = Exchanges()
    for port in range(limits.DNS_STREAMS_MAX + 10):
        packet = tcp(RESOLVER, POD, (53, 1_000 + port), framed(REPLY)[:9])
        exchanges.take(FORWARD, packet, NOW)
    assert len(exchanges._streams) == limits.DNS_STREAMS_MAX
    packet = tcp(RESOLVER, POD, (53, 1_000 + port), framed(REPLY)[9:], sequence=10, flags=0x19)
    exchanges.take(FORWARD, packet, NOW)
    assert len(exchanges._streams) == limits.DNS_STREAMS_MAX - 1
    # It said that so much would come.
    exchanges = Exchanges()
    exchanges.take(FORWARD, tcp(RESOLVER, POD, (53, 1_000), b"\xff\xff" + bytes(50)), NOW)
    assert exchanges.unreadable == 1
    assert not exchanges._streams


def test_a_connection_that_was_silent_for_long_begins_anew() -> None:
    exchanges = Exchanges()
    sent(exchanges, framed(query("api.example")), 7, back=False)
    packet = tcp(RESOLVER, POD, (53, 40_000), framed(REPLY)[:10])
    exchanges.take(FORWARD, packet, NOW - limits.DNS_STREAM_IDLE_MS - 1)
    assert sent(exchanges, framed(REPLY), 4_000) == [TOLD]


@given(st.binary(max_size=120), st.integers(0, 3), st.booleans())
def test_noise_never_names(data: bytes, hook: int, back: bool) -> None:
    exchanges = Exchanges()
    ends = (RESOLVER, POD, (53, 40_000)) if back else (POD, RESOLVER, (40_000, 53))
    for packet in (udp(*ends, data), tcp(*ends, data), data):
        assert exchanges.take(hook, packet, NOW) == []
