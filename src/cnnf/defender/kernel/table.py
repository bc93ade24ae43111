"""The nft table in the kernel: whole replacements, switches, and the counts it holds.

One object a Defender; every method is one transaction or a read, so after a kill at any point the
kernel holds the old rules or the new ones.
"""

from functools import partial

import msgspec

from cnnf.defender.core import ruleset
from cnnf.defender.core.ruleset import TABLE, Plan
from cnnf.defender.core.tallies import Tally, decode_tally
from cnnf.defender.kernel.errors import ProgrammingFailed
from cnnf.defender.kernel.programs import run
from cnnf.defender.kernel.sockets import NETLINK_NETFILTER, NetlinkSocket
from cnnf.defender.netlink import nftset
from cnnf.defender.netlink.errors import KernelRefused


def install(plan: Plan) -> None:
    """Put the table there, replacing any of an earlier run. Raises KernelError."""
    run(["nft", "-f", "-"], text=ruleset.table(plan), subject="installing the nft table")


def switch(plan: Plan) -> None:
    """Make the plan the rules in force, keeping the sets. Raises KernelError."""
    subject = f"switching to generation {plan.generation}"
    run(["nft", "-f", "-"], text=ruleset.switch(plan), subject=subject)


def forget(generation: int) -> None:
    """Empty a generation's sets. Raises KernelError."""
    subject = f"emptying the sets of generation {generation}"
    run(["nft", "-f", "-"], text=ruleset.forget(generation), subject=subject)


def remove() -> None:
    """Remove the table if it is there. Raises KernelError."""
    run(["nft", "-f", "-"], text=ruleset.remove(), subject="removing the nft table")


def present() -> bool:
    """Is the table there? Raises KernelError."""
    tables = run(["nft", "list", "tables"], subject="listing nft tables")
    return any(line.split() == ["table", "inet", TABLE] for line in tables.splitlines())


def tallies(generation: int) -> list[Tally]:
    """What the kernel has counted in a generation that is over. Raises NetlinkError, OSError."""
    netlink = NetlinkSocket(NETLINK_NETFILTER)
    found: list[Tally] = []
    try:
        for name in ruleset.count_sets(generation):
            request = partial(nftset.dump, table=TABLE, name=name)
            try:
                # Whole or again: a part that was read twice would be counted twice.
                for payload in netlink.whole(f"reading set {name}", request):
                    found += [
                        decode_tally(name, element)
                        for element in nftset.decode_elements(payload)
                        if element.packets
                    ]
            except KernelRefused as refusal:
                # Somebody flushed the ruleset: there is nothing left to count.
                if refusal.errno != 2:
                    raise
    finally:
        netlink.close()
    return found


def counters() -> dict[str, int]:
    """Packets on the table's named counters since it was installed. Raises KernelError."""
    text = run(
        ["nft", "-j", "list", "counters", "table", "inet", TABLE], subject="reading counters"
    )
    try:
        listed = msgspec.json.decode(text, type=_Listing)
    except msgspec.DecodeError as error:
        raise ProgrammingFailed(f"reading counters: nft: {error}") from error
    return {
        item.counter.name: item.counter.packets
        for item in listed.nftables
        if item.counter is not None
    }


class _Counter(msgspec.Struct):
    name: str
    packets: int


class _Item(msgspec.Struct):
    counter: _Counter | None = None


class _Listing(msgspec.Struct):
    nftables: list[_Item]
