"""Bytes kept on disk, so that they are read back whole or not at all.

A line that says what they are and in which version, a checksum, the content.
"""

import hashlib

_DIGEST_BYTES = hashlib.sha256().digest_size
#: What stands before the content, beside the first line.
SEAL_BYTES = _DIGEST_BYTES


class BrokenSealError(ValueError):
    """The bytes are not what was kept; the text says why."""


def seal(first_line: bytes, content: bytes) -> bytes:
    """The file's bytes; `first_line` ends with a newline."""
    return first_line + hashlib.sha256(content).digest() + content


def unseal(first_line: bytes, data: bytes) -> bytes:
    """The content of a file. Raises BrokenSealError."""
    if not data.startswith(first_line):
        raise BrokenSealError("it is no file of ours, or of another version")
    start = len(first_line) + _DIGEST_BYTES
    content = data[start:]
    if hashlib.sha256(content).digest() != data[len(first_line) : start]:
        raise BrokenSealError("it is damaged")
    return content
