"""Messages to bytes and back: MessagePack inside zstd, bounded before and after decompression."""

import re
from ipaddress import ip_network
from typing import TypeVar

import msgspec
import zstandard

from cnnf.policy.addresses import parse_address
from cnnf.protocol import limits
from cnnf.protocol.errors import MalformedMessage, MessageTooLarge, UnsupportedVersion
from cnnf.protocol.messages import VERSION, VERSION_OLDEST, Batch, Flow, HostInfo, Instance

CONTENT_TYPE = "application/vnd.cnnf.batch+msgpack"

M = TypeVar("M", bound=msgspec.Struct)

#: As `netlink/dns.py` writes names: other bytes than these as `\\DDD`.
_DNS_NAME = re.compile(r"[a-z0-9_.\\-]+\Z")
_INCARNATION = re.compile(r"[0-9a-f]{32}\Z")
_encoder = msgspec.msgpack.Encoder()
_batch_decoder = msgspec.msgpack.Decoder(Batch)


def encode_batch(batch: Batch) -> bytes:
    """The batch as it goes over the wire. Raises MessageTooLarge."""
    data = zstandard.ZstdCompressor(level=3).compress(_encoder.encode(batch))
    if len(data) > limits.BATCH_BYTES_MAX:
        raise MessageTooLarge(
            f"batch {batch.sequence}: {len(data)} bytes, at most {limits.BATCH_BYTES_MAX}"
        )
    return data


def decode_batch(data: bytes) -> Batch:
    """The batch in these bytes, every bound and every address checked.

    Raises MalformedMessage, UnsupportedVersion or MessageTooLarge; each says where.
    """
    if len(data) > limits.BATCH_BYTES_MAX:
        raise MessageTooLarge(f"batch: {len(data)} bytes, at most {limits.BATCH_BYTES_MAX}")
    try:
        batch = _batch_decoder.decode(_decompress(data))
    except msgspec.ValidationError as error:
        raise MalformedMessage(f"batch: {error}") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedMessage(f"batch: not MessagePack: {error}") from error
    _check(batch)
    return batch


def _decompress(data: bytes) -> bytes:
    bound = limits.BATCH_BYTES_DECOMPRESSED_MAX
    decompressor = zstandard.ZstdDecompressor(max_window_size=1 << 27).decompressobj()
    out = bytearray()
    try:
        # In steps, so that a small bomb is noticed before it has filled the memory.
        for start in range(0, len(data), 65_536):
            out += decompressor.decompress(data[start : start + 65_536])
            if len(out) > bound:
                raise MessageTooLarge(f"batch: more than {bound} bytes once decompressed")
    except zstandard.ZstdError as error:
        raise MalformedMessage(f"batch: not zstd: {error}") from error
    if not decompressor.eof:
        raise MalformedMessage(f"batch: zstd frame is cut short after {len(data)} bytes")
    return bytes(out)


def _check(batch: Batch) -> None:
    if not VERSION_OLDEST <= batch.version <= VERSION:
        raise UnsupportedVersion(
            f"batch: version {batch.version}; this program understands "
            f"{VERSION_OLDEST} to {VERSION}"
        )
    if not _INCARNATION.match(batch.incarnation):
        raise MalformedMessage("batch: incarnation is not 32 hex digits")
    if not 1 <= batch.sequence < 2**53:
        raise MalformedMessage(f"batch: sequence {batch.sequence} is out of range")
    _check_number("sent_at", batch.sent_at)
    if batch.host is not None:
        _check_host(batch.host)
    _check_delivery(batch)
    _check_length("flows", len(batch.flows), limits.BATCH_FLOWS_MAX)
    _check_length("instances", len(batch.instances), limits.BATCH_INSTANCES_MAX)
    _check_length("conditions", len(batch.conditions), limits.BATCH_CONDITIONS_MAX)
    for index, flow in enumerate(batch.flows):
        _check_flow(f"flows[{index}]", flow)
    for index, condition in enumerate(batch.conditions):
        _check_length(f"conditions[{index}]", len(condition.code), limits.NAME_CHARS_MAX)
        _check_length(f"conditions[{index}]", len(condition.message), limits.COMMAND_CHARS_MAX)
        _check_number(f"conditions[{index}]", condition.since)
    for index, instance in enumerate(batch.instances):
        _check_instance(f"instances[{index}]", instance)


def _check_delivery(batch: Batch) -> None:
    if batch.gap is not None:
        for number in (batch.gap.first, batch.gap.last, batch.gap.flows):
            _check_number("gap", number)
    if batch.applied is not None:
        _check_number("applied", batch.applied.generation)
    if batch.policy is not None:
        for number in (batch.policy.generation, batch.policy.refused_generation):
            _check_number("policy", number)
        _check_length("policy", len(batch.policy.digest), limits.NAME_CHARS_MAX)
        _check_length("policy", len(batch.policy.refused), limits.COMMAND_CHARS_MAX)
        _check_length("policy.failsafe", len(batch.policy.failsafe), limits.PORTS_MAX)
        for port in batch.policy.failsafe:
            _check_port("policy.failsafe", port)
    if batch.spool is not None:
        for number in (batch.spool.bytes, batch.spool.bytes_max, batch.spool.oldest_at):
            _check_number("spool", number)


