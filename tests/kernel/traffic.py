"""Servers and clients for the kernel tests, as a program within a namespace.

`serve ADDRESS PORT [PORT ...]` accepts for ever; `connect COUNT ADDRESS PORT [PORT ...]` makes
COUNT connections one after another, spread over the ports, and prints how many failed;
`--options N` puts N bytes of IPv6 destination options into every packet.
"""

import argparse
import selectors
import socket
import struct
import sys
import time

_IPV6_DSTOPTS = 59
#: A connection that takes longer is counted as broken. A SYN sent again comes after 1 and 3 s.
_TIMEOUT_S = 8.0


def serve(address: str, ports: list[int]) -> None:
    """Accept, read one byte, close, for ever."""
    selector = selectors.DefaultSelector()
    for port in ports:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_STREAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((address, port))
        sock.listen(4096)
        selector.register(sock, selectors.EVENT_READ)
    print("serving", flush=True)
    while True:
        for key, _ in selector.select():
            assert isinstance(key.fileobj, socket.socket)
            connection, _ = key.fileobj.accept()
            connection.close()


def connect(address: str, ports: list[int], count: int, options: int, hold_s: float) -> int:
    """How many of `count` connections could not be made."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    failed = 0
    for number in range(count):
        with socket.socket(family, socket.SOCK_STREAM) as sock:
            sock.settimeout(_TIMEOUT_S)
            # Gone at once, so that thousands of connections do not use up the ports.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            if options:
                sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_DSTOPTS, unknown_options(options))
            try:
                sock.connect((address, ports[number % len(ports)]))
                time.sleep(hold_s)
            except OSError as error:
                failed += 1
                print(f"{address}: {error}", file=sys.stderr)
    return failed


def unknown_options(length: int) -> bytes:
    """A destination options header of `length` bytes (a multiple of 8).

    Filled with options of an experimental type that receivers skip (RFC 4727), since a receiver
    drops more than seven bytes of padding and more than eight options.
    """
    rest = length - 2
    filled = b""
    while rest:
        part = min(rest, 200)
        filled += bytes([0x1E, part - 2]) + bytes(part - 2)
        rest -= part
    return bytes([0, length // 8 - 1]) + filled


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--options", type=int, default=0)
    parser.add_argument("--hold", type=float, default=0, help="seconds to keep each connection")
    parser.add_argument("what", choices=["serve", "connect"])
    parser.add_argument("numbers", nargs="+")
    given = parser.parse_args()
    if given.what == "serve":
        serve(given.numbers[0], [int(text) for text in given.numbers[1:]])
    else:
        count, address, *ports = given.numbers
        print(
            connect(address, [int(text) for text in ports], int(count), given.options, given.hold)
        )


if __name__ == "__main__":
    main()
