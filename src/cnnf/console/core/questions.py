"""A Defender's question, checked, and its answers from memory."""

import msgspec

from cnnf.console import limits
from cnnf.console.core.directory import Directory, canonical
from cnnf.console.errors import Refused
from cnnf.protocol.codec import decode_json
from cnnf.protocol.errors import MalformedMessage, MessageTooLarge, UnsupportedVersion
from cnnf.protocol.limits import SOUGHT_MAX
from cnnf.protocol.messages import VERSION, VERSION_OLDEST, Question, Sought

_encoder = msgspec.json.Encoder()


def read(data: bytes) -> Question:
    """The question in these bytes. Raises MalformedMessage, MessageTooLarge, UnsupportedVersion."""
    if len(data) > limits.QUESTION_BYTES_MAX:
        raise MessageTooLarge(f"question: {len(data)} bytes, at most {limits.QUESTION_BYTES_MAX}")
    question = decode_json(data, Question)
    if not VERSION_OLDEST <= question.version <= VERSION:
        raise UnsupportedVersion(
            f"question: version {question.version}; this program understands "
            f"{VERSION_OLDEST} to {VERSION}"
        )
    if len(question.sought) > SOUGHT_MAX:
        raise MessageTooLarge(f"question: {len(question.sought)} ends, at most {SOUGHT_MAX}")
    for index, sought in enumerate(question.sought):
        _check(f"question: sought[{index}]", sought)
    return question


def _check(where: str, sought: Sought) -> None:
    try:
        canonical(sought.address)
    except ValueError as error:
        raise MalformedMessage(f"{where}: {sought.address!r:.80} is no address") from error
    if not 0 <= sought.port <= 65_535:
        raise MalformedMessage(f"{where}: port {sought.port} is out of range")


def answer(directory: Directory, defender: str, question: Question) -> tuple[bytes, list[str]]:
    """The answers as JSON (`Answers`), and the addresses that they are about.

    As many as fit; the rest is to be asked for again. Raises Refused when it asks who is on its own
    host.
    """
    parts: list[bytes] = []
    addresses: list[str] = []
    size = 0
    for index, sought in enumerate(question.sought):
        if directory.is_own(defender, sought.address):
            raise Refused(
                f"{sought.address} is on this Defender's own host", where=f"sought[{index}]"
            )
        part = _encoder.encode(directory.answer(defender, sought))
        size += len(part) + 1
        if size > limits.ANSWERS_BYTES_MAX:
            break
        parts.append(part)
        addresses.append(canonical(sought.address)[1])
    public = _encoder.encode(directory.public)
    head = b'{"generation":%d,"public":%b,"answers":[' % (directory.generation, public)
    return head + b",".join(parts) + b"]}", addresses
