"""Tries in a network namespace of its own whether the kernel hands packets over; for `checks.py`.

A program, since a namespace ends with the process that made it: started by `unshare --net`. Says on
standard error what does not work, and ends with 1.
"""

import sys

from cnnf.defender.core.marks import DEFAULT_MASK, marks_at
from cnnf.defender.core.plan import Plan, Scopes
from cnnf.defender.kernel import table
from cnnf.defender.kernel.errors import KernelError
from cnnf.defender.netlink.errors import NetlinkError


def main() -> None:
    """Install the table, with the rule that the `nft` program can't write."""
    if "--version" in sys.argv:
        return
    plan = Plan(
        marks=marks_at(DEFAULT_MASK),
        queue_first=0,
        queue_count=2,
        log_group=1,
        scopes=Scopes(containers=True, hosts=True),
    )
    try:
        table.install(plan)
    except (KernelError, NetlinkError, OSError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
