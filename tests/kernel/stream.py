"""A client that never stops connecting, as a program in a namespace; it writes down how it went.

Each argument is a lane, `PORT` or `FIRST-LAST`: lanes go at the same time, ports within one in
turn, so that a lane of many ports makes a new flow with every connection. A line for each
connection: port, seconds of `time.monotonic()` at its beginning and end, `ok`, `refused` or
`timeout`. SIGTERM ends it when the last of them is written down.
"""

import argparse
import signal
import socket
import struct
import sys
import threading
import time
from itertools import cycle

_stop = threading.Event()


def follow(address: str, ports: list[int], timeout_s: float, pause_s: float) -> None:
    """Connect until it is time to stop."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    for port in cycle(ports):
        with socket.socket(family, socket.SOCK_STREAM) as sock:
            sock.settimeout(timeout_s)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            began = time.monotonic()
            try:
                sock.connect((address, port))
                outcome = "ok"
            except TimeoutError:
                outcome = "timeout"
            except OSError:
                outcome = "refused"
            line = f"{port} {began:.4f} {time.monotonic():.4f} {outcome}\n"
        sys.stdout.write(line)
        if _stop.wait(pause_s):
            return


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--timeout", type=float, default=8.0)
    parser.add_argument("--pause", type=float, default=0.02)
    parser.add_argument("address")
    parser.add_argument("lanes", nargs="+")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: _stop.set())
    threads = []
    for lane in given.lanes:
        first, _, last = lane.partition("-")
        ports = list(range(int(first), int(last or first) + 1))
        threads.append(
            threading.Thread(target=follow, args=(given.address, ports, given.timeout, given.pause))
        )
    for thread in threads:
        thread.start()


if __name__ == "__main__":
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    main()
