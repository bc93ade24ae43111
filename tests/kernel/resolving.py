"""A client that looks names up and connects to what it was told at once, as a program.

Takes a command a line, as a JSON list, and answers with a line of JSON: `["reach", SERVER, NAME
...]` looks up and connects, name by name; `["try", ADDRESS ...]` connects; `["keep", ADDRESS]`
stays connected, and `["still"]` says whether that goes on. What is connected to is
`python -m tests.kernel.resolving echo`.
"""

import json
import socket
import socketserver
import sys
from contextlib import suppress

from tests.lab import dns

PORT = 8003
_TIMEOUT_S = 5.0


def told(server: str, name: str, number: int) -> str:
    """The address that a name's A record says, or nothing when no answer comes."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(_TIMEOUT_S)
        sock.connect((server, 53))
        sock.send(dns.query(name, number=number))
        data = sock.recv(65_535)
    # The address is the last record's value.
    return socket.inet_ntoa(data[-4:])


def outcome(address: str) -> str:
    """What becomes of a connection."""
    try:
        socket.create_connection((address, PORT), _TIMEOUT_S).close()
    except ConnectionRefusedError:
        return "refused"
    except OSError as error:
        return str(error)
    return "answered"


class _Echo(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        with suppress(OSError):
            while data := self.request.recv(100):
                self.request.sendall(data)


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 512


def main() -> None:
    """Serve commands until standard input ends."""
    if sys.argv[1:] == ["echo"]:
        with _Server(("0.0.0.0", PORT), _Echo) as server:
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
