"""A segment of the spool as bytes: what was seen while the Console was away, until it is told.

A segment holds batches of one incarnation, in order: a head, then records. Each has a checksum of
its own, so a segment that was cut or damaged is good up to there, and nothing after it is believed.
Nothing here raises on any bytes. `link/spool.py` keeps the files.
"""

import struct
import zlib
from typing import NamedTuple

from cnnf.protocol.limits import BATCH_BYTES_MAX

_MAGIC = b"cnnfspl1"
#: Magic, incarnation; then their CRC-32. All numbers are little-endian.
_HEAD = struct.Struct("<8s16s")
#: Sequence, sent at (ms), flows, bytes of the batch; then the CRC-32 of these and the batch.
_RECORD = struct.Struct("<QQII")
_SUM = struct.Struct("<I")

HEAD_BYTES = _HEAD.size + _SUM.size
RECORD_BYTES_MAX = _RECORD.size + _SUM.size + BATCH_BYTES_MAX


class Record(NamedTuple):
    """One batch, encoded: its number, when it was made (ms), and the flows lost with it."""

    sequence: int
    sent_at: int
    flows: int
    data: bytes


class Contents(NamedTuple):
    """What of a segment can be believed; `problem` is '' when that is all of it."""

    incarnation: str
    records: list[Record]
    problem: str = ""


def encode_head(incarnation: str) -> bytes:
    """A segment's beginning; the incarnation is 32 hex digits."""
    head = _HEAD.pack(_MAGIC, bytes.fromhex(incarnation))
    return head + _SUM.pack(zlib.crc32(head))


def encode_record(record: Record) -> bytes:
    """A record, to be appended."""
    head = _RECORD.pack(record.sequence, record.sent_at, record.flows, len(record.data))
    return head + _SUM.pack(zlib.crc32(record.data, zlib.crc32(head))) + record.data


def record_bytes(data: bytes) -> int:
    """How long the record of a batch is."""
    return _RECORD.size + _SUM.size + len(data)


def decode(data: bytes) -> Contents:
    """The records up to the first that can't be believed."""
    if len(data) < HEAD_BYTES:
        return Contents("", [], f"its head has {len(data)} bytes of {HEAD_BYTES}")
    magic, incarnation = _HEAD.unpack_from(data)
    if magic != _MAGIC or _SUM.unpack_from(data, _HEAD.size)[0] != zlib.crc32(data[: _HEAD.size]):
        return Contents("", [], "its head is damaged, or it is no segment")
    records: list[Record] = []
    offset, last = HEAD_BYTES, 0
    while offset < len(data):
        record, problem = _decode_record(data, offset)
        if record is None:
            return Contents(incarnation.hex(), records, problem)
        if record.sequence <= last:
            problem = f"batch {record.sequence} comes after {last}"
            return Contents(incarnation.hex(), records, problem)
        records.append(record)
        offset, last = offset + record_bytes(record.data), record.sequence
    return Contents(incarnation.hex(), records)


def _decode_record(data: bytes, offset: int) -> tuple[Record | None, str]:
    start = offset + _RECORD.size + _SUM.size
    if start > len(data):
        return None, f"cut at byte {len(data)}"
    sequence, sent_at, flows, length = _RECORD.unpack_from(data, offset)
    if length > BATCH_BYTES_MAX:
        return None, f"damaged at byte {offset}"
    if start + length > len(data):
        return None, f"cut or damaged at byte {offset}"
    payload = data[start : start + length]
    head = data[offset : offset + _RECORD.size]
    (expected,) = _SUM.unpack_from(data, offset + _RECORD.size)
    if zlib.crc32(payload, zlib.crc32(head)) != expected:
        return None, f"damaged at byte {offset}"
    return Record(sequence, sent_at, flows, payload), ""
