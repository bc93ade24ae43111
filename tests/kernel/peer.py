"""A program within a namespace that listens and connects as it is told, and says how it went.

Takes a command a line, as a JSON list, on standard input and answers with a line of JSON. It
echoes whatever it gets, so `answered` means that bytes went both ways. Times are of the machine's
monotonic clock, which all namespaces share: what one peer saw can be ordered against what another
did.
"""

import errno
import json
import selectors
import socket
import struct
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tests.kernel.traffic import unknown_options

#: (address, port)
Target = tuple[str, int]

_IPV6_DSTOPTS = 59
#: An answer within a namespace takes well under a millisecond; this is what a busy machine takes.
_ECHO_SECONDS = 5.0
#: Between two attempts of one thread.
_HAMMER_SECONDS = 0.01
_OUTCOMES = {
    errno.ECONNREFUSED: "refused",
    errno.ECONNRESET: "reset",
    errno.EPERM: "denied",
    errno.ECONNABORTED: "reset",
    errno.EHOSTUNREACH: "unreachable",
    errno.ENETUNREACH: "unreachable",
}
#: Gone at once when closed, so that thousands of connections do not use up the ports.
_LINGER = struct.pack("ii", 1, 0)


class Server(threading.Thread):
    """Echoes on every port, and counts what arrives by port and protocol."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._selector = selectors.DefaultSelector()
        self.accepted: Counter[str] = Counter()
        self.received: Counter[str] = Counter()

    def listen(self, address: str, port: int, protocol: str) -> None:
        """One more port; both families where the address is empty."""
        kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
        family = socket.AF_INET6 if not address or ":" in address else socket.AF_INET
        sock = socket.socket(family, kind)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if not address else 1)
        sock.bind((address, port))
        sock.setblocking(False)
        if protocol == "tcp":
            sock.listen(4096)
        take = self._accept if protocol == "tcp" else self._datagram
        self._selector.register(sock, selectors.EVENT_READ, (take, f"{protocol}/{port}"))

    def run(self) -> None:
        while True:
            for key, _ in self._selector.select(0.02):
                take, name = key.data
                take(key.fileobj, name)

    def _accept(self, sock: socket.socket, name: str) -> None:
        connection, _ = sock.accept()
        self.accepted[name] += 1
        connection.setblocking(False)
        self._selector.register(connection, selectors.EVENT_READ, (self._echo, name))

    def _echo(self, connection: socket.socket, name: str) -> None:
        try:
            data = connection.recv(4096)
            if data:
                self.received[name] += len(data)
                connection.send(data)
                return
        except OSError:
            pass
        self._selector.unregister(connection)
        connection.close()

    def _datagram(self, sock: socket.socket, name: str) -> None:
        data, sender = sock.recvfrom(4096)
        self.accepted[name] += 1
        self.received[name] += len(data)
        sock.sendto(data, sender)


class Hammer:
    """Connects for ever from some threads, and notes when each attempt was and how it went."""

    def __init__(self, targets: list[Target], threads: int) -> None:
        self._targets = targets
        self._ended = threading.Event()
        self.tried: list[tuple[int, float, float, str]] = []
        self._threads = [
            threading.Thread(target=self._work, args=(number,)) for number in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    def end(self) -> list[tuple[int, float, float, str]]:
        """All of it: index of the target, when it began and ended, outcome."""
        self._ended.set()
        for thread in self._threads:
            thread.join()
        return self.tried

    def _work(self, number: int) -> None:
        while not self._ended.is_set():
            number = (number + 1) % len(self._targets)
            began = time.monotonic()
            outcome, _ = attempt(self._targets[number], {})
            self.tried.append((number, began, time.monotonic(), outcome))
            # What is judged has to get a share of the processors too.
            self._ended.wait(_HAMMER_SECONDS)


class Peer:
    """Answers commands."""

    def __init__(self) -> None:
        self._server = Server()
        self._server.start()
        self._held: dict[int, socket.socket] = {}
        self._hammers: list[Hammer] = []

    def do_listen(self, address: str, ports: list[int], protocol: str = "tcp") -> object:
        """Echo there from now on."""
        for port in ports:
            self._server.listen(address, port, protocol)
        return True

    def do_served(self) -> object:
        """Accepted connections (datagrams) and received bytes, by "protocol/port"."""
        return dict(self._server.accepted), dict(self._server.received)

    def do_connect(self, targets: list[Target], count: int, options: dict[str, Any]) -> object:
        """Outcome and milliseconds of each of `count` attempts, target by target.

        With `together` the targets are tried side by side, for those that take their time.
        """

        def try_all(target: Target) -> list[tuple[str, float]]:
            return [attempt(target, options) for _ in range(count)]

        if not options.get("together"):
            return [try_all(target) for target in targets]
        with ThreadPoolExecutor(len(targets)) as pool:
            return list(pool.map(try_all, targets))

    def do_hold(self, target: Target, options: dict[str, Any]) -> object:
        """Open a connection and keep it; its number."""
        sock = opened(target, options)
        sock.settimeout(_ECHO_SECONDS)
        sock.connect(tuple(target))
        number = len(self._held)
        self._held[number] = sock
        assert self.do_lives(number)
        return number

    def do_lives(self, number: int) -> object:
        """Do bytes still go both ways?"""
        sock = self._held[number]
        try:
            sock.sendall(b"x")
            return sock.recv(1) == b"x"
        except OSError:
            return False

    def do_hammer(self, targets: list[Target], threads: int) -> object:
        """Begin to connect for ever."""
        self._hammers.append(Hammer(targets, threads))
        return True

    def do_stop(self) -> object:
        """End that; what was tried."""
        return self._hammers.pop().end()


def opened(target: Target, options: dict[str, Any]) -> socket.socket:
    """A socket for an attempt there."""
    kind = socket.SOCK_DGRAM if options.get("udp") else socket.SOCK_STREAM
    sock = socket.socket(socket.AF_INET6 if ":" in target[0] else socket.AF_INET, kind)
    if kind == socket.SOCK_STREAM:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER)
    if "mark" in options:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, options["mark"])
    if "headers" in options:
        sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_DSTOPTS, unknown_options(options["headers"]))
    return sock


def attempt(target: Target, options: dict[str, Any]) -> tuple[str, float]:
    """What became of a connection (or a datagram), and after how many milliseconds.

    `answered`, `refused`, `silent`, or `accepted` where nothing came back through it.
    """
    timeout = options.get("timeout", _ECHO_SECONDS)
    started, outcome, connected = time.monotonic(), "answered", False
    with opened(target, options) as sock:
        sock.settimeout(timeout)
        try:
            sock.connect(tuple(target))
            connected = not options.get("udp")
            sock.send(b"x")
            sock.recv(1)
        except TimeoutError:
            outcome = "silent"
        except OSError as error:
            outcome = _OUTCOMES.get(error.errno or 0, str(error))
    if connected and outcome != "answered":
        outcome = "accepted"
    return outcome, (time.monotonic() - started) * 1000


def main() -> None:
    peer = Peer()
    for line in sys.stdin:
        command, *arguments = json.loads(line)
        print(json.dumps(getattr(peer, f"do_{command}")(*arguments)), flush=True)


if __name__ == "__main__":
    main()
