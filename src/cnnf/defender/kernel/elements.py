"""Reads a set of the nft table whole, also while packets add to it.

The kernel keeps a set's elements in a hash table that it doubles as it grows, and a dump goes on
after so many elements, not after a certain one. When the table is doubled between two of a dump's
datagrams, elements come twice and as many others not at all, without a word: 2,721 of 33,000 were
missing in a trial. Those that come twice give it away.
"""

from functools import partial

from cnnf.defender.core.limits import DUMP_TRIES_MAX
from cnnf.defender.kernel.sockets import NetlinkSocket
from cnnf.defender.netlink import nftset
from cnnf.defender.netlink.errors import Interrupted
from cnnf.defender.netlink.nftset import Element


def read(netlink: NetlinkSocket, table: str, name: str) -> list[Element]:
    """Every element of a set of an inet table, each once. Those added meanwhile may be missing.

    Raises KernelRefused (ENOENT: no such set), Interrupted when the set grew in every try, OSError.
    """
    subject = f"reading set {name}"
    for _ in range(DUMP_TRIES_MAX):
        payloads = netlink.whole(subject, partial(nftset.dump, table=table, name=name))
        found = [one for payload in payloads for one in nftset.decode_elements(payload)]
        if len({one.key for one in found}) == len(found):
            return found
    raise Interrupted(f"{subject}: it grew while it was read")
