"""What goes in comes out; what is damaged, too large or of another time is refused by its name."""

import contextlib

import msgspec
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from cnnf.protocol import limits
from cnnf.protocol.codec import decode_batch, decode_json, encode_batch, encode_json
from cnnf.protocol.errors import (
    MalformedMessage,
    MessageTooLarge,
    ProtocolError,
    UnsupportedVersion,
)
from cnnf.protocol.messages import (
    Ack,
    Batch,
    Condition,
    Endpoint,
    EnrolReply,
    EnrolRequest,
    Flow,
    Gap,
    HostInfo,
    Instance,
    Process,
    Settings,
)

INCARNATION = "0123456789abcdef" * 2
text = st.text(max_size=40)
name = st.text(min_size=1, max_size=40)
moment = st.integers(1, 2**53 - 1)
count = st.integers(0, 2**53 - 1)
address = st.one_of(st.ip_addresses(v=4).map(str), st.ip_addresses(v=6).map(str))
endpoint = st.one_of(
    st.builds(Endpoint, address=address),
    st.builds(Endpoint, instance=name),
    st.builds(Endpoint, address=address, instance=name),
    st.builds(
        Endpoint,
        address=address,
        names=st.lists(st.from_regex(r"[a-z0-9_.\\-]{1,253}", fullmatch=True), max_size=8).map(
            tuple
        ),
    ),
)


@st.composite
def flows(draw: st.DrawFn) -> Flow:
    first, last = sorted((draw(moment), draw(moment)))
    return Flow(
        source=draw(endpoint),
        destination=draw(endpoint),
        port=draw(st.integers(0, 65_535)),
        protocol=draw(st.sampled_from(["tcp", "udp"])),
        connections=draw(count),
        found=draw(count),
        first_seen=first,
        last_seen=last,
        process=draw(
            st.none() | st.builds(Process, pid=count, executable=text, command=text, user=text)
        ),
    )


instances = st.builds(
    Instance,
    id=name,
    kind=st.sampled_from(["container", "service"]),
    name=name,
    tag=text,
    digest=text,
    cluster=text,
    namespace=text,
    project=text,
    title=text,
    labels=st.dictionaries(text, text, max_size=5),
    addresses=st.lists(address, max_size=5),
    ports=st.lists(st.integers(0, 65_535), max_size=5),
    pid=count,
    started_at=count,
    stopped_at=count,
)
applied = st.builds(Settings, generation=count, containers=st.booleans(), hosts=st.booleans())
batches = st.builds(
    Batch,
    incarnation=st.binary(min_size=16, max_size=16).map(bytes.hex),
    sequence=st.integers(1, 2**53 - 1),
    sent_at=count,
    host=st.none() | st.builds(HostInfo, name=text, addresses=st.lists(address, max_size=3)),
    snapshot=st.booleans(),
    instances=st.lists(instances, max_size=4),
    flows=st.lists(flows(), max_size=6),
    conditions=st.lists(
        st.builds(
            Condition,
            code=name,
            severity=st.sampled_from(["info", "warning", "error"]),
            message=text,
            since=count,
        ),
        max_size=3,
    ),
    applied=st.none() | applied,
    gap=st.none() | st.builds(Gap, first=count, last=count, flows=count),
)


def batch(**more: object) -> Batch:
    return msgspec.structs.replace(Batch(incarnation=INCARNATION, sequence=1, sent_at=1), **more)


def packed(value: object) -> bytes:
    return zstandard.ZstdCompressor().compress(msgspec.msgpack.encode(value))


FLOW = Flow(
    source=Endpoint(address="10.0.0.1"),
    destination=Endpoint(instance="c"),
    port=80,
    first_seen=1,
    last_seen=2,
)


def named(name: str) -> Flow:
    """A flow to somewhere that is called so."""
    return msgspec.structs.replace(
        FLOW, destination=Endpoint(address="203.0.113.7", names=("api.example", name))
    )


SAMPLE = encode_batch(batch(flows=[FLOW] * 3, instances=[
    Instance(id="c", kind="container", name="shop/front", labels={"a": "b"})
]))  # fmt: skip


@given(batches)
def test_a_batch_comes_out_as_it_went_in(value: Batch) -> None:
    assert decode_batch(encode_batch(value)) == value


@given(
    st.one_of(
        st.builds(Ack, incarnation=text, sequence=count),
        applied,
        st.builds(EnrolRequest, token=text, request=text, host=text),
        st.builds(EnrolReply, defender=text, certificate=text, authority=text, url=text),
    )
)
def test_small_messages_come_out_as_they_went_in(value: msgspec.Struct) -> None:
    assert decode_json(encode_json(value), type(value)) == value


@given(st.integers(0, len(SAMPLE) - 1))
def test_a_batch_cut_short_is_malformed(length: int) -> None:
    with pytest.raises(MalformedMessage):
        decode_batch(SAMPLE[:length])


