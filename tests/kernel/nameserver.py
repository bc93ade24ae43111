"""A name server of either family over UDP and TCP, as a program within a namespace.

`python -m tests.kernel.nameserver ADDRESS ZONE.json` answers from `{name: [[type, seconds, value],
...]}`; an alias's addresses come along, as a recursive resolver gives them.
"""

import json
import selectors
import socket
import struct
import sys
from contextlib import suppress
from pathlib import Path

from tests.lab import dns

_KINDS = {"A": dns.A, "AAAA": dns.AAAA, "CNAME": dns.CNAME}

Zone = dict[str, list[tuple[str, int, str]]]


_CUT, _OPT = 0x0200, 41


def reply(asked: bytes, zone: Zone, *, whole: bool) -> bytes:
    """The answer to a query of one question, with EDNS if that has it."""
    labels, at = [], 12
    while asked[at]:
        labels.append(asked[at + 1 : at + 1 + asked[at]].decode())
        at += 1 + asked[at]
    number, kind = struct.unpack_from(">H", asked)[0], struct.unpack_from(">H", asked, at + 1)[0]
    name = ".".join(labels)
    records, flags = _records(name, dns.ASKED, kind, zone), 0x8180
    if not whole and any(text == "CUT" for text, _, _ in _known(name, zone)):
        records, flags = records[:1], flags | _CUT
    said = dns.answer(name, records, kind, number=number, flags=flags)
    if not asked[11]:
        return said
    return said[:11] + b"\1" + said[12:] + b"\0" + struct.pack(">HHIH", _OPT, 4_096, 0, 0)


def _records(name: str, owner: bytes, kind: int, zone: Zone) -> list[bytes]:
    found = []
    for text, seconds, value in _known(name, zone):
        if text == "CNAME":
            found.append(dns.record(owner, dns.CNAME, dns.name(value), seconds))
            found += _records(value, dns.name(value), kind, zone)
        elif _KINDS.get(text) == kind:
            found.append(dns.address(owner, value, seconds))
    return found


def _known(name: str, zone: Zone) -> list[tuple[str, int, str]]:
    name = name.lower()
    return zone.get(name) or zone.get("*." + name.partition(".")[2], [])


def main() -> None:
    """Serve until ended."""
    address, path = sys.argv[1:]
    zone: Zone = json.loads(Path(path).read_text())
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    datagrams = socket.socket(family, socket.SOCK_DGRAM)
    datagrams.bind((address, 53))
    streams = socket.socket(family, socket.SOCK_STREAM)
    streams.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    streams.bind((address, 53))
    streams.listen()
    selector = selectors.DefaultSelector()
    for sock in (datagrams, streams):
        selector.register(sock, selectors.EVENT_READ)
    print("serving", flush=True)
    while True:
        for key, _ in selector.select():
            if key.fileobj is datagrams:
                asked, client = datagrams.recvfrom(65_535)
                # Others' noise is nobody's query.
                with suppress(IndexError, struct.error, UnicodeDecodeError):
                    datagrams.sendto(reply(asked, zone, whole=False), client)
            else:
                _serve(streams.accept()[0], zone)


def _serve(connection: socket.socket, zone: Zone) -> None:
    with connection, connection.makefile("rb") as incoming:
        length = struct.unpack(">H", incoming.read(2))[0]
        said = reply(incoming.read(length), zone, whole=True)
        connection.sendall(struct.pack(">H", len(said)) + said)


if __name__ == "__main__":
    main()
