"""Orders as they come to the Python packet loop: records, and the files that come along."""

import array
import os
import socket

from cnnf.defender.core.limits import ORDER_BYTES_MAX, TABLES_BYTES_MAX


class UnreadableFileError(Exception):
    """A file that can't be read, or is too large; the order it came with is refused."""


def receive_record(control: socket.socket) -> tuple[bytes, list[int], int]:
    """One record and the descriptors that came along, which are the caller's to close."""
    files = array.array("i")
    room = socket.CMSG_SPACE(12 * files.itemsize)
    data, messages, flags, _ = control.recvmsg(ORDER_BYTES_MAX, room)
    for level, kind, content in messages:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            files.frombytes(content[: len(content) // files.itemsize * files.itemsize])
    return data, files.tolist(), flags


def read_file(file: int) -> bytes:
    """The whole file. Raises UnreadableFileError."""
    parts: list[bytes] = []
    length = 0
    while True:
        try:
            part = os.pread(file, 1 << 20, length)
        except OSError as error:
            raise UnreadableFileError(f"reading tables: {error}") from error
        if not part:
            return b"".join(parts)
        parts.append(part)
        length += len(part)
        if length > TABLES_BYTES_MAX:
            raise UnreadableFileError(f"tables of more than {TABLES_BYTES_MAX} bytes")
