"""What the kernel counted by itself: elements of the counting sets, as flows."""

import struct
from typing import NamedTuple

from cnnf.defender.netlink.errors import Unexpected
from cnnf.defender.netlink.nftset import Element


class Tally(NamedTuple):
    """SYNs of one flow. Either `source` (packed address) or `cgroup` says where from."""

    source: bytes
    cgroup: int
    destination: bytes
    port: int
    packets: int


#: The cgroup's inode as the kernel keeps it: in the machine's own byte order.
_CGROUP = struct.Struct("=Q")

#: Length of a key by (by cgroup, address length): parts are padded to four bytes.
_LENGTHS = {(False, 4): 12, (False, 16): 36, (True, 4): 16, (True, 16): 28}


def decode_tally(name: str, element: Element) -> Tally:
    """A counting set's element; `name` is the set's (`count4_0`, `count_l2v6_1`).

    Raises Unexpected when the key is not of that set's form.
    """
    by_cgroup = name.startswith("count_l")
    # `count4_0` or `count_l2v4_0`: the family stands before the parity.
    length = 4 if name.endswith(("4_0", "4_1")) else 16
    key = element.key
    if len(key) != _LENGTHS[by_cgroup, length]:
        raise Unexpected(f"nft set {name}: a key of {len(key)} bytes")
    if by_cgroup:
        # cgroup . address . port
        return Tally(
            b"",
            _CGROUP.unpack_from(key)[0],
            key[8 : 8 + length],
            int.from_bytes(key[8 + length : 10 + length], "big"),
            element.packets,
        )
    # source . port . destination
    return Tally(
        key[:length],
        0,
        key[length + 4 :],
        int.from_bytes(key[length : length + 2], "big"),
        element.packets,
    )