def _check_host(host: HostInfo) -> None:
    for text in (host.name, host.kernel, host.system, host.version):
        _check_length("host", len(text), limits.NAME_CHARS_MAX)
    _check_length("host.addresses", len(host.addresses), limits.ADDRESSES_MAX)
    _check_length("host.networks", len(host.networks), limits.NETWORKS_MAX)
    for network in host.networks:
        _check_network("host.networks", network.cidr)


def _check_number(where: str, value: int) -> None:
    # What JSON and SQLite take without loss.
    if not 0 <= value < 2**53:
        raise MalformedMessage(f"batch: {where}: {value} is out of range")


def _check_port(where: str, port: int) -> None:
    if not 0 <= port <= 65_535:
        raise MalformedMessage(f"batch: {where}: port {port} is out of range")


def _check_length(where: str, length: int, bound: int) -> None:
    if length > bound:
        raise MessageTooLarge(f"batch: {where}: {length}, at most {bound}")


def _check_flow(where: str, flow: Flow) -> None:
    _check_port(where, flow.port)
    for name in ("connections", "answered", "refused", "found", "cut"):
        _check_number(f"{where}: {name}", getattr(flow, name))
    _check_length(f"{where}: cause", len(flow.cause), limits.NAME_CHARS_MAX)
    if not 0 < flow.first_seen <= flow.last_seen < 2**53:
        raise MalformedMessage(f"batch: {where}: times {flow.first_seen}..{flow.last_seen}")
    for side, endpoint in (("source", flow.source), ("destination", flow.destination)):
        _check_length(f"{where}.{side}", len(endpoint.instance), limits.NAME_CHARS_MAX)
        if endpoint.address:
            _check_address(f"{where}.{side}", endpoint.address)
        elif not endpoint.instance:
            raise MalformedMessage(f"batch: {where}: {side} has neither address nor instance")
        _check_names(f"{where}.{side}", endpoint.names)
    if flow.process is not None:
        _check_length(f"{where}.process", len(flow.process.command), limits.COMMAND_CHARS_MAX)
        _check_length(f"{where}.process", len(flow.process.executable), limits.COMMAND_CHARS_MAX)
        _check_length(f"{where}.process", len(flow.process.user), limits.NAME_CHARS_MAX)
        _check_number(f"{where}.process: pid", flow.process.pid)


def _check_names(where: str, names: tuple[str, ...]) -> None:
    _check_length(f"{where}.names", len(names), limits.ENDPOINT_NAMES_MAX)
    for name in names:
        _check_length(f"{where}.names", len(name), limits.DNS_NAME_CHARS_MAX)
        # They are shown, and came from somebody elsewhere.
        if not _DNS_NAME.match(name):
            raise MalformedMessage(f"batch: {where}: {name!r:.80} is no name of DNS")


def _check_instance(where: str, instance: Instance) -> None:
    if not instance.id or not instance.name:
        raise MalformedMessage(f"batch: {where}: id or name is empty")
    for text in (
        instance.id,
        instance.name,
        instance.tag,
        instance.digest,
        instance.cluster,
        instance.namespace,
        instance.project,
        instance.title,
        instance.workload,
        instance.pod,
        instance.state,
        instance.health,
    ):
        _check_length(where, len(text), limits.NAME_CHARS_MAX)
    _check_length(f"{where}.labels", len(instance.labels), limits.LABELS_MAX)
    _check_length(f"{where}.addresses", len(instance.addresses), limits.ADDRESSES_MAX)
    _check_length(f"{where}.ports", len(instance.ports), limits.PORTS_MAX)
    for key, value in instance.labels.items():
        _check_length(f"{where}.labels", max(len(key), len(value)), limits.LABEL_CHARS_MAX)
    for address in instance.addresses:
        _check_address(where, address)
    for port in instance.ports:
        _check_port(where, port)
    _check_length(f"{where}.published", len(instance.published), limits.PORTS_MAX)
    for published in instance.published:
        if published.address:
            _check_address(f"{where}.published", published.address)
        for port in (published.port, published.to):
            _check_port(f"{where}.published", port)
    for number in (instance.pid, instance.restarts, instance.started_at, instance.stopped_at):
        _check_number(where, number)


def _check_address(where: str, text: str) -> None:
    try:
        parse_address(text)
    except ValueError as error:
        raise MalformedMessage(f"batch: {where}: {text!r:.80} is no address") from error


def _check_network(where: str, text: str) -> None:
    try:
        ip_network(text)
    except ValueError as error:
        raise MalformedMessage(f"batch: {where}: {text!r:.80} is no network") from error


def encode_json(message: msgspec.Struct) -> bytes:
    """A small message (ack, settings, enrolment) as JSON."""
    return msgspec.json.encode(message)


def decode_json(data: bytes | str, kind: type[M]) -> M:
    """A small message from JSON. Raises MalformedMessage, saying where it went wrong."""
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedMessage(f"{kind.__name__}: {error}") from error
