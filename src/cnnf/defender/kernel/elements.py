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
from cnnf.defender.netlink.nftset import Element


def read(netlink: NetlinkSocket, table: str, name: str) -> list[Element]:
    """Every element of a set of an inet table, each once. Those added meanwhile may be missing.

    A set that grows in every try is read so often that its table cannot have been doubled in each:
    between what fits one datagram and the largest set lie fewer doublings than there are tries. An
    element that was there at first is then in one of them.

    Raises KernelRefused (ENOENT: no such set), Interrupted when others' changes broke off every
    try, OSError.
    """
    subject = f"reading set {name}"
    together: dict[bytes, Element] = {}
    for _ in range(DUMP_TRIES_MAX):
        payloads = netlink.whole(subject, partial(nftset.dump, table=table, name=name))
        found = [one for payload in payloads for one in nftset.decode_elements(payload)]
        once = {one.key: one for one in found}
        if len(once) == len(found):
            return found
        # The later reading counts: its counters are the newer ones.
        together |= once
    return list(together.values())
