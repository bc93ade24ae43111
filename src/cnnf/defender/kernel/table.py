"""The nft table in the kernel: whole replacements, switches, and the counts it holds.

One object a Defender; every method is one transaction or a read, so after a kill at any point the
kernel holds the old rules or the new ones.
"""

import errno
from functools import partial

import msgspec

from cnnf.defender.core import dns_chains, ruleset
from cnnf.defender.core.plan import Plan, Scopes
from cnnf.defender.core.ruleset import TABLE, FlowSet
from cnnf.defender.kernel import elements
from cnnf.defender.kernel.errors import NotPermitted, ProgrammingFailed
from cnnf.defender.kernel.programs import run
from cnnf.defender.kernel.sockets import NETLINK_NETFILTER, NetlinkSocket
from cnnf.defender.netlink import nfrule, nftcounter
from cnnf.defender.netlink.errors import KernelRefused
from cnnf.defender.netlink.nftset import Element


def install(plan: Plan) -> None:
    """Put the table there, replacing any of an earlier run. Raises KernelError, NetlinkError.

    It asks only when there is a rule that hands packets over: until then it watches.
    """
    quiet = msgspec.structs.replace(plan, scopes=Scopes())
    run(["nft", "-f", "-"], text=ruleset.table(quiet), subject="installing the nft table")
    _add_handover(plan, ruleset.HANDOVER, plan.queue_first, plan.queue_count)
    _add_handover(plan, dns_chains.HELD, plan.answer_queue, 1)
    switch(plan, quiet)


def switch(plan: Plan, before: Plan) -> None:
    """Make the plan the rules in force, keeping the sets. Raises KernelError."""
    subject = f"switching to generation {plan.generation}"
    run(["nft", "-f", "-"], text=ruleset.switch(plan, before), subject=subject)


def forget(plan: Plan, generation: int) -> None:
    """Empty a generation's sets. Raises KernelError."""
    subject = f"emptying the sets of generation {generation}"
    run(["nft", "-f", "-"], text=ruleset.forget(plan, generation), subject=subject)


def remove() -> None:
    """Remove the table if it is there. Raises KernelError."""
    run(["nft", "-f", "-"], text=ruleset.remove(), subject="removing the nft table")


def present() -> bool:
    """Is the table there? Raises NotPermitted, NetlinkError, OSError.

    By netlink, since `nft list tables` reads every element of every set first.
    """
    netlink = NetlinkSocket(NETLINK_NETFILTER)
    try:
        request = nfrule.get_table(netlink.sequence(), TABLE)
        return netlink.one("looking for the nft table", request) is not None
    except KernelRefused as refusal:
        if refusal.errno == errno.EPERM:
            raise NotPermitted(str(refusal)) from refusal
        raise
    finally:
        netlink.close()


def readings(plan: Plan, generation: int, *, asked: bool) -> list[tuple[FlowSet, Element]]:
    """Every counter of a generation's sets; of `asked` only if wanted.

    100,000 elements of a set take the kernel about a second. Raises NetlinkError, OSError.
    """
    netlink = NetlinkSocket(NETLINK_NETFILTER)
    found: list[tuple[FlowSet, Element]] = []
    try:
        for one in ruleset.count_sets(plan, generation, asked=asked):
            try:
                # Whole or again: of what is taken off from other counters, none may be missing.
                found += [(one, element) for element in elements.read(netlink, TABLE, one.name)]
            except KernelRefused as refusal:
                # Somebody flushed the ruleset: there is nothing left to count.
                if refusal.errno != 2:
                    raise
    finally:
        netlink.close()
    return found


def _add_handover(plan: Plan, chain: str, first: int, count: int) -> None:
    netlink = NetlinkSocket(NETLINK_NETFILTER)
    try:
        netlink.sequence()
        sequence = netlink.sequence()
        request = nfrule.queue_rule(
            sequence,
            TABLE,
            chain,
            first=first,
            count=count,
            bypass=not plan.fail_closed,
        )
        netlink.ask("adding the NFQUEUE rule", request)
    except KernelRefused as refusal:
        if refusal.errno in (errno.ENOENT, errno.EOPNOTSUPP):
            raise ProgrammingFailed(
                "this kernel can't hand packets over: xt_NFQUEUE or nft_compat is missing"
            ) from refusal
        raise
    finally:
        netlink.close()


def counters() -> dict[str, int]:
    """Packets on the table's named counters since it was installed; none when there is no table.

    Raises NetlinkError, OSError.
    """
    netlink = NetlinkSocket(NETLINK_NETFILTER)
    try:
        payloads = netlink.whole("reading counters", partial(nftcounter.dump, table=TABLE))
    finally:
        netlink.close()
    found = map(nftcounter.decode_counter, payloads)
    return {name: packets for table, name, packets in found if table == TABLE}
