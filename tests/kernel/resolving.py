"""A client that looks names up and connects to what it was told at once, as a program.

Takes a command a line, as a JSON list, and answers with a line of JSON: `["reach", SERVER, NAME
...]` looks up and connects, name by name; `["both", SERVER, NAME]` asks for addresses of both
families at once and connects with each as it comes; `["stream", SERVER, NAME]` asks over TCP;
`["once", SERVER, NAME]` asks a single time and says what came; `["flood", SERVER, COUNT, NAME]`
asks for so many names below that one without a pause, and says how many answers came; `["time",
SERVER, NAME ...]` says how long answers took, in microseconds, and how long after them a connection
was begun. `["try", ADDRESS ...]` connects; `["keep", ADDRESS]` stays
connected, and `["still"]` says whether that goes on. What is connected to is
`python -m tests.kernel.resolving echo`.
"""

import json
import select
import socket
import socketserver
import struct
import sys
import time
from contextlib import suppress
from ipaddress import ip_address

from tests.lab import dns

PORT = 8003
_TIMEOUT_S = 5.0
#: As resolvers do, but sooner.
_AGAIN_S, _TRIES = 1.0, 5
_EDNS_BYTES = 4_096
_SIZES = {dns.A: 4, dns.AAAA: 16}


def _family(text: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in text else socket.AF_INET


def _last(data: bytes, kind: int) -> str:
    """The address that the last record says."""
    record = data[: len(data) - 11] if data[11] else data
    return str(ip_address(record[-_SIZES[kind] :]))


def told(server: str, name: str, number: int, tries: int = _TRIES) -> str:
    """The address that a name's last A record says. Raises TimeoutError when no answer comes."""
    with socket.socket(_family(server), socket.SOCK_DGRAM) as sock:
        sock.settimeout(_AGAIN_S)
        sock.connect((server, 53))
        for tries_left in reversed(range(tries)):
            sock.send(dns.query(name, number=number, edns=_EDNS_BYTES))
            with suppress(TimeoutError):
                return _last(sock.recv(65_535), dns.A)
            if not tries_left:
                raise TimeoutError(name)
    raise AssertionError


def _once(server: str, name: str) -> str:
    """The same, asked a single time."""
    try:
        return told(server, name, 1, tries=1)
    except TimeoutError:
        return "silent"


def told_by_stream(server: str, name: str) -> str:
    """The same over TCP."""
    with socket.create_connection((server, 53), _TIMEOUT_S) as sock, sock.makefile("rb") as said:
        asked = dns.query(name)
        sock.sendall(struct.pack(">H", len(asked)) + asked)
        return _last(said.read(struct.unpack(">H", said.read(2))[0]), dns.A)


def outcome(address: str) -> str:
    """What becomes of a connection."""
    try:
        socket.create_connection((address, PORT), _TIMEOUT_S).close()
    except ConnectionRefusedError:
        return "refused"
    except OSError as error:
        return str(error)
    return "answered"


def _both(server: str, name: str) -> dict[str, str]:
    """What becomes of connections with addresses of both families, as they come."""
    found = {}
    with socket.socket(_family(server), socket.SOCK_DGRAM) as sock:
        sock.settimeout(_TIMEOUT_S)
        sock.connect((server, 53))
        for kind in _SIZES:
            sock.send(dns.query(name, kind, number=kind))
        for _ in _SIZES:
            data = sock.recv(65_535)
            address = _last(data, struct.unpack_from(">H", data)[0])
            found[address] = outcome(address)
    return found


def _flood(server: str, count: int, below: str) -> int:
    """How many answers come to as many queries as can be sent."""
    answers = 0
    with socket.socket(_family(server), socket.SOCK_DGRAM) as sock:
        sock.connect((server, 53))
        for number in range(count):
            with suppress(OSError):
                sock.send(dns.query(f"n{number}.{below}", number=number & 0xFFFF))
            while select.select([sock], [], [], 0)[0]:
                sock.recv(65_535)
                answers += 1
        while select.select([sock], [], [], 1)[0]:
            sock.recv(65_535)
            answers += 1
    return answers


def _time(server: str, name: str, number: int) -> tuple[float, float, str]:
    """How long an answer takes, how long after it a connection begins, and what becomes of that."""
    with socket.socket(_family(server), socket.SOCK_DGRAM) as sock:
        sock.settimeout(_TIMEOUT_S)
        sock.connect((server, 53))
        asked = dns.query(name, number=number)
        began = time.perf_counter()
        sock.send(asked)
        data = sock.recv(65_535)
        came = time.perf_counter()
        address = _last(data, dns.A)
        connecting = time.perf_counter()
        became = outcome(address)
    return (came - began) * 1e6, (connecting - came) * 1e6, became


class _Echo(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        with suppress(OSError):
            while data := self.request.recv(100):
                self.request.sendall(data)


class _Server(socketserver.ThreadingTCPServer):
    #: IPv4 too.
    address_family = socket.AF_INET6
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 512


def main() -> None:
    """Serve commands until standard input ends."""
    if sys.argv[1:] == ["echo"]:
        with _Server(("::", PORT), _Echo) as server:
            print("serving", flush=True)
            server.serve_forever()
    kept = socket.socket()
    for line in sys.stdin:
        command, *arguments = json.loads(line)
        answer: object = None
        if command == "reach":
            server_address, *names = arguments
            answer = [
                outcome(told(server_address, name, number)) for number, name in enumerate(names, 1)
            ]
        elif command == "once":
            answer = _once(*arguments)
        elif command == "both":
            answer = _both(*arguments)
        elif command == "stream":
            answer = outcome(told_by_stream(*arguments))
        elif command == "flood":
            answer = _flood(arguments[0], int(arguments[1]), arguments[2])
        elif command == "time":
            server_address, *names = arguments
            answer = [_time(server_address, name, at) for at, name in enumerate(names, 1)]
        elif command == "try":
            answer = [outcome(address) for address in arguments]
        elif command == "keep":
            kept = socket.create_connection((arguments[0], PORT), _TIMEOUT_S)
        elif command == "still":
            kept.sendall(b"?")
            answer = kept.recv(1) == b"?"
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
