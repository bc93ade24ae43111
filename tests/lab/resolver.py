"""The lab's name server, as a program: `python -m tests.lab.resolver ADDRESS ZONE.json`.

Answers over UDP and TCP port 53 from a file of `{name: [[type, time to live, value], ...]}`; a
CNAME is followed and the whole chain given, as a recursive resolver does. Other names do not exist.
"""

import json
import socketserver
import struct
import sys
import threading
from ipaddress import ip_address
from pathlib import Path

_TYPES = {"A": 1, "CNAME": 5, "AAAA": 28}
_NO_SUCH_NAME = 3
_CHAIN_MAX = 8

Zone = dict[str, list[tuple[str, int, str]]]


def answer(query: bytes, zone: Zone) -> bytes:
    """The response to a query of one question (RFC 1035). Raises ValueError for anything else."""
    if len(query) < 17 or query[4:6] != b"\0\1":
        raise ValueError("not one question")
    name, end = _read_name(query, 12)
    wanted = struct.unpack_from("!H", query, end)[0]
    records, known = b"", name in zone
    count = 0
    for _ in range(_CHAIN_MAX):
        alias = ""
        for kind, seconds, value in zone.get(name, []):
            if kind == "CNAME":
                alias = value
            elif _TYPES[kind] != wanted:
                continue
            data = _encode_name(value) if kind == "CNAME" else ip_address(value).packed
            records += _encode_name(name)
            records += struct.pack("!HHIH", _TYPES[kind], 1, seconds, len(data)) + data
            count += 1
        if not alias:
            break
        name = alias
    # Response, recursion desired and available.
    flags = 0x8180 if known else 0x8180 | _NO_SUCH_NAME
    return query[:2] + struct.pack("!HHHHH", flags, 1, count, 0, 0) + query[12 : end + 4] + records


def _read_name(message: bytes, at: int) -> tuple[str, int]:
    labels = []
    while message[at]:
        labels.append(message[at + 1 : at + 1 + message[at]].decode("ascii"))
        at += 1 + message[at]
        if at >= len(message) or message[at] > 63:
            raise ValueError("a name that does not end")
    return ".".join(labels).lower(), at + 1


def _encode_name(name: str) -> bytes:
    return b"".join(bytes([len(part)]) + part.encode() for part in name.split(".")) + b"\0"


def _datagrams(address: str, zone: Zone) -> socketserver.UDPServer:
    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            query, sock = self.request
            sock.sendto(answer(query, zone), self.client_address)

    return socketserver.ThreadingUDPServer((address, 53), Handler)


def _streams(address: str, zone: Zone) -> socketserver.TCPServer:
    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            head = self.rfile.read(2)
            if len(head) == 2:
                said = answer(self.rfile.read(struct.unpack("!H", head)[0]), zone)
                self.wfile.write(struct.pack("!H", len(said)) + said)

    return socketserver.ThreadingTCPServer((address, 53), Handler)


def main() -> None:
    """Serve until ended."""
    address, path = sys.argv[1:]
    zone: Zone = {
        name.lower(): [(kind, seconds, value) for kind, seconds, value in records]
        for name, records in json.loads(Path(path).read_text()).items()
    }
    streams = _streams(address, zone)
    datagrams = _datagrams(address, zone)
    threading.Thread(target=streams.serve_forever, daemon=True).start()
    print("serving", flush=True)
    datagrams.serve_forever()


if __name__ == "__main__":
    main()
