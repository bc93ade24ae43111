"""`COUNT SOURCE DESTINATION PORT`: so many SYNs in a second, each from another port, none twice.

As a program within a namespace, with a raw socket: nobody waits for the answers.
"""

import os
import socket
import struct
import sys
import time

#: Sent in one go: the kernel keeps 1,000 packets that come by a veth (net.core.netdev_max_backlog),
#: and drops what it has no time for.
_BURST, _PAUSE_S = 400, 0.01


def flood(count: int, source: str, destination: str, port: int) -> None:
    """Send them. At most 60,000, so that each has a source port of its own."""
    assert count <= 60_000
    # RFC 9293, 3.1: the checksum covers a pseudo-header, and all but the source port is constant.
    pseudo = socket.inet_aton(source) + socket.inet_aton(destination) + struct.pack(">HH", 6, 20)
    rest = struct.pack(">HIIBBHHH", port, 1, 0, 5 << 4, 0x02, 64_240, 0, 0)
    constant = sum(struct.unpack(">15H", pseudo + rest))
    # A veth hands packets over on the sender's processor, and queues are chosen by processor.
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP) as sock:
        for number in range(4_000, 4_000 + count):
            total = constant + number
            while total >> 16:
                total = (total & 0xFFFF) + (total >> 16)
            segment = struct.pack(">H", number) + rest[:14] + struct.pack(">HH", ~total & 0xFFFF, 0)
            sock.sendto(segment, (destination, 0))
            if number % _BURST == 0:
                time.sleep(_PAUSE_S)


if __name__ == "__main__":
    flood(int(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4]))
