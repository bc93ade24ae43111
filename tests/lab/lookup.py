"""A client that looks a name up, as a program: `python -m tests.lab.lookup SERVER NAME`.

Asks for A and AAAA and prints the addresses; `--tcp` over TCP, `--slowly` with a server's bytes
taken a few at a time. `forge TARGET PORT NAME ADDRESS` sends from port 53 what nobody asked for,
`noise SERVER` and `flood SERVER COUNT` send what is no query.
"""

import socket
import struct
import sys
from ipaddress import ip_address

from tests.lab.dns import AAAA, ASKED, A, address, answer, query

_TIMEOUT_S = 5.0


def main() -> None:
    """Ask, print, end."""
    arguments = sys.argv[1:]
    if arguments[0] == "forge":
        _, target, port, name, told = arguments
        _forge(target, int(port), name, told)
        return
    if arguments[0] in ("noise", "flood"):
        _send(arguments[1], 1 if arguments[0] == "noise" else int(arguments[2]))
        return
    server, name, *options = arguments
    for kind in (A, AAAA):
        data = query(name, kind, number=kind)
        got = _over_tcp(server, data, options) if "--tcp" in options else _over_udp(server, data)
        assert got[:2] == data[:2]
        for text in _addresses(got, kind):
            print(text)


def _family(text: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in text else socket.AF_INET


def _over_udp(server: str, data: bytes) -> bytes:
    with socket.socket(_family(server), socket.SOCK_DGRAM) as sock:
        sock.settimeout(_TIMEOUT_S)
        sock.connect((server, 53))
        sock.send(data)
        return sock.recv(65_535)


def _over_tcp(server: str, data: bytes, options: list[str]) -> bytes:
    with socket.socket(_family(server), socket.SOCK_STREAM) as sock:
        sock.settimeout(_TIMEOUT_S)
        if "--slowly" in options:
            # A server's segments then carry little each.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 88)
        sock.connect((server, 53))
        framed = struct.pack(">H", len(data)) + data
        pieces = [framed[:1], framed[1:20], framed[20:]] if "--slowly" in options else [framed]
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in pieces:
            sock.sendall(piece)
        length = struct.unpack(">H", _exactly(sock, 2))[0]
        return _exactly(sock, length)


def _exactly(sock: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        more = sock.recv(count - len(data))
        assert more, "the server has closed"
        data += more
    return data


def _addresses(data: bytes, kind: int) -> list[str]:
    """Every address record's value, found by its fixed head."""
    size = 4 if kind == A else 16
    found, at = [], 0
    head = struct.pack(">HH", kind, 1)
    while (at := data.find(head, at + 1)) > 0:
        length = struct.unpack_from(">H", data, at + 8)[0] if at + 10 <= len(data) else 0
        if length == size:
            found.append(str(ip_address(data[at + 10 : at + 10 + size])))
    return found


def _send(target: str, count: int) -> None:
    with socket.socket(_family(target), socket.SOCK_DGRAM) as sock:
        for _ in range(count):
            sock.sendto(b"<b>\x1b[0m", (target, 53))


def _forge(target: str, port: int, name: str, told: str) -> None:
    with socket.socket(_family(target), socket.SOCK_DGRAM) as sock:
        sock.bind(("", 53))
        reply = answer(name, [address(ASKED, told)], number=1)
        for payload in (reply, b"<b>\x1b[0m", bytes(600)):
            sock.sendto(payload, (target, port))


if __name__ == "__main__":
    main()