@given(st.integers(0, 8 * len(SAMPLE) - 1))
def test_a_flipped_bit_is_refused_or_harmless(bit: int) -> None:
    damaged = bytearray(SAMPLE)
    damaged[bit // 8] ^= 1 << bit % 8
    with contextlib.suppress(ProtocolError):
        decode_batch(bytes(damaged))


@given(st.integers(0, 10_000), st.integers(0, 255))
def test_a_changed_byte_inside_is_refused_or_bounded(at: int, value: int) -> None:
    plain = bytearray(zstandard.ZstdDecompressor().decompress(SAMPLE))
    plain[at % len(plain)] = value
    try:
        found = decode_batch(zstandard.ZstdCompressor().compress(bytes(plain)))
    except ProtocolError:
        return
    # What gets through still meets every bound, so it can be sent on.
    assert decode_batch(encode_batch(found)) == found


@settings(max_examples=200)
@given(st.binary(max_size=500))
def test_random_bytes_are_malformed(data: bytes) -> None:
    with pytest.raises(MalformedMessage):
        decode_batch(data)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (batch(incarnation="xyz"), "incarnation"),
        (batch(incarnation=INCARNATION + "\n"), "incarnation"),
        (batch(sequence=0), "sequence 0"),
        (batch(sequence=2**53), "sequence"),
        (batch(flows=[msgspec.structs.replace(FLOW, port=65_536)]), r"flows\[0\]: port"),
        (batch(flows=[msgspec.structs.replace(FLOW, connections=-1)]), "connections: -1"),
        (batch(flows=[msgspec.structs.replace(FLOW, answered=-1)]), "answered: -1"),
        (batch(flows=[msgspec.structs.replace(FLOW, cut=2**53)]), "cut: 9007199254740992"),
        (batch(flows=[msgspec.structs.replace(FLOW, first_seen=3)]), "times 3..2"),
        (batch(flows=[msgspec.structs.replace(FLOW, source=Endpoint())]), "neither address"),
        (batch(flows=[msgspec.structs.replace(FLOW, source=Endpoint(address="x"))]), "no address"),
        (batch(flows=[named("<b>")]), "no name of DNS"),
        (batch(flows=[named("a.example\n")]), "no name of DNS"),
        (batch(flows=[named("")]), "no name of DNS"),
        (batch(instances=[Instance(id="", kind="service", name="a")]), "id or name"),
        (batch(instances=[Instance(id="a", kind="service", name="a", pid=2**63)]), "out of range"),
        (batch(instances=[Instance(id="a", kind="service", name="a", ports=[-1])]), "port -1"),
        (batch(sent_at=-1), "sent_at"),
        (batch(gap=Gap(first=1, last=2**60)), "gap"),
    ],
)
def test_a_value_out_of_range_is_named(value: Batch, reason: str) -> None:
    with pytest.raises(MalformedMessage, match=reason):
        decode_batch(packed(value))


def test_a_type_that_does_not_fit_is_named() -> None:
    with pytest.raises(MalformedMessage, match="sequence"):
        decode_batch(packed({"incarnation": INCARNATION, "sequence": "1", "sent_at": 1}))
    with pytest.raises(MalformedMessage, match="Settings"):
        decode_json(b'{"generation": "x"}', Settings)
    with pytest.raises(MalformedMessage):
        decode_json(b"[" * 100_000, Settings)


def test_another_time_is_told_apart_from_nonsense() -> None:
    with pytest.raises(UnsupportedVersion, match="version 2"):
        decode_batch(packed(batch(version=2)))


def test_fields_of_a_newer_peer_are_passed_over() -> None:
    values = msgspec.to_builtins(batch(flows=[FLOW]))
    values["later"] = {"anything": 1}
    assert decode_batch(packed(values)) == batch(flows=[FLOW])


def test_what_passes_a_bound_is_too_large() -> None:
    many = [FLOW] * (limits.BATCH_FLOWS_MAX + 1)
    with pytest.raises(MessageTooLarge, match="flows"):
        decode_batch(packed(batch(flows=many)))
    long = Instance(id="c", kind="service", name="n" * (limits.NAME_CHARS_MAX + 1))
    with pytest.raises(MessageTooLarge):
        decode_batch(packed(batch(instances=[long])))
    with pytest.raises(MessageTooLarge):
        decode_batch(b"\0" * (limits.BATCH_BYTES_MAX + 1))


def test_a_bomb_is_noticed_before_it_fills_the_memory() -> None:
    bomb = zstandard.ZstdCompressor().compress(b"\0" * (limits.BATCH_BYTES_DECOMPRESSED_MAX + 1))
    assert len(bomb) < 10_000
    with pytest.raises(MessageTooLarge, match="decompressed"):
        decode_batch(bomb)
